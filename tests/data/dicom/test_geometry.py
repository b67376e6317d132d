"""Order, spacing and direction of slices, against positions worked out by hand."""

import dataclasses

import numpy as np
import pytest

from msk_jax.data.dicom.geometry import (
    SlicePlane,
    angle_deg,
    arrange_slices,
    orthonormal,
    stack_slices,
)
from msk_jax.errors import SeriesError

AXIAL = (1, 0, 0, 0, 1, 0)


def planes(z, orientation=AXIAL, pixel_mm=(0.5, 0.7), shape=(4, 6), y=None):
    y = np.zeros(len(z)) if y is None else y
    return [
        SlicePlane(f"f{i}", (10.0, float(y[i]), float(z[i])), orientation, pixel_mm, shape)
        for i in range(len(z))
    ]


def test_order_spacing_and_origin():
    stack = stack_slices(planes([4, 0, 8, 2, 6]))
    assert stack.order == (1, 3, 0, 4, 2)
    # PixelSpacing is (between rows = along y, between columns = along x).
    assert stack.spacing_mm == pytest.approx((0.7, 0.5, 2.0))
    assert stack.origin_mm == pytest.approx((10, 0, 0))
    assert not (stack.flip_x or stack.flip_y or stack.transpose)


def test_prone_feet_first_origin_is_the_other_corner():
    # Columns run to the right, rows to the front: voxel [0, 0, 0] is the last pixel.
    stack = stack_slices(planes([0, 2, 4, 6, 8], orientation=(-1, 0, 0, 0, -1, 0)))
    assert stack.flip_x and stack.flip_y
    assert stack.origin_mm == pytest.approx((10 - 5 * 0.7, 0 - 3 * 0.5, 0))
    image = np.arange(24).reshape(4, 6)
    assert np.array_equal(stack.orient(image), image[::-1, ::-1])


def test_normal_pointing_down_still_gives_ascending_z():
    # Row to the right, column to the back: the normal points to the feet.
    stack = stack_slices(planes([0, 2, 4, 6, 8], orientation=(-1, 0, 0, 0, 1, 0)))
    assert stack.order == (0, 1, 2, 3, 4)
    assert stack.origin_mm[2] == 0 and stack.spacing_mm[2] == 2


def test_quarter_turn_swaps_axes():
    # Columns run along y (0.7 mm apart), rows along -x (0.5 mm apart).
    stack = stack_slices(planes([0, 2, 4, 6, 8], orientation=(0, 1, 0, -1, 0, 0)))
    assert stack.transpose and stack.flip_x and not stack.flip_y
    assert stack.spacing_mm == pytest.approx((0.5, 0.7, 2))
    assert stack.origin_mm == pytest.approx((10 - 3 * 0.5, 0, 0))
    assert stack.orient(np.zeros((4, 6))).shape == (6, 4)


def test_positions_rounded_by_the_scanner_pass():
    z = np.round(np.arange(40) * 0.625, 1)
    assert stack_slices(planes(z)).spacing_mm[2] == pytest.approx(0.625, abs=2e-3)


def tilted(degrees, orientation=AXIAL):
    z = np.arange(8) * 3.0
    return planes(z, y=z * np.tan(np.radians(degrees)), orientation=orientation)


def turned(degrees):
    """Slices truly oblique about the x axis, stacked along their own normal."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    k = np.arange(8) * 3.0
    return planes(k * c, y=-k * s, orientation=(1, 0, 0, 0, c, s))


def turned_in_plane(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return planes(np.arange(8) * 3.0, orientation=(c, s, 0, -s, c, 0))


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (planes([0, 2, 4, 6]), "4 slice"),
        (planes([0, 2, 4, 8, 10, 12]), r"between z = 4.0 and z = 8.0 mm \(1 missing\)"),
        (planes([0, 2, 4, 6, 8, 10, 18]), r"between z = 10.0 and z = 18.0 mm \(3 missing\)"),
        (planes([0, 2, 4, 4, 6, 8]), r"share the position z = 4.0 mm \(f2 and f3\)"),
        (planes([0, 2, 4, 6, 9, 12, 15]), "not evenly spaced: 2.00 to 3.00"),
        (planes([0, 2, 4, 6, 8], pixel_mm=(0.0, 1.0)), "not a positive number"),
        (tilted(10), "tilted by 10.0 degrees"),
        (tilted(-1), "tilted by 1.0 degrees"),
        (turned(3), "oblique: its slices are turned by 3.0 degrees"),
        (turned_in_plane(5), "oblique: its slices are turned by 5.0 degrees"),
        (turned(80), "not axial"),
        (planes([0, 2, 4, 6, 8], y=[0, 0, 3, 0, 0]), "lies 3.0 mm beside"),
        (planes([0, 2, 4, 6, 8], orientation=(1, 0, 0, 1, 0, 0)), "not a pair of perpendicular"),
        (
            planes([0, 2, 4]) + planes([6, 8, 10], shape=(8, 6)),
            r"different image sizes \(4 x 6, 8 x 6",
        ),
        (planes([0, 2, 4]) + planes([6, 8], pixel_mm=(0.5, 0.8)), "different pixel spacings"),
        (
            planes([0, 2, 4]) + planes([6, 8], orientation=(-1, 0, 0, 0, -1, 0)),
            "different orientations",
        ),
    ],
)
def test_refused(slices, message):
    with pytest.raises(SeriesError, match=message):
        stack_slices(slices)


def test_small_deviations_within_tolerance_pass():
    assert stack_slices(tilted(0.3)).spacing_mm[2] == pytest.approx(3)
    assert stack_slices(turned(0.3)).spacing_mm[2] == pytest.approx(3, abs=1e-3)


def test_angle_of_lines():
    assert angle_deg(np.array([0, 0, 1]), np.array([0, 1, 1])) == pytest.approx(45)
    assert angle_deg(np.array([0, 0, 1]), np.array([0, 0, -2])) == 0


def random_axes(seed):
    """A rotation: directions of columns, rows and slices as its columns."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return axes * np.sign(np.linalg.det(axes))


def oblique(axes, decimals, count=9, step_mm=3.0):
    stated = tuple(round(float(v), decimals) for v in (*axes[:, 0], *axes[:, 1]))
    return [
        SlicePlane(f"f{k}", tuple(k * step_mm * axes[:, 2]), stated, (0.5, 0.7), (300, 200))
        for k in range(count)
    ]


@pytest.mark.parametrize("decimals", [3, 4, 5])
def test_rounded_cosines_are_read_as_the_plane_that_was_rounded(decimals):
    for seed in range(100):
        axes = random_axes(seed)
        laid = arrange_slices(oblique(axes, decimals))
        direction = np.reshape(laid.direction, (3, 3))
        assert direction.T @ direction == pytest.approx(np.eye(3), abs=1e-12)
        # Half a unit of the last decimal in each of three cosines.
        assert np.abs(direction - axes).max() < 1.8 * 10**-decimals
        assert laid.spacing_mm == pytest.approx((0.7, 0.5, 3.0), abs=1e-5)
        assert laid.order == tuple(range(9)) and laid.shear_mm == (0, 0)


def test_neither_direction_gives_way_to_the_other():
    c, s = np.cos(np.radians(0.25)), np.sin(np.radians(0.25))
    # Rows and columns at 89.5 degrees: each is turned by a quarter of a degree.
    row, column = orthonormal(np.array([1, 0, 0, 2 * s * c, c * c - s * s, 0]))
    assert row == pytest.approx([c, -s, 0]) and column == pytest.approx([s, c, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda axes: axes @ rotation(0.6), r"different orientations \(f0 and f4\)"),
        (lambda axes: axes * [0.985, 1, 1], "f4 is not a pair of perpendicular unit vectors"),
        (lambda axes: axes + 0.012 * axes[:, [1, 0, 2]] * [1, 0, 0], "f4 is not a pair"),
    ],
    ids=["turned", "short", "skewed"],
)
def test_a_plane_that_truly_differs_is_refused_though_cosines_are_rounded(change, message):
    for seed in range(20):
        with pytest.raises(SeriesError, match=message):
            arrange_slices(one_changed(random_axes(seed), change))
        arrange_slices(one_changed(random_axes(seed), lambda axes: axes @ rotation(0.3)))


def one_changed(axes, change):
    """Slices of which one states a changed orientation."""
    slices, other = oblique(axes, 3), oblique(change(axes), 3)[0]
    slices[4] = dataclasses.replace(slices[4], orientation=other.orientation)
    return slices


def rotation(degrees):
    """About the direction of slices."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
