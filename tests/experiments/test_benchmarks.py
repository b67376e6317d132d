"""What the benchmarks time is the same work on either side."""

import importlib

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")


@pytest.fixture(scope="module")
def benchmark(need):
    need("torchvision")
    return importlib.import_module("experiments.benchmarks.models")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_both_sides_give_the_same_three_times(benchmark, mode):
    """Logits, or the losses of three steps: a side that skipped its update would stay behind."""
    settings = benchmark.Benchmark(batch=2, small=True)
    entry = benchmark.architecture("resnet18")
    pair = benchmark.make_pair(entry, entry.small)
    x = np.random.default_rng(0).normal(size=(2, *entry.small, 3)).astype(np.float32)
    make = getattr(benchmark, f"{mode}_of_ours")
    ours, operations = make(pair, x, None)
    theirs = benchmark.of_theirs(pair, x, settings, mode)
    both = [(np.asarray(ours()), theirs().numpy()) for _ in range(3)]
    for here, there in both:
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-3 * np.abs(there).max())
    if mode == "training":
        assert both[2][0] != pytest.approx(both[0][0], rel=1e-2)
    # 3.6e9 for 224 x 224 pixels, less what XLA does not count: products with the padding.
    expected = 2 * 3.6e9 * (64 / 224) ** 2 * (3 if mode == "training" else 1)
    assert 0.6 * expected < operations < expected


def test_turns_are_taken_and_the_first_ones_do_not_count(benchmark):
    calls = []
    first, second = benchmark.take_turns(lambda: calls.append(1), lambda: calls.append(2), 3)
    assert calls == [1, 2] * 5 and len(first) == len(second) == 3
