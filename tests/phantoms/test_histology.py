"""The histology phantom: what a lacuna shows of its class, what a picture tells, the files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from msk_jax.data.annotations import read_boxes
from msk_jax.data.images.pictures import read_picture
from msk_jax.errors import UserError
from msk_jax.phantoms.histology import HistologyPhantom
from msk_jax.phantoms.histology.animal import draw_animal, draw_section
from msk_jax.phantoms.histology.checks import lacuna_features, measure
from msk_jax.phantoms.histology.cohort import draw_tile, empty_share, render_tile
from msk_jax.phantoms.histology.ellipses import Ellipses, cover
from msk_jax.phantoms.histology.render import STAINS
from msk_jax.phantoms.histology.settings import CLASSES
from msk_jax.phantoms.writing import write_cohort

SMALL = HistologyPhantom(patients=3, seed=4, tiles=2, matrix=256, pixel_um=1.0, workers=1)
FIELD = HistologyPhantom(seed=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("histology") / "new"
    assert write_cohort(out, SMALL) == out / "manifest.csv"
    return out


@pytest.fixture(scope="module")
def tiles() -> list:
    return [draw_tile(FIELD, n, k) for n in range(4) for k in range(2)]


def ellipse(x, y, major, minor, angle=0.0) -> Ellipses:
    return Ellipses(*(np.array([v], float) for v in (x, y, major, minor, angle)))


def test_composition_is_as_published():
    """Healthy, pyknotic, empty as 60 : 15 : 25; empty 2 to 80 % between sections."""
    animals = [draw_animal(0, n) for n in range(1500)]
    shares = np.array([draw_section(0, 0.15, a, k).shares for a in animals for k in range(2)])
    np.testing.assert_allclose(shares.mean(0), (0.60, 0.15, 0.25), atol=0.015)
    assert shares[:, 2].min() >= 0.02 and shares[:, 2].max() <= 0.80
    assert np.quantile(shares[:, 2], 0.05) < 0.05 and np.quantile(shares[:, 2], 0.95) > 0.55
    early = [a.stage for a in animals[:9]]  # a small cohort has every stage in it
    assert np.histogram(early, np.linspace(0, 1, 4))[0].min() >= 2


def test_sizes_and_numbers_of_lacunae(tiles):
    """Axes of 12 to 20 by 6 to 10 um, 30 to 120 of them on a field of 512 um."""
    for tile in tiles:
        lacunae = tile.lacunae
        assert 30 <= len(lacunae) <= 120
        major, minor = (2 * FIELD.pixel_um * v for v in
                        (lacunae.ellipses.major, lacunae.ellipses.minor))  # fmt: skip
        assert major.min() >= 12 and major.max() <= 20 and minor.min() >= 6 and minor.max() <= 10
        assert 2 <= empty_share(lacunae.classes) <= 80
        ratio = lacunae.nuclei.major * lacunae.nuclei.minor
        ratio = ratio / (lacunae.ellipses.major * lacunae.ellipses.minor)
        for k, (low, high) in enumerate(((0.35, 0.6), (0.1, 0.25), (0, 1e-5))):
            of_class = ratio[lacunae.classes == k]
            assert ((of_class >= low - 1e-9) & (of_class <= high + 1e-9)).all()
    angles = np.concatenate([t.lacunae.ellipses.angle for t in tiles]) % np.pi
    assert np.histogram(angles, 6, (0, np.pi))[0].min() > len(angles) / 12


def test_nuclei_lie_in_their_lacunae(tiles):
    for tile in tiles:
        lacunae = tile.lacunae
        outline = lacunae.nuclei.outline(np.linspace(0, 2 * np.pi, 40))
        radius = lacunae.ellipses.radius(outline[..., 0], outline[..., 1])
        assert radius.max() <= 1 + 1e-9


def test_only_pairs_touch(tiles):
    """Their share is as set (5 %); of all others the outlines are apart."""
    touching = np.concatenate([t.lacunae.touching for t in tiles])
    assert touching.mean() == pytest.approx(0.05, abs=0.03)
    for tile in tiles[:8]:
        lacunae, shape = tile.lacunae, (FIELD.matrix, FIELD.matrix)
        places, _, share = cover(lacunae.ellipses.at(~lacunae.touching), shape, grow=1.0)
        places = places[share > 0.5]
        assert len(np.unique(places)) == len(places)
    many = draw_tile(replace(FIELD, touching_share=0.5), 0, 0).lacunae
    assert many.touching.mean() == pytest.approx(0.5, abs=0.15)


def test_lacunae_lie_in_bone(tiles):
    for tile in tiles[:6]:
        shape = (FIELD.matrix, FIELD.matrix)
        places, _, share = cover(tile.lacunae.ellipses, shape)
        places = places[share > 0.5]
        assert tile.tissue.bone.reshape(-1)[places].min() > 0.99
        assert tile.tissue.cracks.reshape(-1)[places].mean() < 0.001


def test_box_of_a_turned_ellipse():
    """Half sides sqrt(a^2 cos^2 + b^2 sin^2) and sqrt(a^2 sin^2 + b^2 cos^2)."""
    box, middle = ellipse(50, 40, 20, 10, np.pi / 6).boxes(100)[0], np.array([50, 40])
    half = np.sqrt([400 * 0.75 + 100 * 0.25, 400 * 0.25 + 100 * 0.75])
    np.testing.assert_allclose(box, np.r_[middle - half, middle + half], atol=1e-3)


def test_box_of_a_cut_ellipse():
    """A circle of radius 10 whose middle lies 6 outside: the chord at the edge is 2 x 8 wide."""
    box = ellipse(-6, 50, 10, 10).boxes(100)[0]
    np.testing.assert_allclose(box, [0, 42, 4, 58], atol=0.1)
    corner = ellipse(98, 97, 10, 10).boxes(100)[0]
    np.testing.assert_allclose(corner, [88, 87, 100, 100], atol=1e-3)
    share = ellipse(-6, 50, 10, 10).share_inside(100)[0]
    segment = 100 * np.arccos(0.6) - 6 * 8  # of a circle
    assert share == pytest.approx(segment / (100 * np.pi), abs=0.02)
    assert ellipse(50, 50, 10, 10).share_inside(100)[0] == 1


def test_cover_has_the_area_of_the_ellipse():
    for shape in ((50.3, 40.8, 20, 8, 0.7), (30.1, 30.6, 3.0, 1.5, 2.0)):
        _, _, share = cover(ellipse(*shape), (100, 100))
        assert share.sum() == pytest.approx(np.pi * shape[2] * shape[3], rel=0.03)


def test_boxes_are_tight_around_what_is_drawn():
    """Edges agree with the mask to a pixel, also at the tile's edges, where at least a third of a
    lacuna is inside."""
    cut = 0
    for number in range(4):
        tile = draw_tile(FIELD, number, 0)
        lacunae = tile.lacunae
        for k in np.flatnonzero(~lacunae.touching):
            places, _, share = cover(lacunae.ellipses.at([k]), (FIELD.matrix,) * 2)
            rows, columns = np.divmod(places[share >= 0.5], FIELD.matrix)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(lacunae.boxes[k], edges, atol=1.0)
            whole = np.pi * lacunae.ellipses.major[k] * lacunae.ellipses.minor[k]
            assert share.sum() > 0.31 * whole
            cut += share.sum() < 0.95 * whole
    assert cut >= 4


def test_classes_are_drawn_alike_but_for_the_nucleus():
    """Another stage, the same section otherwise: equal pixels outside of the lacunae."""
    tile = draw_tile(SMALL, 1, 0)
    lacunae = tile.lacunae
    emptied = replace(
        lacunae, classes=np.full(len(lacunae), 2), ratio=np.zeros(len(lacunae)),
        staining=np.zeros(len(lacunae)),
    )  # fmt: skip
    before = render_tile(tile, SMALL)
    after = render_tile(replace(tile, lacunae=emptied), SMALL)
    inside = np.zeros((SMALL.matrix,) * 2, np.float32)
    places, _, share = cover(lacunae.ellipses, inside.shape, grow=3.5)
    inside.reshape(-1)[places[share > 0]] = 1
    apart = np.abs(before.picture.astype(int) - after.picture)
    assert apart[inside == 0].max() <= 1  # of 255 levels: rounding
    assert apart[inside == 1].max() > 60


def test_nothing_tells_the_classes_at_severity_0(monkeypatch):
    """The same picture, whatever the classes; and at 1 the nuclei alone are others."""
    faded = replace(SMALL, severity=0.0)
    drawn = {config: draw_tile(config, 2, 1) for config in (SMALL, faded)}
    monkeypatch.setattr(
        "msk_jax.phantoms.histology.lacunae.draw_classes", lambda _, n, rng: np.full(n, 2)
    )
    for config, tile in drawn.items():
        emptied = draw_tile(config, 2, 1)
        assert (emptied.lacunae.classes == 2).all() and (tile.lacunae.classes < 2).any()
        for name in ("haze", "speck", "boxes"):
            np.testing.assert_array_equal(
                getattr(emptied.lacunae, name), getattr(tile.lacunae, name)
            )
        pictures = [render_tile(t, config).picture for t in (tile, emptied)]
        assert np.array_equal(*pictures) == (config.severity == 0)


@pytest.mark.slow
def test_oracle_and_global_figures():
    """Who knows where lacunae are tells their classes; mean, SD and histogram of a picture say
    little of the empty share, and nothing where the lacunae are hidden."""
    figures = measure(replace(SMALL, patients=25, tiles=2))
    assert figures["oracle_accuracy"] > 0.97
    assert figures["measured_accuracy"] > 0.93
    assert figures["weak_baseline_r2"] < 0.35
    assert figures["blind_r2"] < 0.1
    faded = measure(replace(SMALL, patients=10, severity=0.0))
    assert faded["oracle_accuracy"] == pytest.approx(0.6, abs=0.06)  # the most frequent class
    assert faded["measured_accuracy"] == pytest.approx(0.6, abs=0.06)


def test_measured_nuclei_are_as_large_as_drawn():
    tile = draw_tile(FIELD, 3, 0)
    lacunae = tile.lacunae
    whole = lacunae.ellipses.share_inside(FIELD.matrix) == 1
    measured = lacuna_features(render_tile(tile, FIELD).picture, lacunae)[whole]
    assert np.abs(measured[:, 0] - lacunae.ratio[whole]).mean() < 0.08
    for k in (0, 1):  # a small dark nucleus, a large paler one
        of_class = lacunae.classes[whole] == k
        assert of_class.sum() > 2
    healthy, pyknotic, empty = (measured[lacunae.classes[whole] == k] for k in range(3))
    assert pyknotic[:, 1].mean() > 1.1 * healthy[:, 1].mean()
    assert empty[:, 0].max() < 0.15


def test_stain_moves_as_far_as_set():
    sections = [draw_section(0, 0.15, draw_animal(0, n), k) for n in range(200) for k in range(2)]
    stains = np.array([s.stain for s in sections])
    assert 0.85 <= stains.min() < 0.88 and 1.12 < stains.max() <= 1.15
    stages = np.array([s.animal.stage for s in sections])
    assert np.abs([np.corrcoef(stages, s)[0, 1] for s in stains.T]).max() < 0.15
    still = draw_tile(replace(SMALL, stain_shift=0.0), 0, 0)
    assert (still.section.stain == 1).all()


def test_pictures_look_stained():
    """Bone is pink, nuclei are blue: by the density of the three colours of light."""
    tile = draw_tile(FIELD, 0, 0)
    picture = render_tile(tile, FIELD).picture.astype(float)
    bone = picture[tile.tissue.depth_um > 15].mean(0)
    nuclei = picture[tile.tissue.nuclei > 0.5].mean(0)
    assert bone[0] > bone[2] > bone[1] + 20
    assert nuclei[2] > nuclei[0] + 20 and nuclei.mean() < 0.6 * bone.mean()
    assert np.linalg.norm(STAINS, axis=1) == pytest.approx(1, abs=0.01)


def test_patient_is_the_same_in_a_cohort_of_any_size(cohort, tmp_path):
    write_cohort(tmp_path / "one", replace(SMALL, patients=1))
    for folder in ("dicom", "masks", "annotations"):
        files = sorted((tmp_path / "one" / folder).iterdir())
        assert len(files) == 2
        assert all(f.read_bytes() == (cohort / folder / f.name).read_bytes() for f in files)
    others = write_cohort(tmp_path / "other", replace(SMALL, seed=5, patients=1)).parent
    name = "dicom/PHANTOM-00000_S01.tif"
    assert (others / name).read_bytes() != (cohort / name).read_bytes()


def test_files_agree_with_the_truth(cohort):
    manifest = list(csv.DictReader((cohort / "manifest.csv").open()))
    truth = list(csv.DictReader((cohort / "parameters.csv").open()))
    assert tuple(manifest[0]) == SMALL.manifest_columns
    assert len(manifest) == len(truth) == 6
    for k, row in enumerate(manifest):
        tile = draw_tile(SMALL, k // 2, k % 2)
        rendering = render_tile(tile, SMALL)
        picture = Image.open(cohort / "dicom" / row["path"])
        np.testing.assert_array_equal(np.asarray(picture), rendering.picture)
        boxes = [read_boxes(cohort / name, row["path"], CLASSES)
                 for name in (row["cells"], row["cells"].replace(".json", ".csv"))]  # fmt: skip
        for of_file in boxes:
            np.testing.assert_allclose(of_file.boxes, tile.lacunae.boxes, atol=2e-3)
            np.testing.assert_array_equal(of_file.classes, tile.lacunae.classes)
        share = 100 * (boxes[0].classes == 2).mean()
        assert float(row["empty_share"]) == pytest.approx(share, abs=0.006)
        assert int(truth[k]["empty_lacuna"]) == (boxes[0].classes == 2).sum()
        mask = sitk.ReadImage(
            str(cohort / "masks" / f"{row['patient_id']}_{row['section']}.nii.gz")
        )
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), rendering.labels)
        assert mask.GetSpacing() == pytest.approx((0.001, 0.001))  # mm


@pytest.mark.parametrize(("form", "suffix"), [("tiff", ".tif"), ("png", ".png")])
def test_pictures_know_the_size_of_their_pixels(tmp_path, form, suffix):
    config = replace(SMALL, patients=1, tiles=1, format=form, pixel_um=0.5)
    write_cohort(tmp_path / "c", config)
    (file,) = (tmp_path / "c" / "dicom").iterdir()
    assert file.suffix == suffix
    assert Image.open(file).info["dpi"][0] == pytest.approx(25400 / 0.5, rel=1e-4)
    assert read_picture(file).pixels.shape == (256, 256)


def test_wrong_annotations(tmp_path):
    config = replace(SMALL, label_noise=0.3)
    write_cohort(tmp_path / "c", config)
    truth = pd.read_csv(tmp_path / "c" / "parameters.csv")
    counts = truth[["osteocyte", "pyknotic_osteocyte", "empty_lacuna"]].to_numpy()
    wrong = truth.wrongly_annotated.sum() / counts.sum()
    assert wrong == pytest.approx(0.3, abs=0.1)
    content = json.loads((tmp_path / "c" / "annotations" / "PHANTOM-00000.json").read_text())
    tile = draw_tile(config, 0, 0)
    said = [a["category_id"] - 1 for a in content["annotations"] if a["image_id"] == 1]
    assert (np.array(said) == tile.lacunae.annotated).all()


def test_settings_that_cannot_be_used():
    with pytest.raises(UserError, match="must be 64 to 1100 um"):
        HistologyPhantom(matrix=64, pixel_um=0.5).check()
    with pytest.raises(UserError, match="severity is 2"):
        HistologyPhantom(severity=2).check()
    with pytest.raises(UserError, match="tiff or png"):
        HistologyPhantom(format="jpeg").check()
