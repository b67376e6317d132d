"""How much memory this process may use, and sizes in words."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from msk_jax.errors import UserError

_UNITS = {
    unit: base**power
    for base, units in ((1000, ("B", "KB", "MB", "GB", "TB")), (1024, ("B", "KIB", "MIB", "GIB")))
    for power, unit in enumerate(units)
}
_UNKNOWN = 8 * 1000**3
"""Taken where the system does not say what it has."""


def size_in_bytes(words: str) -> int:
    """What `8GB`, `500 MB` or `2GiB` means.

    >>> size_in_bytes("1.5GB")
    1500000000

    Raises:
        UserError: it is no size above zero with a unit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", words)
    size = int(float(match[1]) * _UNITS.get(match[2].upper(), 0)) if match else 0
    if size <= 0:
        raise UserError(
            f"{words!r} is no size of memory. Give --cache-memory one like 8GB, 500MB or 2GiB."
        )
    return size


def size_in_words(size: float) -> str:
    """In the unit that suits it, three digits.

    >>> size_in_words(1_536_000_000)
    '1.54 GB'
    """
    power = 0
    while size >= 999.5 and power < 4:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def allowed_memory(
    groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes that the machine has, or fewer where a container, Slurm or systemd allows fewer.

    Args:
        groups: where the kernel says which control groups this process is in.
        mount: where their limits are.

    Source: the kernel's documentation, admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        machine = _UNKNOWN
    return min([machine, *_group_limits(groups, mount)])


def _group_limits(groups: Path, mount: Path) -> Iterator[int]:
    """Limits of the groups of this process and of those around them."""
    try:
        lines = groups.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            root, names = mount, ("memory.max", "memory.high")
        elif "memory" in controllers.split(","):
            root, names = mount / "memory", ("memory.limit_in_bytes",)
        else:
            continue
        # In a container the root is its own group, and the path may be one of outside.
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            for name in names:
                limit = _limit(root.joinpath(*parts[:depth], name))
                if limit:
                    yield limit


def _limit(file: Path) -> int:
    """What a file says; 0 where there is none or it says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
