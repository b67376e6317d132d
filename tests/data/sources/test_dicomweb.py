"""Series from a DICOMweb server: a real Orthanc, and one that answers with spite."""

import json
import shutil
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from msk_jax.data.images.series import read_series
from msk_jax.data.sources.dicomweb import TOKEN_VARIABLE, Server, fetch, store
from msk_jax.data.sources.query import SeriesRow, list_series
from msk_jax.data.sources.scan import scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import UserError
from tests.data.ct_files import ramp, uid, write_ct

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """The DICOMweb address of an empty Orthanc on loopback."""
    pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
    binary = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if binary is None or not PLUGIN.exists():
        pytest.skip("the Debian packages orthanc and orthanc-dicomweb are not installed")
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(150):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.skip(f"Orthanc does not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def archive(orthanc, tmp_path_factory):
    """Three series of two patients, sent by STOW-RS."""
    folder = tmp_path_factory.mktemp("sent")
    for patient, series in (("A", "1"), ("A", "2"), ("B", "1")):
        hu = ramp((5, 8, 8)) + ord(patient) + int(series)
        store(
            Server(orthanc),
            write_ct(folder / patient / series, hu, patient_id=patient, series=series),
        )
    return orthanc


def test_there_and_back_again(archive, tmp_path):
    fetched = fetch(Server(archive), tmp_path, [{"PatientID": "B"}])
    assert (fetched.num_series, fetched.incomplete, fetched.listing_fault) == (1, (), "")
    (files,) = scan(tmp_path).series.values()
    assert np.array_equal(read_series(files).voxels, ramp((5, 8, 8)) + ord("B") + 1)
    assert fetch(Server.at(f"{archive}?Modality=CT"), tmp_path / "all").num_series == 3
    assert len(list((tmp_path / "all").glob("*/complete.json"))) == 3


def test_pages_are_put_together(archive):
    listing = list_series(Server(archive).connect(), {}, page=1)
    assert set(listing.series) == {uid("A", "1"), uid("A", "2"), uid("B", "1")}
    assert {row.instances for row in listing.series.values()} == {5}, "as Orthanc counts them"


def test_a_second_fetch_brings_only_what_is_missing(archive, tmp_path):
    fetch(Server(archive), tmp_path)
    folders = sorted(p for p in tmp_path.iterdir())
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.dcm")}
    shutil.rmtree(folders[1])
    fetch(Server(archive), tmp_path)
    after = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.dcm")}
    assert {f for f in before if before[f] != after[f]} == {
        f for f in before if f.parent == folders[1]
    }


def test_a_server_as_the_source_of_a_verb(archive):
    filters = [{"SeriesInstanceUID": uid("A", "2")}]
    with opened(archive.replace("//", "/"), filters) as source:
        found = scan(source.folder, files=source.files)
        assert list(found.series) == [uid("A", "2")]
    assert not source.folder.exists(), "what was fetched for one command goes with it"


def test_nothing_matches(archive, tmp_path):
    with pytest.raises(UserError, match="no series that match"):
        fetch(Server(archive), tmp_path, [{"PatientID": "NOBODY"}])


class Answers(BaseHTTPRequestHandler):
    """Whatever the test puts into `answers`, and notes what was asked."""

    answers: list = []  # noqa: RUF012
    asked: list = []  # noqa: RUF012

    def do_GET(self):
        type(self).asked.append((self.path, self.headers.get("Authorization")))
        status, content = type(self).answers[min(len(self.asked), len(self.answers)) - 1]
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def spiteful(monkeypatch):
    """`spiteful(answers)`: address of a server that gives these answers one after the other."""
    pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(*answers):
        monkeypatch.setattr(Answers, "answers", list(answers))
        monkeypatch.setattr(Answers, "asked", [])
        return f"http://127.0.0.1:{server.server_port}/web"

    yield start
    server.shutdown()
    server.server_close()


def row(series: str) -> dict:
    return {
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000E": {"vr": "UI", "Value": [series]},
    }


def test_a_token_is_not_sent_in_the_clear(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "let-me-in")
    with pytest.raises(UserError, match=r"would go to pacs\.example unencrypted"):
        Server.at("http://pacs.example/dicom-web")
    assert Server.at("https://pacs.example/dicom-web").url == "https://pacs.example/dicom-web"
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert Server.at("http://pacs.example/dicom-web").url == "http://pacs.example/dicom-web"


def test_token_and_retry(spiteful, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "let-me-in")
    monkeypatch.setattr("msk_jax.data.sources.dicomweb._BACKOFF_S", 0)
    address = spiteful((503, []), (200, [row("1.2.3")]), (200, []))
    assert list_series(Server.at(address).connect(), {}).series == {"1.2.3": SeriesRow("1.2", None)}
    assert [token for _, token in Answers.asked] == ["Bearer let-me-in"] * 3


def test_a_server_that_ignores_paging_does_not_hang(spiteful):
    address = spiteful((200, [row("1.2.3"), row("1.2.4")]))
    listing = list_series(Server.at(address).connect(), {}, page=20)
    assert len(listing.series) == 2 and not listing.fault
    assert "does not look at `offset`" in listing.notes[0]
    assert len(Answers.asked) == 2


@pytest.mark.parametrize("evil", ["../../etc", "1.2/3", "", "1" * 65, "<script>"])
def test_uids_that_are_paths(spiteful, tmp_path, evil):
    address = spiteful((200, [row(evil)]))
    with pytest.raises(UserError, match="which is no UID"):
        fetch(Server.at(address), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refusals_are_told(spiteful, tmp_path):
    with pytest.raises(UserError, match=rf"refuses access \(401\).*{TOKEN_VARIABLE}"):
        fetch(Server.at(spiteful((401, []))), tmp_path)
    with pytest.raises(UserError, match="answers 404"):
        fetch(Server.at(spiteful((404, []))), tmp_path)
    with pytest.raises(UserError, match="contains a name or password"):
        Server.at("https://me:secret@host/web")
    with pytest.raises(UserError, match="no address of a server"):
        Server.at("https://")
