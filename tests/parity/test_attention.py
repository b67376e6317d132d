"""The transformer layer against PyTorch's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from msk_jax.errors import UserError
from msk_jax.models.blocks.attention import MultiHeadAttention, TransformerLayer
from msk_jax.models.blocks.layers import Dropout, Layers
from msk_jax.models.weights.torch_weights import dump_torch, load_torch, to_flax, torch_name

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")

CHANNELS, HEADS, HIDDEN, TOKENS = 24, 4, 40, 7
LAYERS = [
    (True, "gelu", True),
    (False, "gelu", True),
    (True, "relu", False),
    (False, "relu", False),
]


def _pair(norm_first, activation):
    """Ours, its variables, and theirs in double precision."""
    torch.manual_seed(0)
    theirs = torch.nn.TransformerEncoderLayer(
        CHANNELS,
        HEADS,
        HIDDEN,
        dropout=0.0,
        activation=activation,
        batch_first=True,
        norm_first=norm_first,
    )
    references.randomise(theirs)
    kwargs = {} if activation == "gelu" else {"activation": jax.nn.relu}
    ours = TransformerLayer(HEADS, HIDDEN, norm_first, **kwargs)
    empty = ours.init(jax.random.key(0), jnp.zeros((1, TOKENS, CHANNELS)))
    return ours, load_torch(empty, references.state_of(theirs)), theirs.double()


def _tokens(seed=1):
    return np.random.default_rng(seed).normal(size=(3, TOKENS, CHANNELS))


def _padding():
    """True where a token is missing: the last of the second example, two of the third."""
    missing = np.zeros((3, TOKENS), bool)
    missing[1, -1:] = missing[2, -2:] = True
    return missing


@pytest.mark.parametrize(("norm_first", "activation", "masked"), LAYERS)
def test_layer_and_its_gradients_in_double_precision(norm_first, activation, masked):
    ours, variables, theirs = _pair(norm_first, activation)
    x, weight = _tokens(), _tokens(2)
    missing = _padding() if masked else np.zeros_like(_padding())
    weight[missing] = 0.0  # what stands at a missing token is nobody's business
    tensor = torch.tensor(x, requires_grad=True)
    mask = torch.tensor(missing) if masked else None
    expected = theirs(tensor, src_key_padding_mask=mask)
    (expected * torch.tensor(weight)).sum().backward()
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        bias = jnp.where(jnp.asarray(missing), -jnp.inf, 0.0)[:, None, None, :]

        def loss(params, x):
            y = ours.apply({"params": params}, x, bias if masked else None)
            return jnp.sum(y * weight), y

        grads, y = jax.grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)
        assert y.dtype == jnp.float64
    there = ~missing
    assert compare.relative_error(y[there], expected.detach().numpy()[there]) < 1e-12
    assert compare.relative_error(grads[1], tensor.grad.numpy()) < 1e-10
    given = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    floor = 1e-9 * max(np.abs(g).max() for g in given.values())
    found = flatten_dict(grads[0])
    assert len(found) == len(given)
    for path, value in found.items():
        other = to_flax(path[-1], given[torch_name(path)])
        assert compare.relative_error(value, other, floor) < 1e-10, path


def test_weights_go_back_bit_for_bit():
    _, variables, theirs = _pair(True, "gelu")
    state = references.state_of(theirs.float())
    back = dump_torch(variables)
    assert set(back) == set(state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])


def test_softmax_is_in_full_precision_under_half_precision():
    """What is added to all scores changes nothing; bfloat16 has no digits left beside 1000."""
    module = MultiHeadAttention(1, layers=Layers(dtype=jnp.bfloat16))
    x = jnp.asarray(_tokens(), jnp.bfloat16)
    variables = module.init(jax.random.key(0), x)
    variables = jax.tree.map(lambda a: 20 * a, variables)  # scores of several units
    y = module.apply(variables, x)
    shifted = module.apply(variables, x, jnp.full((TOKENS, TOKENS), 1000.0))
    assert y.dtype == jnp.bfloat16
    assert compare.relative_error(shifted.astype(jnp.float32), y.astype(jnp.float32)) < 1e-2


def test_every_dropout_works_and_none_shares_its_mask_with_another():
    x, key = jnp.asarray(_tokens(), jnp.float32), {"dropout": jax.random.key(3)}
    paths = []

    def spy(call, args, kwargs, context):
        if isinstance(context.module, Dropout):
            paths.append(context.module.path)  # the mask follows from the key and the path
        return call(*args, **kwargs)

    for name in ("dropout", "attention_dropout", "drop_path"):
        layer = TransformerLayer(HEADS, HIDDEN, layers=Layers(train=True), **{name: 0.5})
        variables = layer.init(jax.random.key(0), x)
        paths.clear()
        with nn.intercept_methods(spy):
            dropped = layer.apply(variables, x, rngs=key)
        assert len(paths) == len(set(paths)) == 6
        assert not np.allclose(dropped, TransformerLayer(HEADS, HIDDEN).apply(variables, x))


def test_heads_must_share_the_channels():
    with pytest.raises(UserError, match=r"5 heads cannot share 24 channels"):
        MultiHeadAttention(5).init(jax.random.key(0), jnp.zeros((1, TOKENS, CHANNELS)))
