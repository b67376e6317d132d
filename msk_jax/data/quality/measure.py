"""How good a scan is, measured before anything is trained on it, and whether its header is whole.

Which noise or sharpness is enough depends on what is looked for, so a person looks at the
distribution (`msk-jax inspect`) and decides; `grading` makes grades of the figures.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from msk_jax.data.dicom.frames import group_item, groups_of
from msk_jax.data.dicom.headers import text
from msk_jax.data.images.series import parse_age

_COMMON = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "SeriesDescription",
    "BodyPartExamined",
    "PatientPosition",
    "PatientAge",
    "PatientSex",
    "SliceThickness",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
)
_BY_MODALITY = {
    "CT": ("KVP", "XRayTubeCurrent", "ConvolutionKernel", "RescaleSlope", "RescaleIntercept"),
    "MR": (
        "MagneticFieldStrength",
        "RepetitionTime",
        "EchoTime",
        "ScanningSequence",
        "SequenceVariant",
    ),
    "CR": (),
    "DX": (),
}
_PLANE = ("SliceThickness", "ImageOrientationPatient", "ImagePositionPatient", "PatientPosition")
_GROUPS = {
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
    "KVP": "CTXRayDetailsSequence",
}
UNREAD_AGE = "PatientAge(unread)"
"""What stands for an age that is written in a way that cannot be read."""

_EVERY = 4
_MOST = 10


@dataclass(frozen=True)
class Quality:
    """Figures about a volume, in its units."""

    noise: float
    """Standard deviation of the noise, median over slices (Immerkaer 1996, with a median)."""

    sharpness: float
    """Standard deviation of the Laplacian over that of the values, median over slices: what is
    blurred has less."""

    noise_share: float
    """The noise over the contrast, which is the distance of the 5th from the 95th percentile of
    the values; median over slices, 0 where there is no contrast."""

    clipped: float
    """Share of voxels at the highest value of the volume, 0 to 1: metal or overflow."""

    coverage_mm: tuple[float, float, float]
    """Extent along x, y, z of the array, outer faces."""


def measure(voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> Quality:
    """Measure a volume, its figures of slices on every fourth of them or on some ten.

    Args:
        voxels: [slices, rows, columns].
        spacing_mm: between columns, rows, slices.

    Returns:
        Noise, sharpness and contrast over what is not air or padding, 0 where there is nothing
        else.
    """
    every = max(_EVERY, len(voxels) // _MOST)
    figures = [_slice_figures(image) for image in voxels[::every]]
    noise, sharpness, noise_share = np.median(np.array(figures), axis=0)
    top = voxels.max()
    clipped = 0.0
    if top > voxels.min():
        clipped = sum(np.count_nonzero(image == top) for image in voxels) / voxels.size
    extent = tuple(float(n * s) for n, s in zip(voxels.shape[::-1], spacing_mm, strict=True))
    return Quality(float(noise), float(sharpness), float(noise_share), clipped, extent)


def _slice_figures(image: np.ndarray) -> tuple[float, float, float]:
    image = image if image.dtype.kind in "iu" else image.astype(np.float32)
    inside = _eroded(_eroded(image > _quarter(image)))
    if np.count_nonzero(inside) < 16:
        return 0.0, 0.0, 0.0
    # Nothing at the rim is inside, so that the rim need not be continued.
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2]
    inside = np.flatnonzero(inside[box][1:-1, 1:-1])
    image = image[box].astype(np.int32 if image.dtype.kind in "iu" else np.float32)
    down = image[:-2] - 2 * image[1:-1] + image[2:]
    across = image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]
    values = image[1:-1, 1:-1].ravel()[inside]
    # Second differences along both axes (Immerkaer's mask): its response to white noise of
    # deviation 1 has deviation 6; the median of |x| of a normal x is 0.6745 of its deviation, and
    # edges do not move a median.
    response = (down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]).ravel()[inside]
    spread = float(values.astype(np.float32).std())
    laplace = (down[:, 1:-1] + across[1:-1]).ravel()[inside].astype(np.float32)
    sharpness = float(laplace.std()) / spread if spread > 0 else 0.0
    noise = _quantiles(np.abs(response), [0.5])[0] / 0.6745 / 6
    low, high = _quantiles(values, [0.05, 0.95])
    return noise, sharpness, noise / (high - low) if high > low else 0.0


def _quarter(image: np.ndarray) -> float | int:
    """A quarter of the way from the lowest to the highest value, of whole numbers rounded down."""
    if image.dtype.kind not in "iu":
        return image.min() + 0.25 * np.ptp(image)
    low, high = int(image.min()), int(image.max())
    return low + (high - low) // 4


def _quantiles(values: np.ndarray, at: list[float]) -> list[float]:
    """As `numpy.quantile`; whole numbers are counted, which is much faster than sorting them."""
    if values.dtype.kind != "i":
        return np.quantile(values, at).tolist()
    lowest = int(values.min())
    below = np.bincount(values - lowest).cumsum()
    place = np.array(at) * (len(values) - 1)
    low, high = (np.searchsorted(below, f(place), side="right") for f in (np.floor, np.ceil))
    return (lowest + low + (place - np.floor(place)) * (high - low)).tolist()


def _eroded(inside: np.ndarray) -> np.ndarray:
    """Without the pixels that have a neighbour outside, above, below or beside them."""
    found = np.zeros_like(inside)
    found[1:-1, 1:-1] = (
        inside[1:-1, 1:-1]
        & inside[:-2, 1:-1]
        & inside[2:, 1:-1]
        & inside[1:-1, :-2]
        & inside[1:-1, 2:]
    )
    return found


def missing_tags(header: Dataset) -> tuple[str, ...]:
    """What a complete header of this modality would have and this one has not, and `UNREAD_AGE`.

    Args:
        header: of any image of the series, classic or enhanced.
    """
    modality = text(header, "Modality").upper()
    wanted = [*_COMMON, *_BY_MODALITY.get(modality, ())]
    if modality in ("CR", "DX"):
        wanted = [keyword for keyword in wanted if keyword not in _PLANE]
    groups = groups_of(header, 0)
    missing = [keyword for keyword in wanted if not _has(header, groups, keyword)]
    age = text(header, "PatientAge")
    return (*missing, *([UNREAD_AGE] if age and parse_age(age) is None else ()))


def _has(header: Dataset, groups: list[Dataset], keyword: str) -> bool:
    if text(header, keyword) or (keyword == "PixelSpacing" and text(header, "ImagerPixelSpacing")):
        return True
    item = group_item(groups, _GROUPS[keyword]) if keyword in _GROUPS else None
    return item is not None and bool(text(item, keyword))
