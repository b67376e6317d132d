"""Windows of the Swin transformer: cutting, joining, shifting, and who sees whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.zoo.swin import (
    APART,
    WindowAttention,
    join_windows,
    relative_positions,
    shift_mask,
    split_windows,
)


def test_windows_are_cut_row_by_row_and_joined_again():
    x = jnp.arange(2 * 6 * 9 * 2).reshape(2, 6, 9, 2)
    windows = split_windows(x, 3)
    assert windows.shape == (2, 6, 9, 2)
    np.testing.assert_array_equal(windows[1, 4], x[1, 3:6, 3:6].reshape(9, 2))
    np.testing.assert_array_equal(join_windows(windows, (6, 9)), x)


def test_relative_positions_by_hand():
    # a window of 2: the table's rows are the offsets (-1,-1), (-1,0), (-1,1), (0,-1), (0,0), ...
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    np.testing.assert_array_equal(relative_positions(2), expected)


def test_mask_by_hand():
    mask = shift_mask((2, 4), 2, [0, 1])
    assert mask.shape == (2, 4, 4)
    assert not mask[0].any()  # all neighbours
    left, right = [0, 2], [1, 3]  # columns of the last window; the right one came round
    assert not mask[1][np.ix_(left, left)].any() and not mask[1][np.ix_(right, right)].any()
    assert (mask[1][np.ix_(left, right)] == APART).all()


@pytest.mark.parametrize("shift", [0, 2])
def test_a_token_is_seen_in_its_window_only(shift):
    """In a map of 8 x 8 in windows of 4, moved by `shift`: row and column 3 and 4 are apart in the
    one, together in the other; nothing goes round the edge."""
    module = WindowAttention(2, window=4, shift=shift)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 6)).astype(np.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    # 100 times larger, so that every token pays attention to every other in a way of its own
    variables = jax.tree.map(lambda a: 100 * a, variables)
    moved = x.copy()
    moved[0, 3, 0] += 1
    apply = jax.jit(module.apply)
    change = np.abs(apply(variables, moved) - apply(variables, x))[0].max(-1) > 1e-4
    rows, columns = (slice(0, 4), slice(0, 4)) if shift == 0 else (slice(2, 6), slice(0, 2))
    expected = np.zeros((8, 8), bool)
    expected[rows, columns] = True
    assert (change <= expected).all()
    assert change[expected].mean() > 0.5
