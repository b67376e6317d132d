"""The networks of all folds with everything that predicting needs, as one folder."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msk_jax import provenance
from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import empty_folder, in_bucket, read_json, replacing_folder, write_json
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.parallel import on_first_host
from msk_jax.training.tabular import Coefficients

MODEL_NAME = "model"
_POINTS_NAME = "operating_points.json"
_SETTINGS = {"experiment": dict, "stage": dict, "num_members": int, "beside": dict}
"""What stands beside the networks."""


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What a finished training leaves in `workdir/model`."""

    experiment: Experiment
    stage: Stage
    thresholds: dict[str, float | None]
    """The operating point of each level; None where there is none."""
    members: list[Any]
    beside: dict[str, tuple[Coefficients, ...]]
    """The models beside the network, by name and fold."""


def save_model(
    folder: Path,
    experiment: Experiment,
    stage: Stage,
    ensemble: list[Any],
    beside: Mapping[str, tuple[Coefficients, ...]],
    thresholds: Mapping[str, float | None],
) -> None:
    """Write the package; on all hosts, of which the first writes.

    Args:
        folder: in whose place it comes.
        experiment: how new patients are read and pooled.
        stage: of the networks.
        ensemble: the networks, by fold.
        beside: the models beside them, by name and fold.
        thresholds: the operating point of each level.
    """
    settings = {
        "experiment": to_json(experiment),
        "stage": to_json(stage),
        "num_members": len(ensemble),
        "beside": {name: to_json(models) for name, models in beside.items()},
        "versions": provenance.versions(),
    }
    with _anew(folder) as partial, Checkpoints(partial) as checkpoint:
        checkpoint.save(0, {f"member_{k}": v for k, v in enumerate(ensemble)}, settings)
        on_first_host(lambda: write_operating_points(partial, thresholds))


def write_operating_points(folder: Path, thresholds: Mapping[str, float | None]) -> None:
    """Where new patients are called positive, by level, into the package."""
    write_json(folder / _POINTS_NAME, dict(thresholds))


def _anew(folder: Path):
    """The folder of a checkpoint that takes the place of another's.

    In a bucket, and where several hosts write, a checkpoint is written where it stays: orbax marks
    there which ones are whole.
    """
    if not in_bucket(folder) and jax.process_count() == 1:
        return replacing_folder(folder)
    on_first_host(lambda: empty_folder(folder))
    return contextlib.nullcontext(folder)


def model_folder(workdir: Path) -> Path:
    """`workdir/model`, or `workdir` itself when it is such a folder."""
    return workdir / MODEL_NAME if (workdir / MODEL_NAME).is_dir() else workdir


def load_model(workdir: Path) -> SavedModel:
    """The ensemble that a finished training left in a run's folder, or in this very folder."""
    folder = model_folder(workdir)
    if not (folder / "0").is_dir():
        raise UserError(
            f"There is no trained model in {workdir}. Give the --workdir of a `msk-jax train` that "
            "has come to its end: it puts the networks of all folds together."
        )
    with Checkpoints(folder) as checkpoint:
        settings = checkpoint.settings(0, _SETTINGS)
        stage = from_json(settings["stage"], Stage, folder / "0")
        experiment = from_json(settings["experiment"], Experiment, folder / "0")
        like = _variables_like(experiment, stage)
        count = settings["num_members"]
        tree = checkpoint.restore(0, {f"member_{k}": like for k in range(count)})
    limits = dict.fromkeys(experiment.cohort.levels, (float, None))
    way_out = "Run `msk-jax evaluate` again: it writes the file anew."
    return SavedModel(
        experiment,
        stage,
        read_json(folder / _POINTS_NAME, limits, way_out),
        [tree[f"member_{k}"] for k in range(count)],
        {
            name: tuple(from_json(one, Coefficients, folder / "0") for one in models)
            for name, models in settings["beside"].items()
        },
    )


def _variables_like(experiment: Experiment, stage: Stage) -> dict[str, Any]:
    """The shapes of a network's variables, on one device."""
    size = experiment.cohort.region.size
    image = np.zeros((1, size, size, stage.method.model.num_slices), np.int16)
    like = jax.eval_shape(
        lambda: stage.method.model.build().init(
            jax.random.key(0), stage.method.preprocess.window(image)
        )
    )
    # Said plainly, or the checkpoint wants as many devices as it was saved on.
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
        {name: like.get(name, {}) for name in ("params", "batch_stats")},
    )
