"""How convolutions are computed: the same numbers, the way the processor likes best."""

import itertools
import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    padding: Sequence[tuple[int, int]],
    strides: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> jax.Array:
    """Convolution with the channels last.

    In 3-D on CPU it is computed by 2-D ones (`_by_depth`): XLA's own was measured to be 2 to 5
    times slower there, and with the gradients of a strided one 10 to 500 times. In 2-D on CPU one
    whose taps fall beside the image often is computed tap by tap (`_by_taps`).

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*kernel_size, in / groups, out]`.
        padding: pairs (before, after) of zeros, one per axis.
        strides: one number per axis; without, 1.
        dilation: distance between taps, one number per axis; without, 1.
        groups: parts of the channels that do not see each other.
    """
    rank = x.ndim - 2
    strides, dilation = tuple(strides or (1,) * rank), tuple(dilation or (1,) * rank)

    def direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return xla_convolve(
            x,
            kernel,
            padding,
            window_strides=strides,
            rhs_dilation=dilation,
            feature_group_count=groups,
        )

    def by_depth(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _by_depth(x, kernel, padding, strides, dilation)

    axes = list(zip(x.shape[1:-1], kernel.shape, padding, dilation, strict=False))

    def by_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _by_taps(x, kernel, axes)

    if rank == 3 and groups == 1:
        return lax.platform_dependent(x, kernel, cpu=by_depth, default=direct)
    if rank == 2 and groups == 1 and set(strides) == {1} and _seen(axes) <= _FEW_SEEN:
        return lax.platform_dependent(x, kernel, cpu=by_taps, default=direct)
    return direct(x, kernel)


def xla_convolve(x: jax.Array, kernel: jax.Array, padding: Sequence, **settings) -> jax.Array:
    """`lax.conv_general_dilated` with the channels last; without settings, all strides are 1."""
    axes = SPATIAL[x.ndim - 2]
    return lax.conv_general_dilated(
        x,
        kernel,
        padding=padding,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        **{"window_strides": (1,) * len(axes), **settings},
    )


# The share of products with pixels, and not with zeros around them, up to which that pays.
_FEW_SEEN = 0.75


def _outputs(size: int, taps: int, padding: tuple[int, int], dilation: int) -> int:
    """Along one axis, with a stride of 1."""
    return size + sum(padding) - dilation * (taps - 1)


def _reaches(size: int, taps: int, padding: tuple[int, int], dilation: int) -> list[range]:
    """For each tap of one axis the outputs for which it lies on the image."""
    outputs = _outputs(size, taps, padding, dilation)
    starts = [padding[0] - dilation * tap for tap in range(taps)]  # where it is on the first pixel
    return [range(max(0, a), min(outputs, a + size)) for a in starts]


def _seen(axes: list[tuple]) -> float:
    """The share of the products of a convolution that are with pixels of the image.

    Args:
        axes: what `_reaches` takes, per axis.
    """
    possible = math.prod(axis[1] * max(_outputs(*axis), 0) for axis in axes)
    found = math.prod(sum(map(len, _reaches(*axis))) for axis in axes)
    return found / possible if possible else 1.0


def _by_taps(x: jax.Array, kernel: jax.Array, axes: list[tuple]) -> jax.Array:
    """A convolution with strides of 1 as a product of two matrices per tap, of what it sees alone.

    A 3x3 kernel with a dilation of 4 sees zeros in three of ten products on 16x16 pixels. With 512
    channels that was measured to take three quarters of the time so, with a dilation of 6 two
    thirds.
    """
    dtype, accurate = x.dtype, jnp.promote_types(x.dtype, jnp.float32)
    outputs = [_outputs(*axis) for axis in axes]
    x, kernel = x.astype(accurate), kernel.astype(accurate)
    y = jnp.zeros((x.shape[0], *outputs, kernel.shape[-1]), accurate)
    for tap, reach in zip(
        itertools.product(*(range(k) for _, k, _, _ in axes)),
        itertools.product(*(_reaches(*axis) for axis in axes)),
        strict=True,
    ):
        if not all(reach):
            continue
        shift = [d * t - p[0] for t, (_, _, p, d) in zip(tap, axes, strict=True)]
        seen = (slice(r.start + s, r.stop + s) for r, s in zip(reach, shift, strict=True))
        given = pointwise(x[(slice(None), *seen)], kernel[tap])
        around = [(r.start, n - r.stop) for r, n in zip(reach, outputs, strict=True)]
        y = y + jnp.pad(given, [(0, 0), *around, (0, 0)])
    return y.astype(dtype)


# Below so many channels the slices that a 3-D kernel spans are better channels of one convolution.
_FEW_CHANNELS = 8


def _by_depth(x, kernel, padding, strides, dilation) -> jax.Array:
    """A 3-D convolution as 2-D ones over the slices."""
    dtype, accurate = x.dtype, jnp.promote_types(x.dtype, jnp.float32)
    x, kernel = x.astype(accurate), kernel.astype(accurate)
    if set(strides) == set(dilation) == {1} and kernel.shape[-2] >= _FEW_CHANNELS:
        return _dense(x, kernel, tuple(padding)).astype(dtype)
    return _over_slices(x, kernel, padding, strides, dilation).astype(dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dense(x: jax.Array, kernel: jax.Array, padding: tuple) -> jax.Array:
    """`_over_slices` without strides or dilation.

    The gradient of the kernel is a product of two matrices per tap, which was measured to be 1.2 to
    2.5 times faster on CPU than what is derived of the 2-D convolutions.
    """
    return _over_slices(x, kernel, padding, (1, 1, 1), (1, 1, 1))


def _dense_forward(x, kernel, padding):
    return _dense(x, kernel, padding), (x, kernel)


def _dense_backward(padding, kept, gradient):
    x, kernel = kept
    of_x = jax.vjp(lambda x: _over_slices(x, kernel, padding, (1, 1, 1), (1, 1, 1)), x)[1](
        gradient
    )[0]
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    space = gradient.shape[1:-1]
    # Slice by slice, then summed: one sum over all pixels would lose digits.
    slices = (x.shape[0] * space[0], math.prod(space[1:]))
    gradient = gradient.reshape(*slices, -1)
    of_taps = []
    for tap in itertools.product(*map(range, kernel.shape[:3])):
        window = (slice(a, a + n) for a, n in zip(tap, space, strict=True))
        seen = x[(slice(None), *window)].reshape(*slices, -1)
        of_taps.append(jnp.einsum("spi,spo->sio", seen, gradient).sum(0))
    return of_x, jnp.stack(of_taps).reshape(kernel.shape)


_dense.defvjp(_dense_forward, _dense_backward)


def _over_slices(x, kernel, padding, strides, dilation) -> jax.Array:
    """One 2-D convolution per tap along depth, or one for all."""
    (step, *strides), (gap, *dilation) = strides, dilation
    taps, channels = kernel.shape[0], kernel.shape[-2]
    x = jnp.pad(x, [(0, 0), padding[0], *[(0, 0)] * 3])
    slices = (x.shape[1] - gap * (taps - 1) - 1) // step + 1
    starts = [gap * tap for tap in range(taps)]
    seen = [x[:, a : a + step * (slices - 1) + 1 : step] for a in starts]

    def flat(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return xla_convolve(
            x.reshape(-1, *x.shape[2:]),
            kernel,
            padding[1:],
            window_strides=strides,
            rhs_dilation=dilation,
        )

    if channels < _FEW_CHANNELS:
        y = flat(jnp.concatenate(seen, -1), jnp.concatenate(list(kernel), -2))
    else:
        y = sum(flat(part, kernel[tap]) for tap, part in enumerate(seen))
    return y.reshape(x.shape[0], slices, *y.shape[1:])


def pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with a kernel of one pixel and stride 1: a matrix product.

    Of two matrices, not of an array with many axes: on CPU the gradient of the kernel was measured
    to be 1.5 to 5 times faster so.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[1, ..., in, out]`.
    """
    channels, features = kernel.shape[-2:]
    y = x.reshape(-1, channels) @ kernel.reshape(channels, features)
    return y.reshape(*x.shape[:-1], features)


def depthwise(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> jax.Array:
    """Convolution of every channel with a kernel of its own.

    On CPU a sum over the taps of the shifted map: XLA's grouped convolution was measured to be 4 to
    30 times slower there forward, and 3 to 15 times with its gradients.

    Args:
        x: `[batch, *spatial, channels]`.
        kernel: `[*kernel_size, 1, channels]`.
        strides: one number per axis, as are the other two.
        padding: zeros at both ends.
        dilation: distance between taps.
    """
    pads = [(p, p) for p in padding]

    def grouped(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel, pads, strides, dilation, x.shape[-1])

    def shifted(x: jax.Array, kernel: jax.Array) -> jax.Array:
        accurate = jnp.promote_types(x.dtype, jnp.float32)
        padded = jnp.pad(x, [(0, 0), *pads, (0, 0)]).astype(accurate)
        sides = zip(padded.shape[1:-1], kernel.shape, strides, dilation, strict=False)
        spans = [(n - d * (k - 1) - 1) // s * s + 1 for n, k, s, d in sides]
        y = 0
        for tap in itertools.product(*map(range, kernel.shape[:-2])):
            shift = [i * d for i, d in zip(tap, dilation, strict=True)]
            window = (
                slice(a, a + span, s) for a, span, s in zip(shift, spans, strides, strict=True)
            )
            y = y + padded[(slice(None), *window)] * kernel[(*tap, 0)].astype(accurate)
        return y.astype(x.dtype)

    return lax.platform_dependent(x, kernel, cpu=shifted, default=grouped)
