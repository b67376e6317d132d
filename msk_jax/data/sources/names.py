"""Names of files: what systems leave beside the images, and which file a name in a table means.

One name is spelled in many ways: composed or decomposed letters (Unicode Annex 15), capitals, the
slash of another system, the code page of the machine that made an archive.
"""

import contextlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from msk_jax.errors import SeriesError

LITTER_FOLDERS = frozenset(
    (
        "__macosx",
        ".appledouble",
        ".fseventsd",
        ".spotlight-v100",
        ".temporaryitems",
        ".trashes",
        "@eadir",
        "$recycle.bin",
        "system volume information",
    )
)
_LITTER = frozenset((".ds_store", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini"))
_APPLE_DOUBLE = "._"

_CODE_PAGES = (
    "utf-8",
    "cp437",
    "cp850",
    "cp852",
    "cp866",
    "cp1250",
    "cp1251",
    "cp1252",
    "latin-1",
    "cp932",
    "gb18030",
    "big5",
    "cp949",
)
"""What names of archives are written in: UTF-8 without saying so, and the code pages that
Windows has set in Europe and East Asia."""

_MAX_COMPARED = 2000


def is_litter(file: Path) -> bool:
    """Whether a system left it beside the files: metadata, thumbnails, settings of a folder."""
    name = file.name.lower()
    if name.startswith(_APPLE_DOUBLE):
        from pydicom.misc import is_dicom

        return not (file.is_file() and is_dicom(file))
    return name in _LITTER


def tidy(path: str) -> str:
    """A path in composed letters, its parts parted by one slash, with single blanks between words.

    Characters that nobody sees, as those that Windows puts before a path that is copied, go too.

    >>> tidy(".\\\\sub\\\\\\\\a.png ")
    'sub/a.png'
    """
    seen = "".join(c for c in path if unicodedata.category(c) != "Cf")
    parts = unicodedata.normalize("NFC", seen).replace("\\", "/").split("/")
    words = (" ".join(part.split()) for part in parts)
    return "/".join(part for part in words if part not in ("", "."))


def legible(path: str) -> str:
    """A path that can be written and shown, where its bytes on the disk are no UTF-8; it is found
    again by `Places`."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode("latin-1")
    return path


def spellings(path: str) -> set[str]:
    """What the name may read in the code page that it was written in, tidy.

    Python, as the format of archives wants it, takes a name that is not marked as UTF-8 for code
    page 437; other programs that unpack take it for Windows' or write its bytes as they are.
    """
    if path.isascii():
        return set()
    stored, read = {os.fsencode(path)}, set()
    for page in ("cp437", "cp1252", "latin-1"):
        with contextlib.suppress(UnicodeEncodeError):
            stored.add(path.encode(page))
    for content in stored:
        for page in _CODE_PAGES:
            try:
                read.add(tidy(content.decode(page)))
            except UnicodeDecodeError:
                continue
    return read


def is_below(path: str) -> bool:
    """Whether a path is relative and does not lead out of its folder."""
    plain = path.replace("\\", "/")
    is_absolute = plain.startswith("/") or re.match(r"[A-Za-z]:/", tidy(plain))
    return not is_absolute and ".." not in plain.split("/")


class Places:
    """Paths that there are, and which of them a path of a table means."""

    def __init__(self, paths: Iterable[str]):
        """`paths` of files; the folders above them count too."""
        self._paths = set(paths)
        for path in list(self._paths):
            while path := path.rpartition("/")[0]:
                if path in self._paths:
                    break
                self._paths.add(path)
        self._levels: list[tuple[Callable[[str], str], dict[str, set[str]]]] = []

    def find(self, wanted: str) -> str:
        """The one path that is equal to the wanted one.

        Equal is, in this order: as it is; as `tidy` has both; in a code page, see `spellings`;
        and these two but for capitals.

        Raises:
            PathError: there is none, or more than one of the first of these kinds.
        """
        if wanted in self._paths:
            return wanted
        for read, index in self._index():
            alike = index.get(read(wanted), set())
            if len(alike) == 1:
                return next(iter(alike))
            if alike:
                raise PathError(
                    f"{len(alike)} files or folders have this path but for capitals, the form of "
                    "letters or the code page. Write it exactly as the one that is meant.",
                    f"{wanted!r} may be {' or '.join(repr(legible(p)) for p in sorted(alike)[:3])}",
                )
        near = self._nearest(tidy(wanted))
        raise PathError(
            "There is no image at this path. Correct the path, which is relative to the given "
            "folder, or add the files.",
            f"there is no {wanted!r}" + (f"; the nearest is {legible(near)!r}" if near else ""),
        )

    def _index(self):
        """For each kind of equality how a wanted path is read, and paths by what they read."""
        if not self._levels:
            as_is, in_page = defaultdict(set), defaultdict(set)
            for path in self._paths:
                as_is[tidy(path)].add(path)
                for spelling in spellings(path):
                    in_page[spelling].add(path)
            folded = [_folded(index) for index in (as_is, in_page)]
            self._levels = [(tidy, as_is), (tidy, in_page), *((_fold, i) for i in folded)]
        return self._levels

    def _nearest(self, wanted: str) -> str:
        """The path that looks most like it: of the same file name, of the same folder, of any."""
        folder, _, name = _fold(wanted).rpartition("/")
        read = {_fold(path): path for path in self._paths}
        by_name = [path for path in read if path.rpartition("/")[2] == name]
        by_folder = [path for path in read if path.rpartition("/")[0] == folder]
        for candidates, cutoff in ((by_name, 0.0), (by_folder, 0.6), (list(read), 0.6)):
            near = get_close_matches(_fold(wanted), candidates[:_MAX_COMPARED], 1, cutoff)
            if near:
                return read[near[0]]
        return ""


class PathError(SeriesError):
    """A path of a table means no file, or several."""

    def __init__(self, reason: str, hint: str):
        """`hint` names files, which often carry patients' names: it is for the screen alone."""
        super().__init__(reason)
        self.hint = hint


def existing(path: Path) -> Path:
    """The path, or the only one that is there and equal to it as `Places` has it."""
    place = Path(path.anchor)
    try:
        if path.exists():
            return path
        for part in path.parts[len(place.parts) :]:
            exact = place / part
            place = exact if exact.exists() else place / Places(os.listdir(place)).find(part)
    except (OSError, SeriesError):
        return path
    return place


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", tidy(path).casefold())


def _folded(index: dict[str, set[str]]) -> dict[str, set[str]]:
    folded = defaultdict(set)
    for key, paths in index.items():
        folded[_fold(key)] |= paths
    return folded
