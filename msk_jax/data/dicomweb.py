"""Series from a DICOMweb server (PS3.18): QIDO-RS finds them, WADO-RS brings them.

dicomweb-client speaks the protocol; it is the extra `dicomweb`. The bearer token comes from the
environment, for a command line is seen by others and noted beside the shards.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pydicom

from msk_jax.errors import UserError
from msk_jax.files import replacing

TOKEN_VARIABLE = "MSK_JAX_DICOMWEB_TOKEN"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_PAGE = 200
_ATTEMPTS = 5
_COMPLETE = "complete.json"
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Server:
    """A DICOMweb service."""

    url: str
    query: tuple[tuple[str, str], ...] = ()
    """Filters by DICOM keyword that hold for every search."""

    token: str = ""

    @classmethod
    def at(cls, address: str) -> "Server":
        """A service by its address; `?PatientID=4711&Modality=CT` behind it filters.

        Raises:
          UserError: no host, a name and password in the address, or a token that would be sent in
            the clear to another machine.
        """
        parts = urlsplit(re.sub(r"^(https?):/(?!/)", r"\1://", address))  # as a Path writes it
        if not parts.hostname:
            raise UserError(f"{address} is no address of a server. Give http(s)://host/path.")
        if parts.username or parts.password:
            raise UserError(
                "The address of the server contains a name or password, which others would see. "
                f"Put a token into the environment variable {TOKEN_VARIABLE} instead."
            )
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token and parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
            raise UserError(
                f"The token of {TOKEN_VARIABLE} would go to {parts.hostname} unencrypted. Give an "
                "https:// address, or unset the variable."
            )
        bare = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        return cls(bare, tuple(parse_qsl(parts.query)), token)

    def client(self):
        """A dicomweb-client with token and retries.

        Raises:
          UserError: the extra is not installed.
        """
        try:
            from dicomweb_client.api import DICOMwebClient
        except ImportError:
            raise UserError(
                "Servers are spoken to by dicomweb-client, which is not installed. Install it "
                'with: pip install "msk_jax[dicomweb]"'
            ) from None
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        client = DICOMwebClient(self.url, headers=headers)
        client.set_http_retry_params(
            retry=True, max_attempts=_ATTEMPTS, wait_exponential_multiplier=500,
            retriable_error_codes=(408, 425, 429, 500, 502, 503, 504),
        )  # fmt: skip
        return client


def fetch(
    server: Server,
    folder: Path,
    filters: Sequence[dict[str, str]] = ({},),
    progress: Progress | None = None,
) -> int:
    """Bring all series that match into a folder; what is there already is not fetched again.

    Args:
      server: where from.
      folder: gets one folder a series, named by a hash of its UID.
      filters: searches by DICOM keyword whose results are united, as `{"PatientID": "4711"}`.
      progress: called as `progress(series done, series, "")`.

    Returns:
      The number of series in the folder that match.

    Raises:
      UserError: no connection, a refusal by the server, an answer that is no DICOM.
    """
    client = server.client()
    found: dict[str, str] = {}
    for one in filters:
        found |= _asked(server, lambda one=one: search(client, {**dict(server.query), **one}))
    if not found:
        raise UserError(f"{server.url} has no series that match. Check the patients and filters.")
    for done, (series, study) in enumerate(sorted(found.items())):
        place = folder / hashlib.sha256(series.encode()).hexdigest()[:32]
        if not (place / _COMPLETE).is_file():
            _asked(server, lambda s=study, r=series, p=place: _fetch_series(client, s, r, p))
        if progress:
            progress(done + 1, len(found), "")
    return len(found)


def search(client, filters: dict[str, str], page: int = _PAGE) -> dict[str, str]:
    """Study UIDs by series UID of everything that matches, page by page.

    A server that ignores `offset` would give the first page for ever: a page without news is the
    last one.
    """
    found: dict[str, str] = {}
    while True:
        rows = client.search_for_series(
            search_filters=dict(filters), limit=page, offset=len(found),
            fields=["StudyInstanceUID", "SeriesInstanceUID"],
        )  # fmt: skip
        fresh = {}
        for row in rows:
            series, study = _uid(row, "0020000E"), _uid(row, "0020000D")
            fresh[series] = study
        if not set(fresh) - set(found):
            return found
        found |= fresh
        if len(rows) < page:
            return found


def _uid(row: dict, tag: str) -> str:
    """A UID of an answer, which goes into addresses and must be one."""
    value = str((row.get(tag, {}).get("Value") or [""])[0])
    if len(value) > 64 or not _UID.fullmatch(value):
        raise UserError(
            f"The server names a series by {value[:64]!r}, which is no UID. Ask its administrator."
        )
    return value


def _fetch_series(client, study: str, series: str, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    count = 0
    # As stored: what is compressed stays so, and is decoded by the codecs that are installed.
    for dataset in client.iter_series(study, series, media_types=(("application/dicom", "*"),)):
        name = hashlib.sha256(str(dataset.SOPInstanceUID).encode()).hexdigest()[:32]
        with replacing(place / f"{name}.dcm") as temporary:
            pydicom.dcmwrite(temporary, dataset, enforce_file_format=True)
        count += 1
    (place / _COMPLETE).write_text(json.dumps({"files": count}))


def store(server: Server, files: Sequence[Path]) -> None:
    """Send DICOM files by STOW-RS.

    Raises:
      UserError: no connection, or a refusal by the server.
    """
    client = server.client()
    for file in files:
        dataset = pydicom.dcmread(file)
        answer = _asked(server, lambda d=dataset: client.store_instances([d]))
        failed = answer.get("FailedSOPSequence") if answer is not None else None
        if failed:
            raise UserError(
                f"{server.url} did not take {file.name} (reason {failed[0].get('FailureReason')}). "
                "Ask its administrator."
            )


def _asked(server: Server, question: Callable):
    """The answer, or a sentence why there is none."""
    try:
        return question()
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise UserError(
                f"{server.url} refuses access ({status}). Put a valid token into the environment "
                f"variable {TOKEN_VARIABLE}."
            ) from error
        what = f"answers {status}" if status else f"cannot be reached ({type(error).__name__})"
        raise UserError(
            f"{server.url} {what}. Check the address, and whether the service runs; what was "
            "fetched already is kept."
        ) from error
