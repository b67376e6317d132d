"""`msk-jax report`: one page that shows a run."""

from pathlib import Path

from msk_jax.reports.html import write_report
from msk_jax.verbs.console import say


def run(workdir: Path, out: Path | None) -> Path:
    """Write the report; gives its path."""
    path = write_report(workdir, out or workdir / "report.html")
    say(f"The report is {path.absolute()} - open it in a browser.")
    return path
