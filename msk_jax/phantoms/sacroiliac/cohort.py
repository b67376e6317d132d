"""The sacroiliac CT cohort (phantom P1): drawing, rendering and writing a patient."""

from pathlib import Path

import numpy as np

from msk_jax.phantoms.anatomy import SIDES, stream
from msk_jax.phantoms.ct import DENSE, JOINT_SPACE, NOTCH, Rendering, lesion_areas, render
from msk_jax.phantoms.dicom_writer import Study, write_series
from msk_jax.phantoms.findings import BRIDGE, EROSION, FAT, MIMIC, SCLEROSIS
from msk_jax.phantoms.sacroiliac.lesions import is_positive
from msk_jax.phantoms.sacroiliac.patients import Patient, draw_patient, read_out
from msk_jax.phantoms.sacroiliac.settings import SacroiliacPhantom
from msk_jax.phantoms.writing import write_mask

VISIBLE_MM2 = 5.0  # a slice shows a lesion from this area on
READABLE = 0.5  # the contrast of a notch, of its full one, from which its length can be measured


def write_patient(
    config: SacroiliacPhantom, out: Path, number: int
) -> tuple[list[dict], list[dict]]:
    """Render and write one patient; its manifest rows and its rows of true parameters."""
    patient = draw_patient(config, number)
    grid, an = patient.grid, patient.anatomy
    rendering = render_patient(patient, config)
    rng = stream(config.seed, number, "export")
    study = Study(
        patient.patient_id,
        f"Phantom^Sacroiliac^{number:04d}",
        an.sex,
        an.age,
        patient.site,
        patient.kernel,
        float(rng.choice([120, 130])),
        number,
        (str(config.seed), str(number)),
        bool(rng.random() < 0.4),
    )
    spacing = (grid.pixel_mm, grid.pixel_mm, grid.spacing_mm)
    write_series(
        out / "dicom" / f"S{number:06d}", study, rendering.hu, spacing, grid.origin_mm, rng
    )
    write_mask(out, patient.patient_id, rendering.labels, spacing, grid.origin_mm)
    return (
        _manifest_rows(patient, study.series_uid, _visible(patient)),
        [true_parameters(patient, side, rendering) for side in SIDES],
    )


def render_patient(patient: Patient, config: SacroiliacPhantom) -> Rendering:
    """Render a patient drawn with `patients.draw_patient`."""
    return render(
        patient.anatomy,
        patient.findings,
        patient.grid,
        patient.scanner,
        config.seed,
        patient.number,
    )


def _visible(patient: Patient) -> dict[str, str]:
    """Where a lesion would be seen at severity 1 and full expression, whatever the severity:
    so a stack's label keeps its meaning when the disease fades."""
    grades = read_out(patient)
    if max(grades.values()) < 2:
        return dict.fromkeys(SIDES, "")
    areas = lesion_areas(patient.anatomy, patient.at_full_severity, patient.grid)
    return {
        side: intervals(patient.grid.z_mm, areas[side] >= VISIBLE_MM2, patient.grid.spacing_mm)
        if grades[side] >= 2
        else ""
        for side in SIDES
    }


def intervals(z_mm: np.ndarray, shown: np.ndarray, spacing_mm: float) -> str:
    """Closed intervals of z that the slices marked in `shown` cover, as "a:b;c:d"."""
    edges = np.flatnonzero(np.diff(np.r_[0, shown.astype(int), 0]))
    half = spacing_mm / 2
    return ";".join(
        f"{z_mm[a] - half:.2f}:{z_mm[b - 1] + half:.2f}"
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    )


def _manifest_rows(patient: Patient, series_uid: str, visible: dict[str, str]) -> list[dict]:
    grades = read_out(patient)
    name = ("normal", "sacroiliitis")
    return [
        {
            "patient_id": patient.patient_id,
            "series_uid": series_uid,
            "side": side,
            "label": name[grade >= 2],
            "patient_label": name[is_positive(*grades.values())],
            "grade": grade,
            "lesion_z_mm": visible[side],
            "site": patient.site,
            "age": patient.anatomy.age,
            "sex": patient.anatomy.sex,
        }
        for side, grade in grades.items()
    ]


def true_parameters(patient: Patient, side: str, rendering: Rendering) -> dict:
    """The true parameters of a joint: as drawn, and as measured on the rendering."""
    shown, an, size = patient.findings[side], patient.anatomy, rendering.measured[side]
    joint = an.joint(SIDES[side])
    erosions = [n for n in shown.notches if n.code == EROSION]
    sclerosis = [z for z in shown.zones if z.code == SCLEROSIS]
    x, y = an.to_patient(SIDES[side] * joint.lateral_mm, 0.0)
    lower, upper = (an.shift_mm[2] + h * an.height_mm / 2 for h in (-1, 1))
    return {
        "patient_id": patient.patient_id,
        "side": side,
        "true_label": int(patient.positive and patient.plans[side] is not None),
        "true_patient_label": int(patient.positive),
        "flipped": int(patient.flipped),
        "grade": shown.grade,
        "expression": round(patient.expression, 4),
        "joint_z_mm": f"{lower:.2f}:{upper:.2f}",
        "width_mm": round(shown.width_mm, 3),
        "roughness_mm": round(shown.roughness_mm, 3),
        "erosion_count": len(erosions),
        "erosion_mm3": round(size[EROSION], 2),
        "sclerosis_mm3": round(size[SCLEROSIS], 1),
        "sclerosis_depth_mm": round(max((z.depth_mm for z in sclerosis), default=0.0), 2),
        "bridge_fraction": round(shown.bridge_fraction, 3),
        "bridge_mm3": round(size[BRIDGE], 1),
        "fat_mm3": round(size[FAT], 1),
        "mimic_mm3": round(size[MIMIC], 1),
        "notch_mm3": round(size[NOTCH], 2),
        "dense_mm3": round(size[DENSE], 1),
        "joint_space_mm3": round(size[JOINT_SPACE], 1),
        "condensans": int(any(z.triangular for z in shown.zones)),
        "osteophyte": int(bool(shown.osteophytes)),
        "longest_notch_mm": round(
            max((n.length_mm for n in shown.notches if n.strength >= READABLE), default=0.0), 2
        ),
        "pits": sum(n.flat and n.code == MIMIC for n in shown.notches),
        "joint_length_mm": round(joint.length_mm, 2),
        "joint_height_mm": round(an.height_mm, 2),
        "noise_hu": round(patient.scanner.noise_hu, 2),
        "centre_x_mm": round(x, 2),
        "centre_y_mm": round(y, 2),
        "rotation_deg": round(an.rotation_deg, 2),
        "site": patient.site,
    }
