"""Networks by name: `create("resnet50", num_classes=3, in_channels=1)`."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from msk_jax.errors import UserError
from msk_jax.models.listing import LISTED

if TYPE_CHECKING:
    from msk_jax.models.network import Architecture, Network


class _Registry(Mapping):
    """The entries of all networks by name; a network's file is imported when its entry is asked
    for."""

    def __getitem__(self, name: str) -> "Architecture":
        return family(LISTED[name].module)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(LISTED)

    def __len__(self) -> int:
        return len(LISTED)

    def __contains__(self, name: object) -> bool:
        return name in LISTED


MODELS: Mapping[str, "Architecture"] = _Registry()


def family(module: str) -> dict[str, "Architecture"]:
    """The entries of one file, which is imported.

    Args:
        module: its name below `msk_jax.models`, as in `listing.LISTED`.
    """
    return importlib.import_module(f"msk_jax.models.{module}").MODELS


def names() -> list[str]:
    """All networks that `create` makes."""
    return sorted(MODELS)


def architecture(name: str) -> "Architecture":
    """The registry's entry of a name.

    Raises:
        UserError: no such name; the nearest are suggested.
    """
    if name not in MODELS:
        near = get_close_matches(name, MODELS, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(
            f"There is no network called {name!r}.{hint} msk_jax.models.names() lists them all."
        )
    return MODELS[name]


def create(name: str, **settings: Any) -> "Network":
    """The network of a name.

    Args:
        name: one of `names()`.
        **settings: its fields; every network has `num_classes`, `in_channels`, `axis_name` (over
            which batch norm is synchronised) and `dtype` (`jnp.bfloat16` for mixed precision). The
            `num_classes` of a detector count the background.

    Returns:
        A Flax module: `model.init(key, x)`, then `model.apply(variables, x, train=False)` gives
        `(logits, endpoints)` for `x` of shape `[batch, *spatial, in_channels]`; a detector gives
        detections in place of logits (`Architecture.returns`).

    Raises:
        UserError: no such name, or no such field; the nearest are suggested. Classes or channels
            are fewer than one.
    """
    from msk_jax.models.network import check_counts

    entry = architecture(name)
    fields = [f.name for f in dataclasses.fields(entry.network) if f.name not in ("parent", "name")]
    unknown = [key for key in settings if key not in fields]
    if unknown:
        near = get_close_matches(unknown[0], fields, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"{name} has no setting {unknown[0]!r}.{hint} It has: {', '.join(fields)}.")
    counts = {key: settings[key] for key in ("num_classes", "in_channels") if key in settings}
    check_counts(name, **counts)
    return entry.network(**{**entry.settings, **settings})
