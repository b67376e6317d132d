"""Sacroiliitis on pelvic CT with MS-2.5D-Net.

Zhang L. Medical Research and Practice 2025;3(10), DOI 10.61369/MRP.2025100011. What is public is
the abstract: 29 cases, five neighbouring slices of the middle and lower joint, a first convolution
that takes them, ASPP in the encoder, a residual feature pyramid, sensitivity 91.3 %, specificity
95.2 %. Everything else below is our choice and says so in `choices`.

    msk-jax demo sacroiliitis          # phantom patients to report, some minutes on two cores
"""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import Classes, Image
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.experiment import Experiment, Judging, Paper, Published, Signs, Split, Stage
from msk_jax.methods.network import Network
from msk_jax.models import MS25DNetConfig
from msk_jax.phantoms import SacroiliacPhantom
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Recipe

_NOTE = (
    "No count over 29 patients or 58 joints gives both printed figures; 29 x 5 = 145 slices do "
    "(94 of 103, 40 of 42), so they are most likely per slice."
)

network = Network(
    model=MS25DNetConfig(
        num_slices=5,  # published
        aspp=True,  # published
        rfpn=True,  # published
        backbone="resnet34",
        width=64,
        output_stride=8,
        aspp_rates=(1, 2, 4, 6),
        pyramid_features=256,
        dropout=0.5,
    ),
    preprocess=Preprocess(window_level=400.0, window_width=1500.0),
    recipe=Recipe(
        epochs=100,
        batch_size=16,
        learning_rate=1e-3,
        rates=(("encoder/.*", 0.1), (".*", 1.0)),
        warmup_epochs=5,
        monitor="auc",
        patience=15,
        augmentation=Augmentation(rotation=15.0, scaling=0.1, translation=0.1),
    ),
)

experiment = Experiment(
    name="sacroiliitis",
    paper=Paper(
        title="MS-2.5D-Net: sacroiliitis on pelvic CT",
        source="Zhang L, Medical Research and Practice 2025;3(10), 10.61369/MRP.2025100011",
        published=(
            Published("sensitivity", 0.913, "not stated", _NOTE),
            Published("specificity", 0.952, "not stated", _NOTE),
        ),
        task="sacroiliitis or normal",
        modality="CT",
        input="stacks of 5 axial slices, one crop per joint",
    ),
    cohort=Cohort(
        name="sacroiliitis",
        modality="CT",
        levels=("slice", "joint", "patient"),
        fields=(
            Image(
                "pelvis",
                SacroiliacRegion(pixel_mm=0.75, slice_mm=2.5, size=128, z_range=(0.35, 0.75)),
            ),
            Classes("label", ("normal", "sacroiliitis")),
        ),
    ),
    stages=(Stage("classify", ("pelvis",), Classification("label"), network),),
    split=Split(folds=5),
    judging=Judging(
        evaluation=EvaluationSettings(criterion="youden", unit_pool="mean", patient_pool="max"),
        signs=Signs("lesions", (1, 2, 3, 4)),
    ),
    phantom=SacroiliacPhantom(patients=29),  # published: 29 cases
    small={
        "classify.model.backbone": "resnet18",
        "classify.model.width": 16,
        "classify.model.output_stride": 16,
        "classify.model.aspp_rates": (1, 2),
        "classify.model.pyramid_features": 24,
        "classify.model.dropout": 0.2,
        "classify.preprocess.crop": 96,
        "classify.recipe.epochs": 14,
        "classify.recipe.rates": ((".*", 1.0),),
        "classify.recipe.warmup_epochs": 1,
        "classify.recipe.average_decay": 0.98,
        "classify.recipe.monitor": "none",
        "classify.recipe.augmentation": Augmentation(
            rotation=15.0, scaling=0.1, translation=0.08, gamma=(0.7, 1.4), noise=0.04
        ),
    },
    choices={
        "size": "one crop of 128 pixels per joint, the left mirrored onto the right, so that both "
        "joints teach one network",
        "pixel_mm": "0.75 mm, about what pelvic CT is reconstructed at: 96 mm hold a joint",
        "z_range": "35 to 75 % of the joint from its top: the cartilaginous middle and lower part "
        "that the paper names",
        "slice_mm": "slices resampled to 2.5 mm, a usual reconstruction for pelvic CT",
        "window_level": "bone window",
        "window_width": "bone window",
        "mean": "the grey mean of ImageNet, so that weights from there may start the encoder",
        "std": "the grey standard deviation of ImageNet, for the same reason",
        "shrink": "1: every pixel is looked at",
        "crop": "none (full); the central 96 of 128 pixels (small): little more than half the work",
        "backbone": "ResNet-34 (full) or ResNet-18 (small); not named in the paper",
        "width": "64 is the standard ResNet; a quarter of it for 29 patients on a laptop (small)",
        "output_stride": "8, so that a 128-pixel crop leaves a 16 x 16 map (small: 16)",
        "aspp_rates": "the largest that the last map can show, and smaller ones (small: 1 and 2)",
        "pyramid_features": "the wiring of the residual pyramid is not published: two 3x3 "
        "convolutions with a shortcut per level, mean of every level, concatenated; 256 channels "
        "as in the first FPN (small: 24)",
        "dropout": "half of the features, as 29 patients are soon known by heart; 0.2 for the "
        "narrow network (small), which has less to spare",
        "epochs": "100 at most, for patience ends training sooner (small: 14, what two cores do in "
        "a minute or so per fold)",
        "batch_size": "16 stacks, drawn from all training patients; fits one accelerator",
        "optimiser": "AdamW; nothing of the training is published",
        "learning_rate": "1e-3, for what starts at random",
        "rates": "a tenth for the encoder, whose weights may be pretrained (full); one rate for "
        "all (small)",
        "schedule": "a cosine, which has no further setting to choose",
        "final_learning_rate": "1e-6: the cosine ends at next to nothing",
        "warmup_epochs": "5 of 100 epochs (small: 1 of 14), while AdamW's averages fill",
        "weight_decay": "1e-4, light, of kernels alone",
        "gradient_clip": "a norm of 1, so that one odd batch cannot undo an epoch",
        "average_decay": "none, the best epoch is taken (full); 0.98 (small): the mean of some "
        "fifty steps instead of an epoch that six validation patients would pick",
        "sampling": "every stack once an epoch: the loss is weighed instead",
        "mixup": "none: a lesion mixed with another joint is no lesion that a scanner shows",
        "class_weights": "slices with a lesion are not half of all",
        "label_smoothing": "none: labels are taken as they are",
        "monitor": "the AUC of the validation fold picks the epoch (full); none does (small), as "
        "six validation patients cannot",
        "patience": "15 epochs without a better one end training; nothing to wait for where "
        "monitor is none",
        "bf16": "off: all in float32, the same on every machine",
        "init_from": "nothing: a random start needs no download and no foreign licence; weights "
        "of a torchvision ResNet may be given",
        "augmentation": "what positioning and scanners change: turned, scaled, shifted, gamma, "
        "contrast, brightness, noise, a rectangle erased; one draw for all slices of a stack. No "
        "flips, as the joints are mirrored to one side already. Small: less shift, as the crop is "
        "tighter, and more gamma and noise, as fewer patients are seen",
        "folds": "cross-validation by patient: the paper's split is not stated",
        "criterion": "Youden's index on validation folds, frozen for the test fold",
        "target_sensitivity": "counts only with the criterion `sensitivity`",
        "unit_pool": "a joint's probability is the mean of its slices'",
        "patient_pool": "a patient is positive where either joint is",
        "confidence": "95 %, as usual",
        "bootstrap_samples": "2000 draws of whole patients, as usual",
    },
)
