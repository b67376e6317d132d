"""The contents of a working folder that a report shows."""

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class ReportInputs:
    """The contents of a working folder that a report shows."""

    run: dict[str, Any]
    """run.json, written by `train`."""
    metrics: dict[str, Any]
    """metrics.json, written by `evaluate`."""
    predictions: pd.DataFrame
    """predictions.csv, written by `train`; empty where nothing was classified."""
    cohort: dict[str, Any] | None
    """cohort.json, written by `build`; None where missing."""
    histories: dict[int, pd.DataFrame]
    """history.csv of each fold; empty where missing."""
    heat_maps: tuple[dict[str, Any], ...]
    """Entries of cam/index.json whose picture is there, with `png` (bytes) added."""
    heat_maps_missing: int
    """Entries of cam/index.json whose picture is not there."""
    drawn_boxes: tuple[dict[str, Any], ...] = ()
    """Entries of boxes/index.json, with `png` (bytes) added; none where nothing was detected."""
