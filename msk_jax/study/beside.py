"""The models beside a network, fitted on its tables."""

from collections.abc import Mapping

from msk_jax.data.shards.folds import roles
from msk_jax.experiment import Experiment
from msk_jax.study.outputs import Tables
from msk_jax.training.tabular import Coefficients, fit_folds


def beside_prefix(name: str) -> str:
    """What the names of a model's tables begin with."""
    return f"{name}_"


def fit_beside(
    tables: Tables, folds: Mapping[str, int], experiment: Experiment
) -> dict[str, tuple[Tables, tuple[Coefficients, ...]]]:
    """Each model's tables and, by fold, what it has learned, by its name."""
    parts = [roles(folds, k) for k in range(max(folds.values()) + 1)]
    known = (tables.test, tables.validation, tables.test_sets, experiment.cohort.levels[-1])
    fitted = {model.name: fit_folds(model, parts, *known) for model in experiment.beside}
    return {
        name: (Tables(model.test, model.validation, test_sets=model.test_sets), model.models)
        for name, model in fitted.items()
    }
