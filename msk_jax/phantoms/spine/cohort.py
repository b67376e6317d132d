"""The spine CT cohort (phantom P2): compression, burst or no fracture of one vertebra."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.ct import Grid, Scanner
from msk_jax.phantoms.dicom_writer import Study, write_series
from msk_jax.phantoms.sacroiliac.patients import SCANNERS
from msk_jax.phantoms.spine.fractures import draw_control, draw_expression
from msk_jax.phantoms.spine.render import NEIGHBOURS, Rendering, measured, render, spine_grid
from msk_jax.phantoms.spine.settings import ThoracolumbarPhantom
from msk_jax.phantoms.spine.vertebra import Findings, Spine, draw_spine
from msk_jax.phantoms.writing import write_mask

LEVELS = ("T11", "T12", "L1", "L2", "L3")
BLOCK = 25  # patients are balanced within blocks of this size
CLICK_MM = 1.5  # standard deviation of the centre that the manifest gives, along each axis


def write_patient(
    config: ThoracolumbarPhantom, out: Path, number: int
) -> tuple[list[dict], list[dict]]:
    """Render and write one patient; its manifest row and its true parameters."""
    patient = draw_patient(config, number)
    rendering = render_patient(patient, config.seed)
    rng = stream(config.seed, number, "export")
    study = Study(
        patient.patient_id,
        f"Phantom^Spine^{number:04d}",
        patient.spine.sex,
        patient.spine.age,
        patient.site,
        patient.kernel,
        float(rng.choice([120, 130])),
        number,
        ("spine", str(config.seed), str(number)),
        bool(rng.random() < 0.4),
        "P2 spine",
        "SPINE",
        "Spine, axial, bone",
    )
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
        number,
        spine,
        spine_grid(spine, config.matrix, pixel, config.slice_spacing_mm),
        scanner,
        kernel,
        config.sites[site],
        str(place.choice(LEVELS)),
        kind,
        said,
        expression,
        findings,
        tuple(click.tolist()),
    )


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
