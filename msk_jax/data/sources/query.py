"""Searches of a DICOMweb server (QIDO-RS, PS3.18 10.6), page by page until there is no more.

A server may give fewer results than it was asked for, and with or without a word (10.6.3.2).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msk_jax.errors import UserError

PAGE = 200
_CAP = 100
"""No server is known that gives fewer results at most."""

_MAX_RESULTS = 1_000_000
_NARROW = (
    "Narrow the search by filters behind the address, as ?PatientID=4711&Modality=CT, and fetch "
    "part by part."
)
_MORE = re.compile(r"(?<!\b0 )(additional|remaining|more|limit|truncat|partial|incomplet|maxim)")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")


@dataclass(frozen=True)
class SeriesRow:
    """What a search says of one series."""

    study: str
    instances: int | None
    """How many it has on the server; None where that is not said."""


@dataclass(frozen=True)
class Listing:
    """The series that match."""

    series: dict[str, SeriesRow] = field(default_factory=dict)
    """By UID."""

    fault: str = ""
    """Why there may be more, as a sentence."""

    notes: tuple[str, ...] = ()

    def __or__(self, other: "Listing") -> "Listing":
        notes = tuple(dict.fromkeys(self.notes + other.notes))
        return Listing(self.series | other.series, self.fault or other.fault, notes)


class Pages:
    """The pages of one search, put together."""

    def __init__(
        self,
        connection: Any,
        ask: Callable[..., list[dict]],
        tag: str,
        size: int = PAGE,
    ):
        """
        Args:
            connection: a `dicomweb.Connection`, which knows of what the server warned last.
            ask: a search of its client.
            tag: of the UID that tells results apart, eight hexadecimal digits.
            size: results to ask for at a time.
        """
        self._connection, self._ask, self._tag, self._size = connection, ask, tag, size
        self.fault = ""
        """Why there may be more results, as the beginning of a sentence."""

        self.is_repeating = False
        """Whether the server gave the same page twice: it does not look at `offset`."""

    def all(self, **question) -> dict[str, dict]:
        """Results by UID, until a page is empty or brings nothing new.

        Raises:
            UserError: more than a million, or a result without a UID.
        """
        rows, received, longest, says_more = {}, 0, 0, False
        while True:
            page = self._ask(limit=self._size, offset=received, **question)
            fresh = {uid_of(row, self._tag): row for row in page}
            self.is_repeating = bool(page) and not fresh.keys() - rows.keys()
            if self.is_repeating and (says_more or longest >= min(self._size, _CAP)):
                self.fault = "The server gives the same page again, whatever `offset` asks for"
            elif not page and says_more:
                self.fault = "The server says that there are more results but does not give them"
            if not page or self.is_repeating:
                return rows
            says_more = bool(_MORE.search(self._connection.warning))
            rows, received = fresh | rows, received + len(page)
            longest = max(longest, len(page))
            if len(rows) > _MAX_RESULTS:
                raise UserError(f"The server finds more than {_MAX_RESULTS} results. {_NARROW}")


def list_series(connection: Any, filters: dict[str, str], page: int = PAGE) -> Listing:
    """Every series that matches.

    Args:
        connection: a `dicomweb.Connection`.
        filters: by DICOM keyword.
        page: how many to ask for at a time.

    Raises:
        UserError: a result that names a series by something that is no UID.
    """
    pages = Pages(connection, connection.client.search_for_series, "0020000E", page)
    rows = pages.all(search_filters=dict(filters), fields=list(_FIELDS))
    series = {uid: SeriesRow(uid_of(row, "0020000D"), _instances(row)) for uid, row in rows.items()}
    if pages.fault:
        return Listing(
            series,
            f"{pages.fault}: there may be more series than the {len(series)} that it lists. "
            f"{_NARROW}",
        )
    if pages.is_repeating:
        return Listing(
            series,
            notes=(
                "The server does not look at `offset`; it is taken at its word that the "
                f"{len(series)} series that it lists are all.",
            ),
        )
    return Listing(series)


def uid_of(row: Any, tag: str) -> str:
    """A UID of a result, which goes into addresses and must be one."""
    value = str(_value(row, tag))
    if len(value) > 64 or not _UID.fullmatch(value):
        raise UserError(
            f"The server names a result by {value[:64]!r}, which is no UID. Ask its administrator."
        )
    return value


def _instances(row: dict) -> int | None:
    try:
        number = int(_value(row, "00201209"))
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None


def _value(row: Any, tag: str) -> Any:
    """The first value of an attribute of a result (DICOM JSON, PS3.18 F.2), "" for none."""
    attribute = row.get(tag) if isinstance(row, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else ""
