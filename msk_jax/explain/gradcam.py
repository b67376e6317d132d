"""Grad-CAM (Selvaraju et al., 2017) on any named endpoint of a network."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from msk_jax.errors import UserError


def gradcam(
    model: Any, variables: Any, images: jax.Array, endpoints: Sequence[str], target: int | jax.Array
) -> jax.Array:
    """Where the evidence for class `target` lies.

    For each endpoint A with channels k: relu(sum_k a_k A_k) with a_k the mean over the map of
    d y / d A_k, divided by its maximum; y is the log-odds of the class against all others. The
    maps of several endpoints are resized to the picture and averaged.

    Args:
        model: its `__call__` gives `(logits, endpoints)` and marks the endpoints with `perturb`.
        variables: trained `params` and `batch_stats`.
        images: `[batch, height, width, channels]`, as the network takes them.
        endpoints: names of maps `[batch, h, w, k]`, as `("pyramid0", "pyramid1")`.
        target: index of the class; it may be traced, so that one program explains every class.

    Returns:
        `[batch, height, width]` in 0..1; all 0 where nothing speaks for the class.

    Raises:
        UserError: an endpoint that the network does not have.
    """
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images))["perturbations"]
    shapes = flatten_dict(shapes)
    places = {path[-1]: path for path in shapes}
    missing = [name for name in endpoints if name not in places]
    if missing:
        raise UserError(
            f"The network has no endpoint {missing[0]!r} to explain; it has "
            f"{', '.join(sorted(places))}."
        )
    # Flax wants a perturbation for every endpoint; gradients that nobody reads are not computed.
    zeros = {path: jnp.zeros(shape.shape, shape.dtype) for path, shape in shapes.items()}

    def log_odds(perturbations):
        logits, found = model.apply(
            {**variables, "perturbations": unflatten_dict(perturbations)}, images
        )
        logits = logits.astype(jnp.float32)
        is_other = jnp.arange(logits.shape[1]) != target
        others = jax.nn.logsumexp(jnp.where(is_other, logits, -jnp.inf), axis=1)
        return jnp.sum(logits[:, target] - others), {name: found[name] for name in endpoints}

    grads, maps = jax.grad(log_odds, has_aux=True)(zeros)
    cams = [_cam(maps[name], grads[places[name]], images.shape[1:3]) for name in endpoints]
    return sum(cams) / len(cams)


def _cam(activation: jax.Array, gradient: jax.Array, size: tuple[int, int]) -> jax.Array:
    weights = jnp.mean(gradient, (1, 2), keepdims=True)
    cam = jax.nn.relu(jnp.sum(weights * activation, -1))
    cam = jax.image.resize(cam, (cam.shape[0], *size), "bilinear", antialias=False)
    peak = jnp.max(cam, (1, 2), keepdims=True)
    return jnp.where(peak > 0, cam / jnp.where(peak > 0, peak, 1), 0)
