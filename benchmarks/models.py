"""Speed of our networks beside their PyTorch references, in one run on one machine.

    python -m benchmarks.models                     # one network of every family
    python -m benchmarks.models --models resnet50 densenet121 unet_3d

The two sides take turns, so that what else the machine does falls on both; printed are the median
time of each, its spread (half the distance between the quartiles) and the ratio PyTorch / ours:
above 1 ours is faster. Same weights, batch, precision and outputs; PyTorch with channels-last
memory, and where asked with `torch.compile` (a network that it cannot take runs eager, and the row
says so).
"""

import dataclasses
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

# Both frameworks share one accelerator; by default JAX would take most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import torch
import tyro

from msk_jax.errors import UserError
from msk_jax.models.registry import architecture
from msk_jax.parity.compare import Pair, make_pair
from msk_jax.parity.references import outputs_of


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is timed."""

    models: tuple[str, ...] = (
        "resnet50",
        "densenet121",
        "unet_3d",
        "vgg16",
        "inception_v3",
        "inception_resnet_v2",
        "efficientnet_b0",
        "vit_small_patch16",
        "swin_t",
        "deeplabv3_resnet50",
        "unet",
        "attention_unet",
        "dynunet",
        "pix2pix_generator",
        "pix2pix_discriminator",
        "autoencoder",
        "resnet18_3d",
        "densenet121_3d",
        "dynunet_3d",
        "unetr",
    )
    """Names of networks; by default one of every family, the first three with a goal on CPU."""
    modes: tuple[Literal["inference", "training"], ...] = ("inference", "training")
    """Forward passes in evaluation mode; whole steps of SGD with momentum."""
    batch: int = 8
    """Pictures per pass."""
    volumes: int = 1
    """Volumes per pass."""
    small: bool = False
    """Small inputs instead of native ones."""
    repeats: int = 10
    """Timed passes of each side."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the products; bfloat16 is autocast in PyTorch."""
    compile: bool = False
    """Run the reference through torch.compile."""
    peak_tflops: float | None = None
    """Peak of the chip in this precision; prints the share of it that ours achieves."""
    out: Path | None = None
    """CSV file for the table."""


def inference_of_ours(pair: Pair, x: np.ndarray, dtype) -> tuple[Callable, float]:
    """A forward pass that returns the logits, and its floating-point operations."""
    model = pair.model.clone(dtype=dtype)
    variables = pair.arrays(jnp.float32)
    names = _outputs(pair)
    forward = jax.jit(lambda v, x: _named(model.apply(v, x), names)).lower(variables, x).compile()
    x = jax.device_put(x)
    return lambda: jax.block_until_ready(forward(variables, x)), _operations(forward)


def _outputs(pair: Pair) -> tuple[str, ...]:
    """What the reference returns, or ours would not compute some of it."""
    return ("aux_logits", *pair.architecture.supervised)


def _named(made: tuple, names: tuple[str, ...]) -> list[jax.Array]:
    """The logits, and those endpoints that there are."""
    logits, endpoints = made
    return [logits, *(endpoints[name] for name in names if name in endpoints)]


def training_of_ours(pair: Pair, x: np.ndarray, dtype) -> tuple[Callable, float]:
    """A step of training that returns its loss, and its floating-point operations."""
    model, optimiser = pair.model.clone(dtype=dtype), optax.sgd(1e-3, momentum=0.9)
    names = _outputs(pair)

    def step(state, x):
        params, stats, moments = state

        def loss(params):
            made, updated = model.apply(
                {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
            )
            each = [jnp.mean(jnp.square(value)) for value in _named(made, names)]
            return sum(each), updated.get("batch_stats", {})

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimiser.update(grads, moments, params)
        return (optax.apply_updates(params, updates), new, moments), value

    variables = pair.arrays(jnp.float32)
    params = variables["params"]
    state = [(params, variables.get("batch_stats", {}), optimiser.init(params))]
    compiled = jax.jit(step, donate_argnums=0).lower(state[0], x).compile()
    x = jax.device_put(x)

    def run():
        state[0], loss = jax.block_until_ready(compiled(state[0], x))
        return loss

    return run, _operations(compiled)


def _operations(compiled) -> float:
    cost = compiled.cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost).get("flops", float("nan")))


def of_theirs(
    pair: Pair, x: np.ndarray, settings: Benchmark, mode: str, compiled: bool
) -> Callable:
    """The same pass in PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    model = pair.reference.to(device).to(memory_format=layout)
    model = model.train() if mode == "training" else model.eval()
    called = torch.compile(model) if compiled else model
    torch.backends.cudnn.benchmark = True
    inputs = torch.tensor(np.moveaxis(x, -1, 1).copy(), device=device)
    inputs = inputs.to(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    half = settings.dtype == "bfloat16"

    def forward():
        with torch.autocast(device, torch.bfloat16, enabled=half):
            return list(outputs_of(called(inputs)).values())

    def infer():
        with torch.no_grad():
            return forward()

    def train():
        optimiser.zero_grad(set_to_none=True)
        loss = sum(torch.mean(value.float() ** 2) for value in forward())
        loss.backward()
        optimiser.step()
        return loss.detach()

    def run():
        result = (train if mode == "training" else infer)()
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def tried(pair: Pair, x: np.ndarray, settings: Benchmark, mode: str) -> tuple[Callable, str]:
    """The same pass in PyTorch, run once, and whether it is compiled or eager."""
    if settings.compile:
        try:
            run = of_theirs(pair, x, settings, mode, compiled=True)
            run()
            return run, "compiled"
        except Exception as error:  # what its compiler raises depends on where it fails
            print(f"torch.compile: {type(error).__name__}: {str(error).splitlines()[:1]}")
    return of_theirs(pair, x, settings, mode, compiled=False), "eager"


def take_turns(first: Callable, second: Callable, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each call, alternating; two calls of each are not counted."""
    times = []
    for _ in range(repeats + 2):
        for call in (first, second):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    times = np.array(times[4:]).reshape(-1, 2)
    return times[:, 0], times[:, 1]


def measure(name: str, mode: str, settings: Benchmark) -> dict:
    """One row of the table."""
    entry = architecture(name)
    size = entry.small if settings.small else entry.size
    pair = make_pair(entry, size)
    dtype = jnp.bfloat16 if settings.dtype == "bfloat16" else None
    batch = settings.batch if len(size) == 2 else settings.volumes
    shape = (batch, *size, pair.model.in_channels)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    make = training_of_ours if mode == "training" else inference_of_ours
    ours, operations = make(pair, x, dtype)
    theirs, how = tried(pair, x, settings, mode)
    mine, other = take_turns(ours, theirs, settings.repeats)
    row = {
        "model": name,
        "mode": mode,
        "size": "x".join(map(str, size)),
        "batch": batch,
        "torch": how,
        "ours_ms": 1e3 * np.median(mine),
        "ours_spread_ms": 1e3 * np.subtract(*np.percentile(mine, [75, 25])) / 2,
        "torch_ms": 1e3 * np.median(other),
        "torch_spread_ms": 1e3 * np.subtract(*np.percentile(other, [75, 25])) / 2,
        "ratio": np.median(other) / np.median(mine),
    }
    if settings.peak_tflops:
        row["peak_share"] = operations / np.median(mine) / (settings.peak_tflops * 1e12)
    return row


def main(settings: Benchmark) -> None:
    """Measure and print, a row at a time."""
    where = jax.devices()[0].device_kind
    print(
        f"{where}, {os.cpu_count()} cores ({platform.machine()}), {settings.dtype}, jax "
        f"{jax.__version__}, torch {torch.__version__}"
        + (" with torch.compile" if settings.compile else ", eager")
    )
    rows = []
    for name in settings.models:
        if architecture(name).returns != "logits":
            raise UserError(
                f"{name} gives {architecture(name).returns}, and what is timed here is networks "
                "that give logits. Leave it out of --models."
            )
    for name in settings.models:
        for mode in settings.modes:
            rows.append(measure(name, mode, settings))
            print(
                "  ".join(
                    f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                    for k, v in rows[-1].items()
                ),
                flush=True,
            )
            if settings.out:
                pd.DataFrame(rows).to_csv(settings.out, index=False)


if __name__ == "__main__":
    main(tyro.cli(Benchmark, description=__doc__))
