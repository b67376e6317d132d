"""Flags for folders that may lie in a bucket."""

from pathlib import Path, PurePath
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from msk_jax.files import place

Place = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: place(words[0]),
        is_instance=lambda value: isinstance(value, PurePath),
        str_from_instance=lambda path: [str(path)],
    ),
]
"""A folder of this machine, or `gs://bucket/folder`."""
