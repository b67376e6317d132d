"""Osteocytes and empty lacunae on histology, found and counted.

Lui E, Maruyama M, Guzman RA et al., J Orthop Res 2022;40(8):1801-1809: 135 pictures of decalcified
bone in haematoxylin and eosin; Faster R-CNN finds osteocytes, pyknotic osteocytes and empty
lacunae; the share of empty ones correlates with that of people by an adjusted 0.98. Backbone,
anchors, size of pictures and magnification are not stated, so they are our choice and say so in
`choices`.

    msk-jax demo empty_lacunae          # phantom pictures to report: one split, tiles of 256 pixels
"""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Boxes, Image, Number
from msk_jax.data.regions.picture import PictureRegion
from msk_jax.experiment import Experiment, Judging, Paper, Published, Split, Stage
from msk_jax.methods.network import Network
from msk_jax.methods.procedures import Counts
from msk_jax.models import DetectorConfig
from msk_jax.phantoms import HistologyPhantom
from msk_jax.tasks.settings import Detection, Measurement
from msk_jax.training.recipe import Recipe

EMPTY, PYKNOTIC = "empty lacuna", "pyknotic osteocyte"
_NOTE = "called adjusted, and not said how: r and adjusted R squared are given both"

detect = Network(
    DetectorConfig("resnet50", anchor_sizes=(8, 16, 32, 64, 128)),  # published: Faster R-CNN
    Preprocess(window_level=127.5, window_width=255.0),
    Recipe(
        epochs=24,
        batch_size=4,
        optimiser="sgd",
        learning_rate=0.005,
        warmup_epochs=1,
        monitor="ap50",
        patience=24,
        augmentation=Augmentation(
            rotation=0.0, scaling=0.1, translation=0.05, erasing=0.0, flip=0.5, quarter_turns=True
        ),
    ),
)

experiment = Experiment(
    name="empty_lacunae",
    paper=Paper(
        title="Faster R-CNN: empty lacunae in osteonecrosis",
        source="Lui E et al., J Orthop Res 2022;40(8):1801-1809",
        published=(Published("pearson_r", 0.98, "not stated", _NOTE, "count"),),
        task="osteocytes, pyknotic osteocytes and empty lacunae, and their share",
        modality="SM",
        input="tiles of bone in haematoxylin and eosin",
    ),
    cohort=Cohort(
        name="empty_lacunae",
        modality="SM",
        levels=("image", "section", "animal"),
        keep=("site", "sex"),
        fields=(
            Image("tile", PictureRegion(size=1024)),
            Boxes("cells", "tile", ("osteocyte", PYKNOTIC, EMPTY)),  # published
            Number("empty_share", "%", 0, 100, per_unit=True),
        ),
    ),
    stages=(
        Stage("detect", ("tile",), Detection("cells", overlap=0.5), detect),
        Stage("count", ("detect.boxes",), Measurement("empty_share"), Counts((EMPTY,), score=0.5)),
        Stage(  # ours: pyknotic cells counted as dead too
            "dead", ("detect.boxes",), Measurement("empty_share"), Counts((EMPTY, PYKNOTIC), 0.5)
        ),
    ),
    split=Split(folds=5),
    judging=Judging(),
    phantom=HistologyPhantom(patients=27, tiles=5),  # published: 135 pictures
    small={
        "detect.model": DetectorConfig(
            "resnet10",
            width=16,
            norm="batch",
            pyramid_features=48,
            anchor_sizes=(8, 14, 20, 28, 40, 56, 80, 112, 160, 224),
            anchor_ratios=(0.6, 1.0, 1.67),
            anchor_samples=128,
            proposals=100,
            box_samples=64,
            box_positives=0.5,
            box_features=128,
            max_detections=64,
        ),
        "detect.preprocess": Preprocess(window_level=127.5, window_width=255.0, mean=0.6, std=0.2),
        "detect.recipe": Recipe(
            epochs=18,
            batch_size=4,
            learning_rate=3e-3,
            warmup_epochs=2,
            gradient_clip=5.0,
            monitor="none",
            augmentation=Augmentation(
                moved=0.5,
                rotation=0.0,
                scaling=0.1,
                translation=0.05,
                gamma=(0.9, 1.1),
                contrast=0.1,
                brightness=0.03,
                noise=0.01,
                erasing=0.0,
                flip=0.5,
                quarter_turns=True,
            ),
        ),
        "cohort.tile.region.size": 256,
        "split.trained": 1,
        "phantom": HistologyPhantom(patients=24, tiles=4, matrix=256, pixel_um=1.0),
    },
)
