"""A command that fails is no fast command."""

import sys

import pytest

from benchmarks.startup import timed


def test_a_command_that_fails_is_not_timed():
    with pytest.raises(RuntimeError, match=r"raise SystemExit\(3\) ended with 3"):
        timed([sys.executable, "-c", "raise SystemExit(3)"])
    assert min(timed([sys.executable, "-c", "pass"])) > 0
