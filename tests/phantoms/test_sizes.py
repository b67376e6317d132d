"""Sizes come back in millimetres from the rendered voxels, at anisotropic spacing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from msk_jax.phantoms.anatomy import LEFT, SIDES, JointSection, draw_anatomy
from msk_jax.phantoms.ct import Grid, Scanner, lesion_areas, render, scan_grid
from msk_jax.phantoms.findings import ILIAC, Notch
from msk_jax.phantoms.sacroiliac.lesions import draw_control

PIXEL, SPACING = 0.8, 2.5
SILENT = Scanner(noise_hu=0.0, psf_mm=0.1, sharpening=0.0)


@pytest.fixture(scope="module")
def scene():
    """Anatomy (turned by 10 degrees), grid of 160 x 160 around the joints, quiet findings."""
    anatomy = replace(
        draw_anatomy(0, 3),
        rotation_deg=10.0,
        shift_mm=(1.3, 0.7, -200.0),
        texture_hu=0.0,
        cortex_hu=1200.0,
    )
    full = scan_grid(anatomy, 160, PIXEL, SPACING)
    grid = Grid(160, 9, PIXEL, SPACING, (full.origin_mm[0], full.origin_mm[1], -212.1))
    control = draw_control(0, 3, anatomy, full.z_mm + 200.0, 0.0)
    quiet = {
        side: replace(f, roughness_mm=0.0, notches=(), zones=(), osteophytes=())
        for side, f in control.items()
    }
    return anatomy, grid, quiet


def _width(rendering, anatomy, grid, side, z, t) -> float:
    """Distance in mm between the two plates, at half height of their edges."""
    section = JointSection(anatomy, anatomy.joint(side), z - anatomy.shift_mm[2])
    steps = np.arange(-8, 8, 0.05)
    u, y = section.point(t, steps)
    px, py = anatomy.to_patient(side * u, y)
    k = round((z - grid.origin_mm[2]) / grid.spacing_mm)
    profile = map_coordinates(
        rendering.hu[k].astype(float),
        [(py - grid.origin_mm[1]) / grid.pixel_mm, (px - grid.origin_mm[0]) / grid.pixel_mm],
        order=1,
    )
    middle = len(steps) // 2
    half = (profile.min() + 1200.0) / 2
    left = middle - np.argmax(profile[:middle][::-1] > half)
    right = middle + np.argmax(profile[middle:] > half)
    return float(steps[right] - steps[left])


@pytest.mark.parametrize("width", [2.5, 4.0, 7.0])
def test_joint_width(scene, width):
    anatomy, grid, quiet = scene
    anatomy = replace(anatomy, cortex_mm=(2.0, 2.0))
    findings = {side: replace(f, width_mm=width) for side, f in quiet.items()}
    rendering = render(anatomy, findings, grid, SILENT, 0, 3)
    measured = [
        _width(rendering, anatomy, grid, side, z, t)
        for side in SIDES.values()
        for z in grid.z_mm[3:7]
        for t in (-10, -5, 0, 5)
    ]
    assert np.mean(measured) == pytest.approx(width, abs=PIXEL / 2)


@pytest.mark.parametrize("diameter", [3.0, 5.0, 8.0])
def test_erosion_diameter_length_and_area(scene, diameter):
    anatomy, grid, quiet = scene
    z = float(grid.z_mm[4] - anatomy.shift_mm[2])
    erosion = Notch(0.0, z, diameter, 3 * SPACING, 80.0, ILIAC, flat=True)
    findings = {**quiet, "left": replace(quiet["left"], notches=(erosion,))}
    rendering = render(anatomy, findings, grid, SILENT, 0, 3)
    labels = rendering.labels
    assert set(np.unique(labels)) == {0, 1}
    assert list(np.flatnonzero((labels == 1).any((1, 2)))) == [3, 4, 5]
    rows, columns = np.nonzero(labels[4] == 1)
    x = grid.origin_mm[0] + columns * PIXEL
    y = grid.origin_mm[1] + rows * PIXEL
    assert x.mean() > 0, "the left joint lies at positive x"
    section = JointSection(anatomy, anatomy.joint(LEFT), z)
    along = np.array([-section.sin, section.cos])
    u, v = anatomy.to_body(x, y)
    t = u * along[0] + v * along[1]
    assert t.max() - t.min() + PIXEL == pytest.approx(diameter, abs=PIXEL)
    # A disc whose middle lies 0.3 diameters deep in the bone: what the surface leaves of it.
    area = (diameter / 2) ** 2 * (np.pi - np.arccos(0.6) + 0.6 * 0.8)
    assert rendering.measured["left"][1] / (3 * SPACING) == pytest.approx(area, rel=0.05)
    from_mask = diameter * np.sqrt(len(x) * PIXEL**2 / area)
    assert from_mask == pytest.approx(diameter, abs=PIXEL / 2)


def test_areas_without_rendering_agree_with_the_masks(scene):
    anatomy, grid, quiet = scene
    erosion = Notch(0.0, -1.0, 6.0, 12.0, 80.0, ILIAC)
    findings = {**quiet, "right": replace(quiet["right"], notches=(erosion,))}
    rendering = render(anatomy, findings, grid, SILENT, 0, 3)
    quick = lesion_areas(anatomy, findings, grid)
    assert quick["left"].max() == 0
    np.testing.assert_allclose(quick["right"], rendering.lesion_area_mm2["right"], atol=4.0)
    assert (rendering.labels == 1).sum((1, 2)) * PIXEL**2 == pytest.approx(
        rendering.lesion_area_mm2["right"]
    )


def test_spacing_enters_the_volume(scene):
    """The same erosion on slices of half the distance has the same volume in mm3."""
    anatomy, grid, quiet = scene
    erosion = Notch(0.0, -1.0, 6.0, 10.0, 80.0, ILIAC)
    findings = {**quiet, "left": replace(quiet["left"], notches=(erosion,))}
    fine = Grid(160, 17, PIXEL, SPACING / 2, grid.origin_mm)
    coarse_mm3, fine_mm3 = (
        render(anatomy, findings, g, SILENT, 0, 3).measured["left"][1] for g in (grid, fine)
    )
    assert coarse_mm3 == pytest.approx(fine_mm3, rel=0.05)
