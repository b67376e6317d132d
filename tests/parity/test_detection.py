"""The detector's parts and the whole of it against torchvision's, in double precision."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.detection import ProposalRule
from msk_jax.models.detection import boxes as ops
from msk_jax.models.detection.anchors import anchors_of
from msk_jax.models.detection.matching import match
from msk_jax.models.detection.roi_align import level_of, roi_align
from msk_jax.models.network import variable_shapes
from msk_jax.models.registry import architecture, create
from msk_jax.models.weights.torch_weights import dump_torch

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")

NAME, SIDE = "fasterrcnn_resnet50_fpn", 64


@pytest.fixture(scope="module")
def torchvision(need):
    """`torchvision(name)`: something of it."""
    need("torchvision")
    return lambda name: references.locate(f"torchvision.{name}")


def random_boxes(rng, count, side=SIDE, smallest=4.0):
    low = rng.uniform(0, side * 0.6, size=(count, 2))
    return np.concatenate([low, low + rng.uniform(smallest, side * 0.4, size=(count, 2))], 1)


@pytest.mark.parametrize("image", [(96, 128), (800, 1088)])
def test_anchors(torchvision, image):
    """The last map of 800 pixels is rounded up: its anchors are 61 pixels apart, not 64."""
    maps = [(-(-image[0] // s), -(-image[1] // s)) for s in (4, 8, 16, 32, 64)]
    sizes = ((32,), (64,), (128,), (256,), (512,))
    make = torchvision("models.detection.anchor_utils.AnchorGenerator")(
        sizes, ((0.5, 1.0, 2.0),) * 5
    )
    listed = torchvision("models.detection.image_list.ImageList")(
        torch.zeros(1, 3, *image), [image]
    )
    theirs = make(listed, [torch.zeros(1, 1, *size) for size in maps])[0].numpy()
    np.testing.assert_array_equal(np.concatenate(anchors_of(image, maps, sizes)), theirs)


def test_coding_clipping_and_overlap(torchvision):
    rng = np.random.default_rng(0)
    boxes, anchors = random_boxes(rng, 40), random_boxes(rng, 40)
    weights = (10.0, 10.0, 5.0, 5.0)
    coder = torchvision("models.detection._utils.BoxCoder")(weights)
    theirs = coder.encode_single(torch.tensor(boxes), torch.tensor(anchors)).numpy()
    wild = theirs * 20  # some grow by more than a factor of 1000 / 16
    back = coder.decode_single(torch.tensor(wild), torch.tensor(anchors)).numpy()
    clipped = torchvision("ops.clip_boxes_to_image")(torch.tensor(back), (50, 90)).numpy()
    overlap = torchvision("ops.box_iou")(torch.tensor(boxes), torch.tensor(anchors)).numpy()
    with jax.enable_x64(True):
        np.testing.assert_allclose(ops.encode(boxes, anchors, weights), theirs, rtol=1e-12)
        ours = ops.decode(jnp.asarray(wild), anchors, weights)
        np.testing.assert_allclose(ours, back, rtol=1e-12)
        np.testing.assert_allclose(ops.clip(ours, jnp.array([50, 90])), clipped, rtol=1e-12)
        np.testing.assert_allclose(ops.iou(boxes, anchors), overlap, rtol=1e-12)


def test_suppression_by_groups_and_padding(torchvision):
    """Crowded, so that chains of boxes suppress and free each other."""
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(rng, 120, side=60, smallest=15), rng.uniform(size=120)
    groups, there = rng.integers(0, 3, size=120), rng.uniform(size=120) < 0.8
    run = jax.jit(ops.nms, static_argnums=3)
    for threshold in (0.3, 0.7):
        ours = run(boxes, scores, there, threshold, groups)
        expected = np.zeros(120, bool)
        for group in range(3):
            own = np.flatnonzero(there & (groups == group))
            kept = references._greedy_nms(
                torch.tensor(boxes[own]), torch.tensor(scores[own]), threshold
            )
            expected[own[kept.numpy()]] = True
        np.testing.assert_array_equal(ours, expected)
        assert 3 < expected.sum() < there.sum()


@pytest.mark.parametrize(("low", "high", "keep_best"), [(0.3, 0.7, True), (0.5, 0.5, False)])
def test_matching(torchvision, low, high, keep_best):
    rng = np.random.default_rng(2)
    boxes = random_boxes(rng, 5)
    shaken = np.concatenate([boxes + rng.normal(0, 4, size=boxes.shape) for _ in range(20)])
    candidates = np.concatenate([shaken, random_boxes(rng, 60)])
    labels = np.array([2, 1, 3, 1, 0])  # the last is padding
    matcher = torchvision("models.detection._utils.Matcher")(high, low, keep_best)
    overlap = torchvision("ops.box_iou")(torch.tensor(boxes[:4]), torch.tensor(candidates))
    theirs = matcher(overlap).numpy()
    with jax.enable_x64(True):
        index, ours = match(candidates, boxes, jnp.asarray(labels), low, high, keep_best)
    positive = theirs >= 0
    np.testing.assert_array_equal(index[positive], theirs[positive])
    expected = np.where(positive, labels[np.maximum(theirs, 0)], np.where(theirs == -1, 0, -1))
    np.testing.assert_array_equal(ours, expected)
    assert positive.any() and (expected == 0).any() and (expected == -1).any() == (low < high)


def test_roi_align_and_its_gradient(torchvision):
    rng = np.random.default_rng(3)
    image = (256, 320)
    maps = [rng.normal(size=(2, image[0] // s, image[1] // s, 3)) for s in (4, 8, 16, 32)]
    boxes = np.stack([random_boxes(rng, 30, side=256, smallest=0.5) for _ in range(2)])
    boxes[:, :8, 2:] = boxes[:, :8, :2] + rng.uniform(100, 250, size=(2, 8, 2))
    boxes[:, 8] = [0, 0, 320, 256]  # the whole image
    boxes[:, 9, 2:] = boxes[:, 9, :2] + 1.5  # less than a cell
    boxes = np.minimum(boxes, [320, 256, 320, 256])
    levels = np.asarray(level_of(boxes, 4))
    assert set(levels.ravel()) == {0, 1, 2}
    make = torchvision("ops.MultiScaleRoIAlign")(["0", "1", "2", "3"], 7, 2)
    tensors = {
        str(i): torch.tensor(np.moveaxis(m, -1, 1).copy(), requires_grad=True)
        for i, m in enumerate(maps)
    }
    theirs = make(tensors, [torch.tensor(b) for b in boxes], [image, image])
    weight = rng.normal(size=(60, 7, 7, 3))
    (theirs * torch.tensor(np.moveaxis(weight, -1, 1).copy())).sum().backward()
    with jax.enable_x64(True):

        def loss(maps):
            out = roi_align(maps, boxes)
            return jnp.sum(out.reshape(weight.shape) * weight), out

        grads, ours = jax.jit(jax.grad(loss, has_aux=True))([jnp.asarray(m) for m in maps])
    expected = references.channels_last(theirs)
    assert compare.relative_error(ours.reshape(expected.shape), expected) < 1e-12
    for level in range(3):
        expected = references.channels_last(tensors[str(level)].grad)
        assert compare.relative_error(grads[level], expected) < 1e-12
    assert not np.asarray(grads[3]).any()


@pytest.fixture(scope="module")
def entry():
    """The registry's detector with a smaller body and head."""
    whole, faster_rcnn = architecture(NAME), "torchvision.models.detection.faster_rcnn"
    maker, backbone = whole.reference_parts["backbone"]
    rule = ProposalRule(before_nms=100, after_nms=60)
    numbers = {
        f"rpn_{when}_nms_top_n_{mode}": count
        for mode in ("train", "test")
        for when, count in (("pre", 100), ("post", 60))
    }
    return dataclasses.replace(
        whole,
        settings={
            "backbone": "resnet18",
            "num_classes": 5,
            "box_features": 32,
            "train_rule": rule,
            "test_rule": rule,
        },
        reference_settings=numbers,
        reference_parts={
            "backbone": (maker, {**backbone, "backbone_name": "resnet18"}),
            "box_head": (
                f"{faster_rcnn}.TwoMLPHead",
                {"in_channels": 256 * 7 * 7, "representation_size": 32},
            ),
            "box_predictor": (
                f"{faster_rcnn}.FastRCNNPredictor",
                {"in_channels": 32, "num_classes": 5},
            ),
        },
    )


@pytest.fixture(scope="module")
def pair(need, entry):
    need("torchvision")
    return compare.make_pair(entry, entry.small)


def test_every_stage_of_the_detector(pair, entry):
    """Of two padded images, in double precision."""
    errors = pair.errors_of_all(pair.images(entry.small, 2, 1))
    assert {*entry.endpoints, "proposals", "detections"} < set(errors)
    assert max(errors.values()) < 1e-9, errors


def test_losses_and_gradients_on_the_same_samples(pair, entry):
    """Of two objects and padding in the first image, and of none in the second."""
    errors = compare.training_errors(pair, entry.small)
    assert len(errors["parts"]) == 4
    # The reference's labels are float32, and so is what its cross entropy makes of them.
    assert errors["parts"].pop("loss_objectness") < 1e-6
    assert max(errors["parts"].values()) < 1e-8, errors
    assert errors["gradients"] < 1e-8 and errors["statistics"] == 0


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_the_epsilon_of_frozen_norms(pair, epsilon):
    """0 as in torchvision's detector with weights learned on COCO, or as in those without."""
    overwrite = references.locate("torchvision.models.detection._utils.overwrite_eps")
    model, x = pair.model.clone(norm_epsilon=epsilon), pair.images((32, 32), 1, 4)
    ours = jax.jit(lambda v: model.apply(v, x)[1]["pyramid3"])(pair.variables)
    errors = {}
    for theirs in (0.0, 1e-5):
        overwrite(pair.reference, theirs)
        with torch.no_grad():
            maps = pair.reference.backbone(references.as_tensor(x))
        errors[theirs] = compare.relative_error(ours, references.channels_last(maps["3"]))
    assert errors.pop(epsilon) < 2e-6
    assert min(errors.values()) > 1e-5


def test_names_before_version_0_13(pair, entry):
    """torchvision itself knows what its parts were called when the weights of COCO were written."""
    old = dump_torch(pair.variables, entry.namings["torchvision-0.12"])
    state = {name: tensor.clone() for name, tensor in pair.reference.state_dict().items()}
    assert {"backbone.fpn.inner_blocks.0.weight", "rpn.head.conv.bias"} <= old.keys() - state.keys()
    pair.reference.load_state_dict({name: 0 * tensor for name, tensor in state.items()})
    pair.reference.load_state_dict({name: torch.tensor(tensor) for name, tensor in old.items()})
    back = pair.reference.state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_a_detector_made_without_any_weights(need):
    """Its norms learn, and all names and shapes are ours."""
    need("torchvision")
    make = references.locate(f"torchvision.models.detection.{NAME}")
    with torch.device("meta"):
        theirs = make(weights=None, weights_backbone=None).state_dict()
    model = create(NAME, frozen_norm=False)
    shapes = variable_shapes(model, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
    ours = dump_torch(jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), shapes))
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {
        name: tensor.shape for name, tensor in ours.items()
    }
