"""The networks that `evaluate` leaves for `predict`, complete in themselves."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msk_jax.config import from_json
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.tabular import Coefficients
from msk_jax.verbs.evaluate import MODEL_NAME

# What `evaluate` puts beside the networks; one threshold per level.
_SETTINGS = {
    "experiment": dict, "stage": dict, "num_members": int, "thresholds": dict, "beside": dict,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What `msk-jax evaluate` left in `workdir/model`."""

    experiment: Experiment
    stage: Stage
    thresholds: dict[str, float | None]
    members: list[Any]
    beside: dict[str, tuple[Coefficients, ...]]
    """The models beside the network, by name and fold."""


def model_folder(workdir: Path) -> Path:
    """`workdir/model`, or `workdir` itself when it is such a folder."""
    return workdir / MODEL_NAME if (workdir / MODEL_NAME).is_dir() else workdir


def load_model(workdir: Path) -> SavedModel:
    """The ensemble that `evaluate` left in a run's folder, or in this very folder."""
    folder = model_folder(workdir)
    if not (folder / "0").is_dir():
        raise UserError(
            f"There is no trained model in {workdir}. Give the --workdir of `msk-jax evaluate`, "
            "which puts the networks of all folds together."
        )
    with Checkpoints(folder) as checkpoint:
        settings = checkpoint.settings(0, _SETTINGS)
        stage = from_json(settings["stage"], Stage, folder / "0")
        experiment = from_json(settings["experiment"], Experiment, folder / "0")
        levels = experiment.cohort.levels
        limits = dict.fromkeys(levels, (float, None))
        settings = checkpoint.settings(0, {**_SETTINGS, "thresholds": limits})
        size = experiment.cohort.region.size
        image = np.zeros((1, size, size, stage.model.num_slices), np.int16)
        like = jax.eval_shape(
            lambda: stage.model.build().init(jax.random.key(0), stage.preprocess.window(image))
        )
        # Said plainly, or the checkpoint wants as many devices as it was saved on.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            {name: like.get(name, {}) for name in ("params", "batch_stats")},
        )
        count = settings["num_members"]
        tree = checkpoint.restore(0, {f"member_{k}": like for k in range(count)})
    return SavedModel(
        experiment,
        stage,
        settings["thresholds"],
        [tree[f"member_{k}"] for k in range(count)],
        {
            name: tuple(from_json(one, Coefficients, folder / "0") for one in models)
            for name, models in settings["beside"].items()
        },
    )
