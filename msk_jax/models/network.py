"""What every network of the zoo shares: interface, checks, and its entry in the registry."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import numpy as np

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import Layers, endpoint, per_axis


class Network(nn.Module):
    """A network: `[batch, *spatial, in_channels]` -> (logits, endpoints).

    `axis_name` synchronises batch norm over devices; `dtype` is the type of the products
    (`jnp.bfloat16` for mixed precision), while parameters, statistics and logits stay float32.
    """

    num_classes: int = 1000
    in_channels: int = 3
    axis_name: str | None = None
    dtype: Any = None

    spatial_rank: ClassVar[int] = 2
    smallest: ClassVar[int] = 1
    """The fewest pixels along any spatial axis that it takes."""

    def layers(self, train: bool) -> Layers:
        """The layers for this call."""
        return Layers(train, self.axis_name, self.dtype)

    def check_input(self, x: jax.Array, smallest: int | None = None) -> None:
        """Refuse an input that this network cannot take, and fields that no network can have.

        Args:
            x: the input.
            smallest: the fewest pixels along any spatial axis; by default those of the class.

        Raises:
            UserError: wrong rank, wrong number of channels, empty, or too small.
        """
        name, rank = type(self).__name__, self.spatial_rank
        smallest = self.smallest if smallest is None else smallest
        check_counts(name, num_classes=self.num_classes, in_channels=self.in_channels)
        axes = ", ".join(("depth", "height", "width")[-rank:])
        if x.ndim != rank + 2:
            raise UserError(
                f"{name} takes [batch, {axes}, channels], {rank + 2} axes; the input has "
                f"{x.ndim}: {tuple(x.shape)}."
            )
        if x.shape[-1] != self.in_channels:
            raise UserError(
                f"{name} was made for {self.in_channels} input channels (in_channels); the "
                f"input has {x.shape[-1]} on its last axis: {tuple(x.shape)}."
            )
        if x.shape[0] < 1:
            raise UserError(f"{name} was given an empty batch: {tuple(x.shape)}.")
        if min(x.shape[1:-1]) < smallest:
            raise UserError(
                f"{name} needs at least {smallest} pixels along every axis; the input has "
                f"{' x '.join(map(str, x.shape[1:-1]))}."
            )

    def check_stages(self, *fields: str) -> None:
        """Raises UserError where fields with an entry per stage speak of different stages."""
        lengths = {name: len(getattr(self, name)) for name in fields}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise UserError(f"{type(self).__name__} needs one entry per stage: {told}.")

    def check_divisible(self, x: jax.Array, strides: int | Sequence[int]) -> None:
        """Refuse an input whose size the network cannot divide evenly.

        Args:
            x: the input.
            strides: by how much the network divides the size, one number for all spatial axes or
                one per axis.

        Raises:
            UserError: the size along an axis is not a multiple of its stride.
        """
        sizes = x.shape[1:-1]
        each = per_axis(strides, len(sizes))
        if any(size % stride for size, stride in zip(sizes, each, strict=True)):
            wanted = strides if isinstance(strides, int) else " x ".join(map(str, strides))
            raise UserError(
                f"{type(self).__name__} needs sizes that are multiples of {wanted}; the input has "
                f"{' x '.join(map(str, sizes))}. Pad or crop it."
            )

    def mark(self, endpoints: dict[str, Any], name: str, x: jax.Array) -> jax.Array:
        """`x`, kept as an endpoint of this name that Grad-CAM can ask about."""
        endpoints[name] = endpoint(self, name, x)
        return endpoints[name]


def check_counts(network: str, **counts: Any) -> None:
    """Raises UserError where one of these fields of a network is no whole number from 1."""
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise UserError(f"{network} needs {name} of at least 1; {count!r} was given.")


def variable_shapes(model: nn.Module, *inputs: Any) -> dict[str, Any]:
    """`params` and, where there are any, `batch_stats` of a module, as shapes.

    Args:
        model: any module.
        *inputs: arrays, or their shapes, that it is called with; nothing is computed.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return {kind: shapes[kind] for kind in ("params", "batch_stats") if kind in shapes}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network of the registry, and the network by others that it must equal."""

    network: type[Network]
    """The class."""
    settings: Mapping[str, Any]
    """Its fields."""
    size: tuple[int, ...]
    """Native spatial size of the input."""
    parameters: int
    """Trainable numbers of the reference with its own head."""
    reference: str
    """Dotted name of the class or function that makes the reference, `torchvision.models.vgg16`."""
    reference_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its keyword arguments."""
    reference_parts: Mapping[str, tuple[str, Mapping[str, Any]]] = dataclasses.field(
        default_factory=dict
    )
    """Its keyword arguments that are modules themselves: dotted name and keyword arguments of
    what makes each."""
    returns: Literal["logits", "detections"] = "logits"
    """What it gives beside its endpoints, and so how it is compared: `logits`, an array; or
    `detections`, boxes with scores and labels, and losses where it is given targets."""
    size_setting: str = ""
    """Its keyword for the input's size, where its weights depend on that."""
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Our endpoint -> the reference's module whose output it equals, as `fc`, or input, as
    `fc:input`."""
    supervised: Sequence[str] = ()
    """Endpoints that stand beside the logits in the loss (deep supervision)."""
    channels_last: Sequence[str] = ()
    """Endpoints that are channels-last in the reference too."""
    head: Sequence[str] = ()
    """Modules of the classifier, in PyTorch's names: exchanged when the classes differ."""
    stem: str = ""
    """The first convolution, in PyTorch's names: fitted to the number of input channels."""
    small: tuple[int, ...] = ()
    """A spatial size for quick tests."""
    small_in_training: tuple[int, ...] = ()
    """The same in training; empty where that asks for no more than `small`."""
    batch_in_training: int = 2
    """Pictures of a batch when training is compared with the reference's."""
    odd: tuple[int, ...] = ()
    """A size not divisible by the strides that the network takes; empty if it takes none."""
    namings: Mapping[str, Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    """Other people's names: naming -> pairs (their pattern, ours), see `torch_weights.Naming`."""
    auxiliary: str = ""
    """Module of the auxiliary head, which a network has if its field `auxiliary` is set."""
    told: Callable[[Mapping[str, np.ndarray]], dict[str, Any]] | None = None
    """Fields that a state dict, by our names, tells beside classes and channels."""
    index_tables: Callable[[Mapping[str, np.ndarray]], dict] | None = None
    """Where the reference's state dict has tables beside the weights: makes them of its weights."""
    aliases: Sequence[tuple[str, str]] = ()
    """Modules that the reference's state dict lists twice: pairs (second name, first name)."""
    fit: Callable[[Mapping[str, np.ndarray], Sequence[int]], dict] | None = None
    """Where weights depend on the input's size: makes of a state dict, in any of the namings, one
    for another size."""
    tolerance: float = 1e-5
    """Relative error of a float32 forward pass that rounding explains; more than 1e-5 with a
    reason beside it."""

    @property
    def known_namings(self) -> dict[str, Sequence[tuple]]:
        """`namings`, and first the reference's own, called as the package that it is from."""
        return {self.reference.partition(".")[0]: (), **self.namings}

    @property
    def training_size(self) -> tuple[int, ...]:
        """A spatial size for quick tests in training mode."""
        return self.small_in_training or self.small
