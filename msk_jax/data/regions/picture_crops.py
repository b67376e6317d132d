"""A whole picture in colour on a square grid."""

from collections.abc import Hashable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from msk_jax.data.images.pictures import is_picture, read_colour_picture
from msk_jax.data.images.series import Series
from msk_jax.data.regions.picture import PLANES, PictureRegion
from msk_jax.data.regions.region import AXIAL, Crop
from msk_jax.errors import SeriesError

_WHITE = 255
"""What a slide shows where nothing lies on it."""
_SIZES_MM = (5e-5, 1.0)
"""What pixels of a microscope, or of a picture of a whole slide, may be."""
_MM_PER_INCH = 25.4


def read_colours(files: Iterable[Path], modality: str = "SM") -> Series:
    """One picture as three planes, red, green and blue, 0 to 255.

    Colours are what the file stores; no colour profile is applied, and stains are not made alike.

    Args:
        files: the one file, PNG, JPEG or TIFF with 8 bits of each colour.
        modality: what to call it; files of pictures do not say.

    Returns:
        Spacing is that of the file's resolution, where that can be a microscope's; else it is not
        known (`Series.spacing_known`). The upper left corner is the origin.

    Raises:
        SeriesError: several files, DICOM, or no such picture.
    """
    files = list(files)
    if len(files) != 1:
        raise SeriesError(
            f"The series holds {len(files)} images where one picture is due. Name one file by its "
            "path in the manifest."
        )
    if not is_picture(files[0]):
        raise SeriesError(
            "Pictures of sections are read from TIFF, PNG or JPEG, and this is a DICOM file. "
            "Export its field as TIFF with its resolution."
        )
    picture, per_inch = read_colour_picture(files[0])
    spacing = _spacing_mm(per_inch)
    column_mm, row_mm = spacing or (1.0, 1.0)
    return Series(
        voxels=np.moveaxis(picture, -1, 0).astype(np.int16),
        spacing_mm=(column_mm, row_mm, 1.0),
        origin_mm=(0.0, 0.0, 0.0),
        modality=modality.partition("/")[0],
        patient_id="",
        series_uid="",
        age_years=None,
        sex=None,
        spacing_known=spacing is not None,
        is_colour=True,
    )


def _spacing_mm(per_inch: tuple[float, float] | None) -> tuple[float, float] | None:
    """Of columns and of rows, where the resolution is one."""
    if per_inch is None or min(per_inch) <= 0:
        return None
    spacing = tuple(_MM_PER_INCH / value for value in per_inch)
    # What programs write when nobody measured anything.
    is_screen = any(round(value) in (72, 96) for value in per_inch)
    if is_screen or not all(_SIZES_MM[0] <= value <= _SIZES_MM[1] for value in spacing):
        return None
    return spacing


def cut(region: PictureRegion, series: Series, place: Hashable) -> dict[str, Crop]:
    """The crop of one picture, see `PictureRegion.extract`."""
    _, height, width = series.voxels.shape
    rows, columns = region.filled(height, width)
    picture = Image.fromarray(np.moveaxis(series.voxels, 0, -1).astype(np.uint8))
    if (rows, columns) != (height, width):
        # Of a smaller picture each pixel is a weighted mean of all that it covers.
        picture = picture.resize((columns, rows), Image.Resampling.BILINEAR)
    voxels = np.full((PLANES, region.size, region.size), _WHITE, np.int16)
    voxels[:, :rows, :columns] = np.moveaxis(np.asarray(picture), -1, 0)
    column_mm, row_mm, _ = series.spacing_mm
    spacing = (column_mm * width / columns, row_mm * height / rows, 1.0)
    # The centre of the first pixel of the crop, counted from that of the first of the picture.
    origin = ((spacing[0] - column_mm) / 2, (spacing[1] - row_mm) / 2, 0.0)
    return {str(place): Crop(voxels, np.zeros(PLANES, np.float32), origin, spacing, AXIAL)}
