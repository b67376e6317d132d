"""What a compressed frame says about its own size, before a codec allocates it.

A header of 8 x 8 pixels over a codestream of 65535 x 65535 would take gigabytes.
"""

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from msk_jax.data.dicom.headers import integer, num_frames
from msk_jax.data.pixels.streams import StreamError, boxes, jpeg_segments
from msk_jax.errors import SeriesError

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}


def check_size(path: Path, dataset: Dataset) -> None:
    """Refuse encapsulated pixel data whose frames are larger than the header says.

    Raises:
        SeriesError: as said, or fewer frames than promised.
    """
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        return  # decoded into what the header says, whatever it holds
    rows, columns, samples = (
        integer(dataset, name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel")
    )
    promised = (rows, columns, samples or 1)
    frames = generate_frames(dataset.PixelData, number_of_frames=num_frames(dataset))
    for frame in frames:
        size = frame_size(frame)
        if size is not None and size != promised:
            raise SeriesError(
                f"{path.name} holds a compressed image of {_written(size)} where "
                f"{_written(promised)} was promised. Copy it again."
            )


def frame_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components that a JPEG, JPEG-LS or JPEG 2000 codestream states.

    None if it is unreadable.

    Sources: ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1.
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 42:
        x1, y1, x0, y0 = (int.from_bytes(frame[i : i + 4], "big") for i in (8, 12, 16, 20))
        return y1 - y0, x1 - x0, int.from_bytes(frame[40:42], "big")
    try:
        if frame[4:8] == b"jP  ":  # a JP2 file, whose codestream lies in one of its boxes
            return frame_size(_codestream(frame))
        for start in _starts_of_frame(frame):
            rows, columns = (int.from_bytes(frame[start + i :][:2], "big") for i in (3, 5))
            return rows, columns, frame[start + 7]
    except StreamError:
        pass
    return None


def frame_bits(frame: bytes) -> int | None:
    """Bits of the largest value that a JPEG, JPEG-LS or JPEG 2000 codestream can hold.

    None if it is unreadable. For the sources see `frame_size`.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        count = int.from_bytes(frame[40:42], "big")
        return max(((depth & 0x7F) + 1 for depth in frame[42 : 42 + 3 * count : 3]), default=None)
    try:
        if frame[4:8] == b"jP  ":
            return frame_bits(_codestream(frame))
        return next((frame[start + 2] for start in _starts_of_frame(frame)), None)
    except StreamError:
        return None


def _codestream(frame: bytes) -> bytes:
    """What the first box of that kind in a JP2 file holds; b"" if none, or no JPEG 2000."""
    content = next((content for kind, content in boxes(frame) if kind == b"jp2c"), b"")
    return content if content[:2] == b"\xff\x4f" else b""


def _starts_of_frame(frame: bytes) -> Iterator[int]:
    """Where the length, precision, rows, columns and components of a JPEG codestream lie."""
    if frame[:2] == b"\xff\xd8":
        for marker, start, end in jpeg_segments(frame):
            if marker in _START_OF_FRAME and start + 8 <= end:
                yield start


def _written(size: tuple[int, int, int]) -> str:
    rows, columns, components = size
    colours = "" if components == 1 else f" in {components} colours"
    return f"{rows} x {columns} pixels{colours}"
