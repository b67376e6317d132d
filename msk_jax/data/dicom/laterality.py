"""Which side of the patient an image shows, as far as its header says."""

from pydicom.dataset import Dataset

from msk_jax.data.dicom.frames import group_item, groups_of
from msk_jax.data.dicom.headers import text
from msk_jax.errors import SeriesError

_SIDES = {"L": "L", "R": "R", "B": "B", "U": "U", "LEFT": "L", "RIGHT": "R", "BOTH": "B"}


def laterality(header: Dataset) -> str:
    """L, R, B (both), U (unpaired) or '' where the header does not say.

    Laterality (0020,0060), ImageLaterality (0020,0062) and FrameLaterality (0020,9072) are read.

    Raises:
        SeriesError: they contradict each other.
    """
    anatomy = group_item(groups_of(header, 0), "FrameAnatomySequence")
    stated = {
        "Laterality": text(header, "Laterality"),
        "ImageLaterality": text(header, "ImageLaterality"),
        "FrameLaterality": "" if anatomy is None else text(anatomy, "FrameLaterality"),
    }
    found = {k: _SIDES[v.upper()] for k, v in stated.items() if v.upper() in _SIDES}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{keyword} {side}" for keyword, side in found.items())
        raise SeriesError(
            f"The header contradicts itself about the side ({listed}). Look at the image and "
            "correct the header."
        )
    return next(iter(found.values()), "")
