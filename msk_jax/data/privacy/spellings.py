"""How an identifier of a header may be written in a file, as bytes to search for.

A name is looked for as a whole and by its parts. What decides how is the vocabulary of the product,
because a search that stops at every `small` and `spine` is soon switched off:

- a part that the product does not write counts alone, within a longer word too;
- one that it writes only within longer words (`Doe` in `does`) counts alone where it is a word;
- one that it writes as a word, one of digits alone, and a short one, count alone as a whole value
  (a cell, a JSON string) that the product does not write, and together with another part.

Numbers must not be a piece of a longer number.
"""

import enum
import html
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import markupsafe
from pydicom.datadict import dictionary_VR

from msk_jax.data.privacy.vocabulary import Vocabulary

MIN_LENGTH = 5
"""Bytes; shorter identifiers are looked for where they stand alone."""

MIN_SHORT = 2
"""Still shorter ones are counted and not looked for."""

OF_PERSONS = {
    "PatientID",
    "PatientName",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "AccessionNumber",
    "AdmissionID",
    "MedicalRecordLocator",
}
"""Of short identifiers only these: that a department is called CT names nobody."""

_BIRTH = "PatientBirthDate"
_MAX_PARTS = 6
_LONG_NUMBER = 10  # digits: no number of a result has as many by chance
_LONG_WORD = 8  # letters: two short names in one word are a word of some language
_BETWEEN = (
    "^",
    " ",
    ", ",
    ",",
    "; ",
    ";",
    "_",
    "-",
    ".",
    "=",
    "/",
    "|",
    "\t",
    "+",
    "%20",
    "%5E",
    "__",
    '","',
    '", "',
    "</td><td>",
    "",
)
_BEFORE_WORD = b" ([{\"'`^=_-,;:/\\|\n\t>"
_AFTER_WORD = [b"%c" % c for c in b" )]}\"'`^=_-,;:/\\|\r\n\t<.!?"]
_ANY_TEXT = ("latin-1", "utf-16-le", "utf-16-be")
_OTHER_ENCODINGS = (
    "shift_jis",
    "iso2022_jp",
    "gb18030",
    "big5",
    "euc_kr",
    "iso8859_2",
    "iso8859_5",
    "cp1251",
    "iso8859_7",
    "iso8859_9",
)
_AS_ASCII = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "ø": "oe",
        "Ø": "Oe",
        "å": "aa",
        "Å": "Aa",
        "æ": "ae",
        "Æ": "Ae",
    }
)
_AS_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"})


class Edge(enum.IntEnum):
    """What must not stand beside a string for it to count; the first is the least strict."""

    ANY = 0
    DATE = 1
    """No digit before it, nor a point behind a digit."""

    NUMBER = 2
    """The same on both sides."""

    WORD = 3
    """No letter on either side, beside a digit no digit."""

    TEXT = 4
    """The same, and nothing but text before and after."""


def spellings(value: str, keyword: str, vocabulary: Vocabulary) -> dict[bytes, Edge]:
    """Byte strings that name somebody, and what must not stand beside each.

    Args:
        value: of the header.
        keyword: of its attribute.
        vocabulary: what is written without any patient too.
    """
    if _kind(keyword) == "PN":
        return _of_name(value, vocabulary)
    if _kind(keyword) == "DA" and re.fullmatch(r"\d{8}", value):
        dates = _dates(value) if keyword == _BIRTH else {value}
        return {way: Edge.DATE for date in dates for way in _ways(date)}
    if len(value.encode()) < MIN_LENGTH:
        return dict.fromkeys(_alone_unless_written(value, vocabulary), Edge.ANY)
    if not any(c.isalpha() for c in value):
        is_long = _kind(keyword) == "UI" or sum(c.isdigit() for c in value) >= _LONG_NUMBER
        return dict.fromkeys(_ways(value), Edge.ANY if is_long else Edge.NUMBER)
    found = _of_word(value, vocabulary)
    if keyword in OF_PERSONS and not vocabulary.has_word(value):
        for case in (value.lower(), value.upper()):
            _add(found, _ways(case), Edge.WORD)
    return found


def _kind(keyword: str) -> str:
    try:
        return dictionary_VR(keyword)
    except KeyError:
        return ""


def _dates(value: str) -> set[str]:
    """A day as it is written in several countries."""
    year, month, day = value[:4], value[4:6], value[6:]
    orders = ((year, month, day), (day, month, year), (month, day, year))
    plain = {mark.join(order) for order in orders for mark in "-./"}
    short = {mark.join(part.lstrip("0") for part in order) for order in orders[1:] for mark in "./"}
    return {value, f"{day}{month}{year}", *plain, *short}


def _of_name(value: str, vocabulary: Vocabulary) -> dict[bytes, Edge]:
    if len(_parts(value)) > 1:
        found = _of_word(value, vocabulary)
    elif not any(c.isalpha() for c in value) and len(value) >= MIN_LENGTH:
        return dict.fromkeys(_ways(value), Edge.NUMBER)
    else:
        found = {}
    for group in value.split("="):
        parts = _parts(group)[:_MAX_PARTS]
        singles = _parts("^".join(group.split("^")[:3]))  # behind them are titles
        doubles = [single.split("-") for single in singles if single.replace("-", "").isalpha()]
        for part in {*singles, *itertools.chain(*doubles)}:
            if any(c.isalpha() for c in part):
                for way, edge in _of_part(part, vocabulary).items():
                    _add(found, (way,), edge)
        for pair in itertools.permutations(parts, 2):
            # In other encodings than UTF-8 a part may be too short.
            is_told_alone = group.isascii() and all(_is_telling(p, vocabulary) for p in pair)
            if not is_told_alone:
                _add(found, _together(*pair, vocabulary), Edge.WORD)
    return found


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[\s,^=]+", name) if part]


def _is_telling(part: str, vocabulary: Vocabulary) -> bool:
    """Whether a part counts wherever it is met, so that it need not be looked for with others."""
    is_long = len(part.encode()) >= MIN_LENGTH and any(c.isalpha() for c in part)
    return is_long and not vocabulary.has(part)


def _of_part(part: str, vocabulary: Vocabulary) -> dict[bytes, Edge]:
    size = len(part.encode())
    if size >= MIN_LENGTH:
        found = _of_word(part, vocabulary)
        if not vocabulary.has_word(part):
            for text in set(_variants(part)):
                _add(found, _ways(text), Edge.WORD)
        return found
    found: dict[bytes, Edge] = {}
    if len(part) >= MIN_SHORT or size >= MIN_SHORT + 1:  # one ideograph is a name
        found |= dict.fromkeys(_alone_unless_written(part, vocabulary), Edge.ANY)
    if size > MIN_SHORT and not vocabulary.has_word(part):
        for text in {part, part.upper(), part.title()}:
            _add(found, _amid_text(text.encode()), Edge.TEXT)
    return found


def _amid_text(word: bytes) -> Iterator[bytes]:
    """A short word as part of a sentence or of a file's name."""
    for before in _BEFORE_WORD:
        for after in (b"",) if len(word) + 1 >= MIN_LENGTH else _AFTER_WORD:
            yield b"%c%b%b" % (before, word, after)


def _of_word(value: str, vocabulary: Vocabulary) -> dict[bytes, Edge]:
    """A value of letters as it is; see the top of this file."""
    if vocabulary.has_word(value):
        cases = {value, value.upper(), value.title()}
        alone = {way for case in cases for way in _alone_unless_written(case, vocabulary)}
        return dict.fromkeys(alone, Edge.ANY)
    return dict.fromkeys(_ways(value), Edge.WORD if vocabulary.has(value) else Edge.ANY)


def _together(first: str, second: str, vocabulary: Vocabulary) -> Iterator[bytes]:
    """Two parts of a name in one place, in that order."""
    may_be_written = vocabulary.has(first) and vocabulary.has(second)
    pairs = dict.fromkeys(zip(_variants(first), _variants(second), strict=True))
    for (one, other), between in itertools.product(pairs, _BETWEEN):
        text = f"{one}{between}{other}"
        # Written as one word without a capital within, it may be another word.
        is_word = not between and len(text) < _LONG_WORD and text[1:].isascii()
        is_word = is_word and text[1:] == text[1:].lower()
        if len(text.encode()) < MIN_LENGTH or is_word or (may_be_written and vocabulary.has(text)):
            continue
        if text.isascii():
            yield from (text.encode(encoding) for encoding in _ANY_TEXT)
        else:
            yield from _ways(text)


def _variants(text: str) -> tuple[str, ...]:
    """The same letters in other case, composed and decomposed, and without marks."""
    plain = unicodedata.normalize("NFD", text.translate(_AS_PLAIN))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    forms = (
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
        plain,
        unicodedata.normalize("NFC", text).translate(_AS_ASCII),
    )
    return tuple(w for form in forms for w in (form, form.upper(), form.lower(), form.title()))


def _ways(value: str) -> set[bytes]:
    """How a value may be written: as it is, in other encodings, in JSON, in HTML, in a URL."""
    if value.isascii() and value.isalnum():
        return {way for way in map(value.encode, _ANY_TEXT) if len(way) >= MIN_LENGTH}
    texts = {value, json.dumps(value)[1:-1], html.escape(value), html.escape(value, quote=False)}
    texts |= {str(markupsafe.escape(value)), quote(value, safe=""), quote(value)}
    ways = {text.encode(errors="ignore") for text in texts}
    ways |= {value.encode("ascii", how) for how in ("xmlcharrefreplace", "backslashreplace")}
    for encoding in _ANY_TEXT if value.isascii() else (*_ANY_TEXT, *_OTHER_ENCODINGS):
        try:
            ways.add(value.encode(encoding))
        except UnicodeEncodeError:
            continue
    return {way for way in ways if len(way) >= MIN_LENGTH}


def _alone_unless_written(value: str, vocabulary: Vocabulary) -> set[bytes]:
    return set() if vocabulary.has_value(value) else _alone(value)


def _alone(value: str) -> set[bytes]:
    """How a value may stand alone: as a text of a TFRecord or of JSON; one with a letter also as a
    cell of a table, in a tag of HTML or as part of a path; a short one with a digit too, as a
    word."""
    raw = value.encode(errors="ignore")
    ways = {b'"' + raw + b'"' + after for after in (b"", *(b"%c" % c for c in b",:]} \n"))}
    if len(raw) < 126:
        # A bytes_list of one value in a tf.train.Feature: two messages, each with tag and length.
        ways.add(bytes((0x0A, len(raw) + 2, 0x0A, len(raw))) + raw)
    if any(c.isalpha() for c in value):
        is_short_code = len(raw) < MIN_LENGTH and any(c.isdigit() for c in value)
        space = b" " if is_short_code else b""
        before, after = b",;>/\\\n\t" + space, b",;</\\\n\r\t._" + space
        ways |= {b"%c%b%c" % (b, raw, a) for b in before for a in after}
    return {way for way in ways if len(way) >= MIN_LENGTH}


def _add(found: dict[bytes, Edge], ways: Iterable[bytes], edge: Edge) -> None:
    for way in ways:
        found[way] = min(edge, found.get(way, edge))
