"""The knee tumour cohort: drawing, rendering and writing a patient."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.knee.anatomy import Knee, draw_knee
from msk_jax.phantoms.knee.render import VIEWS, render
from msk_jax.phantoms.knee.settings import KneePhantom
from msk_jax.phantoms.knee.signs import Tumour, draw_tumour, parameters
from msk_jax.phantoms.knee.table import Person, draw_person
from msk_jax.phantoms.knee.tumour import CODES
from msk_jax.phantoms.projection import Detector, Rendering
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from msk_jax.phantoms.writing import write_mask

# Of the hospitals: photons in thousands (range), PSF in mm, latitude, and the detector's name.
LOOKS = (
    ((30, 300), 0.7, 0.45, "P14 panel A"),
    ((20, 200), 0.9, 0.35, "P14 plate"),
    ((30, 300), 0.8, 0.50, "P14 panel C"),
)


def write_patient(config: KneePhantom, out: Path, number: int) -> tuple[list[dict], list[dict]]:
    """Render and write one patient; its manifest rows and its row of true parameters."""
    patient = draw_patient(config, number)
    person, hospital = patient.person, patient.person.hospital
    views = render_patient(patient, config)
    rows = []
    for index, (view, rendering) in enumerate(views.items()):
        exposure = Exposure(
            person.patient_id,
            f"Phantom^Knee^{number:05d}",
            person.sex,
            person.age,
            hospital.name,
            LOOKS[hospital.look][3],
            hospital.kind,
            hospital.inverted,
            "KNEE",
            view,
            person.side,
            number,
            index + 1,
            config.seed,
            60.0,
            config.pixel_mm,
            patient.knee.magnification,
        )
        path = f"S{number:06d}_{index + 1}.dcm"
        write_radiograph(out / "dicom" / path, exposure, rendering.stored)
        write_mask(
            out, f"{person.patient_id}_{view}", rendering.labels, (config.pixel_mm, config.pixel_mm)
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
        patient.knee,
        patient.tumour,
        person.physis_open,
        person.side,
        patient.detectors,
        config.matrix,
        config.pixel_mm,
        config.seed,
        person.number,
    )


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
