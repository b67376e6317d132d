"""Masks of what a picture shows, beside the pictures of a cohort, on the grid of its crops."""

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from msk_jax.data.images.nifti import read_labels
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.images.series import Series
from msk_jax.data.privacy.pseudonyms import load_key, pseudonym
from msk_jax.data.regions.region import Crop, Region
from msk_jax.data.sources.names import is_litter
from msk_jax.errors import UserError

_SUFFIX = ".nii.gz"
_FORMS = (
    str,
    functools.partial(unicodedata.normalize, "NFC"),
    functools.partial(unicodedata.normalize, "NFD"),
)
"""How a patient's identifier may be written in the name of a file, which some systems decompose."""

_MARKED = 1000
"""A radiograph's mask is resampled as a picture of 0 and this; an edge lies at the half."""


def find_masks(folder: Path, key_path: Path, units: Sequence[str]) -> dict[tuple[str, str], Path]:
    """Masks by pseudonym and unit.

    Args:
        folder: of files `<patient_id>.nii.gz`, for all units of the patient, or
            `<patient_id>_<unit>.nii.gz`.
        key_path: file with the key of the pseudonyms.
        units: names of units.

    Raises:
        UserError: there is no such folder, no mask in it, or no key.
    """
    files = (
        []
        if not folder.is_dir()
        else [
            file
            for file in sorted(folder.iterdir())
            if file.name.lower().endswith(_SUFFIX) and not is_litter(file)
        ]
    )
    if not files:
        raise UserError(f"There is no mask (<patient_id>{_SUFFIX}) in {folder}.")
    key, by_form = load_key(key_path), [{} for _ in _FORMS]
    for form, masks in zip(_FORMS, by_form, strict=True):
        for file in files:
            masks |= {(pseudonym(form(_name(file)), key), unit): file for unit in units}
        for file in files:  # what is said of one unit goes before what is said of all
            patient, _, unit = _name(file).rpartition("_")
            if unit in units:
                masks[pseudonym(form(patient), key), unit] = file
    found = {}
    for masks in reversed(by_form):  # a name as it is goes before another way to write it
        found |= masks
    return found


def _name(file: Path) -> str:
    return file.name[: -len(_SUFFIX)]


@functools.lru_cache(maxsize=2)
def read_mask(
    file: Path, codes: tuple[int, ...], nifti_form: NiftiForm | None = None
) -> sitk.Image:
    """uint8 image, 1 where a NIfTI file has one of these labels (any above 0 where there are none).

    One slice alone is a picture, of two dimensions. The last files are kept, for the slices of one
    are asked for in turn.

    Raises:
        UserError: a file that is no mask.
    """
    image = read_labels(file, nifti_form)
    size = image.GetSize()
    if len(size) == 3 and size[2] == 1:
        image = image[:, :, 0]
    labels = sitk.GetArrayFromImage(image)
    marked = np.isin(labels, codes) if codes else labels > 0
    found = sitk.GetImageFromArray(marked.astype(np.uint8))
    found.CopyInformation(image)
    return found


def mask_on_crop(
    file: Path,
    codes: Sequence[int],
    region: Region,
    record: Mapping[str, Any],
    centre: int,
    nifti_form: NiftiForm | None = None,
) -> np.ndarray:
    """What a mask marks on one slice of a crop.

    A mask of two dimensions is of a radiograph, row for row, and goes the way of the picture, whose
    proportions it must have; one of three lies where its spacing, origin and direction say.

    Args:
        file: NIfTI.
        codes: labels that count; all above 0 where there are none.
        region: that the crop is of.
        record: of the crop: `origin_mm`, `spacing_mm`, `direction`, `positions_mm`.
        centre: which slice of it.
        nifti_form: which statement of the file about its place to trust where they differ.

    Returns:
        bool `[size, size]`.

    Raises:
        UserError: a file that is no mask, or one of a picture of other proportions.
    """
    image = read_mask(file, tuple(codes), nifti_form)
    if image.GetDimension() == 2:
        marked = sitk.GetArrayViewFromImage(image)
        column_mm, row_mm = image.GetSpacing()
        picture = Series(
            voxels=_MARKED * marked[::-1, None].astype(np.int16),
            spacing_mm=(column_mm, 1.0, row_mm),
            origin_mm=(0.0, 0.0, 0.0),
            modality="",
            patient_id="",
            series_uid="",
            age_years=None,
            sex=None,
        )
        (crop,) = region.extract(picture).values()
        _check_proportions(file, crop, record, column_mm / crop.spacing_mm[0])
        return crop.voxels[0] >= _MARKED / 2
    size = region.size
    direction = np.asarray(record["direction"], float)
    origin = np.asarray(record["origin_mm"], float)
    along = int(np.argmax(np.abs(direction.reshape(3, 3)[:, 2])))
    origin[along] = record["positions_mm"][centre]
    spacing = np.asarray(record["spacing_mm"], float)
    on_crop = sitk.Resample(
        image,
        (size, size, 1),
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        origin.tolist(),
        spacing.tolist(),
        direction.tolist(),
        0,
        sitk.sitkUInt8,
    )
    return sitk.GetArrayFromImage(on_crop)[0] > 0


def _check_proportions(file: Path, crop: Crop, record: Mapping[str, Any], column: float) -> None:
    """Refuse a mask that would be stretched: a corner of its square lies, in pixels of the square,
    where that of the picture does. `column` is a column of the mask in these pixels; a picture of
    finer columns has its corner up to half of one away."""
    corners = [
        np.asarray(origin_mm, float)[[0, 2]] / spacing_mm[0]
        for origin_mm, spacing_mm in (
            (crop.origin_mm, crop.spacing_mm),
            (record["origin_mm"], record["spacing_mm"]),
        )
    ]
    if np.abs(corners[0] - corners[1]).max() > 0.5 * (1 + column):
        raise UserError(
            f"The mask {file} has other proportions than its picture. Draw it on the picture that "
            "was built, with its pixel spacing."
        )
