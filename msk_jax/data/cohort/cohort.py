"""A cohort: what is known of its units, as far as files go."""

from dataclasses import dataclass, field
from typing import ClassVar

from msk_jax.data.fields import AnyField, AnyRegion, Boxes, Classes, Image, Number, Word
from msk_jax.data.quality.grading import QualityLimits
from msk_jax.errors import UserError


@dataclass(frozen=True)
class Cohort:
    """What a published system was trained on, as far as files go."""

    name: str
    """Name of the tfds data set."""

    fields: tuple[AnyField, ...]
    """What is known of its units: an image, classes, numbers and words."""

    levels: tuple[str, ...]
    """What an image, the unit that images show, and the one whose units they are are called; of a
    cohort without images the unit alone."""

    modality: str = ""
    """As the headers have it; of several that will do, `CR/DX`."""

    keep: tuple[str, ...] = ("site", "age", "sex")
    """What is kept about a patient beside the fields, of `site`, `age`, `sex`."""

    limits: QualityLimits = field(default_factory=QualityLimits)
    """Of the grades of a scan's quality."""

    by_name: ClassVar[tuple[str, ...]] = ("fields",)
    """What `dotted` looks into for a name that is none of these."""

    def __post_init__(self):
        names = [one.name for one in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(
                f"The cohort {self.name} declares {', '.join(twice)} more than once. Give each "
                "field a name of its own."
            )
        if self.boxes:
            self._check_boxes(self.boxes)

    def _check_boxes(self, boxes: Boxes) -> None:
        image = self.image
        if image is None or image.name != boxes.of or not hasattr(image.region, "placed"):
            raise UserError(
                f"The boxes {boxes.name} of the cohort {self.name} are of {boxes.of!r}, which is "
                "no image of it that boxes can be taken along with. Give `of` the name of an image "
                "whose region is a PictureRegion."
            )
        if not boxes.classes:
            raise UserError(f"The boxes {boxes.name} of the cohort {self.name} have no classes.")

    @property
    def image(self) -> Image | None:
        """The image; None in a cohort of tables alone."""
        return next((one for one in self.fields if isinstance(one, Image)), None)

    @property
    def region(self) -> AnyRegion:
        """Which part of the image is cut out.

        Raises:
            UserError: a cohort without images.
        """
        if self.image is None:
            raise UserError(f"The cohort {self.name} has no images, only a table.")
        return self.image.region

    @property
    def unit_column(self) -> str:
        """Column of the manifest that names the unit; '' where a patient has one."""
        return self.image.region.unit_column if self.image else ""

    @property
    def unit_names(self) -> tuple[str, ...]:
        """What may stand there, () where any name may; the one name where there is no such
        column."""
        return self.image.region.unit_names if self.image else (self.levels[0],)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of `label`; none where there is no such field."""
        return self.label.classes if self.label else ()

    @property
    def label(self) -> Classes | None:
        """What images are labelled with and folds are stratified by: the first field of classes."""
        return next((one for one in self.fields if isinstance(one, Classes)), None)

    @property
    def boxes(self) -> Boxes | None:
        """What people drew in the image: the first field of boxes."""
        return next((one for one in self.fields if isinstance(one, Boxes)), None)

    @property
    def variables(self) -> tuple[Number | Word, ...]:
        """The numbers and words that the manifest states of a patient."""
        return tuple(one for one in self.fields if isinstance(one, Number | Word))
