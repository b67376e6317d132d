"""Detections of several networks in one picture, made one."""

from collections.abc import Sequence

import numpy as np

Detections = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes `[k, 4]` as x0, y0, x1, y1, scores `[k]` and places among the classes `[k]`."""


def fuse(members: Sequence[Detections], overlap: float = 0.5) -> Detections:
    """Boxes that several networks give for the same thing, as one box with one score.

    Weighted boxes fusion (Solovyev, Wang and Gabruseva, Image and Vision Computing 107, 104117,
    2021): in each class, the best box that is left begins a cluster, and the cluster's box is the
    mean of its members' edges weighted by their scores. Its score is the sum of the scores divided
    by the number of networks, so that what half of them miss has half the score; that is the
    source's mean of the scores times the share of networks in the cluster. Ours differs in two
    points: of each network only the box that overlaps the cluster's first one most can join, so
    that no score exceeds 1 and neighbours that one network tells apart stay apart; and boxes are
    held against that first box, not against the mean as it moves.

    Args:
        members: of each network what it detects in this picture.
        overlap: intersection over union from which two boxes are of one thing.

    Returns:
        Boxes `[n, 4]` float32, scores `[n]` float32 and classes `[n]` int64, best score first;
        of equal scores, the lower class first.

    Raises:
        ValueError: no network, or an overlap outside 0..1 (0 itself excluded).
    """
    if not members:
        raise ValueError("Detections of no network cannot be fused.")
    if not 0.0 < overlap <= 1.0:
        raise ValueError(f"An overlap of {overlap} cannot be asked for; give 0 < overlap <= 1.")
    boxes = np.concatenate([np.reshape(b, (-1, 4)) for b, _, _ in members]).astype(np.float64)
    scores = np.concatenate([s for _, s, _ in members]).astype(np.float64)
    classes = np.concatenate([c for _, _, c in members]).astype(np.int64)
    network = np.repeat(np.arange(len(members)), [len(s) for _, s, _ in members])
    fused = [(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))]
    for place in np.unique(classes):
        rows = np.flatnonzero(classes == place)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        clusters = _clusters(boxes[rows], network[rows], overlap)
        fused.append((
            np.array([_mean(boxes[rows[one]], scores[rows[one]]) for one in clusters]),
            np.array([scores[rows[one]].sum() / len(members) for one in clusters]),
            np.full(len(clusters), place),
        ))  # fmt: skip
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*fused, strict=True))
    order = np.argsort(-scores, kind="stable")
    return boxes[order].astype(np.float32), scores[order].astype(np.float32), classes[order]


def _clusters(boxes: np.ndarray, network: np.ndarray, overlap: float) -> list[list[int]]:
    """Rows of boxes of one class, best score first, that are of one thing."""
    free, clusters = np.ones(len(boxes), bool), []
    for first in range(len(boxes)):
        if not free[first]:
            continue
        cluster = [first]
        shares = np.where(free, _shares(boxes[first], boxes), 0.0)
        for other in np.unique(network[network != network[first]]):
            rows = np.flatnonzero(network == other)
            nearest = rows[np.argmax(shares[rows])]
            if shares[nearest] >= overlap:
                cluster.append(int(nearest))
        free[cluster] = False
        clusters.append(cluster)
    return clusters


def _shares(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each `[n]`."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    union = np.clip(box[2:] - box[:2], 0, None).prod() + areas - common
    return np.divide(common, union, out=np.zeros(len(boxes)), where=union > 0)


def _mean(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The mean edges `[4]`, weighted by scores; where all are 0, alike."""
    return np.average(boxes, axis=0, weights=scores if scores.any() else None)
