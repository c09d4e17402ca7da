"""What colour a foreground has where it is only half there: hair, fur, motion blur, the rim of everything."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WINDOWS = (90, 6)
"""Sides of the box blurs of the two passes, in pixels of a picture of up to about 1024 x 1024."""

_REFERENCE_SIDE = 1024.0
_STEP = 4
"""Pixels between the points at which the wide pass of a larger picture is computed."""
_TINY = 1e-5


def foreground_color(rgb: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The foreground's own colours F of a photo `rgb = alpha * F + (1 - alpha) * B`, uint8 sRGB [H, W, 3].

    rgb: uint8 sRGB [H, W, 3]. alpha: float32 [H, W] in 0..1. Where alpha is 1 the picture comes back exactly; where it
    is 0, the colour of the foreground nearby, or black where none is within reach.
    """
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).astype(np.float32) / 255.0
    color = blur_fusion(planes, alpha)
    return np.ascontiguousarray(np.rint(color * 255.0).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def extend_color(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], reach: float) -> NDArray[np.uint8]:
    """A cut-out's colours carried outwards, uint8 sRGB [H, W, 3].

    rgb: uint8 sRGB [H, W, 3], the foreground's own colours wherever alpha, float32 [H, W] in 0..1, is not 0. There they
    stay; within `reach` pixels of it they are the weighted mean of what is that near.
    """
    side = 2 * math.ceil(reach) + 1
    weight = box_sum(alpha, side)
    means = np.stack([box_sum(rgb[..., i] * alpha, side) for i in range(3)], -1) / np.maximum(weight, _TINY)[..., None]
    return np.where((alpha > 0)[..., None], rgb, np.rint(means).clip(0, 255).astype(np.uint8))


def blur_fusion(image: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Foreground planes F of `image = alpha * F + (1 - alpha) * B`, float32 [channels, H, W]; not clipped.

    image: float32 [channels, H, W], any range. alpha: float32 [H, W] in 0..1. Linear in the image.
    Source: Forte and Pitie, "Approximate Fast Foreground Colour Estimation" (ICIP 2021): F and B are first taken to be
    weighted local means, then F takes up what the compositing equation lacks; twice, wide and then narrow.
    The matte of a larger photo is as much coarser, so the windows grow with it.
    """
    scale = max(1.0, (alpha.size ** 0.5) / _REFERENCE_SIDE)
    rest = 1.0 - alpha
    passes = [(_Mean(alpha, side, step), _Mean(rest, side, step))
              for side, step in zip((round(window * scale) for window in WINDOWS), (_STEP if scale > 1 else 1, 1),
                                    strict=True)]

    def fuse(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        foreground = background = plane
        for mean_of_foreground, mean_of_background in passes:
            mean = mean_of_foreground(foreground)
            background = mean_of_background(background)
            foreground = mean + alpha * (plane - alpha * mean - rest * background)
        return foreground

    return np.stack([fuse(plane) for plane in image])  # a plane at a time stays in the processor's cache


class _Mean:
    """Weighted means over windows of `side` pixels; with a `step` above 1 on a grid so much coarser, then interpolated.

    weight: float32 [H, W] in 0..1. Means over windows of a hundred pixels and more are smooth, so that a grid of every
    fourth pixel tells them to within a code.
    """

    def __init__(self, weight: NDArray[np.float32], side: int, step: int) -> None:
        self._weight, self._step = weight, step
        self._side = max(1, round(side / step))
        self._total = box_sum(_coarse(weight, step), self._side) + _TINY * self._side**2

    def __call__(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """The means of a plane, float32 [H, W]."""
        mean = box_sum(_coarse(plane * self._weight, self._step), self._side) / self._total
        if self._step == 1:
            return mean
        height, width = plane.shape
        size = mean.shape[1] * self._step, mean.shape[0] * self._step
        return np.asarray(Image.fromarray(mean).resize(size, Image.Resampling.BILINEAR))[:height, :width]


def _coarse(plane: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means over blocks of `step` x `step` pixels, nothing beyond the borders."""
    if step == 1:
        return plane
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % step), (0, -width % step)))
    rows = padded.reshape(padded.shape[0] // step, step, -1).sum(axis=1)
    blocks: NDArray[np.float32] = rows.reshape(rows.shape[0], -1, step).sum(axis=2) / np.float32(step**2)
    return blocks


def box_sum(planes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Sums over windows of `side` x `side` about each pixel, nothing beyond the borders; float32 [..., H, W]."""
    for axis in (-2, -1):
        planes = _running_sum(planes, side, axis)
    return planes


def _running_sum(planes: NDArray[np.float32], count: int, axis: int) -> NDArray[np.float32]:
    """Sums of `count` neighbours along axis -1 or -2.

    Sums of 1, 2, 4, ... neighbours are made from each other, and those in `count`'s binary digits are put together:
    few additions, and none of the cancellation of differences of running totals.
    """
    def part(first: int, end: int | None = None) -> NDArray[np.float32]:
        return doubled[..., first:end] if axis == -1 else doubled[..., first:end, :]

    length, padding = planes.shape[axis], [(0, 0)] * planes.ndim
    padding[axis] = (count // 2, count - 1 - count // 2)
    doubled, total, start, size = np.pad(planes, padding), np.zeros_like(planes), 0, 1
    while True:
        if count & size:
            total += part(start, start + length)
            start += size
        if 2 * size > count:
            return total
        doubled = part(0, -size) + part(size)
        size *= 2
