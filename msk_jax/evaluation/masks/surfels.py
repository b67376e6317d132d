"""Area of the surface through a corner of the voxel grid, from which of its voxels are inside."""

from functools import lru_cache
from itertools import product

import numpy as np

Point = tuple[float, ...]


@lru_cache(maxsize=32)
def surfel_areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Area in mm² (three axes) or length in mm (two) for each code of 2^d voxels [2^(2^d)].

    Bit b of a code says whether the b-th voxel around the corner, in C order, is inside. The
    surface runs through the middles of the grid lines between inside and outside, in planar
    pieces (marching cubes). Where a face has both diagonals the fewer kind of voxels is kept
    apart; of the ways to cut a polygon into triangles the one with the largest area on cubic
    voxels is taken. This gives the areas of the surface-distance library.

    Source: W. E. Lorensen and H. E. Cline, Comput Graph 1987;21(4):163.
    """
    pieces = _pieces(len(spacing))
    scale = np.array(spacing)
    return np.array([sum(_size(np.array(piece) * scale) for piece in of) for of in pieces])


@lru_cache(maxsize=2)
def _pieces(dimensions: int) -> tuple[tuple[tuple[Point, ...], ...], ...]:
    """Line pieces (two axes) or triangles (three) of every code, in voxels."""
    corners = list(product((0, 1), repeat=dimensions))
    result = []
    for code in range(2 ** len(corners)):
        inside = {corner: bool(code >> bit & 1) for bit, corner in enumerate(corners)}
        # Of the kind that is fewer each voxel is cut off by itself.
        apart = 2 * sum(inside.values()) <= len(corners)
        lines = [line for face in _faces(dimensions) for line in _lines(face, inside, apart)]
        if dimensions == 3:
            lines = [t for loop in _loops(lines) for t in _triangles(loop)]
        result.append(tuple(lines))
    return tuple(result)


def _faces(dimensions: int) -> list[list[tuple[int, ...]]]:
    """The corners of each square face, around it."""
    ring = ((0, 0), (0, 1), (1, 1), (1, 0))
    if dimensions == 2:
        return [list(ring)]
    faces = []
    for axis, side in product(range(3), (0, 1)):
        faces.append([(*pair[:axis], side, *pair[axis:]) for pair in ring])
    return faces


def _lines(
    face: list[tuple[int, ...]], inside: dict[tuple[int, ...], bool], apart: bool
) -> list[tuple[Point, Point]]:
    """Lines on one face between the middles of its sides that the surface crosses."""
    middles = [
        tuple((a + b) / 2 for a, b in zip(face[i], face[(i + 1) % 4], strict=True))
        for i in range(4)
    ]
    crossed = [i for i in range(4) if inside[face[i]] != inside[face[(i + 1) % 4]]]
    if len(crossed) == 2:
        return [(middles[crossed[0]], middles[crossed[1]])]
    cut = [i for i in range(4) if inside[face[i]] == apart] if crossed else []
    return [(middles[i - 1], middles[i]) for i in cut]


def _loops(lines: list[tuple[Point, Point]]) -> list[list[Point]]:
    """The lines joined to closed polygons; every point ends two lines."""
    ends: dict[Point, list[Point]] = {}
    for a, b in lines:
        ends.setdefault(a, []).append(b)
        ends.setdefault(b, []).append(a)
    loops = []
    while ends:
        loop = [min(ends)]
        following = ends.pop(loop[0])
        while step := [point for point in following if point in ends]:
            loop.append(step[0])
            following = ends.pop(step[0])
        loops.append(loop)
    return loops


def _triangles(loop: list[Point]) -> list[tuple[Point, Point, Point]]:
    """The polygon in triangles of the largest area."""

    @lru_cache(None)
    def best(first: int, last: int) -> tuple[float, tuple]:
        if last - first < 2:
            return 0.0, ()
        options = []
        for middle in range(first + 1, last):
            (a, left), (b, right) = best(first, middle), best(middle, last)
            triangle = (loop[first], loop[middle], loop[last])
            total = a + b + _size(np.array(triangle))
            options.append((round(total, 9), (*left, *right, triangle)))
        return max(options, key=lambda option: option[0])

    return list(best(0, len(loop) - 1)[1])


def _size(points: np.ndarray) -> float:
    """Length of a line [2, axes] or area of a triangle [3, 3]."""
    if len(points) == 2:
        return float(np.linalg.norm(points[1] - points[0]))
    return float(np.linalg.norm(np.cross(points[1] - points[0], points[2] - points[0])) / 2)
