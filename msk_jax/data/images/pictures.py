"""Radiographs of public collections that are no DICOM: PNG, JPEG and TIFF."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.misc import is_dicom

from msk_jax.data.dicom.headers import max_bytes
from msk_jax.data.images import tiff_tags
from msk_jax.data.images.nifti import NIFTI_ENDINGS
from msk_jax.data.images.radiograph import Radiograph, Spacing
from msk_jax.data.images.samples import Samples
from msk_jax.data.images.tiff import read_tiff
from msk_jax.errors import SeriesError

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_SCREEN_DPI = (72, 96)  # what programs write when nobody measured anything
_DPI_RANGE = (50, 2500)  # 0.5 to 0.01 mm: what radiographs and film scanners have
_FORMATS = ("PNG", "JPEG")
_ORIENTATION = 0x0112
_GREY_ALPHA, _RGB_ALPHA = 4, 6  # colour types of PNG
_OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xffO\xffQ": "JPEG 2000",
    b"RIFF": "WebP",
    b"%PDF": "PDF",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x5c\x01\0\0": "NIfTI",
    b"\0\0\x01\x5c": "NIfTI",
}
"""How files of other forms begin."""


def is_picture(file: Path) -> bool:
    """Whether this is a picture or a NIfTI volume by its name, and no DICOM file by its mark."""
    return file.name.lower().endswith((*_PICTURES, *NIFTI_ENDINGS)) and not is_dicom(file)


def read_picture(path: Path, spacing_mm: float | None = None, modality: str = "DX") -> Radiograph:
    """Read a PNG, JPEG or TIFF radiograph as grey values, whatever its name ends in.

    Values are what the file stores, with all their bits: no gamma or colour profile is applied.
    WhiteIsZero is turned round, the orientation that the file notes (mirrored ones too) is applied
    to the picture and to its spacing, a palette is looked up; see `samples.Samples.grey` for
    colours and transparency.

    Args:
        path: the file.
        spacing_mm: of its pixels, where the manifest knows it; else the file's resolution if it can
            be one of film, else unknown.
        modality: what to call it.

    Raises:
        SeriesError: not such a picture, damaged, several pages, or out of proportion to its file.
    """
    samples, pixels = _read(Path(path), Samples.grey)
    spacing = _spacing_of(samples)
    if spacing_mm is not None:
        spacing = Spacing((spacing_mm, spacing_mm), "patient", "manifest")
    return Radiograph(pixels, spacing, modality)


def read_colour_picture(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Read a PNG, JPEG or TIFF picture as its colours, upright.

    Returns:
        uint8 [rows, columns, 3], see `samples.Samples.colours`, and pixels per inch along a row and
        along a column; None where the file does not say.

    Raises:
        SeriesError: not such a picture, damaged, more than 8 bits of a colour, several pages, or
            out of proportion to its file.
    """
    samples, colours = _read(Path(path), Samples.colours)
    per_inch = samples.per_inch
    return colours, per_inch[::-1] if per_inch and samples.is_turned else per_inch


def _read(path: Path, taken: Callable[[Samples, str], np.ndarray]) -> tuple[Samples, np.ndarray]:
    """What a file stores, and what is taken of it."""
    head = b""
    try:
        with path.open("rb") as file:
            head = file.read(26)
        samples = read_tiff(path) if head.startswith(tiff_tags.MARKS) else _by_pillow(path, head)
        return samples, taken(samples, path.name)
    except SeriesError:
        raise
    except Exception as error:
        raise _unreadable(path, head, error) from error


def _unreadable(path: Path, head: bytes, error: Exception) -> SeriesError:
    for mark, kind in _OTHERS.items():
        if head.startswith(mark):
            return SeriesError(
                f"{path.name} cannot be read as PNG, JPEG or TIFF: by its content it is a {kind} "
                "file, whatever its name says. Save it as PNG."
            )
    return SeriesError(
        f"{path.name} cannot be read as PNG, JPEG or TIFF ({type(error).__name__}). Save it again."
    )


def _by_pillow(path: Path, head: bytes) -> Samples:
    """PNG and JPEG; see `read_picture`."""
    with Image.open(path, formats=_FORMATS) as image:
        width, height = image.size
        if width * height * 4 > max_bytes(path):
            raise SeriesError(
                f"{path.name} promises {width} x {height} pixels, too many for a file of its "
                "size: it is damaged or made to harm. Remove it."
            )
        if getattr(image, "n_frames", 1) > 1:
            raise SeriesError(f"{path.name} has several pages. Save the one that is meant.")
        orientation = image.getexif().get(_ORIENTATION, 1)
        bits, kind = (head[24], head[25]) if image.format == "PNG" else (8, None)
        clear, dpi = image.info.get("transparency"), image.info.get("dpi")
        colour = "cmyk" if image.mode == "CMYK" else "rgb"
        values = _deep_colour(path, kind) if bits == 16 and kind else _channels(image)
    channels = {1: 1, 2: 1, 3: 3, 4: 4 if colour == "cmyk" else 3}[values.shape[2]]
    opacity = None
    if values.shape[2] > channels:
        opacity = values[..., channels].astype(np.float32) / np.iinfo(values.dtype).max
    elif clear is not None and not isinstance(clear, bytes):
        # A grey value or a colour of PNG; pillow spreads 2 and 4 bits to 8, but not this value.
        spread = 255 // (2**bits - 1) if bits in (2, 4) else 1
        opacity = (values != np.asarray(clear) * spread).any(axis=2).astype(np.float32)
    return Samples(
        values[..., :channels],
        colour if channels > 1 else "grey",
        opacity,
        orientation if isinstance(orientation, int) else 1,
        _pair(dpi),
    )


def _channels(image: Image.Image) -> np.ndarray:
    """[rows, columns, channels] of 8 bits, or of one of 16, as stored; of palettes, the colours."""
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    values = np.asarray(image)
    if values.dtype.itemsize > 2:  # pillow before 11 has 16 bits of grey in 32
        values = values.astype(np.uint16)
    return values[..., None] if values.ndim == 2 else values


def _deep_colour(path: Path, kind: int) -> np.ndarray:
    """uint16 [rows, columns, channels] of a PNG file with colours or alpha of 16 bits.

    Pillow keeps the upper byte of each. Told that the samples are in the other byte order, it keeps
    the lower one; and grey with alpha is four bytes, as a colour with alpha of 8 bits is.
    """
    if kind == _GREY_ALPHA:
        pairs = _unpacked(path, "RGBA")
        high, low = pairs[..., ::2], pairs[..., 1::2]
    else:
        mode = "RGBA" if kind == _RGB_ALPHA else "RGB"
        high, low = (_unpacked(path, f"{mode};16{order}") for order in "BL")
    return high.astype(np.uint16) << 8 | low


def _unpacked(path: Path, raw_mode: str) -> np.ndarray:
    """A PNG file whose bytes are taken for those of another of pillow's raw modes."""
    with Image.open(path, formats=("PNG",)) as image:
        (decoder, box, offset, _), *_ = image.tile
        image.tile = [(decoder, box, offset, raw_mode)]
        return np.asarray(image)


def _pair(dpi) -> tuple[float, float] | None:
    try:
        across, down = (float(v) for v in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return across, down


def _spacing_of(samples: Samples) -> Spacing:
    if samples.per_inch is None:
        return Spacing(None, "unknown", "")
    is_told = all(_DPI_RANGE[0] <= v <= _DPI_RANGE[1] for v in samples.per_inch)
    if not is_told or any(round(v) in _SCREEN_DPI for v in samples.per_inch):
        return Spacing(None, "unknown", "")
    across, down = reversed(samples.per_inch) if samples.is_turned else samples.per_inch
    return Spacing((25.4 / down, 25.4 / across), "film", "resolution of the file")
