"""The sacroiliac CT cohort (phantom P1): its settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msk_jax.errors import UserError
from msk_jax.phantoms.phantom import check_fields, check_width

MANIFEST_COLUMNS = (
    "patient_id",
    "series_uid",
    "side",
    "label",
    "patient_label",
    "grade",
    "lesion_z_mm",
    "site",
    "age",
    "sex",
)


@dataclass(frozen=True)
class SacroiliacPhantom:
    """A cohort of synthetic pelvic CT with and without sacroiliitis (grades 2 to 4).

    Masks: 1 erosion, 2 sclerosis, 3 bridge, 4 subchondral fat, 5 mimic.
    """

    name: ClassVar[str] = "sacroiliitis"
    manifest_columns: ClassVar[tuple[str, ...]] = MANIFEST_COLUMNS

    patients: int = 29
    """Number of patients; each has two joints and one CT series."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """How far disease departs from normal, from 0 (labels mean nothing) over 1 (as published,
    with some subtle cases) to 2."""
    ambiguity: float = 0.0
    """From 0 to 1: share of the disease that a single slice may miss. At 1 a sick joint is normal
    but for short lesions, erosions that two or three slices share, with five or more slices
    between them; and every joint has pits that look like an erosion but fill one slice only."""
    label_noise: float = 0.0
    """Probability that the manifest calls a patient the contrary of what is drawn (0 to 0.5)."""
    positive_fraction: float = 0.55
    """Share of patients with sacroiliitis."""
    slice_spacing_mm: float = 2.5
    """Distance between slices and their thickness, in mm."""
    matrix: int = 448
    """Rows and columns of a slice."""
    pixel_mm: float = 0.8
    """Mean pixel size in mm; each patient's differs by up to 8 percent. The matrix times this is
    the field of view, which must hold the pelvis (about 320 to 400 mm)."""
    sites: tuple[str, ...] = ("A", "B")
    """Names of the hospitals; they take turns and have scanners of different noise and kernel."""
    workers: int = 0
    """Processes that render at the same time; 0 = one per CPU core. The result is the same."""

    def check(self) -> None:
        """Raise UserError naming the first field that cannot be used."""
        check_fields(
            self,
            patients=(1, 100_000),
            seed=(0, 2**31 - 1),
            severity=(0, 2),
            ambiguity=(0, 1),
            label_noise=(0, 0.5),
            positive_fraction=(0, 1),
            slice_spacing_mm=(0.5, 5),
            matrix=(64, 1024),
            pixel_mm=(0.3, 6),
            workers=(0, 256),
        )
        if not self.sites:
            raise UserError("The phantom has no site. Give at least one name with --sites.")
        check_width(self, 300, 500)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its rows of true parameters."""
        from msk_jax.phantoms.sacroiliac.cohort import write_patient

        return write_patient(self, out, number)
