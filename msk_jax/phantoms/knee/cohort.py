"""The knee tumour cohort: configuration, and writing it to a folder.

    writing.write_cohort(Path("cohort"), KneePhantom(patients=333, seed=0))

The published cohort has 333 patients in four hospitals. Each has a frontal and a lateral
radiograph of 384 x 384 pixels of 0.7 mm, rendered from one three-dimensional description.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.knee.anatomy import Knee, draw_knee
from msk_jax.phantoms.knee.render import VIEWS, render
from msk_jax.phantoms.knee.signs import Tumour, draw_tumour, parameters
from msk_jax.phantoms.knee.table import PREVALENCE, Person, draw_person
from msk_jax.phantoms.knee.tumour import CODES
from msk_jax.phantoms.projection import Detector, Rendering, check_matrix
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from msk_jax.phantoms.writing import check_fields, check_width, write_mask

# Of the hospitals: photons in thousands (range), PSF in mm, latitude, and the detector's name.
LOOKS = (
    ((30, 300), 0.7, 0.45, "P14 panel A"),
    ((20, 200), 0.9, 0.35, "P14 plate"),
    ((30, 300), 0.8, 0.50, "P14 panel C"),
)


@dataclass(frozen=True)
class KneePhantom:
    """Synthetic knee radiographs of four hospitals: lytic osteosarcoma or giant cell tumour.

    Masks, `<patient_id>_<view>.nii.gz`: 1 tumour, 2 periosteal reaction, 3 soft-tissue mass, 4
    growth plates.
    """

    name: ClassVar[str] = "knee-tumour"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id", "path", "view", "label", "site", "split", "age", "sex", "bone",
    )  # fmt: skip

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
            self, patients=(1, 100_000), seed=(0, 2**31 - 1), severity=(0, 2),
            label_noise=(0, 0.5), positive_fraction=(0, 1), matrix=(64, 2048),
            pixel_mm=(0.1, 4.5), workers=(0, 256),
        )  # fmt: skip
        check_matrix(self.matrix)
        check_width(self, 240, 330)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its row of true parameters."""
        patient = draw_patient(self, number)
        person, hospital = patient.person, patient.person.hospital
        views = render_patient(patient, self)
        rows = []
        for index, (view, rendering) in enumerate(views.items()):
            exposure = Exposure(
                person.patient_id, f"Phantom^Knee^{number:05d}", person.sex, person.age,
                hospital.name, LOOKS[hospital.look][3], hospital.kind, hospital.inverted, "KNEE",
                view, person.side, number, index + 1, self.seed, 60.0, self.pixel_mm,
                patient.knee.magnification,
            )  # fmt: skip
            path = f"S{number:06d}_{index + 1}.dcm"
            write_radiograph(out / "dicom" / path, exposure, rendering.stored)
            write_mask(
                out, f"{person.patient_id}_{view}", rendering.labels, (self.pixel_mm, self.pixel_mm)
            )
            rows.append(manifest_row(person, view, path))
        return rows, [true_parameters(patient, views)]


@dataclass(frozen=True)
class Patient:
    """One patient, ready to be rendered."""

    person: Person
    knee: Knee
    tumour: Tumour | None  # None: the same leg, healthy
    detectors: dict[str, Detector]  # by view


def draw_patient(config: KneePhantom, number: int) -> Patient:
    """Patient `number` of the cohort."""
    person = draw_person(config, number)
    return Patient(
        person,
        draw_knee(config.seed, number),
        draw_tumour(config.seed, config.severity, person),
        {view: _detector(config, person, view) for view in VIEWS},
    )


def _detector(config: KneePhantom, person: Person, view: str) -> Detector:
    rng = stream(config.seed, person.number, f"detector {view}")
    photons, psf, latitude, _ = LOOKS[person.hospital.look]
    return Detector(
        photons=float(np.exp(rng.uniform(*np.log(photons)))) * 1000 * (config.pixel_mm / 0.7) ** 2,
        psf_mm=psf,
        scatter=float(rng.uniform(0.1, 0.3)),
        scatter_mm=40.0,
        latitude=latitude + float(rng.uniform(-0.1, 0.1)),
        sharpening=float(rng.uniform(0, 1.5)),
        gain=float(rng.uniform(0.7, 1.0)),
        offset=float(rng.uniform(-0.1, 0.06)),
        gamma=float(rng.uniform(0.8, 1.3)),
    )


def render_patient(patient: Patient, config: KneePhantom) -> dict[str, Rendering]:
    """Both views of a patient drawn with `draw_patient`."""
    person = patient.person
    return render(
        patient.knee, patient.tumour, person.physis_open, person.side, patient.detectors,
        config.matrix, config.pixel_mm, config.seed, person.number,
    )  # fmt: skip


def manifest_row(person: Person, view: str = "AP", path: str = "") -> dict:
    """What the manifest says of a view; `path` is relative to the DICOM folder."""
    return {
        "patient_id": person.patient_id,
        "path": path,
        "view": view,
        "label": person.label,
        "site": person.hospital.name,
        "split": person.split,
        "age": person.age,
        "sex": person.sex,
        "bone": person.bone,
    }


def true_parameters(patient: Patient, views: dict[str, Rendering]) -> dict:
    """The true parameters of a patient: as drawn, and the areas of the signs in either view."""
    person = patient.person
    return {
        "patient_id": person.patient_id,
        "true_label": int(person.osteosarcoma),
        "flipped": int(person.flipped),
        "site": person.hospital.name,
        "side": person.side,
        "physis_open": int(person.physis_open),
        **parameters(patient.tumour),
        **{
            f"{name}_share_{view}": round(float((rendering.labels == code).mean()), 4)
            for view, rendering in views.items()
            for name, code in CODES.items()
        },
    }
