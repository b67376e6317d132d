"""Grad-CAM pictures of out-of-fold cases for the report."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.images.series import Series
from msk_jax.data.regions.resample import upright
from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.experiment import Stage
from msk_jax.explain.gradcam import gradcam
from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.files import replacing_folder, write_json
from msk_jax.study.training import members

_PER_KIND = 3
"""Pictures of each kind: of each class, called so or not."""
_LETTERS = {0: ("R", "L"), 1: ("A", "P")}
"""What stands at the left and right edge of a picture whose columns run along x, along y."""


def write_heat_maps(
    folder: Path,
    ensemble: list,
    data: ShardedCohort,
    folds: Mapping[str, int],
    chosen: pd.DataFrame,
    stage: Stage,
    unit: str,
) -> None:
    """Draw the chosen images, each by the network that never saw its patient.

    Args:
        folder: for the pictures and their index.
        ensemble: networks by fold.
        data: the cohort.
        folds: of its patients.
        chosen: rows of images, see `choose` and `choose_of_classes`.
        stage: of the networks.
        unit: what a unit is called.
    """
    with replacing_folder(folder) as partial:
        write_json(
            partial / "index.json", _draw(partial, chosen, ensemble, data, folds, stage, unit)
        )


def _draw(
    folder: Path,
    chosen: pd.DataFrame,
    ensemble: list,
    data: ShardedCohort,
    folds: Mapping[str, int],
    stage: Stage,
    unit: str,
) -> list[dict]:
    """One picture per chosen row; gives what the index says of each."""
    index = []
    for k in sorted(set(chosen["fold"])):
        wanted = set(chosen.loc[chosen["fold"] == k, "unit_id"])
        for unit_id, record, centre, volume in volumes_of(data, members(folds, k, "test"), wanted):
            row = chosen[chosen["unit_id"] == unit_id].iloc[0]
            axis, position = "xyz"[_axis(record["direction"], 2)], record["positions_mm"][centre]
            entry = {
                "file": f"{len(index):02d}.png",
                "unit_id": unit_id,
                "unit": record["unit"],
                "label": int(row["label"]),
                "prob": float(row["score"]),
                f"{axis}_mm": float(position),
                "caption": f"{row['kind']}: {record['unit']} {unit} of {row['patient_id']}, "
                f"{axis} {position:.1f} mm, probability {row['score']:.2f}",
            }
            cam = explain(stage, ensemble[k], volume[None], int(row["target"]))[0]
            middle = volume[..., stage.method.model.num_slices // 2]
            place = (record["origin_mm"], record["spacing_mm"], record["direction"])
            figure = draw_overlay(
                crop_plane(middle, *place),
                [crop_plane(cam, *place, stored_side=middle.shape[0])],
                (stage.method.preprocess.window_level, stage.method.preprocess.window_width),
                entry["caption"],
                zoom=True,
            )
            figure.savefig(folder / entry["file"])
            index.append(entry)
    return index


def explain(stage: Stage, variables: Any, volumes: np.ndarray, target: int = 1) -> np.ndarray:
    """Heat maps for a class, `[n, height, width]` in stored pixels, of `[n, h, w, slices]`."""
    cams = np.asarray(_explain(stage, variables, volumes, target))
    shrink = stage.method.preprocess.shrink
    return cams.repeat(shrink, axis=1).repeat(shrink, axis=2)


@functools.partial(jax.jit, static_argnums=0)
def _explain(stage, variables, volumes, target):
    images = stage.method.preprocess.normalise(stage.method.preprocess.window(volumes))
    return gradcam(
        stage.method.module(), variables, images, stage.method.model.explained_endpoints, target
    )


def crop_plane(
    values: np.ndarray, origin_mm, spacing_mm, direction, stored_side: int | None = None
) -> Plane:
    """A crop, or a map made on the central part of one of `stored_side` pixels, in its place."""
    cut = 0 if stored_side is None else (stored_side - values.shape[0]) // 2
    axes = np.reshape(direction, (3, 3))
    column, row = _axis(direction, 0), _axis(direction, 1)
    step, down = spacing_mm[0] * axes[column, 0], np.sign(axes[row, 1])
    # Pictures are counted downwards: heights, which rise, with the sign turned.
    origin = (origin_mm[column] + cut * step, down * origin_mm[row] + cut * spacing_mm[1])
    return Plane(
        values,
        tuple(map(float, origin)),
        (float(spacing_mm[0]), float(spacing_mm[1])),
        bool(step < 0),
        _LETTERS[column],
    )


def series_plane(series: Series, direction, position_mm: float) -> Plane:
    """The slice of a series in the plane of a crop's slices, at their position."""
    series, along = upright(series), _axis(direction, 2)
    count = series.voxels.shape[2 - along]
    k = round((position_mm - series.origin_mm[along]) / series.spacing_mm[along])
    k = int(np.clip(k, 0, count - 1))
    x, y, z = series.origin_mm
    if along == 2:
        return Plane(series.voxels[k], (x, y), series.spacing_mm[:2], letters=_LETTERS[0])
    top = z + (len(series.voxels) - 1) * series.spacing_mm[2]
    if along == 1:
        spacing = (series.spacing_mm[0], series.spacing_mm[2])
        return Plane(series.voxels[::-1, k], (x, -top), spacing, letters=_LETTERS[0])
    return Plane(series.voxels[::-1, :, k], (y, -top), series.spacing_mm[1:], letters=_LETTERS[1])


def _axis(direction, k: int) -> int:
    """The patient's axis that columns (0), rows (1) or slices (2) of a crop run along."""
    return int(np.argmax(np.abs(np.reshape(direction, (3, 3))[:, k])))


def choose(
    predictions: pd.DataFrame,
    limits: Mapping[int, float | None],
    classes: Sequence[str],
    levels: Sequence[str],
) -> pd.DataFrame:
    """For every kind of outcome of two classes, the surest units, each by its surest image.

    Args:
        predictions: rows of all levels.
        limits: operating point of units by fold; where there is none, 0.5 sorts the pictures.
        classes: names of both.
        levels: names of image, unit and patient.

    Returns:
        Image rows with the columns `kind`, `target` (the class to explain) and `score` (its
        probability); a unit appears once.
    """
    units = predictions[predictions["level"] == levels[1]]
    negative, positive = classes
    limit = units["fold"].map({k: 0.5 if v is None else v for k, v in limits.items()})
    kinds = (
        (f"{positive}, called so", 1, False),
        (f"{positive}, called {negative}", 1, True),
        (f"{negative}, called {positive}", 0, False),
        (f"{negative}, called so", 0, True),
    )
    found = []
    for kind, label, lowest_first in kinds:
        of_kind = units[(units["label"] == label) & ((units["prob"] < limit) == lowest_first)]
        found += _surest(predictions, of_kind, "prob", kind, 1, levels, lowest_first)
    return _together(found, predictions)


def choose_of_classes(
    predictions: pd.DataFrame, classes: Sequence[str], levels: Sequence[str]
) -> pd.DataFrame:
    """For each pair of true and called class the surest units; see `choose`."""
    units = predictions[predictions["level"] == levels[1]]
    called = units[probability_columns(classes)].to_numpy().argmax(axis=1)
    found = []
    for truth, name in enumerate(classes):
        for target, said in enumerate(classes):
            of_kind = units[(units["label"] == truth) & (called == target)]
            kind = f"{name}, called so" if truth == target else f"{name}, called {said}"
            found += _surest(predictions, of_kind, f"prob_{said}", kind, target, levels)
    return _together(found, predictions)


def _surest(
    predictions: pd.DataFrame,
    units: pd.DataFrame,
    column: str,
    kind: str,
    target: int,
    levels: Sequence[str],
    lowest_first: bool = False,
) -> list[pd.DataFrame]:
    """The surest image of each of the surest units."""
    images = predictions[predictions["level"] == levels[0]]
    owners = images["unit_id"].str.rsplit("/", n=1).str[0]
    found = []
    for unit in units.sort_values(column, ascending=lowest_first)["unit_id"][:_PER_KIND]:
        rows = images[owners == unit].sort_values(column, ascending=lowest_first)
        surest = rows.iloc[:1]
        found.append(surest.assign(kind=kind, target=target, score=surest[column]))
    return found


def _together(found: list[pd.DataFrame], predictions: pd.DataFrame) -> pd.DataFrame:
    if found:
        return pd.concat(found)
    return predictions.iloc[:0].assign(kind="", target=0, score=0.0)


def volumes_of(data: ShardedCohort, patients: set[str], wanted: set[str]):
    """Unit, record, centre and stored picture of each wanted image."""
    table, stacks = data.table(patients), data.stacks(patients)
    for k in np.flatnonzero(np.isin(table.unit_id, list(wanted))):
        record = data.records[table.record[k]]
        yield str(table.unit_id[k]), record, table.centre[k], stacks.volumes([k])[0]
