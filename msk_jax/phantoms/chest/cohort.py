"""The chest radiograph cohort: configuration, and writing it to a folder.

    writing.write_cohort(Path("cohort"), ChestPhantom(patients=200, seed=0))

The published cohort has 4,542 patients. A picture is 384 x 384 pixels of 1 mm, as a detector's
export binned by seven: a cortex of half a millimetre is then less than a pixel and shows as
contrast, which is how it is seen; and the whole cohort takes 1.4 GB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.chest.anatomy import Chest, draw_chest
from msk_jax.phantoms.chest.bones import SIGNS, Bones, draw_bones
from msk_jax.phantoms.chest.render import CODES, frame_of, render
from msk_jax.phantoms.chest.table import PREVALENCE, Person, draw_person
from msk_jax.phantoms.projection import Detector, Rendering, check_matrix
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from msk_jax.phantoms.writing import check_fields, check_width, write_mask

# Of the centres: photons in thousands (range), PSF in mm, latitude, and the detector's name.
LOOKS = (
    ((60, 600), 1.1, 0.70, "P3 panel A"),
    ((40, 400), 1.4, 0.62, "P3 plate"),
    ((60, 600), 1.2, 0.75, "P3 panel C"),
)


@dataclass(frozen=True)
class ChestPhantom:
    """Synthetic chest radiographs of three centres with and without osteoporosis.

    Masks, of all bone: 1 ribs, 2 clavicles, 3 vertebrae, 4 shoulders.
    """

    name: ClassVar[str] = "osteoporosis"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id", "path", "label", "site", "split", "age", "sex", "height", "weight", "bmi",
    )  # fmt: skip

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
            self, patients=(1, 100_000), seed=(0, 2**31 - 1), severity=(0, 2),
            label_noise=(0, 0.5), positive_fraction=(0, 1), matrix=(64, 2048),
            pixel_mm=(0.15, 6), workers=(0, 256),
        )  # fmt: skip
        check_matrix(self.matrix)
        check_width(self, 350, 430)

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one patient; its manifest rows and its row of true parameters."""
        patient = draw_patient(self, number)
        person, centre = patient.person, patient.person.centre
        rendering = render_patient(patient, self)
        exposure = Exposure(
            person.patient_id, f"Phantom^Chest^{number:05d}", person.sex, person.age, centre.name,
            LOOKS[centre.look][3], centre.kind, centre.inverted, "CHEST", "PA", "U", number, 1,
            self.seed, 110.0, self.pixel_mm, patient.chest.magnification,
        )  # fmt: skip
        path = f"S{number:06d}.dcm"
        write_radiograph(out / "dicom" / path, exposure, rendering.stored)
        write_mask(out, person.patient_id, rendering.labels, (self.pixel_mm, self.pixel_mm))
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
