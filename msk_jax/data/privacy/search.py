"""Many byte strings looked for all at once in streams of any length."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from msk_jax.data.privacy.spellings import MIN_LENGTH, Edge, spellings
from msk_jax.data.privacy.vocabulary import Vocabulary

_BESIDE = 4
"""Bytes beside a string that decide whether it counts."""

_TEXT = bytes(range(32, 127)) + b"\t\n\r"


@dataclass(frozen=True)
class Sought:
    """Byte strings, made ready to be looked for."""

    names: dict[bytes, tuple[str, Edge]]
    """Keyword of what a string names, and what must not stand beside it."""

    lengths: dict[bytes, tuple[int, ...]]
    """Of those that begin with these `MIN_LENGTH` bytes."""

    first: np.ndarray
    """bool [2^24]: whether any begins with these three bytes."""

    second: np.ndarray
    """The same of the third to fifth byte."""

    longest: int
    """Bytes of the longest."""

    num_unsought: int
    """Values that cannot be told from what the product writes."""

    @classmethod
    def of(cls, values: Mapping[str, str], vocabulary: Vocabulary) -> "Sought":
        """Make ready to look for keywords by value."""
        names: dict[bytes, tuple[str, Edge]] = {}
        num_unsought = 0
        for value, keyword in values.items():
            ways = spellings(value, keyword, vocabulary)
            num_unsought += not ways
            for way, edge in ways.items():
                if way not in names or edge < names[way][1]:
                    names[way] = keyword, edge
        lengths: dict[bytes, set[int]] = {}
        first, second = np.zeros(2**24, bool), np.zeros(2**24, bool)
        for way in names:
            lengths.setdefault(way[:MIN_LENGTH], set()).add(len(way))
            first[int.from_bytes(way[:3], "big")] = True
            second[int.from_bytes(way[2:5], "big")] = True
        by_start = {start: tuple(of_start) for start, of_start in lengths.items()}
        longest = max(map(len, names), default=1)
        return cls(names, by_start, first, second, longest, num_unsought)

    def keywords_in(self, blocks: Iterable[bytes]) -> set[str]:
        """Keywords of the strings that count in a stream, also across the borders of its blocks."""
        found: set[str] = set()
        room = self.longest + 2 * _BESIDE
        # As if in a line of its own, whose end may be what a string begins with. What is judged
        # has its context before it, and lies whole, with what follows it, in what has been read.
        content = b"\n" * (_BESIDE + 1)
        for block in blocks:
            content += block
            found.update(self._in_block(content, len(content) - room))
            content = content[max(0, len(content) - room - _BESIDE) :]
        found.update(self._in_block(content + b"\n" * _BESIDE, len(content)))
        return found

    def _in_block(self, content: bytes, end: int) -> Iterator[str]:
        """Keywords of strings that begin before `end`, with context before the first."""
        if len(content) < MIN_LENGTH:
            return
        values = np.frombuffer(content, np.uint8).astype(np.int32)
        three = values[:-2] << 16 | values[1:-1] << 8 | values[2:]
        for place in np.flatnonzero(self.first[three[:-2]] & self.second[three[2:]]):
            for length in self.lengths.get(content[place : place + MIN_LENGTH], ()):
                keyword, edge = self.names.get(content[place : place + length], ("", Edge.ANY))
                if keyword and _BESIDE <= place < end and _counts(content, place, length, edge):
                    yield keyword


def _counts(content: bytes, place: int, length: int, edge: Edge) -> bool:
    before = content[max(0, place - _BESIDE) : place]
    after = content[place + length : place + length + _BESIDE]
    if edge >= Edge.WORD:
        is_piece = _goes_on(content[place : place + 1], before[-1:]) or _goes_on(
            content[place + length - 1 : place + length], after[:1]
        )
        is_text = edge == Edge.WORD or not (before + after).translate(None, _TEXT)
        return is_text and not is_piece
    if edge in (Edge.DATE, Edge.NUMBER) and (
        before[-1:].isdigit() or (before[-1:] == b"." and before[-2:-1].isdigit())
    ):
        return False
    is_number_going_on = after[:1].isdigit() or (after[:1] == b"." and after[1:2].isdigit())
    return edge != Edge.NUMBER or not is_number_going_on


def _goes_on(end: bytes, beside: bytes) -> bool:
    """Whether a number, or a word, that ends in `end` goes on; a byte of UTF-8 is a letter."""
    if end.isdigit():
        return beside.isdigit()
    return beside.isalpha() and (end.isalpha() or not end.isascii())
