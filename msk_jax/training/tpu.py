"""A training step on a TPU slice that is not there: compiled for it, and how fast it might be."""

import dataclasses
import importlib.util
import math
import os
import re
from collections import Counter

import jax

from msk_jax.errors import UserError

_HOP_SECONDS = 1e-6
"""What a collective loses at each chip it passes; our guess, of the order that is measured."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One TPU chip, from the system architecture pages of the Google Cloud documentation."""

    accelerator: str
    """Its smallest type, as libtpu names it."""
    flops: float
    """Peak operations a second in bfloat16."""
    hbm_bytes: float
    hbm_bandwidth: float
    """Bytes a second."""
    link_bandwidth: float
    """Bytes a second to all neighbours together."""
    slices: tuple[tuple[int, ...], ...] = ((2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
    """Sides of slices from 8 to 256 chips."""


_CUBES = ((2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8))

CHIPS = {
    "v4": Chip("v4-8", 275e12, 32 * 2**30, 1228e9, 300e9, _CUBES),
    "v5e": Chip("v5litepod-8", 197e12, 16 * 2**30, 819e9, 200e9),
    "v5p": Chip("v5p-8", 459e12, 95 * 2**30, 2765e9, 600e9, _CUBES),
    "v6e": Chip("v6e-8", 918e12, 32 * 2**30, 1640e9, 448e9),
}


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between all chips in a step."""

    kind: str
    """As in the compiled program: `all-reduce`, `all-gather`, ..."""
    size: int
    """Bytes of its result on one chip."""


def parse_topology(name: str) -> tuple[Chip, tuple[int, ...]]:
    """`v5e:16x16` -> the chip and the sides of the slice.

    Raises:
        UserError: no such chip, or no sides.
    """
    kind, _, sides = name.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sides):
        raise UserError(
            f"--topology {name} is none; give a chip and the sides of a slice, as v5e:16x16. The "
            f"chips are {', '.join(CHIPS)}."
        )
    return CHIPS[kind], tuple(map(int, sides.split("x")))


def slice_devices(name: str) -> list:
    """The devices of a slice that is described, not present.

    Raises:
        UserError: libtpu is missing, or it knows no such slice.
    """
    chip, _ = parse_topology(name)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("The TPU compiler is missing. Install it: pip install 'msk_jax[tpu]'.")
    from jax.experimental import topologies

    # libtpu would otherwise look for the chips of this machine, ask its cloud about them, and let
    # one process at a time in.
    jax.config.update("jax_platforms", "cpu")
    os.environ |= {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": chip.accelerator,
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    except Exception as error:  # what libtpu raises is not documented
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"libtpu knows no slice {name} ({reason}). Give another.") from error


def collectives(program: str) -> list[Collective]:
    """Every exchange in the text of a compiled program."""
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    # An asynchronous one is counted where it starts.
    pattern = rf"= (.+?) ({kinds})(?:-start)?\("
    return [
        Collective(kind, _size(shape)) for shape, kind in re.findall(pattern, program, re.MULTILINE)
    ]


def _size(shape: str) -> int:
    """Bytes of `f32[64,3]{1,0}` or of all parts of a tuple."""
    total = 0
    for bits, sides in re.findall(r"\b(?:pred|[a-z]+?)(\d+)[a-z0-9]*\[([\d,]*)\]", shape):
        total += int(bits) // 8 * math.prod(map(int, filter(None, sides.split(","))))
    return total


@dataclasses.dataclass(frozen=True)
class Roofline:
    """An estimate of a step: no better than the chip's peaks allow, nothing overlapped."""

    compute_seconds: float
    memory_seconds: float
    exchange_seconds: float

    @property
    def seconds(self) -> float:
        """The step: the slower of computing and memory, then the exchanges."""
        return max(self.compute_seconds, self.memory_seconds) + self.exchange_seconds


def roofline(
    chip: Chip, sides: tuple[int, ...], flops: float, moved: float, exchanged: list[Collective]
) -> Roofline:
    """How long a step must take on a slice.

    A ring over n chips sends 2 (n - 1) / n of a sum's bytes through each chip's links (Patarasuk
    and Yuan 2009) and passes every side of the slice twice.

    Args:
        chip: of the slice.
        sides: of the slice, in chips.
        flops: operations of one chip in a step.
        moved: bytes that one chip reads and writes in its memory.
        exchanged: the collectives of a step.
    """
    chips = math.prod(sides)
    if chips == 1:
        return Roofline(flops / chip.flops, moved / chip.hbm_bandwidth, 0.0)
    hops = 2 * sum(sides)
    through = sum(2 * (chips - 1) / chips * one.size for one in exchanged)
    waiting = len(exchanged) * hops * _HOP_SECONDS
    return Roofline(
        flops / chip.flops, moved / chip.hbm_bandwidth, through / chip.link_bandwidth + waiting
    )


def by_kind(exchanged: list[Collective]) -> list[tuple[str, int, int]]:
    """Kind, count and bytes of the collectives, the largest first."""
    sizes, counts = Counter(), Counter()
    for one in exchanged:
        sizes[one.kind] += one.size
        counts[one.kind] += 1
    return [(kind, counts[kind], size) for kind, size in sizes.most_common()]
