"""Which images of a series are one acquisition where it holds several: echoes, kernels, phases.

Several may lie at the same positions, or between each other's slices, where geometry alone would
take them for one volume of thinner slices.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from msk_jax.data.dicom.frames import Frame, group_item
from msk_jax.data.dicom.geometry import DEFAULT_TOLERANCE, orthonormal
from msk_jax.data.dicom.headers import has, is_same, item, items, text
from msk_jax.errors import SeriesError

SAME_MM = 0.01
"""Images that are closer lie at the same position."""

# What acquisitions may differ in -> the functional groups that it stands in; in the order in which
# they are named. "" is the header.
_PARTS = {
    "AcquisitionNumber": ("",),
    "FrameAcquisitionNumber": ("FrameContentSequence",),
    "EffectiveEchoTime": ("MREchoSequence",),
    "EchoTime": ("",),
    "EchoNumbers": ("",),
    "DiffusionBValue": ("MRDiffusionSequence", ""),
    "TemporalPositionIndex": ("FrameContentSequence",),
    "TemporalPositionIdentifier": ("",),
    "StackID": ("FrameContentSequence",),
    "NominalCardiacTriggerDelayTime": ("CardiacSynchronizationSequence",),
    "TriggerTime": ("",),
    "InversionTime": ("",),
    "InversionTimes": ("MRModifierSequence",),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", ""),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", ""),
    "ConvolutionKernel": ("CTReconstructionSequence", ""),
    "FrameType": (
        "MRImageFrameTypeSequence",
        "CTImageFrameTypeSequence",
        "PETFrameTypeSequence",
        "XRay3DFrameTypeSequence",
    ),
    "ComplexImageComponent": ("MRImageFrameTypeSequence", ""),
    "ImageType": ("",),
    "ContrastBolusAgent": ("",),
    "ContrastBolusAgentAdministered": ("ContrastBolusUsageSequence",),
    "ContrastBolusAgentPhase": ("ContrastBolusUsageSequence",),
    "KVP": ("CTXRayDetailsSequence", ""),
    "SliceThickness": ("PixelMeasuresSequence", ""),
    "ReconstructionDiameter": ("CTReconstructionSequence", ""),
    "FilterType": ("",),
    "ReconstructionAlgorithm": ("CTReconstructionSequence", ""),
    "SequenceName": ("",),
    "ScanOptions": ("",),
    "DiffusionGradientOrientation": (
        "MRDiffusionSequence/DiffusionGradientDirectionSequence",
        "",
    ),
    "SeriesNumber": ("",),
    "AcquisitionTime": ("",),
}
# What slices of one acquisition differ in as well, one by one or every other one: it tells images
# at the same position apart, but not volumes. A time of day stays out of messages.
_OF_SLICES = ("AcquisitionTime",)
_MOST_LISTED = 6

Labels = dict[str, list[str]]
"""Values of attributes as text, by keyword, one for each frame; '' where there is none."""


def choose_part(frames: list[Frame], part: int | None) -> list[Frame]:
    """The frames of one acquisition where a series holds several.

    Several lie at the same positions; or their slices lie between each other's, each acquisition
    evenly spaced; or they have different orientations. Attributes that merely change from slice to
    slice of one volume part nothing.

    Args:
        frames: of one series.
        part: which of them, from 0, in order of the attribute that tells them apart; with None
            several are refused.

    Raises:
        SeriesError: several and none was chosen, or there is no such part; several images at most
            positions that nothing tells apart.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        straight = orthonormal(np.array([frame.plane.orientation for frame in frames], float))
    if not np.isfinite(straight).all():
        return frames  # as anything else that is wrong with them, the geometry refuses it by name
    positions = np.array([frame.plane.position_mm for frame in frames], float)
    labels, spots = _varying(frames), _spots(positions, straight[0])
    if _turned(straight).any():
        where, grouping = "in different orientations", _by_orientation(labels, straight)
    elif spots.max() + 1 < len(frames):
        where, grouping = "at the same positions", _by_spot(labels, spots)
        if grouping is None:
            _check_copies(frames, spots)
    else:
        where = "with slices between each other's"
        grouping = _interleaved(labels, positions @ np.cross(*straight[0]))
    if grouping is None:
        if part:
            raise SeriesError(f"There is no part {part}: the series is a single acquisition.")
        return frames
    keywords, groups = grouping
    values = sorted(groups, key=lambda value: [_sort_key(v) for v in value])
    if part is None or not 0 <= part < len(values):
        raise _several(frames, where, keywords, values, part)
    return choose_part([frames[i] for i in groups[values[part]]], None)


def _several(
    frames: list[Frame], where: str, keywords: Sequence[str], values: list, part: int | None
) -> SeriesError:
    listed = []
    for k, keyword in enumerate(keywords):
        theirs = list(dict.fromkeys(value[k] or "none" for value in values))
        more = ", ..." if len(theirs) > _MOST_LISTED else ""
        shown = ", ".join(theirs[:_MOST_LISTED]) + more
        listed.append(keyword if keyword in _OF_SLICES else f"{keyword} ({shown})")
    facts = (
        f"The series holds {len(values)} acquisitions or reconstructions {where}, which differ in "
        f"{' and '.join(listed)}. "
    )
    last = len(values) - 1
    if part is not None:
        return SeriesError(f"{facts}There is no part {part}. Choose one of part 0 to {last}.")
    one_file = len({frame.file for frame in frames}) == 1
    folder = "" if one_file else ", or keep the files of one in a folder and give that as its path"
    return SeriesError(f"{facts}Export each as a series of its own{folder}.")


def _check_copies(frames: list[Frame], spots: np.ndarray) -> None:
    """Refuse several images at most positions; a single copy is named by the geometry."""
    counts = np.bincount(spots)
    if 2 * (counts > 1).sum() <= len(counts):
        return
    uids = [text(frame.groups[-1], "SOPInstanceUID") for frame in frames]
    names = {(uid, frame.index) for uid, frame in zip(uids, frames, strict=True)}
    first, second = np.flatnonzero(spots == counts.argmax())[:2]
    many = (
        f"{int(counts.max())} images lie at {int((counts > 1).sum())} of {len(counts)} positions "
        f"({frames[first].plane.name} and {frames[second].plane.name})"
    )
    if all(uids) and len(names) <= len(counts):
        raise SeriesError(
            f"{many}, and they are the same images: they have the same SOPInstanceUID. Remove the "
            "copies."
        )
    raise SeriesError(
        f"{many}, and nothing in the headers tells which of them belong together: they differ "
        "neither in acquisition, echo, phase, kernel and type of image nor in any other attribute "
        "that is compared. Export each acquisition as a series of its own."
    )


def _spots(positions: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Numbers of the positions [frames], from 0; frames at the same one have the same."""
    along = positions @ np.cross(*axes)
    order = np.lexsort((positions @ axes[0], positions @ axes[1], np.round(along, 2)))
    steps = np.linalg.norm(np.diff(positions[order], axis=0), axis=1)
    spots = np.empty(len(positions), int)
    spots[order] = np.concatenate([[0], np.cumsum(steps >= SAME_MM)])
    return spots


def _varying(frames: list[Frame]) -> Labels:
    """The attributes that are not the same in all frames."""
    headers = [frame.groups[-1] for frame in frames]
    is_classic = all(len(frame.groups) == 1 for frame in frames)
    labels = {} if is_classic else _dimensions(frames)
    for keyword, paths in _PARTS.items():
        if is_classic and ("" not in paths or is_same(headers, keyword)):
            continue
        sources = [_source(frame, ("",) if is_classic else paths, keyword) for frame in frames]
        values = [_label(source, keyword) for source in sources]
        if any(values):  # else what the object counts by may still differ
            labels[keyword] = values
    return {keyword: values for keyword, values in labels.items() if len(set(values)) > 1}


def _source(frame: Frame, paths: Sequence[str], keyword: str) -> Dataset | None:
    """Where an attribute of a frame stands."""
    for path in paths:
        if not path:
            source = frame.groups[-1]
        else:
            first, *rest = path.split("/")
            source = group_item(frame.groups, first)
            for name in rest:
                source = source and item(source, name)
        if source is not None and has(source, keyword):
            return source
    return None


def _label(source: Dataset | None, keyword: str) -> str:
    try:
        value = None if source is None else source.get(keyword)
        several = (value,) if isinstance(value, str | int | float) else tuple(value or ())
    except Exception:  # a value that cannot be decoded
        return ""
    label = "\\".join(str(v).strip() for v in several)
    try:
        return f"{float(label):g}"  # 2.0 and 2 are one value
    except ValueError:
        return label


def _dimensions(frames: list[Frame]) -> Labels:
    """What the object itself says that its frames differ in (PS3.3 C.7.6.17): numbers that count
    the values."""
    header = frames[0].groups[-1]
    labels = {}
    for k, dimension in enumerate(items(header, "DimensionIndexSequence")):
        keyword = keyword_for_tag(dimension.get("DimensionIndexPointer") or 0) or f"dimension {k}"
        contents = [group_item(frame.groups, "FrameContentSequence") for frame in frames]
        values = [_label(content, "DimensionIndexValues").split("\\") for content in contents]
        labels[keyword] = [value[k] if k < len(value) else "" for value in values]
    return labels


def _groupings(labels: Labels, most: int) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Indices of frames by the values of one attribute, of two together, and so on; of as many,
    the fewest groups first."""
    for count in range(1, most + 1):
        grouped = []
        for keywords in combinations(labels, count):
            groups = defaultdict(list)
            for i, value in enumerate(zip(*(labels[k] for k in keywords), strict=True)):
                groups[value].append(i)
            grouped.append((keywords, dict(groups)))
        yield from sorted(grouped, key=lambda entry: len(entry[1]))


def _by_spot(labels: Labels, spots: np.ndarray):
    """The attributes that leave one image at each position."""
    for keywords, groups in _groupings(labels, 3):
        is_apart = all(len(set(spots[group])) == len(group) for group in groups.values())
        # What differs from image to image parts all of them, and what differs from slice to slice
        # may part any.
        most = len(spots) // 2 if spots.max() else len(spots)
        if any(keyword in _OF_SLICES for keyword in keywords):
            most = np.bincount(spots).max()
        is_whole = 1 < len(groups) <= most
        if is_apart and is_whole:
            return keywords, groups
    return None


def _by_orientation(labels: Labels, straight: np.ndarray):
    """The attributes that leave one orientation."""
    for keywords, groups in _groupings(labels, 1):
        several = len(groups) > 1 and 2 * len(groups) <= len(straight)
        if several and not any(_turned(straight[group]).any() for group in groups.values()):
            return keywords, groups
    return None


def _turned(straight: np.ndarray) -> np.ndarray:
    """bool: which orientations [frames, 2, 3] are not that of the first."""
    chords = np.linalg.norm(straight - straight[0], axis=2).max(axis=1)
    return chords > 2 * np.sin(np.radians(DEFAULT_TOLERANCE.angle_deg) / 2)


def _interleaved(labels: Labels, along: np.ndarray):
    """The attribute that parts slices into evenly spaced stacks which reach into each other."""
    labels = {keyword: values for keyword, values in labels.items() if keyword not in _OF_SLICES}
    if not labels:
        return None
    usual = float(np.median(np.diff(np.sort(along))))
    for keywords, groups in _groupings(labels, 1):
        if 3 * len(groups) > len(along):
            continue
        stacks = [np.sort(along[group]) for group in groups.values()]
        mixed = _reaching_into_others(stacks)
        if not mixed:
            continue
        # Several slices at a time share what belongs to the moment: many groups of a few.
        depth = max(sum(other[0] <= z <= other[-1] for other in mixed) for z in along)
        fewest = 3 if depth == 2 else 2 * depth
        if all(len(stack) >= fewest and _is_even(stack, usual) for stack in mixed):
            return keywords, groups
    return None


def _reaching_into_others(stacks: list[np.ndarray]) -> list[np.ndarray]:
    """The stacks whose extent overlaps that of another."""
    low, high = (np.array([stack[end] for stack in stacks]) for end in (0, -1))
    overlap = np.maximum.outer(low, low) < np.minimum.outer(high, high)
    np.fill_diagonal(overlap, False)
    return [stack for stack, is_mixed in zip(stacks, overlap.any(axis=1), strict=True) if is_mixed]


def _is_even(stack: np.ndarray, usual: float) -> bool:
    """Whether slices are evenly spaced by themselves; with gaps only where they are much further
    apart than those of all stacks together, or any choice of slices would do."""
    steps = np.diff(stack)
    step = float(np.median(steps))
    if step <= 0:
        return False
    counts = np.round(steps / step)
    slack = 2 * DEFAULT_TOLERANCE.position_mm * counts
    is_regular = (counts >= 1).all() and (np.abs(steps - counts * step) <= slack).all()
    return bool(is_regular and ((counts == 1).all() or step > 1.5 * usual))


def _sort_key(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
