"""What the page shows of readers without and with the network's help."""

from collections.abc import Mapping, Sequence
from typing import Any

from msk_jax.evaluation.mrmc.aided import ALL
from msk_jax.evaluation.mrmc.readers import AIDED, UNAIDED
from msk_jax.evaluation.plots.readers import reader_curves_figure, reader_figure
from msk_jax.reports.images import svg


def readers_context(
    metrics: Mapping[str, Any], published: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """What `readers.html.j2` needs; None where nobody has read.

    Args:
        metrics: metrics.json.
        published: figures of the paper that name readers.
    """
    study = metrics.get("readers")
    if not study:
        return None
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
        "picture": svg(reader_figure(analysis["overall"])),
        "curves": svg(reader_curves_figure(analysis["roc"])) if analysis.get("roc") else None,
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
