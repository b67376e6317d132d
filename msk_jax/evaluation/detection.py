"""Detections against marked findings: average precision, and FROC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from msk_jax.evaluation.classes.roc import check_scores
from msk_jax.evaluation.core.checks import check_yes_no
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import cluster_bootstrap

FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per image at which sensitivities are averaged."""


@dataclass(frozen=True)
class Matched:
    """Detections of all images, each held against the findings of its image."""

    scores: np.ndarray
    """[detections]."""
    hits: np.ndarray
    """Whether the detection is the first on its finding [detections], bool."""
    image: np.ndarray
    """Index of the image [detections]."""
    findings: np.ndarray
    """Findings of each image [images]."""


@dataclass(frozen=True)
class Froc:
    """Free-response curve."""

    false_positives: np.ndarray
    """Per image [points]."""
    sensitivity: np.ndarray
    """Share of findings that are hit [points]."""
    score: Figure
    """Mean sensitivity at `FROC_RATES`, with an interval over images."""


@dataclass(frozen=True)
class ClassPrecision:
    """Average precision over classes."""

    mean: Figure
    """Unweighted, of the classes that have findings."""
    classes: dict[str, Figure]
    """Each."""


def match_boxes(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    iou: float = 0.5,
) -> Matched:
    """Matches boxes to findings by overlap, in the order of their scores.

    A box takes the finding that it overlaps most of those that are still free; it is a hit where
    that overlap is at least `iou` (the rule of COCO). Of equal scores the box with the larger
    overlap comes first, and of equal overlaps the one with the lower corner; where the rows of a
    table stand says nothing.

    Args:
        boxes: per image [detections, 2 axes], low corner then high corner in the axes' order.
        scores: per image [detections].
        truths: per image [findings, 2 axes].

    Raises:
        ValueError: lists of unequal length, boxes that are no boxes, or an overlap outside 0..1 (0
            itself excluded).
    """
    if not 0.0 < iou <= 1.0:
        raise ValueError(f"An overlap of {iou} cannot be asked for; give 0 < iou <= 1.")
    return _match(boxes, scores, [_overlaps(b, t) for b, t in _pairs(boxes, truths)], truths, iou)


def match_points(
    points: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    radius_mm: float,
) -> Matched:
    """As `match_boxes`, for points [detections, axes] in mm that hit within a radius."""
    if not 0.0 <= radius_mm < np.inf:
        raise ValueError(f"A radius of {radius_mm} mm cannot be.")
    near = []
    for found, true in _pairs(points, truths):
        apart = np.linalg.norm(found[:, None] - true[None], axis=2)
        near.append(-apart)
    return _match(points, scores, near, truths, -radius_mm)


def average_precision(
    matched: Matched, *, samples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Figure:
    """Area under the precision envelope at 101 recalls, with a bootstrap over images.

    Detections of one score are one point of the curve, for no threshold tells them apart.
    (pycocotools counts them one by one, in the order of the images, so that its figure changes with
    that order; where no scores are equal the two agree.)

    Source: T.-Y. Lin et al., ECCV 2014 (COCO), pycocotools.
    """
    return _mean_precision([matched], samples, seed, confidence)


def precision(matched: Matched) -> float:
    """The value of `average_precision` alone; NaN where there is no finding."""
    return float(_precision_of(matched, np.ones((1, len(matched.findings))))[0])


def mean_average_precision(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    thresholds: Sequence[float] = tuple(np.arange(50, 100, 5) / 100),
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Mean of one class's average precision over overlaps 0.50 ... 0.95.

    Of several classes: `mean_over_classes`.
    """
    matched = [match_boxes(boxes, scores, truths, overlap) for overlap in thresholds]
    return _mean_precision(matched, samples, seed, confidence)


def _mean_precision(
    all_matched: Sequence[Matched], samples: int, seed: int, confidence: float
) -> Figure:
    """Of the same images, detections and findings, matched in several ways."""
    method, images = "bootstrap over images", len(all_matched[0].findings)
    if not images or not all_matched[0].findings.sum():
        return missing(method, "There is no finding.")

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.mean([_precision_of(matched, weights) for matched in all_matched], axis=0)

    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(images), statistic, **options)
    value = statistic(np.ones((1, images)))[0]
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], method)


def mean_over_classes(
    matched: Mapping[str, Sequence[Matched]],
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> ClassPrecision:
    """Average precision of each class and their mean, from one bootstrap over the images.

    Args:
        matched: by class, the same images matched at each overlap that is averaged over (one for
            AP at 0.5). A class without findings has no answer and is left out of the mean, in each
            sample anew, as COCO does.

    Raises:
        ValueError: no class, or classes of unequal numbers of images.
    """
    counts = {len(part.findings) for parts in matched.values() for part in parts}
    if len(counts) != 1:
        raise ValueError(f"All classes must be of the same images, not of {sorted(counts)}.")
    method, images = "bootstrap over images", counts.pop()
    if not images or not any(parts[0].findings.sum() for parts in matched.values()):
        gone = missing(method, "There is no finding.")
        return ClassPrecision(gone, dict.fromkeys(matched, gone))

    def statistic(weights: np.ndarray) -> np.ndarray:
        of_class = np.stack(
            [
                np.mean([_precision_of(part, weights) for part in parts], axis=0)
                for parts in matched.values()
            ]
        )
        there = np.isfinite(of_class)
        with np.errstate(invalid="ignore"):
            mean = np.where(there, of_class, 0.0).sum(axis=0) / there.sum(axis=0)
        return np.c_[mean, of_class.T]

    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(images), statistic, **options)
    values = statistic(np.ones((1, images)))[0]
    triples = zip(values, bounds.low, bounds.high, strict=True)
    mean, *of_class = (bootstrap_figure(*triple, method) for triple in triples)
    return ClassPrecision(mean, dict(zip(matched, of_class, strict=True)))


def lroc_area(
    labels: np.ndarray,
    scores: np.ndarray,
    located: np.ndarray,
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Area under the localisation ROC curve, with a bootstrap over images.

    The chance that a sick image is marked in the right place with a higher score than a well one
    has, ties counting half; a sick image that is marked elsewhere wins against none.

    Args:
        labels: 0 or 1 [images].
        scores: of the highest mark of each image [images].
        located: whether that mark lies on a finding [images]; that of a well image is not looked
            at.

    Raises:
        ValueError: labels or marks other than 0 and 1, scores that are not finite, unequal lengths.

    Source: R. G. Swensson, Med Phys 1996;23:1709.
    """
    labels, scores = check_scores(labels, scores)
    labels, located = check_yes_no("Labels and marks", labels, located)
    method = "bootstrap over images"
    if labels.all() or not labels.any():
        return missing(method, "An LROC curve needs both classes.")
    sick, well = scores[labels][:, None], scores[~labels][None]
    wins = ((sick > well) + 0.5 * (sick == well)) * located[labels][:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        a, b = weights[:, labels], weights[:, ~labels]
        return np.sum((a @ wins) * b, axis=1) / (a.sum(axis=1) * b.sum(axis=1))

    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(len(labels)), statistic, strata=labels, **options)
    value = statistic(np.ones((1, len(labels))))[0]
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], method)


def _by_score(matched: Matched) -> tuple[np.ndarray, np.ndarray]:
    """The detections from the highest score on, and whether each is the last of its score."""
    order = np.argsort(-matched.scores, kind="mergesort")
    values = matched.scores[order]
    return order, np.r_[np.diff(values) != 0, True] if len(values) else np.zeros(0, bool)


def _precision_of(matched: Matched, weights: np.ndarray) -> np.ndarray:
    """Average precision where image k counts weights[:, k] times [samples]."""
    order, last = _by_score(matched)
    values = []
    for row in weights:
        total = row @ matched.findings
        of = row[matched.image[order]]
        hits, shown = np.cumsum(of * matched.hits[order])[last], np.cumsum(of)[last]
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = hits / total
            precision = np.where(shown > 0, hits / shown, 0.0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
        values.append(np.r_[envelope, 0.0][place].mean() if total else np.nan)
    return np.array(values)


def froc(matched: Matched, *, samples: int = 2000, seed: int = 0, confidence: float = 0.95) -> Froc:
    """Free-response curve and its score, with a bootstrap over images.

    At a rate the curve has the sensitivity of its last point that does not exceed it (a step).
    A second detection on a finding that is hit already counts as false.

    Source: B. van Ginneken et al., Med Image Anal 2010;14:707 (seven rates).
    """
    images = len(matched.findings)
    if not images or not matched.findings.sum():
        empty = np.zeros(0)
        return Froc(empty, empty, missing("bootstrap over images", "There is no finding."))
    order, last = _by_score(matched)

    def curve(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of = weights[:, matched.image[order]]
        hit = matched.hits[order]
        with np.errstate(invalid="ignore"):
            found = np.cumsum(of * hit, axis=1) / (weights @ matched.findings)[:, None]
        false = np.cumsum(of * ~hit, axis=1) / weights.sum(axis=1, keepdims=True)
        start = np.zeros((len(weights), 1))
        return np.c_[start, false[:, last]], np.c_[start, found[:, last]]

    def statistic(weights: np.ndarray) -> np.ndarray:
        rows = []
        for false, found in zip(*curve(weights), strict=True):
            place = np.searchsorted(false, np.array(FROC_RATES) + 1e-12, side="right") - 1
            rows.append(found[place].mean())
        return np.array(rows)

    ones = np.ones((1, images))
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(images), statistic, **options)
    false, found = curve(ones)
    score = bootstrap_figure(
        statistic(ones)[0], bounds.low[0], bounds.high[0], "bootstrap over images"
    )
    return Froc(false[0], found[0], score)


def _pairs(
    found: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(found) != len(truths):
        raise ValueError(
            f"There are detections of {len(found)} images and truths of {len(truths)}."
        )
    tables = [[np.asarray(a, float) for a in images] for images in (found, truths)]
    there = [array for images in tables for array in images if array.size]
    axes = {array.shape[-1] for array in there}
    if len(axes) > 1 or any(array.ndim != 2 for array in there):
        shapes = ", ".join(sorted({str(array.shape) for array in there}))
        raise ValueError(f"Places must be tables [places, numbers] of one width, not {shapes}.")
    if not all(np.isfinite(array).all() for array in there):
        raise ValueError("Places must be finite.")
    width = axes.pop() if axes else 1
    return list(zip(*([a.reshape(-1, width) for a in images] for images in tables), strict=True))


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union [detections, findings]."""
    if not (len(a) and len(b)):
        return np.zeros((len(a), len(b)))
    half = a.shape[1] // 2
    for boxes in (a, b):
        if a.shape[1] % 2 or (boxes[:, half:] < boxes[:, :half]).any():
            raise ValueError("A box is its low corner, then its high corner.")
    low = np.maximum(a[:, None, :half], b[None, :, :half])
    high = np.minimum(a[:, None, half:], b[None, :, half:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    sizes = [(x[:, half:] - x[:, :half]).prod(axis=1) for x in (a, b)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def _match(
    found: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    nearness: list[np.ndarray],
    truths: Sequence[np.ndarray],
    least: float,
) -> Matched:
    """Greedy matching, image by image."""
    if len(scores) != len(found):
        raise ValueError(f"There are scores of {len(scores)} images and places of {len(found)}.")
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for places, of, near, true in zip(found, scores, nearness, truths, strict=True):
        of = np.asarray(of, float).ravel()
        if len(of) != len(near) or not np.isfinite(of).all():
            raise ValueError(f"{len(near)} detections have {len(of)} scores; each needs a number.")
        near = near[:, _in_order(true)]
        free = np.ones(near.shape[1], bool)
        hit = np.zeros(len(of), bool)
        nearest = near.max(axis=1, initial=-np.inf)
        for i in _in_order(places, -nearest, -of):
            open_ones = np.flatnonzero(free & (near[i] >= least - 1e-12))
            if len(open_ones):
                hit[i] = True
                free[open_ones[near[i, open_ones].argmax()]] = False
        parts.append((of, hit))
    image = np.repeat(np.arange(len(parts)), [len(s) for s, _ in parts])
    of, hits = (np.concatenate([np.zeros(0), *(part[k] for part in parts)]) for k in (0, 1))
    findings = np.array([near.shape[1] for near in nearness], int)
    return Matched(of, hits.astype(bool), image.astype(int), findings)


def _in_order(places: np.ndarray, *before: np.ndarray) -> np.ndarray:
    """Indices of places [places, numbers] by their numbers; `before` are what goes before these,
    the last first."""
    table = np.asarray(places, float)
    if not table.size:
        return np.arange(0)
    return np.lexsort((*table.T[::-1], *before))
