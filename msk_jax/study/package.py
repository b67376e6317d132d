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
from msk_jax.methods.fitting import Fitted, load
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.parallel import on_first_host

MODEL_NAME = "model"
_PACKAGE_NAME = "package.json"
_POINTS_NAME = "operating_points.json"
_NETWORK, _ESTIMATORS = "network", "estimators"
_SETTINGS = {"experiment": dict, "num_members": int, "estimators": {str: int}, "versions": dict}


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What a finished training leaves in `workdir/model`."""

    experiment: Experiment
    """With the stages as they were trained."""
    thresholds: dict[str, float | None]
    """The operating point of each level; None where there is none."""
    members: list[Any]
    """Its network, by fold; none where there is no network."""
    estimators: dict[str, tuple[Fitted, ...]]
    """What each stage has learned from tables, by name and fold."""

    @property
    def stage(self) -> Stage:
        """The stage of the network."""
        return self.experiment.network_stage


def save_model(
    folder: Path,
    experiment: Experiment,
    ensemble: list[Any],
    estimators: Mapping[str, tuple[Fitted, ...]],
    thresholds: Mapping[str, float | None],
) -> None:
    """Write the package; on all hosts, of which the first writes.

    Args:
        folder: in whose place it comes.
        experiment: how new patients are read, asked about and pooled.
        ensemble: the networks, by fold.
        estimators: what stages have learned from tables, by name and fold.
        thresholds: the operating point of each level.
    """
    settings = {
        "experiment": to_json(experiment),
        "num_members": len(ensemble),
        "estimators": {name: len(members) for name, members in estimators.items()},
        "versions": provenance.versions(),
    }

    def write(partial: Path) -> None:
        write_operating_points(partial, thresholds)
        for name, members in estimators.items():
            for k, member in enumerate(members):
                member.save(partial / _ESTIMATORS / name / str(k))
        write_json(partial / _PACKAGE_NAME, settings)

    with _anew(folder) as partial:
        if ensemble:
            with Checkpoints(partial / _NETWORK) as checkpoint:
                checkpoint.save(0, {f"member_{k}": v for k, v in enumerate(ensemble)}, {})
        on_first_host(lambda: write(partial))


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
    """What a finished training left in a run's folder, or in this very folder."""
    folder = model_folder(workdir)
    package = folder / _PACKAGE_NAME
    if not package.is_file():
        older = (folder / "0").is_dir()
        raise UserError(
            f"The model in {workdir} was left by an older msk_jax. Use that version, or build and "
            "train again."
            if older
            else f"There is no trained model in {workdir}. Give the --workdir of a `msk-jax train` "
            "that has come to its end: it puts the models of all folds together."
        )
    settings = read_json(package, _SETTINGS, "Put the file back, or train again.")
    experiment = from_json(settings["experiment"], Experiment, package)
    limits = dict.fromkeys(experiment.cohort.levels, (float, None))
    way_out = "Run `msk-jax evaluate` again: it writes the file anew."
    return SavedModel(
        experiment,
        read_json(folder / _POINTS_NAME, limits, way_out),
        _load_members(folder, experiment, settings["num_members"]),
        {
            name: tuple(load(folder / _ESTIMATORS / name / str(k)) for k in range(count))
            for name, count in settings["estimators"].items()
        },
    )


def _load_members(folder: Path, experiment: Experiment, count: int) -> list[Any]:
    """The variables of the network, by fold."""
    if not count:
        return []
    like = _variables_like(experiment, experiment.network_stage)
    with Checkpoints(folder / _NETWORK) as checkpoint:
        tree = checkpoint.restore(0, {f"member_{k}": like for k in range(count)})
    return [tree[f"member_{k}"] for k in range(count)]


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
