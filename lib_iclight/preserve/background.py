"""Preserving the background: the relit subject on the original picture, without the edges of either background."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..matting.foreground import box_sum
from .planes import FLOOR, Pixels, Planes, by_bands, coarse_grid, resize, shrunk, stretched, to_pixels, to_planes

TINT_WINDOW = 65
"""Side in grid points of the windows whose light tints the background: half of the picture. Done twice, no edge of a
window shows."""
TINT_PRIOR = 0.05
"""How much the whole picture counts beside a window of average weight."""
TINT_LIMITS = (4.0, 2.0)
"""How many times darker and brighter the new light may make the background."""

FUSION_WINDOW, FUSION_STEP = 90, 8
"""The wide pass of the blur fusion: its windows, in pixels of a picture of up to 1024 x 1024, and its grid."""


def restore_background(result: Pixels, original: Pixels, alpha: NDArray[np.float32], *, tint: float = 0.0) -> Pixels:
    """The relit subject on the original picture, uint8 sRGB [H, W, 3].

    The result exactly where alpha is 1; where it is 0 the original exactly, or at tint 1 (0..1) under the light that
    the subject is in now: multiplied by the smooth part of the subject's result / original.
    A soft pixel of the result holds the generated background, one of the original the subject's old light; blending
    the two by alpha would show both. Instead the foreground of their *difference* is estimated and added:
    original = a F + (1 - a) B and result = a F' + (1 - a) B', so original + a (F' - F) = a F' + (1 - a) B.
    Done on sRGB values, in which mattes are made.
    """
    if tint:
        done = _lit(original, np.exp(np.float32(tint) * subject_light(result, original, alpha)))
    else:
        done = original.copy()
    solid = alpha >= 1.0
    for channel in range(3):
        np.copyto(done[..., channel], result[..., channel], where=solid)
    soft = np.flatnonzero((alpha > 0.0) & ~solid)
    there = alpha.ravel().take(soft)[:, None]
    before, behind = (pixels.reshape(-1, 3).take(soft, axis=0).astype(np.float32) for pixels in (original, done))
    picture = before + there * _fused(result, original, alpha, soft) + (1.0 - there) * (behind - before)
    done.reshape(-1, 3)[soft] = np.rint(picture).clip(0, 255)
    return done


def _fused(result: Pixels, original: Pixels, alpha: NDArray[np.float32], soft: NDArray[np.intp]) -> NDArray[np.float32]:
    """The foreground's part of result - original at the `soft` pixels (places in the flat picture), float32 [N, 3].

    `matting.foreground.blur_fusion`, several times as fast: the local means of its narrow pass are made at half the
    size, those of its wide pass on a coarse grid, and what they lack is only computed where it is needed.
    """
    unit = max(1.0, math.sqrt(alpha.size) / 1024.0)
    fine, wide = max(1, round(2 * unit)), max(1, round(FUSION_STEP * unit / 2))
    after, before = (np.asarray(Image.fromarray(pixels).reduce(fine), np.float32) for pixels in (result, original))
    image = np.ascontiguousarray((after - before).transpose(2, 0, 1))
    matte = shrunk(alpha, fine)
    rest = 1.0 - matte
    means = _fusion_means(shrunk(image * matte, wide), shrunk(image * rest, wide), shrunk(matte, wide),
                          round(FUSION_WINDOW / FUSION_STEP))
    foreground, background = (resize(mean, matte.shape) for mean in means)
    foreground += matte * (image - matte * foreground - rest * background)
    foreground, background = _fusion_means(foreground * matte, background * rest, matte, 3)
    row, column = np.divmod(soft, alpha.shape[1])
    place = row // fine * matte.shape[1] + column // fine
    front, back = (planes.reshape(3, -1).take(place, axis=1) for planes in (foreground, background))
    there = alpha.ravel().take(soft)
    now, then = (pixels.reshape(-1, 3).take(soft, axis=0).T.astype(np.float32) for pixels in (result, original))
    return (front + there * (now - then - there * front - (1.0 - there) * back)).T


def _fusion_means(foreground: Planes, background: Planes, alpha: Planes, side: int) -> tuple[Planes, Planes]:
    """Local means of both, which are already weighted by alpha [h, w] and by 1 - alpha."""
    tiny, rest = np.float32(1e-5 * side**2), 1.0 - alpha
    return (box_sum(foreground, side) / (box_sum(alpha, side) + tiny),
            box_sum(background, side) / (box_sum(rest, side) + tiny))


def subject_light(result: Pixels, original: Pixels, alpha: NDArray[np.float32]) -> Planes:
    """Logarithm of the smooth part of the subject's result / original, carried on beside it; coarse, [3, h, w]."""
    grid = coarse_grid(alpha)
    weight = alpha[grid] + np.float32(1e-6)
    ratio = weight * np.log((to_planes(result[grid]) + FLOOR) / (to_planes(original[grid]) + FLOOR))
    prior = np.float32(TINT_PRIOR * TINT_WINDOW**4)
    near, total = (box_sum(box_sum(planes, TINT_WINDOW), TINT_WINDOW) + prior * planes.mean((-2, -1), keepdims=True)
                   for planes in (ratio, weight))
    light: Planes = near / total
    return light.clip(-math.log(TINT_LIMITS[0]), math.log(TINT_LIMITS[1]))


def _lit(picture: Pixels, light: Planes) -> Pixels:
    """`picture` times a light, [3, h, w], which is coarser."""
    done, lights = np.empty_like(picture), stretched(light, picture.shape[:2])

    def tint(rows: slice) -> None:
        planes = to_planes(picture[rows])
        planes *= lights(rows)
        to_pixels(planes, done[rows])

    by_bands(tint, picture.shape[0])
    return done
