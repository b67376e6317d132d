"""What a region of interest gives: a small volume with its place in the patient."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import SimpleITK as sitk

from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.images.series import Series
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.sources.cells import Cells
from msk_jax.errors import UserError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""Axial with columns from the patient's left to the right."""
SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""Columns from front to back, rows from head to foot, slices from right to left."""
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
"""Columns from the patient's right to the left, rows from head to foot."""


@dataclass(frozen=True)
class Crop:
    """Parallel slices through one unit (a joint, a vertebra, ...)."""

    voxels: np.ndarray
    """int16 [S, size, size]: slices, rows, columns."""

    positions_mm: np.ndarray
    """float32 [S], where each slice cuts the patient's axis that the slices run along: z of axial
    slices, x of sagittal ones."""

    origin_mm: tuple[float, float, float]
    """Patient coordinates (x, y, z) of the centre of voxel [0, 0, 0]."""

    spacing_mm: tuple[float, float, float]
    """Distance between columns, rows and slices."""

    direction: tuple[float, ...] = AXIAL
    """Unit vectors of columns, rows and slices as the columns of a 3 x 3 matrix, row by row."""

    @property
    def mirrored(self) -> bool:
        """Columns run towards the patient's right."""
        return self.direction[0] < 0

    def to_sitk(self, values: np.ndarray | None = None) -> sitk.Image:
        """The crop, or `values` on its grid [S, size, size], with its place in the patient."""
        values = self.voxels if values is None else np.asarray(values)
        if values.shape != self.voxels.shape:
            raise ValueError(f"values have shape {values.shape}, not {self.voxels.shape}")
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image


class Region(Protocol):
    """Which part of a series the network sees; a frozen dataclass, so that it goes into JSON."""

    columns: ClassVar[tuple[str, ...]]
    """Further columns of the manifest that mean something to this region."""
    needs_place: ClassVar[bool]
    """Whether units are found only where the manifest says that they are."""
    reads_pictures: ClassVar[bool]
    """Whether files of public collections will do: PNG, JPEG, TIFF, NIfTI."""
    takes_options: ClassVar[bool]
    """Whether `read` takes `volume.ReadOptions` as a third argument."""
    views: tuple[str, ...]
    """Units that are pictures of their own, so that all of a patient's are pooled; () where they
    lie in one series."""
    size: int
    """Rows and columns of a crop."""
    context_slices: int
    """Slices of a crop beyond the first and last centre of a stack."""

    @property
    def unit_column(self) -> str:
        """Column of the manifest that names the unit: `side`, `level`; '' where a patient has
        one."""

    @property
    def unit_names(self) -> tuple[str, ...]:
        """What may stand there, () where any name may; the one name where there is no such
        column."""

    @property
    def max_slices(self) -> int:
        """The most slices that the crops of a unit have together."""

    @staticmethod
    def read(files: Iterable[Path], modality: str, /) -> Series:
        """The images that units are cut from; raises SeriesError where they are not as they must
        be. See `read_images` for the options that some regions take."""

    def place(self, cells: Cells) -> Hashable:
        """What a row of the manifest says about where its unit is; None where it says nothing."""

    def extract(self, series: Series, place: Hashable = None, /) -> Mapping[str, Crop]:
        """The crops of all units that can be found, named `<unit>` or `<unit>/<view>`.

        Raises:
            SeriesError: the series does not show them as it must.
        """


def asked_options(
    region: Region, nifti_form: NiftiForm | None, deshear: bool
) -> ReadOptions | None:
    """What flags ask for where a volume leaves a choice; None: nothing.

    Raises:
        UserError: something is asked for that this region's images do not leave open.
    """
    if nifti_form is None and not deshear:
        return None
    if not region.takes_options:
        raise UserError(
            "--nifti-form and --deshear are for systems that read whole volumes (VolumeRegion), "
            "and this one does not. Leave them out."
        )
    return ReadOptions(deshear=deshear, nifti_form=nifti_form)


def read_images(
    region: Region, files: Iterable[Path], modality: str, options: ReadOptions | None
) -> Series:
    """What a region reads, with the choices of `asked_options`; raises what `Region.read` does."""
    return region.read(files, modality, *([] if options is None else [options]))
