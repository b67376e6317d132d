"""`msk-jax report`: one page that shows a run."""

from pathlib import Path

from msk_jax.console import say
from msk_jax.files import in_bucket
from msk_jax.reports.html import write_report


def run(workdir: Path, out: Path | None) -> Path:
    """Write the report; gives its path."""
    path = write_report(workdir, out or workdir / "report.html")
    found = path if in_bucket(path) else path.absolute()
    say(f"The report is {found} - open it in a browser.")
    return path
