"""ASPP and feature pyramids against torchvision's, DenseASPP against its authors' layout."""

import numpy as np
import pytest

from msk_jax.models.blocks.aspp import ASPP, DenseASPP
from msk_jax.models.blocks.fpn import FPN
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.rfpn import ResidualFPN
from tests.parity.blocks import block_errors, check

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
references = pytest.importorskip("msk_jax.parity.references")


def _map(height, width, channels, batch=2, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, height, width, channels))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("rates", [(12, 24, 36), (1, 2, 4, 6)])
def test_aspp(need, rates, train):
    """On a map that the widest rate can just show."""
    need("torchvision")
    reference = references.locate("torchvision.models.segmentation.deeplabv3.ASPP")(3, rates, 4)
    references.without_chance(reference)
    side = 2 * max(rates) + 1
    module = ASPP(4, rates, dropout=0.0, layers=Layers(train))
    check(block_errors(module, reference, _map(side, side + 2, 3), train=train))


class TorchDenseASPP(torch.nn.Module):
    """Yang et al., 2018: norm, rectifier, 1x1, norm, rectifier, dilated 3x3, then concatenated."""

    def __init__(self, channels, bottleneck, growth, rates):
        super().__init__()
        self.rates = rates
        for i, rate in enumerate(rates):
            block = torch.nn.Sequential()
            if i:
                block.add_module("norm_1", torch.nn.BatchNorm2d(channels))
            block.add_module("relu_1", torch.nn.ReLU())
            block.add_module("conv_1", torch.nn.Conv2d(channels, bottleneck, 1))
            block.add_module("norm_2", torch.nn.BatchNorm2d(bottleneck))
            block.add_module("relu_2", torch.nn.ReLU())
            block.add_module(
                "conv_2",
                torch.nn.Conv2d(bottleneck, growth, 3, padding=rate, dilation=rate),
            )
            self.add_module(f"ASPP_{rate}", block)
            channels += growth

    def forward(self, x):
        for rate in self.rates:
            x = torch.cat([getattr(self, f"ASPP_{rate}")(x), x], 1)
        return x


@pytest.mark.parametrize("train", [False, True])
def test_dense_aspp(train):
    rates = (3, 6, 12)
    naming = [
        (f"ASPP_{rate}.{part}_{i}", f"ASPP_{rate}.{part}.{i}")
        for rate in rates
        for part in ("norm", "conv")
        for i in (1, 2)
    ]
    module = DenseASPP(growth=3, bottleneck=4, rates=rates, layers=Layers(train))
    reference = TorchDenseASPP(5, 4, 3, rates)
    check(block_errors(module, reference, _map(25, 26, 5), train=train, naming=naming))


class _TorchPyramid(torch.nn.Module):
    """torchvision's pyramid with a list in and out; its path is that of the pyramid itself."""

    def __init__(self, pyramid):
        super().__init__()
        self.inner_blocks, self.layer_blocks = pyramid.inner_blocks, pyramid.layer_blocks
        self.pyramid = [pyramid]  # in a list: not a submodule

    def forward(self, maps):
        return list(self.pyramid[0]({str(i): x for i, x in enumerate(maps)}).values())


@pytest.mark.parametrize("pool", [False, True])
def test_feature_pyramid(need, pool):
    """Odd sizes too: the coarse map is stretched to the finer one by a factor that is not 2."""
    need("torchvision")
    extra = references.locate("torchvision.ops.feature_pyramid_network.LastLevelMaxPool")()
    make = references.locate("torchvision.ops.FeaturePyramidNetwork")
    reference = _TorchPyramid(make([3, 4, 5], 6, extra_blocks=extra if pool else None))
    maps = [_map(19, 16, 3), _map(10, 8, 4, seed=2), _map(5, 4, 5, seed=3)]
    check(block_errors(FPN(6, pool=pool), reference, maps))


class _TorchResidualPyramid(torch.nn.Module):
    """The same merging with the residual refinement, written out."""

    def __init__(self, pyramid, features, levels):
        super().__init__()
        self.inner_blocks = pyramid.inner_blocks
        self.refine = torch.nn.ModuleList(
            torch.nn.ModuleDict(
                {
                    "conv1": torch.nn.Conv2d(features, features, 3, padding=1, bias=False),
                    "bn1": torch.nn.BatchNorm2d(features),
                    "conv2": torch.nn.Conv2d(features, features, 3, padding=1, bias=False),
                    "bn2": torch.nn.BatchNorm2d(features),
                }
            )
            for _ in range(levels)
        )

    def forward(self, maps):
        below, out = None, []
        for lateral, refine, x in reversed(
            list(zip(self.inner_blocks, self.refine, maps, strict=True))
        ):
            p = lateral(x)
            if below is not None:
                p = p + torch.nn.functional.interpolate(below, size=p.shape[-2:])
            below = p
            y = torch.relu(refine["bn1"](refine["conv1"](p)))
            out.insert(0, torch.relu(p + refine["bn2"](refine["conv2"](y))))
        return out


def test_residual_feature_pyramid(need):
    need("torchvision")
    pyramid = references.locate("torchvision.ops.FeaturePyramidNetwork")([3, 4, 5], 6)
    reference = _TorchResidualPyramid(pyramid, 6, 3)
    maps = [_map(19, 16, 3), _map(10, 8, 4, seed=2), _map(5, 4, 5, seed=3)]
    check(block_errors(ResidualFPN(6, Layers(train=True)), reference, maps))
