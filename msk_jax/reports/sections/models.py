"""Several models, or several sets of patients, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from msk_jax.data.shards.folds import POOLED_SITES
from msk_jax.evaluation.plots.decisions import decision_curves_figure
from msk_jax.evaluation.studies.side_by_side import CALIBRATION, FIGURES, OUT_OF_FOLD
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, published_of
from msk_jax.reports.shapes import TEXT, figure

NAMES = {"image": "network on the image"}

_IN_SET = {"n": int, "positives": int, **dict.fromkeys((*FIGURES, *CALIBRATION), figure())}
_TEST = {
    "first": str,
    "second": str,
    "why": TEXT,
    **dict.fromkeys(("difference", "low", "high", "p"), (float, None)),
}
_CURVE = {
    **{name: [float] for name in ("thresholds", "model", "treat_all")},
    **dict.fromkeys(("low", "high"), ([float], None)),
}
METRICS = {
    "models?": {str: {str: _IN_SET}},
    "comparison?": {str: {"tests": [_TEST], "decision_curves": {str: _CURVE}, "why": TEXT}},
}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where there is one model in one set."""
    if not inputs.metrics.get("models"):
        return None
    printed = [entry for entry in published_of(inputs) if entry.get("test_set")]
    side = _side_by_side(inputs.metrics, printed)
    return Section("Side by side", "side-by-side", filled("models", inputs, side=side))


def _side_by_side(
    metrics: Mapping[str, Any], published: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the template goes through; `published` are figures that name a test set."""
    models = metrics["models"]
    printed = {(p["name"], p.get("model", ""), p["test_set"]): p["value"] for p in published}
    sets = list(next(iter(models.values())))
    return {
        "figures": models,
        "first": next(iter(models.values())),
        "sets": sets,
        "set_names": {name: _set_name(name) for name in sets},
        "names": {name: NAMES.get(name, f"{name} model") for name in models},
        "published": {
            model: {name: printed.get(("auc", model, name)) for name in sets} for model in models
        },
        "printed": bool(printed),
        "notes": sorted({p["note"] for p in published if p.get("note")}),
        "comparison": metrics["comparison"],
        "curves": {
            name: images.svg(decision_curves_figure(entry["decision_curves"]))
            for name, entry in metrics["comparison"].items()
        },
    }


def _set_name(name: str) -> str:
    kind, _, site = name.partition("_")
    if name == OUT_OF_FOLD:
        return name
    if name == POOLED_SITES:
        return "all other sites (external)"
    return f"site {site} (external)" if site else f"{kind} (internal)"
