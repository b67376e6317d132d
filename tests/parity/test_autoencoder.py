"""The attention-guided autoencoder against its formulas in torch; sizes that cannot come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.registry import create
from msk_jax.models.zoo.autoencoder import AttentionAutoencoder
from tests.parity.blocks import block_errors, check

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
nn = torch.nn

WIDTHS, CODE, SIZE = (3, 5), 7, (8, 12, 8)


class TorchUnit(nn.Module):
    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.conv = nn.Conv3d(channels, width, 3, stride, 1)
        self.adn = nn.ModuleDict({"N": nn.BatchNorm3d(width)})

    def forward(self, x):
        return torch.relu(self.adn["N"](self.conv(x)))


class TorchCBAM(nn.Module):
    """Woo et al., 2018, in three dimensions, with one hidden channel."""

    def __init__(self, channels):
        super().__init__()
        self.channel = nn.ModuleDict(
            {
                "fc1": nn.Conv3d(channels, 1, 1, bias=False),
                "fc2": nn.Conv3d(1, channels, 1, bias=False),
            }
        )
        conv = {"conv": nn.Conv3d(2, 1, 7, padding=3, bias=False), "bn": nn.BatchNorm3d(1)}
        self.spatial = nn.ModuleDict({"conv": nn.ModuleDict(conv)})

    def forward(self, x):
        mlp = [
            self.channel["fc2"](torch.relu(self.channel["fc1"](y)))
            for y in (x.mean((2, 3, 4), keepdim=True), x.amax((2, 3, 4), keepdim=True))
        ]
        x = x * torch.sigmoid(mlp[0] + mlp[1])
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        where = self.spatial["conv"]
        return x * torch.sigmoid(where["bn"](where["conv"](both)))


class TorchAttentionAutoencoder(nn.Module):
    """The attention autoencoder, written out."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, channels = nn.ModuleList(), nn.ModuleList(), 1
        for width in WIDTHS:
            parts = {
                "conv1": TorchUnit(channels, width),
                "conv2": TorchUnit(width, width),
                "attention": TorchCBAM(width),
                "down": TorchUnit(width, width, 2),
            }
            self.encoder.append(nn.Sequential())
            for name, part in parts.items():
                self.encoder[-1].add_module(name, part)
            channels = width
        self.pool = nn.Sequential(
            nn.Linear(channels, CODE), nn.Tanh(), nn.Linear(CODE, 1, bias=False)
        )
        self.reduce = nn.Linear(2 * channels, CODE)
        self.gate = nn.Parameter(torch.zeros(CODE))
        self.small = [side // 4 for side in SIZE]
        self.expand = nn.Linear(CODE, int(np.prod(self.small)) * channels)
        for width in reversed(WIDTHS):
            parts = {
                "up": nn.ConvTranspose3d(channels, width, 2, 2),
                "conv1": TorchUnit(width, width),
                "conv2": TorchUnit(width, width),
            }
            self.decoder.append(nn.Sequential())
            for name, part in parts.items():
                self.decoder[-1].add_module(name, part)
            channels = width
        self.restore = nn.Conv3d(channels, 1, 1)
        self.fc = nn.Linear(CODE, 2)

    def forward(self, x):
        for level in self.encoder:
            x = level(x)
        pixels = x.flatten(2).transpose(1, 2)
        weight = torch.softmax(self.pool(pixels), 1)
        pooled = torch.cat([pixels.mean(1), (weight * pixels).sum(1)], 1)
        gate = torch.sigmoid(self.gate)
        kept = torch.tanh(self.reduce(pooled)) * gate
        # Our dense layer fills the map channels last.
        x = self.expand(kept).view(len(x), *self.small, WIDTHS[-1]).permute(0, 4, 1, 2, 3)
        for level in self.decoder:
            x = level(x)
        return {
            "attention": weight[..., 0],
            "features": kept,
            "gate": gate,
            "logits": self.fc(kept),
            "reconstruction": self.restore(x),
        }


class _Outputs(AttentionAutoencoder):
    def __call__(self, x):
        logits, endpoints = super().__call__(x, train=True)
        shown = ("attention", "features", "gate", "reconstruction")
        outputs = {"logits": logits, **{name: endpoints[name] for name in shown}}
        return outputs | {"attention": outputs["attention"].reshape(len(x), -1)}


def test_attention_autoencoder_in_training():
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(3, *SIZE, 1))
    module = _Outputs(widths=WIDTHS, code_size=CODE)
    check(block_errors(module, TorchAttentionAutoencoder(), x), limit=1e-9)


def test_sizes_that_cannot_come_back_are_refused():
    model = create("autoencoder")
    with pytest.raises(UserError, match=r"multiples of 16; the input has 32 x 40"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 40, 1)))
