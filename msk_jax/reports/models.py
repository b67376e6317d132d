"""What the page shows of several models, or several sets of patients, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from msk_jax.data.shards.folds import POOLED_SITES
from msk_jax.evaluation.plots.decisions import decision_curves_figure
from msk_jax.evaluation.studies.side_by_side import OUT_OF_FOLD
from msk_jax.reports.images import svg

NAMES = {"image": "network on the image"}


def models_context(
    metrics: Mapping[str, Any], published: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """What `models.html.j2` needs; None where there is one model in one set.

    Args:
        metrics: metrics.json.
        published: figures of the paper that name a test set.
    """
    models = metrics.get("models")
    if not models:
        return None
    printed = {(p["name"], p.get("model", ""), p["test_set"]): p["value"] for p in published}
    sets = list(next(iter(models.values())))
    return {
        "figures": models,
        "sets": sets,
        "set_names": {name: _set_name(name) for name in sets},
        "names": {name: NAMES.get(name, f"{name} model") for name in models},
        "published": {
            model: {name: printed.get(("auc", model, name)) for name in sets} for model in models
        },
        "notes": sorted({p["note"] for p in published if p.get("note")}),
        "comparison": metrics["comparison"],
        "curves": {
            name: svg(decision_curves_figure(entry["decision_curves"]))
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
