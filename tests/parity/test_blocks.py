"""Blocks against timm's, PyTorch's, and the published formulas written out in torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.blocks.channel_attention import CBAM
from msk_jax.models.blocks.fusion import SequenceFusion
from msk_jax.models.blocks.grid_transformer import GridTransformer
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.transnorm import (
    TransNorm,
    TransNormLayers,
    for_two_domains,
    transferability,
)
from msk_jax.models.network import variable_shapes
from msk_jax.models.weights.torch_weights import load_torch
from msk_jax.models.zoo.resnet import ResNet
from msk_jax.parity.compare import relative_error
from tests.parity.blocks import block_errors, check

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
references = pytest.importorskip("msk_jax.parity.references")


def _random(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("train", [False, True])
def test_cbam(need, train):
    need("torchvision", "timm")
    reference = references.locate("timm.layers.cbam.CbamModule")(40)
    module = CBAM(layers=Layers(train))
    check(block_errors(module, reference, _random(3, 9, 8, 40) + 0.5, train=train))


def test_cbam_in_three_dimensions_and_half_precision():
    x = jnp.asarray(_random(1, 5, 6, 7, 16), jnp.bfloat16)
    y, variables = CBAM(layers=Layers(dtype=jnp.bfloat16)).init_with_output(jax.random.key(0), x)
    assert y.shape == x.shape and y.dtype == jnp.bfloat16
    assert variables["params"]["spatial.conv.conv"]["kernel"].shape == (7, 7, 7, 2, 1)


class TorchTransNorm(torch.nn.Module):
    """The formulas of Wang et al., 2019."""

    def __init__(self, channels, epsilon=1e-5, momentum=0.1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        for domain in ("source", "target"):
            self.register_buffer(f"running_mean_{domain}", torch.zeros(channels))
            self.register_buffer(f"running_var_{domain}", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.epsilon, self.momentum = epsilon, momentum

    def forward(self, x):
        def wide(v):
            return v.view(1, -1, 1, 1)

        if self.training:
            parts, moments = [], []
            for domain, half in zip(("source", "target"), x.chunk(2), strict=True):
                mean = half.mean((0, 2, 3))
                biased = half.var((0, 2, 3), unbiased=False)
                unbiased = half.var((0, 2, 3), unbiased=True)
                moments.append((mean, unbiased))
                parts.append((half - wide(mean)) / torch.sqrt(wide(biased) + self.epsilon))
                with torch.no_grad():
                    for name, new in (("mean", mean), ("var", unbiased)):
                        old = getattr(self, f"running_{name}_{domain}")
                        old.copy_((1 - self.momentum) * old + self.momentum * new)
            z = torch.cat(parts)
        else:
            moments = [
                (getattr(self, f"running_mean_{d}"), getattr(self, f"running_var_{d}"))
                for d in ("source", "target")
            ]
            z = (x - wide(moments[1][0])) / torch.sqrt(wide(moments[1][1]) + self.epsilon)
        (mean_s, var_s), (mean_t, var_t) = moments
        d = (mean_s / (var_s + self.epsilon).sqrt() - mean_t / (var_t + self.epsilon).sqrt()).abs()
        alpha = len(d) * (1 / (1 + d)) / (1 / (1 + d)).sum()
        z = wide(self.weight) * z + wide(self.bias)
        return z * (1 + wide(alpha.detach()))


@pytest.mark.parametrize("train", [False, True])
def test_transnorm(train):
    x = _random(6, 5, 4, 7) * np.linspace(0.5, 2, 7) + np.linspace(-1, 1, 7)
    x[3:] += 0.7  # another domain
    check(block_errors(TransNorm(train), TorchTransNorm(7), x, train=train))


def test_transnorm_by_its_published_numbers():
    """The numeric anchor, and twice batch norm where the domains are equal."""
    source = (jnp.array([0.0, 1.0, 2.0]), jnp.array([1.0, 4.0, 1.0]))
    target = (jnp.array([0.5, 1.0, -1.0]), jnp.array([1.0, 1.0, 4.0]))
    alpha = transferability(source, target)
    np.testing.assert_allclose(alpha, [1.2352932, 1.2352947, 0.5294121], rtol=1e-6)
    x = jnp.asarray(_random(4, 6, 6, 5), jnp.float32)
    module = TransNorm(train=True)
    variables = module.init(jax.random.key(0), x)
    twice = jnp.concatenate([x, x])
    y, _ = module.apply(variables, twice, mutable=["batch_stats"])
    expected = 2 * (x - x.mean((0, 1, 2))) / jnp.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y[:4], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"as many source as target .* has 5"):
        module.apply(variables, twice[:5], mutable=["batch_stats"])


class TransNormResNet(ResNet):
    def layers(self, train):
        return TransNormLayers(train, self.axis_name, self.dtype)


def test_a_resnet_with_transnorm_and_weights_of_one_with_batch_norm(need):
    need("torchvision")
    make = references.locate("torchvision.models.resnet18")
    reference = make(num_classes=2, norm_layer=TorchTransNorm).eval()
    references.randomise(reference)
    x = _random(2, 32, 32, 3).astype(np.float32)
    split = TransNormResNet(2, backbone="resnet18")
    empty = variable_shapes(split, x)
    variables = load_torch(empty, references.state_of(reference))
    logits, _ = jax.jit(split.apply)(variables, x)
    with torch.no_grad():
        expected = reference(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert relative_error(logits, expected) < 1e-5

    plain = variable_shapes(ResNet(2, backbone="resnet18"), x)
    both = for_two_domains(plain["batch_stats"])
    assert jax.tree.structure(both) == jax.tree.structure(empty["batch_stats"])
    one = for_two_domains({"bn1": {"mean": 1, "var": 2}})["bn1"]
    assert (one["running_mean_source"], one["running_var_target"]) == (1, 2)


class TorchGrid(torch.nn.Module):
    def __init__(self, cells, channels, heads, hidden, depth):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(
            channels,
            heads,
            hidden,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        encoder = torch.nn.TransformerEncoder(
            layer, depth, torch.nn.LayerNorm(channels, 1e-6), enable_nested_tensor=False
        )
        self.layers, self.norm, self.encoder = encoder.layers, encoder.norm, [encoder]
        self.cls_token = torch.nn.Parameter(torch.randn(1, 1, channels))
        self.pos_embedding = torch.nn.Parameter(torch.randn(1, cells + 1, channels))

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        tokens = self.encoder[0](tokens + self.pos_embedding)
        return tokens[:, 0], tokens[:, 1:]


def test_grid_transformer():
    module = GridTransformer(depth=2, num_heads=4, mlp_ratio=2.0, dropout=0.0)
    torch.manual_seed(0)
    check(block_errors(module, TorchGrid(12, 16, 4, 32, 2), _random(3, 4, 3, 16)))


class TorchFusion(torch.nn.Module):
    """The fusion in torch; missing sequences are left out of every sum by an index."""

    def __init__(self, sequences, channels, hidden, present):
        super().__init__()
        nn = torch.nn
        self.intra = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, 1))
            for _ in range(sequences)
        )
        self.inter = nn.Sequential(
            nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)
        )
        self.self_attn = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.present = present

    def forward(self, maps):  # channels-first: [batch, channels, sequences, height, width]
        fused = []
        for x, present in zip(maps, self.present, strict=True):
            vectors = []
            for m in np.flatnonzero(present):
                pixels = x[:, m].flatten(1).T
                weight = torch.softmax(self.intra[m](pixels), 0)
                vectors.append((weight * pixels).sum(0))
            vectors = torch.stack(vectors)
            share = torch.softmax(self.inter(vectors), 0)
            attended = self.self_attn(vectors[None], vectors[None], vectors[None])[0][0]
            fused.append(torch.cat([(share * vectors).sum(0), (share * attended).sum(0)]))
        return torch.stack(fused)


class _WithPresent(SequenceFusion):
    """With the sequences that are there fixed, and the vector alone."""

    def __call__(self, maps):
        return super().__call__(maps, PRESENT)[0]


PRESENT = np.array([[True, True, True], [True, False, True], [False, True, False]])


def test_sequence_fusion_with_missing_sequences():
    module = _WithPresent(hidden=5, num_heads=2)
    maps = _random(3, 3, 4, 5, 6)
    check(block_errors(module, TorchFusion(3, 6, 5, PRESENT), maps))


def test_what_a_missing_sequence_holds_has_no_influence():
    module = SequenceFusion(hidden=5, num_heads=2)
    maps = jnp.asarray(_random(4, 3, 4, 5, 6), jnp.float32)
    present = jnp.asarray([*PRESENT, [False, False, False]])
    variables = jax.jit(module.init)(jax.random.key(0), maps)

    @jax.jit
    def run(maps):
        fused, endpoints = module.apply(variables, maps, present)
        return jnp.sum(fused), (fused, endpoints)

    nonsense = jnp.where(present[:, :, None, None, None], maps, jnp.nan)
    gradient, (fused, endpoints) = jax.grad(run, has_aux=True)(nonsense)
    np.testing.assert_array_equal(fused, run(maps)[1][0])
    np.testing.assert_array_equal(fused[3], 0)
    shares = endpoints["sequence_attention"]
    np.testing.assert_allclose(shares.sum(1), [1, 1, 1, 0], rtol=1e-6)
    np.testing.assert_array_equal(shares > 0, present)
    np.testing.assert_allclose(endpoints["spatial_attention"].sum((2, 3)), 1, rtol=1e-5)
    assert bool(jnp.isfinite(gradient).all())
    with pytest.raises(UserError, match=r"present must be \[batch, sequences\] = \(4, 3\)"):
        module.apply(variables, maps, present[:, :2])
