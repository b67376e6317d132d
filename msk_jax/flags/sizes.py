"""Flags for sizes of memory."""

from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from msk_jax.memory import size_in_bytes, size_in_words

MemorySize = Annotated[
    int,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="SIZE",
        instance_from_str=lambda words: size_in_bytes(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda size: [size_in_words(size)],
    ),
]
"""Bytes, as `8GB`, `500MB` or `2GiB`."""
