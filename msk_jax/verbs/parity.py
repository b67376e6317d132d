"""`msk-jax parity`: the same networks here and in PyTorch, compared on this machine."""

import importlib.metadata
import importlib.util
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pandas as pd

from msk_jax import console
from msk_jax.errors import UserError
from msk_jax.models.registry import MODELS, architecture
from msk_jax.parity import compare
from msk_jax.processes import processes

_LIMITS = {"loss": 1e-4, "gradients": 1e-4, "statistics": 1e-4, "sgd": 1e-3, "adamw": 1e-3}
"""Largest relative errors; that of `forward` is the network's own."""


def run(models: tuple[str, ...], everything: bool, small: bool, out: Path) -> pd.DataFrame:
    """Compare, print and keep the table in `out`; networks that it holds already are left out,
    where they were compared at the same size and with the same packages.

    Returns:
        One row per network: `model`, `reference`, `size`, `forward` (worst relative error of the
        logits and every endpoint, float32; of what a detector chooses, float64) and the `endpoint`
        that it was, `loss`, `gradients`, `statistics` (worst relative error of any, float64),
        `sgd`, `adamw` (worst relative difference of ten losses, float64), `packages` (versions).

    Raises:
        UserError: no or unknown networks, another kind of file at `out`, or a network that is not
            equal within its limits.
    """
    names = tuple(MODELS) if everything else models
    if not names:
        raise UserError(
            "Name the networks to compare, as `msk-jax parity resnet50`, or give --all; "
            "`msk-jax models` lists them."
        )
    for name in names:
        architecture(name)
    table = _compared_before(out, small)
    left = [name for name in names if name not in set(table["model"])]
    for name in left:
        start = time.monotonic()
        row = compare_one(name, small) if len(left) == 1 else _in_own_process(name, small)
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        table.to_csv(out, index=False)
        console.say(f"{name}: forward {row['forward']:.1e} ({time.monotonic() - start:.0f} s)")
    table = table[table["model"].isin(names)]
    console.say(markdown(table))
    console.say(f"The table is in {out}.")
    unequal = [row["model"] for row in table.to_dict("records") if not _is_equal(row)]
    if unequal:
        raise UserError(
            f"Not equal to the reference within the limits: {', '.join(unequal)}. Remove the lines "
            f"from {out} to compare again."
        )
    console.say(f"All {len(table)} are equal to their references within the limits.")
    return table


def _compared_before(out: Path, small: bool) -> pd.DataFrame:
    """The rows of `out` that are of these inputs and of the packages that are here."""
    if not out.exists():
        return pd.DataFrame({"model": []})
    columns = {"model", "reference", "size", "forward", "endpoint", "packages", *_LIMITS}
    try:
        table = pd.read_csv(out)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{out} is no table of comparisons ({error}). Give another --out."
        ) from None
    if missing := columns - set(table):
        raise UserError(
            f"{out} is no table of comparisons: it lacks {', '.join(sorted(missing))}. Give "
            "another --out."
        )
    here = [
        row["model"] in MODELS
        and row["size"] == _words(_size(row["model"], small))
        and row["packages"] == packages()
        for row in table.to_dict("records")
    ]
    return table[here]


def packages() -> str:
    """The versions that a comparison depends on."""
    names = ("jax", "flax", "torch", "torchvision", "timm", "monai")
    found = {name: importlib.metadata.version(name) for name in names if _is_here(name)}
    return " ".join(f"{name}-{version}" for name, version in found.items())


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _size(name: str, small: bool) -> tuple[int, ...]:
    entry = architecture(name)
    return entry.small if small else entry.size


def _words(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _is_equal(row: dict) -> bool:
    limits = {"forward": architecture(row["model"]).tolerance, **_LIMITS}
    # Written so that what is not a number is not equal.
    return all(row[name] <= limit for name, limit in limits.items())


def _in_own_process(name: str, small: bool) -> dict:
    """`compare_one` in a process that ends with it: what compiling takes, many gigabytes for some
    networks, is given back."""
    with processes(1) as alone:
        try:
            return alone.submit(compare_one, name, small).result()
        except BrokenProcessPool:
            raise UserError(
                f"The comparison of {name} was ended from outside, as happens where memory runs "
                "out. Run the same command again on a larger machine: it goes on from here."
            ) from None


def compare_one(name: str, small: bool) -> dict:
    """One row of the table."""
    entry = architecture(name)
    size = _size(name, small)
    trained = entry.training_size
    pair = compare.make_pair(entry, trained)
    forward = compare.forward_errors(
        pair if size == trained else compare.make_pair(entry, size), size, batch=1
    )
    worst, batch = max(forward, key=forward.get), entry.batch_in_training
    training = compare.training_errors(pair, trained, batch)
    return {
        "model": name,
        "reference": entry.reference,
        "size": _words(size),
        "forward": forward[worst],
        "endpoint": worst,
        **{name: training[name] for name in ("loss", "gradients", "statistics")},
        **compare.trajectory_errors(pair, trained, batch),
        "packages": packages(),
    }


def markdown(table: pd.DataFrame) -> str:
    """The table for a page of notes."""
    head = ("model", "equal to", "input", "forward", "worst at", "in training", *_LIMITS)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in table.to_dict("records"):
        trained = _words(architecture(row["model"]).training_size)
        forward = f"{row['forward']:.1e}"
        cells = [row["model"], row["reference"], row["size"], forward, row["endpoint"], trained]
        cells += [f"{row[name]:.1e}" for name in _LIMITS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
