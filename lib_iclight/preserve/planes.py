"""How preservation holds and walks over pictures: planes of linear light, coarse grids, bands of rows in threads.

What is done pixel by pixel is done in bands of rows, since what it makes in between then stays in the processor's
cache; what is smooth is made on coarse grids. Nothing here knows what is being preserved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE, linear_to_srgb, srgb_to_linear

Planes = NDArray[np.float32]
"""[3, H, W] unless said otherwise"""
Pixels = NDArray[np.uint8]
"""sRGB [H, W, 3]"""

FLOOR = 0.002
"""Added before taking logarithms, in linear light: about six of 255 steps, where pictures are mostly noise."""
GRID = 128
"""A coarse grid has about this many points to a (mean) side."""
BAND = 64
"""Rows to work on at once."""
LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255.0)
"""Linear light 0..1 by 8-bit sRGB code."""
CODE_OF_LINEAR = np.rint(linear_to_srgb(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
"""8-bit sRGB codes by linear light in 1 / 65535: fine enough to tell the darkest codes, twenty entries apart."""


def to_planes(pixels: Pixels) -> Planes:
    """uint8 sRGB [H, W, 3] as linear light 0..1, float32 [3, H, W]."""
    return LINEAR_OF_CODE.take(pixels.transpose(2, 0, 1))


def to_pixels(planes: Planes, done: Pixels) -> None:
    """Put linear light [3, H, W], clipped to 0..1, into uint8 sRGB [H, W, 3]; the exact inverse of `to_planes`."""
    for channel, plane in enumerate(planes):
        codes = plane * np.float32(65535.0)
        codes += np.float32(0.5)
        done[..., channel] = CODE_OF_LINEAR.take(codes.astype(np.intp), mode="clip")


def luminance(planes: Planes) -> NDArray[np.float32]:
    """Relative luminance [H, W] of linear planes [3, H, W]."""
    return np.tensordot(LUMINANCE, planes, 1)


def extreme(of: np.ufunc, planes: Planes) -> NDArray[np.float32]:
    """The largest or smallest of three planes, [H, W]; faster than along an axis."""
    found: NDArray[np.float32] = of(of(planes[0], planes[1]), planes[2])
    return found


def by_bands(work: Callable[[slice], None], height: int) -> None:
    """`work(rows)` for all rows of a picture, `BAND` at a time; two at once, for numpy lets others run meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(work, (slice(top, top + BAND) for top in range(0, height, BAND))):
            pass


def coarse_grid(alpha: NDArray[np.float32]) -> tuple[slice, slice]:
    """Every so many rows and columns of a picture, about `GRID` to a (mean) side."""
    step = max(1, round(math.sqrt(alpha.size) / GRID))
    return np.s_[step // 2::step, step // 2::step]


def resize(planes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Planes [N, h, w] as [N, height, width], linearly (with triangles as wide as the step when scaling down)."""
    if planes.shape[1:] == shape:
        return planes
    size = (shape[1], shape[0])
    # The gap lets whole pixels be summed first when scaling down, which is faster and hardly blurs.
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
                     for plane in planes])


def stretched(planes: Planes, shape: tuple[int, ...]) -> Callable[[slice], Planes]:
    """`resize` to a larger shape for some rows at a time: rows -> [N, rows, width]."""
    height, wide = planes.shape[1], resize(planes, (planes.shape[1], shape[1]))
    place = ((np.arange(shape[0]) + 0.5) * (height / shape[0]) - 0.5).clip(0.0, height - 1.0)
    below = np.minimum(place.astype(np.intp), max(height - 2, 0))
    share = (place - below).astype(np.float32)

    def stretch(rows: slice) -> Planes:
        row, first = below[rows] - below[rows.start], below[rows.start]
        mix = np.zeros((row.size, row[-1] + 2), np.float32)
        mix[np.arange(row.size), row], mix[np.arange(row.size), row + 1] = 1.0 - share[rows], share[rows]
        source = wide[:, first:first + row[-1] + 2]
        mixed: Planes = np.matmul(mix[:, :source.shape[1]], source)
        return mixed

    return stretch


def shrunk(planes: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over squares of `factor` x `factor` pixels of [h, w] or [N, h, w]."""
    if planes.ndim == 2:
        return np.asarray(Image.fromarray(planes).reduce(factor))
    return np.stack([shrunk(plane, factor) for plane in planes])
