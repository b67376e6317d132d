"""One projection image (CR, DX, a scanned film) with its scale, as far as the header knows it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut

from msk_jax.data.dicom.frames import check_layout
from msk_jax.data.dicom.headers import items, num_frames, number, numbers, quiet, read_header, text
from msk_jax.data.dicom.laterality import laterality
from msk_jax.data.images.volume import window_of
from msk_jax.data.pixels.values import check_padded, lowest_unpadded, mirror_sum, read_frames
from msk_jax.errors import SeriesError


@dataclass(frozen=True)
class Spacing:
    """Distance between rows and between columns of a projection, and in which plane it holds."""

    mm: tuple[float, float] | None
    """None where the header does not say."""

    plane: str
    """`patient` (calibrated or corrected for magnification), `detector` (larger than the anatomy
    by the unknown magnification), `film` or `unknown`."""

    source: str
    """The attribute it comes from."""


@dataclass(frozen=True)
class Radiograph:
    """A projection image. Identifying: `patient_id` and `series_uid` come from the header."""

    pixels: np.ndarray
    """float32 [rows, columns]; dense tissue is bright whatever the photometric interpretation."""

    spacing: Spacing
    modality: str
    view: str = ""
    """ViewPosition, as AP or LL."""

    laterality: str = ""
    """L, R, B, U (unpaired) or ''."""

    window: tuple[float, float] | None = None
    """Centre and width that the header suggests, in the values of `pixels`; None after `voi`."""

    patient_id: str = ""
    series_uid: str = ""


@quiet
def read_radiograph(path: Path, voi: bool = False) -> Radiograph:
    """Read one CR, DX or other projection image of grey values, were they stored as colour.

    Args:
        path: a single-frame file.
        voi: apply the file's VOI look-up table or window, as a viewer would (PS3.3 C.11.2).

    Raises:
        SeriesError: several frames, colours that are not grey, pixels that are not square without
            their spacing, padding that leaves one value, damage, a missing codec; see
            `values.read_frames`.
    """
    path = Path(path)
    header = read_header(path)
    check_layout(path, header)
    if num_frames(header) > 1:
        raise SeriesError(
            f"{path.name} holds {num_frames(header)} frames where one projection is due. Export "
            "single images."
        )
    spacing = spacing_of(header)
    shape = numbers(header, "PixelAspectRatio", 2)
    if spacing.mm is None and shape and shape[0] != shape[1]:
        raise SeriesError(
            f"The pixels of {path.name} are not square (PixelAspectRatio {shape[0]:g} to "
            f"{shape[1]:g}), and their spacing is not stated. Export the image with square pixels."
        )
    frames = read_frames(path, header, allow_colour=True)
    values, padding = frames.values[0], frames.padding[0]
    window = window_of(header)
    if voi and (window or items(header, "VOILUTSequence")):
        values, window = _apply_voi(path, values, header), None
    if text(header, "PhotometricInterpretation") == "MONOCHROME1":
        if voi or items(header, "ModalityLUTSequence"):
            total = float(values.max()) + float(values.min())
        else:
            total = mirror_sum(header, header)
        values = total - values
        window = window and (total - window[0], window[1])
    if padding.any():
        values = np.where(padding, lowest_unpadded(values, padding), values)
        check_padded([values])
    return Radiograph(
        pixels=values.astype(np.float32),
        spacing=spacing,
        modality=text(header, "Modality").upper(),
        view=text(header, "ViewPosition").upper(),
        laterality=laterality(header),
        window=window,
        patient_id=text(header, "PatientID"),
        series_uid=text(header, "SeriesInstanceUID"),
    )


def spacing_of(header: Dataset) -> Spacing:
    """Which spacing holds, and where (DICOM PS3.3 10.7.1.3 and C.8.11.4).

    PixelSpacing counts where it was calibrated or differs from ImagerPixelSpacing, for then
    somebody changed it; else the detector's spacing is divided by the magnification, if stated.
    """
    pixel = _positive(header, "PixelSpacing")
    imager = _positive(header, "ImagerPixelSpacing")
    kind = text(header, "PixelSpacingCalibrationType").upper()
    if pixel and (kind or (imager and not np.allclose(pixel, imager, rtol=1e-3))):
        return Spacing(pixel, "patient", f"PixelSpacing, calibrated ({kind or 'not said how'})")
    if imager:
        factor = number(header, "EstimatedRadiographicMagnificationFactor")
        if factor and factor >= 1:
            at_patient = (imager[0] / factor, imager[1] / factor)
            return Spacing(at_patient, "patient", "ImagerPixelSpacing / magnification")
        return Spacing(imager, "detector", "ImagerPixelSpacing")
    if pixel:
        return Spacing(pixel, "detector", "PixelSpacing, plane not stated")
    film = _positive(header, "NominalScannedPixelSpacing")
    if film:
        return Spacing(film, "film", "NominalScannedPixelSpacing")
    return Spacing(None, "unknown", "")


def _positive(header: Dataset, keyword: str) -> tuple[float, float] | None:
    value = numbers(header, keyword, 2)
    return value if value and min(value) > 0 else None


def _apply_voi(path: Path, values: np.ndarray, header: Dataset) -> np.ndarray:
    try:
        if items(header, "VOILUTSequence"):
            return apply_voi_lut(np.rint(values).astype(np.int32), header).astype(np.float32)
        return apply_voi_lut(values, header).astype(np.float32)
    except Exception as error:
        raise SeriesError(
            f"The VOI look-up table of {path.name} cannot be used ({type(error).__name__}). Read "
            "it without."
        ) from error
