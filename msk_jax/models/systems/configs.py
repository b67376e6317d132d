"""What the networks of experiments are made of: settings alone. `build` imports the network."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msk_jax.errors import UserError
from msk_jax.models.registry import architecture, create

if TYPE_CHECKING:
    import flax.linen as nn
    import numpy as np


_LEVELS = 5
"""Of a detector's pyramid."""


class _OnResNet:
    """A network whose encoder is a ResNet, so that torchvision's weights may start it."""

    @staticmethod
    def load(
        variables: Mapping,
        state: "Mapping[str, np.ndarray]",
        rule: Literal["mean", "centre"] | None = "mean",
        size: Sequence[int] | None = None,
    ) -> dict:
        """`variables` with the tensors of the encoder, see `encoder_weights.load_encoder`."""
        from msk_jax.models.weights.encoder_weights import load_encoder

        return load_encoder(variables, state, rule, size)


@dataclasses.dataclass(frozen=True)
class MS25DNetConfig(_OnResNet):
    """What the network is made of. Only the five slices, ASPP and RFPN are published."""

    num_slices: int = 5
    """Neighbouring slices in a stack (published: 5)."""
    num_classes: int = 2
    """Classes of the softmax."""
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = "resnet34"
    """Encoder; not published."""
    width: int = 64
    """Channels of the encoder's first stage; 64 is a standard ResNet."""
    output_stride: int = 8
    """Input pixels per pixel of the encoder's last map; 8 keeps 16x16 of a 128x128 crop."""
    aspp: bool = True
    """Pool the last map at several dilation rates."""
    aspp_rates: tuple[int, ...] = (1, 2, 4, 6)
    """Dilation rates; not published. A rate above (map side - 1) / 2 is refused."""
    allow_degenerate: bool = False
    """Accept dilation rates that read only padding."""
    rfpn: bool = True
    """Fuse the stages with a residual feature pyramid."""
    pyramid_features: int = 256
    """Channels of ASPP and of the pyramid."""
    volumetric: bool = False
    """3-D ablation: 3-D convolutions over the slices instead of slices as channels."""
    dropout: float = 0.5
    """Dropout before the classifier and in ASPP."""

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        if self.rfpn:
            return ("pyramid0", "pyramid1")
        return ("context",) if self.aspp else ("stage4",)

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "nn.Module":
        """The network; `axis_name` synchronises batch norm over devices."""
        from msk_jax.models.systems.ms25dnet import MS25DNet

        return MS25DNet(self, axis_name=axis_name, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class TransferNetConfig(_OnResNet):
    """What the network is made of. Only the ResNet-50 is published."""

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    """Encoder."""
    width: int = 64
    """Channels of the encoder's first stage; 64 is a standard ResNet."""
    num_slices: int = 1
    """Neighbouring slices in a picture. For a single one colour weights are summed over their
    colours, which is the same as showing it to all three."""
    num_classes: int = 3
    """Classes of the softmax."""
    hidden: int = 256
    """Features between the two layers of the head."""
    dropout: float = 0.5
    """Dropout before the head."""

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        return ("stage3", "stage4")

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "nn.Module":
        """The network; `axis_name` synchronises batch norm over devices."""
        from msk_jax.models.systems.transfer import TransferNet

        return TransferNet(self, axis_name=axis_name, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class GridNetConfig(_OnResNet):
    """What the network is made of. ResNet-18, Transformer and the 6 x 6 grid are published."""

    backbone: Literal["resnet10", "resnet18", "resnet34"] = "resnet18"
    """Trunk of convolutions."""
    width: int = 64
    """Channels of the trunk's first stage; 64 is a standard ResNet."""
    reading: Literal["patches", "whole"] = "patches"
    """What goes through the trunk: every cell of the grid by itself, so that cells know of each
    other by attention alone, or the whole picture in one pass, whose map is cut into cells."""
    stages: int = 4
    """Stages of the trunk, 1 to 4. A whole ResNet has 4; each one less leaves a map twice as fine,
    whose channels are simpler."""
    grid: int = 6
    """Cells along each side."""
    token_norm: bool = False
    """Batch norm of the tokens, each channel over all cells and pictures: what differs between
    pictures is small beside what all of them have."""
    depth: int = 4
    """Layers of the Transformer; of 0 there is none, and the mean of the cells is classified."""
    num_heads: int = 8
    """Heads of its attention."""
    mlp_ratio: float = 4.0
    """Width of its perceptrons, in widths of a token."""
    dropout: float = 0.1
    """Dropout of its layers."""
    summary: Literal["class token", "mean"] = "class token"
    """What is classified: the class token, or the mean of the tokens of all cells."""
    num_slices: int = 1
    """Pictures that are seen together; a radiograph is one."""
    num_classes: int = 2
    """Classes of the softmax."""

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        return ("map",)

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "nn.Module":
        """The network; `axis_name` synchronises batch norm over devices."""
        from msk_jax.models.systems.grid_net import GridNet

        return GridNet(self, axis_name=axis_name, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class DetectorConfig:
    """A Faster R-CNN on a ResNet with a feature pyramid, see `detection.FasterRCNN`."""

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    """The encoder, one of the ResNets."""
    width: int = 64
    """Channels of the encoder's first stage; 64 is a standard ResNet."""
    norm: Literal["frozen", "batch"] = "frozen"
    """Norms of the encoder: those of a trained one, which learn nothing; or batch norm, over the
    batch of all devices, where all is learned from the start."""
    pyramid_features: int = 256
    """Channels of the pyramid."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Sides of the anchors in pixels, from the finest of the five levels on, as many of each: ten
    are two of each level."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    anchor_samples: int = 256
    """Anchors of a picture that the proposals learn from."""
    proposals: int = 1000
    """Proposals of a picture, and the most that are looked at on a level."""
    box_samples: int = 512
    """Regions of a picture that the head learns from."""
    box_positives: float = 0.25
    """Largest share of objects among them."""
    box_features: int = 1024
    """Features of the head's two layers."""
    score: float = 0.05
    """Least probability of a detection."""
    nms: float = 0.5
    """Overlap with a better one of its class that removes a detection."""
    max_detections: int = 100
    """Detections of a picture."""
    norm_epsilon: float = 1e-5
    """Added to the variance in the encoder's norms; 0 for torchvision's weights of COCO."""
    num_slices: int = 3
    """Planes of a picture: red, green and blue."""
    num_classes: int = 4
    """Classes of objects, and the background."""

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """None: boxes say themselves where something was seen."""
        return ()

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "nn.Module":
        """The network; `axis_name` synchronises batch norm over devices.

        Raises:
            UserError: sizes of anchors that five levels cannot share evenly.
        """
        from msk_jax.models.detection import FasterRCNN, ProposalRule

        each, rest = divmod(len(self.anchor_sizes), _LEVELS)
        if rest or not each:
            raise UserError(
                f"--anchor-sizes has {len(self.anchor_sizes)} numbers; the pyramid has {_LEVELS} "
                f"levels, and each needs as many. Give {_LEVELS}, {2 * _LEVELS} or more."
            )
        sizes = self.anchor_sizes
        levels = tuple(sizes[k : k + each] for k in range(0, len(sizes), each))

        rule = ProposalRule(self.proposals, self.proposals)
        same = ("backbone", "width", "pyramid_features", "anchor_ratios")
        same += ("anchor_samples", "box_samples", "box_positives", "box_features", "score", "nms")
        same += ("max_detections", "norm_epsilon", "num_classes")
        return FasterRCNN(
            in_channels=self.num_slices,
            axis_name=axis_name,
            dtype=dtype,
            frozen_norm=self.norm == "frozen",
            train_rule=rule,
            test_rule=rule,
            losses_per_image=True,
            anchor_sizes=levels,
            **{name: getattr(self, name) for name in same},
        )

    def load(
        self,
        variables: Mapping,
        state: "Mapping[str, np.ndarray]",
        size: Sequence[int] | None = None,
    ) -> dict:
        """`variables` with the tensors of a torchvision detector of the same backbone, see
        `zoo_weights.load_network`."""
        from msk_jax.models.weights.zoo_weights import load_network

        return load_network("fasterrcnn_resnet50_fpn", variables, state, size)


@dataclasses.dataclass(frozen=True)
class ZooNetConfig:
    """Which network it is, and what of it differs from the registry's."""

    network: str = "resnet18"
    """Its name; `msk-jax models` lists them. It must classify pictures."""
    settings: tuple[tuple[str, float], ...] = ()
    """Fields of the network that differ, as `--settings dropout 0.5 width_factor 0.5`."""
    num_slices: int = 1
    """Pictures that are seen together, as the channels of the first convolution. For a single one
    colour weights are summed over their colours, which is the same as showing it to all three."""
    num_classes: int = 2
    """Classes of the softmax."""
    explained: tuple[str, ...] = ()
    """Endpoints whose evidence Grad-CAM shows; none takes the last stage (of a ViT give `stage3`,
    for its logits do not depend on the patches of the last)."""

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        stages = [name for name in architecture(self.network).endpoints if "stage" in name]
        return self.explained or (max(stages),)

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "nn.Module":
        """The network; `axis_name` synchronises batch norm over devices.

        Raises:
            UserError: no such network, one of volumes, a detector, or no such field.
        """
        entry = architecture(self.network)
        if entry.returns != "logits":
            raise UserError(
                f"{self.network} gives {entry.returns}, not logits: it does not classify pictures. "
                "Give another --network; `msk-jax models` lists them."
            )
        if (rank := entry.network.spatial_rank) != 2:
            raise UserError(
                f"{self.network} takes volumes ({rank} axes), and pictures have two. Give another "
                "--network; `msk-jax models` lists them."
            )
        # Flags know no whole numbers beside fractions.
        changed = {key: int(v) if float(v).is_integer() else v for key, v in self.settings}
        return create(
            self.network,
            num_classes=self.num_classes,
            in_channels=self.num_slices,
            axis_name=axis_name,
            dtype=dtype,
            **changed,
        )

    def load(
        self,
        variables: Mapping,
        state: "Mapping[str, np.ndarray]",
        size: Sequence[int] | None = None,
    ) -> dict:
        """`variables` with the tensors of a PyTorch state dict, see `zoo_weights.load_network`."""
        from msk_jax.models.weights.zoo_weights import load_network

        return load_network(self.network, variables, state, size)
