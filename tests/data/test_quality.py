"""Figures of quality against volumes whose noise and blur are known."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy import ndimage

from msk_jax.data.quality import measure, missing_tags


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
