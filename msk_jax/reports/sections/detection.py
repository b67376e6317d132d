"""What was found on pictures: precision by class, and pictures with boxes."""

from collections.abc import Mapping
from typing import Any

from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.shapes import figure

METRICS = {
    "detection?": {
        "classes": [str],
        "sets": {
            str: {
                "n": int,
                "patients": int,
                "overlap": float,
                "mean": figure(method=str),
                "of_class": {str: figure(method=str, boxes=int)},
            }
        },
    }
}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where nothing was detected."""
    detection: Mapping[str, Any] | None = inputs.metrics.get("detection")
    if not detection:
        return None
    drawn = [
        {**entry, "src": images.data_uri(entry["png"], "image/png")} for entry in inputs.drawn_boxes
    ]
    html = filled("detection", inputs, detection=detection, drawn=drawn)
    return Section("What was found", "detection", html)
