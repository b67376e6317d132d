"""What a compressed frame says about its own size, before a codec allocates it.

A header of 8 x 8 pixels over a codestream of 65535 x 65535 would take gigabytes.
"""

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from msk_jax.data.geometry import SeriesError
from msk_jax.data.headers import integer, num_frames

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


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
    if frame[4:8] == b"jP  ":  # a JP2 file, whose codestream lies in one of its boxes
        inner = _codestream(frame)
        return frame_size(inner) if inner[:2] == b"\xff\x4f" else None
    place = 2
    while place + 10 <= len(frame) and frame[:2] == b"\xff\xd8":
        if frame[place] != 0xFF:
            return None
        marker = frame[place + 1]
        if marker in _START_OF_FRAME:
            rows, columns = (
                int.from_bytes(frame[i : i + 2], "big") for i in (place + 5, place + 7)
            )
            return rows, columns, frame[place + 9]
        if marker == 0xFF:
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _codestream(frame: bytes) -> bytes:
    """What the first box of that kind in a JP2 file holds (ISO/IEC 15444-1 I.4); b"" if none."""
    place = 0
    while place + 16 <= len(frame):
        length, kind = int.from_bytes(frame[place : place + 4], "big"), frame[place + 4 : place + 8]
        start = place + (16 if length == 1 else 8)
        if kind == b"jp2c":
            return frame[start:]
        if length == 1:
            length = int.from_bytes(frame[place + 8 : place + 16], "big")
        if length < 8:
            break
        place += length
    return b""


def _written(size: tuple[int, int, int]) -> str:
    rows, columns, components = size
    colours = "" if components == 1 else f" in {components} colours"
    return f"{rows} x {columns} pixels{colours}"
