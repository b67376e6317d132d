"""Answers of a DICOMweb server that are not all that was asked for, as real servers give them."""

import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest

from msk_jax.cli import main
from msk_jax.data.build.records import assign_series
from msk_jax.data.cohort.manifest import Manifest, ManifestRow
from msk_jax.data.sources.dicomweb import Server, fetch
from msk_jax.data.sources.multipart import read_instance
from msk_jax.data.sources.query import list_series
from msk_jax.data.sources.scan import scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import UserError
from tests.cohorts import cohort_of
from tests.data.ct_files import ramp, uid, write_ct

NUM_SLICES = 6


@dataclass
class Archive:
    """A server, what it holds, and how it behaves."""

    address: str = ""
    series: dict[str, list[bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    sends: int = 99
    """Parts of a series."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the connection ends; negative: from its end."""
    promises_length: bool = False
    is_zipped: bool = False
    is_bare: bool = False
    extra: list[bytes] = field(default_factory=list)
    """Parts that are sent as well."""
    counts: str = ""
    """Where it says how many instances there are: row, search or "" for nowhere."""

    cap: int = 1000
    """Results of one page."""
    warns_of_more: bool = False
    looks_at_offset: bool = True
    refuses: dict[str, list[int]] = field(default_factory=dict)
    """Statuses to give, one after the other, to questions whose path has these words."""

    def body(self, uid_: str) -> bytes:
        if self.is_bare:
            return self.series[uid_][0]
        parts = [*self.series[uid_][: self.sends], *self.extra]
        head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
        return b"".join(head + part + b"\r\n" for part in parts) + b"--edge--\r\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        archive, (_, _, path, query, _) = self.server.archive, urlsplit(self.path)
        archive.asked.append(self.path)
        for word, statuses in archive.refuses.items():
            if word in path and statuses:
                return self.send(statuses.pop(0), b"", {"Retry-After": "0"})
        if path.endswith("/series"):
            return self.search("0020000E", list(archive.series), parse_qs(query))
        if path.endswith("/instances"):
            if archive.counts != "search":
                return self.send(404, b"", {})
            held = archive.series[path.split("/")[-2]]
            return self.search("00080018", [f"1.9.{k}" for k in range(len(held))], parse_qs(query))
        return self.send_series(archive, archive.body(path.rsplit("/", 1)[1]))

    def search(self, tag: str, names: list[str], query: dict):
        archive = self.server.archive
        offset = int(query["offset"][0]) if archive.looks_at_offset else 0
        names = names[offset:]
        page = names[: min(archive.cap, int(query["limit"][0]))]
        rows = [{tag: {"vr": "UI", "Value": [name]}} for name in page]
        for row, name in zip(rows, page, strict=True):
            row["0020000D"] = {"vr": "UI", "Value": ["1.2"]}
            if archive.counts == "row":
                row["00201209"] = {"vr": "IS", "Value": [len(archive.series[name])]}
        left = len(names) - len(page)
        warning = f'299 mock "There are {left} additional results that can be requested"'
        headers = {"Warning": warning} if left and archive.warns_of_more else {}
        self.send(200 if rows else 204, json.dumps(rows).encode() if rows else b"", headers)

    def send_series(self, archive: Archive, body: bytes):
        kind = 'multipart/related; type="application/dicom"; boundary="edge"'
        headers = {"Content-Type": "application/dicom" if archive.is_bare else kind}
        if archive.is_zipped:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self.send(archive.status, body, headers | archive.headers, archive.cut)

    def send(self, status: int, body: bytes, headers: dict, cut: int | None = None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if cut is None or self.server.archive.promises_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, *_):
        pass


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """A server with two series of `NUM_SLICES` images."""
    pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
    monkeypatch.setattr("msk_jax.data.sources.dicomweb._BACKOFF_S", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.archive = Archive(f"http://127.0.0.1:{server.server_port}/web")
    for name in "ab":
        files = write_ct(
            tmp_path / "held" / name, ramp((NUM_SLICES, 8, 8)), series=name, patient_id=name.upper()
        )
        server.archive.series[uid(name.upper(), name)] = [file.read_bytes() for file in files]
    yield server.archive
    server.shutdown()
    server.server_close()


def run_fetch(archive: Archive, out) -> int:
    """Exit status of the verb."""
    try:
        main(["fetch", archive.address, "--out", str(out)])
    except SystemExit as left:
        return left.code
    return 0


def held(out) -> list[int]:
    """Images in the folder of each series."""
    return [len(list(folder.glob("*.dcm"))) for folder in sorted(out.iterdir()) if folder.is_dir()]


def marks(out) -> int:
    return len(list(out.glob("*/complete.json")))


FAULTS = {
    "206": ({"sends": 4, "status": 206}, 4, "sends a part only (206)"),
    "warning": ({"sends": 4, "headers": {"Warning": '299 x "2 are missing"'}}, 4, "2 are missing"),
    "no end": ({"cut": -10}, NUM_SLICES, "the end of the answer is missing"),
    "between parts": ({"cut": "after 3"}, 3, "the end of the answer is missing"),
    "in a part": ({"cut": "in 4"}, 3, "1 object(s) came damaged"),
    "in its header": ({"cut": "header of 4"}, 3, "the end of the answer is missing"),
    "length": ({"cut": "in 4", "promises_length": True}, 3, "the connection ended early"),
    "zipped": ({"cut": -20, "is_zipped": True}, 3, "the end of the answer is missing"),
    "bare": ({"is_bare": True}, 1, "not said to be all"),
    "empty": ({"status": 204, "sends": 0, "cut": 0}, 0, "no instance"),
    "too few in the row": ({"sends": 4, "counts": "row"}, 4, "4 of 6 instances came"),
    "too few by search": ({"sends": 4, "counts": "search"}, 4, "4 of 6 instances came"),
    "a page of instances": ({"sends": 4, "counts": "search", "cap": 4}, 4, "4 of 6 instances"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_whole_is_listed_and_fetched_again(archive, tmp_path, capsys, fault):
    settings, expected, reason = FAULTS[fault]
    part = (len(archive.body(uid("A", "a"))) - len(b"--edge--\r\n")) // NUM_SLICES
    places = {"after 3": 3 * part, "in 4": 3 * part + part // 2, "header of 4": 3 * part + 20}
    for name, value in settings.items():
        setattr(archive, name, places.get(value, value) if name == "cut" else value)
    out = tmp_path / "out"
    assert run_fetch(archive, out) == 2
    printed = capsys.readouterr().err
    assert "2 of 2 series are incomplete" in printed and reason in printed
    if not archive.is_zipped:  # how much comes out of half a stream is the decoder's to say
        assert held(out) == [expected] * 2
    assert marks(out) == 0
    listed = (out / "rejected.csv").read_text().splitlines()
    assert len(listed) == 3 and reason in listed[1]
    before = {file: file.read_bytes() for file in out.rglob("*.dcm")}
    for name in settings:  # mended, one series after the other
        setattr(archive, name, getattr(Archive(), name))
    assert run_fetch(archive, out) == 0
    assert held(out) == [NUM_SLICES] * 2 and marks(out) == 2
    assert before.items() <= {f: f.read_bytes() for f in out.rglob("*.dcm")}.items()
    assert not list(out.rglob("*incomplete*")) and not (out / "rejected.csv").exists()
    archive.asked.clear()
    assert run_fetch(archive, out) == 0
    assert all("?" in path for path in archive.asked), "only searches"


def test_what_is_whole_is_not_doubted(archive, tmp_path):
    first, second = archive.series.values()
    archive.extra = [first[0], second[0]]  # sent twice, and of the other series
    archive.counts, archive.is_zipped = "row", True
    out = tmp_path / "out"
    assert run_fetch(archive, out) == 0
    assert held(out) == [NUM_SLICES] * 2 and marks(out) == 2
    stored = {file.read_bytes() for file in out.rglob("*.dcm")}
    assert stored == {*first, *second}, "byte for byte, each where it belongs"
    for uid_, files in scan(out).series.items():
        assert len({file.parent for file in files}) == 1, uid_


def test_an_object_by_itself_is_whole_where_one_is_stated(archive, tmp_path):
    archive.is_bare, archive.counts = True, "row"
    archive.series = {uid_: parts[:1] for uid_, parts in archive.series.items()}
    assert run_fetch(archive, tmp_path / "out") == 0


@pytest.mark.parametrize("counts", ["", "row", "search"])
def test_a_server_that_counts_nothing_is_told_of(archive, tmp_path, capsys, counts):
    archive.counts = counts
    assert run_fetch(archive, tmp_path / "out") == 0
    assert ("does not say how many instances" in capsys.readouterr().out) == (not counts)


def test_objects_of_another_series_alone(archive, tmp_path, capsys):
    archive.sends, archive.extra = 0, [b"no DICOM", archive.series[uid("A", "a")][0]]
    assert run_fetch(archive, tmp_path / "out") == 2
    assert "1 object(s) came damaged" in capsys.readouterr().err
    assert sorted(held(tmp_path / "out")) == [0, 1]


def test_parts_of_several_answers_are_put_together(archive, tmp_path):
    archive.counts, archive.sends = "row", 4
    out = tmp_path / "out"
    assert run_fetch(archive, out) == 2
    for parts in archive.series.values():
        parts.reverse()  # the other end this time
    assert run_fetch(archive, out) == 0
    assert held(out) == [NUM_SLICES] * 2


def test_only_what_is_missing_is_asked_for(archive, tmp_path):
    out = tmp_path / "out"
    archive.counts = "row"
    assert run_fetch(archive, out) == 0
    next(out.rglob("*.dcm")).unlink()
    archive.asked.clear()
    assert run_fetch(archive, out) == 0
    assert sum("?" not in path for path in archive.asked) == 1
    assert held(out) == [NUM_SLICES] * 2


def test_a_mark_of_a_version_that_took_any_answer_is_not_believed(archive, tmp_path):
    archive.sends = 4
    out = tmp_path / "out"
    fetch(Server.at(archive.address), out)
    for mark in out.glob("*/complete.json"):
        mark.write_text('{"files": 4}')
    archive.sends = 99
    assert run_fetch(archive, out) == 0
    assert held(out) == [NUM_SLICES] * 2


def test_a_damaged_file_of_an_earlier_answer_does_not_count(archive, tmp_path):
    archive.sends, archive.counts = 3, "row"
    out = tmp_path / "out"
    assert run_fetch(archive, out) == 2
    for folder in filter(lambda path: path.is_dir(), out.iterdir()):
        file = next(folder.glob("*.dcm"))
        file.write_bytes(file.read_bytes()[:-9])
    for parts in archive.series.values():
        parts.reverse()
    assert run_fetch(archive, out) == 2
    assert held(out) == [NUM_SLICES - 1] * 2
    assert all(read_instance(file.read_bytes()).whole for file in out.rglob("*.dcm"))


@pytest.mark.parametrize("warns", [True, False])
def test_pages_go_on_until_one_is_empty(archive, warns):
    archive.series = {f"1.2.{k}": [] for k in range(25)}
    archive.cap, archive.warns_of_more = 10, warns
    listing = list_series(Server.at(archive.address).connect(), {})
    assert (len(listing.series), listing.fault, listing.notes) == (25, "", ())


@pytest.mark.parametrize("warns", [True, False])
def test_a_page_that_comes_again_is_told(archive, tmp_path, capsys, warns):
    dataset = pydicom.dcmread(write_ct(tmp_path / "x", ramp((1, 8, 8)))[0])
    archive.series = {}
    for k in range(120):
        dataset.SeriesInstanceUID = f"1.2.{k}"
        dataset.save_as(tmp_path / "one.dcm")
        archive.series[f"1.2.{k}"] = [(tmp_path / "one.dcm").read_bytes()]
    archive.cap, archive.warns_of_more = 20 if warns else 100, warns
    archive.looks_at_offset, archive.counts = False, "row"
    assert run_fetch(archive, tmp_path / "out") == 2
    assert "the same page again" in capsys.readouterr().err
    assert marks(tmp_path / "out") == archive.cap, "what is listed is fetched all the same"
    with pytest.raises(UserError, match="same page again"), opened(archive.address):
        pass


def test_more_is_promised_than_given(archive, tmp_path, capsys):
    archive.cap, archive.warns_of_more, archive.counts = 1, True, "row"
    handler = Handler.search

    def only_the_first_page(self, tag, names, query):
        if int(query["offset"][0]):
            return self.send(204, b"", {})
        return handler(self, tag, names, query)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "search", only_the_first_page)
        assert run_fetch(archive, tmp_path / "out") == 2
    assert "there are more results but does not give them" in capsys.readouterr().err
    assert marks(tmp_path / "out") == 1


def test_one_series_that_is_refused_costs_itself_alone(archive, tmp_path, capsys):
    archive.counts = "row"
    bad = uid("A", "a")
    archive.refuses = {bad: [500] * 5, "B": []}
    assert run_fetch(archive, tmp_path / "out") == 2
    assert "1 of 2 series are incomplete" in capsys.readouterr().err
    assert sorted(held(tmp_path / "out")) == [0, NUM_SLICES]
    archive.refuses = {bad: [503, 429, 413]}  # asked again, as `Retry-After` wishes
    assert run_fetch(archive, tmp_path / "out") == 0


def test_a_server_that_goes_away_ends_the_command(archive, tmp_path, capsys):
    archive.series = {f"1.2.{k}": [] for k in range(9)}
    archive.refuses = {"series/": [500] * 999}
    assert run_fetch(archive, tmp_path / "out") == 2
    assert "answers 500. Check the address" in capsys.readouterr().err
    assert len((tmp_path / "out" / "rejected.csv").read_text().splitlines()) == 1 + 3


def test_a_series_in_part_is_not_built_from(archive, tmp_path):
    """The slices of one end are enough for a volume without a gap."""
    archive.counts, archive.sends = "row", 4
    patients = {"A": "P-1", "B": "P-2"}
    rows = tuple(ManifestRow(k + 2, name, "left", 0, 0) for k, name in enumerate(patients))
    manifest = Manifest(tmp_path / "m.csv", rows, False, (), "")
    with opened(archive.address) as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        studies, rejected = assign_series(manifest, found, cohort_of().modality, patients)
    assert not studies
    assert {r.reason for r in rejected} == {
        "Not all of this series was fetched (4 of 6 instances). Run the command that fetched it "
        "again."
    }


def test_a_file_ends_where_it_says(tmp_path):
    (file,) = write_ct(tmp_path, ramp((1, 8, 8)))
    content = file.read_bytes()
    assert read_instance(content).whole and read_instance(content + b"\0").whole
    for cut in range(140, len(content)):
        instance = read_instance(content[:cut])
        assert instance is None or not instance.whole, cut
    assert not read_instance(content + b"more").whole
