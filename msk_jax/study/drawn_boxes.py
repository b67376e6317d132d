"""Pictures with the boxes that people drew and those that were called, for the page."""

from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.evaluation.plots.boxes import boxes_figure
from msk_jax.files import replacing_folder, write_json
from msk_jax.study.detecting import OUT_OF_FOLD, Detected
from msk_jax.study.training import Training

MOST = 4
"""Pictures that are drawn."""
_SCORE = 0.5
"""Least score of a box that is drawn."""
INDEX_NAME = "index.json"


def draw_examples(detected: Detected, training: Training, folder: Path) -> None:
    """Draw some tested pictures: of different patients, the first of each in order of its name.

    Args:
        detected: what was said, and what is true.
        training: whose pictures they are.
        folder: in whose place the pictures and their index come.
    """
    classes = training.experiment.cohort.boxes.classes
    tested = detected.pictures[detected.pictures["set"] == OUT_OF_FOLD]
    chosen = tested.sort_values("unit_id").drop_duplicates("patient_id").head(MOST)
    data = training.data
    table = data.table(set(chosen["patient_id"]))
    units = [data.records[number]["unit_id"] for number in table.record]
    stacks, entries = data.stacks(set(chosen["patient_id"])), []
    with replacing_folder(folder) as partial:
        for place, picture in enumerate(chosen.itertuples()):
            row = units.index(picture.unit_id)
            colours = stacks.volumes([row])[0]
            said = _of(detected.detections, picture, tested=True)
            true = _of(detected.boxes, picture)
            file = f"{place}.png"
            figure = boxes_figure(colours.astype(np.uint8), true, said, classes)
            figure.savefig(partial / file, dpi=110)
            entries.append({"file": file, "unit_id": picture.unit_id, "fold": int(picture.fold)})
        write_json(partial / INDEX_NAME, {"score": _SCORE, "pictures": entries})


def _of(table: pd.DataFrame, picture, tested: bool = False) -> pd.DataFrame:
    """The boxes of one picture."""
    rows = table[table["unit_id"] == picture.unit_id]
    if tested:
        rows = rows[(rows["set"] == OUT_OF_FOLD) & (rows["score"] >= _SCORE)]
    return rows
