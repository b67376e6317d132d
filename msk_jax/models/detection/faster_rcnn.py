"""Faster R-CNN on a ResNet with a feature pyramid.

Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, 2015;
Lin et al., Feature Pyramid Networks for Object Detection, 2017. Defaults are torchvision's.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.fpn import FPN
from msk_jax.models.blocks.layers import (
    Layers,
    channels_first_flat,
    endpoint,
    example_keys,
    full_precision,
)
from msk_jax.models.detection import boxes as ops
from msk_jax.models.detection.anchors import anchors_of
from msk_jax.models.detection.frozen import BackboneLayers
from msk_jax.models.detection.losses import detection_losses, proposal_losses
from msk_jax.models.detection.matching import IGNORED, match, sample
from msk_jax.models.detection.roi_align import roi_align
from msk_jax.models.detection.rpn import ProposalRule, RPNHead, select_proposals
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.weights.torch_weights import COUNTER
from msk_jax.models.zoo.resnet import ResNetEncoder


class BoxHead(nn.Module):
    """Two dense layers, then classes and boxes of every region.

    `[regions, height, width, channels]` -> logits `[regions, classes]` and offsets
    `[regions, classes, 4]`, float32.
    """

    num_classes: int
    features: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = channels_first_flat(x)
        x = nn.relu(self.layers.dense(self.features, name="box_head.fc6")(x))
        x = nn.relu(self.layers.dense(self.features, name="box_head.fc7")(x))
        x = full_precision(x)
        logits = nn.Dense(self.num_classes, name="box_predictor.cls_score")(x)
        deltas = nn.Dense(4 * self.num_classes, name="box_predictor.bbox_pred")(x)
        return logits, deltas.reshape(-1, self.num_classes, 4)


class FasterRCNN(Network):
    """Finds objects: `[batch, height, width, channels]` -> (detections or losses, endpoints).

    Images are normalised, resized and padded before; `sizes` `[batch, 2]` are their heights and
    widths without padding. Class 0 is background, and `num_classes` counts it.

    Without targets it returns `boxes` `[batch, max_detections, 4]`, `scores`, `labels`
    `[batch, max_detections]` (0 where there is no detection), best first. With targets, `boxes`
    `[batch, m, 4]` and `labels` `[batch, m]` (0 for padding), it returns the four losses of
    `detection.losses`; `chosen` says which `anchors` and `proposals` they are computed on
    (`[batch, n]` each), in place of the random generator called "sample". Boxes `regions`
    `[batch, n, 4]`, zeros for padding, take the place of the proposals.

    Endpoints: `pyramid0`..`pyramid4`, `objectness` and `deltas` `[batch, anchors(, 4)]`,
    `proposals` and `proposals_there`, and of these regions `class_logits`, `box_deltas`.
    """

    num_classes: int = 91
    backbone: str = "resnet50"
    width: int = 64
    """Channels of the backbone's first stage."""
    pyramid_features: int = 256
    """Channels of every map of the pyramid."""
    frozen_norm: bool = True
    """The backbone's norms learn nothing."""
    norm_epsilon: float = 1e-5
    """Added to the variance in the backbone's norms. torchvision's weights learned on COCO were
    learned without: give 0 for them, and for what was trained on from them."""
    anchor_sizes: tuple[tuple[int, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    """Sides in pixels, level by level."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width."""
    train_rule: ProposalRule = ProposalRule(2000, 2000)
    test_rule: ProposalRule = ProposalRule()
    anchor_overlap: tuple[float, float] = (0.3, 0.7)
    """With a true box: below, background; from there on, an object."""
    anchor_samples: int = 256
    """Of an image, in the losses of the proposals."""
    anchor_positives: float = 0.5
    """Largest share of objects among them."""
    box_overlap: float = 0.5
    """With a true box, from which a region has its class."""
    box_samples: int = 512
    """Regions of an image in the losses of the box head."""
    box_positives: float = 0.25
    """Largest share of objects among them."""
    box_features: int = 1024
    """Of the box head's two layers."""
    box_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
    """Of the offsets of the box head."""
    score: float = 0.05
    """Least probability of a detection."""
    nms: float = 0.5
    """Overlap with a better one of its class that removes a detection."""
    max_detections: int = 100
    """Of an image."""
    candidates: int = 2000
    """Most pairs of region and class that enter the last suppression, the best by score."""
    losses_per_image: bool = False
    """Whether the losses are those of each image `[batch]`, over its own samples, and not of the
    batch: only so can images be weighed, and a batch lie on several devices."""

    smallest: ClassVar[int] = 32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        sizes: jax.Array | None = None,
        targets: Mapping[str, jax.Array] | None = None,
        chosen: Mapping[str, jax.Array] | None = None,
        regions: jax.Array | None = None,
    ) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        self.check_input(x)
        if sizes is None:
            sizes = jnp.tile(jnp.array(x.shape[1:3]), (x.shape[0], 1))
        layers = self.layers(train)
        norms = BackboneLayers(
            train, self.axis_name, self.dtype, self.frozen_norm, self.norm_epsilon
        )
        body = ResNetEncoder(self.backbone, self.width, layers=norms, name="backbone.body")
        pyramid = FPN(self.pyramid_features, layers, pool=True, name="backbone.fpn")
        maps = pyramid(list(body(x).values()))
        maps = [endpoint(self, f"pyramid{i}", m) for i, m in enumerate(maps)]
        endpoints = {f"pyramid{i}": m for i, m in enumerate(maps)}

        per_place = len(self.anchor_sizes[0]) * len(self.anchor_ratios)
        objectness, deltas = RPNHead(per_place, layers, name="rpn.head")(maps)
        anchors = anchors_of(
            x.shape[1:3], [m.shape[1:3] for m in maps], self.anchor_sizes, self.anchor_ratios
        )
        rule = self.train_rule if train else self.test_rule
        if regions is None:
            proposals = jax.vmap(lambda o, d, s: select_proposals(o, d, anchors, s, rule))(
                objectness, deltas, sizes
            )
        else:
            proposals = {"boxes": regions, "there": jnp.any(regions != 0, -1)}
        endpoints["objectness"] = jnp.concatenate(objectness, 1)
        endpoints["deltas"] = jnp.concatenate(deltas, 1)
        losses, labels = {}, None
        if targets is not None:
            self._check_targets(x, targets)
            chosen = chosen or {}
            losses = self._proposal_losses(endpoints, anchors, targets, chosen)
            proposals, goals, labels = self._sampled(proposals, targets, chosen)
        endpoints["proposals"] = regions = proposals["boxes"]
        endpoints["proposals_there"] = proposals["there"]

        pooled = roi_align(maps[:-1], regions)
        head = BoxHead(self.num_classes, self.box_features, layers, name="roi_heads")
        outputs = head(pooled.reshape(-1, *pooled.shape[2:]))
        logits, offsets = (y.reshape(*regions.shape[:2], *y.shape[1:]) for y in outputs)
        endpoints |= {"class_logits": logits, "box_deltas": offsets}
        if targets is not None:
            losses |= detection_losses(
                logits, offsets, goals, labels, proposals["there"], self.losses_per_image
            )
            return losses, endpoints
        return jax.vmap(self._detections)(logits, offsets, proposals, sizes), endpoints

    def _check_targets(self, x: jax.Array, targets: Mapping[str, jax.Array]) -> None:
        shapes = {k: tuple(targets[k].shape) for k in ("boxes", "labels") if k in targets}
        if len(shapes) < 2:
            raise UserError(f"The targets need boxes and labels; they have {sorted(targets)}.")
        boxes, labels = shapes["boxes"], shapes["labels"]
        if boxes[:1] != x.shape[:1] or boxes != (*labels, 4):
            raise UserError(
                f"Of {x.shape[0]} images the target boxes must be [batch, m, 4] and the labels "
                f"[batch, m]; they are {boxes} and {labels}."
            )

    def _sample(self, labels: jax.Array, count: int, positives: float) -> jax.Array:
        keys = example_keys(self.make_rng("sample"), labels.shape[0], self.axis_name)
        return jax.vmap(lambda key, own: sample(key, own, count, positives))(keys, labels)

    def _proposal_losses(self, endpoints, anchors, targets, chosen) -> dict[str, jax.Array]:
        anchors = jnp.concatenate(anchors)

        def goal(boxes, labels):
            low, high = self.anchor_overlap
            index, labels = match(anchors, boxes, labels, low, high, keep_best=True)
            return labels, ops.encode(boxes[index], anchors)

        labels, goals = jax.vmap(goal)(targets["boxes"], targets["labels"])
        sampled = chosen.get("anchors")
        if sampled is None:
            sampled = self._sample(labels, self.anchor_samples, self.anchor_positives)
        outputs = endpoints["objectness"], endpoints["deltas"]
        return proposal_losses(*outputs, goals, labels, sampled, self.losses_per_image)

    def _sampled(self, proposals, targets, chosen):
        """The regions to learn from, the true boxes among them, what they should be, and labels."""
        regions = jnp.concatenate([proposals["boxes"], targets["boxes"]], 1)
        there = jnp.concatenate([proposals["there"], targets["labels"] > 0], 1)

        def label(regions, there, boxes, labels):
            index, labels = match(regions, boxes, labels, self.box_overlap, self.box_overlap)
            return boxes[index], jnp.where(there, labels, IGNORED)

        matched, labels = jax.vmap(label)(regions, there, targets["boxes"], targets["labels"])
        sampled = chosen.get("proposals")
        if sampled is None:
            sampled = self._sample(labels, self.box_samples, self.box_positives)

        def take(regions, matched, labels, sampled):
            place, there = ops.best(jnp.zeros(labels.shape), sampled, self.box_samples)
            goals = ops.encode(matched[place], regions[place], self.box_weights)
            return {"boxes": regions[place], "there": there}, goals, labels[place]

        return jax.vmap(take)(regions, matched, labels, sampled)

    def _detections(self, logits, offsets, proposals, size) -> dict[str, jax.Array]:
        """The detections of one image."""
        boxes = ops.decode(offsets, proposals["boxes"][:, None], self.box_weights)
        boxes = ops.clip(boxes, size)[:, 1:].reshape(-1, 4)
        scores = nn.softmax(logits, -1)[:, 1:]
        labels = jnp.tile(jnp.arange(1, self.num_classes), len(scores))
        there = jnp.repeat(proposals["there"], self.num_classes - 1)
        scores = scores.reshape(-1)
        there &= (scores > self.score) & ops.at_least(boxes, 1e-2)

        place, there = ops.best(scores, there, min(self.candidates, len(scores)))
        boxes, scores, labels = boxes[place], scores[place], labels[place]
        stays = ops.nms(boxes, scores, there, self.nms, labels)
        place, there = ops.best(scores, stays, self.max_detections)
        return {
            "boxes": jnp.where(there[:, None], boxes[place], 0),
            "scores": jnp.where(there, scores[place], 0),
            "labels": jnp.where(there, labels[place], 0),
        }


def _trained_norms(state: Mapping) -> dict[str, bool]:
    """PyTorch counts the batches of norms that learn, and only of those."""
    return {"frozen_norm": not any(name.endswith(COUNTER) for name in state)}


MODELS = {
    "fasterrcnn_resnet50_fpn": Architecture(
        FasterRCNN,
        {"backbone": "resnet50"},
        **facts_of("fasterrcnn_resnet50_fpn"),
        reference_settings={"num_classes": 91},
        # What `fasterrcnn_resnet50_fpn` makes for trained weights, of which none are to be loaded.
        reference_parts={
            "backbone": (
                "torchvision.models.detection.backbone_utils.resnet_fpn_backbone",
                {"backbone_name": "resnet50", "weights": None, "trainable_layers": 5},
            )
        },
        returns="detections",
        endpoints={f"pyramid{i}": f"backbone.fpn.layer_blocks.{i}" for i in range(4)}
        | {
            "class_logits": "roi_heads.box_predictor.cls_score",
            "box_deltas": "roi_heads.box_predictor.bbox_pred",
        },
        head=("roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"),
        stem="backbone.body.conv1",
        small=(64, 96),
        odd=(107, 150),
        # Of files from before torchvision 0.13, that of COCO among them.
        namings={
            "torchvision-0.12": (
                ("backbone.fpn.inner_blocks.{i}", "backbone.fpn.inner_blocks.{i}.0"),
                ("backbone.fpn.layer_blocks.{i}", "backbone.fpn.layer_blocks.{i}.0"),
                ("rpn.head.conv", "rpn.head.conv.0.0"),
            )
        },
        told=_trained_norms,
    )
}
