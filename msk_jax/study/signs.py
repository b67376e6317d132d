"""Whether heat maps lie on what masks mark, for a cohort that has masks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.regions.masks import find_masks, mask_on_crop
from msk_jax.errors import UserError
from msk_jax.evaluation.core.figure import mean_figure
from msk_jax.evaluation.core.proportions import proportion
from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.experiment import Experiment, Stage
from msk_jax.explain.inside import Inside, inside
from msk_jax.files import read_json, write_json
from msk_jax.study.heat_maps import explain, volumes_of
from msk_jax.study.training import members

_MOST = 300
"""Patients whose maps are looked at; of more, so many are drawn."""
_BATCH = 16
MAPS_NAME = "maps_on_signs.json"
_MAPS = {"signs": str, "energy": [float], "area": [float], "hit": [bool], "shuffled": [float]}


@dataclass(frozen=True)
class Case:
    """One image of a patient who has signs."""

    volume: np.ndarray
    """As stored."""
    label: int
    """Its true class, which is explained."""
    mask: np.ndarray
    """What is marked on it, bool `[size, size]`."""
    spacing_mm: tuple[float, float]
    """Of columns and rows."""


@dataclass(frozen=True)
class Masks:
    """What heat maps are held against."""

    files: Mapping[tuple[str, str], Path]
    """By patient and unit, see `find_masks`."""
    nifti_form: NiftiForm | None = None
    """Which statement of a mask about its place to trust where they differ."""

    @classmethod
    def of(
        cls, experiment: Experiment, folder: Path, key: Path, nifti_form: NiftiForm | None = None
    ) -> "Masks":
        """The masks of a folder.

        Args:
            experiment: says what they mark.
            folder: of the masks.
            key: file with the key of the pseudonyms.
            nifti_form: which statement of a mask about its place to trust where they differ.

        Raises:
            UserError: the experiment does not say what a mask marks, or there is no mask or key.
        """
        if experiment.judging.signs is None:
            raise UserError(f"{experiment.name} does not say what a mask marks (`signs`).")
        return cls(find_masks(folder, key, experiment.cohort.region.unit_names), nifti_form)


def maps_on_signs(
    masks: Masks,
    experiment: Experiment,
    stage: Stage,
    ensemble: list,
    data: ShardedCohort,
    folds: Mapping[str, int],
    predictions: pd.DataFrame,
) -> dict[str, Any]:
    """How much of each heat map lies on the signs, out of fold.

    Of each patient the image that shows signs and has the highest probability of its true class;
    the map is for that class, by the network that never saw the patient. Of more patients than
    `_MOST` as many are drawn.

    Args:
        masks: what marks the signs.
        experiment: says which labels of a mask are signs.
        stage: of the networks.
        ensemble: networks by fold.
        data: the cohort.
        folds: of its patients.
        predictions: out of fold, of all levels.

    Returns:
        `signs` (their name) and, of each patient, `energy`, the share of the map on the signs;
        `area`, the share of the picture that they take; `hit`, whether the map points there; and
        `shuffled`, the energy of the same networks with shuffled weights.

    Raises:
        UserError: no mask of a patient of this cohort.
    """
    patients = sorted({patient for patient, _ in masks.files} & set(folds))
    drawn = np.random.default_rng(experiment.judging.evaluation.seed).permutation(patients)[:_MOST]
    images = predictions[predictions["level"] == experiment.cohort.levels[0]]
    images = images[images["patient_id"].isin(set(drawn))]
    maps, shuffled = [], []
    for k, network in enumerate(ensemble):
        mine = members(folds, k, "test") & set(drawn)
        cases = _cases(masks, experiment, data, images[images["fold"] == k], mine)
        maps += judge_cases(stage, network, cases)
        shuffled += judge_cases(stage, shuffled_weights(network), cases)
    if not maps:
        raise UserError(
            f"No mask marks {experiment.judging.signs.name} of a patient of this cohort. Masks are "
            "called <patient_id>.nii.gz, and --key is the key that the cohort was built with."
        )
    return {
        "signs": experiment.judging.signs.name,
        "energy": _energies(maps),
        "area": [float(one.area) for one in maps],
        "hit": [bool(one.hit) for one in maps],
        "shuffled": _energies(shuffled),
    }


def _energies(maps: list[Inside]) -> list[float]:
    """An empty map has nothing on the signs."""
    return [float(one.energy or 0.0) for one in maps]


def write_maps_on_signs(maps: Mapping[str, Any] | None, workdir: Path) -> None:
    """Leave what `maps_on_signs` gave, or nothing, for the figures."""
    if maps is None:
        (workdir / MAPS_NAME).unlink(missing_ok=True)
    else:
        write_json(workdir / MAPS_NAME, maps)


def read_maps_on_signs(workdir: Path) -> dict[str, Any] | None:
    """What `write_maps_on_signs` left; None where no masks were given."""
    path = workdir / MAPS_NAME
    if not path.is_file():
        return None
    return read_json(path, _MAPS, "Run `msk-jax train` with --masks again.")


def signs_figures(maps: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """Figures of `maps_on_signs`, means over patients.

    Args:
        maps: of each patient.
        confidence: of every interval.

    Returns:
        `signs`, `n` (patients), `energy`, `area`, their difference `gain`, `hits` and `shuffled`.
    """
    energy, area, shuffled = (np.array(maps[name]) for name in ("energy", "area", "shuffled"))
    count = len(maps["hit"])
    figures = {
        "energy": mean_figure(energy, confidence),
        "area": mean_figure(area, confidence),
        "gain": mean_figure(energy - area, confidence),
        "hits": proportion(sum(maps["hit"]), count, confidence=confidence),
        "shuffled": mean_figure(shuffled, confidence),
    }
    return {
        "signs": maps["signs"],
        "n": count,
        **{name: asdict(figure) for name, figure in figures.items()},
    }


def _cases(
    masks: Masks,
    experiment: Experiment,
    data: ShardedCohort,
    images: pd.DataFrame,
    patients: set[str],
) -> list[Case]:
    """The surest image with signs of each of these patients."""
    region, codes = experiment.cohort.region, experiment.judging.signs.codes
    table = data.table(patients)
    places = dict(zip(table.unit_id, zip(table.record, table.centre, strict=True), strict=True))
    ranked = images.assign(sure=_of_true_class(images, experiment))
    ranked = ranked.sort_values("sure", ascending=False)
    chosen = {}
    for _, rows in ranked.groupby("patient_id", sort=False):
        for unit_id, label in zip(rows["unit_id"], rows["label"], strict=True):
            number, centre = places[unit_id]
            record = data.records[number]
            file = masks.files.get((record["patient_id"], record["unit"]))
            mask = None
            if file is not None:
                mask = mask_on_crop(file, codes, region, record, centre, masks.nifti_form)
            if mask is not None and mask.any():
                spacing = tuple(map(float, record["spacing_mm"][:2]))
                chosen[unit_id] = (int(label), mask, spacing)
                break
    found = volumes_of(data, patients, set(chosen))
    return [Case(volume, *chosen[unit_id]) for unit_id, _, _, volume in found]


def _of_true_class(images: pd.DataFrame, experiment: Experiment) -> np.ndarray:
    """The probability that each image was given of its own class."""
    probs = images[probability_columns(experiment.cohort.classes)].to_numpy()
    if probs.shape[1] == 1:
        probs = np.concatenate([1 - probs, probs], axis=1)
    return probs[np.arange(len(probs)), images["label"].to_numpy()]


def judge_cases(stage: Stage, variables: Any, cases: list[Case]) -> list[Inside]:
    """The maps of these cases against their masks."""
    judged = []
    for target in sorted({case.label for case in cases}):
        mine = [case for case in cases if case.label == target]
        for first in range(0, len(mine), _BATCH):
            some = mine[first : first + _BATCH]
            volumes = np.zeros((_BATCH, *some[0].volume.shape), some[0].volume.dtype)
            volumes[: len(some)] = [case.volume for case in some]
            maps = explain(stage, variables, volumes, target)
            for heat, case in zip(maps, some, strict=False):
                cut, side = (len(case.mask) - len(heat)) // 2, len(heat)
                central = case.mask[cut : cut + side, cut : cut + side]
                if central.any():
                    judged.append(inside(heat, central, case.spacing_mm))
    return judged


def shuffled_weights(variables: Any, seed: int = 0) -> Any:
    """The network with the numbers of every tensor in random order.

    A map that hardly changes then does not tell what the network has learned (J. Adebayo et al.,
    Sanity Checks for Saliency Maps, 2018).
    """
    rng = np.random.default_rng(seed)

    def shuffle(leaf):
        values = np.asarray(leaf)
        return rng.permutation(values.ravel()).reshape(values.shape)

    return {**variables, "params": jax.tree.map(shuffle, variables["params"])}
