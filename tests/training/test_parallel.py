"""One step on one device and on four is the same step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from msk_jax.data.augment import Augmentation, Preprocess
from msk_jax.errors import UserError
from msk_jax.models.ms25dnet import MS25DNetConfig
from msk_jax.training import parallel
from tests.filled import filled

CONFIG = MS25DNetConfig(
    num_slices=3, backbone="resnet10", width=4, output_stride=8, aspp_rates=(1,),
    pyramid_features=8, rfpn=False, dropout=0.3,
)  # fmt: skip


def _batches(count, size=8, side=32):
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


def _run(num_devices, steps):
    model = CONFIG.build(axis_name=parallel.AXIS)
    variables = jax.tree.map(jnp.asarray, filled(model, 1, 32, 32, 3))
    optimiser = optax.sgd(1e-3, momentum=0.9)
    state = parallel.TrainState(
        step=jnp.zeros((), jnp.int32),
        opt_state=optimiser.init(variables["params"]),
        key=jax.random.key_data(jax.random.key(7)),
        average=jax.tree.map(jnp.copy, variables),
        **variables,
    )
    step = parallel.parallel_train_step(
        jax.devices()[:num_devices],
        model=model,
        optimiser=optimiser,
        preprocess=Preprocess(),
        augmentation=Augmentation(),
        label_smoothing=0.1,
        average_decay=0.99,
    )
    state, losses, compiled = parallel.replicate(state, jax.devices()[:num_devices]), [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **facts: compiled.append(facts) if "backend_compile" in event else None
    )
    for batch in _batches(steps):
        state, metrics = step(state, parallel.split_over_devices(batch, num_devices))
        losses.append(float(metrics["loss"]))
    compiled = [facts for facts in compiled if facts.get("fun_name") == "jit(_fun)"]
    assert len(compiled) == min(steps, 1), "the step must be compiled once"
    return jax.device_get(state), losses


def test_one_and_four_devices_agree():
    """Losses, parameters and batch-norm statistics, with augmentation and dropout on."""
    one, losses_one = _run(1, steps=4)
    four, losses_four = _run(4, steps=4)
    np.testing.assert_allclose(losses_one, losses_four, rtol=1e-5)
    for name in ("params", "batch_stats"):
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(getattr(one, name)),
            jax.tree.leaves(getattr(four, name)),
            strict=True,
        )
        for (path, a), b in pairs:
            # Summing in another order costs float32 digits that four steps then enlarge.
            np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-5, err_msg=jax.tree_util.keystr(path)
            )


def test_the_average_follows_the_parameters():
    """After one step the average is old + 0.1 * (1 - 1/10 warmed up decay) by hand."""
    start, _ = _run(1, steps=0)
    end, _ = _run(1, steps=1)
    before = start.params["head"]["kernel"]
    after = end.params["head"]["kernel"]
    assert np.abs(after - before).max() > 1e-6
    # decay at step 0 = min(0.99, (1 + 0) / (10 + 0)) = 0.1
    expected = 0.1 * before + 0.9 * after
    np.testing.assert_allclose(end.variables["params"]["head"]["kernel"], expected, rtol=1e-6)


def test_a_padded_last_batch_changes_nothing():
    model = CONFIG.build(axis_name=parallel.AXIS)
    variables = jax.tree.map(jnp.asarray, filled(model, 1, 32, 32, 3))
    predict = parallel.parallel_predict(model, Preprocess())
    volumes = next(_batches(1, size=11))["volume"]
    whole = parallel.predict_all(predict, variables, [volumes], 12)
    parts = parallel.predict_all(predict, variables, [volumes[:8], volumes[8:]], 8)
    assert whole.shape == (11, 2)
    np.testing.assert_allclose(whole, parts, rtol=1e-5)
    np.testing.assert_allclose(whole.sum(1), 1, rtol=1e-5)


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(UserError, match="multiple of 4"):
        parallel.check_batch_size(6, 4)
