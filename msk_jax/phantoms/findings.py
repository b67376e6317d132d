"""The vocabulary of a joint's findings. Lengths are in mm, densities in HU."""

from dataclasses import dataclass, field

import numpy as np

EROSION, SCLEROSIS, BRIDGE, FAT, MIMIC = 1, 2, 3, 4, 5
ILIAC, SACRAL = 1, -1


@dataclass(frozen=True)
class Notch:
    """A round defect of the subchondral plate, open to the joint; `length_mm` is along z."""

    t: float
    z: float
    diameter_mm: float
    length_mm: float
    hu: float
    bone: int = ILIAC
    strength: float = 1.0
    flat: bool = False  # the same cross-section over its whole length
    code: int = EROSION

    def radius(self, z: float) -> float:
        """Radius in mm of its cross-section at height z (0 outside)."""
        place = abs(z - self.z) / (self.length_mm / 2)
        if place >= 1:
            return 0.0
        return self.diameter_mm / 2 * (1.0 if self.flat else float(np.sqrt(1 - place**4)))


@dataclass(frozen=True)
class Zone:
    """A zone of changed trabecular bone under the joint surface: sclerosis or fat."""

    bone: int
    depth_mm: float
    hu: float
    t: tuple[float, float]  # as fractions of the joint's length, -0.5 (front) to 0.5
    q: tuple[float, float]  # 0 top, 1 bottom
    strength: float = 1.0
    triangular: bool = False
    patchy: float = 0.3
    fade: float = 0.08  # of the joint's height, over which it begins and ends
    code: int = SCLEROSIS


@dataclass(frozen=True)
class Osteophyte:
    """An anterior spur over the joint line, from the ilium towards the sacrum."""

    reach_mm: float
    thickness_mm: float
    q: tuple[float, float]
    hu: float


@dataclass(frozen=True)
class Findings:
    """All that is seen in one joint."""

    grade: int
    width_mm: float
    roughness_mm: float
    notches: tuple[Notch, ...] = ()
    zones: tuple[Zone, ...] = ()
    osteophytes: tuple[Osteophyte, ...] = ()
    bridge_fraction: float = 0.0
    bridge_hu: float = 500.0
    fields: dict = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Focal:
    """Short lesions: what ambiguity puts in the place of all the rest."""

    erosions: tuple[Notch, ...]
    zones: tuple[Zone, ...]


@dataclass(frozen=True)
class Plan:
    """The disease of one joint at severity 1."""

    grade: int
    width_mm: float
    roughness_mm: float
    erosions: tuple[Notch, ...]
    zones: tuple[Zone, ...]
    bridge_fraction: float
    bridge_hu: float
    focal: Focal
