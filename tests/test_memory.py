"""What a process may use, as control groups say it, and sizes as people write them."""

import os

import pytest

from msk_jax.errors import UserError
from msk_jax.memory import allowed_memory, size_in_bytes, size_in_words

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
UNLIMITED_V1 = "9223372036854771712\n"


def groups(folder, lines, limits):
    """The kernel's files, pretended."""
    for name, text in limits.items():
        file = folder / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "cgroup").write_text(lines)
    return allowed_memory(folder / "cgroup", folder / "fs")


@pytest.mark.parametrize(
    ("lines", "limits", "expected"),
    [
        # A container sees its own group as the root (version 2).
        ("0::/\n", {"memory.max": "500000000\n"}, 500_000_000),
        ("0::/\n", {"memory.max": "max\n", "memory.high": "max\n"}, MACHINE),
        ("0::/\n", {"memory.max": "max\n", "memory.high": "300000000\n"}, 300_000_000),
        # The narrowest of the groups around, as Slurm nests them.
        (
            "0::/slurm/job_7/step_0\n",
            {
                "slurm/memory.max": "max\n",
                "slurm/job_7/memory.max": "700000000\n",
                "slurm/job_7/step_0/memory.max": "900000000\n",
            },
            700_000_000,
        ),
        # The path is that of outside, which is not seen from within.
        ("0::/../../docker/ab\n", {"memory.max": "400000000"}, 400_000_000),
        # Version 1, among other controllers.
        (
            "5:cpu,cpuacct:/x\n3:memory:/docker/ab\n0::/x\n",
            {"memory/docker/ab/memory.limit_in_bytes": "600000000\n"},
            600_000_000,
        ),
        ("3:memory:/docker/ab\n", {"memory/memory.limit_in_bytes": "200000000\n"}, 200_000_000),
        ("3:memory:/\n", {"memory/memory.limit_in_bytes": UNLIMITED_V1}, MACHINE),
        ("3:cpu:/\n", {"cpu/memory.limit_in_bytes": "1\n"}, MACHINE),
        ("no such line\n", {}, MACHINE),
    ],
)
def test_the_narrowest_limit_holds(tmp_path, lines, limits, expected):
    assert groups(tmp_path, lines, limits) == expected


def test_a_system_without_control_groups(tmp_path):
    assert allowed_memory(tmp_path / "none", tmp_path / "nowhere") == MACHINE


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("8GB", 8 * 10**9),
        ("500MB", 5 * 10**8),
        ("2GiB", 2**31),
        ("1.5 gb", 15 * 10**8),
        ("64kB", 64_000),
        ("12B", 12),
        ("1TB", 10**12),
    ],
)
def test_sizes_as_people_write_them(words, expected):
    assert size_in_bytes(words) == expected


@pytest.mark.parametrize("words", ["", "8", "GB", "8G", "0GB", "0.1B", "-1GB", "1e3MB", "8 G B"])
def test_what_is_no_size(words):
    with pytest.raises(UserError, match=r"is no size of memory\. Give --cache-memory one like 8GB"):
        size_in_bytes(words)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999_600, "1 MB"),
        (5e8, "500 MB"),
        (8.25e9, "8.25 GB"),
        (3e15, "3e+03 TB"),
    ],
)
def test_sizes_in_words(size, expected):
    assert size_in_words(size) == expected
