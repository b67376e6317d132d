"""PNG and TIFF files of every form, written byte by byte."""

import struct
import zlib
from pathlib import Path

import numpy as np

LETTERS = {1: "B", 3: "H", 4: "I", 5: "I", 16: "Q"}
GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6  # colour types of PNG
STORED_TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""What is stored, of an upright picture, so that the orientation shows it upright: as the table of
TIFF 6.0 has it, where row 0 and column 0 belong."""


def write_png(path: Path, values: np.ndarray, kind: int, depth: int = 16, chunks=()) -> Path:
    """A PNG file; `chunks` are (name, bytes), before the pixels. Its rows are filtered in turn."""
    rows, columns = values.shape[:2]
    stored = values.astype(">u2" if depth == 16 else np.uint8).reshape(rows, -1)
    lines = stored.view(np.uint8).astype(int)
    width = lines.shape[1] // columns
    raw = b""
    for k, line in enumerate(lines):  # none, left, up
        before = np.r_[np.zeros(width, int), line[:-width]]
        above = lines[k - 1] if k else np.zeros_like(line)
        filtered = line - (0, before, above)[k % 3]
        raw += bytes([k % 3]) + (filtered % 256).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    whole = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        whole += struct.pack(">I", len(data)) + name + data
        whole += struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(whole)
    return path


def write_tiff(
    path: Path,
    values: np.ndarray,
    photometric: int = 1,
    *,
    order: str = "<",
    is_big: bool = False,
    planar: int = 1,
    tile: tuple[int, int] | None = None,
    rows_per_strip: int | None = None,
    deflate: bool = False,
    tags: dict[int, tuple] | None = None,
) -> Path:
    """A TIFF file of one page; `values` [rows, columns] or [rows, columns, samples], `tags` are
    (type, numbers) by number."""
    values = np.atleast_3d(values)
    rows, columns, samples = values.shape
    kind = values.dtype.newbyteorder(order)
    planes = [values] if planar == 1 else [values[..., k : k + 1] for k in range(samples)]
    tall, wide = tile or (rows_per_strip or rows, columns)
    segments = []
    for plane in planes:
        for top in range(0, rows, tall):
            for left in range(0, columns, wide):
                part = plane[top : top + tall, left : left + wide]
                if tile:
                    part = np.pad(
                        part, ((0, tall - part.shape[0]), (0, wide - part.shape[1]), (0, 0))
                    )
                data = np.ascontiguousarray(part).astype(kind).tobytes()
                segments.append(zlib.compress(data) if deflate else data)
    head = 16 if is_big else 8
    places = (head + np.cumsum([0, *map(len, segments)])).tolist()
    entries = {
        256: (4, (columns,)),
        257: (4, (rows,)),
        258: (3, (8 * kind.itemsize,) * samples),
        259: (3, (8 if deflate else 1,)),
        262: (3, (photometric,)),
        277: (3, (samples,)),
        284: (3, (planar,)),
        339: (3, ({"u": 1, "i": 2, "f": 3}[kind.kind],) * samples),
        324 if tile else 273: (4, places[:-1]),
        325 if tile else 279: (4, [*map(len, segments)]),
        **({322: (4, (wide,)), 323: (4, (tall,))} if tile else {278: (4, (tall,))}),
        **(tags or {}),
    }
    entry = struct.Struct(f"{order}HHQ" if is_big else f"{order}HHI")
    offset, room = ("Q", 8) if is_big else ("I", 4)
    after = places[-1] + (8 if is_big else 2) + len(entries) * (entry.size + room) + room
    body, tail = struct.pack(f"{order}{'Q' if is_big else 'H'}", len(entries)), b""
    for tag, (type_, numbers) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(numbers)}{LETTERS[type_]}", *numbers)
        inline = data.ljust(room, b"\0")
        if len(data) > room:
            inline = struct.pack(f"{order}{offset}", after + len(tail))
            tail += data
        count = len(numbers) // 2 if type_ == 5 else len(numbers)
        body += entry.pack(tag, type_, count) + inline
    mark = b"II" if order == "<" else b"MM"
    start = (
        struct.pack(f"{order}HHHQ", 43, 8, 0, places[-1])
        if is_big
        else struct.pack(f"{order}HI", 42, places[-1])
    )
    path.write_bytes(mark + start + b"".join(segments) + body + bytes(room) + tail)
    return path
