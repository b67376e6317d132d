"""Patients on a map of the network's features."""

from msk_jax.evaluation.plots.features import feature_map_figure
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, classes_of, filled

METRICS = {
    "features?": (
        {
            "n": int,
            **dict.fromkeys(("silhouette", "silhouette_of_map"), float),
            "x": [float],
            "y": [float],
            "label": [int],
            "set": [str],
        },
        {"n": int, "why": str},
    )
}


def section(inputs: ReportInputs) -> Section | None:
    """The section, a sentence without a heading where there is no map; None where nobody asked."""
    features = inputs.metrics.get("features")
    if not features:
        return None
    if "why" in features:
        return Section("", "features", filled("features", inputs, features=features))
    picture = images.svg(feature_map_figure(features, classes_of(inputs)))
    html = filled("features", inputs, features=features, picture=picture)
    return Section("How the network sorts patients", "features", html, heading=3)
