"""Where the voxels of a NIfTI file lie: what its sform, its qform and its pixdim state of that.

A header may state it twice (NIfTI-1, "3D image (volume) orientation and location in space"), and
libraries choose differently between statements that differ. Here what both agree on is read.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from msk_jax.errors import SeriesError

NiftiForm = Literal["sform", "qform"]

AGREEMENT_MM = 0.1
"""How far two statements may be apart at the farthest corner of a volume, as the positions of DICOM
slices may be off their grid."""

_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}  # not said, metres, millimetres, micrometres
_SPACING_MM = (1e-3, 100.0)  # what images of a body have [U]; a wrong unit is beyond
_SKEW_SHOWN_DEG = 0.05
_STEPS = 41
"""Values of w that are tried in `_forms_apart`, 3.5e-5 apart in single precision."""
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Statement:
    """One statement of a header."""

    form: str
    code: int
    affine: np.ndarray
    """[4, 4], voxel [i, j, k] to patient coordinates in mm, LPS as DICOM has them."""

    shape: tuple[int, ...]
    """Of the volume, (i, j, k)."""

    @property
    def spacing_mm(self) -> np.ndarray:
        """Along i, j and k."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def __str__(self) -> str:
        from nibabel import aff2axcodes

        axes = "".join(letter or "?" for letter in aff2axcodes(_TO_LPS @ self.affine))
        size = " x ".join(f"{v:.4g}" for v in self.spacing_mm)
        ends = [(0, 0, 0), tuple(n - 1 for n in self.shape)]
        first, last = (
            ", ".join(f"{v:.1f}" for v in (self.affine @ (*index, 1))[:3]) for index in ends
        )
        skew = skew_deg(self.affine)
        skewed = f", {skew:.1f} degrees off a right angle" if skew > _SKEW_SHOWN_DEG else ""
        return (
            f"the {self.form} (code {self.code}) says axes {axes}{skewed}, voxels of {size} mm, "
            f"the first at ({first}) and the last at ({last}) in LPS"
        )


def affine_of(
    name: str, header: Any, shape: tuple[int, ...], form: NiftiForm | None = None
) -> np.ndarray | None:
    """The affine of a volume.

    Args:
        name: of the file, for messages.
        header: nibabel's, of NIfTI-1 or NIfTI-2.
        shape: of the volume, (i, j, k).
        form: which statement to trust where they differ.

    Returns:
        float64 [4, 4], voxel [i, j, k] to patient coordinates in mm, LPS; None: the header states
        nothing (both codes are 0).

    Raises:
        SeriesError: statements that differ and nobody said which to trust, that are mirrored images
            of each other, are no affine, or lack a spacing; spacings that no image of a body has.
    """
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    stated = (_sform(header, shape, unit), _qform(header, shape, unit))
    found = {statement.form: statement for statement in stated if statement}
    if not found:
        return None
    if form is not None and form not in found:
        only = next(iter(found))
        raise SeriesError(
            f"{name} has no {form}, only a {only}. Give --nifti-form {only}, or leave it out."
        )
    sound = {key: s for key, s in found.items() if _is_sound(s.affine)}
    _check_sides(name, sound)
    if form is None:
        _check_agreement(name, header, unit, found, sound)
    chosen = found[form] if form else found.get("sform") or found["qform"]
    if chosen.form not in sound:
        raise SeriesError(
            f"The {chosen.form} of {name} is no affine (a spacing of 0, or no numbers). "
            f"{_instead(chosen.form, sound)}"
        )
    low, high = _SPACING_MM
    if not ((chosen.spacing_mm >= low) & (chosen.spacing_mm <= high)).all():
        raise SeriesError(
            f"{name} cannot be an image of a body: {chosen}, by the unit that its header states "
            "(xyzt_units). Correct the unit or the spacing."
        )
    return chosen.affine


def _sform(header: Any, shape: tuple[int, ...], unit: float) -> Statement | None:
    code = int(header["sform_code"])
    if code <= 0:
        return None
    return Statement("sform", code, _TO_LPS @ _scaled(header.get_sform(), unit), shape)


def _qform(header: Any, shape: tuple[int, ...], unit: float) -> Statement | None:
    code = int(header["qform_code"])
    if code <= 0:
        return None
    header = header.copy()
    pixdim = header["pixdim"]
    pixdim[0] = -1 if pixdim[0] < 0 else 1  # 0 stands for 1
    try:
        affine = header.get_qform()
    except Exception:  # negative spacings, no quaternion of a rotation
        affine = np.full((4, 4), np.nan)
    return Statement("qform", code, _TO_LPS @ _scaled(affine, unit), shape)


def _scaled(affine: np.ndarray, unit: float) -> np.ndarray:
    scaled = np.array(affine, np.float64)
    scaled[:3] *= unit
    return scaled


def _is_sound(affine: np.ndarray) -> bool:
    if not np.isfinite(affine).all():
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(steps.min() > 0 and abs(np.linalg.det(affine[:3, :3] / steps)) > 1e-3)


def _check_sides(name: str, sound: dict[str, Statement]) -> None:
    sides = {np.sign(np.linalg.det(s.affine[:3, :3])) for s in sound.values()}
    if len(sides) > 1:
        raise SeriesError(
            f"{name} contradicts itself about left and right: {sound['sform']}; {sound['qform']}. "
            "One is the mirror image of the other. Convert it again from the original images."
        )


def _check_agreement(
    name: str,
    header: Any,
    unit: float,
    found: dict[str, Statement],
    sound: dict[str, Statement],
) -> None:
    if len(found) == 2:
        for form, statement in found.items():
            if form not in sound:
                raise SeriesError(
                    f"The {form} of {name} (code {statement.code}) is no affine (a spacing of 0, "
                    f"or no numbers). {_instead(form, sound)}"
                )
        apart = _forms_apart(header, found["sform"], found["qform"])
        if apart > AGREEMENT_MM:
            raise SeriesError(
                f"{name} says twice where it lies, and the two are {apart:.1f} mm apart at the "
                f"farthest corner: {found['sform']}; {found['qform']}. Say which to trust: "
                "--nifti-form sform or --nifti-form qform."
            )
    elif "sform" in found and "sform" in sound:
        _check_pixdim(name, header, unit, found["sform"])


def _forms_apart(header: Any, sform: Statement, qform: Statement) -> float:
    """How far the two put a corner voxel apart, in mm, but for the rounding of the quaternion.

    The header stores three of its parts; the fourth, w, is what they leave of 1. Where it is small
    (a turn by nearly 180 degrees, as of oblique axial slices), their rounding moves it by up to
    6e-4 and a far corner by half a millimetre. So any w will do that rounds to the same parts.
    """
    from nibabel.quaternions import quat2mat

    parts = np.array([header[f"quatern_{letter}"] for letter in "bcd"])
    rest, rounding = 1 - float(np.sum(parts.astype(float) ** 2)), 3 * np.finfo(parts.dtype).eps
    apart = [corners_apart(sform.affine, qform.affine, sform.shape)]
    if abs(rest) <= 2 * rounding:
        widest = np.sqrt(max(rest, 0) + rounding)
        for w in np.linspace(-widest, widest, _STEPS):
            if abs(w**2 - rest) <= rounding:
                turn = quat2mat([w, *parts.astype(float)])
                other = qform.affine.copy()
                other[:3, :3] = _TO_LPS[:3, :3] @ turn * qform.spacing_mm
                if np.linalg.det(other) * np.linalg.det(qform.affine) < 0:
                    other[:3, 2] *= -1
                apart.append(corners_apart(sform.affine, other, sform.shape))
    return min(apart)


def _check_pixdim(name: str, header: Any, unit: float, sform: Statement) -> None:
    """The spacings that the header states beside the sform, which needs none. Of slices that are
    tilted some writers give the distance along their normal."""
    pixdim = np.array(header["pixdim"][1:4], np.float64) * unit
    reach = np.array(sform.shape) - 1
    inverse = np.linalg.norm(np.linalg.inv(sform.affine[:3, :3]), axis=1)
    either = np.abs(np.abs(pixdim) - [sform.spacing_mm, 1 / inverse]).min(axis=0)
    apart = np.where(reach > 0, either * reach, 0)
    if not apart.max() <= AGREEMENT_MM:
        size = " x ".join(f"{v:.4g}" for v in pixdim)
        raise SeriesError(
            f"{name} says twice how large its voxels are: {sform}; pixdim says {size} mm. If the "
            "sform is right, give --nifti-form sform; else convert it again from the original "
            "images."
        )


def _instead(form: str, sound: dict[str, Statement]) -> str:
    others = [other for other in sound if other != form]
    if others:
        return f"Give --nifti-form {others[0]} to trust the {others[0]}: {sound[others[0]]}."
    return "Convert it again from the original images."


def corners_apart(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """The farthest that two affines put a corner voxel of a volume apart, in mm."""
    corners = np.array(list(product(*((0, n - 1) for n in shape))), np.float64)
    homogeneous = np.c_[corners, np.ones(len(corners))]
    return float(np.linalg.norm((homogeneous @ (one - other).T)[:, :3], axis=1).max())


def straightened(affine: np.ndarray) -> np.ndarray:
    """The nearest affine with the same spacings and first voxel whose axes are perpendicular."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / steps)
    straight = affine.copy()
    straight[:3, :3] = left @ right * steps
    return straight


def skew_deg(affine: np.ndarray) -> float:
    """How far the two axes that are least perpendicular are off a right angle."""
    units = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(units.T @ units)[~np.eye(3, dtype=bool)]
    return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))
