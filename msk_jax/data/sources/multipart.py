"""The body of an answer of a DICOMweb server, object by object, as far as it came.

A connection may end, and a proxy may cut, anywhere: what ends an answer (RFC 2046 5.1.1) and a
DICOM object (PS3.10 7.1) is looked for rather than assumed.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from msk_jax.data.dicom.headers import quiet
from msk_jax.errors import UserError

MAX_OBJECT_BYTES = 2**32
_BLOCK = 2**20
_MAX_LINE = 200
_UNDEFINED = 0xFFFFFFFF
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")


@dataclass
class Body:
    """The objects in the body of an answer.

    Iterating gives the bytes of each, the last one also where nothing says that it is whole; the
    other attributes are known afterwards.
    """

    raw: object
    """A `urllib3.HTTPResponse` of which nothing was read."""

    content_type: str
    is_multipart: bool = field(default=False, init=False)
    """Whether it is made of parts; else it is one object, as some servers send it."""

    closed: bool = field(default=False, init=False)
    """Whether the boundary came that closes a multipart answer."""

    broken: bool = field(default=False, init=False)
    """Whether the connection failed, or ended before the length that was promised."""

    def __iter__(self) -> Iterator[bytes]:
        header = Message()
        header["Content-Type"] = self.content_type
        boundary = header.get_boundary()
        self.is_multipart = bool(boundary) and header.get_content_type() == "multipart/related"
        if not self.is_multipart:
            content = bytearray()
            for block in self._blocks():
                content += block
                _check_size(content)
            if content:
                yield bytes(content)
            return
        yield from self._parts(boundary.encode())

    def _blocks(self) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            # Not `read`, which keeps what came before a connection ended to itself.
            while block := self.raw.read1(_BLOCK, decode_content=True):
                yield block
        except (HTTPError, OSError):
            self.broken = True

    def _parts(self, boundary: bytes) -> Iterator[bytes]:
        delimiter, within = b"\r\n--" + boundary, False
        data, start = bytearray(b"\r\n"), 0  # the first boundary may be the first line
        for block in self._blocks():
            data += block
            while (at := data.find(delimiter, start)) >= 0:
                behind = bytes(data[(end := at + len(delimiter)) : end + _MAX_LINE])
                line = re.match(rb"--|[ \t]*(?=\r\n)", behind)
                if line is None:
                    if re.fullmatch(rb"-?|[ \t]*\r?", behind):
                        break  # the rest of the line is still to come
                    start = end  # a longer word that begins with the boundary
                    continue
                if within:
                    yield _content(data[:at])
                within, self.closed = True, line[0] == b"--"
                del data[: end + line.end()]
                start = 0
                if self.closed:
                    return
            _check_size(data)
            start = max(start, len(data) - len(delimiter) - _MAX_LINE)
        if within and (rest := _content(data)):
            yield rest.removesuffix(b"\r\n")  # its boundary's, not its own


def _content(part: Iterable[int]) -> bytes:
    """A part without its header lines; b"" where it ends within these."""
    return bytes(part).partition(b"\r\n\r\n")[2]


def _check_size(content: bytearray) -> None:
    if len(content) > MAX_OBJECT_BYTES:
        raise UserError(
            f"The server sends an object of more than {MAX_OBJECT_BYTES / 2**30:g} GiB. Ask its "
            "administrator."
        )


@dataclass(frozen=True)
class Instance:
    """What tells an object from others, and whether all of it is there."""

    series_uid: str
    sop_uid: str
    whole: bool


@quiet
def read_instance(content: bytes) -> Instance | None:
    """Identifiers of a DICOM file, and whether it ends where its header says; None if it is none.

    Args:
        content: all of the file. The last element must be as long as it states, and an image must
            have pixels; pydicom alone takes the bytes that are there for all of them.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        whole = _ends_well(dataset, content)
        series, sop = str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
        is_image = "Rows" in dataset or "Image Storage" in UID(dataset.SOPClassUID).name
        whole = whole and (not is_image or any(name in dataset for name in _PIXELS))
    except Exception:
        return None
    return Instance(series, sop, whole and bool(sop))


def _ends_well(dataset: pydicom.Dataset, content: bytes) -> bool:
    """Whether the last element of a file has all of its bytes, and nothing begins behind it."""
    elements = [dataset.get_item(tag) for tag in dataset.keys()]  # noqa: SIM118 (as they were read)
    last = max(elements, key=_place)
    if not isinstance(last, RawDataElement) or last.length == _UNDEFINED:
        return True  # pydicom looks for the delimiter that ends it
    if last.length != len(last.value or b""):
        return False
    is_deflated = dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    return is_deflated or not content[last.value_tell + last.length :].strip(b"\0\r\n")


def _place(element: pydicom.DataElement | RawDataElement) -> int:
    """Where in the file its value begins, or a sequence as such."""
    return element.value_tell if isinstance(element, RawDataElement) else element.file_tell or 0
