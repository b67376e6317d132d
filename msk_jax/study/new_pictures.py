"""The picture of a new series: its surest finding, with the heat maps of all units it shows."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np

from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.explain.drawing import Drawing, draw
from msk_jax.study.heat_maps import crop_plane, explain, series_plane
from msk_jax.study.new_patients import BATCH_PER_DEVICE, Answer, Picture, called, padded_size
from msk_jax.study.package import SavedModel


@dataclasses.dataclass(frozen=True)
class _Shown:
    """What of a series is to be shown."""

    answer: Answer
    target: int
    surest: Picture
    pictures: dict[str, Picture]
    """Those that the surest one's slice goes through, by image."""


def drawings_of(saved: SavedModel, answers: Sequence[Answer], out: Path) -> list[Drawing]:
    """The drawings of some series, their heat maps made together."""
    shown = [_choose(saved, answer) for answer in answers]
    cams = _explained(saved, shown)
    return [_drawing(saved, one, cams, out) for one in shown]


def draw_beside(drawings: Sequence[Drawing], pool: ProcessPoolExecutor | None) -> list[Future]:
    """Draw by other processes, or here where there are none."""
    if pool is not None:
        return [pool.submit(draw, drawing) for drawing in drawings]
    done = []
    for drawing in drawings:
        done.append(Future())
        done[-1].set_result(draw(drawing))
    return done


def _choose(saved: SavedModel, answer: Answer) -> _Shown:
    """The image with the surest finding, and those in its plane; mirrored ones are in it too."""
    levels, pictures = saved.experiment.cohort.levels, answer.case.pictures
    images = answer.table[answer.table["level"] == levels[0]].reset_index(drop=True)
    named, score = called(saved, images)
    k = int(np.argmax(score + (named > 0)))  # a finding before none
    surest = pictures[images["unit_id"][k]]

    def in_plane(picture: Picture) -> bool:
        along = (np.argmax(np.abs(one.crop.direction[2::3])) for one in (picture, surest))
        places = (one.crop.positions_mm[one.centre] for one in (picture, surest))
        return len(set(along)) == 1 and abs(np.subtract(*places)) <= 1e-3

    shown = {name: picture for name, picture in pictures.items() if in_plane(picture)}
    return _Shown(answer, int(named[k]), surest, shown)


def _explained(saved: SavedModel, shown: Sequence[_Shown]) -> dict[str, np.ndarray]:
    """The mean heat map of all networks by image, each for the class that its series shows."""
    by_target = defaultdict(dict)
    for one in shown:
        by_target[one.target] |= {name: p.volume for name, p in one.pictures.items()}
    cams = {}
    for target, volumes in by_target.items():
        names, size = list(volumes), padded_size(len(volumes), BATCH_PER_DEVICE)
        for first in range(0, len(names), size):
            some = names[first : first + size]
            batch = np.stack([volumes[name] for name in some])
            batch = np.concatenate([batch, np.repeat(batch[:1], size - len(some), axis=0)])
            each = [explain(saved.stage, m, batch, target)[: len(some)] for m in saved.members]
            cams |= dict(zip(some, np.mean(each, axis=0), strict=True))
    return cams


def _drawing(saved: SavedModel, one: _Shown, cams: dict[str, np.ndarray], out: Path) -> Drawing:
    classes, levels = saved.experiment.cohort.classes, saved.experiment.cohort.levels
    table, case = one.answer.table, one.answer.case
    column = probability_columns(classes)[0 if len(classes) == 2 else one.target]
    units = table[table["level"] == levels[1]].set_index("unit_id")[column]
    maps, words = [], []
    for unit_id, picture in one.pictures.items():
        crop, side = picture.crop, picture.volume.shape[0]
        place = (crop.origin_mm, crop.spacing_mm, crop.direction)
        maps.append(crop_plane(cams[unit_id], *place, stored_side=side))
        unit = unit_id.rsplit("/", 1)[0]
        words.append(f"{unit.rsplit('/', 1)[1]} {units[unit]:.2f}")
    direction = one.surest.crop.direction
    position = float(one.surest.crop.positions_mm[one.surest.centre])
    axis = "xyz"[int(np.argmax(np.abs(direction[2::3])))]
    shown = classes[one.target]
    title = f"{case.name}, {axis} {position:.1f} mm; probability of {shown}: {', '.join(words)}"
    window = (
        saved.stage.method.preprocess.window_level,
        saved.stage.method.preprocess.window_width,
    )
    plane = series_plane(case.series, direction, position)
    return Drawing(out / f"{case.name}.png", plane, tuple(maps), window, title, shown)
