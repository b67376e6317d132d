"""The chest radiograph cohort: drawing, rendering and writing a patient."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.chest.anatomy import Chest, draw_chest
from msk_jax.phantoms.chest.bones import SIGNS, Bones, draw_bones
from msk_jax.phantoms.chest.render import CODES, frame_of, render
from msk_jax.phantoms.chest.settings import ChestPhantom
from msk_jax.phantoms.chest.table import Person, draw_person
from msk_jax.phantoms.projection import Detector, Rendering
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from msk_jax.phantoms.writing import write_mask

# Of the centres: photons in thousands (range), PSF in mm, latitude, and the detector's name.
LOOKS = (
    ((60, 600), 1.1, 0.70, "P3 panel A"),
    ((40, 400), 1.4, 0.62, "P3 plate"),
    ((60, 600), 1.2, 0.75, "P3 panel C"),
)


def write_patient(config: ChestPhantom, out: Path, number: int) -> tuple[list[dict], list[dict]]:
    """Render and write one patient; its manifest rows and its row of true parameters."""
    patient = draw_patient(config, number)
    person, centre = patient.person, patient.person.centre
    rendering = render_patient(patient, config)
    exposure = Exposure(
        person.patient_id,
        f"Phantom^Chest^{number:05d}",
        person.sex,
        person.age,
        centre.name,
        LOOKS[centre.look][3],
        centre.kind,
        centre.inverted,
        "CHEST",
        "PA",
        "U",
        number,
        1,
        config.seed,
        110.0,
        config.pixel_mm,
        patient.chest.magnification,
    )
    path = f"S{number:06d}.dcm"
    write_radiograph(out / "dicom" / path, exposure, rendering.stored)
    write_mask(out, person.patient_id, rendering.labels, (config.pixel_mm, config.pixel_mm))
    return [manifest_row(person, path)], [true_parameters(patient, rendering)]


@dataclass(frozen=True)
class Patient:
    """One patient, ready to be rendered."""

    person: Person
    chest: Chest
    bones: Bones
    detector: Detector


def draw_patient(config: ChestPhantom, number: int) -> Patient:
    """Patient `number` of the cohort."""
    person = draw_person(config, number)
    rng = stream(config.seed, number, "detector")
    photons, psf, latitude, _ = LOOKS[person.centre.look]
    detector = Detector(
        photons=float(np.exp(rng.uniform(*np.log(photons)))) * 1000 * (config.pixel_mm / 1.0) ** 2,
        psf_mm=psf,
        scatter=float(rng.uniform(0.2, 0.4)),
        scatter_mm=60.0,
        latitude=latitude + float(rng.uniform(-0.06, 0.06)),
        sharpening=float(rng.uniform(0, 1.5)),
        gain=float(rng.uniform(0.72, 1.05)),
        offset=float(rng.uniform(-0.08, 0.08)),
        gamma=float(rng.uniform(0.75, 1.35)),
    )
    bones = draw_bones(config.seed, number, person.bone_loss)
    return Patient(person, draw_chest(config.seed, number), bones, detector)


def render_patient(patient: Patient, config: ChestPhantom) -> Rendering:
    """Render a patient drawn with `draw_patient`."""
    frame = frame_of(patient.chest, config.matrix, config.pixel_mm)
    return render(
        patient.chest, patient.bones, frame, patient.detector, config.seed, patient.person.number
    )


def manifest_row(person: Person, path: str) -> dict:
    """What the manifest says of a patient; `path` is relative to the DICOM folder."""
    return {
        "patient_id": person.patient_id,
        "path": path,
        "label": person.label,
        "site": person.centre.name,
        "split": person.split,
        "age": person.age,
        "sex": person.sex,
        "height": person.height,
        "weight": person.weight,
        "bmi": person.bmi,
    }


def true_parameters(patient: Patient, rendering: Rendering) -> dict:
    """The true parameters of a patient: as drawn, and the share of the picture that is bone."""
    person, bones = patient.person, patient.bones
    return {
        "patient_id": person.patient_id,
        "true_label": int(person.osteoporosis),
        "flipped": int(person.flipped),
        "site": person.centre.name,
        "t_score": person.t_score,
        "bone_loss": round(person.bone_loss, 4),
        **{name: round(getattr(bones, name), 4) for name in SIGNS},
        "wedge_level": bones.wedge_level,
        "wedge_loss": round(bones.wedge_loss, 3),
        **{
            f"{name}_share": round(float((rendering.labels == code).mean()), 4)
            for name, code in CODES.items()
        },
        "magnification": patient.chest.magnification,
        "wall_mm": round(patient.chest.wall_mm, 1),
        "bone_factor": round(patient.chest.bone_factor, 3),
    }
