"""When Inception-v3 has its auxiliary head."""

import jax
import jax.numpy as jnp
import pytest

from msk_jax.errors import UserError
from msk_jax.models import create

X = jax.ShapeDtypeStruct((1, 107, 107, 3), jnp.float32)


def _outputs(params, stats, train, **settings):
    model = create("inception_v3", num_classes=2, **settings)

    def apply(params, stats, x):
        variables, rngs = {"params": params, "batch_stats": stats}, {"dropout": jax.random.key(0)}
        return model.apply(variables, x, train, mutable=["batch_stats"], rngs=rngs)[0]

    return jax.eval_shape(apply, params, stats, X)


def test_auxiliary_head_is_for_training_only_and_for_large_images():
    variables = jax.eval_shape(create("inception_v3", num_classes=2).init, jax.random.key(0), X)
    params, stats = variables["params"], variables["batch_stats"]
    assert params["AuxLogits"]["fc"]["kernel"].shape == (768, 2)
    assert "aux_logits" not in _outputs(params, stats, train=False)[1]
    with pytest.raises(UserError, match=r"needs 299 pixels .* is 5 x 5.* \(--settings auxiliary 0"):
        _outputs(params, stats, train=True)
    del params["AuxLogits"], stats["AuxLogits"]
    logits, endpoints = _outputs(params, stats, train=True, auxiliary=False)
    assert logits.shape == (1, 2) and "aux_logits" not in endpoints
