"""Detections against marked findings: average precision, and FROC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msk_jax.evaluation.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.resampling import cluster_bootstrap

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


def match_boxes(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    iou: float = 0.5,
) -> Matched:
    """Matches boxes to findings by overlap, in the order of their scores.

    A box takes the finding that it overlaps most of those that are still free; it is a hit where
    that overlap is at least `iou` (the rule of COCO).

    Args:
      boxes: per image [detections, 2 axes], low corner then high corner in the axes' order.
      scores: per image [detections].
      truths: per image [findings, 2 axes].

    Raises:
      ValueError: lists of unequal length, or boxes that are no boxes.
    """
    return _match(boxes, scores, [_overlaps(b, t) for b, t in _pairs(boxes, truths)], truths, iou)


def match_points(
    points: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    radius_mm: float,
) -> Matched:
    """As `match_boxes`, for points [detections, axes] in mm that hit within a radius."""
    near = []
    for found, true in _pairs(points, truths):
        apart = np.linalg.norm(found[:, None] - true[None], axis=2)
        near.append(-apart)
    return _match(points, scores, near, truths, -radius_mm)


def average_precision(
    matched: Matched, *, samples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Figure:
    """Area under the precision envelope at 101 recalls, with a bootstrap over images.

    Source: T.-Y. Lin et al., ECCV 2014 (COCO), pycocotools.
    """
    return _mean_precision([matched], samples, seed, confidence)


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

    Of several classes take the mean of their values.
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


def _precision_of(matched: Matched, weights: np.ndarray) -> np.ndarray:
    """Average precision where image k counts weights[:, k] times [samples]."""
    order = np.argsort(-matched.scores, kind="mergesort")
    values = []
    for row in weights:
        total = row @ matched.findings
        of = row[matched.image[order]]
        hits, shown = np.cumsum(of * matched.hits[order]), np.cumsum(of)
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
    order = np.argsort(-matched.scores, kind="mergesort")
    values = matched.scores[order]
    last = np.r_[np.diff(values) != 0, True] if len(values) else np.zeros(0, bool)

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
    pairs = []
    for a, b in zip(found, truths, strict=True):
        a, b = np.asarray(a, float), np.asarray(b, float)
        axes = max(a.shape[-1] if a.size else 0, b.shape[-1] if b.size else 0)
        pairs.append((a.reshape(-1, axes) if axes else a.reshape(0, 1),
                      b.reshape(-1, axes) if axes else b.reshape(0, 1)))  # fmt: skip
    return pairs


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
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for of, near in zip(scores, nearness, strict=True):
        of = np.asarray(of, float).ravel()
        if len(of) != len(near) or not np.isfinite(of).all():
            raise ValueError(f"{len(near)} detections have {len(of)} scores; each needs a number.")
        free = np.ones(near.shape[1], bool)
        hit = np.zeros(len(of), bool)
        for i in np.argsort(-of, kind="mergesort"):
            open_ones = np.flatnonzero(free & (near[i] >= least - 1e-12))
            if len(open_ones):
                hit[i] = True
                free[open_ones[near[i, open_ones].argmax()]] = False
        parts.append((of, hit))
    image = np.repeat(np.arange(len(parts)), [len(s) for s, _ in parts])
    joined = [np.concatenate(x) if parts else np.zeros(0) for x in zip(*parts, strict=True)]
    findings = np.array([near.shape[1] for near in nearness])
    return Matched(joined[0], joined[1].astype(bool), image, findings)
