"""The knee tumour cohort: its settings.

    writing.write_cohort(Path("cohort"), KneePhantom(patients=333, seed=0))

The published cohort has 333 patients in four hospitals. Each has a frontal and a lateral
radiograph of 384 x 384 pixels of 0.7 mm, rendered from one three-dimensional description.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msk_jax.phantoms.phantom import check_fields, check_matrix, check_width

PREVALENCE = 136 / 333  # published share of osteosarcoma


@dataclass(frozen=True)
class KneePhantom:
    """Synthetic knee radiographs of four hospitals: lytic osteosarcoma or giant cell tumour.

    Masks, `<patient_id>_<view>.nii.gz`: 1 tumour, 2 periosteal reaction, 3 soft-tissue mass, 4
    growth plates.
    """

    name: ClassVar[str] = "knee-tumour"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id",
        "path",
        "view",
        "label",
        "site",
        "split",
        "age",
        "sex",
        "bone",
    )

    patients: int = 60
    """Number of patients, two views each; 333 is the published number."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """How far the pictures of the two tumours differ, from 0 (not at all) over 1 (as published)
    to 2. Age and sex keep their law."""
    label_noise: float = 0.0
    """Probability that the manifest calls a patient the contrary of what is drawn (0 to 0.5)."""
    positive_fraction: float = PREVALENCE
    """Share of patients with osteosarcoma, in every hospital."""
    matrix: int = 384
    """Rows and columns, a multiple of 4."""
    pixel_mm: float = 0.7
    """Size of a pixel at the detector in mm."""
    workers: int = 0
    """Processes that render at the same time; 0 = one per CPU core. The result is the same."""

    def check(self) -> None:
        """Raise UserError naming the first field that cannot be used."""
        check_fields(
            self,
            patients=(1, 100_000),
            seed=(0, 2**31 - 1),
            severity=(0, 2),
            label_noise=(0, 0.5),
            positive_fraction=(0, 1),
            matrix=(64, 2048),
            pixel_mm=(0.1, 4.5),
            workers=(0, 256),
        )
        check_matrix(self.matrix)
        check_width(self, 240, 330)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its rows of true parameters."""
        from msk_jax.phantoms.knee.cohort import write_patient

        return write_patient(self, out, number)
