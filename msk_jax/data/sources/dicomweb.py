"""Series from a DICOMweb server (PS3.18): QIDO-RS finds them, WADO-RS brings them.

dicomweb-client speaks the protocol; it is the extra `dicomweb`. It takes what comes for all there
is, so what came is counted here against what the server states. The bearer token comes from the
environment, for a command line is seen by others and noted beside the shards.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pydicom

from msk_jax.data.sources.fetched import Incomplete, SeriesFolder
from msk_jax.data.sources.multipart import Body, read_instance
from msk_jax.data.sources.query import Listing, Pages, list_series
from msk_jax.errors import UserError

TOKEN_VARIABLE = "MSK_JAX_DICOMWEB_TOKEN"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_ATTEMPTS = 5
_BACKOFF_S = 0.5
_MAX_WAIT_S = 60
"""However long a server asks to be left alone (Retry-After), it is asked again after this."""

_TIMEOUT_S = 20
_RETRIABLE = (408, 425, 429, 500, 502, 503, 504)
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_UNCOUNTED = (
    "The server does not say how many instances a series has; it is taken at its word that what it "
    "sent without a warning is all."
)
_GIVE_UP_AFTER = 3
"""Series in a row to which no answer came."""

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

    def connect(self) -> "Connection":
        """A session with token and retries.

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
        import requests
        from requests.adapters import HTTPAdapter

        logging.getLogger("dicomweb_client").setLevel(logging.ERROR)  # its warnings are told here
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_retries()))
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        client = DICOMwebClient(self.url, session=session, headers=headers, timeout=_TIMEOUT_S)
        client.set_http_retry_params(retry=False)
        connection = Connection(self, client, session)
        session.hooks["response"].append(connection.note_warning)
        return connection


def _retries():
    """Questions (not what is sent) are asked again, as late as the server wishes within limits."""
    from urllib3.util import Retry

    class Bounded(Retry):
        def get_retry_after(self, response) -> float | None:
            wish = super().get_retry_after(response)
            return None if wish is None else min(wish, _MAX_WAIT_S)

    return Bounded(
        total=_ATTEMPTS - 1,
        backoff_factor=_BACKOFF_S,
        status_forcelist=_RETRIABLE,
        raise_on_status=False,
    )


@dataclass
class Connection:
    """A session with a server."""

    server: Server
    client: Any
    """A `DICOMwebClient`, which does not ask again by itself."""

    session: Any
    """The `requests.Session` that it uses."""

    warning: str = field(default="", init=False)
    """What the server warned of in its last answer."""

    counts_instances: bool = field(default=True, init=False)
    """Whether the server answers searches for instances, as far as is known."""

    def note_warning(self, response, **_) -> None:
        """A hook of `requests`. Status 206 was the warning of older editions of the standard."""
        warning = _printable(response.headers.get("Warning", ""))
        partial = "partial content (206)" if response.status_code == 206 else ""
        self.warning = warning or partial


@dataclass(frozen=True)
class Fetched:
    """What came of `fetch`."""

    num_series: int
    """That match."""

    incomplete: tuple[Incomplete, ...]
    """Those of them that are not whole in the folder."""

    listing_fault: str
    """Why there may be more series that match, as a sentence; "" where nothing says so."""

    notes: tuple[str, ...]
    """What is odd about the server but keeps nothing from being whole."""


def fetch(
    server: Server,
    folder: Path,
    filters: Sequence[dict[str, str]] = ({},),
    progress: Progress | None = None,
) -> Fetched:
    """Bring all series that match into a folder; what is there as a whole is not fetched again.

    Args:
        server: where from.
        folder: gets one folder a series, named by a hash of its UID, see `fetched.SeriesFolder`.
        filters: searches by DICOM keyword whose results are united, as `{"PatientID": "4711"}`.
        progress: called as `progress(series done, series, "")`.

    Raises:
        UserError: no connection, a refusal by the server, an answer that is no DICOM.
    """
    connection = server.connect()
    listing = Listing()
    for one in filters:
        words = {**dict(server.query), **one}
        listing |= _asked(server, lambda w=words: list_series(connection, w))
    if not listing.series:
        raise UserError(f"{server.url} has no series that match. Check the patients and filters.")
    incomplete, unanswered = [], 0
    for done, series in enumerate(sorted(listing.series)):
        place = SeriesFolder(folder, series)
        if not place.is_whole(listing.series[series].instances):
            place.begin()
            missing, unanswered = _fetch_series(connection, listing, place, unanswered)
            incomplete += [missing] if missing else []
        if progress:
            progress(done + 1, len(listing.series), "")
    uncounted = () if connection.counts_instances else (_UNCOUNTED,)
    notes = listing.notes + uncounted
    return Fetched(len(listing.series), tuple(incomplete), listing.fault, notes)


def _fetch_series(
    connection: Connection, listing: Listing, place: SeriesFolder, unanswered: int
) -> tuple[Incomplete | None, int]:
    """Bring one series; gives what is known of it if it is not whole, and how many series in a row
    had no answer. Raises a UserError where it is the last of too many, or access is refused."""
    row = listing.series[place.series_uid]
    answer = _Answer(place)
    try:
        answer.take(_retrieve(connection, row.study, place.series_uid))
        unanswered = 0
    except UserError:
        raise
    except Exception as error:
        unanswered += 1
        if unanswered >= _GIVE_UP_AFTER or _status(error) in (401, 403):
            raise _refusal(connection.server, error) from error
        answer.faults.append(_what(error))
    stated = row.instances
    if stated is None and answer.added:
        stated = _count_instances(connection, row.study, place.series_uid)
    files = place.count(answer.added)
    return place.finish(files, stated, answer.verdict(files, stated)), unanswered


def _retrieve(connection: Connection, study: str, series: str):
    """The answer to the question for all instances of a series, its body not yet read."""
    answer = connection.session.get(
        f"{connection.server.url}/studies/{study}/series/{series}",
        # As stored: what is compressed stays so, and is decoded by the codecs that are installed.
        headers={"Accept": _AS_STORED},
        stream=True,
        timeout=_TIMEOUT_S,
    )
    answer.raise_for_status()
    return answer


@dataclass
class _Answer:
    """What a server sent for one series."""

    place: SeriesFolder
    added: set[Path] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """What is wrong with the answer by itself, whatever the count says."""

    doubts: list[str] = field(default_factory=list)
    """What tells against its being whole, unless the count says so."""

    def take(self, response) -> None:
        """Keep every instance that is whole."""
        damaged = foreign = 0
        with response:
            body = Body(response.raw, response.headers.get("Content-Type", ""))
            for content in body:
                instance = read_instance(content)
                if instance is None or not instance.whole:
                    damaged += 1
                elif instance.series_uid != self.place.series_uid:
                    foreign += 1  # may be another patient's
                else:
                    self.added.add(self.place.add(instance, content))
        warning = _printable(response.headers.get("Warning", ""))
        ended = body.closed or body.broken
        doubts = {
            "the server says that it sends a part only (206)": response.status_code == 206,
            f"the server warns: {warning}": bool(warning),
            "the connection ended early": body.broken,
            "the end of the answer is missing": body.is_multipart and not ended,
            "it is one object by itself, not said to be all": not body.is_multipart,
            f"{damaged} object(s) came damaged": damaged,
            f"{foreign} object(s) of another series were sent": foreign,
            "the answer holds no instance of it": not self.added,
        }
        self.doubts += [doubt for doubt, holds in doubts.items() if holds]

    def verdict(self, files: int, stated: int | None) -> str:
        """Why the series is not whole; "" if it is.

        A count that the server states decides. Where it states none, an answer is whole that says
        so itself: by its status, its end and the want of warnings.
        """
        if not self.faults and stated is not None and files >= stated:
            return ""
        short = [] if stated is None or files >= stated else [f"{files} of {stated} instances came"]
        return "; ".join(short + self.faults + self.doubts)


def _count_instances(connection: Connection, study: str, series: str) -> int | None:
    """Instances of a series by a search for them; None where the server knows no such search."""
    if not connection.counts_instances:
        return None
    try:
        pages = Pages(connection, connection.client.search_for_instances, "00080018")
        rows = pages.all(study_instance_uid=study, series_instance_uid=series)
    except Exception:  # it is not what was asked for, so it costs nothing but this knowledge
        connection.counts_instances = False
        return None
    return None if pages.fault or not rows else len(rows)


def store(server: Server, files: Sequence[Path]) -> None:
    """Send DICOM files by STOW-RS.

    Raises:
        UserError: no connection, or a refusal by the server.
    """
    client = server.connect().client
    client.set_http_retry_params(
        retry=True,
        max_attempts=_ATTEMPTS,
        wait_exponential_multiplier=1000 * _BACKOFF_S,
        retriable_error_codes=_RETRIABLE,
    )
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
    except UserError:
        raise
    except Exception as error:
        raise _refusal(server, error) from error


def _refusal(server: Server, error: Exception) -> UserError:
    """No answer, or one that is an error, as a sentence."""
    status = _status(error)
    if status in (401, 403):
        return UserError(
            f"{server.url} refuses access ({status}). Put a valid token into the environment "
            f"variable {TOKEN_VARIABLE}."
        )
    if status == 413:
        return UserError(
            f"{server.url} finds too much at once (413). Narrow the search by filters behind the "
            "address, as ?PatientID=4711&Modality=CT."
        )
    return UserError(
        f"{server.url} {_what(error)}. Check the address, and whether the service runs; what was "
        "fetched already is kept."
    )


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _what(error: Exception) -> str:
    """What a server does in place of an answer."""
    if status := _status(error):
        return f"answers {status}"
    is_transport = isinstance(error, OSError) and not isinstance(error, json.JSONDecodeError)
    if isinstance(error, ValueError | TypeError | AttributeError) and not is_transport:
        return f"gives an answer that cannot be read ({type(error).__name__})"
    return f"cannot be reached ({type(error).__name__})"


def _printable(text: str) -> str:
    """What a server says, in one line that fits into a sentence."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:200]
