"""One step on one device and on four is the same step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.errors import UserError
from msk_jax.models import MS25DNetConfig
from msk_jax.tasks.classification import TrainedClassification
from msk_jax.training import parallel
from msk_jax.training.parts import make_settings
from msk_jax.training.recipe import Recipe
from msk_jax.training.step import AXIS, StepSettings, first_state, train_step
from tests.filled import filled

CONFIG = MS25DNetConfig(
    num_slices=3,
    backbone="resnet10",
    width=4,
    output_stride=8,
    aspp_rates=(1,),
    pyramid_features=8,
    rfpn=False,
    dropout=0.3,
)


def batches(count, size=8, side=32):
    """Smooth pictures that differ: pure noise would leave batch norm nothing to divide by."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    for _ in range(count):
        label = rng.integers(0, 2, size)
        waves = [np.sin(6 * rng.uniform() * x + 9 * rng.uniform() * y + k) for k in range(size)]
        volume = (400 + 500 * np.stack(waves) + 150 * label[:, None, None]).astype(np.int16)
        yield {
            "volume": np.repeat(volume[..., None], 3, -1),
            "label": label.astype(np.int32),
            "weight": np.array([1.0, 2.0], np.float32)[label],
        }


def settings(axis_name=AXIS, **recipe):
    recipe = Recipe(label_smoothing=0.1, average_decay=0.99, augmentation=Augmentation(), **recipe)
    model = CONFIG.build(axis_name=axis_name)
    task, sgd = TrainedClassification.of(recipe, 2), optax.sgd(1e-3, momentum=0.9)
    return StepSettings(model, task, sgd, Preprocess(), recipe, axis_name)


def start(chosen):
    variables = filled(chosen.model, 1, 32, 32, 3)
    return jax.jit(partial(first_state, chosen))(variables, jax.random.key(7))


def run_steps(num_devices, steps, **recipe):
    chosen = settings(**recipe)
    devices = tuple(jax.devices()[:num_devices])
    step = parallel.parallel_train_step(chosen, devices)
    state, losses, compiled = parallel.replicate(start(chosen), devices), [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **facts: compiled.append(facts) if "backend_compile" in event else None
    )
    for batch in batches(steps):
        state, metrics = step(state, parallel.split_over_devices(batch, num_devices))
        losses.append(float(metrics["loss"]))
    compiled = [facts for facts in compiled if facts.get("fun_name") == "jit(_fun)"]
    assert len(compiled) == min(steps, 1), "the step must be compiled once"
    return jax.device_get(state), losses


def _assert_same(one, other):
    for name in ("params", "batch_stats"):
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(getattr(one, name)),
            jax.tree.leaves(getattr(other, name)),
            strict=True,
        )
        for (path, a), b in pairs:
            # Summing in another order costs float32 digits that four steps then enlarge.
            np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-5, err_msg=jax.tree_util.keystr(path)
            )


@pytest.fixture(scope="module")
def four_devices():
    return run_steps(4, steps=4, mixup=0.4, accumulate=2)


def test_one_and_four_devices_agree(four_devices):
    """Losses, parameters, statistics, with augmentation, mixup, parts and dropout on."""
    one, losses_one = run_steps(1, steps=4, mixup=0.4, accumulate=2)
    four, losses_four = four_devices
    np.testing.assert_allclose(losses_one, losses_four, rtol=1e-5)
    _assert_same(one, four)


def test_jit_over_a_named_sharding_agrees(four_devices):
    """One program over all devices instead of one per device: a later move is one file."""
    chosen = settings(axis_name=None, mixup=0.4, accumulate=2)
    mesh = Mesh(np.array(jax.devices()[:4]), (AXIS,))
    everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (AXIS,)))
    step = jax.jit(
        partial(train_step, chosen),
        in_shardings=(everywhere, split),
        out_shardings=everywhere,
        donate_argnums=0,
    )
    state, losses = jax.device_put(start(chosen), everywhere), []
    for batch in batches(4):
        state, metrics = step(state, jax.device_put(batch, split))
        losses.append(float(metrics["loss"]))
    four, losses_four = four_devices
    np.testing.assert_allclose(losses, losses_four, rtol=1e-5)
    _assert_same(jax.device_get(state), four)


def test_the_average_follows_the_parameters():
    """After one step the average is old + 0.1 * (1 - 1/10 warmed up decay) by hand."""
    start, _ = run_steps(1, steps=0)
    end, _ = run_steps(1, steps=1)
    before = start.params["head"]["kernel"]
    after = end.params["head"]["kernel"]
    assert np.abs(after - before).max() > 1e-6
    # decay at step 0 = min(0.99, (1 + 0) / (10 + 0)) = 0.1
    expected = 0.1 * before + 0.9 * after
    np.testing.assert_allclose(end.variables["params"]["head"]["kernel"], expected, rtol=1e-6)


def test_trainings_that_differ_in_their_course_alone_share_a_program():
    model, steps = CONFIG.build(axis_name=AXIS), 10

    def program(steps=steps, preprocess=Preprocess(), **recipe):  # noqa: B008
        recipe = Recipe(**recipe)
        task = TrainedClassification.of(recipe, 2)
        return parallel.parallel_train_step(make_settings(model, task, preprocess, recipe, steps))

    first = program(seed=1)
    assert program(seed=2, batch_size=64, patience=3, monitor="loss", sampling="balanced") is first
    for change in (
        {"learning_rate": 2e-4},
        {"epochs": 9},
        {"rates": ((".*", 0.5),)},
        {"mixup": 0.2},
        {"gradient_clip": None},
        {"average_decay": 0.9},
        {"augmentation": Augmentation(noise=0.5)},
        {"steps": 11},
        {"preprocess": Preprocess(window_width=1.0)},
    ):
        assert program(**{"seed": 1, **change}) is not first, change


def test_a_padded_last_batch_changes_nothing():
    model = CONFIG.build(axis_name=AXIS)
    variables = jax.tree.map(jnp.asarray, filled(model, 1, 32, 32, 3))
    predict = parallel.parallel_predict(model, Preprocess(), TrainedClassification(2))
    volumes = next(batches(1, size=11))["volume"]
    whole, parts = (
        parallel.predict_all(predict, variables, some, size)["probabilities"]
        for some, size in (([volumes], 12), ([volumes[:8], volumes[8:]], 8))
    )
    assert whole.shape == (11, 2)
    np.testing.assert_allclose(whole, parts, rtol=1e-5)
    np.testing.assert_allclose(whole.sum(1), 1, rtol=1e-5)


def test_rows_and_values_of_one_host_stay_as_they_are():
    rows = np.ones((3, 2), np.float32)
    assert parallel.gather_rows(rows) is rows and parallel.on_this_host(rows) is rows


def test_rows_of_several_axes_of_hosts_of_which_one_has_none(monkeypatch):
    """The other host has no rows, and says so by two zeros."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    exchanged = []

    def gather(mine):
        exchanged.append(mine)
        theirs = np.array([2, 0, 0, 1, 1, 1, 1, 1, 1]) if len(exchanged) == 1 else 0 * mine
        return np.stack([mine, theirs])

    monkeypatch.setattr(parallel.multihost_utils, "process_allgather", gather)
    rows = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(parallel.gather_rows(rows), rows)
    exchanged.clear()
    np.testing.assert_array_equal(parallel.gather_rows(rows[:, :, 0]), rows[:, :, 0])


@pytest.mark.parametrize(
    "recipe, multiple",
    [
        ({"batch_size": 6}, "over 4 devices. Give a --batch-size that is a multiple of 4"),
        ({"batch_size": 12, "accumulate": 2}, "4 devices and 2 parts.* multiple of 8"),
        ({"batch_size": 12, "mixup": 0.2}, "4 devices and pairs to mix.* multiple of 8"),
    ],
)
def test_a_batch_that_cannot_be_split_is_refused(recipe, multiple):
    with pytest.raises(UserError, match=multiple):
        parallel.check_batch_size(Recipe(**recipe))


def test_hosts_are_named_whole_or_not_at_all():
    with pytest.raises(UserError, match="together"):
        parallel.join_hosts("localhost:1234")


def test_hosts_ask_each_other_every_few_seconds(monkeypatch):
    """The other host is the slower one: three hundredths of a second a step, later two."""
    now, theirs, asked_at = [0.0], [0.03], []

    def gather(mine):
        asked_at.append(step)
        return np.concatenate([mine, [[step > 140, theirs[0]]]])

    monkeypatch.setattr(parallel.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(parallel, "gather_rows", gather)
    assert parallel.AnyHost()(lambda: True, 1) and not parallel.AnyHost()(lambda: False, 1)
    assert asked_at == [], "one host asks nobody"
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    any_host, stopped = parallel.AnyHost(), None
    for step in range(7, 300):
        now[0] += 0.01
        theirs[0] = 0.03 if step < 50 else 2.0
        if any_host(lambda: False, step):
            stopped = step
            break
    # At once, after a step, which says how long they take, then by the other's pace.
    assert asked_at == [7, 8, 58, *range(59, 142)] and stopped == 141
