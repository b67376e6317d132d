"""Readers without and with the network's help."""

from collections.abc import Mapping, Sequence
from typing import Any

from msk_jax.evaluation.mrmc.aided import ALL
from msk_jax.evaluation.mrmc.readers import AIDED, UNAIDED
from msk_jax.evaluation.plots.readers import reader_curves_figure, reader_figure
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, published_of
from msk_jax.reports.shapes import POINTS, TEXT

_READERS = {
    "simulated": bool,
    "analysis": {
        "n": {"readers": int, "cases": int, "positives": int},
        "design": str,
        "groups": {str: dict},
        "roc?": ({str: {"readers": {str: POINTS}, "mean": POINTS}}, None),
        "overall": {"reader_names": [str], "modality_names": [str], "modalities": [dict]},
    },
    "network": {"threshold": float, "auc": dict, "accuracy": dict},
    **{key: {str: (dict, None)} for key in ("majorities", "kappa")},
    "reading_time": ({str: {str: float}}, None),
    "why": TEXT,
}
METRICS = {"readers?": _READERS}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where nobody has read."""
    study = inputs.metrics.get("readers")
    if not study:
        return None
    printed = [entry for entry in published_of(inputs) if entry.get("readers")]
    html = filled("readers", inputs, readers=_readers(study, printed))
    return Section("Readers without and with the network's help", "readers", html)


def _readers(study: Mapping[str, Any], published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template goes through; `published` are figures that name readers."""
    analysis = study["analysis"]
    parts = {**analysis["groups"], ALL: analysis["overall"]}
    counts = {
        name: len(part.get("readers", part.get("reader_names"))) for name, part in parts.items()
    }
    return {
        **study,
        "n": analysis["n"],
        "design": analysis["design"],
        "published": {
            entry["readers"]: entry["value"] for entry in published if entry["name"] == "accuracy"
        },
        "notes": sorted({entry["note"] for entry in published if entry.get("note")}),
        "areas": [{"name": name, "readers": counts[name], **_areas(parts[name])} for name in parts],
        "picture": images.svg(reader_figure(analysis["overall"])),
        "curves": images.svg(reader_curves_figure(roc)) if (roc := analysis.get("roc")) else None,
    }


def _areas(part: Mapping[str, Any]) -> dict[str, Any]:
    """Both areas of a group and what help adds, or why there are none."""
    found = {entry["name"]: entry for entry in part.get("modalities", ())}
    if not found:
        return {UNAIDED: None, "why": part["why"]}
    test = part["differences"][0]
    sign = 1 if test["first"] == AIDED else -1
    bounds = sorted(sign * test[name] for name in ("low", "high") if test[name] is not None)
    low, high = bounds or (None, None)
    gain = {"value": sign * test["difference"], "low": low, "high": high, "p": test["p"]}
    return {**found, "gain": gain}
