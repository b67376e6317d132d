"""The reader of tables from other people: manifests, predictions, ratings.

Nothing of a table's shape is guessed. What a file must be is in `read_table`; what is not so is
refused in a sentence that says where and what to do, for a row that is shifted by one cell makes
figures that look like figures.
"""

import contextlib
import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from msk_jax.errors import UserError
from msk_jax.files import place

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset(("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null"))
"""Cells that programs write where they have nothing. Names (of cases, patients, readers) are taken
as they are; elsewhere such a cell is no value, no group and no name."""

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
_LINE_END = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"[+-]?\d*,?\d+(?:[eE][+-]?\d+)?")
_BLOCK = 256
"""Rows that are lists at once: with more of them the garbage collector has most of the work."""
_MOST_NAMED = 5
_SHOWN_CELLS = 8


def read_table(path: Path, if_missing: str, where: str = "") -> "pd.DataFrame":
    """A table with every cell as stripped text, empty where there is nothing.

    The file is Parquet, or text (plain or gzip) that is
      - UTF-8, or what its byte order mark says (UTF-16, as Excel's "Unicode text" is);
      - separated by commas, semicolons or tabs, whichever of the three the first row holds outside
        quotes: it may hold one of them only (a line `sep=;`, as Excel has it, may go before);
      - named in its first row, each name once. The first column may lack a name (programs write
        the numbers of the rows there) and is left out then, as are empty columns without one;
      - of as many cells in every row as names. Rows of empty cells only are passed over.

    Between semicolons or tabs a column of numbers with decimal commas is read as numbers; between
    commas a quoted `1,234` may be either, and stays as it is. Everything else is text as it stands:
    `0001` is not `1`.

    Args:
        path: of the file, here or in a bucket.
        if_missing: the sentence for a file that is not there.
        where: what to call the file in an error; by default its path.

    Returns:
        The cells; the index counts the rows below the header from 0, those passed over too, so that
        index + 2 is the row that a spreadsheet shows.

    Raises:
        UserError: there is no file, it cannot be read, or it is no such table.
    """
    return parse_table(table_bytes(path, if_missing, where), where or str(path))


def table_bytes(path: Path, if_missing: str, where: str = "") -> bytes:
    """The content of a file; arguments and errors as of `read_table`."""
    try:
        return place(path).read_bytes()
    except FileNotFoundError:
        raise UserError(if_missing) from None
    except OSError as error:
        raise UserError(
            f"{where or path} cannot be read ({error.strerror or error}). Give a readable CSV file."
        ) from error


def parse_table(content: bytes, where: str) -> "pd.DataFrame":
    """The table that a file holds; see `read_table`."""
    if content[:4] == b"PAR1":
        return _parquet(content, where)
    text, encoding = _decoded(content, where)
    separator, start = _separator(text, where)
    reader = _reader(text[start:], separator)
    before = len(_LINE_END.findall(text[:start]))
    read_as = f"read as {encoding}, cells separated by {_SEPARATORS[separator]}s"
    rows = _Rows(f"{where} ({read_as})", count=before)
    try:
        rows.names = [name.strip() for name in next(reader)]
        _check_names(rows.names, where)
        while block := list(itertools.islice(reader, _BLOCK)):
            rows.add(block)
    except csv.Error as error:
        line = before + _broken_line(text[start:], separator)
        raise UserError(
            f"{where} is no table: the row that begins in line {line} does not end as one "
            f"({error}). A cell that holds a quote must itself stand in quotes, with the quote "
            'doubled: "a 5"" nail".'
        ) from error
    rows.check()
    columns = dict(zip(rows.names, rows.columns, strict=True))
    columns.pop("", None)
    if separator != ",":
        columns = {name: _decimal_points(cells) for name, cells in columns.items()}
    import pandas as pd

    return pd.DataFrame(columns, index=pd.Index(rows.kept, dtype=int), dtype=str)


def _reader(text: str, separator: str) -> Iterator[list[str]]:
    source = io.StringIO(text, newline="")
    return csv.reader(source, delimiter=separator, skipinitialspace=True, strict=True)


def _broken_line(text: str, separator: str) -> int:
    """Where the row begins that is none: of an open quote the reader knows the end alone."""
    reader, line = _reader(text, separator), 1
    with contextlib.suppress(csv.Error):
        for _ in reader:
            line = reader.line_num + 1
    return line


def as_number(name: str) -> str:
    """A name as it is left by programs that take it for a number: `0012` and `12.0` as `12`.

    Two names that are the same by this are not the same name, but a likely slip.
    """
    number = name.removesuffix(".0")
    return number.lstrip("0") or number[:1]


@dataclass
class _Rows:
    """Rows of a text as columns, and those that are no row of this table."""

    where: str
    names: list[str] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    count: int = 0
    """Rows below the header up to here, empty ones and those before it too."""
    wrong: dict[int, list[str]] = field(default_factory=dict)
    """By row as a spreadsheet counts them, the cells of rows with too few or too many of them."""

    def add(self, block: list[list[str]]) -> None:
        """Take these rows over; a block at a time, so that not all of them are lists at once."""
        if not self.columns:
            self.columns = [[] for _ in self.names]
        width, good = len(self.names), block
        if set(map(len, block)) != {width} or not all(map(any, block)):
            numbered = [(self.count + k, row) for k, row in enumerate(block) if any(row)]
            self.wrong |= {number + 2: row for number, row in numbered if len(row) != width}
            good = [row for _, row in numbered if len(row) == width]
            self.kept += [number for number, row in numbered if len(row) == width]
        else:
            self.kept += range(self.count, self.count + len(block))
        self.count += len(block)
        for column, cells in zip(self.columns, zip(*good, strict=True), strict=False):
            column.extend(map(str.strip, cells))

    def check(self) -> None:
        """Raises UserError where a row has another number of cells than the header has names."""
        self.columns = self.columns or [[] for _ in self.names]
        if not self.wrong:
            self._check_nameless()
            return
        width, widths = len(self.names), {len(row) for row in self.wrong.values()}
        number, cells = next(iter(self.wrong.items()))
        shown = f"row {number} is {_listed(cells)}, the header {_listed(self.names)}"
        if self.kept or widths != {width + 1}:
            rows = [f"row {n} has {len(row)}" for n, row in self.wrong.items()]
            raise UserError(
                f"{self.where} has {len(rows)} row(s) of another number of cells than the "
                f"{width} of the header: {_some(rows)} ({shown}). Put a cell that holds a "
                'separator (a decimal comma, "Ward A, East") in quotes, and fill up rows that are '
                "too short."
            )
        raise UserError(
            f"{self.where} has one cell more in every row than names in the header ({width + 1}, "
            f"not {width}; {shown}), so it is not known which column is which. {self._why_longer()}"
        )

    def _check_nameless(self) -> None:
        """Raises UserError where cells stand below no name: it may be a name that was lost."""
        for number, (name, cells) in enumerate(zip(self.names, self.columns, strict=True), start=1):
            if name or number == 1 or not any(cells):
                continue
            k, cell = next((k, cell) for k, cell in enumerate(cells) if cell)
            raise UserError(
                f"{self.where} has no name for column {number}, which is not empty (row "
                f"{self.kept[k] + 2} holds {cell[:40]!r} there). Name it in the first row, or take "
                "the column away."
            )

    def _why_longer(self) -> str:
        rows = list(self.wrong.values())
        if not any(row[-1].strip() for row in rows):
            return (
                "Every row ends in a separator and the header does not: take it away from the "
                "rows, or put one behind the header."
            )
        if [row[0].strip() for row in rows] == [str(k + 1) for k in range(len(rows))]:
            return (
                "The first cells are the numbers of the rows, as R's write.table writes them "
                "without a name: write the table with row.names = FALSE, or name the first column."
            )
        return (
            "Name the column that has no name (R's write.table leaves out that of the row names: "
            "row.names = FALSE), or put cells that hold a separator (a decimal comma, as in 0,5, "
            'or "Ward A, East") in quotes.'
        )


def _decoded(content: bytes, where: str) -> tuple[str, str]:
    """The text, and what it was encoded in."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{where} is no whole gzip file ({error}). Copy it anew.") from error
    kind = next((name for start, name in _OTHER_FILES.items() if content.startswith(start)), "")
    if kind:
        raise UserError(f"{where} is {kind}, no table of text. Save it as CSV UTF-8 or Parquet.")
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(_not_decoded(content, error, where)) from error
    if "\0" in text:
        raise UserError(
            f"{where} is no table of text: it holds bytes of 0. Save it as CSV UTF-8 or Parquet."
        )
    return text, encoding.removesuffix("-sig").upper()


def _not_decoded(content: bytes, error: UnicodeDecodeError, where: str) -> str:
    if error.encoding.startswith("utf-16"):
        return f"{where} is not the UTF-16 text that its first bytes say. Save it as CSV UTF-8."
    line = content.count(b"\n", 0, error.start) + 1
    word = re.split(rb"[,;\t\r\n]", content[: error.start])[-1]
    word += re.split(rb"[,;\t\r\n]", content[error.start :], maxsplit=1)[0]
    shown = word.decode("cp1252", errors="replace").strip()[:40]
    return (
        f"{where} is not UTF-8 text: line {line} holds the byte 0x{content[error.start]:02X} "
        f"({shown!r} if it is Windows-1252). Which encoding is meant cannot be seen from the "
        'bytes: save it as "CSV UTF-8", or convert it, as with '
        "`iconv -f WINDOWS-1252 -t UTF-8 old.csv > new.csv`."
    )


def _separator(text: str, where: str) -> tuple[str, int]:
    """What separates the cells, and where in the text the header begins."""
    start = len(text) - len(text.lstrip("\ufeff\r\n"))
    header = _LINE_END.split(text[start:], maxsplit=1)[0]
    stated = re.fullmatch(r'"?sep=([,;\t])"?', header.strip(" "))
    if stated:
        after = text[start + len(header) :]
        return stated[1], len(text) - len(after.lstrip("\r\n"))
    if not header:
        raise UserError(f"{where} is empty: it has neither names of columns nor rows.")
    plain = re.sub(r'"(?:[^"]|"")*"', "", header)
    there = [mark for mark in _SEPARATORS if mark in plain]
    if len(there) > 1:
        names = " and ".join(f"{_SEPARATORS[mark]}s" for mark in there)
        raise UserError(
            f"{where} has {names} in its first row, so it is not known what separates the cells "
            f"({header[:80]!r}). Put names that hold one of them in quotes."
        )
    return (there or [","])[0], start


def _check_names(names: Sequence[str], where: str) -> None:
    """Raises UserError where a name is there twice, or none at all."""
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names, start=1):
        if name:
            places.setdefault(name, []).append(number)
    twice = [
        f"{name!r} names the columns {' and '.join(map(str, at))}"
        for name, at in places.items()
        if len(at) > 1
    ]
    if twice:
        raise UserError(
            f"{where} has names of columns more than once: {_some(twice)}. Give every column a "
            "name of its own, or take the one away that is not meant."
        )
    if not places:
        raise UserError(f"{where} has no names of columns in its first row. Put them there.")


def _decimal_points(cells: list[str]) -> list[str]:
    """Cells of a column of numbers that has decimal commas with points; any other column as it
    is."""
    if not any("," in cell for cell in cells):
        return cells
    if not all(cell in MISSING or _NUMBER.fullmatch(cell) for cell in cells):
        return cells
    return [cell.replace(",", ".") for cell in cells]


def _parquet(content: bytes, where: str) -> "pd.DataFrame":
    import pandas as pd

    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{where} cannot be read as Parquet ({reason}). Write it anew, or as CSV UTF-8."
        ) from error
    named = [name is not None for name in table.index.names]
    table = table.reset_index(drop=not any(named))  # an index with a name is a column
    names = [str(name).strip() for name in table.columns]
    _check_names(names, where)
    cells = {
        name: [_as_text(value) for value in table.iloc[:, k].to_numpy()]
        for k, name in enumerate(names)
        if name
    }
    found = pd.DataFrame(cells, index=table.index, dtype=str)
    return found[(found != "").any(axis=1)]


def _as_text(value: object) -> str:
    """A value as a spreadsheet shows it: 7, not 7.0, where a column of whole numbers has gaps;
    other numbers with all the digits that they need."""
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    return str(value).strip().removesuffix(".0")


def _listed(cells: Sequence[str]) -> str:
    more = " | ..." if len(cells) > _SHOWN_CELLS else ""
    return f"`{' | '.join(cell[:30] for cell in cells[:_SHOWN_CELLS])}{more}`"


def _some(parts: Sequence[str]) -> str:
    return ", ".join(parts[:_MOST_NAMED]) + (", ..." if len(parts) > _MOST_NAMED else "")
