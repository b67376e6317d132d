"""The chest radiograph cohort: its settings.

    writing.write_cohort(Path("cohort"), ChestPhantom(patients=200, seed=0))

The published cohort has 4,542 patients. A picture is 384 x 384 pixels of 1 mm, as a detector's
export binned by seven: a cortex of half a millimetre is then less than a pixel and shows as
contrast, which is how it is seen; and the whole cohort takes 1.4 GB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msk_jax.phantoms.phantom import check_fields, check_matrix, check_width

PREVALENCE = 1700 / 4542  # published


@dataclass(frozen=True)
class ChestPhantom:
    """Synthetic chest radiographs of three centres with and without osteoporosis.

    Masks, of all bone: 1 ribs, 2 clavicles, 3 vertebrae, 4 shoulders.
    """

    name: ClassVar[str] = "osteoporosis"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id",
        "path",
        "label",
        "site",
        "split",
        "age",
        "sex",
        "height",
        "weight",
        "bmi",
    )

    patients: int = 200
    """Number of patients, one frontal radiograph each; 4542 is the published number."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """How far the bones of the classes differ, from 0 (not at all) over 1 (as published) to 2."""
    label_noise: float = 0.0
    """Probability that the manifest calls a patient the contrary of what is drawn (0 to 0.5)."""
    positive_fraction: float = PREVALENCE
    """Share of patients with osteoporosis, in every centre."""
    matrix: int = 384
    """Rows and columns, a multiple of 4."""
    pixel_mm: float = 1.0
    """Size of a pixel at the detector in mm. The matrix times this must hold a chest."""
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
            pixel_mm=(0.15, 6),
            workers=(0, 256),
        )
        check_matrix(self.matrix)
        check_width(self, 350, 430)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its rows of true parameters."""
        from msk_jax.phantoms.chest.cohort import write_patient

        return write_patient(self, out, number)
