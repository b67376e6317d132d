"""Boxes go where the picture goes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.data.feed.augment import Augmentation
from msk_jax.data.feed.on_device import move_boxes
from msk_jax.errors import UserError

STILL = Augmentation(
    rotation=0, scaling=0, translation=0, gamma=(1, 1), contrast=0, brightness=0, noise=0, erasing=0
)
SIDE, BOX = 48, (9.0, 20.0, 17.0, 24.0)
"""Wide, low and off the middle, so that no turn or flip looks like another."""


def drawn(box=BOX, side=SIDE):
    image = np.zeros((side, side, 3), np.float32)
    x0, y0, x1, y1 = map(int, box)
    image[y0:y1, x0:x1] = 1
    return jnp.asarray(image)


def seen(image):
    """Edges of what is bright by more than a half."""
    rows, columns = np.nonzero(np.asarray(image)[..., 0] > 0.5)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(
    ("changes", "slack"),
    [
        ({"flip": 0.5}, 0),
        ({"quarter_turns": True}, 0),
        ({"flip": 0.5, "quarter_turns": True, "scaling": 0.3, "translation": 0.1}, 0.75),
    ],
)
def test_a_bright_rectangle_and_its_box_move_alike(changes, slack):
    augmentation = dataclasses.replace(STILL, **changes)
    keys = jax.random.split(jax.random.key(3), 24)
    images, motions = jax.vmap(augmentation.with_motion, (0, None))(keys, drawn())
    np.testing.assert_array_equal(images, jax.vmap(augmentation, (0, None))(keys, drawn()))
    move = jax.vmap(lambda m, s: move_boxes(jnp.array([BOX]), m, s, (SIDE, SIDE), 1 / 3))
    boxes, kept = move(*motions)
    assert kept.all()
    edges = np.array([seen(image) for image in images])
    np.testing.assert_allclose(boxes[:, 0], edges, atol=slack + 1e-3)
    assert len(np.unique(edges, axis=0)) >= (2 if "quarter_turns" not in changes else 4)


def test_a_turned_box_is_the_one_around_its_corners():
    """By 90 degrees less a little it is a box of the other proportions and a little wider."""
    augmentation = dataclasses.replace(STILL, rotation=30.0)
    image, (matrix, shift) = augmentation.with_motion(jax.random.key(1), drawn())
    angle = np.arctan2(matrix[1, 0], matrix[0, 0])
    assert 0.1 < abs(angle) < 0.53
    boxes, _ = move_boxes(jnp.array([BOX]), matrix, shift, (SIDE, SIDE), 0)
    x0, y0, x1, y1 = np.asarray(boxes[0])
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    assert (x1 - x0, y1 - y0) == pytest.approx((8 * cos + 4 * sin, 8 * sin + 4 * cos), abs=1e-3)
    left, top, right, bottom = seen(image)
    assert (x0 - 1 < left) & (y0 - 1 < top) & (right < x1 + 1) & (bottom < y1 + 1)


def test_boxes_that_leave_the_picture_are_clipped_or_dropped():
    """A shift of ten columns: the pixel at x shows what was at x + 10."""
    matrix, shift = jnp.eye(2), jnp.array([0.0, 10.0])
    boxes = jnp.array([[12.0, 5, 20, 9], [6, 5, 16, 9], [2, 5, 13, 9], [0, 5, 4, 9], [0, 0, 0, 0]])
    moved, kept = move_boxes(boxes, matrix, shift, (SIDE, SIDE), 1 / 3)
    # Of the second six tenths stay, of the third three elevenths.
    np.testing.assert_array_equal(kept, [True, True, False, False, False])
    expected = [[2, 5, 10, 9], [0, 5, 6, 9], [0] * 4, [0] * 4, [0] * 4]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_turns_need_square_pictures():
    augmentation = dataclasses.replace(STILL, quarter_turns=True)
    with pytest.raises(UserError, match="square pictures, and these have 8 x 9"):
        augmentation(jax.random.key(0), jnp.zeros((8, 9, 3)))
