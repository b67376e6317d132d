"""Synthetic patients: anatomy as medical images, sections as pictures, tables; with a manifest.

What is imported here are settings; anatomy, rendering and `write_cohort` come when they are used.
"""

from typing import Any

from msk_jax.phantoms.chest import ChestPhantom
from msk_jax.phantoms.fixation import FixationPhantom
from msk_jax.phantoms.histology import HistologyPhantom
from msk_jax.phantoms.knee import KneePhantom
from msk_jax.phantoms.sacroiliac.settings import SacroiliacPhantom
from msk_jax.phantoms.spine.settings import AOSpinePhantom, ThoracolumbarPhantom

AnyPhantom = (
    SacroiliacPhantom
    | ThoracolumbarPhantom
    | AOSpinePhantom
    | ChestPhantom
    | KneePhantom
    | HistologyPhantom
    | FixationPhantom
)
"""Each is a `phantom.Phantom`."""

__all__ = [
    "AOSpinePhantom",
    "AnyPhantom",
    "ChestPhantom",
    "FixationPhantom",
    "HistologyPhantom",
    "KneePhantom",
    "SacroiliacPhantom",
    "ThoracolumbarPhantom",
    "write_cohort",
]


def __getattr__(name: str) -> Any:
    if name != "write_cohort":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from msk_jax.phantoms.writing import write_cohort

    return write_cohort


def __dir__() -> list[str]:
    return __all__
