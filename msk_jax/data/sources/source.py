"""Where images come from: a folder, a zip archive, a DICOMDIR or a DICOMweb server."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msk_jax.data.sources.archives import files_of_dicomdir, is_zip
from msk_jax.data.sources.dicomweb import Server, fetch
from msk_jax.data.sources.names import existing
from msk_jax.errors import UserError

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Source:
    """What to give to `scan.scan`."""

    folder: Path
    files: tuple[Path, ...] | None
    """Only these; None: all below the folder."""

    unpacked: Path
    """An empty folder for what archives hold."""


@contextmanager
def opened(
    address: str | Path,
    filters: Sequence[dict[str, str]] = ({},),
    progress: Progress | None = None,
    room: Path | None = None,
) -> Iterator[Source]:
    """Open a source; what had to be unpacked or fetched goes when the block ends.

    Args:
        address: a folder, a zip archive, a DICOMDIR file, or the http(s) address of a DICOMweb
            service.
        filters: what to ask a server for, see `dicomweb.fetch`.
        progress: called as `progress(done, total, note)` while fetching.
        room: folder for what is unpacked or fetched; by default the system's for temporary files.

    Raises:
        UserError: there is nothing there, or it is none of these; a server that lists only some of
            its series; see `dicomweb.fetch` as well. Series of which not all came are in
            `scan.Scan.incomplete`.
    """
    with tempfile.TemporaryDirectory(prefix="msk_jax-", dir=room) as temporary:
        room = Path(temporary)
        unpacked = room / "unpacked"
        unpacked.mkdir()
        if is_address(address):
            fetched = room / "fetched"
            listing_fault = fetch(Server.at(str(address)), fetched, filters, progress).listing_fault
            if listing_fault:  # of a patient's series, one that is not listed may be the right one
                raise UserError(listing_fault)
            yield Source(fetched, None, unpacked)
            return
        path = existing(Path(address))
        if path.is_dir():
            yield Source(path, None, unpacked)
        elif path.is_file() and is_zip(path):
            yield Source(path.parent, (path,), unpacked)
        elif path.is_file():
            yield Source(path.parent, tuple(files_of_dicomdir(path)), unpacked)
        else:
            raise UserError(f"There is no folder {path}. Give the folder with the DICOM files.")


def is_address(address: str | Path) -> bool:
    """Whether a source is a server rather than a path."""
    return str(address).startswith(("http://", "https://", "http:/", "https:/"))
