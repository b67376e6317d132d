"""Which image series a folder holds, from the headers of its files.

A hospital export is hostile input: any depth, any file names, half-copied files, screen captures
and localizers filed with the slices. `scan` reads headers only and never raises for a bad file.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from msk_jax.data.dicom.headers import (
    class_name,
    integer,
    is_capture,
    is_localizer,
    quiet,
    read_bounded,
    text,
    words,
)
from msk_jax.data.images.pictures import is_picture
from msk_jax.data.sources.archives import is_zip, unpack
from msk_jax.data.sources.fetched import INCOMPLETE_NAME, incomplete_reason
from msk_jax.data.sources.names import LITTER_FOLDERS, is_litter
from msk_jax.errors import SeriesError, UserError

_HEADER_TAGS = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        "SOPClassUID",
        "SeriesInstanceUID",
        "PatientID",
        "Modality",
        "SeriesDescription",
        "ImageType",
        "Rows",
        "InstanceNumber",
        "AcquisitionNumber",
        "ImagesInAcquisition",
        "NumberOfSeriesRelatedInstances",
        "NumberOfFrames",
    )
)
_MIN_SLICES = 3

_NOT_DICOM = "not a DICOM file (no DICM mark)"


@dataclass(frozen=True)
class SeriesHeader:
    """What the headers of one series say. Identifying: never leaves the machine it was read on."""

    patient_id: str
    modality: str
    description: str
    num_files: int
    num_localizers: int
    num_captures: int
    """Files that are secondary captures (screen shots, dose pages)."""

    num_stated: int = 0
    """Images that the headers state where that is more than there are, see `_stated`; else 0."""

    @property
    def is_volume(self) -> bool:
        """Whether any file may be a slice, rather than a localizer or a screen capture."""
        return self.num_localizers + self.num_captures < self.num_files


@dataclass(frozen=True)
class Scan:
    """The series below a folder."""

    folder: Path
    series: dict[str, tuple[Path, ...]]
    """Files by SeriesInstanceUID, sorted by path."""

    headers: dict[str, SeriesHeader]
    """By SeriesInstanceUID."""

    skipped: tuple[tuple[Path, str], ...]
    """Files that belong to no image series, with the reason."""

    unpacked: Path | None = None
    """Where archives below the folder were unpacked, if there are any."""

    pictures: tuple[Path, ...] = ()
    """PNG, JPEG, TIFF and NIfTI files."""

    incomplete: dict[str, str] = field(default_factory=dict)
    """Why a series is not to be used that was fetched in part, by SeriesInstanceUID."""

    def place(self, file: Path) -> Path:
        """Where a file lies below `folder`, an archive counted as a folder of its own name."""
        if self.unpacked is not None and file.is_relative_to(self.unpacked):
            return self.folder / file.relative_to(self.unpacked)
        return file


@quiet
def scan(
    folder: Path,
    progress: Callable[[int, int, str], None] | None = None,
    files: Iterable[Path] | None = None,
    unpacked: Path | None = None,
) -> Scan:
    """Find every image series below a folder from the headers of its files.

    Args:
        folder: searched to any depth; file names carry no meaning; a DICOMDIR is ignored, as is
            what systems leave (`names.is_litter`), and a link that leaves the folder is not
            followed.
        progress: called as `progress(files read, files, "")`.
        files: read these instead of all; those that are missing are listed as skipped.
        unpacked: an empty folder that zip archives are unpacked to; without it they are skipped.

    Raises:
        UserError: the folder is missing, or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give the folder with the DICOM files.")
    given = sorted(_below(folder) if files is None else set(files))
    skipped: list[tuple[Path, str]] = []
    if unpacked is not None:
        given, skipped = _unpack_archives(given, folder, unpacked)
    found: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    pictures = []
    roots = [folder.resolve(), *([unpacked.resolve()] if unpacked is not None else [])]
    for i, file in enumerate(given):
        header, reason = None, _reason_to_pass(file, roots, files is not None)
        if reason is None:
            header, reason = _scan_file(file)
        if reason == _NOT_DICOM and is_picture(file):
            pictures.append(file)
        elif reason:
            skipped.append((file, reason))
        elif header is not None:
            found[text(header, "SeriesInstanceUID")].append((file, header))
        if progress:
            progress(i + 1, len(given), "")
    if not found and not pictures:
        what = f"{len(given)} files but no DICOM image" if given else "no files"
        first = f" (first of them: {skipped[0][0].name}: {skipped[0][1]})" if skipped else ""
        raise UserError(
            f"The folder {folder} holds {what}{first}. Give the folder with the DICOM files."
        )
    return Scan(
        folder=folder,
        series={uid: tuple(file for file, _ in items) for uid, items in sorted(found.items())},
        headers={uid: _summarise([h for _, h in items]) for uid, items in sorted(found.items())},
        skipped=tuple(skipped),
        unpacked=unpacked,
        pictures=tuple(pictures),
        incomplete=_incomplete(given, found),
    )


def _incomplete(given: list[Path], found: dict[str, list[tuple[Path, Dataset]]]) -> dict[str, str]:
    """Series in folders that `fetched.SeriesFolder` marked as incomplete, with the reason."""
    marks = {file.parent: file for file in given if file.name == INCOMPLETE_NAME}
    return {
        uid: incomplete_reason(marks[folder])
        for uid, items in (found.items() if marks else ())
        for folder in {file.parent for file, _ in items} & marks.keys()
    }


def _unpack_archives(
    given: list[Path], folder: Path, unpacked: Path
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The given files, what archives hold in place of these, and what was not unpacked, with the
    reason."""
    archives = {file for file in given if is_zip(file)}
    skipped = []
    for archive in sorted(archives):
        place = unpacked / archive.relative_to(folder)
        try:
            skipped += unpack(archive, place)
        except UserError as error:  # half a series is worse than none
            shutil.rmtree(place, ignore_errors=True)
            skipped.append((archive, str(error)))
    return [file for file in given if file not in archives] + sorted(_below(unpacked)), skipped


def _below(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name.lower() not in LITTER_FOLDERS]
        files += [file for name in names if not is_litter(file := Path(parent, name))]
    return files


def _reason_to_pass(file: Path, roots: list[Path], is_named: bool) -> str | None:
    """Why a file is not even opened; one that was named may lie behind a link to a folder."""
    # A named pipe or a socket would block the read for ever.
    if not file.is_file():
        return "not a regular file" if os.path.lexists(file) else "named but missing"
    may_leave = is_named or file.is_symlink()
    if may_leave and not any(file.resolve().is_relative_to(root) for root in roots):
        return "a link that leaves the folder"
    return None


def _scan_file(file: Path) -> tuple[Dataset | None, str | None]:
    """(header, None) of an image, (None, reason) if skipped, (None, None) if ignored."""
    try:
        header = read_bounded(file, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
        sop_class = UID(header.file_meta.get("MediaStorageSOPClassUID", ""))
        if file.name.upper() == "DICOMDIR" or sop_class.name.startswith("Media Storage Directory"):
            return None, None
        if not text(header, "SeriesInstanceUID"):
            return None, "no SeriesInstanceUID (truncated, or not an image)"
        has_rows = integer(header, "Rows") or header.get("Rows")
        is_image = has_rows or "Image Storage" in class_name(text(header, "SOPClassUID"))
        if not is_image:
            return None, f"not an image ({text(header, 'Modality') or 'unknown modality'})"
        return header, None
    except pydicom.errors.InvalidDicomError:
        return None, _NOT_DICOM
    except SeriesError:
        return None, "unfolds to far more than its size: damaged or made to harm"
    except OSError as error:
        return None, f"cannot be read ({error.strerror or type(error).__name__})"
    except Exception as error:
        return None, f"damaged DICOM header ({type(error).__name__})"


def _summarise(headers: list[Dataset]) -> SeriesHeader:
    return SeriesHeader(
        patient_id=text(headers[0], "PatientID"),
        modality=text(headers[0], "Modality").upper(),
        description=text(headers[0], "SeriesDescription"),
        num_files=len(headers),
        num_localizers=sum(is_localizer(header) for header in headers),
        num_captures=sum(not is_localizer(h) and is_capture(h) for h in headers),
        num_stated=_stated(headers),
    )


def _stated(headers: list[Dataset]) -> int:
    """Images of a series as its headers count them, where these agree and there are fewer; else 0.

    An acquisition may be reconstructed to several series. So ImagesInAcquisition counts only where
    all files are slices of one acquisition, none derived from others, and their numbers are
    different ones of 1 to that count: then some, as at an end of the series, were lost.
    """
    instances = {integer(header, "NumberOfSeriesRelatedInstances") for header in headers}
    if len(instances) == 1 and (count := instances.pop()) and count > len(headers):
        return count
    images = {integer(header, "ImagesInAcquisition") for header in headers}
    acquisitions = {text(header, "AcquisitionNumber") for header in headers}
    count = images.pop() if len(images) == len(acquisitions) == 1 else None
    if not count or not _MIN_SLICES <= len(headers) < count:
        return 0
    if any(integer(h, "NumberOfFrames") or "DERIVED" in words(h, "ImageType") for h in headers):
        return 0
    numbers = {integer(header, "InstanceNumber") for header in headers}
    is_part = None not in numbers and len(numbers) == len(headers)
    return count if is_part and min(numbers) >= 1 and max(numbers) <= count else 0
