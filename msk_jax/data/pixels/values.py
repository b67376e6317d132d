"""Stored pixels to values with units (DICOM PS3.3 C.7.6.3, C.7.6.16.2.9, C.8.2.1, C.11.1)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from msk_jax.data.dicom.frames import group_item, groups_of
from msk_jax.data.dicom.headers import has, integer, items, number, text
from msk_jax.data.pixels.decode import read_stored
from msk_jax.errors import SeriesError

AIR_HU = -1024
"""What stands for 'nothing scanned here' and the lowest value kept."""

MAX_HU = np.iinfo(np.int16).max

ARBITRARY = "arbitrary"
"""Units of values that the header gives no meaning to, as of most MR."""

_NOT_PLAIN = (
    "ModalityLUTSequence",
    "PixelValueTransformationSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_UNITS_ARE_HU = {"", "HU", "US"}  # US: unspecified, which older scanners write for HU


@dataclass(frozen=True)
class Frames:
    """All frames of one file."""

    values: np.ndarray
    """float32 (float64 where more than 24 bits are stored) [frames, rows, columns], in units."""

    padding: np.ndarray
    """bool, of the same shape: marked as outside the image by the scanner."""

    units: str
    """`HU`, a UCUM code of a real-world-value map, what RescaleType says, or `arbitrary`."""


def read_frames(
    path: Path, dataset: Dataset, real_world: bool = False, allow_colour: bool = False
) -> Frames:
    """Decode every frame of a file and give its values units.

    Args:
        path: of the file, for messages and its size.
        dataset: as `headers.read_header` opened it.
        real_world: use the real-world-value map instead of the modality transformation.
        allow_colour: read a colour image whose colours are all grey, see `colour.decode_grey`.

    Raises:
        SeriesError: truncated or damaged pixel data, pixel data out of proportion to the file, a
            compression without its codec, colour, CT without a usable rescale slope and intercept,
            an inverted CT image that cannot be told from a plain one, no real-world-value map,
            values that
        are no finite numbers.
    """
    stored, raw = read_stored(path, dataset, allow_colour)
    return _with_units(path, dataset, stored, raw, real_world)


def read_hounsfield(path: Path, dataset: Dataset) -> np.ndarray:
    """Decode every frame of a CT file: int16 [frames, rows, columns], Hounsfield units clipped to
    what int16 holds from `AIR_HU` on, padding as air.

    Args:
        path: of the file, for messages and its size.
        dataset: as `headers.read_header` opened it.

    Raises:
        SeriesError: other units; see `read_frames` as well.
    """
    stored, raw = read_stored(path, dataset)
    intercept = _whole_intercept(dataset, stored)
    if intercept is not None:
        padding = _padding(stored, raw, dataset) if has(dataset, "PixelPaddingValue") else None
        limits = np.iinfo(stored.dtype)
        low, high = max(AIR_HU - intercept, limits.min), min(MAX_HU - intercept, limits.max)
        values = np.clip(stored, low, high, out=stored if stored.flags.writeable else None)
        # What is left fits 16 bits, so that the sum may wrap round on its way there.
        values = values.view(np.int16)
        values += np.uint16(intercept & 0xFFFF).view(np.int16)
        if padding is not None:
            values[padding] = AIR_HU
        return values
    found = _with_units(path, dataset, stored, raw, real_world=False)
    if found.units != "HU":
        units = text(dataset, "RescaleType").upper() or found.units
        raise SeriesError(
            f"The values of {path.name} are {units}, not Hounsfield units. Use the original series."
        )
    found.values[found.padding] = AIR_HU
    return np.rint(np.clip(found.values, AIR_HU, MAX_HU)).astype(np.int16)


def _whole_intercept(dataset: Dataset, stored: np.ndarray) -> int | None:
    """What alone is to be added to stored whole numbers for Hounsfield units, as of nearly all CT;
    None where there is more to it, and `_with_units` knows."""
    is_plain = (
        stored.dtype.kind in "iu"
        and stored.dtype.itemsize == 2
        and text(dataset, "Modality").upper() == "CT"
        and text(dataset, "RescaleType").upper() in _UNITS_ARE_HU
        and text(dataset, "PhotometricInterpretation") != "MONOCHROME1"
        and not any(has(dataset, name) for name in _NOT_PLAIN)
        and number(dataset, "RescaleSlope") == 1
    )
    intercept = number(dataset, "RescaleIntercept") if is_plain else None
    is_whole = intercept is not None and intercept.is_integer() and abs(intercept) < 2**15
    return int(intercept) if is_whole else None


def _with_units(
    path: Path, dataset: Dataset, stored: np.ndarray, raw: np.ndarray, real_world: bool
) -> Frames:
    padding = _padding(stored, raw, dataset)
    values = np.empty(stored.shape, np.float64 if _is_deep(dataset) else np.float32)
    units = set()
    for k, frame in enumerate(stored):
        groups = groups_of(dataset, k)
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            if real_world:
                values[k], outside, unit = _real_world(path, frame, groups)
                padding[k] |= outside
            else:
                values[k], unit = _modality_values(path, frame, groups, dataset)
        if not np.isfinite(values[k]).all():
            raise SeriesError(
                f"{path.name} holds values that are no numbers, or too large for one. Export the "
                "original series."
            )
        units.add(unit)
        if text(dataset, "PhotometricInterpretation") == "MONOCHROME1" and unit == "HU":
            values[k] = _uninvert(path, dataset, groups, values[k], padding[k])
    if len(units) > 1:
        raise SeriesError(
            f"The frames of {path.name} have different units ({', '.join(sorted(units))}). Export "
            "them as series of their own."
        )
    return Frames(values, padding, units.pop())


def _is_deep(dataset: Dataset) -> bool:
    return has(dataset, "DoubleFloatPixelData") or (integer(dataset, "BitsStored") or 16) > 24


def _modality_values(
    path: Path, stored: np.ndarray, groups: list[Dataset], dataset: Dataset
) -> tuple[np.ndarray, str]:
    modality = text(dataset, "Modality").upper()
    for source in groups:
        lut = items(source, "ModalityLUTSequence")
        if lut:
            units = text(lut[0], "ModalityLUTType").upper()
            return _apply_lut(path, stored, source), units or ARBITRARY
    source = group_item(groups, "PixelValueTransformationSequence") or groups[-1]
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    units = text(source, "RescaleType").upper()
    if modality == "CT" and units in _UNITS_ARE_HU:
        units = "HU"
    if slope is None and intercept is None and modality != "CT":
        return stored, ARBITRARY
    if slope is None or intercept is None or slope == 0:
        meaning = "not Hounsfield units" if modality == "CT" else "without a meaning"
        raise SeriesError(
            f"{path.name} has no usable rescale slope and intercept, so that its values are "
            f"{meaning}. Export the original series."
        )
    values = stored.astype(np.float64 if _is_deep(dataset) else np.float32)
    if slope != 1:
        values *= slope
    if intercept != 0:
        values += intercept
    return values, units if units not in ("", "US") else ARBITRARY


def _apply_lut(path: Path, stored: np.ndarray, source: Dataset) -> np.ndarray:
    try:
        return apply_modality_lut(stored, source)
    except Exception as error:
        raise SeriesError(
            f"The modality look-up table of {path.name} cannot be used ({type(error).__name__}). "
            "Export the original series."
        ) from error


def _real_world(
    path: Path, stored: np.ndarray, groups: list[Dataset]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Values, what the map does not cover, and units (PS3.3 C.7.6.16.2.11)."""
    item = group_item(groups, "RealWorldValueMappingSequence")
    codes = items(item, "MeasurementUnitsCodeSequence") if item is not None else []
    if not codes:
        raise SeriesError(
            f"{path.name} has no real-world-value map. Read its rescaled values instead."
        )
    low, high = (
        next(
            filter(
                lambda v: v is not None,
                (
                    number(item, f"{kind}RealWorldValue{end}ValueMapped")
                    for kind in ("", "DoubleFloat")
                ),
            ),
            None,
        )
        for end in ("First", "Last")
    )
    slope, intercept = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
    table = item.get("RealWorldValueLUTData")
    stored = stored.astype(np.float64)
    low, high = (stored.min() if low is None else low), (stored.max() if high is None else high)
    outside = (stored < low) | (stored > high)
    units = text(codes[0], "CodeValue") or ARBITRARY
    if slope is not None and intercept is not None:
        return slope * stored + intercept, outside, units
    table = np.atleast_1d(np.asarray([] if table is None else table, np.float64))
    if len(table) != int(high - low) + 1:
        raise SeriesError(
            f"The real-world-value map of {path.name} has neither a slope nor a whole table. "
            "Read its rescaled values instead."
        )
    index = np.clip(stored - low, 0, len(table) - 1).astype(int)
    return table[index], outside, units


def _padding(stored: np.ndarray, raw: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Pixels that the scanner marked as outside the reconstructed circle, bool, as `stored`.

    Some scanners state the value of the pixel, some that of all 16 bits.
    """
    padding = _is_padding(raw, dataset)
    return padding if raw is stored else padding | _is_padding(stored, dataset)


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int) or stored.dtype.kind not in "iu" or stored.itemsize > 2:
        return np.zeros(stored.shape, bool)
    if not isinstance(limit, int):
        limit = value
    # Scanners write the padding of signed pixels as unsigned and the other way round (-2000 as
    # 63536), so the low 16 bits decide.
    kind = np.int16 if stored.dtype.kind == "i" else np.uint16
    low, high = sorted(int(np.array(v & 0xFFFF, np.uint16).astype(kind)) for v in (value, limit))
    return (stored >= low) & (stored <= high)


def lowest_unpadded(values: np.ndarray, padding: np.ndarray) -> float:
    """What padding becomes where values are no Hounsfield units: the lowest of the others."""
    return float(values.min(where=~padding, initial=np.inf))


def check_padded(slices: Iterable[np.ndarray]) -> None:
    """Refuse an image that padding made one value of.

    Args:
        slices: values with padding filled in; they are read until two differ.

    Raises:
        SeriesError: as said.
    """
    low, high = math.inf, -math.inf
    for values in slices:
        low, high = min(low, values.min()), max(high, values.max())
        if low < high:
            return
    raise SeriesError(
        "PixelPaddingValue marks all pixels, or all but those of one value, as lying outside the "
        "image, so that no image is left. Export the original images, or without PixelPaddingValue."
    )


def _uninvert(path, dataset, groups, hu, padding) -> np.ndarray:
    """Settle whether a MONOCHROME1 slice holds Hounsfield units or their negative.

    By the standard MONOCHROME1 concerns the display only, and rescaled values are Hounsfield
    units all the same; exporters exist that turn the stored values round as well. The rim of a
    CT image is air, so the rim decides.
    """
    source = group_item(groups, "PixelValueTransformationSequence") or groups[-1]
    inverted = mirror_sum(dataset, source) - hu.astype(np.float64)
    rim = np.ones(hu.shape, bool)
    rim[2:-2, 2:-2] = False
    rim &= ~padding
    if rim.any():
        plain_is_air, inverted_is_air = (
            -1100 <= np.median(values[rim]) <= -800 for values in (hu, inverted)
        )
        if plain_is_air != inverted_is_air:
            return hu if plain_is_air else inverted
    raise SeriesError(
        f"{path.name} is stored as MONOCHROME1 and it cannot be told whether its values are "
        "Hounsfield units or inverted ones. Export the series as MONOCHROME2."
    )


def mirror_sum(dataset: Dataset, source: Dataset) -> float:
    """What a value and the value of the stored bits turned round add up to.

    Turned round, the lowest value that the bits can hold becomes the highest.

    Args:
        dataset: says what the bits can hold.
        source: has the rescale slope and intercept; without them values are the stored ones.
    """
    bits = min(integer(dataset, "BitsStored") or 16, 64)
    # -2^(bits - 1) and 2^(bits - 1) - 1, or 0 and 2^bits - 1
    total = -1 if integer(dataset, "PixelRepresentation") else 2**bits - 1
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    return (1.0 if slope is None else slope) * total + 2 * (intercept or 0.0)
