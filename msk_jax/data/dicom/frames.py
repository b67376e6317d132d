"""The frames of DICOM files and where each of them lies: one per file, or many per file.

Enhanced multi-frame objects state geometry in functional groups, shared by all frames or given for
each (DICOM PS3.3 C.7.6.16); classic objects state it once, for their only frame.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from msk_jax.data.dicom.geometry import SlicePlane
from msk_jax.data.dicom.headers import (
    has,
    integer,
    is_capture,
    is_localizer,
    item,
    items,
    num_frames,
    number,
    numbers,
    text,
    words,
)
from msk_jax.errors import SeriesError

MAX_FRAMES = 65536

_TILED = ("TILED_FULL", "TILED_SPARSE")
_MOSAIC_GROUP, _MOSAIC_CREATOR, _MOSAIC_COUNT = 0x0019, "SIEMENS MR HEADER", 0x0A


@dataclass(frozen=True)
class Frame:
    """One slice of a series: which frame of which file, and where it lies."""

    file: int
    """Index of the file."""

    index: int
    """Frame within the file, from 0."""

    plane: SlicePlane
    groups: tuple[Dataset, ...]
    """Where its attributes stand, see `groups_of`."""


def frames_of(file: int, path: Path, header: Dataset) -> list[Frame]:
    """The frames of one file.

    Raises:
        SeriesError: no image size, no place in the patient, frames without functional groups, or a
            picture that is more or less than one slice, see `check_layout`.
    """
    check_layout(path, header)
    rows, columns = (integer(header, name) for name in ("Rows", "Columns"))
    if not rows or not columns:
        raise SeriesError(f"{path.name} has no image size: it is truncated. Copy it again.")
    count = num_frames(header)
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    if not per_frame and count > 1:
        raise SeriesError(
            f"{path.name} is a multi-frame object that does not state where each frame lies. "
            "Export the series as one file per slice."
        )
    if per_frame and (len(per_frame) != count or count > MAX_FRAMES):
        raise SeriesError(
            f"{path.name} announces {count} frames and describes {len(per_frame)}. Copy it again."
        )
    found = []
    for index in range(count):
        groups = groups_of(header, index)
        name = f"{path.name} frame {index + 1}" if per_frame else path.name
        plane = _plane(name, groups, header, (rows, columns))
        found.append(Frame(file, index, plane, tuple(groups)))
    return found


def check_layout(path: Path, header: Dataset) -> None:
    """Refuse pictures that are laid together of several, or cut from one.

    Raises:
        SeriesError: a mosaic of slices, as Siemens writes them for echo-planar MR, or tiles of a
            larger picture (PS3.3 C.7.6.17.3).
    """
    is_named = "MOSAIC" in words(header, "ImageType")
    if is_named or _slices_in_mosaic(header) > 1:
        stated_by = "ImageType" if is_named else "NumberOfImagesInMosaic, private"
        raise SeriesError(
            f"{path.name} is a mosaic ({stated_by}): one picture in which many slices lie side by "
            "side. Export the series as enhanced MR, or convert it to NIfTI."
        )
    organisation = text(header, "DimensionOrganizationType").upper()
    if organisation in _TILED or has(header, "TotalPixelMatrixColumns"):
        raise SeriesError(
            f"{path.name} is tiled ({organisation or 'TotalPixelMatrixColumns'}): its frames are "
            "pieces of one larger picture. Export that picture whole."
        )


def _slices_in_mosaic(header: Dataset) -> int:
    """What the private header of Siemens says; anonymised files have lost it, or ImageType."""
    if text(header, "Modality") != "MR":
        return 0
    try:
        block = header.private_block(_MOSAIC_GROUP, _MOSAIC_CREATOR)
        return int(block[_MOSAIC_COUNT].value)
    except Exception:  # as nearly always: there is no such block
        return 0


def groups_of(header: Dataset, index: int) -> list[Dataset]:
    """Where to look for an attribute of a frame: its own groups, the shared ones, the header."""
    own = item(header, "PerFrameFunctionalGroupsSequence", index)
    shared = item(header, "SharedFunctionalGroupsSequence")
    return [*(group for group in (own, shared) if group is not None), header]


def group_item(groups: Sequence[Dataset], sequence: str) -> Dataset | None:
    """The first item of a functional group's sequence, the frame's own before the shared one."""
    found = (item(group, sequence) for group in groups)
    return next((first for first in found if first is not None), None)


def _plane(name: str, groups: list[Dataset], header: Dataset, shape: tuple[int, int]) -> SlicePlane:
    def find(sequence: str, keyword: str, count: int):
        if len(groups) > 1:
            found = group_item(groups, sequence)
            return None if found is None else numbers(found, keyword, count)
        return numbers(header, keyword, count)

    position = find("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = find("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    pixel_mm = find("PixelMeasuresSequence", "PixelSpacing", 2)
    if is_capture(header) or position is None or orientation is None or pixel_mm is None:
        raise SeriesError(
            f"{name} does not state where it lies in the patient (a screen capture, or a "
            "header without position, orientation or pixel spacing). Use the original slices."
        )
    return SlicePlane(name, position, orientation, pixel_mm, shape)


def thickness_mm(groups: list[Dataset]) -> float | None:
    """SliceThickness of a frame, for a volume of one slice."""
    measures = group_item(groups, "PixelMeasuresSequence")
    return number(groups[-1] if measures is None else measures, "SliceThickness")


def check_kind(paths: list[Path], headers: list[Dataset], modality: str | None) -> None:
    """Refuse files of another modality than was asked for, and localizers among slices.

    Raises:
        SeriesError: as said.
    """
    expected = modality or text(headers[0], "Modality").upper()
    for path, header in zip(paths, headers, strict=True):
        found = text(header, "Modality")
        if found.upper() != expected:
            raise SeriesError(
                f"The series is {found or 'of unknown modality'} where {expected} is due "
                f"({path.name}). Name the {expected} series of this patient."
            )
    localizers = [p for p, h in zip(paths, headers, strict=True) if is_localizer(h)]
    if len(localizers) == len(paths):
        raise SeriesError("The series holds only localizers. Name the axial series.")
    if localizers:
        raise SeriesError(
            f"{len(localizers)} of {len(paths)} files are localizers among the slices "
            f"({localizers[0].name}). Remove them from the series."
        )


def check_one_series(headers: list[Dataset]) -> None:
    """Refuse files of several series.

    Raises:
        SeriesError: as said.
    """
    modalities = defaultdict(set)
    for header in headers:
        uid = text(header, "SeriesInstanceUID")
        modalities[text(header, "Modality") or "unknown modality"].add(uid)
    num_series = len(set().union(*modalities.values()))
    if num_series > 1:
        listed = ", ".join(f"{len(uids)} {name}" for name, uids in sorted(modalities.items()))
        raise SeriesError(
            f"The files belong to {num_series} different series ({listed}). Name one by its "
            "series_uid in the manifest, or keep one series per folder."
        )


def check_one_patient(names: list[str]) -> None:
    """Refuse files of several patients.

    The identifiers themselves stay out of the reason, which is written to `rejected.csv`.

    Raises:
        SeriesError: as said.
    """
    if len(set(names)) < 2:
        return
    num_ids, nameless = len(set(names) - {""}), names.count("")
    found = f"{num_ids} PatientID{'s' * (num_ids > 1)} in {len(names)} files"
    if nameless:
        found += f", {nameless} of them without one"
    raise SeriesError(
        f"The files of this series do not all name the same patient ({found}). Keep the files of "
        "one patient, or export the series again."
    )
