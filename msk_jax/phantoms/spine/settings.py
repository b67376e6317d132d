"""The spine CT cohorts (phantom P2), of words and of AO Spine's types: their settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msk_jax.errors import UserError
from msk_jax.phantoms.phantom import check_fields, check_width

if TYPE_CHECKING:
    from msk_jax.phantoms.spine.vertebra import Findings

TYPES = ("A0", "A1", "A2", "A3", "A4")
"""AO Spine's types of compression injuries."""


@dataclass(frozen=True)
class ThoracolumbarPhantom:
    """A cohort of synthetic spine CT with a compressed, a burst or a healthy vertebra.

    Masks: 1 fracture line, 2 impacted bone, 3 bone pushed into the canal, 4 look-alikes.
    """

    name: ClassVar[str] = "thoracolumbar"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id",
        "series_uid",
        "level",
        "label",
        "centre_x_mm",
        "centre_y_mm",
        "centre_z_mm",
        "site",
        "age",
        "sex",
    )
    classes: ClassVar[tuple[str, ...]] = ("normal", "compression", "burst")

    patients: int = 698
    """Number of patients; each has one CT series and one labelled vertebra."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """How far fractures go, from 0 (labels mean nothing) over 1 to 2. At 1 one compressed body in
    seven keeps more than 85 % of its front, and half of the burst ones more than 80 %."""
    label_noise: float = 0.0
    """Probability that the manifest gives a patient another class than what is drawn (0 to 0.5)."""
    shares: tuple[float, float, float] = (0.18, 0.40, 0.42)
    """Of normal, compressed and burst vertebrae."""
    slice_spacing_mm: float = 2.0
    """Distance between slices and their thickness, in mm."""
    matrix: int = 240
    """Rows and columns of a slice."""
    pixel_mm: float = 0.7
    """Mean pixel size in mm; each patient's differs by up to 8 percent."""
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
            label_noise=(0, 0.5),
            slice_spacing_mm=(0.5, 3),
            matrix=(48, 1024),
            pixel_mm=(0.3, 4),
            workers=(0, 256),
        )
        if not self.sites:
            raise UserError("The phantom has no site. Give at least one name with --sites.")
        wanted = len(self.classes)
        right = len(self.shares) == wanted and min(self.shares) >= 0
        if not right or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"The phantom's shares must be {wanted} numbers that sum to 1.")
        check_width(self, 140, 260)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its rows of true parameters."""
        from msk_jax.phantoms.spine.cohort import write_patient

        return write_patient(self, out, number)

    @staticmethod
    def add_fracture(
        control: "Findings", kind: str, amount: float, seed: int, patient: int
    ) -> "Findings":
        """A healthy vertebra, broken, see `fractures.add_fracture`."""
        from msk_jax.phantoms.spine.fractures import add_fracture

        return add_fracture(control, kind, amount, seed, patient)


@dataclass(frozen=True)
class AOSpinePhantom(ThoracolumbarPhantom):
    """A cohort of synthetic spine CT with one vertebra of AO Spine's types A0 to A4.

    Masks: 1 fracture line or split, 2 impacted bone, 3 bone pushed into the canal, 4 look-alikes.
    """

    name: ClassVar[str] = "thoracolumbar_ao"
    classes: ClassVar[tuple[str, ...]] = TYPES

    shares: tuple[float, float, float, float, float] = (0.20, 0.24, 0.16, 0.20, 0.20)
    """Of A0 to A4; splits are rarer in patients, but so few could not be learned."""

    @staticmethod
    def add_fracture(
        control: "Findings", kind: str, amount: float, seed: int, patient: int
    ) -> "Findings":
        """A healthy vertebra, broken, see `ao_fractures.add_ao_fracture`."""
        from msk_jax.phantoms.spine.ao_fractures import add_ao_fracture

        return add_ao_fracture(control, kind, amount, seed, patient)
