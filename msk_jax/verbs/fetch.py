"""`msk-jax fetch`: series from a DICOMweb server into a folder."""

from pathlib import Path

from msk_jax import console
from msk_jax.data.shards.build_folder import REJECTED_NAME
from msk_jax.data.sources.dicomweb import Fetched, Server, fetch
from msk_jax.data.sources.fetched import listed_incomplete, write_incomplete
from msk_jax.errors import UserError


def run(address: str, out: Path) -> None:
    """Fetch what is not there yet, and say of which series not all came.

    Raises:
        UserError: a series is incomplete, or there may be more than the server lists; see
            `dicomweb.fetch` as well.
    """
    server = Server.at(address)
    console.writable_folder(out, "--out")
    try:
        with console.progress_bar("Fetching series") as update:
            fetched = fetch(server, out, progress=update)
    finally:
        # Also of earlier commands, and where a refusal ends this one.
        write_incomplete(out / REJECTED_NAME, out, listed_incomplete(out))
    console.say(f"{fetched.num_series - len(fetched.incomplete)} series are in {out}.")
    for note in fetched.notes:
        console.say(note)
    shortfall = _shortfall(fetched, out)
    if shortfall:
        raise UserError(shortfall)


def _shortfall(fetched: Fetched, out: Path) -> str:
    sentences = []
    if fetched.incomplete:
        first = fetched.incomplete[0]
        sentences.append(
            f"{len(fetched.incomplete)} of {fetched.num_series} series are incomplete, see "
            f"{out / REJECTED_NAME}. The first: {first.reason}. What came is kept; run the same "
            "command again, which asks for these series alone."
        )
    return " ".join([*sentences, *filter(None, [fetched.listing_fault])])
