"""One axial CT series as a volume of Hounsfield units, or the reason that it is none."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from msk_jax.data.dicom.acquisitions import choose_part
from msk_jax.data.dicom.geometry import stack_slices
from msk_jax.data.dicom.headers import has, quiet, text
from msk_jax.data.images.volume import read_frames_of_series
from msk_jax.data.pixels.values import check_padded, read_hounsfield

_AGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?) ?([YMWD]?)").fullmatch
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
MAX_AGE_YEARS = 120.0
"""What is more is no age: 999Y stands for one that nobody knows."""


@dataclass(frozen=True)
class Series:
    """One volume; in canonical order, z, y, x ascending (superior, posterior, left), unless its
    direction says otherwise."""

    voxels: np.ndarray
    """int16 [slices, rows, columns] of CT, Hounsfield units, -1024 outside the scanned circle; of
    other values see `radiograph_crops.stretched`; of a radiograph [rows from foot to head, 1,
    columns], see `radiograph_crops.read_projection`."""

    spacing_mm: tuple[float, float, float]
    """Distance between columns, rows, slices: along x, y, z."""

    origin_mm: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] in patient coordinates (LPS), x, y, z."""

    modality: str
    patient_id: str
    series_uid: str
    age_years: float | None
    sex: str | None
    """F, M or O, as PatientSex has it."""

    spacing_known: bool = True
    """False where the file tells none, as of many pictures; `spacing_mm` then counts pixels."""

    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    """Unit vectors of columns, rows and slices as the columns of a 3 x 3 matrix, row by row."""

    is_colour: bool = False
    """Whether the slices are the planes of one picture: red, green and blue."""

    @property
    def is_projection(self) -> bool:
        """Whether this is a radiograph."""
        return self.voxels.shape[1] == 1

    def to_sitk(self) -> sitk.Image:
        """The volume as a SimpleITK image, whose patient coordinates are LPS as well."""
        image = sitk.GetImageFromArray(self.voxels)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image


@quiet
def read_series(paths: Iterable[Path], modality: str = "CT") -> Series:
    """Read the files of one axial series into a volume of Hounsfield units in canonical order.

    Slices are ordered by their position along the slice normal; file order, file names and
    instance numbers play no part.

    Args:
        paths: the files of the series, in any order; classic or enhanced multi-frame.
        modality: what every file must say (DICOM PS3.3 C.7.3.1.1.1).

    Raises:
        SeriesError: anything that keeps the files from being one straight, complete, axial volume
            of one patient in Hounsfield units; see `geometry.stack_slices` and `values.read_frames`
            as well.
    """
    paths, headers, frames = read_frames_of_series(paths, modality)
    frames = choose_part(frames, None)
    stack = stack_slices([frame.plane for frame in frames])
    voxels, decoded = None, {}
    for k, i in enumerate(stack.order):
        frame = frames[i]
        if frame.file not in decoded:
            decoded = {frame.file: read_hounsfield(paths[frame.file], headers[frame.file])}
        values = stack.orient(decoded[frame.file][frame.index])
        voxels = np.empty((len(frames), *values.shape), np.int16) if voxels is None else voxels
        voxels[k] = values
    if any(has(header, "PixelPaddingValue") for header in headers):
        check_padded(voxels)
    header = headers[0]
    return Series(
        voxels=voxels,
        spacing_mm=stack.spacing_mm,
        origin_mm=stack.origin_mm,
        modality=modality,
        patient_id=text(header, "PatientID"),
        series_uid=text(header, "SeriesInstanceUID"),
        age_years=parse_age(text(header, "PatientAge")),
        sex=text(header, "PatientSex").upper() or None,
    )


def parse_age(value: str) -> float | None:
    """PatientAge in years: `045Y`, `018M`, `006W` or `012D` (DICOM PS3.5 6.2, AS), also without the
    zeros or, of years, without the letter. None where it can mean nothing or several things, or is
    beyond `MAX_AGE_YEARS`.

    >>> parse_age("045Y"), parse_age("45"), parse_age("6M"), parse_age("about 45")
    (45.0, 45.0, 0.5, None)
    """
    match = _AGE(value.strip().upper())
    if match is None:
        return None
    years = round(float(match[1]) / _PER_YEAR[match[2]], 2)
    return years if years <= MAX_AGE_YEARS else None
