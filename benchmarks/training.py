"""Training from stored pictures to updated weights, beside PyTorch and MONAI, in one run.

    msk-jax phantom thoracolumbar --patients 30 --out work/p
    msk-jax build thoracolumbar --dicom work/p/dicom --manifest work/p/manifest.csv \\
        --data-dir work/shards --num-folds 3
    python -m benchmarks.training thoracolumbar --data-dir work/shards

Ours is what `msk-jax train` runs: TFRecord shards, augmentation inside the compiled step. Theirs is
a plain script: the same stacks as one NumPy file each, MONAI transforms of the same kinds in a
DataLoader, the same network with as many parameters, the same optimiser, channels-last, autocast
and torch.compile where asked. The sides take turns of some steps each; the first two of a turn are
not counted, as the other side's turn let its loader run ahead. Printed are the medians over turns
of the seconds of a step, half the distance between the quartiles, and the ratio PyTorch / ours:
above 1 ours is faster.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

# Both frameworks share one accelerator; by default JAX would take most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import monai.data
import numpy as np
import torch
import tyro
from monai import transforms
from monai.data import DataLoader, Dataset

from msk_jax import experiment
from msk_jax.data.feed.augment import Augmentation
from msk_jax.dotted import changed
from msk_jax.experiment import Experiment, Stage
from msk_jax.models import MS25DNetConfig
from msk_jax.parity.references import locate
from msk_jax.study.training import make_trainer, members, open_cohort, open_folds
from msk_jax.training import parallel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Plain tensors: nothing here asks where a picture lay in the patient.
monai.data.set_track_meta(False)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is timed."""

    experiment: tyro.conf.Positional[Literal["sacroiliitis", "thoracolumbar"]]
    """Its full network is trained: MS-2.5D-Net on 128 pixels, or a ResNet-50 on 224."""
    data_dir: Path
    """Shards of it."""
    batch_size: int = 8
    """Stacks per step."""
    steps: int = 4
    """Counted steps of a turn."""
    turns: int = 4
    """Turns of each side."""
    bf16: bool = False
    """bfloat16 products; autocast in PyTorch."""
    compile: bool = False
    """Run theirs through torch.compile."""
    workers: int = 2
    """Processes of their DataLoader."""


def ours(found: Experiment, stage: Stage, settings: Benchmark) -> Callable[[], None]:
    """A step of `msk-jax train`."""
    data = open_cohort(found, stage, settings.data_dir)
    folds, _ = open_folds(data, settings.data_dir)
    trainer = make_trainer(data, folds, stage)
    train = members(folds, 0, "train")
    batches = data.training_batches(train, settings.batch_size, trainer.steps_per_epoch, (0,), 0)
    state = [trainer.initial_state(0)]

    def step() -> None:
        batch = next(batches)
        batch.pop("unit_id")
        batch["weight"] = np.ones(len(batch["label"]), np.float32)
        batch = parallel.split_over_devices(batch, jax.local_device_count())
        state[0], metrics = trainer.parts[-1].step(state[0], batch)
        float(metrics["loss"])

    return step


def theirs(found: Experiment, stage: Stage, settings: Benchmark, folder: Path) -> Callable:
    """A step of the PyTorch script on the same stacks."""
    model = network(stage).to(DEVICE).to(memory_format=torch.channels_last).train()
    called = torch.compile(model) if settings.compile else model
    optimiser = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[stage.method.recipe.optimiser](
        model.parameters(), lr=stage.method.recipe.learning_rate
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=stage.method.recipe.label_smoothing)
    batches = endless(loader(write_stacks(found, stage, settings, folder), stage, settings))

    def step() -> None:
        batch = next(batches)
        volume = batch["volume"].to(DEVICE, memory_format=torch.channels_last)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=settings.bf16):
            logits = called(volume)
        loss = loss_of(logits.float(), batch["label"].to(DEVICE))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if stage.method.recipe.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), stage.method.recipe.gradient_clip)
        optimiser.step()
        float(loss)

    return step


def write_stacks(found: Experiment, stage: Stage, settings: Benchmark, folder: Path) -> list[dict]:
    """The training stacks as one file each, channels first."""
    data = open_cohort(found, stage, settings.data_dir)
    folds, _ = open_folds(data, settings.data_dir)
    entries = []
    stacks = data.stacks(members(folds, 0, "train"))
    for k, label in enumerate(stacks.label):
        path = folder / f"{k}.npy"
        np.save(path, np.moveaxis(stacks.volumes([k])[0], -1, 0))
        entries.append({"volume": str(path), "label": int(label)})
    return entries


def loader(entries: list[dict], stage: Stage, settings: Benchmark) -> DataLoader:
    """Window, augmentation and normalisation as MONAI has them."""
    side = np.load(entries[0]["volume"], mmap_mode="r").shape[-1]
    data = Dataset(entries, augmentation(stage, side))
    return DataLoader(
        data,
        batch_size=settings.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=DEVICE == "cuda",
    )


def augmentation(stage: Stage, side: int) -> transforms.Compose:
    """The same kinds and ranges of change as `Augmentation` makes, of pictures of `side` pixels."""
    window, change = stage.method.preprocess, stage.method.recipe.augmentation or Augmentation()
    low = window.window_level - window.window_width / 2
    key, always = "volume", 1.0
    return transforms.Compose(
        [
            transforms.Lambdad(key, np.load),
            transforms.EnsureTyped(key, dtype=torch.float32, track_meta=False),
            transforms.ScaleIntensityRanged(key, low, low + window.window_width, 0, 1, clip=True),
            transforms.RandAffined(
                key,
                prob=always,
                rotate_range=np.deg2rad(change.rotation),
                scale_range=(change.scaling,) * 2,
                translate_range=[change.translation * side] * 2,
                spatial_size=(side, side),
                cache_grid=True,
                mode="bilinear",
                padding_mode="border",
            ),
            transforms.RandAdjustContrastd(key, prob=always, gamma=change.gamma),
            transforms.RandScaleIntensityd(key, change.contrast, prob=always),
            transforms.RandShiftIntensityd(key, change.brightness, prob=always),
            transforms.RandGaussianNoised(key, prob=always, std=change.noise),
            transforms.RandCoarseDropoutd(
                key, holes=1, spatial_size=(side // 5,) * 2, fill_value=0.5, prob=change.erasing
            ),
            transforms.NormalizeIntensityd(key, window.mean, window.std),
        ]
    )


def endless(batches: DataLoader) -> Iterator[dict]:
    """Epoch after epoch."""
    while True:
        yield from batches


def network(stage: Stage) -> torch.nn.Module:
    """The experiment's network in PyTorch."""
    if isinstance(stage.method.model, MS25DNetConfig):
        return MS25DNet(stage.method.model)
    model = locate("torchvision.models.resnet50")()
    model.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    config = stage.method.model
    model.fc = torch.nn.Sequential(
        torch.nn.Dropout(config.dropout),
        torch.nn.Linear(2048, config.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(config.hidden, config.num_classes),
    )
    return model


class MS25DNet(torch.nn.Module):
    """`msk_jax.models.systems.ms25dnet` with a ResNet-34 at output stride 8."""

    def __init__(self, config: MS25DNetConfig):
        super().__init__()
        if (config.backbone, config.output_stride) != ("resnet34", 8):
            raise ValueError("only the full network is written here")
        self.encoder = locate("torchvision.models.resnet34")()
        self.encoder.fc = torch.nn.Identity()
        self.encoder.conv1 = torch.nn.Conv2d(config.num_slices, 64, 7, 2, 3, bias=False)
        for name, rate in (("layer3", 2), ("layer4", 4)):
            dilate(getattr(self.encoder, name), rate)
        wide = config.pyramid_features
        self.aspp = locate("torchvision.models.segmentation.deeplabv3.ASPP")(
            512, config.aspp_rates, wide
        )
        self.inner = torch.nn.ModuleList(torch.nn.Conv2d(n, wide, 1) for n in (64, 128, 256, wide))
        self.refine = torch.nn.ModuleList(refinement(wide) for _ in range(4))
        self.head = torch.nn.Sequential(
            torch.nn.Dropout(config.dropout), torch.nn.Linear(4 * wide, config.num_classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = self.encoder
        x = e.maxpool(e.relu(e.bn1(e.conv1(x))))
        maps = []
        for layer in (e.layer1, e.layer2, e.layer3, e.layer4):
            x = layer(x)
            maps.append(x)
        maps[3] = self.aspp(maps[3])
        merged: list[torch.Tensor] = []
        for lateral, each in zip(reversed(self.inner), reversed(maps), strict=True):
            p = lateral(each)
            if merged:
                p = p + torch.nn.functional.interpolate(merged[0], p.shape[2:])
            merged.insert(0, p)
        levels = [torch.relu(p + f(p)) for p, f in zip(merged, self.refine, strict=True)]
        return self.head(torch.cat([level.mean((2, 3)) for level in levels], 1))


def dilate(layer: torch.nn.Module, rate: int) -> None:
    """Dilation in place of the stride."""
    for module in layer.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (rate, rate)


def refinement(wide: int) -> torch.nn.Module:
    """The residual branch of a level of the pyramid."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(wide, wide, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(wide),
        torch.nn.ReLU(),
        torch.nn.Conv2d(wide, wide, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(wide),
    )


def check_equal_size(stage: Stage, image_shape: tuple[int, int, int]) -> int:
    """The number of parameters, the same on both sides."""
    init = jax.eval_shape(
        stage.method.module().init, jax.random.key(0), np.zeros((1, *image_shape))
    )
    here = sum(leaf.size for leaf in jax.tree.leaves(init["params"]))
    there = sum(p.numel() for p in network(stage).parameters())
    if here != there:
        raise SystemExit(f"Not the same network: {here:,} parameters here, {there:,} there.")
    return here


def main(settings: Benchmark) -> None:
    """Run and print."""
    found = experiment.load(settings.experiment)
    recipe = dataclasses.replace(
        found.stages[0].method.recipe, batch_size=settings.batch_size, bf16=settings.bf16
    )
    stage = changed(found.stages[0], {"recipe": recipe, "before": ()})
    shape = open_cohort(found, stage, settings.data_dir).image_shape
    count = check_equal_size(stage, shape)

    def turn(step: Callable[[], None]) -> Callable[[], float]:
        def run() -> float:
            step(), step()
            start = time.perf_counter()
            for _ in range(settings.steps):
                step()
            return (time.perf_counter() - start) / settings.steps

        return run

    with tempfile.TemporaryDirectory() as folder:
        sides = (
            turn(ours(found, stage, settings)),
            turn(theirs(found, stage, settings, Path(folder))),
        )
        times = np.array([[side() for side in sides] for _ in range(settings.turns + 1)])[1:]
    middle = np.median(times, axis=0)
    spread = np.subtract(*np.percentile(times, [75, 25], axis=0)) / 2
    print(
        f"{settings.experiment}: {count:,} parameters, input {shape}, batch {settings.batch_size}, "
        f"{'bfloat16' if settings.bf16 else 'float32'}, {jax.devices()[0].device_kind}, "
        f"{os.cpu_count()} cores, jax {jax.__version__}, torch {torch.__version__} "
        f"({'compiled' if settings.compile else 'eager'})\n"
        f"ours {middle[0]:.3f} ± {spread[0]:.3f} s a step, PyTorch {middle[1]:.3f} ± "
        f"{spread[1]:.3f}, ratio {middle[1] / middle[0]:.2f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark, description=__doc__))
