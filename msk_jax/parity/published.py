"""Networks written in PyTorch from their papers, where no library has them.

They share nothing with ours but the paper: another person's reading would be better, and is used
wherever there is one (`parity.references`).
"""

import torch
from torch import nn


class _Level(nn.Module):
    """A level of the generator's U-Net, with all levels below it inside."""

    def __init__(self, outside: int, widths: list[int]):
        super().__init__()
        features, *below = widths
        layers = [
            nn.LeakyReLU(0.2),
            nn.Conv2d(outside, features, kernel_size=4, stride=2, padding=1, bias=False),
        ]
        if below:
            layers += [nn.BatchNorm2d(features), _Level(features, below)]
        layers += [
            nn.ReLU(),
            nn.ConvTranspose2d(
                2 * features if below else features,
                outside,
                kernel_size=4,
                stride=2,
                padding=1,
                bias=False,
            ),
            nn.BatchNorm2d(outside),
        ]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return torch.cat((x, self.model(x)), dim=1)


class _Outermost(nn.Module):
    """No norms, no rectifier before the first convolution, tanh at the end."""

    def __init__(self, in_channels: int, out_channels: int, widths: list[int]):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], kernel_size=4, stride=2, padding=1, bias=False),
            _Level(widths[0], widths[1:]),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * widths[0], out_channels, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.model(x)


class Pix2PixGenerator(nn.Module):
    """Isola et al., 2017, appendix 6.1: encoder C64-C128-C256-C512 x 5, decoder the same upwards.

    Without dropout, and after the paper's erratum without a norm at the 1x1 bottleneck.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 3, width: int = 64, depth=8):
        super().__init__()
        widths = [width, 2 * width, 4 * width] + [8 * width] * (depth - 3)
        self.model = _Outermost(in_channels, out_channels, widths)

    def forward(self, x):
        return self.model(x)
