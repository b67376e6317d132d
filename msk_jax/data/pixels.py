"""Stored pixels of one CT slice to Hounsfield units (DICOM PS3.3 C.7.6.3 and C.8.2.1)."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder

from msk_jax.data.geometry import SeriesError

AIR_HU = -1024
"""What stands for 'nothing scanned here' and the lowest value kept."""

MAX_HU = np.iinfo(np.int16).max


def read_hounsfield(path: Path, expected_shape: tuple[int, int]) -> np.ndarray:
    """Read one slice as stored, int16 [rows, columns], HU clipped to [-1024, 32767].

    Args:
      path: a single-frame CT file.
      expected_shape: rows and columns that the header promised.

    Raises:
      SeriesError: truncated or damaged pixel data, a compression without its codec, colour,
        missing or impossible rescale slope and intercept, an inverted image that cannot be told
        from a plain one.
    """
    try:
        dataset = pydicom.dcmread(path)
        _check_decodable(path, dataset)
        stored = np.asarray(dataset.pixel_array)
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"The pixel data of {path.name} cannot be read: the file is truncated or damaged "
            f"({type(error).__name__}). Copy it again."
        ) from error
    if stored.shape != expected_shape:
        raise SeriesError(
            f"{path.name} holds an image of shape {stored.shape} where {expected_shape} was "
            "promised. Copy it again."
        )
    slope, intercept = _rescale(path, dataset)
    padding = _is_padding(stored, dataset)
    stored = stored.astype(np.float64)
    hu = slope * stored + intercept
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        hu = _uninvert(path, dataset, stored, hu, slope, intercept, padding)
    hu = np.where(padding, AIR_HU, hu)
    return np.rint(np.clip(hu, AIR_HU, MAX_HU)).astype(np.int16)


def _check_decodable(path: Path, dataset: Dataset) -> None:
    if dataset.get("SamplesPerPixel", 1) != 1:
        raise SeriesError(
            f"{path.name} is a colour image, not a CT slice. Remove it from the series."
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise SeriesError(
            f"{path.name} does not say how its pixels are encoded (no transfer syntax). Export "
            "the series again."
        )
    if "PixelData" not in dataset:
        raise SeriesError(f"{path.name} has no pixel data: it is truncated. Copy it again.")
    if syntax.is_encapsulated:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            raise SeriesError(
                f"{path.name} is compressed in a way that cannot be read ({syntax.name}). Export "
                "the series uncompressed."
            ) from None
        if not available:
            raise SeriesError(
                f"{path.name} is compressed ({syntax.name}) and the codec is not installed. "
                'Install it with: pip install "msk_jax[codecs]"'
            )


def _rescale(path: Path, dataset: Dataset) -> tuple[float, float]:
    try:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    except (AttributeError, TypeError, ValueError):
        slope = intercept = float("nan")
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise SeriesError(
            f"{path.name} has no usable rescale slope and intercept, so that its values are not "
            "Hounsfield units. Export the original series."
        )
    return slope, intercept


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Pixels that the scanner marked as outside the reconstructed circle, bool [rows, columns]."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return np.zeros(stored.shape, bool)
    if not isinstance(limit, int):
        limit = value
    # Scanners write the padding of signed pixels as unsigned and the other way round (-2000 as
    # 63536), so the low 16 bits decide.
    kind = np.int16 if stored.dtype.kind == "i" else np.uint16
    low, high = sorted(int(np.array(v & 0xFFFF, np.uint16).astype(kind)) for v in (value, limit))
    return (stored >= low) & (stored <= high)


def _uninvert(path, dataset, stored, hu, slope, intercept, padding) -> np.ndarray:
    """Settle whether a MONOCHROME1 slice holds Hounsfield units or their negative.

    By the standard MONOCHROME1 concerns the display only, and rescaled values are Hounsfield
    units all the same; exporters exist that turn the stored values round as well. The rim of a
    CT image is air, so the rim decides.
    """
    bits = int(dataset.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not dataset.get("PixelRepresentation", 0):
        low, high = 0, 2**bits - 1
    inverted = slope * (low + high - stored) + intercept
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
