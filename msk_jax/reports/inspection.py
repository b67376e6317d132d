"""A page of contact sheets and distributions: what will be trained on, for a person to see."""

import base64
import io
from collections.abc import Iterable

import numpy as np
import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure

from msk_jax.data.quality.grading import GRADES
from msk_jax.evaluation.core.ranges import bin_edges, finite

MAX_PICTURES = 240
_COLUMNS = 8

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:14px sans-serif;margin:2em;max-width:75em}img{max-width:100%}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}</style>
<h1>{{ title }}</h1><p>{{ lead }}</p>
{% for name, picture in pictures %}<h2>{{ name }}</h2>
<img alt="{{ name }}" src="data:image/png;base64,{{ picture }}">{% endfor %}
<h2>Scans</h2><table><tr>{% for c in columns %}<th>{{ c }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for v in row %}<td>{{ v }}</td>{% endfor %}</tr>{% endfor %}</table>
</html>"""


def draw_page(
    title: str,
    records: Iterable[dict],
    quality: pd.DataFrame,
    classes: tuple[str, ...],
    window: tuple[float, float],
) -> str:
    """HTML, self-contained.

    Args:
        title: of the page.
        records: of the shards: `volume` [slices, height, width], `unit_id`, `view`, `label`.
        quality: one row per scan, see `records.ScanFacts`.
        classes: names of the labels.
        window: centre and width in which pictures are shown.
    """
    tiles: dict[int, list[tuple[str, np.ndarray]]] = {k: [] for k in range(len(classes))}
    values: dict[int, list[np.ndarray]] = {k: [] for k in tiles}
    shown = total = 0
    for record in records:
        total += 1
        # A copy: a part would keep the whole volume in memory.
        middle = record["volume"][len(record["volume"]) // 2].copy()
        values[int(record["label"])].append(record["volume"][::2, ::4, ::4].ravel())
        if shown < MAX_PICTURES:
            tiles[int(record["label"])].append(
                (" ".join((record["unit_id"], record["view"])).strip(), middle)
            )
            shown += 1
    pictures = [
        (f"{classes[k]}: middle slices", _sheet(found, window))
        for k, found in tiles.items()
        if found
    ]
    pictures.append(("Values by class", _histogram(values, classes)))
    numeric = quality.select_dtypes("number").dropna(axis=1, how="all")
    if numeric.size:
        pictures.append(("Quality of the scans", _distributions(numeric)))
    lead = f"{total} records, {shown} of them shown, {len(quality)} scans{_graded(quality)}."
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            title=title,
            lead=lead,
            pictures=pictures,
            columns=list(quality.columns),
            rows=quality.fillna("").astype(str).to_numpy().tolist(),
        )
    )


def _graded(quality: pd.DataFrame) -> str:
    """How many scans have which grade, and how many were refused."""
    if "quality" not in quality or "used" not in quality:
        return ""
    counts = quality["quality"].value_counts()
    text = ", ".join(f"{counts[name]} {name}" for name in reversed(GRADES) if name in counts)
    refused = int((quality["used"] == "no").sum())
    return f" (quality: {text}" + (f"; {refused} refused)" if refused else ")")


def _sheet(tiles: list[tuple[str, np.ndarray]], window: tuple[float, float]) -> str:
    rows = -(-len(tiles) // _COLUMNS)
    figure = Figure(figsize=(1.6 * _COLUMNS, 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, image) in zip(axes, tiles, strict=False):
        axis.imshow(image, cmap="gray", vmin=low, vmax=high)
        axis.set_title(name, fontsize=6)
    return _png(figure)


def _histogram(values: dict[int, list[np.ndarray]], classes: tuple[str, ...]) -> str:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axis = figure.subplots()
    of_class = {k: finite(np.concatenate(parts)) for k, parts in values.items() if parts}
    for k, numbers in of_class.items():
        if len(numbers):
            axis.hist(
                numbers, bin_edges(numbers, 100), density=True, histtype="step", label=classes[k]
            )
    if axis.patches:
        axis.set_yscale("log")
        axis.legend()
    return _png(figure)


def _distributions(table: pd.DataFrame) -> str:
    figure = Figure(figsize=(2.2 * len(table.columns), 2.2), layout="constrained")
    for axis, name in zip(
        figure.subplots(1, len(table.columns), squeeze=False)[0], table.columns, strict=True
    ):
        numbers = finite(table[name])
        axis.hist(numbers, bin_edges(numbers, 20))
        axis.set_title(name, fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return base64.b64encode(buffer.getvalue()).decode()
