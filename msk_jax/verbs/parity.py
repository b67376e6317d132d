"""`msk-jax parity`: the same networks here and in PyTorch, compared on this machine."""

import time
from pathlib import Path

import jax
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.models.registry import MODELS, architecture
from msk_jax.parity import compare
from msk_jax.verbs import console

COLUMNS = ("forward", "endpoint", "loss", "gradients", "statistics", "sgd", "adamw")


def run(models: tuple[str, ...], everything: bool, small: bool, out: Path) -> pd.DataFrame:
    """Compare, print and keep the table in `out`; networks that it holds already are left out.

    Returns:
        One row per network: `model`, `reference`, `size`, `forward` (worst relative error of the
        logits and every endpoint, float32) and the `endpoint` that it was, `loss`, `gradients`,
        `statistics` (worst relative error of any, float64), `sgd`, `adamw` (worst relative
        difference of ten losses, float64).
    """
    names = tuple(MODELS) if everything else models
    if not names:
        raise UserError(
            "Name the networks to compare, as `msk-jax parity resnet50`, or give --all; "
            "`msk-jax models` lists them."
        )
    for name in names:
        architecture(name)
    table = pd.read_csv(out) if out.exists() else pd.DataFrame({"model": []})
    for name in names:
        if name in set(table["model"]):
            continue
        start = time.monotonic()
        row = compare_one(name, small)
        jax.clear_caches()  # programs of fifty networks, with their constants, are many gigabytes
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        table.to_csv(out, index=False)
        console.say(f"{name}: forward {row['forward']:.1e} ({time.monotonic() - start:.0f} s)")
    console.say(markdown(table[table["model"].isin(names)]))
    console.say(f"The table is in {out}.")
    return table


def compare_one(name: str, small: bool) -> dict:
    """One row of the table."""
    entry = architecture(name)
    size = entry.small if small else entry.size
    trained = entry.small_in_training or entry.small
    pair = compare.make_pair(entry, trained)
    forward = compare.forward_errors(
        pair if size == trained else compare.make_pair(entry, size), size, batch=1
    )
    worst = max(forward, key=forward.get)
    return {
        "model": name,
        "reference": entry.reference,
        "size": "x".join(map(str, size)),
        "forward": forward[worst],
        "endpoint": worst,
        **compare.training_errors(pair, trained),
        **compare.trajectory_errors(pair, trained),
    }


def markdown(table: pd.DataFrame) -> str:
    """The table for a page of notes."""
    head = ("model", "equal to", "input", *COLUMNS)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in table.to_dict("records"):
        cells = [row["model"], row["reference"], row["size"]]
        cells += [v if isinstance(v := row[c], str) else f"{v:.1e}" for c in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
