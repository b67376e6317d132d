"""DICOM files in: which series a folder holds, and one series as a volume of Hounsfield units.

A hospital export is hostile input: any depth, any file names, half-copied files, screen captures
and localizers filed with the slices. `scan` reads headers only and never raises for a bad file;
`read_series` either gives a volume whose geometry holds or refuses with the reason.
"""

import functools
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import UID

from msk_jax.data import pixels
from msk_jax.data.geometry import SeriesError, SlicePlane, stack_slices
from msk_jax.errors import UserError

__all__ = ["Scan", "Series", "SeriesError", "SeriesHeader", "read_series", "scan"]

_HEADER_TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "SeriesDescription",
    "ImageType",
    "Rows",
]
_LOCALIZER_TYPES = {"LOCALIZER", "SCOUT", "REF_SURVIEW", "TOPOGRAM"}
_UNITS_ARE_HU = {"", "HU", "US"}  # US: unspecified, which older scanners write for HU


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


@dataclass(frozen=True)
class Series:
    """One CT volume in canonical order: z, y, x ascending (superior, posterior, left)."""

    voxels: np.ndarray
    """int16 [slices, rows, columns], Hounsfield units, -1024 outside the scanned circle."""

    spacing_mm: tuple[float, float, float]
    """Distance between voxels along x, y, z."""

    origin_mm: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] in patient coordinates (LPS), x, y, z."""

    modality: str
    patient_id: str
    series_uid: str
    age_years: float | None
    sex: str | None
    """F, M or O, as PatientSex has it."""

    def to_sitk(self) -> sitk.Image:
        """The volume as a SimpleITK image, whose patient coordinates are LPS as well."""
        image = sitk.GetImageFromArray(self.voxels)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        return image


def _quiet(function: Callable) -> Callable:
    """Without pydicom's warnings about odd values: what matters is checked and refused by name.

    A value is decoded when it is asked for, so reading alone cannot be made quiet.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return call


@_quiet
def scan(folder: Path, progress: Callable[[int, int, str], None] | None = None) -> Scan:
    """Find every image series below a folder from the headers of its files.

    Args:
      folder: searched to any depth; file names carry no meaning; a DICOMDIR is ignored.
      progress: called as `progress(files read, files, "")`.

    Raises:
      UserError: the folder is missing, or holds no DICOM image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give the folder with the DICOM files.")
    files = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    found: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    skipped = []
    for i, file in enumerate(files):
        header, reason = _scan_file(file)
        if reason:
            skipped.append((file, reason))
        elif header is not None:
            found[str(header.SeriesInstanceUID)].append((file, header))
        if progress:
            progress(i + 1, len(files), "")
    if not found:
        what = f"{len(files)} files but no DICOM image" if files else "no files"
        first = f" (first of them: {skipped[0][0].name}: {skipped[0][1]})" if skipped else ""
        raise UserError(
            f"The folder {folder} holds {what}{first}. Give the folder with the DICOM files."
        )
    return Scan(
        folder=folder,
        series={uid: tuple(file for file, _ in items) for uid, items in sorted(found.items())},
        headers={uid: _summarise([h for _, h in items]) for uid, items in sorted(found.items())},
        skipped=tuple(skipped),
    )


@_quiet
def read_series(paths: Iterable[Path], modality: str = "CT") -> Series:
    """Read the files of one series into a volume of Hounsfield units.

    Slices are ordered by their position along the slice normal; file order, file names and
    instance numbers play no part.

    Args:
      paths: the files of the series, in any order.
      modality: what every file must say (DICOM PS3.3 C.7.3.1.1.1).

    Raises:
      SeriesError: anything that keeps the files from being one straight, complete, axial volume
        of one patient with known units; see `geometry.stack_slices` and `pixels.read_hounsfield`
        as well.
    """
    paths = sorted(Path(path) for path in paths)
    if not paths:
        raise SeriesError("The series has no files. Give the folder with its DICOM files.")
    headers = [_read_header(path) for path in paths]
    _check_one_series(headers)
    _check_one_patient([_text(header, "PatientID") for header in headers])
    _check_kind(paths, headers, modality)
    planes = [_plane(path, header) for path, header in zip(paths, headers, strict=True)]
    stack = stack_slices(planes)
    slices = (
        stack.orient(pixels.read_hounsfield(paths[i], expected_shape=planes[i].shape))
        for i in stack.order
    )
    first = next(slices)
    voxels = np.empty((len(paths), *first.shape), np.int16)
    voxels[0] = first
    for i, values in enumerate(slices, start=1):
        voxels[i] = values
    header = headers[0]
    return Series(
        voxels=voxels,
        spacing_mm=stack.spacing_mm,
        origin_mm=stack.origin_mm,
        modality=modality,
        patient_id=_text(header, "PatientID"),
        series_uid=_text(header, "SeriesInstanceUID"),
        age_years=parse_age(_text(header, "PatientAge")),
        sex=_text(header, "PatientSex").upper() or None,
    )


def parse_age(value: str) -> float | None:
    """PatientAge in years: `045Y`, `018M`, `006W` or `012D` (DICOM PS3.5 6.2, AS); else None."""
    per_year = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
    value = value.strip().upper()
    if len(value) == 4 and value[:3].isdigit() and value[3] in per_year:
        return round(int(value[:3]) / per_year[value[3]], 2)
    return None


def _scan_file(file: Path) -> tuple[Dataset | None, str | None]:
    """(header, None) of an image, (None, reason) if skipped, (None, None) if ignored."""
    try:
        # A named pipe or a socket would block the read for ever.
        if not file.is_file():
            return None, "not a regular file"
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
        sop_class = UID(header.file_meta.get("MediaStorageSOPClassUID", ""))
        if file.name.upper() == "DICOMDIR" or sop_class.name.startswith("Media Storage Directory"):
            return None, None
        if not _text(header, "SeriesInstanceUID"):
            return None, "no SeriesInstanceUID (truncated, or not an image)"
        is_image = header.get("Rows") or "Image Storage" in UID(_text(header, "SOPClassUID")).name
        if not is_image:
            return None, f"not an image ({_text(header, 'Modality') or 'unknown modality'})"
        return header, None
    except pydicom.errors.InvalidDicomError:
        return None, "not a DICOM file (no DICM mark)"
    except OSError as error:
        return None, f"cannot be read ({error.strerror or type(error).__name__})"
    except Exception as error:
        return None, f"damaged DICOM header ({type(error).__name__})"


def _summarise(headers: list[Dataset]) -> SeriesHeader:
    return SeriesHeader(
        patient_id=_text(headers[0], "PatientID"),
        modality=_text(headers[0], "Modality").upper(),
        description=_text(headers[0], "SeriesDescription"),
        num_files=len(headers),
        num_localizers=sum(_is_localizer(header) for header in headers),
        num_captures=sum(not _is_localizer(h) and _is_capture(h) for h in headers),
    )


def _read_header(path: Path) -> Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError:
        raise SeriesError(f"{path.name} is not a DICOM file. Remove it from the series.") from None
    except Exception as error:
        raise SeriesError(
            f"The header of {path.name} cannot be read ({type(error).__name__}): the file is "
            "truncated or damaged. Copy it again."
        ) from error


def _text(header: Dataset, keyword: str) -> str:
    """A header value as plain text; '' where it is missing or cannot be decoded."""
    try:
        value = header.get(keyword)
        return "" if value is None else str(value).strip().strip("\0").strip()
    except Exception:
        return ""


def _numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, or None where the value is missing or is something else."""
    try:
        values = tuple(float(v) for v in header.get(keyword) or ())
    except Exception:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _image_type(header: Dataset) -> set[str]:
    try:
        value = header.get("ImageType") or ()
        return {str(v).strip().upper() for v in ([value] if isinstance(value, str) else value)}
    except Exception:
        return set()


def _is_localizer(header: Dataset) -> bool:
    return bool(_image_type(header) & _LOCALIZER_TYPES)


def _is_capture(header: Dataset) -> bool:
    return "Secondary Capture" in UID(_text(header, "SOPClassUID")).name


def _check_one_series(headers: list[Dataset]) -> None:
    modalities = defaultdict(set)
    for header in headers:
        uid = _text(header, "SeriesInstanceUID")
        modalities[_text(header, "Modality") or "unknown modality"].add(uid)
    num_series = len(set().union(*modalities.values()))
    if num_series > 1:
        listed = ", ".join(f"{len(uids)} {name}" for name, uids in sorted(modalities.items()))
        raise SeriesError(
            f"The files belong to {num_series} different series ({listed}). Name one by its "
            "series_uid in the manifest, or keep one series per folder."
        )


def _check_one_patient(names: list[str]) -> None:
    """The identifiers themselves stay out of the reason, which is written to `rejected.csv`."""
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


def _check_kind(paths: list[Path], headers: list[Dataset], modality: str) -> None:
    for path, header in zip(paths, headers, strict=True):
        found = _text(header, "Modality")
        if found.upper() != modality:
            raise SeriesError(
                f"The series is {found or 'of unknown modality'} where {modality} is due "
                f"({path.name}). Name the {modality} series of this patient."
            )
    localizers = [p for p, h in zip(paths, headers, strict=True) if _is_localizer(h)]
    if len(localizers) == len(paths):
        raise SeriesError("The series holds only localizers. Name the axial series.")
    if localizers:
        raise SeriesError(
            f"{len(localizers)} of {len(paths)} files are localizers among the slices "
            f"({localizers[0].name}). Remove them from the series."
        )


def _plane(path: Path, header: Dataset) -> SlicePlane:
    if "PerFrameFunctionalGroupsSequence" in header or _frames(header) > 1:
        raise SeriesError(
            f"{path.name} is a multi-frame object, which is not read yet. Export the series as "
            "one file per slice."
        )
    position = _numbers(header, "ImagePositionPatient", 3)
    orientation = _numbers(header, "ImageOrientationPatient", 6)
    pixel_mm = _numbers(header, "PixelSpacing", 2)
    rows, columns = (_numbers_scalar(header, name) for name in ("Rows", "Columns"))
    if not rows or not columns:
        raise SeriesError(f"{path.name} has no image size: it is truncated. Copy it again.")
    if _is_capture(header) or position is None or orientation is None or pixel_mm is None:
        raise SeriesError(
            f"{path.name} does not state where it lies in the patient (a screen capture, or a "
            "header without position, orientation or pixel spacing). Use the original slices."
        )
    units = _text(header, "RescaleType").upper()
    if units not in _UNITS_ARE_HU:
        raise SeriesError(
            f"The values of {path.name} are {units}, not Hounsfield units. Use the original series."
        )
    return SlicePlane(path.name, position, orientation, pixel_mm, (rows, columns))


def _frames(header: Dataset) -> int:
    return _numbers_scalar(header, "NumberOfFrames") or 1


def _numbers_scalar(header: Dataset, keyword: str) -> int | None:
    try:
        return int(header.get(keyword))
    except Exception:
        return None
