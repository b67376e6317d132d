"""Files are written whole or not at all, and JSON is held against a shape."""

import json
import os

import numpy as np
import pytest

from msk_jax import files
from msk_jax.errors import UserError
from msk_jax.files import fault, read_json, replacing, replacing_folder, write_json


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (3, int, ""),
        (3, float, ""),
        (3.5, int, "its content is not a whole number"),
        (True, int, "its content is not a whole number"),
        (True, float, "its content is not a number"),
        (float("nan"), float, "its content is not a number"),
        (1, bool, "its content is not true or false"),
        (None, None, ""),
        (0, None, "its content is not null"),
        ({}, list, "its content is not a list"),
        ([1, "b"], [int], "[1] is not a whole number"),
        ({"a": 1}, {"a": int, "b": int, "c": str}, "it lacks b, c"),
        ({"a": 1, "z": None}, {"a": int, "b?": int}, ""),
        ({"b": "x"}, {"b?": int}, "b is not a whole number"),
        ({"a": {"b": [{}]}}, {"a": {"b": [{"c": int}]}}, "a.b[0] lacks c"),
        ({"x": 1, "y": "1"}, {str: int}, "y is not a whole number"),
        (None, (str, None), ""),
        ([], (str, None), "its content is not a text"),
    ],
)
def test_fault(value, shape, expected):
    assert fault(value, shape) == expected


def test_reading_names_the_file_the_fault_and_the_way_out(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    assert read_json(path, {"a": int}, "Make it.") == {"a": 1}
    with pytest.raises(UserError, match=rf"^{path} is damaged: a is not a text\. Make it\.$"):
        read_json(path, {"a": str}, "Make it.")
    for content in (b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^{path} cannot be read \(.*\)\. Make it\.$"):
            read_json(path, dict, "Make it.")
    path.unlink()
    with pytest.raises(UserError, match=r"\(No such file or directory\)\. Make it\.$"):
        read_json(path, dict, "Make it.")


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]
    with replacing(path) as temporary:
        temporary.write_text("new")
        # Libraries choose the format by the suffix.
        assert path.read_text() == "old" and temporary.suffix == ".csv"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["table.csv"]


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "cam"
    for content in ("old", "new"):
        with replacing_folder(path) as temporary:
            (temporary / content).touch()
    assert os.listdir(path) == ["new"] and os.listdir(tmp_path) == ["cam"]
    full = pytest.raises(UserError, match=rf"^{path} could not be written \(No space left")
    with full, replacing_folder(path) as temporary:
        (temporary / "half").touch()
        raise OSError(28, "No space left on device")
    assert os.listdir(path) == ["new"] and os.listdir(tmp_path) == ["cam"]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x\.json could not be written .* give another place"):
        write_json(tmp_path / "file" / "x.json", {})
    in_the_way = pytest.raises(UserError, match="file/cam could not be written")
    with in_the_way, replacing_folder(tmp_path / "file" / "cam"):
        pass
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match=r"folder\.json could not be written \(Is a directory\)"):
        write_json(tmp_path / "folder.json", {})
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.json"]


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))
    assert json.loads((tmp_path / "x.json").read_text()) == [1]


def test_a_part_of_a_file_here_or_in_a_bucket(tmp_path, monkeypatch):
    (tmp_path / "bucket" / "folder").mkdir(parents=True)
    content = bytes(range(200))
    (tmp_path / "bucket" / "folder" / "file").write_bytes(content)
    monkeypatch.setattr(
        files, "_store", lambda bucket: {"driver": "file", "path": f"{tmp_path}/{bucket}/"}
    )
    for root in (tmp_path / "bucket", files.place("gs://bucket")):
        into = np.zeros((2, 5), np.int16)
        assert files.read_range(root / "folder" / "file", 7, into) == 20
        assert into.tobytes() == content[7:27]
        assert files.read_range(root / "folder" / "file", 190, into) < 20, "its end comes first"
        with pytest.raises(FileNotFoundError):
            files.read_range(root / "folder" / "other", 0, into)
    monkeypatch.setattr(files, "_store", lambda bucket: {"driver": "no such"})
    with pytest.raises(UserError, match=r"gs://bucket/x could not be read .*gcloud auth"):
        files.read_range(files.place("gs://bucket/x"), 0, np.zeros(3, np.int16))
