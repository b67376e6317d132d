"""Grad-CAM pictures of out-of-fold cases for the report."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from msk_jax.data.pipeline import ShardedCohort
from msk_jax.experiment import Stage
from msk_jax.explain.gradcam import gradcam
from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.files import replacing_folder, write_json
from msk_jax.verbs.train import members

_PER_KIND = 3
"""Pictures of each kind: sick or healthy, called so or not."""


def write_heat_maps(
    folder: Path,
    ensemble: list,
    data: ShardedCohort,
    folds: dict[str, int],
    predictions: pd.DataFrame,
    stage: Stage,
    limits: Mapping[int, float | None],
) -> None:
    """Draw the most telling joints of every kind, each by the network that never saw it."""
    chosen = choose(predictions, limits)
    with replacing_folder(folder) as partial:
        index = _draw(partial, chosen, ensemble, data, folds, stage)
        write_json(partial / "index.json", index)


def _draw(
    folder: Path,
    chosen: pd.DataFrame,
    ensemble: list,
    data: ShardedCohort,
    folds: dict[str, int],
    stage: Stage,
) -> list[dict]:
    """One picture per chosen row; gives what the index says of each."""
    joints = {joint["joint_id"]: joint for joint in data.joints}
    index = []
    for k in sorted(set(chosen["fold"])):
        wanted = set(chosen.loc[chosen["fold"] == k, "unit_id"])
        for unit_id, volume in _volumes(data, members(folds, k, "test"), wanted):
            row = chosen[chosen["unit_id"] == unit_id].iloc[0]
            joint = joints[unit_id.rsplit("/", 1)[0]]
            z_mm = float(joint["z_mm"][data.context_slices + int(unit_id.rsplit("/", 1)[1])])
            entry = {
                "file": f"{len(index):02d}.png",
                "unit_id": unit_id,
                "side": joint["side"],
                "label": int(row["label"]),
                "prob": float(row["prob"]),
                "z_mm": z_mm,
                "caption": f"{row['kind']}: {joint['side']} joint of {row['patient_id']}, "
                f"z {z_mm:.1f} mm, probability {row['prob']:.2f}",
            }
            cam = explain(stage, ensemble[k], volume[None])[0]
            middle = volume[..., stage.model.num_slices // 2]
            place = (joint["origin_mm"], joint["spacing_mm"], joint["mirrored"])
            figure = draw_overlay(
                crop_plane(middle, *place),
                [crop_plane(cam, *place, stored_side=middle.shape[0])],
                (stage.preprocess.window_level, stage.preprocess.window_width),
                entry["caption"],
                zoom=True,
            )
            figure.savefig(folder / entry["file"])
            index.append(entry)
    return index


def explain(stage: Stage, variables: Any, volumes: np.ndarray) -> np.ndarray:
    """Heat maps for class 1, `[n, height, width]`, of stored volumes `[n, h, w, slices]`."""
    return np.asarray(_explain(stage, variables, volumes))


@functools.partial(jax.jit, static_argnames="stage")
def _explain(stage, variables, volumes):
    images = stage.preprocess.normalise(stage.preprocess.window(volumes))
    return gradcam(stage.network(), variables, images, stage.model.explained_endpoints, 1)


def crop_plane(
    values: np.ndarray, origin_mm, spacing_mm, mirrored: bool, stored_side: int | None = None
) -> Plane:
    """A crop, or a map made on the central part of one of `stored_side` pixels, in its place."""
    cut = 0 if stored_side is None else (stored_side - values.shape[0]) // 2
    step_x = -spacing_mm[0] if mirrored else spacing_mm[0]
    origin = (float(origin_mm[0] + cut * step_x), float(origin_mm[1] + cut * spacing_mm[1]))
    return Plane(values, origin, (float(spacing_mm[0]), float(spacing_mm[1])), bool(mirrored))


def choose(predictions: pd.DataFrame, limits: Mapping[int, float | None]) -> pd.DataFrame:
    """For every kind of outcome, the surest joints, each by its surest slice.

    Args:
        predictions: rows of all levels.
        limits: operating point of joints by fold; where there is none, 0.5 sorts the pictures.

    Returns:
        Slice rows with a column `kind`; a joint appears once.
    """
    slices = predictions[predictions["level"] == "slice"].copy()
    slices["joint_id"] = slices["unit_id"].str.rsplit("/", n=1).str[0]
    joints = predictions[predictions["level"] == "joint"]
    limit = joints["fold"].map({k: 0.5 if v is None else v for k, v in limits.items()})
    kinds = (
        ("sick and called sick", 1, False),
        ("sick but called healthy", 1, True),
        ("healthy but called sick", 0, False),
        ("healthy and called healthy", 0, True),
    )
    found = []
    for kind, label, lowest_first in kinds:
        of_kind = joints[(joints["label"] == label) & ((joints["prob"] < limit) == lowest_first)]
        for joint in of_kind.sort_values("prob", ascending=lowest_first)["unit_id"][:_PER_KIND]:
            rows = slices[slices["joint_id"] == joint].sort_values("prob", ascending=lowest_first)
            found.append(rows.iloc[:1].assign(kind=kind))
    return pd.concat(found) if found else slices.iloc[:0].assign(kind="")


def _volumes(data: ShardedCohort, patients: set[str], wanted: set[str]):
    units = iter(data.table(patients).unit_id)
    for batch in data.evaluation_batches(patients, 32):
        for volume in batch:
            unit_id = str(next(units))
            if unit_id in wanted:
                yield unit_id, volume
