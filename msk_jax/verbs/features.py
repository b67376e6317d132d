"""How the features of a network lie, for patients that it never saw."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from msk_jax.data.pipeline import ShardedCohort
from msk_jax.errors import UserError
from msk_jax.explain.feature_map import feature_map
from msk_jax.training.loop import Trainer
from msk_jax.verbs.train import members

OUT_OF_FOLD = "test fold"


def map_features(
    trainer: Trainer,
    variables: Any,
    data: ShardedCohort,
    folds: Mapping[str, int],
    test_sets: Mapping[str, set[str]],
    seed: int,
) -> dict[str, Any]:
    """One network's features of the patients of its test fold and of all test sets, as a map.

    One network alone, for the features of two have nothing to do with each other. A patient's
    features are the mean over their images.

    Returns:
        `n`, and where there is a map `silhouette`, `silhouette_of_map`, and `x`, `y`, `label` and
        `set` of each patient; else `why` there is none.
    """
    sets = {OUT_OF_FOLD: members(folds, 0, "test"), **test_sets}
    places = {patient: name for name, patients in sets.items() for patient in patients}
    table = data.table(set(places))
    batches = data.evaluation_batches(set(places), trainer.recipe.batch_size)
    images = trainer.features(variables, batches)
    patients = [patient for name in sets for patient in sorted(sets[name])]
    means = np.array([images[table.patient_id == patient].mean(axis=0) for patient in patients])
    labels = [data.patient_labels[patient] for patient in patients]
    try:
        found = feature_map(means, np.array(labels), seed)
    except UserError as reason:
        return {"n": len(patients), "why": str(reason)}
    return {
        "n": len(patients),
        "silhouette": found.silhouette,
        "silhouette_of_map": found.silhouette_of_map,
        "x": found.places[:, 0].tolist(),
        "y": found.places[:, 1].tolist(),
        "label": labels,
        "set": [places[patient] for patient in patients],
    }
