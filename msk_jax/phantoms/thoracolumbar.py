"""The spine CT cohort (phantom P2): compression, burst or no fracture of one vertebra."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from msk_jax.errors import UserError
from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.ct import Grid, Scanner
from msk_jax.phantoms.dicom_writer import Study, write_series
from msk_jax.phantoms.fractures import CLASSES, add_fracture, draw_control, draw_expression
from msk_jax.phantoms.patients import SCANNERS
from msk_jax.phantoms.spine_ct import NEIGHBOURS, Rendering, measured, render, spine_grid
from msk_jax.phantoms.vertebra import Findings, Spine, draw_spine
from msk_jax.phantoms.writing import check_fields, check_width, write_mask

LEVELS = ("T11", "T12", "L1", "L2", "L3")
BLOCK = 25  # patients are balanced within blocks of this size
CLICK_MM = 1.5  # standard deviation of the centre that the manifest gives, along each axis


@dataclass(frozen=True)
class ThoracolumbarPhantom:
    """A cohort of synthetic spine CT with a compressed, a burst or a healthy vertebra.

    Masks: 1 fracture line, 2 impacted bone, 3 bone pushed into the canal, 4 look-alikes.
    """

    name: ClassVar[str] = "thoracolumbar"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id", "series_uid", "level", "label", "centre_x_mm", "centre_y_mm", "centre_z_mm",
        "site", "age", "sex",
    )  # fmt: skip
    classes: ClassVar[tuple[str, ...]] = CLASSES
    add_fracture = staticmethod(add_fracture)

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
        """Render and write one patient; its manifest row and its true parameters."""
        patient = draw_patient(self, number)
        rendering = render_patient(patient, self.seed)
        rng = stream(self.seed, number, "export")
        study = Study(
            patient.patient_id, f"Phantom^Spine^{number:04d}", patient.spine.sex,
            patient.spine.age, patient.site, patient.kernel, float(rng.choice([120, 130])), number,
            ("spine", str(self.seed), str(number)), bool(rng.random() < 0.4),
            "P2 spine", "SPINE", "Spine, axial, bone",
        )  # fmt: skip
        grid = patient.grid
        spacing = (grid.pixel_mm, grid.pixel_mm, grid.spacing_mm)
        folder = out / "dicom" / f"S{number:06d}"
        write_series(folder, study, rendering.hu, spacing, grid.origin_mm, rng)
        write_mask(out, patient.patient_id, rendering.labels, spacing, grid.origin_mm)
        row = {
            "patient_id": patient.patient_id,
            "series_uid": study.series_uid,
            "level": patient.level,
            "label": patient.said,
            **{f"centre_{a}_mm": round(c, 2) for a, c in zip("xyz", patient.click_mm, strict=True)},
            "site": patient.site,
            "age": patient.spine.age,
            "sex": patient.spine.sex,
        }
        return [row], [true_parameters(patient)]


@dataclass(frozen=True)
class SpinePatient:
    """One patient, ready to be rendered."""

    number: int
    spine: Spine
    grid: Grid
    scanner: Scanner
    kernel: str
    site: str
    level: str
    kind: str  # one of the phantom's classes
    said: str  # what the manifest says
    expression: float
    findings: dict[int, Findings]
    click_mm: tuple[float, float, float]

    @property
    def patient_id(self) -> str:
        return f"PHANTOM-{self.number:04d}"


def _kinds(config: ThoracolumbarPhantom, number: int) -> list[int]:
    """Classes of patients 0 to `number`, in their shares within blocks."""
    edges = np.cumsum(config.shares)[:-1]
    found: list[int] = []
    for block in range(number // BLOCK + 1):
        order = np.random.default_rng([config.seed, block, 78]).permutation(BLOCK)
        # A half patient of a class is rounded up in one block and down in the next.
        places = (order + (0.25 if block % 2 else 0.75)) / BLOCK
        found += np.searchsorted(edges, places, side="right").tolist()
    return found[: number + 1]


def draw_patient(config: ThoracolumbarPhantom, number: int) -> SpinePatient:
    """Patient `number` of a cohort; all but the level's fracture is drawn without its class."""
    seed = config.seed
    spine = draw_spine(seed, number)
    rng = stream(seed, number, "scanner")
    pixel = round(config.pixel_mm * rng.uniform(0.92, 1.08), 4)
    kinds = _kinds(config, number)
    # Sites take turns within each class, so that a small cohort does not confound the two.
    site = (kinds[:-1].count(kinds[-1]) + seed) % len(config.sites)
    noise, psf, sharpening, kernel = SCANNERS[site % len(SCANNERS)]
    scanner = Scanner(float(rng.uniform(*noise)), psf, sharpening)
    kind, expression = config.classes[kinds[-1]], draw_expression(seed, number)
    findings = {level: draw_control(seed, number, str(level)) for level in NEIGHBOURS}
    amount = config.severity * expression
    findings[0] = config.add_fracture(findings[0], kind, amount, seed, number)
    label = stream(seed, number, "label")
    others = [name for name in config.classes if name != kind]
    said = str(label.choice(others)) if label.random() < config.label_noise else kind
    place = stream(seed, number, "place")
    click = np.asarray(spine.centre_mm) + place.normal(0, CLICK_MM, 3)
    return SpinePatient(
        number, spine, spine_grid(spine, config.matrix, pixel, config.slice_spacing_mm), scanner,
        kernel, config.sites[site], str(place.choice(LEVELS)), kind, said, expression, findings,
        tuple(click.tolist()),
    )  # fmt: skip


def render_patient(patient: SpinePatient, seed: int) -> Rendering:
    """Render a patient drawn with `draw_patient`."""
    return render(
        patient.spine, patient.findings, patient.grid, patient.scanner, seed, patient.number
    )


def true_parameters(patient: SpinePatient) -> dict:
    """The true parameters of the labelled vertebra."""
    shown, spine = patient.findings[0], patient.spine
    neighbour = measured(spine, patient.findings[-1])
    return {
        "patient_id": patient.patient_id,
        "level": patient.level,
        "true_label": patient.kind,
        "label": patient.said,
        "expression": round(patient.expression, 4),
        **measured(spine, shown),
        **{f"neighbour_{name}": value for name, value in neighbour.items()},
        "retropulsion_mm": round(shown.retropulsion_mm, 2),
        "cracks": len(shown.cracks),
        "crack_mm": round(sum(crack.width_mm for crack in shown.cracks), 2),
        "split_mm": round(sum(c.width_mm * abs(c.normal[1]) for c in shown.cracks), 2),
        "band": round(shown.band_strength, 3),
        "sclerosis": int(shown.sclerosis_hu > 0),
        "node_mm": round(shown.node_mm, 2),
        "trabecular_hu": round(spine.trabecular_hu, 1),
        "noise_hu": round(patient.scanner.noise_hu, 2),
        "site": patient.site,
    }
