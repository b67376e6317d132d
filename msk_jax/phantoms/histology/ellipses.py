"""Many small ellipses on a picture at once: their cover of each pixel, and their boxes."""

from dataclasses import dataclass

import numpy as np

OUTLINE = np.linspace(0, 2 * np.pi, 720, endpoint=False)


@dataclass(frozen=True)
class Ellipses:
    """[n] ellipses, in pixels. Pixel (row, column) covers column to column + 1 in x, row to row + 1
    in y.
    """

    x: np.ndarray
    y: np.ndarray
    major: np.ndarray  # semi-axes
    minor: np.ndarray
    angle: np.ndarray  # of the major axis against x, towards y, in radians

    def __len__(self) -> int:
        return len(self.x)

    def at(self, chosen) -> "Ellipses":
        """Those at some places."""
        return Ellipses(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def outline(self, places: np.ndarray = OUTLINE, grow: float = 0.0) -> np.ndarray:
        """Points [n, places, 2] (x, y) of the outlines, `grow` pixels further out."""
        major, minor = self.major[:, None] + grow, self.minor[:, None] + grow
        along, across = major * np.cos(places), minor * np.sin(places)
        cos, sin = np.cos(self.angle)[:, None], np.sin(self.angle)[:, None]
        x = self.x[:, None] + along * cos - across * sin
        y = self.y[:, None] + along * sin + across * cos
        return np.stack([x, y], axis=2)

    def axes(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of points along and across each ellipse; broadcasts with [n, ...]."""
        shape = (len(self),) + (1,) * (np.ndim(x) - 1)
        cos, sin = np.cos(self.angle).reshape(shape), np.sin(self.angle).reshape(shape)
        right, down = x - self.x.reshape(shape), y - self.y.reshape(shape)
        return right * cos + down * sin, down * cos - right * sin

    def radius(self, x, y, grow: float = 0.0) -> np.ndarray:
        """Distance of points from the middle in shares of that of the outline, as `axes`."""
        along, across = self.axes(x, y)
        shape = (len(self),) + (1,) * (along.ndim - 1)
        major, minor = self.major.reshape(shape) + grow, self.minor.reshape(shape) + grow
        return np.hypot(along / major, across / minor)

    def share_inside(self, size: int) -> np.ndarray:
        """Share [n] of each area that lies in a picture of so many rows and columns."""
        share = np.ones(len(self))
        near = np.minimum(self.x, self.y) < self.major
        near |= np.maximum(self.x, self.y) > size - self.major
        crossing = self.at(near)
        rings = np.sqrt((np.arange(12) + 0.5) / 12)  # of equal areas
        middle = np.stack([crossing.x, crossing.y], axis=1)[:, None]
        spokes = crossing.outline(OUTLINE[::20]) - middle
        points = np.concatenate([middle + r * spokes for r in rings], axis=1)
        share[near] = ((points >= 0) & (points <= size)).all(2).mean(1)
        return share

    def boxes(self, size: int) -> np.ndarray:
        """Edges [n, 4] float32 (x0, y0, x1, y1) of what is seen of each in a picture of that size.

        What is cut off by one edge may be narrower along it than the whole ellipse.
        """
        outlines = self.outline()
        boxes = np.zeros((len(self), 4), np.float32)
        corners = np.array([[0, 0], [0, size], [size, 0], [size, size]], float)
        for k, outline in enumerate(outlines):
            low, high = outline.min(0), outline.max(0)
            if (low < 0).any() or (high > size).any():
                within = ((outline >= 0) & (outline <= size)).all(1)
                held = self.at([k]).radius(*corners.T[:, None])[0] <= 1
                points = np.r_[outline[within], corners[held]]
                if len(points):  # the edge itself lies between two points of the outline
                    low, high = (
                        np.where(low < 0, 0, points.min(0)),
                        np.where(high > size, size, points.max(0)),
                    )
            boxes[k] = *low, *high
        return boxes


def cover(
    ellipses: Ellipses, shape: tuple[int, int], softness: float = 1.0, grow: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of each pixel that each ellipse covers, listed for pixels near one.

    To the first order in the distance from the outline, which for shapes of several pixels is what
    averaging over many points of a pixel gives.

    Args:
      ellipses: [n].
      shape: rows and columns of the picture.
      softness: width of the outline in pixels, at least 1.
      grow: how much further out the outline is, in pixels.

    Returns:
      [m] places in the flattened picture, [m] which ellipse, [m] float32 share.
    """
    if not len(ellipses):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32)
    reach = int(np.ceil(ellipses.major.max() + grow + softness)) + 1
    step = np.arange(-reach, reach + 1)
    columns = np.floor(ellipses.x).astype(int)[:, None, None] + step
    rows = np.floor(ellipses.y).astype(int)[:, None, None] + step[:, None]
    along, across = ellipses.axes(columns + 0.5, rows + 0.5)
    major = (ellipses.major + grow)[:, None, None]
    minor = (ellipses.minor + grow)[:, None, None]
    radius = np.hypot(along / major, across / minor)
    slope = np.hypot(along / major**2, across / minor**2) / np.maximum(radius, 1e-6)
    distance = (1 - radius) / np.maximum(slope, 1e-6)  # from the outline, inwards
    share = np.clip(0.5 + distance / softness, 0, 1).astype(np.float32)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1]) & (share > 0)
    places = rows * shape[1] + columns
    which = np.broadcast_to(np.arange(len(ellipses))[:, None, None], inside.shape)
    return places[inside], which[inside], share[inside]


def stamp(layer: np.ndarray, covered, values: np.ndarray | float = 1.0) -> None:
    """Raise a layer [rows, columns] to the cover of ellipses times a value [n] of each."""
    places, which, share = covered
    weight = share * (
        np.float32(values) if np.isscalar(values) else np.asarray(values, np.float32)[which]
    )
    np.maximum.at(layer.reshape(-1), places, weight)
