"""The geometry of a picture's colours, which needs no model: PaintingLight.

Zhang, Simo-Serra, Ji and Liu, "Generating Digital Painting Lighting Effects via RGB-space Geometry" (ACM TOG 39(2),
2020), after the authors' published program, written anew. Bright is taken for near, over all distances at once, and
strokes of colour that lie far from the picture's mean stand out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .hull import hull_planes, outermost, share_of_hull

LEVELS = 5
"""How many times the picture is halved for the slopes."""
CLIPPING = 1.2
"""What the shares of the hull are multiplied by before they are clipped to 1."""
GUIDE_EPSILON = 0.01
"""The guided filter's, for guides in codes (0..255)."""

Plane = NDArray[np.float64]


def color_geometry(rgb: NDArray[np.uint8], alpha: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """What PaintingLight multiplies by a light's direction (towards it; x right, y up, z to the camera).

    rgb: uint8 sRGB [H, W, 3], best with a shorter side of 512. alpha: float32 [H, W] in 0..1: what is not subject
    counts as black when the colours are compared. Returns float32 [H, W, 3 (channel of the picture), 3 (x, y, z)]; each
    vector is at most 1 long. A light's effect is clip(vector . direction, 0, 1), of each channel or the mean of them.
    """
    density = stroke_density(rgb if alpha is None else np.rint(rgb * alpha[..., None]).astype(np.uint8))
    rest = np.sqrt(1.0 - density**2 + 1e-10)
    vectors = np.empty((*rgb.shape, 3), np.float32)
    for channel in range(3):
        right, down = broad_slopes(rgb[..., channel].astype(np.float64))
        longest = np.hypot(right, down).max() + 1e-10
        vectors[..., channel, 0] = -right / longest * rest  # where it gets brighter to the right it faces left
        vectors[..., channel, 1] = down / longest * rest
        vectors[..., channel, 2] = density
    return vectors


def stroke_density(rgb: NDArray[np.uint8]) -> Plane:
    """How far each colour stands out, float64 [H, W] in 0..1: K = clip(1.2 (1 - |1 - d / d_hull|), 0, 1), smoothed.

    d and d_hull: from the mean colour to the pixel's and on to the hull of all colours. A picture whose colours all lie
    in one plane (grey ones do) has no hull; one code about the mean is added in each direction.
    """
    colors = rgb.reshape(-1, 3)
    center = colors.mean(axis=0)
    nearby = center.round() + np.concatenate([np.eye(3), -np.eye(3)])
    planes = hull_planes(np.concatenate([outermost(colors), nearby]))
    codes = (colors[:, 0].astype(np.int32) << 16) | (colors[:, 1].astype(np.int32) << 8) | colors[:, 2]
    place = np.zeros(1 << 24, np.int32)
    place[codes] = 1
    distinct = np.flatnonzero(place)
    place[distinct] = np.arange(len(distinct))
    their = np.stack([distinct >> 16, (distinct >> 8) & 255, distinct & 255], axis=1).astype(np.float64)
    shares = share_of_hull(their, planes, center)
    density = (CLIPPING * (1.0 - abs(1.0 - shares))).clip(0.0, 1.0)[place[codes]].reshape(rgb.shape[:2])
    guide = np.linalg.norm(their - center, axis=1).clip(0.0, 255.0)[place[codes]].reshape(rgb.shape[:2])
    return guided_four_times(density, guide)


def guided_four_times(values: Plane, guide: Plane) -> Plane:
    """`values` [H, W] through a guided filter of radius 1 four times (He, Sun and Tang, 2013); in 0..1 again."""
    guide_mean = _mean3(guide)
    variance = _mean3(guide * guide) - guide_mean**2 + GUIDE_EPSILON
    for _ in range(4):
        mean = _mean3(values)
        slope = (_mean3(guide * values) - guide_mean * mean) / variance
        values = _mean3(slope) * guide + _mean3(mean - slope * guide_mean)
    return values.clip(0.0, 1.0)


def broad_slopes(plane: Plane) -> tuple[Plane, Plane]:
    """Slopes of [H, W] to the right and downwards over all distances: g <- 4 up(g) + g of the level, coarse to fine."""
    levels = [plane]
    while len(levels) <= LEVELS and min(levels[-1].shape) > 1:
        levels.append(_halved(levels[-1]))
    both: tuple[Plane, ...] | None = None
    for level in reversed(levels):
        here = _sobel(level)
        both = here if both is None else tuple(
            4.0 * _doubled(coarse, level.shape) + own for coarse, own in zip(both, here, strict=True))
    assert both is not None
    return both[0], both[1]


def _mean3(values: Plane) -> Plane:
    """Means over 3 x 3 pixels; borders are mirrored without the edge itself."""
    padded = np.pad(values, 1, "reflect")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0


def _sobel(values: Plane) -> tuple[Plane, Plane]:
    """3 x 3 Sobel slopes to the right and downwards."""
    padded = np.pad(values, 1, "reflect")
    rows, across = padded[:-2] + 2.0 * padded[1:-1] + padded[2:], padded[2:] - padded[:-2]
    return rows[:, 2:] - rows[:, :-2], across[:, :-2] + 2.0 * across[:, 1:-1] + across[:, 2:]


def _halved(values: Plane) -> Plane:
    """Every other pixel of `values` blurred by 1 4 6 4 1 both ways; a side of n becomes (n + 1) // 2."""
    for axis in (0, 1):
        padded = _mirrored(values, 2, axis)
        count = values.shape[axis]
        part = [np.take(padded, range(shift, shift + count, 2), axis) for shift in range(5)]
        values = (part[0] + part[4] + 4.0 * (part[1] + part[3]) + 6.0 * part[2]) / 16.0
    return values


def _doubled(values: Plane, shape: tuple[int, ...]) -> Plane:
    """`values` between zeros, blurred as in `_halved` times 4, cut to `shape`: the pyramid's way up."""
    for axis in (0, 1):
        padded = _mirrored(values, 1, axis)
        count = values.shape[axis]
        before, here, after = (np.take(padded, range(shift, shift + count), axis) for shift in range(3))
        pair = np.stack([(before + 6.0 * here + after) / 8.0, (here + after) / 2.0], axis + 1)
        values = pair.reshape(*values.shape[:axis], 2 * count, *values.shape[axis + 1:])
        values = np.take(values, range(shape[axis]), axis)
    return values


def _mirrored(values: Plane, width: int, axis: int) -> Plane:
    padding = [(0, 0), (0, 0)]
    padding[axis] = (width, width)
    return np.pad(values, padding, "reflect")
