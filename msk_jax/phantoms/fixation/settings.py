"""The cohort after fixation of a femoral neck fracture: its settings.

    writing.write_cohort(Path("cohort"), FixationPhantom(patients=635, seed=0))

A table without pictures. Five variables tell the risk of osteonecrosis and 38 do not. P9 begins
the log odds with -2.2 + 0.8 Garden III or IV + 0.03 (age - 55) + 0.5 poor reduction + 0.02 h of
delay; with these, and 0.12 per degree of screw deviation, an oracle ranks the five first in 8 of
100 cohorts. The effects here are larger and nearly of one size: it does in 100 of 100, and at a
severity of 0.7 in 95 (`fixation.checks`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msk_jax.phantoms.fixation.variables import IMAGE_SCORE, VARIABLES
from msk_jax.phantoms.phantom import check_fields


@dataclass(frozen=True)
class FixationPhantom:
    """Synthetic table: 43 variables around the fixation of a femoral neck fracture, and necrosis.

    Site A stands for the published study's four hospitals of development; B, C and D are external.
    """

    name: ClassVar[str] = "fixation"
    folders: ClassVar[tuple[str, ...]] = ()

    patients: int = 635
    """Number of patients; published: 259 of the development and 376 of three other hospitals."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """Factor of all five effects: at 0 the label means nothing, at 1 they are as stated."""
    label_noise: float = 0.0
    """Probability that the manifest says the contrary of what happened (0 to 0.5)."""
    positive_fraction: float = 0.38
    """Share of patients with necrosis in site A, to within some 0.02."""
    missing: float = 0.03
    """Share of empty cells, of those that may be empty; they say nothing of the outcome."""
    image_score: bool = False
    """Whether a network's probability is written as a variable more (`image_score`)."""
    garden_effect: float = 3.4
    """Log odds of necrosis of Garden III or IV against I or II; P9 has 0.8."""
    age_effect: float = 0.12
    """Log odds per year of age; P9 has 0.03."""
    reduction_effect: float = 3.4
    """Log odds of a poor reduction against a fair or good one; P9 has 0.5."""
    delay_effect: float = 0.065
    """Log odds per hour to surgery; P9 has 0.02."""
    deviation_effect: float = 0.50
    """Log odds per degree by which the screws deviate; P9 leaves the fifth effect open."""
    workers: int = 1
    """Processes that draw at the same time; 0 = one per CPU core. The result is the same."""

    @property
    def manifest_columns(self) -> tuple[str, ...]:
        """Columns of the manifest; the last may be `image_score`."""
        variables = (*VARIABLES, IMAGE_SCORE) if self.image_score else VARIABLES
        return ("patient_id", "label", "site", *(variable.name for variable in variables))

    def check(self) -> None:
        """Raise UserError naming the first field that cannot be used."""
        check_fields(
            self, patients=(1, 100_000), seed=(0, 2**31 - 1), severity=(0, 2),
            label_noise=(0, 0.5), positive_fraction=(0.01, 0.99), missing=(0, 0.9),
            garden_effect=(-10, 10), age_effect=(-1, 1), reduction_effect=(-10, 10),
            delay_effect=(-1, 1), deviation_effect=(-5, 5), workers=(0, 256),
        )  # fmt: skip

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Draw one patient; the row of the manifest and the row of true parameters."""
        from msk_jax.phantoms.fixation.cohort import draw_cohort, manifest_rows, true_parameters

        cohort = draw_cohort(self, range(number, number + 1))
        return manifest_rows(self, cohort), true_parameters(cohort)
