"""Thoracolumbar fractures on CT with a modified ResNet-50 and staged transfer learning.

Hao Y, Chen X, Mo Y, Wu L, Tong J. Chinese Journal of Intelligent Science and Technology
2024;6(3):319-328, DOI 10.11959/j.issn.2096-6652.202426. What is public is the abstract: 698 CT
images of one hospital (279 compression fractures, 295 burst fractures, 124 normal), a modified
ResNet-50 with transfer learning, an accuracy of 95.75 % in training and 96.36 % in validation.
Everything else below is our choice and says so in `choices`. The paper's folders A and B are not
the AO Spine types of these letters, so labels are words.

    msk-jax demo thoracolumbar          # phantom patients to report, some minutes on two cores
"""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Classes, Image
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.experiment import Experiment, Judging, Paper, Published, Signs, Split, Stage
from msk_jax.methods.network import Network
from msk_jax.models import TransferNetConfig
from msk_jax.phantoms import ThoracolumbarPhantom
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Phase, Recipe

_LETTERS = (
    "the letters A, B and C are folders of the published data, where A is compression, B burst and "
    "C normal; in AO Spine both fractures are type A, so write the word"
)
_NOTE = (
    "588 training and 110 validation images are the only split of 698 that gives both printed "
    "accuracies (563 of 588, 106 of 110); a test set and patients are not mentioned with them."
)

network = Network(
    model=TransferNetConfig(backbone="resnet50"),  # published
    preprocess=Preprocess(window_level=400.0, window_width=1800.0),
    # Published: transfer learning. First all but the last stage and the head is frozen ...
    before=(
        Phase(
            epochs=10,
            learning_rate=1e-3,
            rates=((r"encoder/(conv1|bn1|layer[123]\.\d+)/.*", 0.0), (".*", 1.0)),
        ),
    ),
    # ... then everything is trained, at a lower rate.
    recipe=Recipe(
        epochs=60,
        batch_size=32,
        optimiser="sgd",
        learning_rate=1e-4,
        warmup_epochs=1,
        monitor="auc",
        patience=15,
        label_smoothing=0.1,
        augmentation=Augmentation(rotation=15.0, scaling=0.1, translation=0.1),
    ),
)

experiment = Experiment(
    name="thoracolumbar",
    paper=Paper(
        title="Modified ResNet-50: thoracolumbar fractures on CT",
        source="Hao Y et al., Chin J Intell Sci Technol 2024;6(3):319-328, "
        "10.11959/j.issn.2096-6652.202426",
        published=(
            Published("train_accuracy", 0.9575, "image", _NOTE),
            Published("validation_accuracy", 0.9636, "image", _NOTE),
        ),
        task="normal, compression or burst fracture",
        modality="CT",
        input="single sagittal slices about a vertebra",
    ),
    cohort=Cohort(
        name="thoracolumbar",
        modality="CT",
        levels=("image", "vertebra", "patient"),
        fields=(
            Image("spine", VertebraRegion(plane="sagittal", pixel_mm=0.4, size=224)),
            Classes(
                "label",
                ("normal", "compression", "burst"),  # published
                refused={
                    **dict.fromkeys("ABC", _LETTERS),
                    **dict.fromkeys(
                        ("A0", "A1", "A2", "A3", "A4"),
                        "for AO Spine's types there is `thoracolumbar_ao`",
                    ),
                },
            ),
        ),
    ),
    stages=(Stage("classify", ("spine",), Classification("label"), network),),
    split=Split(folds=5, held_out=0.15),
    judging=Judging(
        evaluation=EvaluationSettings(unit_pool="mean", patient_pool="mean"),
        signs=Signs("the fracture", (1, 2, 3)),
    ),
    phantom=ThoracolumbarPhantom(patients=698),  # published: 698 images
    small={
        "classify.model.backbone": "resnet18",
        "classify.model.width": 16,
        "classify.model.hidden": 64,
        "classify.model.dropout": 0.2,
        "classify.preprocess.crop": 192,
        "classify.preprocess.shrink": 2,
        "classify.before.0.epochs": 2,
        "classify.recipe.epochs": 22,
        "classify.recipe.batch_size": 16,
        "classify.recipe.optimiser": "adamw",
        "classify.recipe.learning_rate": 2e-3,
        "classify.recipe.average_decay": 0.98,
        "classify.recipe.label_smoothing": 0.0,
        "classify.recipe.monitor": "none",
        "classify.recipe.augmentation": Augmentation(
            rotation=12.0, scaling=0.1, translation=0.06, gamma=(0.7, 1.4), noise=0.04
        ),
        "phantom.patients": 160,
    },
    choices={
        "plane": "sagittal: it shows the height that a compressed body has lost and the bone that "
        "a burst one has pushed into the canal; `axial` and `both` are there",
        "backbone": "ResNet-50 as published (full); ResNet-18 (small)",
        "num_slices": "1: the paper speaks of single images",
        "window_level": "bone window",
        "window_width": "bone window",
        "mean": "the grey mean of ImageNet, whose weights start the encoder where they are given",
        "std": "the grey standard deviation of ImageNet, for the same reason",
        "crop": "none (full); the central 192 of 224 pixels (small): the vertebra and half of its "
        "neighbours",
        "shrink": "1 (full); 2 by 2 pixels become one (small): a quarter of the work",
        "width": "64 is the standard ResNet; a quarter of it (small)",
        "hidden": "what was modified is not published: two layers of 256 and 3 features take the "
        "place of the one (small: 64)",
        "dropout": "half of the features; 0.2 for the narrow network (small)",
        "before": "stages and rates are not published: 10 epochs with all but the last stage and "
        "the head frozen, at 1e-3 (small: 2 epochs, at 1e-3; without pretrained weights they are "
        "of little use, but show the way)",
        "epochs": "60 after the frozen 10, for patience ends training sooner (small: 22)",
        "batch_size": "32 (full), 16 (small): images of all training patients",
        "optimiser": "SGD with momentum, which moves pretrained weights gently (full); AdamW, as "
        "the small network starts at random (small)",
        "learning_rate": "1e-4 for all layers, a tenth of the frozen phase's (full); 2e-3 (small), "
        "for a random start",
        "rates": "one for all in the last phase",
        "schedule": "a cosine, which has no further setting to choose",
        "final_learning_rate": "1e-6: the cosine ends at next to nothing",
        "warmup_epochs": "1, as the optimiser begins anew",
        "weight_decay": "1e-4, light, of kernels alone",
        "gradient_clip": "a norm of 1, so that one odd batch cannot undo an epoch",
        "average_decay": "none, the best epoch is taken (full); 0.98 (small): the mean of some "
        "fifty steps instead of an epoch that a dozen validation patients would pick",
        "sampling": "every image once an epoch: the loss is weighed instead",
        "mixup": "none: half a fracture is none that a scanner shows",
        "class_weights": "by inverse frequency: with the published counts 1.876 for normal, 0.834 "
        "for compression, 0.789 for burst",
        "label_smoothing": "0.1, usual for three and more classes (full); none (small)",
        "monitor": "the AUC of the validation fold picks the epoch (full); none does (small), as a "
        "dozen validation patients cannot",
        "patience": "15 epochs without a better one end training",
        "bf16": "off: all in float32, the same on every machine",
        "init_from": "nothing: ImageNet weights, which the paper used, are given with --init-from",
        "augmentation": "what positioning and scanners change: turned, scaled, shifted, gamma, "
        "contrast, brightness, noise, a rectangle erased; no flips, as up is not down. Small: less "
        "shift, as the crop is tighter, and more gamma and noise, as fewer patients are seen",
        "folds": "cross-validation by patient: the paper has one split of images",
        "held_out": "15 % of the patients are in no fold: a test that the paper does not report",
        "criterion": "not used: the class of the highest probability is called",
        "target_sensitivity": "not used either",
        "unit_pool": "a vertebra's probabilities are the means of its images'",
        "patient_pool": "a patient's are the means of the vertebrae that the manifest names",
        "confidence": "95 %, as usual",
        "bootstrap_samples": "2000 draws of whole patients, as usual",
    },
)
