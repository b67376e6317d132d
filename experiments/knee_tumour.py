"""Lytic osteosarcoma against giant cell tumour on knee radiographs, with sixteen readers.

Shao J, Lin H, Ding L et al. Insights into Imaging 2024;15, 10.1186/s13244-024-01610-1. Published
are 333 patients of four hospitals (136 with osteosarcoma), an EfficientNet-B6, a clinical model,
the training centre A with an internal test set, the external centres B, C and D, and sixteen
readers of three seniorities, alone and with the network's help. Everything else below is our choice
and says so in `choices`.

    msk-jax demo knee_tumour          # phantom patients to report
"""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Classes, Image, Word
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.evaluation.mrmc.settings import ReaderModel
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.experiment import Experiment, Judging, Paper, Published, Signs, Split, Stage
from msk_jax.methods.estimator import Estimator, Impute, Logistic, Standardise
from msk_jax.methods.network import Network
from msk_jax.models import ZooNetConfig
from msk_jax.phantoms import KneePhantom
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Recipe

_NOTE = (
    "The paper gives areas under the curve in the internal and in all external patients, without "
    "counts of each; 116 test patients follow from its five accuracies."
)
_SETS = ("held-out", "external")  # internal test, the three other hospitals together
_READERS_NOTE = (
    "McNemar's p of network and juniors is printed as under 0.001, with help 0.051; of network and "
    "middle 0.25, of network and senior 0.35."
)
_READERS = {  # published: accuracy of the network and of the majority of each group
    "network": 0.931,
    "junior unaided": 0.724,
    "junior aided": 0.914,
    "middle unaided": 0.888,
    "senior unaided": 0.871,
}
_AREAS = {"image": (0.97, 0.966), "clinical": (0.77, 0.637)}  # published

network = Network(
    model=ZooNetConfig("efficientnet_b6"),  # published
    preprocess=Preprocess(window_level=2000.0, window_width=4400.0),
    recipe=Recipe(
        epochs=60,
        batch_size=8,
        learning_rate=5e-5,
        monitor="auc",
        augmentation=Augmentation(rotation=20.0, flip=0.5),
    ),
)

clinical = Estimator(  # published: a logistic regression of age, sex and bone
    (Impute(), Standardise(leave=("bone",)), Logistic()), indicators="all"
)

experiment = Experiment(
    name="knee_tumour",
    paper=Paper(
        title="EfficientNet-B6: lytic osteosarcoma or giant cell tumour on knee radiographs",
        source="Shao J et al., Insights Imaging 2024;15, 10.1186/s13244-024-01610-1",
        published=tuple(
            Published("auc", area, "patient", _NOTE, model, name)
            for model, areas in _AREAS.items()
            for name, area in zip(_SETS, areas, strict=True)
        )
        + tuple(
            Published("accuracy", share, "patient", _READERS_NOTE, readers=who)
            for who, share in _READERS.items()
        ),
        task="lytic osteosarcoma or giant cell tumour",
        modality="CR, DX",
        input="whole knee radiographs, frontal and lateral",
    ),
    cohort=Cohort(
        name="knee_tumour",
        modality="CR/DX",
        levels=("image", "radiograph", "patient"),
        fields=(
            Image("radiograph", RadiographRegion(size=528, views=("AP", "LL"))),
            Classes("label", ("giant cell tumour", "osteosarcoma")),  # published
            Word("bone", words=("femur", "tibia", "fibula")),
        ),
    ),
    stages=(
        Stage("image", ("radiograph",), Classification("label"), network),
        Stage("clinical", ("age", "sex", "bone"), Classification("label"), clinical),
    ),
    # Published: one hospital trains, three others test.
    split=Split(folds=5, held_out=0.15, training_site="A", pool_sites=True),
    judging=Judging(
        evaluation=EvaluationSettings(unit_pool="mean", patient_pool="mean"),
        signs=Signs("the tumour", (1, 2, 3)),
        readers=ReaderModel(),
    ),
    phantom=KneePhantom(patients=333),  # published: 333 patients
    small={
        "image.model.network": "resnet18",
        "image.model.settings": (("width", 16),),
        "image.preprocess.crop": 396,
        "image.preprocess.shrink": 3,
        "image.recipe.epochs": 40,
        "image.recipe.batch_size": 16,
        "image.recipe.learning_rate": 2e-3,
        "image.recipe.average_decay": 0.98,
        "image.recipe.monitor": "none",
        "image.recipe.augmentation": Augmentation(
            rotation=10.0, translation=0.05, erasing=0.0, flip=0.5
        ),
    },
    choices={
        "network": "EfficientNet-B6 as published (full); ResNet-18 (small), for on two cores half "
        "an EfficientNet-B0 takes several times as long",
        "settings": "those of the registry, as dropout 0.5 (full); a quarter of the width (small)",
        "explained": "the last stage, as Grad-CAM is meant",
        "size": "528, for which EfficientNet-B6 was made",
        "views": "a frontal and a lateral radiograph of each patient",
        "num_slices": "1: a radiograph is one picture",
        "window_level": "the middle of the picture's own range, 0 to 4000",
        "window_width": "a tenth more than the range that holds 99 % of the pixels",
        "mean": "the grey mean of ImageNet, whose weights start the network where they are given",
        "std": "the grey standard deviation of ImageNet, for the same reason",
        "crop": "none, so that nobody has to mark the lesion (full); the middle three quarters of "
        "each side (small), for on whole pictures it learned far more slowly",
        "shrink": "1 (full); 3 by 3 pixels become one (small)",
        "epochs": "60, as patience ends training sooner (full); 40 (small)",
        "batch_size": "8, what 528 x 528 pixels leave room for (full); 16 (small)",
        "optimiser": "AdamW, as usual",
        "learning_rate": "5e-5, gentle with learned weights (full); 2e-3 (small), from nothing",
        "rates": "one for all",
        "schedule": "a cosine, which has no further setting to choose",
        "final_learning_rate": "1e-6: the cosine ends at next to nothing",
        "warmup_epochs": "5, so that a new head does not undo the rest",
        "weight_decay": "1e-4, light, of kernels alone",
        "gradient_clip": "a norm of 1, so that one odd batch cannot undo an epoch",
        "average_decay": "none, the best epoch is taken (full); 0.98 (small): the mean of some "
        "fifty steps instead of an epoch that few validation patients would pick",
        "sampling": "every radiograph once an epoch: the loss is weighed instead",
        "mixup": "none: half of two tumours is no tumour",
        "class_weights": "by inverse frequency: 41 % have an osteosarcoma",
        "label_smoothing": "none: two classes, proven by histology",
        "monitor": "the AUC of the validation fold picks the epoch (full); none does (small)",
        "patience": "15 epochs without a better one end training",
        "bf16": "off: all in float32, the same on every machine",
        "init_from": "nothing: ImageNet weights are given with --init-from",
        "augmentation": "what positioning and detectors change: turned by up to 20 degrees, "
        "mirrored, for a left knee is a right one, scaled, shifted, gamma, contrast, brightness, "
        "noise, a rectangle erased (full); turned and shifted half as much, none erased (small)",
        "folds": "cross-validation by patient in the training hospital: its size is no "
        "reason to trust a single split",
        "held_out": "15 % of the training hospital's patients are the internal test set",
        "criterion": "the published accuracy has a threshold that is not given",
        "target_sensitivity": "not used",
        "unit_pool": "a radiograph is one picture: nothing is pooled",
        "patient_pool": "the mean of the views: neither is known to say more",
        "confidence": "95 %, as usual",
        "bootstrap_samples": "2000 draws of patients, as usual",
    },
)
