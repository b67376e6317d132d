"""Which figures a study of classes holds: the one place that asks how many classes there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msk_jax.evaluation.studies import several_classes, two_classes
from msk_jax.evaluation.studies.cases import Cases

Part = Callable[[Cases], dict[str, Any]]
"""Some figures of cases, by name; of no cases as many as there can be."""


@dataclass(frozen=True)
class Kind:
    """Figures of a kind of study, in the order in which a level holds them."""

    name: str
    """Name of the kind."""
    out_of_fold: tuple[Part, ...]
    """Those of the patients of the folds."""
    test_set: tuple[Part, ...]
    """Those of patients in no fold."""
    names_classes: bool
    """Whether the figures are told by the names of the classes, so that the study gives these."""
    main: Mapping[str, str]
    """Titles of the figures that tell a study in a line, by name."""


TWO = Kind(
    name="two classes",
    out_of_fold=(
        two_classes.counts,
        two_classes.area,
        two_classes.curve,
        two_classes.decisions,
        two_classes.operating_points,
    ),
    test_set=(two_classes.counts, two_classes.area, two_classes.decisions),
    names_classes=False,
    main={"auc": "AUC", "sensitivity": "sens", "specificity": "spec"},
)
"""Two classes, called by a threshold."""

_CALLS = (several_classes.counts, several_classes.calls)
_MAIN = {"accuracy": "accuracy", "macro_auc": "macro AUC", "kappa": "kappa"}

SEVERAL = Kind("several classes", (*_CALLS, several_classes.accuracies), _CALLS, True, _MAIN)
"""Three and more classes, the most probable of which is called."""

_ORDER = (*_CALLS, several_classes.order)

ORDERED = Kind("classes in order", (*_ORDER, several_classes.accuracies), _ORDER, True, _MAIN)
"""Three and more classes that have an order."""

IN_ORDER = {
    "kappa_quadratic": "quadratic kappa",
    "mean_absolute_error": "steps off",
    "ordinal_c": "ordinal C",
}
"""Titles of the figures that tell the order in a line, by name under `ordinal`."""


def kind_of(classes: Sequence[str], ordinal: bool = False) -> Kind:
    """The kind of a study of these classes."""
    if len(classes) == 2:
        return TWO
    return ORDERED if ordinal else SEVERAL


def kind_of_study(metrics: Mapping[str, Any]) -> Kind:
    """The kind of a study whose figures these are, an order aside."""
    return SEVERAL if "classes" in metrics else TWO
