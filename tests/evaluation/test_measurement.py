import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from msk_jax.evaluation.measurement import (
    adjusted_r2,
    bland_altman,
    correlation,
    psnr,
    reading_time,
    rotation_error_deg,
    ssim,
    target_error,
)

# J. M. Bland and D. G. Altman, Lancet 1986;327:307, table 1: peak flow by two meters, first
# measurements of 17 people.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_bland_and_altmans_meters():
    result = bland_altman(WRIGHT, MINI)
    # Printed: mean -2.1, sd 38.8, limits -79.7 and 75.5 (with 2 sd), bias -22.0 to 17.8.
    assert result.bias.value == pytest.approx(-2.1, abs=0.05)
    assert result.sd == pytest.approx(38.8, abs=0.05)
    assert result.upper.value == pytest.approx(-2.1 + 1.96 * 38.8, abs=0.15)
    assert (result.bias.low, result.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert result.lower.low < result.lower.value < result.lower.high


def test_correlation_of_the_meters():
    assert correlation(WRIGHT, MINI).value == pytest.approx(0.94, abs=0.005)  # as printed there
    assert correlation([1, 1, 1, 1], [1, 2, 3, 4]).value is None
    assert adjusted_r2(0.9, 20, 3) == pytest.approx(1 - 0.19 * 19 / 16)
    with pytest.raises(ValueError, match="too few"):
        adjusted_r2(0.9, 4, 3)
    with pytest.raises(ValueError, match="finite"):
        bland_altman([1, np.nan], [1, 2])


def test_reading_time():
    result = reading_time([60, 80, 100, 120, 90], [30, 50, 40, 70, 45])
    assert result.saved == pytest.approx(0.5)
    assert result.p == pytest.approx(2 / 32)  # all five shorter, exact
    assert reading_time([5.0], [5.0]).p is None


def test_image_quality_beside_monai(need):
    need("monai", "torch")
    import torch
    from monai.metrics import PSNRMetric, SSIMMetric

    rng = np.random.default_rng(0)
    reference = rng.random((24, 30))
    image = np.clip(reference + 0.1 * rng.normal(size=reference.shape), 0, 1)
    pair = [torch.from_numpy(x)[None, None] for x in (image, reference)]
    theirs = SSIMMetric(spatial_dims=2, data_range=1.0)(*pair).item()
    assert ssim(image, reference, 1.0) == pytest.approx(theirs, abs=1e-6)
    theirs = PSNRMetric(max_val=1.0)(*pair).item()
    assert psnr(image, reference, 1.0) == pytest.approx(theirs, abs=1e-6)


def test_image_quality_by_hand():
    flat = np.zeros((12, 12))
    assert psnr(flat, flat, 1.0) == np.inf
    assert psnr(flat + 0.1, flat, 1.0) == pytest.approx(20.0)
    assert ssim(flat + 0.3, flat + 0.3, 1.0) == pytest.approx(1.0)
    # Without contrast only the first factor is left: (2 ab + c1) / (a² + b² + c1).
    assert ssim(flat + 0.5, flat + 0.3, 1.0) == pytest.approx(0.3001 / 0.3401)
    with pytest.raises(ValueError, match="too small"):
        ssim(flat[:5], flat[:5], 1.0)
    with pytest.raises(ValueError, match="range"):
        psnr(flat, flat, 0.0)


def test_registration_errors():
    true = np.array([[0.0, 0, 0], [1, 2, 3], [5, 5, 5]])
    result = target_error(true + np.array([[3, 4, 0], [0, 0, 1], [0, 0, 0]]), true)
    assert (result.mean_mm, result.max_mm, result.n) == (2.0, 5.0, 3)
    assert result.rms_mm == pytest.approx(np.sqrt(26 / 3))
    assert result.sd_mm == pytest.approx(np.std([5, 1, 0], ddof=1))
    assert target_error(true[:1], true[:1]).sd_mm is None
    first, turn = Rotation.random(rng=0), Rotation.from_rotvec([0, 0.3, 0])
    angle = rotation_error_deg((first * turn).as_matrix(), first.as_matrix())
    assert angle == pytest.approx(np.degrees(0.3))
    with pytest.raises(ValueError, match="rotation"):
        rotation_error_deg(np.diag([1, 1, -1]), np.eye(3))
    with pytest.raises(ValueError, match="equal tables"):
        target_error(true, true[:2])
