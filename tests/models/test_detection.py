"""The detector on its own: sampling, padding, one compilation, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.detection import FasterRCNN, ProposalRule
from msk_jax.models.detection.boxes import best, iou, nms
from msk_jax.models.detection.matching import sample
from tests.filled import filled

RULE = ProposalRule(before_nms=40, after_nms=20)


def test_suppression_follows_chains():
    """A suppresses B, so B cannot suppress C; D is elsewhere; E is padding over D."""
    x = np.array([0.0, 4.0, 8.0, 100.0, 100.0])
    boxes = jnp.asarray(np.stack([x, 0 * x, x + 10, 0 * x + 10], 1))
    scores = jnp.array([0.9, 0.8, 0.7, 0.6, 0.99])
    there = jnp.array([True, True, True, True, False])
    run = jax.jit(nms, static_argnums=3)
    one_group = jnp.zeros(5, int)
    stays = run(boxes, scores, there, 0.3, one_group)
    np.testing.assert_array_equal(stays, [True, False, True, True, False])
    groups = jnp.array([0, 1, 1, 0, 0])
    stays = run(boxes, scores, there, 0.3, groups)
    np.testing.assert_array_equal(stays, [True, True, False, True, False])


def test_empty_boxes_overlap_nothing():
    boxes = jnp.array([[0.0, 0, 0, 0], [1, 1, 3, 3]])
    np.testing.assert_array_equal(iou(boxes, boxes), [[0, 0], [0, 1]])


def test_best_is_padded_and_sorted():
    places, there = best(jnp.array([0.2, 0.9, 0.5]), jnp.array([True, True, False]), 5)
    np.testing.assert_array_equal(places[:2], [1, 0])
    np.testing.assert_array_equal(there, [True, True, False, False, False])
    assert places.max() < 3


def test_sampling_fills_up_with_negatives():
    labels = jnp.array([1] * 3 + [0] * 50 + [-1] * 20)
    for key in jax.random.split(jax.random.key(0), 5):
        chosen = np.asarray(sample(key, labels, 16, 0.5))
        assert chosen[:3].all() and chosen[3:53].sum() == 13 and not chosen[53:].any()
    many = jnp.array([2] * 40 + [0] * 4)
    chosen = [np.asarray(sample(jax.random.key(k), many, 16, 0.25)) for k in (1, 2)]
    assert all(c[:40].sum() == 4 and c[40:].all() for c in chosen)
    assert (chosen[0] != chosen[1]).any()


@pytest.fixture(scope="module")
def detector():
    model = FasterRCNN(
        3,
        1,
        backbone="resnet18",
        train_rule=RULE,
        test_rule=RULE,
        max_detections=7,
        box_samples=16,
        box_features=32,
        dtype=jnp.bfloat16,
    )
    x = jax.random.normal(jax.random.key(1), (2, 64, 96, 1))
    return model, filled(model, *x.shape), x


def test_shapes_are_the_same_whatever_is_found(detector):
    model, variables, x = detector
    found, endpoints = jax.jit(model.apply)(variables, x)
    assert found["boxes"].shape == (2, 7, 4) and found["labels"].shape == (2, 7)
    assert endpoints["pyramid4"].shape == (2, 1, 2, 256)
    assert endpoints["pyramid0"].dtype == jnp.bfloat16
    assert {endpoints[k].dtype for k in ("objectness", "class_logits")} == {jnp.dtype("float32")}
    here = np.asarray(found["labels"]) > 0
    assert here.any() and (np.diff(found["scores"]) <= 0).all()
    boxes = np.asarray(found["boxes"])[here]
    assert (boxes >= 0).all() and (boxes <= [96, 64, 96, 64]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_it_learns_from_an_image_without_objects_too(detector):
    """Finite losses and gradients; the frozen norms are no parameters."""
    model, variables, x = detector
    targets = {
        "boxes": jnp.array([[[10.0, 12, 40, 50], [0, 0, 0, 0]], [[0.0] * 4] * 2]),
        "labels": jnp.array([[2, 0], [0, 0]]),
    }

    @jax.jit
    @jax.grad
    def gradients(params):
        losses, _ = model.apply(
            {**variables, "params": params},
            x,
            train=True,
            targets=targets,
            rngs={"sample": jax.random.key(3)},
        )
        return sum(losses.values())

    found = gradients(variables["params"])
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(found))
    assert "bn1" not in found["backbone.body"]
    assert found["backbone.body"]["conv1"]["kernel"].any()


def test_regions_in_place_of_proposals(detector):
    model, variables, x = detector
    regions = np.zeros((2, 3, 4), np.float32)
    regions[0, :2] = [[4, 4, 40, 30], [0, 10, 90, 60]]
    found, endpoints = jax.eval_shape(
        lambda r: model.apply(variables, x, regions=r), jnp.asarray(regions)
    )
    assert endpoints["class_logits"].shape == (2, 3, 3)
    assert endpoints["proposals"].shape == (2, 3, 4) and found["boxes"].shape == (2, 7, 4)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ({"boxes": jnp.zeros((2, 3, 4))}, r"need boxes and labels; they have \['boxes'\]"),
        (
            {"boxes": jnp.zeros((1, 3, 4)), "labels": jnp.zeros((1, 3), int)},
            r"Of 2 images .* they are \(1, 3, 4\) and \(1, 3\)",
        ),
    ],
)
def test_targets_that_do_not_fit(detector, targets, words):
    model, variables, x = detector
    with pytest.raises(UserError, match=words):
        jax.eval_shape(lambda t: model.apply(variables, x, targets=t), targets)
