"""What the benchmarks time is the same work on either side."""

import importlib

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")


@pytest.fixture(scope="module")
def benchmark(need):
    need("torchvision")
    return importlib.import_module("benchmarks.models")


def test_both_sides_give_the_same_three_times(benchmark):
    """Logits, and the losses of three steps: a side that skipped its update would stay behind."""
    settings = benchmark.Benchmark(batch=2, small=True)
    entry = benchmark.architecture("autoencoder")
    pair = benchmark.make_pair(entry, entry.small)
    x = np.random.default_rng(0).normal(size=(2, *entry.small, 1)).astype(np.float32)
    operations = {}
    for mode in ("inference", "training"):
        make = getattr(benchmark, f"{mode}_of_ours")
        ours, operations[mode] = make(pair, x, None)
        theirs = benchmark.of_theirs(pair, x, settings, mode, compiled=False)
        both = [(_only(ours()), _only(theirs()).numpy()) for _ in range(3)]
        for here, there in both:
            there = np.moveaxis(there, 1, -1) if there.ndim else there
            np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4 * np.abs(there).max())
    assert both[2][0] < 0.999 * both[0][0]
    assert 2 < operations["training"] / operations["inference"] < 4


def _only(made):
    """The loss of a step, or the one output of this network."""
    (value,) = made if isinstance(made, list) else [made]
    return value


def test_a_detector_is_not_timed(benchmark):
    with pytest.raises(benchmark.UserError, match="fasterrcnn_resnet50_fpn gives detections, and"):
        benchmark.main(benchmark.Benchmark(models=("fasterrcnn_resnet50_fpn",)))


def test_turns_are_taken_and_the_first_ones_do_not_count(benchmark):
    calls = []
    first, second = benchmark.take_turns(lambda: calls.append(1), lambda: calls.append(2), 3)
    assert calls == [1, 2] * 5 and len(first) == len(second) == 3
