"""Region proposal network (Ren et al., 2015) over the levels of a pyramid (Lin et al., 2017)."""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.layers import Layers, full_precision
from msk_jax.models.detection import boxes as ops

_small = nn.initializers.normal(0.01)


class RPNHead(nn.Module):
    """Every map -> objectness logits and box offsets of its anchors.

    `[batch, height, width, channels]` each -> `[batch, height * width * anchors]` and the same with
    four offsets, in the order of `anchors_of`.
    """

    anchors: int = 3
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        def conv(layers: Layers, features: int, kernel: int, name: str):
            return layers.conv(
                features, (kernel, kernel), use_bias=True, kernel_init=_small, name=name
            )

        shared = conv(self.layers, maps[0].shape[-1], 3, "conv.0.0")
        classify = conv(Layers(), self.anchors, 1, "cls_logits")
        measure = conv(Layers(), 4 * self.anchors, 1, "bbox_pred")
        objectness, deltas = [], []
        for x in maps:
            y = full_precision(nn.relu(shared(x)))
            objectness.append(classify(y).reshape(x.shape[0], -1))
            deltas.append(measure(y).reshape(x.shape[0], -1, 4))
        return objectness, deltas


@dataclasses.dataclass(frozen=True)
class ProposalRule:
    """How many proposals there are and which overlaps are too many."""

    before_nms: int = 1000
    """Best anchors of every level that are looked at."""
    after_nms: int = 1000
    """Proposals of an image."""
    nms: float = 0.7
    """Overlap with a better one of the same level that removes a proposal."""
    smallest: float = 1e-3
    """Shortest side of a proposal in pixels."""
    score: float = 0.0
    """Least probability of being an object."""


def select_proposals(
    objectness: Sequence[jax.Array],
    deltas: Sequence[jax.Array],
    anchors: Sequence[jax.Array],
    size: jax.Array,
    rule: ProposalRule = ProposalRule(),
) -> dict[str, jax.Array]:
    """The proposals of one image; no gradient flows through them.

    Args:
        objectness: per level, `[anchors]`.
        deltas: per level, `[anchors, 4]`.
        anchors: per level, `[anchors, 4]`.
        size: (height, width) of the image without padding, `[2]`.
        rule: numbers and thresholds.

    Returns:
        `boxes` `[after_nms, 4]`, `scores` and `there` `[after_nms]`, from the best score down; what
        is not there is zero.
    """
    found = []
    for level_scores, level_deltas, level_anchors in zip(objectness, deltas, anchors, strict=True):
        scores, chosen = jax.lax.top_k(
            jax.lax.stop_gradient(level_scores), min(rule.before_nms, len(level_scores))
        )
        offsets = jax.lax.stop_gradient(level_deltas)[chosen]
        boxes = ops.clip(ops.decode(offsets, jnp.asarray(level_anchors)[chosen]), size)
        there = ops.at_least(boxes, rule.smallest) & (nn.sigmoid(scores) >= rule.score)
        found.append((boxes, scores, ops.nms(boxes, scores, there, rule.nms)))
    boxes, scores, there = (jnp.concatenate(parts) for parts in zip(*found, strict=True))
    chosen, there = ops.best(scores, there, rule.after_nms)
    return {
        "boxes": jnp.where(there[:, None], boxes[chosen], 0),
        "scores": jnp.where(there, nn.sigmoid(scores[chosen]), 0),
        "there": there,
    }
