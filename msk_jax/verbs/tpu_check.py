"""`msk-jax tpu-check`: whether a training step fits a TPU slice, and how fast it might be."""

import dataclasses
import math
import time

from msk_jax import console
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.training import tpu
from msk_jax.training.cost import abstract_state, compile_step, step_cost
from msk_jax.training.parts import make_settings
from msk_jax.training.step import AXIS

_STEPS_PER_EPOCH = 100
"""Any number: it only places the schedule."""


def run(experiment: Experiment, stage: Stage, topology: str, batch_per_device: int) -> None:
    """Compile the real step for the slice and print what it needs.

    Raises:
        UserError: no such slice, or the step does not fit its chips.
    """
    stage.method.check()
    chip, sides = tpu.parse_topology(topology)
    devices = tuple(tpu.slice_devices(topology))
    recipe = dataclasses.replace(stage.method.recipe, batch_size=batch_per_device * len(devices))
    settings = make_settings(
        stage.method.module(AXIS),
        stage.trained_task,
        stage.method.preprocess,
        recipe,
        _STEPS_PER_EPOCH,
    )
    size = experiment.cohort.region.size
    image_shape = (size, size, stage.method.model.num_slices)
    begin = time.perf_counter()
    with console.progress_bar(f"Compiling for {topology}"):
        compiled = compile_step(settings, image_shape, recipe.batch_size, devices)
    seconds = time.perf_counter() - begin
    # The compiler counts what a loop does once: operations are counted without the loop.
    counted = compiled
    if recipe.accumulate > 1:
        undivided = dataclasses.replace(settings.recipe, accumulate=1)
        whole = dataclasses.replace(settings, recipe=undivided)
        counted = compile_step(whole, image_shape, recipe.batch_size, devices)
    cost = step_cost(compiled, abstract_state(settings, image_shape))
    exchanged = tpu.collectives(counted.as_text())
    analysis = counted.cost_analysis()
    needs = (chip, analysis["flops"], analysis["bytes accessed"], exchanged)
    _print_step(experiment, stage, topology, recipe.batch_size, cost, needs, seconds)
    _print_estimate(topology.partition(":")[0], sides, batch_per_device, needs)
    if cost.device_bytes > chip.hbm_bytes:
        raise UserError(
            f"The step needs {_gib(cost.device_bytes)} a chip, more than the chip has. Lower "
            "--batch-per-device, or give --remat, --bf16 or --accumulate."
        )


def _print_step(experiment, stage, topology, batch_size, cost, needs, seconds) -> None:
    chip, flops, moved, exchanged = needs
    precision = "bfloat16" if stage.method.recipe.bf16 else "float32"
    rows = [
        (experiment.name, f"on {topology}, batch {batch_size} in all, {precision}"),
        ("compiled in", f"{seconds:.0f} s"),
        (
            "memory a chip",
            f"{_gib(cost.device_bytes)} of {_gib(chip.hbm_bytes)} "
            f"({cost.device_bytes / chip.hbm_bytes:.0%}): state "
            f"{_gib(cost.state_bytes)}, the rest "
            f"{_gib(cost.device_bytes - cost.state_bytes)}",
        ),
        ("operations a chip", f"{flops / 1e9:,.1f} GFLOP"),
        ("bytes moved a chip", _gib(moved)),
    ]
    rows += [
        (kind, f"{count} with {size / 2**20:,.2f} MiB together")
        for kind, count, size in tpu.by_kind(exchanged)
    ]
    console.say_columns(rows)


def _print_estimate(kind: str, sides: tuple[int, ...], batch_per_device: int, needs) -> None:
    """The table from 8 to 256 chips at the same batch per chip."""
    chip, *counted = needs
    console.say("\nEstimate from the chip's peak rates, not a measurement:")
    first = tpu.roofline(chip, chip.slices[0], *counted).seconds
    rows = [("slice", "chips", "step", "exchange", "examples a second", "efficiency")]
    for some in sorted({*chip.slices, sides}, key=math.prod):
        found = tpu.roofline(chip, some, *counted)
        chips = math.prod(some)
        rows.append(
            (
                f"{kind}:{'x'.join(map(str, some))}",
                str(chips),
                f"{1e3 * found.seconds:.2f} ms",
                f"{1e3 * found.exchange_seconds:.2f} ms",
                f"{chips * batch_per_device / found.seconds:,.0f}",
                f"{first / found.seconds:.0%}",
            )
        )
    console.say_columns(rows)


def _gib(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB"
