"""Figures of quality against volumes whose noise and blur are known."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy import ndimage

from msk_jax.config import from_json, to_json
from msk_jax.data.quality.grading import GRADES, QualityLimits, grade_scan, shortfall
from msk_jax.data.quality.measure import UNREAD_AGE, measure, missing_tags
from msk_jax.errors import UserError

FIGURES = {
    "missing_tags": 0,
    "completeness": 1.0,
    "sharpness": 0.5,
    "noise_share": 0.01,
    "coverage_mm": 100.0,
    "slice_spacing_mm": 2.0,
    "pixel_mm": 0.7,
}


def body(noise: float, blur: float = 0.0) -> np.ndarray:
    """A cylinder of 40 HU in air with some edges, and white noise on it."""
    y, x = np.mgrid[:96, :96] - 48
    image = np.where(x**2 + y**2 < 40**2, 40.0, -1000.0)
    image[(np.abs(x) < 6) & (np.abs(y) < 20)] = 600
    image = ndimage.gaussian_filter(image, blur) if blur else image
    return image + np.random.default_rng(0).normal(0, noise, (8, 96, 96))


@pytest.mark.parametrize("noise", [5.0, 20.0, 60.0])
def test_noise_is_found_again(noise):
    # A tenth: the median over some thousand voxels, of which the edges are a few in a hundred.
    assert measure(body(noise), (1, 1, 2)).noise == pytest.approx(noise, rel=0.1)


def test_blur_takes_sharpness():
    sharp = [measure(body(2.0, blur), (1, 1, 2)).sharpness for blur in (0, 1, 2, 4)]
    assert sharp == sorted(sharp, reverse=True) and sharp[0] > 2 * sharp[-1]


def test_extent_clipping_and_nothing():
    volume = np.zeros((4, 5, 6))
    assert measure(volume, (0.5, 1, 2)).coverage_mm == (3, 5, 8)
    assert measure(volume, (1, 1, 1)).noise == measure(volume, (1, 1, 1)).clipped == 0
    volume[0, 0, :3] = 3071
    assert measure(volume, (1, 1, 1)).clipped == pytest.approx(3 / 120)


def test_what_a_header_lacks():
    header = Dataset()
    header.Modality, header.KVP, header.Manufacturer = "CT", 120, "X"
    lacking = missing_tags(header)
    assert "ConvolutionKernel" in lacking and "KVP" not in lacking and "EchoTime" not in lacking
    header.Modality = "DX"
    header.ImagerPixelSpacing = [0.1, 0.1]
    assert {"SliceThickness", "PixelSpacing", "KVP"}.isdisjoint(missing_tags(header))
    ages = {}
    for header.PatientAge in ("", "054Y", "54", "abt54"):
        ages[header.PatientAge] = [t for t in missing_tags(header) if t.startswith("PatientAge")]
    assert ages == {"": ["PatientAge"], "054Y": [], "54": [], "abt54": [UNREAD_AGE]}


def test_sharpness_of_blurred_noise_is_that_of_the_formula():
    # The square root of 2 over s squared holds for the continuous Laplacian; a fifth for the grid,
    # the border and chance.
    noise = np.random.default_rng(0).normal(0, 1, (4, 256, 256))
    for pixels in (3.0, 5.0):
        blurred = 1000 * ndimage.gaussian_filter(noise, (0, pixels, pixels)) + 1000
        blurred[:, :8] = -10000  # air, so that all the rest counts as inside
        found = measure(blurred, (1, 1, 1)).sharpness
        assert found == pytest.approx(2**0.5 / pixels**2, rel=0.2)


def test_noise_as_a_share_of_the_contrast():
    # Values evenly from 0 to 1000: the 5th and 95th percentile lie 900 apart.
    ramp = np.tile(np.linspace(0, 1000, 200), (4, 100, 1))
    ramp = np.pad(ramp, ((0, 0), (8, 8), (8, 8)), constant_values=-2000)
    noisy = ramp + np.random.default_rng(0).normal(0, 45, ramp.shape)
    assert measure(noisy, (1, 1, 1)).noise_share == pytest.approx(0.05, rel=0.1)
    assert measure(np.zeros((4, 5, 6)), (1, 1, 1)).noise_share == 0


@pytest.mark.parametrize(
    ("figure", "limits", "values"),
    [
        ("noise_share", (0.05, 0.1, 0.2), (0.2001, 0.2, 0.1, 0.05)),
        ("sharpness", (0.05, 0.02, 0.005), (0.0049, 0.005, 0.02, 0.05)),
        ("coverage_mm", (90, 80, 70), (69.9, 70, 80, 90)),
        ("slice_spacing_mm", (1, 3, 4), (4.1, 4, 3, 1)),
        ("missing_tags", (0, 6, 17), (18, 17, 6, 0)),
    ],
)
def test_limits_belong_to_the_better_grade(figure, limits, values):
    asked = QualityLimits(**{figure: limits})
    for expected, found in enumerate(values):
        grade = grade_scan({**FIGURES, figure: found}, asked)
        assert grade.by_figure[figure] == grade.overall == expected
    for unknown in (None, float("nan")):
        assert grade_scan({**FIGURES, figure: unknown}, asked).overall == 0


def test_the_worst_figure_decides_and_is_named():
    limits = QualityLimits(coverage_mm=(90, 80, 70))
    figures = {**FIGURES, "coverage_mm": 75.0, "noise_share": 0.15, "missing_tags": 3}
    grade = grade_scan(figures, limits)
    assert "pixel_mm" not in grade.by_figure and GRADES[grade.overall] == "poor"
    assert shortfall(grade, figures, limits, 1) == ""
    assert shortfall(grade, figures, limits, 2) == (
        "The quality of the scan is poor, which is below acceptable (noise as a share of the "
        "contrast: 0.15, at most 0.1 is asked for; mm covered along z: 75, at least 80 is asked "
        "for)."
    )
    assert "missing: 3, at most 0 " in shortfall(grade, figures, limits, 3)
    assert from_json(to_json(limits), QualityLimits, "a file") == limits


def test_limits_in_the_wrong_order_are_refused():
    for wrong in ({"sharpness": (0.1, 0.2, 0.3)}, {"noise_share": (0.3, 0.2, 0.1)}):
        with pytest.raises(UserError, match=r"from grade 3 to grade 1 they (fall|rise)\."):
            QualityLimits(**wrong)
