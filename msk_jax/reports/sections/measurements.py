"""What was counted on pictures, beside the counts of people."""

from typing import Any

import numpy as np

from msk_jax.evaluation.measurement import bland_altman
from msk_jax.evaluation.plots.outcomes import agreement_figure
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.shapes import figure

_AGREEMENT = {
    "n": int,
    "unit": str,
    **dict.fromkeys(("mae", "adjusted_r2", "adjusted_r"), (float, None)),
    **dict.fromkeys(("r", "bias", "lower", "upper"), figure()),
}
METRICS = {
    "measurements?": {
        str: {
            "share_of": [str],
            "score": float,
            "sets": {
                str: {
                    "counts": {str: _AGREEMENT},
                    "share": {
                        **_AGREEMENT,
                        "said": [(float, None)],
                        "true": [(float, None)],
                    },
                }
            },
        }
    }
}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where nothing was counted."""
    stages = inputs.metrics.get("measurements")
    if not stages:
        return None
    pictures = {
        (stage, name): _picture(part["share"])
        for stage, entry in stages.items()
        for name, part in entry["sets"].items()
    }
    first = next(iter(stages.values()))
    html = filled("measurements", inputs, stages=stages, first=first, pictures=pictures)
    return Section("What was counted", "measurements", html)


def _picture(share: dict[str, Any]) -> str | None:
    """Bland-Altman's plot of the shares; None where there are too few."""
    pairs = [p for p in zip(share["said"], share["true"], strict=True) if None not in p]
    said, true = np.array(pairs, float).reshape(-1, 2).T
    known = np.isfinite(said) & np.isfinite(true)
    said, true = said[known], true[known]
    if len(said) < 3:
        return None
    return images.svg(agreement_figure(said, true, bland_altman(said, true), share["unit"]))
