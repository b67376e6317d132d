"""Archives and media directories, which may hold anything: unpacked within bounds, or refused."""

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath

from msk_jax.data.dicom.headers import MAX_GROWTH, items, max_bytes, quiet, read_bounded
from msk_jax.errors import UserError

MAX_MEMBERS = 1_000_000
_BLOCK = 2**20
_UTF_8 = 0x800
_MAX_NAME_BYTES = 255


def is_zip(file: Path) -> bool:
    """Whether a regular file is a zip archive, whatever its name."""
    try:
        if not file.is_file() or file.is_symlink():
            return False
        with file.open("rb") as opened:
            return opened.read(4) == b"PK\x03\x04" and zipfile.is_zipfile(file)
    except OSError:
        return False


def unpack(archive: Path, folder: Path) -> list[tuple[Path, str]]:
    """Unpack a zip archive below a folder, as far as its members keep to it.

    Args:
        archive: the file.
        folder: made if it is missing; nothing is written outside it.

    Returns:
        The members that were not unpacked, with the reason.

    Raises:
        UserError: the archive is damaged, or unfolds to more than `headers.max_bytes` of its size.
    """
    passed = []
    room = max_bytes(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_MEMBERS:
                raise UserError(
                    f"{archive} has {len(members)} members, more than {MAX_MEMBERS}. Unpack it "
                    "by hand and look at it."
                )
            for member in members:
                name = _name(member)
                reason = _reason_to_pass(member, name)
                if reason:
                    passed.append((archive / _tame(name), reason))
                elif not name.endswith("/"):
                    room -= _copy(opened, member, folder / name, room)
                if room < 0:
                    raise UserError(
                        f"{archive} unfolds to more than {MAX_GROWTH} times its size: it is "
                        "damaged or made to harm. Unpack it by hand and look at it."
                    )
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"The archive {archive} cannot be unpacked ({type(error).__name__}: {error}). Copy it "
            "again, or unpack it by hand."
        ) from error
    except Exception as error:  # zlib, bz2 and lzma have errors of their own
        if isinstance(error, UserError):
            raise
        raise UserError(f"The archive {archive} is damaged. Copy it again.") from error
    return passed


def _name(member: zipfile.ZipInfo) -> str:
    """A member's name, parted by slashes; in UTF-8 where it is, whether the archive says so or not.

    A name in another code page stays as the format has it, in code page 437: which one it is, only
    a table tells that names the file, see `names.Places`. In some a letter ends in a backslash.
    """
    name = member.filename
    if not member.flag_bits & _UTF_8 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            return name
    return name.replace("\\", "/")


def _reason_to_pass(member: zipfile.ZipInfo, name: str) -> str | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        return "its path leaves the archive"
    if any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in name.split("/")):
        return "its name is too long"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link"
    if member.flag_bits & 1:
        return "encrypted"
    return None


def _tame(name: str) -> str:
    """A member's name that is safe in a path and in a message."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-80:]


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Bytes written; stops soon after `room` is used up, whatever the member's header says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with opened.open(member) as source, target.open("xb") as out:
        while size <= room and (block := source.read(_BLOCK)):
            out.write(block)
            size += len(block)
    return size


@quiet
def files_of_dicomdir(path: Path) -> list[Path]:
    """The files that a DICOMDIR refers to (PS3.3 F.3), below its own folder.

    Upper and lower case, and the version numbers of old discs (`;1`), are forgiven.

    Raises:
        UserError: it is damaged, refers to nothing, or to files outside its folder.
    """
    try:
        records = items(read_bounded(path), "DirectoryRecordSequence")
        named = [record.get("ReferencedFileID") for record in records]
    except Exception as error:
        raise UserError(
            f"{path} is no readable DICOMDIR ({type(error).__name__}). Give its folder instead."
        ) from error
    parts = [
        [str(part) for part in ([name] if isinstance(name, str) else name)]
        for name in named
        if name
    ]
    if not parts:
        raise UserError(f"{path} refers to no files. Give its folder instead.")
    for name in parts:
        if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in name):
            raise UserError(f"{path} refers to files outside its folder. Give its folder instead.")
    return [_find(path.parent, name) for name in parts]


def _find(folder: Path, parts: list[str]) -> Path:
    """The file below a folder, its name as written or as the disc's copy has it."""
    place = folder
    for part in parts:
        exact = place / part
        if not exact.exists() and place.is_dir():
            alike = [p for p in place.iterdir() if p.name.lower().split(";")[0] == part.lower()]
            exact = alike[0] if len(alike) == 1 else exact
        place = exact
    return place
