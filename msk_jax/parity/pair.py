"""A network of ours with its reference's weights, and what the two are asked."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.network import Architecture, Network
from msk_jax.parity.references import as_tensor, channels_last, outputs_of


@dataclasses.dataclass(frozen=True)
class Pair:
    """A network that gives logits, with its reference's weights, and the reference."""

    architecture: Architecture
    model: Network
    variables: dict
    reference: object  # torch.nn.Module

    @staticmethod
    def prepare(reference) -> None:
        """Change random weights of the reference where they would show nothing."""

    def arrays(self, dtype) -> dict:
        """The variables in another precision."""
        return jax.tree.map(lambda a: jnp.asarray(a, dtype), self.variables)

    def images(self, size: Sequence[int], batch: int, seed: int, dtype=np.float32) -> np.ndarray:
        """Random inputs, `[batch, *size, channels]`."""
        shape = (batch, *size, self.model.in_channels)
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)

    def forward_errors(self, x: np.ndarray) -> dict[str, float]:
        """Relative error of the logits and of every endpoint, evaluation mode, float32."""
        import torch

        self.reference.eval().float()
        with torch.no_grad():
            outputs = self._reference_outputs(x, self.architecture.endpoints)
        logits, endpoints = jax.jit(self.model.apply)(self.arrays(jnp.float32), x)
        ours = {**endpoints, "logits": logits}
        as_is = self.architecture.channels_last
        theirs = {
            name: value.numpy() if name in as_is else channels_last(value)
            for name, value in outputs.items()
        }
        return {name: relative_error(ours[name], theirs[name]) for name in theirs}

    def reference_losses(self, x: np.ndarray, seed: int) -> tuple[dict, dict[str, np.ndarray]]:
        """The reference's losses by name, and what `losses` must know to compute the same.

        Here the mean squared distance of every output from a random target, and the targets.
        """
        import torch

        outputs = self._reference_outputs(x, self.architecture.supervised)
        targets = _targets({name: channels_last(v) for name, v in outputs.items()}, seed)
        losses = {}
        for name, value in outputs.items():
            target = targets[name]
            target = torch.tensor(np.moveaxis(target, -1, 1).copy() if target.ndim > 3 else target)
            losses[name] = torch.mean((value - target) ** 2)
        return losses, targets

    def losses(self, params: dict, stats: dict, x: jax.Array, targets: dict) -> tuple[dict, dict]:
        """Our losses by name in training mode, and the new statistics."""
        variables = {"params": params, "batch_stats": stats}
        (logits, endpoints), updated = self.model.apply(
            variables, x, train=True, mutable=["batch_stats"]
        )
        outputs = {**endpoints, "logits": logits}
        losses = {name: jnp.mean(jnp.square(outputs[name] - targets[name])) for name in targets}
        return losses, updated.get("batch_stats", {})

    def _reference_outputs(self, x: np.ndarray, endpoints: Sequence[str]) -> dict:
        """What the reference returns, and what its modules for these endpoints of ours give."""
        seen = {}
        hooks = [self._watch(name, seen) for name in endpoints]
        raw = self.reference(as_tensor(x))
        for hook in hooks:
            hook.remove()
        if getattr(raw, "ndim", 0) > x.ndim:  # MONAI stacks supervised outputs behind the logits
            raw = raw[:, 0]
        return {**seen, **outputs_of(raw)}

    def _watch(self, name: str, seen: dict):
        """A hook on the reference that puts an endpoint of ours into `seen`."""
        path, _, which = self.architecture.endpoints[name].partition(":")
        module = self.reference.get_submodule(path)

        # Cloned: a rectifier that works in place would change it afterwards.
        def keep_output(module, inputs, output):
            seen[name] = output.clone()

        def keep_input(module, inputs):
            seen[name] = inputs[0].clone()

        if which == "input":
            return module.register_forward_pre_hook(keep_input)
        return module.register_forward_hook(keep_output)


def relative_error(ours, theirs, floor: float = 0.0) -> float:
    """Largest difference over the largest value of the reference (at least `floor`)."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: {ours.shape} here, {theirs.shape} there")
    scale = max(float(np.abs(theirs).max()), floor)
    return float(np.abs(ours - theirs).max()) / scale if scale else float(np.abs(ours).max())


def _targets(outputs: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 5])
    return {
        name: rng.normal(size=outputs[name].shape).astype(outputs[name].dtype)
        for name in sorted(outputs)
    }
