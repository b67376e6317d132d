"""Boxes in coloured pictures at a size that tests build and train in seconds."""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Boxes, Image, Number
from msk_jax.data.regions.picture import PictureRegion
from msk_jax.experiment import Experiment, Split, Stage
from msk_jax.methods.network import Network
from msk_jax.methods.procedures import Counts
from msk_jax.models import DetectorConfig
from msk_jax.phantoms.histology import HistologyPhantom
from msk_jax.tasks.settings import Detection, Measurement
from msk_jax.training.recipe import Recipe

CLASSES = ("osteocyte", "pyknotic osteocyte", "empty lacuna")

detect = Stage(
    "detect",
    reads=("picture",),
    task=Detection("cells"),
    method=Network(
        DetectorConfig(
            "resnet10",
            width=4,
            norm="batch",
            pyramid_features=8,
            anchor_sizes=(12, 24, 48, 96, 192),
            anchor_samples=16,
            proposals=12,
            box_samples=16,
            box_features=8,
            max_detections=16,
        ),
        Preprocess(window_level=127.5, window_width=255.0),
        Recipe(
            epochs=1,
            warmup_epochs=0,
            batch_size=4,
            augmentation=Augmentation(rotation=0, flip=0.5, quarter_turns=True),
        ),
    ),
)

COUNT = Counts(("empty lacuna",), score=0.05)

experiment = Experiment(
    "tiny_lacunae",
    Cohort(
        "tiny_lacunae",
        (
            Image("picture", PictureRegion(size=64)),
            Boxes("cells", "picture", CLASSES),
            Number("empty_share", "%", 0, 100, per_unit=True),
        ),
        ("image", "section", "animal"),
        "SM",
        keep=("site", "sex"),
    ),
    (
        detect,
        Stage(
            "count", ("detect.boxes",), Measurement("empty_share"), Counts(("empty lacuna",), 0.05)
        ),
    ),
    split=Split(folds=3),
    phantom=HistologyPhantom(patients=6, seed=3, tiles=2, matrix=128, pixel_um=1.0, workers=1),
)
