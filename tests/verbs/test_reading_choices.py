"""Flags that choose where a volume leaves a choice, on their way to what reads it."""

import nibabel
import numpy as np
import pytest

from msk_jax.data.images.volume import ReadOptions
from msk_jax.errors import UserError
from msk_jax.experiment import load
from msk_jax.study.package import SavedModel
from msk_jax.verbs import build, predict
from tests.verbs.conftest import verb

EXPERIMENT = """
from msk_jax.data.feed.augment import Preprocess
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.experiment import Experiment, Stage
from msk_jax.methods.network import Network
from msk_jax.models import ZooNetConfig
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Recipe
from tests.cohorts import cohort_of

experiment = Experiment(
    name="discs",
    cohort=cohort_of(name="discs", modality="MR", region=VolumeRegion(size=16, num_slices=4)),
    stages=(
        Stage(
            "classify",
            ("image",),
            Classification("label"),
            Network(ZooNetConfig("resnet18"), Preprocess(), Recipe()),
        ),
    ),
)
"""
FLAGS, CHOSEN = (
    ("--nifti-form", "sform", "--deshear"),
    ReadOptions(deshear=True, nifti_form="sform"),
)


@pytest.fixture
def discs(tmp_path):
    """An experiment of whole volumes, and a folder with one whose sform lies 7 mm higher."""
    (tmp_path / "discs.py").write_text(EXPERIMENT)
    values = np.random.default_rng(0).integers(0, 900, (16, 16, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_qform(np.eye(4), 1)
    higher = np.eye(4)
    higher[2, 3] = 7
    image.set_sform(higher, 1)
    (tmp_path / "images").mkdir()
    nibabel.save(image, tmp_path / "images" / "a.nii")
    return tmp_path


def test_build_hands_them_on(discs, monkeypatch):
    given = []

    def note(*args, **options):
        given.append(options["options"])
        raise UserError("Noted.")

    monkeypatch.setattr(build, "build_cohort", note)
    about = ("--dicom", discs / "images", "--manifest", discs / "m.csv", "--data-dir", discs / "d")
    for flags in ((), FLAGS):
        verb("build", discs / "discs.py", *about, *flags, status=2)
    assert given == [None, CHOSEN]


def test_predict_reads_by_them(discs, monkeypatch):
    experiment = load(str(discs / "discs.py"))
    saved = SavedModel(experiment, {}, [], {})
    origins = []

    def note(saved, cases):
        origins.extend(crop.origin_mm[2] for case in cases for crop in case.crops.values())
        return []

    monkeypatch.setattr(predict, "load_model", lambda _: saved)
    monkeypatch.setattr(predict, "predict_cases", note)
    about = ("--workdir", discs, "--dicom", discs / "images", "--key", discs / "key")
    (discs / "key").write_bytes(b"k" * 32)
    for k, flags in enumerate(((), FLAGS, ("--nifti-form", "qform"))):
        verb("predict", *about, "--out", discs / f"out{k}", *flags, status=2)
    assert "--nifti-form sform or --nifti-form qform" in (discs / "out0/rejected.csv").read_text()
    assert origins[0] == pytest.approx(origins[1] + 7) and len(origins) == 2


def test_a_system_that_leaves_no_choice(discs, refused):
    error = refused(
        "build",
        "sacroiliitis",
        "--dicom",
        discs,
        "--manifest",
        discs / "m.csv",
        "--data-dir",
        discs / "d",
        *FLAGS,
    )
    assert "--nifti-form and --deshear are for systems that read whole volumes" in error
