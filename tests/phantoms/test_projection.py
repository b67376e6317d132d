"""Path lengths, the way to a picture, and the DICOM files that hold it."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from msk_jax.data.images.radiograph import read_radiograph
from msk_jax.phantoms.projection import (
    LEVELS,
    Curve,
    Detector,
    broad,
    ellipse_chord,
    expose,
    polyline,
    stamp,
    tube,
)
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph

EXPOSURE = Exposure(
    "PHANTOM-1",
    "Phantom^One",
    "F",
    61,
    "A",
    "Test",
    "DX",
    False,
    "CHEST",
    "PA",
    "U",
    1,
    1,
    0,
    110.0,
    0.5,
    1.25,
)
DETECTOR = Detector(1e6, 0.7, 0.2, 30.0, 0.5, 0.0, 0.9, 0.0, 1.0)


@pytest.mark.parametrize("pixel", [0.1, 0.7, 3.0])
def test_area_of_an_ellipse_is_kept_at_any_pixel(pixel):
    """The chords add up to pi a b, also where a wall is a fraction of a pixel."""
    offset = np.arange(-30, 30, pixel) + 0.3 * pixel
    outer = ellipse_chord(offset, 6.0, 4.0, pixel).sum() * pixel
    inner = ellipse_chord(offset, 5.6, 3.6, pixel).sum() * pixel
    assert outer == pytest.approx(np.pi * 24, rel=1e-4)
    assert outer - inner == pytest.approx(np.pi * (24 - 5.6 * 3.6), rel=1e-3)
    assert ellipse_chord(0.0, 6.0, 4.0, 1e-2) == pytest.approx(8.0, rel=1e-3)


def test_volume_of_a_straight_tube():
    """Length times pi (R^2 - r^2) for the wall, pi r^2 inside; round caps add the half ends."""
    points = polyline([(-20.0, 0.0), (20.0, 0.0)], 0.1)
    ones = np.ones(len(points))
    x = y = np.arange(-40, 40, 0.5)
    wall, inside, window = tube(Curve(points, 5 * ones, 5 * ones), x, y, 1.0, 0.5)
    middle = np.abs(x[window[1]]) < 15
    length = middle.sum() * 0.5
    assert wall[:, middle].sum() * 0.25 == pytest.approx(length * np.pi * 9, rel=0.01)
    assert inside[:, middle].sum() * 0.25 == pytest.approx(length * np.pi * 16, rel=0.01)
    assert tube(Curve(points + 500, 5 * ones, 5 * ones), x, y, 1.0, 0.5) is None


def test_broad_blur_is_that_of_the_full_picture():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    picture = gaussian_filter(rng.standard_normal((96, 96)), 6).astype(np.float32)
    direct = gaussian_filter(picture, 16, mode="nearest", truncate=3)
    error = broad(picture, 16.0, 1.0) - direct
    assert error.std() < 0.05 * direct.std()


def test_dense_is_bright_and_noise_falls_with_photons():
    soft = np.full((64, 64), 1.0, np.float32)
    soft[:, :16] = 0.3
    excess = np.zeros_like(soft)
    excess[20:40, 30:50] = 0.4
    picture = expose(soft, excess, DETECTOR, 0.7, np.random.default_rng(0)).astype(float)
    assert picture[25:35, 35:45].mean() > picture[45:60, 35:45].mean() > picture[:, :10].mean()
    spread = []
    for photons in (1e3, 4e3):
        detector = Detector(photons, 0.7, 0.2, 30.0, 0.0, 0.0, 0.5, 0.0, 1.0)
        picture = expose(soft, 0 * excess, detector, 0.7, np.random.default_rng(1))
        spread.append(picture[10:54, 30:60].astype(float).std())
    assert spread[0] / spread[1] == pytest.approx(2.0, rel=0.1)


def test_letters():
    picture = np.zeros((40, 40), np.uint16)
    stamp(picture, "L", 2, 3, 2)
    assert (picture[2:16, 3:5] > 0).all() and (picture[14:16, 3:13] > 0).all()
    assert (picture > 0).sum() == 4 * (6 + 5)


@pytest.mark.parametrize("kind", ["CR", "DX"])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(("part", "view", "side"), [("CHEST", "PA", "U"), ("KNEE", "LL", "R")])
def test_files_are_valid_and_come_back(tmp_path, kind, inverted, part, view, side):
    from dataclasses import replace

    exposure = replace(
        EXPOSURE, kind=kind, inverted=inverted, body_part=part, view=view, laterality=side
    )
    stored = np.linspace(0, LEVELS, 48 * 64).astype(np.uint16).reshape(48, 64)
    path = write_radiograph(tmp_path / "x.dcm", exposure, stored)
    picture = read_radiograph(path)
    np.testing.assert_array_equal(picture.pixels, stored)
    assert picture.spacing.mm == pytest.approx((0.4, 0.4) if kind == "DX" else (0.5, 0.5))
    assert (picture.modality, picture.view) == (kind, view)
    assert picture.laterality == ("" if kind == "CR" and side == "U" else side)
    raw = pydicom.dcmread(path)
    assert raw.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
    assert raw.BodyPartExamined == part
    if shutil.which("dciodvfy"):
        out = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert "Error" not in out.stderr


def test_identifiers_are_of_study_series_and_instance():
    from dataclasses import replace

    other = replace(EXPOSURE, instance=2)
    assert EXPOSURE.uid("study") == other.uid("study")
    assert EXPOSURE.series_uid != other.series_uid
    assert EXPOSURE.uid("study") != replace(EXPOSURE, number=2).uid("study")
    assert EXPOSURE.uid("study") != replace(EXPOSURE, seed=1).uid("study")
