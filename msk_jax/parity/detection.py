"""Our Faster R-CNN beside torchvision's, stage by stage.

A detector chooses: which anchors become proposals, which boxes suppress which. One rounding error
can turn a choice, so the choices are compared in double precision, where that does not happen.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.detection import FasterRCNN, ProposalRule
from msk_jax.models.network import variable_shapes
from msk_jax.models.torch_weights import load_torch
from msk_jax.parity.compare import GRADIENT_FLOOR, relative_error, worst
from msk_jax.parity.references import channels_last, locate, randomise, state_of

_LEVELS = ("0", "1", "2", "3", "pool")
_POOLED = 256 * 7 * 7
"""Numbers of a box, pooled from the pyramid, that its head takes."""


@dataclasses.dataclass(frozen=True)
class DetectorPair:
    """Our detector with its reference's weights, and the reference."""

    model: FasterRCNN
    variables: dict
    reference: object  # torchvision.models.detection.FasterRCNN


def make_detector_pair(
    backbone: str = "resnet50",
    num_classes: int = 5,
    proposals: int = 60,
    before_nms: int = 100,
    features: int = 1024,
    seed: int = 0,
) -> DetectorPair:
    """A torchvision detector with random weights and frozen norms, and ours with the same.

    Args:
        backbone: a ResNet.
        num_classes: background included.
        proposals: of every image.
        before_nms: anchors of every level that are looked at.
        features: of the box head's two layers.
        seed: of the weights.
    """
    import torch

    torch.manual_seed(seed)
    body = locate("torchvision.models.detection.backbone_utils.resnet_fpn_backbone")
    numbers = {f"rpn_post_nms_top_n_{mode}": proposals for mode in ("train", "test")}
    numbers |= {f"rpn_pre_nms_top_n_{mode}": before_nms for mode in ("train", "test")}
    numbers |= {"rpn_batch_size_per_image": 64, "box_batch_size_per_image": 32}
    box_head = locate("torchvision.models.detection.faster_rcnn.TwoMLPHead")
    box_predictor = locate("torchvision.models.detection.faster_rcnn.FastRCNNPredictor")
    reference = locate("torchvision.models.detection.FasterRCNN")(
        body(backbone_name=backbone, weights=None, trainable_layers=5),
        box_head=box_head(_POOLED, features),
        box_predictor=box_predictor(features, num_classes),
        **numbers,
    ).eval()
    randomise(reference, seed)
    # As they start, the heads say nearly the same of every box.
    for name in ("rpn.head.cls_logits", "roi_heads.box_predictor.cls_score"):
        torch.nn.init.normal_(reference.get_submodule(name).weight, std=0.1)
    rule = ProposalRule(before_nms, proposals)
    model = FasterRCNN(
        num_classes,
        backbone=backbone,
        train_rule=rule,
        test_rule=rule,
        box_samples=32,
        box_features=features,
    )
    empty = variable_shapes(model, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
    return DetectorPair(model, load_torch(empty, state_of(reference)), reference)


def detection_errors(pair: DetectorPair, images: np.ndarray, sizes: np.ndarray) -> dict:
    """Relative errors of every stage in evaluation mode, double precision.

    Args:
        pair: the two detectors.
        images: `[batch, height, width, 3]`, padded.
        sizes: `[batch, 2]`, heights and widths without padding.

    Returns:
        Stage -> error. Boxes are compared as sets, in shares of the image's longer side; a set of
        another size or another label is an error of infinity, and so are no detections at all,
        which would show nothing.
    """
    import torch

    reference = pair.reference.double().eval()
    x, listed = _listed(images, sizes)
    with torch.no_grad():
        maps = reference.backbone(x)
        objectness, deltas = reference.rpn.head(list(maps.values()))
        objectness, deltas = locate(
            "torchvision.models.detection.rpn.concat_box_prediction_layers"
        )(objectness, deltas)
        proposals, _ = reference.rpn(listed, maps)
        heads = reference.roi_heads
        pooled = heads.box_head(heads.box_roi_pool(maps, proposals, listed.image_sizes))
        logits, offsets = heads.box_predictor(pooled)
        found, _ = heads(maps, proposals, listed.image_sizes)
    reference.float()
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), pair.variables)
        ours, endpoints = jax.jit(pair.model.apply)(
            variables, images.astype(np.float64), sizes=jnp.asarray(sizes)
        )
        ours, endpoints = jax.tree.map(np.asarray, (ours, endpoints))
    errors = {
        f"pyramid{i}": relative_error(endpoints[f"pyramid{i}"], channels_last(maps[name]))
        for i, name in enumerate(_LEVELS)
    }
    for name, theirs in (("objectness", objectness), ("deltas", deltas)):
        theirs = theirs.numpy().reshape(endpoints[name].shape)
        errors[name] = relative_error(endpoints[name], theirs)
    there, scale = endpoints["proposals_there"], max(images.shape[1:3])
    errors["proposals"] = max(
        set_error(mine[here], theirs.numpy(), scale)
        for mine, here, theirs in zip(endpoints["proposals"], there, proposals, strict=True)
    )
    # Both list an image's proposals from the best down, so what follows needs no matching.
    errors["class_logits"] = relative_error(endpoints["class_logits"][there], logits.numpy())
    mine = endpoints["box_deltas"][there]
    errors["box_deltas"] = relative_error(mine, offsets.numpy().reshape(mine.shape))
    errors["detections"] = max(
        _detection_error({k: v[i] for k, v in ours.items()}, theirs, scale)
        for i, theirs in enumerate(found)
    )
    if not any(len(theirs["boxes"]) for theirs in found):
        errors["detections"] = float("inf")
    return errors


def _listed(images: np.ndarray, sizes: np.ndarray):
    import torch

    x = torch.tensor(np.moveaxis(images.astype(np.float64), -1, 1).copy())
    make = locate("torchvision.models.detection.image_list.ImageList")
    return x, make(x, [tuple(map(int, size)) for size in sizes])


def detection_training_errors(
    pair: DetectorPair, images: np.ndarray, sizes: np.ndarray, targets: dict[str, np.ndarray]
) -> dict:
    """Relative errors of the four losses and of all gradients of their sum, double precision.

    The reference draws its samples of anchors and proposals, and ours is told which.

    Args:
        pair: the two detectors.
        images: `[batch, height, width, 3]`, padded.
        sizes: `[batch, 2]`.
        targets: `boxes` `[batch, m, 4]` and `labels` `[batch, m]`, 0 for padding.
    """
    import torch

    torch.manual_seed(0)
    reference = pair.reference.double().train()
    x, listed = _listed(images, sizes)
    there = targets["labels"] > 0
    theirs = [
        {"boxes": torch.tensor(b[t], dtype=torch.float64), "labels": torch.tensor(n[t]).long()}
        for b, n, t in zip(targets["boxes"], targets["labels"], there, strict=True)
    ]
    parts = {"anchors": reference.rpn, "proposals": reference.roi_heads}
    samplers = {name: part.fg_bg_sampler for name, part in parts.items()}
    drawn = {}
    for name, part in parts.items():
        part.fg_bg_sampler = _remembering(samplers[name], drawn, name)
    maps = reference.backbone(x)
    proposals, losses = reference.rpn(listed, maps, theirs)
    losses |= reference.roi_heads(maps, proposals, listed.image_sizes, theirs)[1]
    reference.zero_grad()
    sum(losses.values()).backward()
    gradients = {n: p.grad.numpy() for n, p in reference.named_parameters() if p.grad is not None}
    for name, part in parts.items():
        part.fg_bg_sampler = samplers[name]
    reference.float().eval()

    chosen = {
        "anchors": np.stack(drawn["anchors"]),
        "proposals": _padded(drawn["proposals"], proposals, pair.model.train_rule.after_nms, there),
    }
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), pair.variables)

        @jax.jit
        @partial(jax.value_and_grad, has_aux=True)
        def loss_of(params):
            found, _ = pair.model.apply(
                {**variables, "params": params}, images.astype(np.float64), train=True,
                sizes=jnp.asarray(sizes), targets=targets, chosen=chosen,
            )  # fmt: skip
            return sum(found.values()), found

        (_, ours), grads = loss_of(variables["params"])
    errors = {name: relative_error(ours[name], losses[name].detach().numpy()) for name in losses}
    floor = GRADIENT_FLOOR * max(np.abs(g).max() for g in gradients.values())
    # What the reference does not learn, the frozen norms, has no gradient here either.
    frozen = {n: np.zeros(v.shape) for n, v in state_of(reference).items() if n not in gradients}
    return errors | {"gradients": worst(grads, gradients | frozen, floor)}


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
    theirs = {name: tensor.numpy() for name, tensor in theirs.items()}
    errors = []
    for label in {*ours["labels"], *theirs["labels"]} - {0}:
        mine, other = (side["labels"] == label for side in (ours, theirs))
        errors.append(set_error(ours["boxes"][mine], theirs["boxes"][other], scale))
        scores = (np.sort(side["scores"][which]) for side, which in ((ours, mine), (theirs, other)))
        if np.isfinite(errors[-1]):
            errors.append(relative_error(*scores))
    return max(errors, default=0.0)
