"""The frames of DICOM files and where each of them lies: one per file, or many per file.

Enhanced multi-frame objects state geometry in functional groups, shared by all frames or given for
each (DICOM PS3.3 C.7.6.16); classic objects state it once, for their only frame.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from msk_jax.data.geometry import SeriesError, SlicePlane
from msk_jax.data.headers import (
    integer,
    is_capture,
    is_localizer,
    item,
    items,
    num_frames,
    number,
    numbers,
    text,
    words,
)

MAX_FRAMES = 65536

# Sequence of the functional groups -> the attribute in it -> what acquisitions may differ in.
_PARTS = (
    ("", "AcquisitionNumber"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("", "EchoTime"),
    ("", "EchoNumbers"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("", "DiffusionBValue"),
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("", "TemporalPositionIdentifier"),
    ("FrameContentSequence", "StackID"),
    ("", "TriggerTime"),
    ("", "InversionTime"),
    ("", "FlipAngle"),
    ("", "ImageType"),
    ("MRImageFrameTypeSequence", "FrameType"),
    ("CTImageFrameTypeSequence", "FrameType"),
    ("FrameContentSequence", "FrameAcquisitionNumber"),
)


@dataclass(frozen=True)
class Frame:
    """One slice of a series: which frame of which file, and where it lies."""

    file: int
    """Index of the file."""

    index: int
    """Frame within the file, from 0."""

    plane: SlicePlane
    groups: tuple[Dataset, ...]
    """Where its attributes stand, see `groups_of`."""

    @property
    def parts(self) -> dict[str, str]:
        """What may tell it from another acquisition at the same position: value by attribute."""
        found = {}
        for sequence, keyword in _PARTS:
            source = group_item(self.groups, sequence) if sequence else self.groups[-1]
            if source is not None:
                value = "\\".join(words(source, keyword)) or text(source, keyword)
                if value:
                    found.setdefault(keyword, value)
        return found


def frames_of(file: int, path: Path, header: Dataset) -> list[Frame]:
    """The frames of one file.

    Raises:
      SeriesError: no image size, no place in the patient, or frames without functional groups.
    """
    rows, columns = (integer(header, name) for name in ("Rows", "Columns"))
    if not rows or not columns:
        raise SeriesError(f"{path.name} has no image size: it is truncated. Copy it again.")
    count = num_frames(header)
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    if not per_frame and count > 1:
        raise SeriesError(
            f"{path.name} is a multi-frame object that does not state where each frame lies. "
            "Export the series as one file per slice."
        )
    if per_frame and (len(per_frame) != count or count > MAX_FRAMES):
        raise SeriesError(
            f"{path.name} announces {count} frames and describes {len(per_frame)}. Copy it again."
        )
    found = []
    for index in range(count):
        groups = groups_of(header, index)
        name = f"{path.name} frame {index + 1}" if per_frame else path.name
        plane = _plane(name, groups, header, (rows, columns))
        found.append(Frame(file, index, plane, tuple(groups)))
    return found


def groups_of(header: Dataset, index: int) -> list[Dataset]:
    """Where to look for an attribute of a frame: its own groups, the shared ones, the header."""
    own = item(header, "PerFrameFunctionalGroupsSequence", index)
    shared = item(header, "SharedFunctionalGroupsSequence")
    return [*(group for group in (own, shared) if group is not None), header]


def group_item(groups: Sequence[Dataset], sequence: str) -> Dataset | None:
    """The first item of a functional group's sequence, the frame's own before the shared one."""
    found = (item(group, sequence) for group in groups)
    return next((first for first in found if first is not None), None)


def _plane(name: str, groups: list[Dataset], header: Dataset, shape: tuple[int, int]) -> SlicePlane:
    def find(sequence: str, keyword: str, count: int):
        if len(groups) > 1:
            found = group_item(groups, sequence)
            return None if found is None else numbers(found, keyword, count)
        return numbers(header, keyword, count)

    position = find("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = find("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    pixel_mm = find("PixelMeasuresSequence", "PixelSpacing", 2)
    if is_capture(header) or position is None or orientation is None or pixel_mm is None:
        raise SeriesError(
            f"{name} does not state where it lies in the patient (a screen capture, or a "
            "header without position, orientation or pixel spacing). Use the original slices."
        )
    return SlicePlane(name, position, orientation, pixel_mm, shape)


def thickness_mm(groups: list[Dataset]) -> float | None:
    """SliceThickness of a frame, for a volume of one slice."""
    measures = group_item(groups, "PixelMeasuresSequence")
    return number(groups[-1] if measures is None else measures, "SliceThickness")


def choose_part(frames: list[Frame], part: int | None) -> list[Frame]:
    """The frames of one acquisition where several share their positions.

    Args:
      frames: of one series.
      part: which of them, from 0, in order of the attribute that tells them apart; with None
        several are refused.

    Raises:
      SeriesError: several and none was chosen, or there is no such part.
    """
    spots = defaultdict(list)
    for frame in frames:
        spots[_spot(frame)].append(frame)
    if len(spots) == len(frames):
        if part:
            raise SeriesError(f"There is no part {part}: the series is a single acquisition.")
        return frames
    keyword, groups = _telling(frames)
    if keyword is None:
        return frames  # true duplicates, which the geometry refuses by name
    values = sorted(groups, key=_sort_key)
    if part is None or not 0 <= part < len(values):
        raise SeriesError(
            f"The series holds {len(values)} acquisitions at the same positions, which differ in "
            f"{keyword} ({', '.join(values[:6])}). Choose one of part 0 to {len(values) - 1}."
        )
    return groups[values[part]]


def _telling(frames: list[Frame]) -> tuple[str | None, dict[str, list[Frame]]]:
    """The first attribute whose values part the frames into groups without shared positions."""
    parts = [frame.parts for frame in frames]
    for _, keyword in _PARTS:
        groups = defaultdict(list)
        for frame, part in zip(frames, parts, strict=True):
            groups[part.get(keyword, "")].append(frame)
        if len(groups) > 1 and all(
            len(set(map(_spot, group))) == len(group) for group in groups.values()
        ):
            return keyword, groups
    return None, {}


def _spot(frame: Frame) -> tuple[float, ...]:
    """A position, to a hundredth of a millimetre: closer ones are the same."""
    return tuple(round(v, 2) for v in frame.plane.position_mm)


def _sort_key(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def check_kind(paths: list[Path], headers: list[Dataset], modality: str | None) -> None:
    """Refuse files of another modality than was asked for, and localizers among slices.

    Raises:
      SeriesError: as said.
    """
    expected = modality or text(headers[0], "Modality").upper()
    for path, header in zip(paths, headers, strict=True):
        found = text(header, "Modality")
        if found.upper() != expected:
            raise SeriesError(
                f"The series is {found or 'of unknown modality'} where {expected} is due "
                f"({path.name}). Name the {expected} series of this patient."
            )
    localizers = [p for p, h in zip(paths, headers, strict=True) if is_localizer(h)]
    if len(localizers) == len(paths):
        raise SeriesError("The series holds only localizers. Name the axial series.")
    if localizers:
        raise SeriesError(
            f"{len(localizers)} of {len(paths)} files are localizers among the slices "
            f"({localizers[0].name}). Remove them from the series."
        )


def check_one_series(headers: list[Dataset]) -> None:
    """Refuse files of several series.

    Raises:
      SeriesError: as said.
    """
    modalities = defaultdict(set)
    for header in headers:
        uid = text(header, "SeriesInstanceUID")
        modalities[text(header, "Modality") or "unknown modality"].add(uid)
    num_series = len(set().union(*modalities.values()))
    if num_series > 1:
        listed = ", ".join(f"{len(uids)} {name}" for name, uids in sorted(modalities.items()))
        raise SeriesError(
            f"The files belong to {num_series} different series ({listed}). Name one by its "
            "series_uid in the manifest, or keep one series per folder."
        )


def check_one_patient(names: list[str]) -> None:
    """Refuse files of several patients.

    The identifiers themselves stay out of the reason, which is written to `rejected.csv`.

    Raises:
      SeriesError: as said.
    """
    if len(set(names)) < 2:
        return
    num_ids, nameless = len(set(names) - {""}), names.count("")
    found = f"{num_ids} PatientID{'s' * (num_ids > 1)} in {len(names)} files"
    if nameless:
        found += f", {nameless} of them without one"
    raise SeriesError(
        f"The files of this series do not all name the same patient ({found}). Keep the files of "
        "one patient, or export the series again."
    )
