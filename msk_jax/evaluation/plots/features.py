"""Patients as points on a map of a network's features, in the house style."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from msk_jax.evaluation.plots.plots import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    house_style,
    panels,
)

# Colour and marker together tell a class, so that grey print does too.
_OF_CLASS = ((BLUE, "o"), (RED, "^"), (GREEN, "s"), (PURPLE, "D"), (ORANGE, "v"), (BLACK, "P"))


def feature_map_figure(features: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """One panel per set of patients, all on the same map.

    Args:
        features: `x`, `y`, `label` and `set` of each patient.
        classes: names by label.
    """
    x, y = np.array(features["x"]), np.array(features["y"])
    labels, sets = np.array(features["label"]), np.array(features["set"])
    names = list(dict.fromkeys(features["set"]))
    with house_style():
        figure, axes = panels(len(names), width=3.0, height=3.6, share_y=True)
        for axis, name in zip(axes, names, strict=True):
            axis.set_title(name[:1].upper() + name[1:].replace("_", " "))
            axis.scatter(x, y, s=6, color="#d9d9d9", linewidths=0)
            for label, title in enumerate(classes):
                colour, marker = _OF_CLASS[label % len(_OF_CLASS)]
                mine = (labels == label) & (sets == name)
                axis.scatter(
                    x[mine],
                    y[mine],
                    s=22,
                    marker=marker,
                    edgecolors=colour,
                    linewidths=0.9,
                    facecolors="none" if label % 2 else colour,
                    label=f"{title} ({mine.sum()})",
                )
            axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
            axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.02))
    return figure
