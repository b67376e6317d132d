"""What a TPU slice is asked to do is read and added up right."""

import dataclasses
import importlib.util
import re

import jax
import pytest

from msk_jax.errors import UserError
from msk_jax.training import tpu
from tests.conftest import TINY
from tests.verbs.conftest import verb

PROGRAM = """
  %ar.1 = f32[64,3]{1,0:T(8,128)} all-reduce(f32[64,3]{1,0} %p), channel_id=1, to_apply=%add
  %ar.2 = (f32[10]{0}, bf16[4,5]{1,0}) all-reduce-start(f32[10]{0} %a, bf16[4,5]{1,0} %b), chan
  %d = (f32[10]{0}, bf16[4,5]{1,0}) all-reduce-done((f32[10]{0}, bf16[4,5]{1,0}) %ar.2)
  ROOT %g = s32[]{:T(128)} all-gather(s32[] %c), dimensions={0}
  %f = f32[99]{0} fusion(f32[64,3]{1,0} %ar.1), kind=kLoop, calls=%all_reduce_like
"""


def test_exchanges_of_a_program():
    found = tpu.collectives(PROGRAM)
    assert found == [
        tpu.Collective("all-reduce", 64 * 3 * 4),
        tpu.Collective("all-reduce", 10 * 4 + 4 * 5 * 2),
        tpu.Collective("all-gather", 4),
    ]
    assert tpu.by_kind(found) == [("all-reduce", 2, 848), ("all-gather", 1, 4)]


def test_estimate_by_hand():
    chip = tpu.Chip("none", flops=1e12, hbm_bytes=1, hbm_bandwidth=1e9, link_bandwidth=1e8)
    exchanged = [tpu.Collective("all-reduce", 1_000_000), tpu.Collective("all-reduce", 0)]
    found = tpu.roofline(chip, (2, 4), flops=3e9, moved=2e6, exchanged=exchanged)
    assert found.compute_seconds == pytest.approx(3e-3)
    assert found.memory_seconds == pytest.approx(2e-3)
    # 2 * 7/8 of a megabyte at 1e8 bytes a second, and twice 2 * (2 + 4) hops of a microsecond.
    assert found.exchange_seconds == pytest.approx(17.5e-3 + 24e-6)
    assert found.seconds == pytest.approx(20.5e-3 + 24e-6)
    assert tpu.roofline(chip, (1,), 3e9, 2e6, exchanged).seconds == pytest.approx(3e-3)


@pytest.mark.parametrize("name", ["v9:2x4", "v5e", "v5e:", "v5e:0x4", "v5e:2*4"])
def test_slices_that_are_none(name):
    with pytest.raises(UserError, match="as v5e:16x16"):
        tpu.parse_topology(name)


def test_sides_of_a_slice():
    assert tpu.parse_topology("v5p:2x2x4") == (tpu.CHIPS["v5p"], (2, 2, 4))


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_the_compiler(capsys):
    verb("tpu-check", TINY, status=2)
    assert "pip install 'msk_jax[tpu]'" in capsys.readouterr().err


def test_what_is_printed(capsys, monkeypatch):
    """The devices of this machine stand for the slice; their program has the same exchanges."""
    monkeypatch.setattr(tpu, "slice_devices", lambda name: jax.devices()[:4])
    verb("tpu-check", TINY, "--topology", "v5e:2x2", "--batch-per-device", "4")
    printed = capsys.readouterr().out
    assert "on v5e:2x2, batch 16 in all, float32" in printed
    assert re.search(r"memory a chip +0\.\d\d GiB of 16\.00 GiB \(\d%\)", printed)
    count, size = re.search(r"all-reduce +(\d+) with (\d+\.\d+) MiB", printed).groups()
    assert int(count) > 10 and float(size) > 0.05, "gradients and statistics are summed"
    table = [line.split() for line in printed.splitlines() if line.startswith("v5e:")]
    assert [row[0] for row in table][:3] == ["v5e:2x2", "v5e:2x4", "v5e:4x4"]
    assert [row[-1] for row in table if row[0] == "v5e:2x4"] == ["100%"]
    speeds = [float(row[-2].replace(",", "")) for row in table]
    assert speeds == sorted(speeds) and "not a measurement" in printed
    monkeypatch.setitem(tpu.CHIPS, "v5e", dataclasses.replace(tpu.CHIPS["v5e"], hbm_bytes=1000))
    verb("tpu-check", TINY, "--topology", "v5e:2x2", "--batch-per-device", "4", status=2)
    assert "Lower --batch-per-device" in capsys.readouterr().err
