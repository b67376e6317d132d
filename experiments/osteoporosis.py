"""Osteoporosis on chest radiographs of three centres: network, clinical and combined model.

Li Z, Hao Y, Hu D, Zeng L, Zhao Y, Long W, Zhang W. Chinese Journal of Medical Imaging Technology
2026;42(3):403-407. What is public is the abstract: 4,542 patients of three hospitals (1,700 with
osteoporosis), a hybrid of ResNet-18 and Transformer over a 6 x 6 grid of image blocks, a clinical
model and one of both, and their AUC in three sets. Everything else below is our choice and says so
in `choices`.

    msk-jax demo osteoporosis          # phantom patients to report
"""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Classes, Image, MeasuredLabel, Number
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.experiment import Experiment, Judging, Paper, Published, Signs, Split, Stage
from msk_jax.methods.estimator import Estimator, Impute, Logistic, LogOdds, Standardise
from msk_jax.methods.network import Network
from msk_jax.models import GridNetConfig
from msk_jax.phantoms import ChestPhantom
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Recipe

_NOTE = (
    "The abstract gives areas under the curve in an internal test set and those of two other "
    "hospitals, without intervals or counts; its clinical variables are not named."
)
_SETS = ("held-out", "external_B", "external_C")  # internal test, external test 1 and 2
_AREAS = {  # published
    "image": (0.917, 0.897, 0.921),
    "clinical": (0.839, 0.759, 0.532),
    "combined": (0.919, 0.896, 0.919),
}
_CLINICAL = ("age", "sex", "height", "weight", "bmi")  # ours: the paper's are not named

network = Network(
    model=GridNetConfig(backbone="resnet18", grid=6),  # published: ResNet-18, 6 x 6
    preprocess=Preprocess(window_level=2000.0, window_width=4400.0),
    recipe=Recipe(
        epochs=60,
        batch_size=32,
        learning_rate=3e-4,
        class_weights=False,
        monitor="auc",
        patience=12,
        augmentation=Augmentation(
            rotation=7.0, scaling=0.1, translation=0.04, gamma=(0.7, 1.4), contrast=0.15
        ),
    ),
)

_IMAGE = "image.probability"
combined = Estimator(
    (
        LogOdds((_IMAGE,)),
        Impute(),
        Standardise(leave=(_IMAGE,)),
        Logistic(strength=0.001, unshrunk=(_IMAGE,)),
    )
)

experiment = Experiment(
    name="osteoporosis",
    paper=Paper(
        title="ResNet-18 and Transformer: osteoporosis on chest radiographs",
        source="Li Z et al., Chin J Med Imaging Technol 2026;42(3):403-407",
        published=tuple(
            Published("auc", area, "patient", _NOTE, model, name)
            for model, areas in _AREAS.items()
            for name, area in zip(_SETS, areas, strict=True)
        ),
        task="osteoporosis or not",
        modality="CR, DX",
        input="whole frontal chest radiographs in a 6 x 6 grid",
    ),
    cohort=Cohort(
        name="osteoporosis",
        modality="CR/DX",
        levels=("image", "radiograph", "patient"),
        fields=(
            Image("radiograph", RadiographRegion(size=384)),
            Classes(
                "label",
                ("non-osteoporosis", "osteoporosis"),  # published
                measured=MeasuredLabel("t_score", cuts=(-2.5,), low=-10, high=10),  # WHO 1994
            ),
            Number("height", "cm", 80, 230),
            Number("weight", "kg", 20, 300),
            Number("bmi", "kg/m2", 8, 90),
        ),
    ),
    stages=(
        Stage("image", ("radiograph",), Classification("label"), network),
        Stage(
            "clinical",
            _CLINICAL,
            Classification("label"),
            Estimator((Impute(), Standardise(), Logistic())),
        ),
        Stage("combined", (*_CLINICAL, _IMAGE), Classification("label"), combined),
    ),
    # Published: one hospital trains, two others test.
    split=Split(folds=5, held_out=0.2, training_site="A"),
    judging=Judging(
        evaluation=EvaluationSettings(unit_pool="mean", patient_pool="mean"),
        signs=Signs("bone"),
    ),
    phantom=ChestPhantom(patients=4542),  # published: 4,542 patients
    small={
        "image.model.backbone": "resnet10",
        "image.model.width": 16,
        "image.model.stages": 2,
        "image.model.reading": "whole",
        "image.model.token_norm": True,
        "image.model.depth": 1,
        "image.model.num_heads": 4,
        "image.model.summary": "mean",
        "image.preprocess.shrink": 2,
        "image.preprocess.local": 10.0,
        "image.recipe.epochs": 24,
        "image.recipe.batch_size": 16,
        "image.recipe.learning_rate": 3e-3,
        "image.recipe.warmup_epochs": 2,
        "image.recipe.weight_decay": 0.05,
        "image.recipe.average_decay": 0.95,
        "image.recipe.monitor": "none",
        "image.recipe.augmentation": Augmentation(
            moved=0.5,
            rotation=5.0,
            scaling=0.05,
            translation=0.03,
            gamma=(1.0, 1.0),
            contrast=0.0,
            brightness=0.0,
            noise=0.0,
            erasing=0.0,
            flip=0.5,
        ),
        "phantom.patients": 900,
    },
    choices={
        "backbone": "ResNet-18 as published (full); ResNet-10 (small)",
        "width": "64 is the standard ResNet; a quarter of it (small)",
        "stages": "4, a whole ResNet (full); 2 (small): cells of 4 x 4 pixels of simple features, "
        "which a few hundred patients are enough for",
        "reading": "every patch by itself, which `image blocks` favours (full); one pass over the "
        "whole (small), which learned in fewer epochs",
        "token_norm": "none (full); batch norm (small), with which it learned in fewer epochs",
        "summary": "the class token, as in most Transformers (full); the mean of all cells "
        "(small), for one layer gives the class token little but a mean",
        "depth": "4 layers (full); 1 (small)",
        "num_heads": "8, of 64 features each (full); 4 (small)",
        "mlp_ratio": "4, as in most Transformers",
        "dropout": "0.1, as in most Transformers",
        "num_slices": "1: a radiograph is one picture",
        "window_level": "the middle of the picture's own range, 0 to 4000",
        "window_width": "a tenth more than the range that holds 99 % of the pixels",
        "mean": "the grey mean of ImageNet, whose weights start the trunk where they are given",
        "std": "the grey standard deviation of ImageNet, for the same reason",
        "crop": "none: the whole radiograph",
        "shrink": "1 (full); 2 by 2 pixels become one (small): cells of 32 pixels",
        "local": "none, so that ImageNet weights see what they know (full); 10 pixels of 2 mm "
        "(small): so linear models of filter responses did better on other patients too",
        "epochs": "60, for patience ends training sooner (full); 24 (small)",
        "batch_size": "32 (full), 16 (small)",
        "optimiser": "AdamW, usual for Transformers",
        "learning_rate": "3e-4 (full); 3e-3 (small), for a narrow network",
        "rates": "one for all",
        "schedule": "a cosine, which has no further setting to choose",
        "final_learning_rate": "1e-6: the cosine ends at next to nothing",
        "warmup_epochs": "5, as Transformers want (full); 2 of fewer epochs (small)",
        "weight_decay": "1e-4, light, of kernels alone (full); 0.05 (small), as the rate is high",
        "gradient_clip": "a norm of 1, so that one odd batch cannot undo an epoch",
        "average_decay": "none, the best epoch is taken (full); 0.95 (small): the mean of some "
        "twenty steps instead of an epoch that few validation patients would pick",
        "sampling": "every radiograph once an epoch, ill and healthy as they come",
        "mixup": "none: half of two skeletons is none that a detector shows",
        "class_weights": "none: 37 % is not rare, and a decision curve wants probabilities, which "
        "weights move",
        "label_smoothing": "none: the label is a measurement",
        "monitor": "the AUC of the validation fold picks the epoch (full); none does (small)",
        "patience": "12 epochs without a better one end training",
        "bf16": "off: all in float32, the same on every machine",
        "init_from": "nothing: ImageNet weights are given with --init-from",
        "augmentation": "what positioning and detectors change: turned a little, scaled, shifted, "
        "gamma, contrast, brightness, noise, a rectangle erased; no flips, as the heart is left "
        "(full); half of them turned by up to 5 degrees, scaled and shifted, the others as sharp "
        "as those of a test, for the signs are fine; half mirrored, for bones are alike on both "
        "sides; nothing that the surroundings cancel (small)",
        "folds": "cross-validation by patient in the training centre, so that the combined "
        "model is fitted on probabilities of networks that never saw the patient",
        "held_out": "20 % of the training centre's patients are the internal test set",
        "strength": "1 (clinical), as in scikit-learn; 0.001 (combined): what age and build say "
        "differs between hospitals, so they get small weights beside the network's",
        "criterion": "the published accuracy and F1 have a threshold that is not given",
        "target_sensitivity": "not used",
        "unit_pool": "a patient has one radiograph: nothing is pooled",
        "patient_pool": "a patient has one radiograph: nothing is pooled",
        "confidence": "95 %, as usual",
        "bootstrap_samples": "2000 draws of patients, as usual",
    },
)
