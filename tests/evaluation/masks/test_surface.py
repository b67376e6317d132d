import numpy as np
import pytest

from msk_jax.evaluation.masks.surface import overlap, surface_distances
from msk_jax.evaluation.masks.surfels import surfel_areas


@pytest.fixture(scope="module")
def cubes():
    """Two cubes of 10 voxels, one moved by 2 along the first axis."""
    a = np.zeros((24, 20, 20), bool)
    a[5:15, 5:15, 5:15] = True
    return a, np.roll(a, 2, axis=0)


@pytest.fixture(scope="module")
def balls():
    apart = sum((x - 24) ** 2 for x in np.indices((48, 48, 48)))
    return apart <= 100, apart <= 144


def test_cubes_have_the_published_distances(cubes):
    # Computed with DeepMind's surface-distance library.
    result = surface_distances(*cubes, (1, 1, 1))
    assert (result.hd95_mm, result.hd_mm) == (2.0, 2.0)
    assert result.asd_mm == pytest.approx((0.679795, 0.679795), abs=1e-6)
    assert result.nsd == pytest.approx(0.722882, abs=1e-6)
    thick = surface_distances(*cubes, (3, 1, 1))
    assert thick.hd95_mm == 6.0 and thick.asd_mm[0] == pytest.approx(1.019939, abs=1e-6)
    assert thick.nsd == pytest.approx(0.769989, abs=1e-6)
    shared = overlap(*cubes, (1, 1, 1))
    # 800 voxels in common of 1000 each.
    assert (shared.dice, shared.iou) == pytest.approx((0.8, 800 / 1200))


def test_balls_have_the_published_distances(balls):
    result = surface_distances(*balls, (1, 1, 1))
    assert (result.hd95_mm, result.hd_mm) == pytest.approx((2.236068, 2.449490), abs=1e-6)
    assert result.asd_mm == pytest.approx((1.566923, 1.585777), abs=1e-6)
    assert result.nsd == pytest.approx(0.152441, abs=1e-6)
    figures = overlap(*balls, (1, 1, 1))
    assert (figures.volume_mm3, figures.reference_mm3) == (4169, 7153)
    assert figures.dice == pytest.approx(0.736442, abs=1e-6)
    assert figures.volume_error == pytest.approx((4169 - 7153) / 7153)


@pytest.mark.parametrize(
    ("pair", "assd", "hd95"), [("cubes", 0.688525, 2.0), ("balls", 1.890935, 2.236068)]
)
def test_boundary_voxels_as_monai_has_them(pair, assd, hd95, request):
    result = surface_distances(*request.getfixturevalue(pair), (1, 1, 1), convention="boundary")
    assert result.assd_mm == pytest.approx(assd, abs=1e-6)
    assert result.hd95_mm == pytest.approx(hd95, abs=1e-6)


@pytest.fixture(scope="module")
def blobs():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(22, 30, 26)), 2.5)
    other = field + 0.3 * gaussian_filter(rng.normal(size=field.shape), 2.0)
    return field > 0.02, other > 0.02


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3.0, 0.7, 1.3)])
def test_rough_surfaces_beside_surface_distance(blobs, spacing, need):
    need("surface_distance")
    import surface_distance as theirs

    ours = surface_distances(*blobs, spacing, tolerance_mm=1.5)
    found = theirs.compute_surface_distances(blobs[1], blobs[0], spacing)
    hd95 = theirs.compute_robust_hausdorff(found, 95)
    assert ours.hd95_mm == pytest.approx(hd95, abs=1e-9)
    back, there = theirs.compute_average_surface_distance(found)
    assert ours.asd_mm == pytest.approx((there, back), abs=1e-9)
    nsd = theirs.compute_surface_dice_at_tolerance(found, 1.5)
    assert ours.nsd == pytest.approx(nsd, abs=1e-9)


def test_areas_of_all_codes_beside_surface_distance(need):
    need("surface_distance")
    from surface_distance import lookup_tables as theirs

    for spacing in ((1.0, 1.0, 1.0), (0.4, 2.0, 3.0)):
        kernel = theirs.ENCODE_NEIGHBOURHOOD_3D_KERNEL.ravel()
        codes = [sum(int(kernel[b]) for b in range(8) if c >> b & 1) for c in range(256)]
        expected = theirs.create_table_neighbour_code_to_surface_area(spacing)[codes]
        np.testing.assert_allclose(surfel_areas(spacing), expected, atol=1e-12)
    kernel = np.ravel(theirs.ENCODE_NEIGHBOURHOOD_2D_KERNEL)
    codes = [sum(int(kernel[b]) for b in range(4) if c >> b & 1) for c in range(16)]
    expected = theirs.create_table_neighbour_code_to_contour_length((0.5, 2.0))[codes]
    np.testing.assert_allclose(surfel_areas((0.5, 2.0)), expected, atol=1e-12)


def test_rough_surfaces_beside_monai(blobs, need):
    need("monai", "torch")
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    spacing = [3.0, 0.7, 1.3]
    a, b = (torch.from_numpy(m)[None, None].float() for m in blobs)
    ours = surface_distances(*blobs, tuple(spacing), convention="boundary")
    options = {"include_background": True, "spacing": spacing}
    hd95 = compute_hausdorff_distance(a, b, percentile=95, **options).item()
    assert ours.hd95_mm == pytest.approx(hd95, rel=1e-5)
    assd = compute_average_surface_distance(a, b, symmetric=True, **options).item()
    assert ours.assd_mm == pytest.approx(assd, rel=1e-5)
    near = surface_distances(*blobs, tuple(spacing), convention="boundary", tolerance_mm=1.5)
    nsd = compute_surface_dice(a, b, [1.5], **options).item()
    assert near.nsd == pytest.approx(nsd, rel=1e-5)


def test_pooled_percentile_by_hand():
    a, b = np.zeros((1, 40), bool), np.zeros((1, 40), bool)
    a[0, 5], b[0, [5, 9]] = True, True
    # Distances 0 there, 0 and 4 back: pooled 95th percentile of 0, 0, 4.
    pooled = surface_distances(a, b, (1, 1), convention="pooled")
    assert pooled.hd95_mm == pytest.approx(np.percentile([0, 0, 4], 95))
    boundary = surface_distances(a, b, (1, 1), convention="boundary")
    assert boundary.hd95_mm == pytest.approx(np.percentile([0, 4], 95))


def test_empty_masks_and_bad_input(cubes):
    full, nothing = cubes[0], np.zeros_like(cubes[0])
    both = surface_distances(nothing, nothing, (1, 1, 1))
    assert both.nsd == 1.0 and both.hd95_mm is None and both.why
    one = surface_distances(full, nothing, (1, 1, 1))
    assert one.nsd == 0.0 and one.hd95_mm is None
    assert overlap(nothing, nothing, (1, 1, 1)).dice == 1.0
    assert overlap(nothing, nothing, (1, 1, 1)).iou == 1.0
    half = overlap(full, nothing, (1, 1, 1))
    assert half.volume_error is None and half.iou == 0.0
    same = surface_distances(full, full, (1, 1, 1))
    assert same.hd_mm == 0.0 and same.nsd == 1.0
    for args, message in (
        ((full, full, (1, 1)), "does not fit"),
        ((full, full, (1, 0, 1)), "does not fit"),
        ((full, full[1:], (1, 1, 1)), "equal"),
        ((full * 2, full, (1, 1, 1)), "0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            surface_distances(*args)
