"""Gives a relit subject back what the light should not have changed: its colours, its detail, its surroundings.

Pictures are uint8 sRGB [H, W, 3] of one size, alpha float32 [H, W] in 0..1, 1 = subject. Light is multiplied, so colour
and detail are worked on in linear light, as float32 planes [3, H, W]. Both look at the same thing: the ratio of the
result to the original. Its slow part is the new light; its fast part is detail that the model lost or made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .imaging import linear_to_srgb, srgb_to_linear
from .matting.foreground import blur_fusion, box_sum

Planes = NDArray[np.float32]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec. 709 weights of linear red, green and blue."""
FLOOR = 0.002
"""Added before taking logarithms, in linear light: about six of 255 steps, where pictures are mostly noise."""

LIGHT_GRID = 128
"""The light's colour is estimated on a grid of this many points to a (mean) side."""
LIGHT_WINDOW = 33
"""Side of the guided filter's windows in grid points: a quarter of the picture."""
LIGHT_EDGE = 0.2
"""The guided filter's epsilon: edges of a larger variance in the logarithm of luminance may part two lights."""
LIGHT_PRIOR = 0.05
"""How much the whole picture counts beside a window of average trust: where a window holds nothing grey, it decides."""
DIM = 0.05
"""Luminance at which a pixel is trusted half when the light's colour is read from it."""

DARKEN, BRIGHTEN = math.log(4.0), math.log(1.5)
"""How far detail may darken and brighten, in logarithms. Brightening is what brings a highlight back as a ghost."""

BAND = 32
"""Rows to work on at once."""
LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255.0)
"""Linear light 0..1 by 8-bit sRGB code."""
CODE_OF_LINEAR = np.rint(linear_to_srgb(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
"""8-bit sRGB codes by linear light in 1 / 65535: fine enough to tell the darkest codes, twenty entries apart."""


def preserve(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32], *, color: float,
             detail: float, detail_radius: float) -> NDArray[np.uint8]:
    """The result with the subject's own colour and detail brought back, uint8 sRGB [H, W, 3].

    original: the subject before relighting, best with its own colours at soft edges (`matting.foreground_color`).
    color: 0..1. At 1 the subject has the original's chromaticity times the light's colour, and the result's luminance:
        a grey card takes the colour of the light, a red label stays red.
    detail: 0..1. At 1 what is finer than the radius is the original's, what is coarser the result's.
    detail_radius: standard deviation of the blur that parts the two, in pixels of a 512 x 512 picture (any picture of
        as many pixels; larger ones in proportion), never under about one pixel of this one.
    The result exactly where alpha is 0, and everywhere if both strengths are 0.
    """
    if not (color or detail):
        return result
    relit, source = _to_planes(result), _to_planes(original)
    if color:
        relit = _keep_color(relit, source, alpha, color)
    if detail:
        relit = _keep_detail(relit, source, alpha, detail, detail_radius * math.sqrt(alpha.size) / 512.0)
    return _to_pixels(relit)


def restore_background(result: NDArray[np.uint8], original: NDArray[np.uint8],
                       alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The relit subject on the original picture, uint8 sRGB [H, W, 3].

    The original exactly where alpha is 0, the result exactly where it is 1.
    A soft pixel of the result holds the generated background, one of the original the subject's old light; blending
    the two by alpha would show both. Instead the foreground of their *difference* is estimated and added:
    original = a F + (1 - a) B and result = a F' + (1 - a) B', so original + a (F' - F) = a F' + (1 - a) B.
    Done on sRGB values, in which mattes are made.
    """
    before = original.transpose(2, 0, 1).astype(np.float32)
    change = blur_fusion(result.transpose(2, 0, 1).astype(np.float32) - before, alpha)
    return np.ascontiguousarray(np.rint(before + alpha * change).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _keep_color(result: Planes, original: Planes, alpha: NDArray[np.float32], strength: float) -> Planes:
    """`result` with the chromaticity of `original` under the new light's colour; its luminance stays as it is."""
    slope, offset = _light_color(result, original, alpha)

    def paint(result: Planes, original: Planes, alpha: Planes, slope: Planes, offset: Planes) -> Planes:
        kept = original + FLOOR
        kept[[0, 2]] *= np.exp(slope * np.log(_luminance(kept)) + offset)
        luminance = _luminance(result)
        kept *= (luminance + FLOOR) / _luminance(kept)
        kept -= FLOOR
        # What the screen cannot show goes towards grey of the same luminance, as highlights go white, at the same hue.
        over = (1.0 - luminance) / np.maximum(kept.max(axis=0) - luminance, 1e-6)
        under = luminance / np.maximum(luminance - kept.min(axis=0), 1e-6)
        kept = luminance + (kept - luminance) * np.minimum(np.minimum(over, under), 1.0)
        return result + strength * alpha * (kept - result)

    return _by_rows(paint, result, original, alpha, slope, offset)


def _light_color(result: Planes, original: Planes, alpha: NDArray[np.float32]) -> tuple[Planes, Planes]:
    """By how much the new light has more red and blue than green, against the old one.

    Given as slope and offset, float32 [2, H, W] each: logarithm of the factor = slope * log(luminance of the original)
    + offset. That is the logarithm of result / original through a guided filter whose guide is the original's
    luminance (He, Sun and Tang, "Guided Image Filtering", PAMI 2013), its coefficients made on a coarse grid (He and
    Sun, "Fast Guided Filter", 2015). Means are weighted: light shows its colour on what is grey and lit, while a
    saturated pixel tells of its own paint, so that paint which the model repainted does not pass for light.
    """
    step = max(1, round(math.sqrt(alpha.size) / LIGHT_GRID))
    grid = np.s_[..., step // 2::step, step // 2::step]
    after, before = result[grid] + FLOOR, original[grid] + FLOOR
    ratio = np.log(after / before)
    hue = ratio[[0, 2]] - ratio[1]
    lit = [y / (y + DIM) for y in (_luminance(after), _luminance(before))]
    greyness = before.min(axis=0) / before.max(axis=0)
    weight = alpha[grid] * greyness**2 * lit[0] * lit[1] + np.float32(1e-6)
    prior = np.float32(LIGHT_PRIOR * LIGHT_WINDOW**2)
    total = box_sum(weight, LIGHT_WINDOW) + prior * weight.mean()

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        weighted = weight * values
        return (box_sum(weighted, LIGHT_WINDOW) + prior * weighted.mean(axis=(-2, -1), keepdims=True)) / total

    guide = np.log(_luminance(before))
    guide_mean, hue_mean = mean(guide), mean(hue)
    variance = np.maximum(mean(guide * guide) - guide_mean**2, 0.0)
    slope = (mean(guide * hue) - guide_mean * hue_mean) / (variance + LIGHT_EDGE)
    offset = hue_mean - slope * guide_mean
    return _resize(mean(slope), alpha.shape), _resize(mean(offset), alpha.shape)


def _keep_detail(result: Planes, original: Planes, alpha: NDArray[np.float32], strength: float,
                 radius: float) -> Planes:
    """`result` times the fine part of original / result, within limits. radius: in pixels of these planes.

    What both share cancels in the ratio, so there are no halos along their common edges; blurring the ratio with the
    subject's solid part as weights keeps the background out. Soft edges hold the new background and are left alone.
    """
    solid = np.square(np.maximum(2.0 * alpha - 1.0, 0.0))
    ratio = _by_rows(lambda result, original: np.log((original + FLOOR) / (result + FLOOR)), result, original)

    def sharpen(result: Planes, ratio: Planes, slow: Planes, solid: Planes) -> Planes:
        fine = ratio - slow
        limit = np.where(fine > 0, np.float32(BRIGHTEN), np.float32(DARKEN))
        gain = np.exp(limit * np.tanh(fine / limit) * (strength * solid))
        return result + (result + FLOOR) * (gain - 1.0)

    return _by_rows(sharpen, result, ratio, _weighted_blur(ratio, solid, radius), solid)


def _weighted_blur(planes: Planes, weight: NDArray[np.float32], radius: float) -> Planes:
    """Means of `planes` under a bell of standard deviation `radius`, weighted; made on a grid as coarse as allows.

    Scaling down with triangles, two 3 x 3 boxes there and scaling up linearly have variances of 1/6, 4/3 and 1/6
    grid points squared, which makes the grid's step radius / sqrt(5/3).
    """
    step = max(1.0, radius / math.sqrt(5.0 / 3.0))
    shape = (max(1, round(weight.shape[0] / step)), max(1, round(weight.shape[1] / step)))
    coarse = _resize(np.concatenate([planes * weight, weight[None]]), shape)
    coarse = box_sum(box_sum(coarse, 3), 3)
    return _resize(coarse[:-1] / np.maximum(coarse[-1], 1e-6), (weight.shape[0], weight.shape[1]))


def _resize(planes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Planes [N, h, w] as [N, height, width], linearly (with triangles as wide as the step when scaling down)."""
    if planes.shape[1:] == shape:
        return planes
    size = (shape[1], shape[0])
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in planes])


def _by_rows(work: Callable[..., Planes], first: Planes, *others: Planes) -> Planes:
    """`work(first, *others)`, a pixel by pixel function to planes like `first`, done in bands of rows.

    Several times as fast as all at once, since what it makes in between stays in the processor's cache.
    """
    done = np.empty_like(first)
    for top in range(0, first.shape[-2], BAND):
        rows = np.s_[..., top:top + BAND, :]
        done[rows] = work(*(planes[rows] for planes in (first, *others)))
    return done


def _luminance(planes: Planes) -> NDArray[np.float32]:
    """Relative luminance [H, W] of linear planes [3, H, W]."""
    return np.tensordot(LUMINANCE, planes, 1)


def _to_planes(pixels: NDArray[np.uint8]) -> Planes:
    """uint8 sRGB [H, W, 3] as linear light 0..1, float32 [3, H, W]."""
    return LINEAR_OF_CODE[np.ascontiguousarray(pixels.transpose(2, 0, 1))]


def _to_pixels(planes: Planes) -> NDArray[np.uint8]:
    """Linear light [3, H, W], clipped to 0..1, as uint8 sRGB [H, W, 3]; the exact inverse of `_to_planes`."""
    codes = (planes.clip(0.0, 1.0) * 65535.0 + 0.5).astype(np.uint16)
    return np.ascontiguousarray(CODE_OF_LINEAR[codes].transpose(1, 2, 0))
