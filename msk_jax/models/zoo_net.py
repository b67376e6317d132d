"""Any network of the registry as the network of an experiment, by its name."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msk_jax.errors import UserError
from msk_jax.models.network import Network
from msk_jax.models.registry import architecture, create
from msk_jax.models.torch_weights import load_torch, recognise, rename, unwrapped


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

    def build(self, axis_name: str | None = None, dtype: Any = None) -> Network:
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
        state: Mapping[str, np.ndarray],
        size: Sequence[int] | None = None,
    ) -> dict:
        """`variables` with the tensors of a PyTorch state dict, see `torch_weights.load_torch`.

        The head keeps its own values where the classes differ; an auxiliary head that the network
        has not is left out.

        Args:
            variables: of the network.
            state: in any of the network's namings.
            size: height and width of the pictures, to which weights that depend on it are fitted.
        """
        entry = architecture(self.network)
        state = unwrapped(state, variables, entry.known_namings.values(), entry.aliases)
        if entry.fit and size is not None:
            state = entry.fit(state, size)
        pairs = entry.known_namings[recognise(entry, state, variables)]
        if entry.auxiliary and entry.auxiliary not in variables["params"]:
            state = {
                name: tensor
                for name, tensor in state.items()
                if not rename(name, pairs).startswith(f"{entry.auxiliary}.")
            }
        return load_torch(variables, state, pairs, entry.head, entry.stem, aliases=entry.aliases)
