"""Which MR sequence a series is, from its header, and how far the header can be believed.

Two witnesses are heard: the physics (echo, repetition and inversion time) and what people wrote
(description, protocol). The limits are ours, within what textbooks print for 1.5 and 3 T; fast
scans at odd settings fall between them, which is why the confidence is part of the answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from msk_jax.data.dicom.frames import group_item, groups_of
from msk_jax.data.dicom.headers import number, text, words

Weighting = Literal["T1", "T2", "PD", "STIR", "FLAIR", "T2*", "unknown"]

# Physics, in ms and degrees.
_SHORT_TI = (80.0, 300.0)  # nulls fat: 130 to 180 at 1.5 T, 200 to 240 at 3 T
_LONG_TI = 1500.0  # nulls water
_T1_TR, _T1_TE = 1200.0, 30.0
_LONG_TR, _T2_TE, _PD_TE = 1500.0, 60.0, 55.0
_GRADIENT_T1_TE, _GRADIENT_T1_FLIP = 10.0, 15.0

_SPOKEN: tuple[tuple[Weighting, str], ...] = (
    ("STIR", r"stir|tirm"),
    ("FLAIR", r"flair"),
    ("T2*", r"t2\s?\*|t2star|medic|merge|swi"),
    ("PD", r"pd|proton|dp"),
    ("T2", r"t2"),
    ("T1", r"t1|mprage|vibe|lava|thrive|fspgr|spgr"),
)
_FAT = r"fs|fatsat|fat.?sat|spir|spair|spectral|chess|sfs|dixon.?w|water"


@dataclass(frozen=True)
class MRSequence:
    """What a header says about a series."""

    weighting: Weighting
    fat_suppressed: bool | None
    """None: nothing says so, and nothing says otherwise."""

    plane: str
    """`axial`, `coronal`, `sagittal`, `oblique` (more than 30 degrees off all three), `unknown`."""

    confidence: Literal["high", "medium", "low", "none"]
    """Of the weighting. High: physics and words agree. Medium: one of them speaks. Low: they
    contradict each other, and physics is given. None: neither speaks."""

    evidence: tuple[str, ...]
    """What was found, one line each."""


def recognise(header: Dataset) -> MRSequence:
    """Recognise the sequence of an MR image from its header, classic or enhanced.

    Args:
        header: of any slice of the series.
    """
    groups = groups_of(header, 0)
    spoken_text = " ".join(
        text(header, k) for k in ("SeriesDescription", "ProtocolName", "SequenceName")
    ).lower()
    physics, said = _physics(header, groups), _spoken(spoken_text)
    evidence = []
    if physics[0] != "unknown":
        evidence.append(physics[1])
    if said != "unknown":
        evidence.append(f"the description says {said}")
    if physics[0] == said == "unknown":
        confidence = "none"
    elif "unknown" in (physics[0], said):
        confidence = "medium"
    else:
        confidence = "high" if physics[0] == said else "low"
    weighting = physics[0] if physics[0] != "unknown" else said
    fat = _fat_suppressed(header, groups, spoken_text, weighting)
    return MRSequence(weighting, fat, plane_of(header), confidence, tuple(evidence))


def plane_of(header: Dataset) -> str:
    """The anatomical plane nearest to the slice, from its orientation."""
    item = group_item(groups_of(header, 0), "PlaneOrientationSequence")
    try:
        values = (header if item is None else item).ImageOrientationPatient
        row, column = np.split(np.asarray([float(v) for v in values]), 2)
        normal = np.abs(np.cross(row, column))
    except Exception:
        return "unknown"
    if normal.shape != (3,) or not np.isfinite(normal).all() or normal.max() == 0:
        return "unknown"
    axis = int(normal.argmax())
    if normal[axis] / np.linalg.norm(normal) < np.cos(np.radians(30)):
        return "oblique"
    return ("sagittal", "coronal", "axial")[axis]


def _timing(groups: Sequence[Dataset], keyword: str, sequence: str, enhanced: str) -> float | None:
    item = group_item(list(groups), sequence)
    value = None if item is None else number(item, enhanced)
    return number(groups[-1], keyword) if value is None else value


def _physics(header: Dataset, groups: Sequence[Dataset]) -> tuple[Weighting, str]:
    te = _timing(groups, "EchoTime", "MREchoSequence", "EffectiveEchoTime")
    tr = _timing(groups, "RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime")
    ti = _timing(groups, "InversionTime", "MRModifierSequence", "InversionTimes")
    flip = _timing(groups, "FlipAngle", "MRTimingAndRelatedParametersSequence", "FlipAngle")
    kinds = set(words(header, "ScanningSequence"))
    if text(header, "EchoPulseSequence").upper() == "GRADIENT":
        kinds.add("GR")
    told = ", ".join(
        f"{name} {value:g}" for name, value in (("TE", te), ("TR", tr), ("TI", ti)) if value
    )
    if te is None or tr is None:
        return "unknown", ""
    return _weighting(te, tr, ti, flip, "GR" in kinds and "SE" not in kinds), f"{told} ms"


def _weighting(te: float, tr: float, ti: float | None, flip: float | None, gradient: bool):
    if ti and _SHORT_TI[0] <= ti <= _SHORT_TI[1] and tr >= _LONG_TR:
        return "STIR"
    if ti and ti >= _LONG_TI and tr > ti:
        return "FLAIR"
    if gradient:
        is_t1 = te < _GRADIENT_T1_TE and (flip is None or flip >= _GRADIENT_T1_FLIP or bool(ti))
        return "T1" if is_t1 else "T2*" if te >= _GRADIENT_T1_TE else "unknown"
    if tr < _T1_TR and te < _T1_TE:
        return "T1"
    if tr >= _LONG_TR and te >= _T2_TE:
        return "T2"
    return "PD" if tr >= _LONG_TR and te <= _PD_TE else "unknown"


def _spoken(words_said: str) -> Weighting:
    for weighting, pattern in _SPOKEN:
        if re.search(rf"(?<![a-z])(?:{pattern})(?![0-9])", words_said):
            return weighting
    return "unknown"


def _fat_suppressed(header, groups, spoken: str, weighting: Weighting) -> bool | None:
    if weighting == "STIR":
        return True
    modifier = group_item(list(groups), "MRModifierSequence")
    if modifier is not None and text(modifier, "SpectrallySelectedSuppression"):
        return "FAT" in text(modifier, "SpectrallySelectedSuppression").upper()
    options = words(header, "ScanOptions")
    if "FS" in options or "FAT_SAT" in options:
        return True
    if re.search(rf"(?<![a-z])({_FAT})(?![a-z])", spoken):
        return True
    return False if options else None
