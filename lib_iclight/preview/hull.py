"""The convex hull of a picture's colours, and how far towards it each colour lies.

A picture's colours are whole numbers, and what is worked out from them here stays below 2^53: it is exact, so there is
no tolerance to choose. (scipy has a hull, but the plain command line does without scipy.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096
"""Colours to work on at once, so that what is made of them stays in the processor's cache."""


def hull_planes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The planes of the convex hull of points with whole coordinates, float64 [F, 4]: n and b of n.x + b <= 0 inside.

    points: [N, 3], N >= 4, not all in one plane, magnitudes below 10,000. By adding the points one at a time, the one
    farthest outside of the newest faces first (Barber, Dobkin and Huhdanpaa, "The Quickhull Algorithm", 1996). Faces
    are triangles: several may lie in one plane, which then comes back once.
    Raises ValueError if all points lie in one plane.
    """
    points = np.unique(points, axis=0)
    corners = _first_corners(points)
    middle = points[corners].sum(axis=0)  # four times a point inside
    faces = [_face(points, corners[[j for j in range(4) if j != i]], middle) for i in range(4)]
    planes = {number: plane for number, (_, plane) in enumerate(faces)}
    edges = {edge: number for number, (triangle, _) in enumerate(faces) for edge in _edges(triangle)}
    triangles = {number: triangle for number, (triangle, _) in enumerate(faces)}
    outside = _shared_out(points, np.arange(len(points)), planes, list(planes))
    pending, newest = list(planes), len(planes)
    while pending:
        number = pending.pop()
        mine = outside.get(number)
        if mine is None or not len(mine):
            continue
        eye = mine[np.argmax(points[mine] @ planes[number][:3])]
        seen, border = _seen_from(points[eye], number, planes, triangles, edges)
        loose = np.concatenate([outside.pop(one) for one in seen if one in outside])
        for one in seen:
            for edge in _edges(triangles.pop(one)):
                del edges[edge]
            del planes[one]
        made = []
        for start, end in border:
            triangle = (start, end, int(eye))
            triangles[newest], planes[newest] = triangle, _plane(points, triangle)
            edges |= {edge: newest for edge in _edges(triangle)}
            made.append(newest)
            newest += 1
        outside |= _shared_out(points, loose, planes, made)
        pending += [one for one in made if one in outside]
    whole = np.array(list(planes.values()))
    whole /= np.linalg.norm(whole[:, :3], axis=1, keepdims=True)
    return whole[np.unique(whole.round(9), axis=0, return_index=True)[1]]


def share_of_hull(colors: NDArray[np.float64], planes: NDArray[np.float64], center: NDArray[np.float64]
                  ) -> NDArray[np.float64]:
    """How far each colour lies on the way from `center` to the hull, float64 [N]: 0 in the centre, 1 on the hull.

    colors: [N, 3]; planes: those of `hull_planes`, with `center` [3] strictly inside. The ray from the centre through a
    colour leaves the hull where it first meets a plane, so the share is max over planes of n.(x - c) / -(n.c + b).
    """
    slopes = (planes[:, :3] / -(planes[:, :3] @ center + planes[:, 3])[:, None]).T.astype(np.float32)
    apart = (colors - center).astype(np.float32)
    shares = np.empty(len(colors))

    def work(start: int) -> None:
        shares[start:start + BLOCK] = (apart[start:start + BLOCK] @ slopes).max(axis=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(0, len(colors), BLOCK)))
    return shares


def outermost(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Those of a picture's colours [N, 3] that may be corners of their hull, each once: float64 [M, 3], M much smaller.

    Along each line of the colour cube only the two ends count.
    """
    codes = colors.astype(np.int64)
    kept = _distinct((codes[:, 0] << 16) | (codes[:, 1] << 8) | codes[:, 2])
    for axis in (2, 1, 0):
        first, second = (other for other in range(3) if other != axis)
        line, place = kept[:, first] * 256 + kept[:, second], kept[:, axis]
        least, most = np.full(65536, 999), np.full(65536, -1)
        np.minimum.at(least, line, place)
        np.maximum.at(most, line, place)
        kept = kept[(place == least[line]) | (place == most[line])]
    return kept.astype(np.float64)


def _distinct(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    there = np.zeros(1 << 24, bool)
    there[codes] = True
    found = np.flatnonzero(there)
    return np.stack([found >> 16, (found >> 8) & 255, found & 255], axis=1)


def _first_corners(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """Four points that are not in one plane: far apart from each other."""
    first = int(np.argmin(points[:, 0]))
    apart = points - points[first]
    second = int(np.argmax((apart**2).sum(axis=1)))
    area = np.cross(apart, apart[second])
    third = int(np.argmax((area**2).sum(axis=1)))
    volume = apart @ np.cross(apart[second], apart[third])
    fourth = int(np.argmax(abs(volume)))
    if volume[fourth] == 0:
        raise ValueError("the points lie in one plane")
    return np.array([first, second, third, fourth])


def _plane(points: NDArray[np.float64], triangle: tuple[int, int, int]) -> NDArray[np.float64]:
    """n and b, whole numbers, of a triangle whose corners run anticlockwise seen from outside."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (points[corner].tolist() for corner in triangle)
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return np.array([x, y, z, -(x * ax + y * ay + z * az)])


def _face(points: NDArray[np.float64], corners: NDArray[np.intp], middle: NDArray[np.float64]
          ) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """A triangle turned so that `middle`, four times a point, is behind it."""
    a, b, c = corners.tolist()
    plane = _plane(points, (a, b, c))
    if plane[:3] @ middle + 4 * plane[3] > 0:
        return (a, c, b), -plane
    return (a, b, c), plane


def _edges(triangle: tuple[int, int, int]) -> tuple[tuple[int, int], ...]:
    a, b, c = triangle
    return (a, b), (b, c), (c, a)


def _seen_from(eye: NDArray[np.float64], start: int, planes: dict[int, NDArray[np.float64]],
               triangles: dict[int, tuple[int, int, int]], edges: dict[tuple[int, int], int]
               ) -> tuple[list[int], list[tuple[int, int]]]:
    """The faces that a point outside sees, connected to `start`, and the edges round them as these faces have them."""
    x, y, z = eye.tolist()
    seen, border, stack = {start}, [], [start]
    while stack:
        for edge in _edges(triangles[stack.pop()]):
            beyond = edges[edge[::-1]]
            if beyond in seen:
                continue
            a, b, c, d = planes[beyond].tolist()
            if a * x + b * y + c * z + d > 0:
                seen.add(beyond)
                stack.append(beyond)
            else:
                border.append(edge)
    return list(seen), [edge for edge in border if edges[edge[::-1]] not in seen]


def _shared_out(points: NDArray[np.float64], loose: NDArray[np.intp], planes: dict[int, NDArray[np.float64]],
                among: list[int]) -> dict[int, NDArray[np.intp]]:
    """Of the loose points, those outside of each face in `among`; a point goes to the face it is farthest from."""
    heights = points[loose] @ np.stack([planes[one][:3] for one in among]).T
    heights += np.array([planes[one][3] for one in among])
    best = heights.argmax(axis=1)
    out = heights[np.arange(len(loose)), best] > 0
    loose, best = loose[out], best[out]
    if not len(loose):
        return {}
    order = np.argsort(best, kind="stable")
    loose, best = loose[order], best[order]
    chosen, first = np.unique(best, return_index=True)
    return {among[one]: part for one, part in zip(chosen.tolist(), np.split(loose, first[1:]), strict=True)}
