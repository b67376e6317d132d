"""A run is watched, asked to stop, taken up again, and stopped where its numbers end."""

import os
import re
import shutil
import signal

import pytest

from msk_jax.training import loop, watch
from tests.conftest import TINY
from tests.verbs.conftest import verb

FLAGS = [
    "--fold",
    "0",
    "--epochs",
    "4",
    "--optimiser",
    "sgd",
    "--learning-rate",
    "1e-3",
    "--rates",
    "encoder/.*",
    "0.5",
    ".*",
    "1",
    "--schedule",
    "poly",
    "--sampling",
    "balanced",
    "--mixup",
    "0.3",
    "--monitor",
    "none",
    "--accumulate",
    "2",
    "--remat",
    "--no-aspp",
    "--no-rfpn",
]


def _written(folder):
    """What TensorBoard shows: name -> step -> value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: {event.step: make_ndarray(event.tensor_proto) for event in events.Tensors(name)}
        for name in events.Tags()["tensors"]
    }


def test_a_run_is_watched_and_asked_to_stop_and_goes_on(shards, tmp_path, capsys, monkeypatch):
    command = ["train", TINY, "--data-dir", shards, "--workdir", tmp_path / "run", *FLAGS]
    verb(*command, "--dry-run")
    printed = capsys.readouterr().out
    assert not (tmp_path / "run").exists(), "a dry run leaves nothing"
    assert "16, 4 a device, in 2 parts" in printed and "1 folds x 4 epochs x 3 = 12" in printed

    steps = []
    count = watch.Pace.step

    def stop_at_eleven(pace):
        count(pace)
        steps.append(pace)
        # As if half a minute had passed in the first epoch alone.
        monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0 if len(steps) < 4 else 1e9)
        if len(steps) == 11:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(watch.Pace, "step", stop_at_eleven)
    before = signal.getsignal(signal.SIGTERM)
    verb(*command, "--histograms", "--profile", status=143)
    assert "Step 11 of 12 is saved" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    fold = tmp_path / "run" / "fold_0"
    assert sorted(os.listdir(fold / "last")) == ["11", "3"], "not each short epoch is kept"
    assert not (fold / "finished.json").exists()
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    verb(*command)
    assert (fold / "finished.json").exists() and len(steps) == 12, "one step was left"
    assert os.listdir(fold / "best") == ["12"], "with nothing monitored the last one is the best"
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Fold 1 took \d+ s: .*% (compiling|training)", printed), printed

    # Killed before the best one was on disk: it is made of the last one.
    (fold / "finished.json").unlink()
    shutil.rmtree(fold / "best" / "12")
    verb(*command)
    assert os.listdir(fold / "best") == ["12"] and len(steps) == 12

    written = _written(fold / "tensorboard")
    assert list(written["train/loss"]) == [3, 6, 9, 12]
    assert all(speed > 0 for speed in written["pace/examples_per_second"].values())
    assert all(0 <= share <= 1 for share in written["pace/input_share"].values())
    assert list(written["head/kernel"]) == [3, 6, 9], "the second call was not asked for these"
    assert list(written["train/middle_slices"]) == [0]


def test_a_stop_in_a_validation_is_prompt_and_loses_nothing(shards, tmp_path, monkeypatch):
    flags = ["--fold", "0", "--epochs", "2", "--checkpoint-every", "2", "--monitor", "loss"]
    results = {}
    for name in ("whole", "broken"):
        workdir = tmp_path / name
        command = ["train", TINY, "--data-dir", shards, "--workdir", workdir, *flags]
        if name == "broken":
            # The first epoch's, and after that is made up for the last one's.
            for of_call, validated in ((1, 0), (2, 1)):
                with monkeypatch.context() as patch:
                    patch.setattr(loop, "until_asked", _stopping(loop.until_asked, of_call))
                    verb(*command, status=143)
                assert not (workdir / "fold_0" / "finished.json").exists()
                assert _validated(workdir) == validated
        verb(*command)
        fold = workdir / "fold_0"
        results[name] = [(fold / part).read_text() for part in ("history.csv", "finished.json")]
    assert _validated(tmp_path / "broken") == 2
    assert results["whole"] == results["broken"]


def _stopping(until_asked, of_call):
    """SIGTERM comes as the first batch of a call's `of_call`th validation is asked for."""
    calls = []

    def batches(found, rounds, asked_to_stop):
        calls.append(found)
        if len(calls) == of_call:
            os.kill(os.getpid(), signal.SIGTERM)
        return until_asked(found, rounds, asked_to_stop)

    return batches


def _validated(workdir):
    rows = (workdir / "fold_0" / "history.csv").read_text().splitlines()
    return sum("validation" in row for row in rows)


def test_a_diverging_run_stops_with_a_sentence(shards, tmp_path, capsys):
    verb(
        "train",
        TINY,
        "--data-dir",
        shards,
        "--workdir",
        tmp_path / "run",
        "--fold",
        0,
        "--learning-rate",
        "1e38",
        "--gradient-clip",
        "None",
        status=2,
    )
    error = capsys.readouterr().err
    assert "no longer a finite number at step 2;" in error and "and 12 more. The state" in error
    fold = tmp_path / "run" / "fold_0"
    assert list((fold / "not_finite").glob("*/_CHECKPOINT_METADATA"))
    assert not (fold / "finished.json").exists()


def test_where_the_time_goes_by_hand(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(watch.time, "perf_counter", lambda: now[0])
    spent = watch.Spent()
    for head, seconds in (("compiling", 3.0), ("input", 0.5), ("input", 0.5), ("logging", 0.02)):
        with spent.on(head):
            now[0] += seconds
        now[0] += 4.0
    found = spent.seconds()
    assert found == pytest.approx({"training": 16, "compiling": 3, "input": 1, "logging": 0.02})
    words = watch.spent_in_words(found)
    assert words == "20 s: 80 % training, 15 % compiling, 5 % input"
    with pytest.raises(OSError), spent.on("saving"):
        now[0] += 7.0
        raise OSError
    assert spent.seconds()["saving"] == pytest.approx(7.0), "also what failed took its time"


def test_pace_by_hand(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watch.time, "perf_counter", lambda: now[0])
    pace = watch.Pace(batch_size=8)
    assert pace.figures() == {} and pace.words() == ""
    for waited, worked in ((5.0, 95.0), (0.5, 1.5), (0.5, 1.5)):  # the first compiles
        with pace.input():
            now[0] += waited
        now[0] += worked
        pace.step()
    found = pace.figures()
    assert found["pace/step_seconds"] == pytest.approx(2.0)
    assert found["pace/examples_per_second"] == pytest.approx(4.0)
    assert found["pace/input_share"] == pytest.approx(0.25)
    assert pace.words().startswith("2000 ms a step, 4 a second, 25% waiting for input")
    pace.restart()
    assert pace.figures() == {}


def test_sigterm_is_noted_and_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with watch.noting_sigterm() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_trace_is_of_five_steps(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(watch.jax.profiler, "start_trace", lambda folder, **_: calls.append(folder))
    monkeypatch.setattr(watch.jax.profiler, "stop_trace", lambda: calls.append("stop"))
    for folder, steps in ((tmp_path, 20), (tmp_path, 7), (tmp_path, 3), (None, 20)):
        with watch.Trace(folder) as trace:
            for step in range(steps):
                trace.step(lambda step=step: calls.append(step))
    assert calls == [5, str(tmp_path), 10, "stop", 5, str(tmp_path), "stop"]
