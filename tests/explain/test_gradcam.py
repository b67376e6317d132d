"""Grad-CAM against the formula by hand, and pictures in the right place."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.data.regions.region import AXIAL, MIRRORED, SAGITTAL, Crop
from msk_jax.errors import UserError
from msk_jax.explain.gradcam import gradcam
from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.models import MS25DNetConfig
from msk_jax.study.heat_maps import crop_plane
from tests.filled import filled


class _Linear(nn.Module):
    """Two channels, averaged and weighed by fixed numbers: its Grad-CAM is known."""

    weights: tuple = ((0.0, 2.0), (0.0, -1.0))

    @nn.compact
    def __call__(self, x):
        x = self.perturb("map", x)
        return jnp.mean(x, (1, 2)) @ jnp.array(self.weights), {"map": x}


def test_by_hand():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(2, 4, 6, 2)).astype(np.float32)
    # Two classes: log-odds = logit 1 - logit 0 = 2 mean(A_0) - mean(A_1), so a = (2, -1) / 24.
    expected = np.maximum(2 * x[..., 0] - x[..., 1], 0)
    expected /= expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(gradcam(_Linear(), {}, x, ["map"], 1), expected, atol=1e-5)
    opposite = np.maximum(x[..., 1] - 2 * x[..., 0], 0)
    opposite /= opposite.max((1, 2), keepdims=True)
    np.testing.assert_allclose(gradcam(_Linear(), {}, x, ["map"], 0), opposite, atol=1e-5)


def test_nothing_for_the_class_is_all_zero_not_nan():
    x = np.zeros((1, 4, 4, 2), np.float32)
    np.testing.assert_array_equal(gradcam(_Linear(), {}, x, ["map"], 1), 0)


@pytest.mark.parametrize("change", [{}, {"rfpn": False}, {"rfpn": False, "aspp": False}])
def test_on_every_form_of_the_network(change):
    config = MS25DNetConfig(
        num_slices=3, backbone="resnet10", width=4, aspp_rates=(1,), pyramid_features=8, **change
    )
    model = config.build()
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = filled(model, *x.shape)
    explain = jax.jit(lambda v, x: gradcam(model, v, x, config.explained_endpoints, 1))
    cam = np.asarray(explain(variables, x))
    assert cam.shape == (2, 32, 32) and np.isfinite(cam).all()
    assert cam.min() >= 0 and cam.max() <= 1
    with pytest.raises(UserError, match="no endpoint 'nowhere'"):
        gradcam(model, variables, x, ["nowhere"], 1)


@pytest.mark.parametrize(
    ("direction", "origin"),
    [(AXIAL, (-60.0, 5.0, 0.0)), (MIRRORED, (40.0, 5.0, 0.0)), (SAGITTAL, (0.0, -60.0, 40.0))],
    ids=["axial", "mirrored", "sagittal"],
)
@pytest.mark.parametrize("cut", [0, 4])
def test_a_hot_pixel_is_drawn_where_the_patient_has_it(direction, origin, cut):
    """The same landmark in mm, through the crop's own geometry and through the drawing."""
    side, spacing = 24, (0.8, 1.1, 2.5)
    joint = Crop(
        voxels=np.zeros((3, side, side), np.int16),
        positions_mm=np.arange(3, dtype=np.float32),
        origin_mm=origin,
        spacing_mm=spacing,
        direction=direction,
    )
    row, column = 6, 9
    landmark = joint.to_sitk().TransformIndexToPhysicalPoint((column, row, 1))
    cam = np.zeros((side - 2 * cut,) * 2)
    cam[row - cut, column - cut] = 1
    plane = crop_plane(cam, joint.origin_mm, spacing, joint.direction, stored_side=side)
    ct = Plane(np.full((200, 200), -2000.0), (-100.0, -50.0), (1.0, 1.0))
    figure = draw_overlay(ct, [plane], (400, 1500), "")
    axes = figure.axes[1]
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba()).astype(float)
    x, y, z = landmark
    x, y = axes.transData.transform((y, -z) if direction == SAGITTAL else (x, y))
    heat = picture[..., 0] - picture[..., 2]  # orange, on black
    found_row, found_column = np.unravel_index(np.argmax(heat), heat.shape)
    height = picture.shape[0]
    pixels_per_mm = axes.transData.transform((1, 0))[0] - axes.transData.transform((0, 0))[0]
    assert abs(found_column - x) < 0.8 * pixels_per_mm + 1
    assert abs(height - found_row - y) < 1.1 * pixels_per_mm + 1


def test_pictures_follow_radiological_convention():
    """Smaller x (the patient's right) lies left, anterior (smaller y) on top."""
    ct = Plane(np.zeros((10, 10)), (-5.0, -5.0), (1.0, 1.0))
    axes = draw_overlay(ct, [], (400, 1500), "").axes[0]
    x = [axes.transData.transform((v, 0))[0] for v in (-4, 4)]
    y = [axes.transData.transform((0, v))[1] for v in (-4, 4)]
    assert x[0] < x[1] and y[0] > y[1]
    assert [t.get_text() for t in axes.texts] == ["R", "L"]


def test_every_class_of_three_by_one_program():
    """A traced class gives what a fixed one does: log-odds against the two others together."""
    model = _Linear(weights=((0.0, 2.0, 1.0), (1.0, -1.0, 0.5)))
    x = np.random.default_rng(2).uniform(size=(1, 4, 4, 2)).astype(np.float32)
    explain = jax.jit(lambda target: gradcam(model, {}, x, ["map"], target))
    logits = x.mean((1, 2)) @ np.array(model.weights)
    for target in range(3):
        others = np.delete(np.arange(3), target)
        shares = np.exp(logits[:, others]) / np.exp(logits[:, others]).sum()
        weights = np.array(model.weights)
        slope = weights[:, target] - (weights[:, others] * shares).sum(axis=1)
        expected = np.maximum(x @ slope, 0)
        expected /= max(expected.max(), 1e-12)
        np.testing.assert_allclose(explain(target), expected, atol=1e-5)
