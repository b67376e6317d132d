"""Our detectors beside torchvision's, stage by stage.

A detector chooses: which anchors become proposals, which boxes suppress which. One rounding error
can turn a choice, so the choices are compared in double precision, where that does not happen, and
what lies between them in single precision on the same regions.
"""

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.parity.pair import Pair, relative_error
from msk_jax.parity.references import as_tensor, channels_last, locate

_LEVELS = ("0", "1", "2", "3", "pool")
_REGIONS = 64
"""Of an image in the losses of the box head: the reference keeps eight copies of what it pools."""


_SPREADS = {"cls_logits": 2.0, "cls_score": 3.0, "bbox_pred": 0.5}
"""Standard deviations of what the last layers say of random images."""


class DetectorPair(Pair):
    """A detector with its reference's weights, and the reference, a torchvision Faster R-CNN."""

    @staticmethod
    def prepare(reference) -> None:
        """Scale the four layers that score and measure boxes, so that the boxes differ.

        As they start they say nearly the same of every box, or, on the outputs of random norms, so
        much that all scores are 1 and all boxes the whole image.
        """
        import torch

        torch.manual_seed(0)
        tensors, listed = _listed(np.random.default_rng(0).normal(size=(1, 64, 96, 3)))
        head, heads = reference.rpn.head, reference.roi_heads
        heads.fg_bg_sampler.batch_size_per_image = _REGIONS
        with torch.no_grad():
            maps = reference.backbone(tensors.float())
            shared = [head.conv(level) for level in maps.values()]
            _spread(head.cls_logits, shared, _SPREADS["cls_logits"])
            _spread(head.bbox_pred, shared, _SPREADS["bbox_pred"])
            boxes, _ = reference.rpn(listed, maps)
            pooled = [heads.box_head(heads.box_roi_pool(maps, boxes, listed.image_sizes))]
            _spread(heads.box_predictor.cls_score, pooled, _SPREADS["cls_score"])
            _spread(heads.box_predictor.bbox_pred, pooled, _SPREADS["bbox_pred"])

    def forward_errors(self, x: np.ndarray) -> dict[str, float]:
        """Errors of every stage in evaluation mode, the worst of both precisions.

        Args:
            x: `[batch, height, width, channels]`; the images' own sizes are `sizes_of(x)`.
        """
        single, double = self.errors_between_choices(x), self.errors_of_all(x)
        return {name: max(single.get(name, 0.0), error) for name, error in double.items()}

    def errors_between_choices(self, x: np.ndarray) -> dict[str, float]:
        """Relative errors in float32 of all but the choices, on the reference's proposals."""
        theirs = self._stages(x, np.float32)
        most = max(len(boxes) for boxes in theirs["proposals"])
        regions = np.zeros((len(x), most, 4), np.float32)
        for mine, boxes in zip(regions, theirs["proposals"], strict=True):
            mine[: len(boxes)] = boxes
        _, ours = jax.jit(self.model.apply)(
            self.arrays(jnp.float32), x, sizes=jnp.asarray(sizes_of(x)), regions=regions
        )
        return _errors_between(jax.tree.map(np.asarray, ours), theirs)

    def errors_of_all(self, x: np.ndarray) -> dict[str, float]:
        """Errors of every stage in float64.

        Returns:
            Stage -> error. Boxes are compared as sets, in shares of the image's longer side; a set
            of another size or another label is an error of infinity, and so are no detections at
            all, which would show nothing.
        """
        theirs = self._stages(x, np.float64)
        with jax.enable_x64(True):
            found, ours = jax.jit(self.model.apply)(
                self.arrays(jnp.float64), x.astype(np.float64), sizes=jnp.asarray(sizes_of(x))
            )
            found, ours = jax.tree.map(np.asarray, (found, ours))
        scale = max(x.shape[1:3])
        proposals = max(
            set_error(mine[here], boxes, scale)
            for mine, here, boxes in zip(
                ours["proposals"], ours["proposals_there"], theirs["proposals"], strict=True
            )
        )
        # Both list an image's proposals from the best down, so what follows needs no matching.
        errors = {**_errors_between(ours, theirs), "proposals": proposals}
        errors["detections"] = max(
            _detection_error({k: v[i] for k, v in found.items()}, detections, scale)
            for i, detections in enumerate(theirs["detections"])
        )
        if not any(len(detections["boxes"]) for detections in theirs["detections"]):
            errors["detections"] = float("inf")
        return errors

    def _stages(self, x: np.ndarray, dtype) -> dict:
        """What the reference makes of these images, stage by stage."""
        import torch

        reference = (self.reference.double() if dtype == np.float64 else self.reference).eval()
        x, listed = _listed(x.astype(dtype))
        flat = locate("torchvision.models.detection.rpn.concat_box_prediction_layers")
        with torch.no_grad():
            maps = reference.backbone(x)
            objectness, deltas = flat(*reference.rpn.head(list(maps.values())))
            proposals, _ = reference.rpn(listed, maps)
            heads, said = reference.roi_heads, []
            hook = heads.box_predictor.register_forward_hook(lambda *call: said.append(call[-1]))
            found, _ = heads(maps, proposals, listed.image_sizes)
            hook.remove()
        ((logits, offsets),) = said
        reference.float()
        return {
            **{f"pyramid{i}": channels_last(maps[name]) for i, name in enumerate(_LEVELS)},
            "objectness": objectness.numpy(),
            "deltas": deltas.numpy(),
            "proposals": [boxes.numpy() for boxes in proposals],
            "class_logits": logits.numpy(),
            "box_deltas": offsets.numpy(),
            "detections": [{k: v.numpy() for k, v in image.items()} for image in found],
        }

    def reference_losses(self, x: np.ndarray, seed: int) -> tuple[dict, dict[str, np.ndarray]]:
        """The reference's four losses, and on which objects, anchors and proposals they are.

        The reference draws its samples of anchors and proposals, and ours is told which.
        """
        import torch

        torch.manual_seed(seed)
        reference, targets = self.reference, self._objects(x, seed)
        tensors, listed = _listed(x)
        there = targets["labels"] > 0
        objects = [
            {"boxes": torch.tensor(b[t], dtype=tensors.dtype), "labels": torch.tensor(n[t]).long()}
            for b, n, t in zip(targets["boxes"], targets["labels"], there, strict=True)
        ]
        parts = {"anchors": reference.rpn, "proposals": reference.roi_heads}
        samplers = {name: part.fg_bg_sampler for name, part in parts.items()}
        drawn = {}
        for name, part in parts.items():
            part.fg_bg_sampler = _remembering(samplers[name], drawn, name)
        maps = reference.backbone(tensors)
        proposals, losses = reference.rpn(listed, maps, objects)
        losses |= reference.roi_heads(maps, proposals, listed.image_sizes, objects)[1]
        for name, part in parts.items():
            part.fg_bg_sampler = samplers[name]
        most = self.model.train_rule.after_nms
        masks = _padded(drawn["proposals"], proposals, most, there)
        return losses, {**targets, "anchors": np.stack(drawn["anchors"]), "proposals": masks}

    def losses(self, params: dict, stats: dict, x: jax.Array, targets: dict) -> tuple[dict, dict]:
        """Our four losses in training mode, and the new statistics."""
        (losses, _), updated = self.model.clone(box_samples=_REGIONS).apply(
            {"params": params, "batch_stats": stats},
            x,
            train=True,
            sizes=jnp.asarray(sizes_of(x)),
            targets={name: targets[name] for name in ("boxes", "labels")},
            chosen={name: targets[name] for name in ("anchors", "proposals")},
            mutable=["batch_stats"],
        )
        return losses, updated["batch_stats"]

    def _objects(self, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Two objects and padding in every other image, none in the rest."""
        rng = np.random.default_rng([seed, 5])
        sides = sizes_of(x)[:, None, ::-1]
        low = rng.uniform(0, 0.5, (len(x), 3, 2)) * sides
        boxes = np.concatenate([low, low + rng.uniform(0.25, 0.5, low.shape) * sides], -1)
        labels = np.zeros((len(x), 3), int)
        labels[::2, :2] = rng.integers(1, self.model.num_classes, labels[::2, :2].shape)
        return {"boxes": boxes.astype(x.dtype), "labels": labels}


def sizes_of(x: np.ndarray) -> np.ndarray:
    """Heights and widths of the images that are within these ones, `[batch, 2]`; 800 x 1066 of
    800 x 1088, as a photograph comes."""
    height, width = x.shape[1:3]
    return np.array([(height, width - width // 48), (height - height // 5, width)] * len(x))[
        : len(x)
    ]


def _errors_between(ours: dict, theirs: dict) -> dict[str, float]:
    """Relative errors of all that is no choice, where the proposals are the same."""
    there = ours["proposals_there"]
    ours = ours | {name: ours[name][there] for name in ("class_logits", "box_deltas")}
    names = [name for name in theirs if name not in ("proposals", "detections")]
    return {
        name: relative_error(ours[name], theirs[name].reshape(ours[name].shape)) for name in names
    }


def _listed(x: np.ndarray):
    """Images as a tensor, and as torchvision lists them."""
    make = locate("torchvision.models.detection.image_list.ImageList")
    tensors = as_tensor(x)
    return tensors, make(tensors, [tuple(map(int, size)) for size in sizes_of(x)])


def _spread(layer, inputs: list, spread: float) -> None:
    """Scale the weights of a layer, so that its outputs have this standard deviation."""
    import torch

    outputs = torch.cat([layer(x).flatten() for x in inputs])
    layer.weight *= spread / outputs.std()


def _remembering(sampler, drawn: dict, name: str):
    def sample(labels):
        positive, negative = sampler(labels)
        drawn[name] = [(p | n).numpy() > 0 for p, n in zip(positive, negative, strict=True)]
        return positive, negative

    return sample


def _padded(drawn, proposals, length: int, there: np.ndarray) -> np.ndarray:
    """Masks over an image's proposals and then its true boxes, where either is padded."""
    masks = np.zeros((len(drawn), length + there.shape[1]), bool)
    for mask, own, boxes, true in zip(masks, drawn, proposals, there, strict=True):
        mask[: len(boxes)] = own[: len(boxes)]
        mask[length:][true] = own[len(boxes) :]
    return masks


def set_error(ours: np.ndarray, theirs: np.ndarray, scale: float) -> float:
    """Largest distance of a box of one set from the nearest of the other, in shares of `scale`."""
    if len(ours) != len(theirs):
        return float("inf")
    if not len(ours):
        return 0.0
    distance = np.abs(ours[:, None] - theirs[None]).max(-1)
    return float(max(distance.min(0).max(), distance.min(1).max())) / scale


def _detection_error(ours: dict, theirs: dict, scale: float) -> float:
    """Of boxes class by class and of their scores."""
    errors = []
    for label in {*ours["labels"], *theirs["labels"]} - {0}:
        mine, other = (side["labels"] == label for side in (ours, theirs))
        errors.append(set_error(ours["boxes"][mine], theirs["boxes"][other], scale))
        scores = (np.sort(side["scores"][which]) for side, which in ((ours, mine), (theirs, other)))
        if np.isfinite(errors[-1]):
            errors.append(relative_error(*scores))
    return max(errors, default=0.0)
