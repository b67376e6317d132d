"""How transposed convolutions are computed: the same numbers, the way the processor likes best."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def convolve(x: jax.Array, kernel: jax.Array, padding: Sequence, **settings) -> jax.Array:
    """`lax.conv_general_dilated` with the channels last.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*kernel_size, in / groups, out]`.
        padding: pairs (before, after), one per axis.
        **settings: of `lax.conv_general_dilated`; without, all strides are 1.
    """
    axes = SPATIAL[x.ndim - 2]
    return lax.conv_general_dilated(
        x,
        kernel,
        padding=padding,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        **{"window_strides": (1,) * len(axes), **settings},
    )


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
) -> jax.Array:
    """Transposed convolution without bias.

    Zeros between the pixels and a convolution over them is how accelerators like it; on CPU that
    was measured to be 4 to 40 times slower, in training or in 3-D, than `_by_phases`, which is
    also the only way where kernel and stride are equal: there it is a matrix product.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*kernel_size, in, out]`.
        strides: as PyTorch's; so are the other two, one number per axis.
        padding: taken off both ends.
        output_padding: added behind.

    Returns:
        `[batch, *size, out]`, size = (spatial - 1) * stride - 2 * padding + kernel +
        output_padding.
    """
    sizes = kernel.shape[:-2]
    if strides == sizes and not any(padding) and not any(output_padding):
        return _by_phases(x, kernel, strides, padding, output_padding)

    def dilated(x: jax.Array, kernel: jax.Array) -> jax.Array:
        low = [k - 1 - p for k, p in zip(sizes, padding, strict=True)]
        pads = [(p, p + extra) for p, extra in zip(low, output_padding, strict=True)]
        return convolve(x, jnp.flip(kernel, range(len(sizes))), pads, lhs_dilation=strides)

    def phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _by_phases(x, kernel, strides, padding, output_padding)

    return lax.platform_dependent(x, kernel, cpu=phases, default=dilated)


def _by_phases(x, kernel, strides, padding, output_padding) -> jax.Array:
    """A convolution that gives `strides` pixels, as channels, for every pixel; then rearranged.

    Along an axis with stride s and padding p, pixel s * q + phase of the output is the sum over d
    of x[q - d] * kernel[s * d + phase + p]: for every phase a convolution with the taps d.
    """
    rank, (channels, features) = len(strides), kernel.shape[-2:]
    space = list(zip(x.shape[1:-1], kernel.shape, strides, padding, output_padding, strict=False))
    sizes = [(n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in space]
    first = [-((s - 1 + p) // s) for _, _, s, p, _ in space]
    last = [(k - 1 - p) // s for _, k, s, p, _ in space]
    taps = [b - a + 1 for a, b in zip(first, last, strict=True)]
    edges = []
    for (_, k, s, p, _), a, t in zip(space, first, taps, strict=True):
        low = -(s * a + p)
        edges.append((low, s * t - low - k, 0))
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*edges, (0, 0, 0), (0, 0, 0)])
    kernel = kernel.reshape(
        *(i for ts in zip(taps, strides, strict=True) for i in ts), channels, -1
    )
    order = [*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1]
    kernel = kernel.transpose(order).reshape(*taps, channels, math.prod(strides) * features)
    counts = [-(-size // s) for size, s in zip(sizes, strides, strict=True)]
    pads = [
        (b, count - n - a)
        for a, b, count, n in zip(first, last, counts, x.shape[1:-1], strict=True)
    ]
    if all(t == 1 for t in taps) and not any(p for pair in pads for p in pair):
        y = x @ kernel.reshape(channels, -1)
    else:
        y = convolve(x, jnp.flip(kernel, range(rank)), pads)
    y = y.reshape(*y.shape[:-1], *strides, features)
    order = [0, *(axis for i in range(rank) for axis in (1 + i, 1 + rank + i)), 2 * rank + 1]
    whole = [n * s for n, s in zip(y.shape[1 : 1 + rank], strides, strict=True)]
    y = y.transpose(order).reshape(x.shape[0], *whole, features)
    return y[(slice(None), *(slice(n) for n in sizes))]
