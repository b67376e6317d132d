"""Segmentations of a study: figures over its cases, with intervals."""

from collections.abc import Sequence

import numpy as np

from msk_jax.evaluation.core.figure import Figure, mean_figure, missing
from msk_jax.evaluation.masks.surface import Convention, overlap, surface_distances


def segmentation_figures(
    masks: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    spacings: Sequence[tuple[float, ...]],
    *,
    convention: Convention = "surfel",
    tolerance_mm: float = 1.0,
    confidence: float = 0.95,
) -> dict[str, Figure]:
    """Means over independent cases with Student's interval.

    Args:
        masks: of each case, bool, 2-D or 3-D.
        references: of each case, of the same shape.
        spacings: of each case, mm along each axis.
        convention: of the distances, as in `surface.surface_distances`.
        tolerance_mm: of the normalised surface distance.

    Returns:
        dice, iou, nsd, hd95_mm, assd_mm, volume_error (signed) and absolute_volume_error, both in
        parts of the reference. Cases where both masks are empty count as 1 for dice, iou and nsd
        and not for the others. Where one mask of a case is empty it has no distance, and leaving it
        out would flatter: then the distances have no answer, nor the volume errors with an empty
        reference.

    Raises:
        ValueError: as `surface.surface_distances`, or lists of unequal length.
    """
    if not len(masks) == len(references) == len(spacings):
        raise ValueError(
            f"There are {len(masks)} masks, {len(references)} references and {len(spacings)} "
            "spacings; each case needs one of each."
        )
    rows: dict[str, list[float | None]] = {
        name: [] for name in (*_SHARES, *_DISTANCES, "volume_error", "absolute_volume_error")
    }
    for mask, reference, spacing in zip(masks, references, spacings, strict=True):
        shared = overlap(mask, reference, spacing)
        apart = surface_distances(
            mask, reference, spacing, convention=convention, tolerance_mm=tolerance_mm
        )
        for name in ("dice", "iou"):
            rows[name].append(getattr(shared, name))
        rows["nsd"].append(apart.nsd)
        if not shared.volume_mm3 and not shared.reference_mm3:
            continue
        for name in _DISTANCES:
            rows[name].append(getattr(apart, name))
        error = shared.volume_error
        rows["volume_error"].append(error)
        rows["absolute_volume_error"].append(None if error is None else abs(error))
    return {name: _mean(values, confidence) for name, values in rows.items()}


_SHARES = ("dice", "iou", "nsd")
_DISTANCES = ("hd95_mm", "assd_mm")


def _mean(values: list[float | None], confidence: float) -> Figure:
    without = sum(value is None for value in values)
    if without:
        why = f"In {without} case(s) one of the two masks is empty, which leaves no answer."
        return missing("Student", why)
    return mean_figure(np.array(values, float), confidence)
