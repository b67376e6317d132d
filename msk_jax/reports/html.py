"""One self-contained HTML page that tells what a study is and what came of it."""

from pathlib import Path

from msk_jax.errors import UserError
from msk_jax.files import place, replacing
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.reading import read_inputs
from msk_jax.reports.sections import sections_of
from msk_jax.reports.sections.section import shared
from msk_jax.reports.templates import fill


def write_report(workdir: Path, out: Path) -> Path:
    """Writes the report of a working folder as one HTML file without outside resources.

    Args:
        workdir: folder that `train` and `evaluate` wrote to: run.json, metrics.json and
            predictions.csv must be there; cohort.json, fold_<k>/history.csv and cam/index.json may
            be.
        out: the file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        UserError: a necessary file is missing or cannot be read, or `out` cannot be written.
    """
    page = render(read_inputs(workdir))
    out = place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {out.parent} cannot be made ({error.strerror}). Give another --out."
        ) from error
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    sections = sections_of(inputs)
    return fill("page.html.j2", run=inputs.run, sections=sections, **shared(inputs))
