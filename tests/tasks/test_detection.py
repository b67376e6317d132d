"""What a detection learns from, says and is judged by."""

import dataclasses
import logging
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from msk_jax.data.feed.augment import Preprocess
from msk_jax.errors import UserError
from msk_jax.models import TransferNetConfig
from msk_jax.tasks.classification import TrainedClassification
from msk_jax.tasks.detection import TrainedDetection, detections_of, precision_of_classes
from msk_jax.tasks.settings import Detection
from msk_jax.training.step import StepSettings, first_state, train_step
from tests.filled import filled
from tests.tiny_lacunae import experiment

STAGE = experiment.stages[0]
TASK = TrainedDetection("cells", 3)
TRUTHS = (
    ([[0, 0, 8, 8], [20, 20, 30, 26]], [0, 2]),
    ([[10, 0, 18, 8]], [0]),
    ([], []),
)


def table_of(truths, rows=None):
    records = [
        {"cells": np.array(b, np.float32).reshape(-1, 4), "cells_class": np.array(c, np.int64)}
        for b, c in truths
    ]
    return SimpleNamespace(
        records=records, record=np.arange(len(records)) if rows is None else rows
    )


def answers_of(truths, room=4, score=0.9):
    """Detections that are the truth."""
    count = len(truths)
    answers = {
        "boxes": np.zeros((count, room, 4), np.float32),
        "scores": np.zeros((count, room), np.float32),
        "labels": np.zeros((count, room), np.float32),
    }
    for row, (boxes, classes) in enumerate(truths):
        for k, (box, place) in enumerate(zip(boxes, classes, strict=True)):
            answers["boxes"][row, k], answers["labels"][row, k] = box, place + 1
            answers["scores"][row, k] = score - 0.1 * k
    return answers


def test_examples_are_padded_as_the_fullest_picture_of_the_cohort_needs():
    crowded = ([[k, 0, k + 5, 5] for k in range(9)], [1] * 9)
    table = table_of((*TRUTHS, crowded), rows=np.array([2, 0]))
    found = TASK.examples(table)
    assert found["boxes"].shape == (2, 16, 4) and found["box_class"].shape == (2, 16)
    assert not found["boxes"][0].any() and not found["box_class"][0].any()
    np.testing.assert_array_equal(found["boxes"][1, :3], [[0, 0, 8, 8], [20, 20, 30, 26], [0] * 4])
    np.testing.assert_array_equal(found["box_class"][1, :3], [1, 3, 0])


def test_a_perfect_answer_has_a_precision_of_one():
    table = table_of(TRUTHS)
    figures = TASK.validation(table, answers_of(TRUTHS))
    assert figures["ap50"] == 1 and np.isnan(figures["loss"])
    np.testing.assert_array_equal(
        precision_of_classes(TASK, table, answers_of(TRUTHS)), [1, np.nan, 1]
    )
    # The first box of class 1 comes first, and the second is missed: recall 1/2 at precision 1,
    # 51 of 101 recalls; and a false box of class 3 before the right one: precision 1/2.
    answers = answers_of(TRUTHS)
    answers["labels"][1, 0] = 3
    figures = precision_of_classes(TASK, table, answers)
    np.testing.assert_allclose(figures[[0, 2]], [51 / 101, 0.5])
    assert TASK.validation(table, answers_of((([], []),) * 3))["ap50"] == 0
    assert TASK.validation(table_of((([], []),)), answers_of((([], []),)))["ap50"] == 0


def test_overlap_that_is_asked_for():
    """A box 8 x 8 moved by 2 overlaps itself by 48 of 80."""
    answers = answers_of(TRUTHS)
    answers["boxes"][:, :, [0, 2]] += 2
    table = table_of(TRUTHS)
    assert precision_of_classes(TASK, table, answers)[0] == 1
    strict = dataclasses.replace(TASK, overlap=0.61)
    assert precision_of_classes(strict, table, answers)[0] == 0


def test_detections_without_padding():
    boxes, scores, classes = detections_of(answers_of(TRUTHS), 0)
    np.testing.assert_array_equal(boxes, TRUTHS[0][0])
    np.testing.assert_allclose(scores, [0.9, 0.8])
    np.testing.assert_array_equal(classes, [0, 2])
    assert len(detections_of(answers_of(TRUTHS), 2)[0]) == 0


def test_shrunk_pictures_have_shrunk_boxes_and_answers_are_in_stored_pixels():
    task = dataclasses.replace(TASK, shrink=2)
    batch = {name: jnp.asarray(rows) for name, rows in task.examples(table_of(TRUTHS)).items()}
    targets = task.targets(batch)
    np.testing.assert_array_equal(targets["boxes"][0, 1], [10, 10, 15, 13])
    outputs = {"boxes": targets["boxes"], "scores": batch["box_class"], "labels": 0}
    np.testing.assert_array_equal(task.answer(outputs, {})["boxes"], batch["boxes"])


def test_a_class_without_boxes_is_said_and_no_boxes_are_refused(caplog):
    with caplog.at_level(logging.WARNING):
        weights = TASK.example_weights(table_of(TRUTHS), True)
    assert "no box (cells) of class 2 of 3" in caplog.text
    np.testing.assert_array_equal(weights({"box_class": np.zeros((2, 8))}), [1, 1])
    with pytest.raises(UserError, match="there is nothing to learn"):
        TASK.example_weights(table_of(TRUTHS[2:]), False)


def test_what_cannot_pick_an_epoch():
    TASK.check_monitor("ap50", table_of(TRUTHS))
    for monitor in ("auc", "loss"):
        with pytest.raises(UserError, match=f"no validation {monitor}.*--monitor ap50"):
            TASK.check_monitor(monitor, table_of(TRUTHS))
    with pytest.raises(UserError, match="has a box, so their precision"):
        TASK.check_monitor("ap50", table_of(TRUTHS[2:]))
    with pytest.raises(UserError, match="A classifier has no ap50"):
        TrainedClassification(2).check_monitor("ap50", SimpleNamespace(label=np.array([0, 1])))


def test_settings_suit_the_network_and_refuse_what_boxes_cannot_follow():
    assert STAGE.method.model.num_classes == 4 and STAGE.method.model.num_slices == 3
    assert STAGE.trained_task == TASK and STAGE.task.outputs() == ("boxes",)
    cropped = dataclasses.replace(STAGE.method, preprocess=Preprocess(crop=32))
    with pytest.raises(UserError, match="Leave out --crop"):
        STAGE.task.trained(cropped)
    recipe = dataclasses.replace(STAGE.method.recipe, mixup=0.2)
    with pytest.raises(UserError, match="cannot be mixed"):
        STAGE.task.trained(dataclasses.replace(STAGE.method, recipe=recipe))
    with pytest.raises(UserError, match="TransferNetConfig gives no boxes"):
        STAGE.task.suited(
            dataclasses.replace(STAGE.method, model=TransferNetConfig()), experiment.cohort
        )
    with pytest.raises(UserError, match=r"no field of boxes 'cell'.*picture, cells, empty_share"):
        Detection("cell").check(experiment.cohort)
    with pytest.raises(UserError, match=r"overlap of 1\.5"):
        Detection("cells", 1.5).check(experiment.cohort)


def test_levels_share_the_sizes_of_anchors_evenly():
    two = dataclasses.replace(STAGE.method.model, anchor_sizes=tuple(range(8, 18)))
    assert two.build().anchor_sizes == ((8, 9), (10, 11), (12, 13), (14, 15), (16, 17))
    for sizes in ((8, 16, 32, 64), ()):
        with pytest.raises(UserError, match=f"has {len(sizes)} numbers; the pyramid has 5 levels"):
            dataclasses.replace(two, anchor_sizes=sizes).build()


def test_a_network_without_boxes_does_not_do_this_task():
    with pytest.raises(UserError, match="gives no boxes with scores"):
        TASK.check_outputs("ResNet", jnp.zeros((1, 4)))


@pytest.fixture(scope="module")
def settings():
    recipe = STAGE.method.recipe
    model = STAGE.method.module()
    return StepSettings(model, TASK, optax.sgd(0.1), STAGE.method.preprocess, recipe, None)


@pytest.fixture(scope="module")
def variables(settings):
    return filled(settings.model, 1, 64, 64, 3)


def batch_of(room=8):
    rng = np.random.default_rng(0)
    boxes, labels = np.zeros((4, room, 4), np.float32), np.zeros((4, room), np.int32)
    boxes[:3, :2] = [[5, 6, 20, 18], [30, 30, 50, 44]]
    labels[:3, :2] = [1, 3]
    return {
        "volume": rng.integers(0, 256, (4, 64, 64, 3)).astype(np.int16),
        "weight": np.ones(4, np.float32),
        "boxes": boxes,
        "box_class": labels,
    }


def losses_of(settings, variables, batch):
    """The loss of each image of a batch, normalised, not augmented."""
    image = settings.preprocess.normalise(settings.preprocess.window(jnp.asarray(batch["volume"])))
    examples = {"image": image, **TASK.targets(batch), "weight": jnp.asarray(batch["weight"])}
    outputs, _ = settings.model.apply(
        variables,
        image,
        train=True,
        mutable=["batch_stats"],
        rngs={"sample": jax.random.key(2)},
        **TASK.asks(examples),
    )[0]
    return {name: np.asarray(loss) for name, loss in outputs.items()}, examples


def test_every_image_has_its_loss_and_padding_has_none(settings, variables):
    """More room for boxes draws other samples; so those of the proposals are compared, which are
    drawn among anchors."""
    few, examples = losses_of(settings, variables, batch_of())
    more, _ = losses_of(settings, variables, batch_of(16))
    for name in ("loss_objectness", "loss_rpn_box_reg"):
        assert few[name].shape == (4,)
        np.testing.assert_allclose(few[name], more[name], rtol=1e-6)
    assert few["loss_rpn_box_reg"][3] == 0 and (few["loss_rpn_box_reg"][:3] > 0).all()
    assert few["loss_classifier"].shape == few["loss_box_reg"].shape == (4,)
    # What lies in the place of padding is not read.
    spoilt = batch_of()
    spoilt["boxes"][:, 2:] = [1, 1, 60, 60]
    for name, loss in losses_of(settings, variables, spoilt)[0].items():
        np.testing.assert_allclose(loss, few[name], rtol=1e-6, err_msg=name)
    total = TASK.losses(few, examples)
    np.testing.assert_allclose(total, sum(few.values()), rtol=1e-6)


def test_losses_of_images_are_those_of_the_batch_in_parts(settings, variables):
    """Of one image both are the same; of as many anchors of each image, the mean."""
    batch = batch_of()
    each, _ = losses_of(settings, variables, batch)
    whole = dataclasses.replace(settings, model=settings.model.clone(losses_per_image=False))
    of_batch, _ = losses_of(whole, variables, batch)
    for name in ("loss_objectness", "loss_rpn_box_reg"):
        assert of_batch[name] == pytest.approx(each[name].mean(), rel=1e-5)


def test_a_step_learns_from_boxes_moved_with_their_pictures(settings, variables):
    state = first_state(
        settings,
        {name: variables[name] for name in ("params", "batch_stats")},
        jax.random.key(1),
    )
    step = jax.jit(lambda s, b: train_step(settings, s, b))
    losses = []
    for _ in range(6):
        state, metrics = step(state, batch_of())
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
