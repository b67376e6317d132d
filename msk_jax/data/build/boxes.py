"""What people drew in a picture, as a record of its crop holds it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msk_jax.data.annotations import check_inside, read_boxes
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import ManifestRow
from msk_jax.data.images.series import Series
from msk_jax.data.sources.names import existing
from msk_jax.errors import SeriesError, UserError


def boxes_of(
    row: ManifestRow, files: Sequence[Path], series: Series, cohort: Cohort, folder: Path
) -> dict[str, np.ndarray]:
    """Boxes and their classes, see `fields.Boxes.features`; nothing where the cohort has no boxes.

    Args:
        row: names the file of annotations and, by its path, the picture.
        files: of the picture, whose name stands for it where the row has no path.
        series: the picture.
        cohort: whose boxes they are.
        folder: that the file of annotations is relative to.

    Raises:
        SeriesError: there is no such file of annotations, or it does not know the picture; a box
            lies outside of the picture or is of no class of the cohort.
    """
    field = cohort.boxes
    if field is None or not row.boxes:
        return {}
    path = existing(folder / row.boxes)
    height, width = series.voxels.shape[-2:]
    try:
        boxes = read_boxes(path, row.path or files[0].name, field.classes)
        boxes = check_inside(boxes, height, width)
    except UserError as error:
        # Files of annotations often carry the patient's name, as those of images do.
        text = str(error).replace(str(path), path.name)
        raise SeriesError(text.replace(path.name, "its file of annotations")) from error
    return {
        field.name: cohort.region.placed(boxes.boxes, height, width),
        field.class_name: boxes.classes.astype(np.int64),
    }
