"""Gives a relit subject back what the light should not have changed: its colours, its detail, its surroundings.

Pictures are uint8 sRGB [H, W, 3] of one size, alpha float32 [H, W] in 0..1, 1 = subject. Light is multiplied, so colour
and detail are worked on in linear light, as float32 planes [3, H, W]. Both look at the same thing: the ratio of the
result to the original. Its slow part is the new light; its fast part is detail that the model lost or made up.

What is done pixel by pixel is done in bands of rows, since what it makes in between then stays in the processor's
cache; what is smooth is made on coarse grids.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE, linear_to_srgb, srgb_to_linear
from ..matting.foreground import box_sum

Planes = NDArray[np.float32]

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

SHINE = 5.0
"""How many times more than around it the new light may strengthen detail: on a highlight there is little texture."""
SHINE_FROM, SHINE_TO = 0.3, 0.7
"""Logarithm of how much brighter a highlight is, times how much greyer: from where it is one, and from where wholly."""

DARKEN, BRIGHTEN = 6.0, 2.0
"""How many times darker and brighter detail may make a pixel. Brightening brings highlights back as ghosts."""

TINT_WINDOW = 65
"""Side in grid points of the windows whose light tints the background: half of the picture. Done twice, no edge of a
window shows."""
TINT_LIMITS = (4.0, 2.0)
"""How many times darker and brighter the new light may make the background."""

FUSION_WINDOW, FUSION_STEP = 90, 8
"""The wide pass of the blur fusion: its windows, in pixels of a picture of up to 1024 x 1024, and its grid."""

BAND = 64
"""Rows to work on at once."""
LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255.0)
"""Linear light 0..1 by 8-bit sRGB code."""
CODE_OF_LINEAR = np.rint(linear_to_srgb(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
"""8-bit sRGB codes by linear light in 1 / 65535: fine enough to tell the darkest codes, twenty entries apart."""


def preserve(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32], *, color: float,
             detail: float, detail_radius: float, additive: bool = False) -> NDArray[np.uint8]:
    """The result with the subject's own colour and detail brought back, uint8 sRGB [H, W, 3].

    original: the subject before relighting, best with its own colours at soft edges (`matting.foreground_color`).
    color: 0..1. At 1 the subject has the original's chromaticity times the light's colour, and the result's luminance:
        a grey card takes the colour of the light, a red label stays red.
    detail: 0..1. At 1 what is finer than the radius is the original's, what is coarser the result's.
    detail_radius: standard deviation of the blur that parts the two, in pixels of a 512 x 512 picture (any picture of
        as many pixels; larger ones in proportion), never under about one pixel of this one.
    additive: detail is the difference of the two in linear light instead of their ratio. It is then as strong in the
        new shadows as it was in the old light.
    The result exactly where alpha is 0, and everywhere if both strengths are 0.
    """
    if not (color or detail):
        return result
    light = _light(result, original, alpha)
    light_on = _stretched(light, alpha.shape)
    done = np.empty_like(result)

    def painted(rows: slice) -> tuple[Planes, Planes]:
        planes, source = _to_planes(result[rows]), _to_planes(original[rows])
        if color:
            planes = _paint(planes, source, np.float32(color) * alpha[rows], light_on(rows))
        return planes, source

    if not detail:
        def paint(rows: slice) -> None:
            _to_pixels(painted(rows)[0], done[rows])

        _by_bands(paint, alpha.shape[0])
        return done

    both = np.empty((2, 3, *alpha.shape), np.float32)

    def prepare(rows: slice) -> None:
        both[0, :, rows], both[1, :, rows] = painted(rows)

    _by_bands(prepare, alpha.shape[0])
    inner = np.maximum(2.0 * alpha - 1.0, 0.0)
    solid = inner * inner * inner
    side = math.sqrt(alpha.size) / 512.0
    slow = _weighted_means(both.reshape(6, *alpha.shape), _away_from_edges(solid, max(1, round(side))),
                           detail_radius * side)
    if additive:
        gain = np.ones_like(slow[:3])
    else:
        brightest = np.float32(SHINE) * np.exp(_resize(light[4:], slow.shape[1:]))
        gain = np.minimum((slow[:3] + FLOOR) / (slow[3:] + FLOOR), brightest)
    smooth = _stretched(np.concatenate([gain, slow[:3] - gain * slow[3:]]), alpha.shape)

    def sharpen(rows: slice) -> None:
        _to_pixels(_sharpen(both[0, :, rows], both[1, :, rows], smooth(rows), solid[rows] * np.float32(detail)),
                   done[rows])

    _by_bands(sharpen, alpha.shape[0])
    return done


def restore_background(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32], *,
                       tint: float = 0.0) -> NDArray[np.uint8]:
    """The relit subject on the original picture, uint8 sRGB [H, W, 3].

    The result exactly where alpha is 1; where it is 0 the original exactly, or at tint 1 (0..1) under the light that
    the subject is in now: multiplied by the smooth part of the subject's result / original.
    A soft pixel of the result holds the generated background, one of the original the subject's old light; blending
    the two by alpha would show both. Instead the foreground of their *difference* is estimated and added:
    original = a F + (1 - a) B and result = a F' + (1 - a) B', so original + a (F' - F) = a F' + (1 - a) B.
    Done on sRGB values, in which mattes are made.
    """
    if tint:
        done = _lit(original, np.exp(np.float32(tint) * _subject_light(result, original, alpha)))
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


def _fused(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32],
           soft: NDArray[np.intp]) -> NDArray[np.float32]:
    """The foreground's part of result - original at the `soft` pixels (places in the flat picture), float32 [N, 3].

    `matting.foreground.blur_fusion`, several times as fast: the local means of its narrow pass are made at half the
    size, those of its wide pass on a coarse grid, and what they lack is only computed where it is needed.
    """
    unit = max(1.0, math.sqrt(alpha.size) / 1024.0)
    fine, wide = max(1, round(2 * unit)), max(1, round(FUSION_STEP * unit / 2))
    after, before = (np.asarray(Image.fromarray(pixels).reduce(fine), np.float32) for pixels in (result, original))
    image = np.ascontiguousarray((after - before).transpose(2, 0, 1))
    matte = _shrunk(alpha, fine)
    rest = 1.0 - matte
    means = _fusion_means(_shrunk(image * matte, wide), _shrunk(image * rest, wide), _shrunk(matte, wide),
                          round(FUSION_WINDOW / FUSION_STEP))
    foreground, background = (_resize(mean, matte.shape) for mean in means)
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


def _subject_light(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Planes:
    """Logarithm of the smooth part of the subject's result / original, carried on beside it; coarse, [3, h, w]."""
    grid = _grid(alpha)
    weight = alpha[grid] + np.float32(1e-6)
    ratio = weight * np.log((_to_planes(result[grid]) + FLOOR) / (_to_planes(original[grid]) + FLOOR))
    prior = np.float32(LIGHT_PRIOR * TINT_WINDOW**4)
    near, total = (box_sum(box_sum(planes, TINT_WINDOW), TINT_WINDOW) + prior * planes.mean((-2, -1), keepdims=True)
                   for planes in (ratio, weight))
    light = near / total
    return light.clip(-math.log(TINT_LIMITS[0]), math.log(TINT_LIMITS[1]))


def _lit(picture: NDArray[np.uint8], light: Planes) -> NDArray[np.uint8]:
    """`picture` times a light, [3, h, w], which is coarser."""
    done, lights = np.empty_like(picture), _stretched(light, picture.shape[:2])

    def tint(rows: slice) -> None:
        planes = _to_planes(picture[rows])
        planes *= lights(rows)
        _to_pixels(planes, done[rows])

    _by_bands(tint, picture.shape[0])
    return done


def _paint(result: Planes, original: Planes, strength: NDArray[np.float32], light: Planes) -> Planes:
    """`result` with the chromaticity of `original` under the light's colour; its luminance stays as it is.

    strength: [H, W] in 0..1. light: that of `_light`, [5, H, W].
    """
    kept = original + FLOOR
    before = np.log(_luminance(kept))
    grey = _greyness(kept)
    light[:2] *= before
    light[:2] += light[2:4]
    factor = np.exp(light[:2], out=light[:2])
    kept[::2] *= factor
    luminance = _luminance(result)
    zero = luminance + FLOOR
    # Where one of the two shines and the other does not, its colour there is the lamp's and not the paint's.
    shown = result + FLOOR
    shown[::2] /= factor
    strength = strength * (1.0 - _shine(np.log(zero) - before - light[4], _greyness(shown) - grey))
    kept *= zero / _luminance(kept)
    # What the screen cannot show goes towards grey of the same luminance, as highlights go white, at the same hue.
    over = (1.0 - luminance) / np.maximum(_extreme(np.maximum, kept) - zero, 1e-6)
    under = luminance / np.maximum(zero - _extreme(np.minimum, kept), 1e-6)
    share = np.minimum(np.minimum(over, under), 1.0)
    # result + strength * (luminance + share * (kept - zero) - result), in fewer steps
    share *= strength
    kept *= share
    kept += strength * luminance - share * zero
    kept += (1.0 - strength) * result
    return kept


def _light(result: NDArray[np.uint8], original: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Planes:
    """By how much the new light has more red and blue than green, and by how much it is brighter, against the old one.

    Given as the slopes of red and blue, their offsets and the brightness, coarse, [5, h, w]: logarithm of the factor =
    slope * log(luminance of the original) + offset. That is the logarithm of result / original through a guided
    filter whose guide is the original's luminance (He, Sun and Tang, "Guided Image Filtering", PAMI 2013), its
    coefficients made on a coarse grid (He and Sun, "Fast Guided Filter", 2015). Means are weighted: light shows its
    colour on what is grey and lit, while a saturated pixel tells of its own paint, so that paint which the model
    repainted does not pass for light. Nor do highlights.
    """
    grid = _grid(alpha)
    after, before = _to_planes(result[grid]) + FLOOR, _to_planes(original[grid]) + FLOOR
    ratio = np.log(after / before)
    hue = ratio[[0, 2]] - ratio[1]
    bright, guide = _luminance(after), _luminance(before)
    dim = (bright / (bright + DIM)) * (guide / (guide + DIM))
    guide = np.log(guide)
    change = np.log(bright) - guide
    tiny = np.float32(1e-6)
    solid = alpha[grid] + tiny
    shine = _shine(change - _local(change, solid), _greyness(after) - _greyness(before))
    solid = solid * (1.0 - shine) + tiny
    weight = solid * _greyness(before)**2 * dim + tiny
    guide_mean, hue_mean = _local(guide, weight), _local(hue, weight)
    variance = np.maximum(_local(guide * guide, weight) - guide_mean**2, 0.0)
    slope = (_local(guide * hue, weight) - guide_mean * hue_mean) / (variance + LIGHT_EDGE)
    offset = hue_mean - slope * guide_mean
    return np.concatenate([_local(slope, weight), _local(offset, weight), _local(change, solid)[None]])


def _local(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted means of [..., h, w] about each point of the light's grid."""
    weighted, prior = weight * values, np.float32(LIGHT_PRIOR * LIGHT_WINDOW**2)
    return ((box_sum(weighted, LIGHT_WINDOW) + prior * weighted.mean(axis=(-2, -1), keepdims=True))
            / (box_sum(weight, LIGHT_WINDOW) + prior * weight.mean()))


def _greyness(planes: Planes) -> NDArray[np.float32]:
    """Least over largest of three planes, [H, W]: 1 is grey."""
    return _extreme(np.minimum, planes) / _extreme(np.maximum, planes)


def _shine(brighter: NDArray[np.float32], greyer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where one of two pictures shows a highlight and the other does not, 0..1.

    brighter: logarithm of how much brighter the one is, beyond what holds around. greyer: by how much its greyness is
    larger. Both are positive in its highlights, and negative in the other's.
    """
    return ((brighter * greyer - SHINE_FROM) * (1.0 / (SHINE_TO - SHINE_FROM))).clip(0.0, 1.0)


def _sharpen(result: Planes, original: Planes, smooth: Planes, strength: Planes) -> Planes:
    """`result` with the fine part of `original`, within limits.

    smooth: gain and offset, [6, H, W], that make of the original the result's equal in all but detail. What both share
    cancels, so there are no halos along their common edges, and the subject's solid part being the weights of what is
    smooth keeps the background out. Soft edges hold the new background and are left alone: strength, [H, W] in 0..1,
    is 0 there.
    """
    lit = result + FLOOR
    change = original * smooth[:3]
    change += smooth[3:]
    change -= result
    np.maximum(change, lit * np.float32(1.0 / DARKEN - 1.0), out=change)
    np.minimum(change, lit * np.float32(BRIGHTEN - 1.0), out=change)
    change *= strength
    change += result
    return change


def _away_from_edges(solid: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Weights of what is smooth, [H, W]: next to nothing within `by` pixels of the subject's edge.

    There the model has blurred the background into the subject. Hair that is all edge still has its own weights.
    """
    weight = solid.copy()
    for least, values in ((weight, solid), (weight.T, solid.T)):
        np.minimum(least[by:], values[:-by], out=least[by:])
        np.minimum(least[:-by], values[by:], out=least[:-by])
    weight += np.float32(1e-4) * solid
    return weight


def _weighted_means(planes: Planes, weight: NDArray[np.float32], radius: float) -> Planes:
    """Means of `planes` under a bell of standard deviation `radius`, weighted; on a grid as coarse as allows.

    Scaling down with triangles, two 3 x 3 boxes there and scaling up linearly (`_resize` does both) have variances of
    1/6, 4/3 and 1/6 grid points squared, which makes the grid's step radius / sqrt(5/3).
    """
    step = max(1.0, radius / math.sqrt(5.0 / 3.0))
    shape = (max(1, round(weight.shape[0] / step)), max(1, round(weight.shape[1] / step)))
    total = _resize(weight[None], shape)
    coarse = np.concatenate([*(_resize(plane[None] * weight, shape) for plane in planes), total])
    coarse = box_sum(box_sum(coarse, 3), 3)
    return coarse[:-1] / np.maximum(coarse[-1], 1e-6)


def _resize(planes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Planes [N, h, w] as [N, height, width], linearly (with triangles as wide as the step when scaling down)."""
    if planes.shape[1:] == shape:
        return planes
    size = (shape[1], shape[0])
    # The gap lets whole pixels be summed first when scaling down, which is faster and hardly blurs.
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
                     for plane in planes])


def _stretched(planes: Planes, shape: tuple[int, ...]) -> Callable[[slice], Planes]:
    """`_resize` to a larger shape for some rows at a time: rows -> [N, rows, width]."""
    height, wide = planes.shape[1], _resize(planes, (planes.shape[1], shape[1]))
    place = ((np.arange(shape[0]) + 0.5) * (height / shape[0]) - 0.5).clip(0.0, height - 1.0)
    below = np.minimum(place.astype(np.intp), max(height - 2, 0))
    share = (place - below).astype(np.float32)

    def stretch(rows: slice) -> Planes:
        row, first = below[rows] - below[rows.start], below[rows.start]
        mix = np.zeros((row.size, row[-1] + 2), np.float32)
        mix[np.arange(row.size), row], mix[np.arange(row.size), row + 1] = 1.0 - share[rows], share[rows]
        source = wide[:, first:first + row[-1] + 2]
        return np.matmul(mix[:, :source.shape[1]], source)

    return stretch


def _shrunk(planes: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over squares of `factor` x `factor` pixels of [h, w] or [N, h, w]."""
    if planes.ndim == 2:
        return np.asarray(Image.fromarray(planes).reduce(factor))
    return np.stack([_shrunk(plane, factor) for plane in planes])


def _grid(alpha: NDArray[np.float32]) -> tuple[slice, slice]:
    """Every so many rows and columns of a picture, about `LIGHT_GRID` to a (mean) side."""
    step = max(1, round(math.sqrt(alpha.size) / LIGHT_GRID))
    return np.s_[step // 2::step, step // 2::step]


def _by_bands(work: Callable[[slice], None], height: int) -> None:
    """`work(rows)` for all rows of a picture, `BAND` at a time; two at once, for numpy lets others run meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(work, (slice(top, top + BAND) for top in range(0, height, BAND))):
            pass


def _luminance(planes: Planes) -> NDArray[np.float32]:
    """Relative luminance [H, W] of linear planes [3, H, W]."""
    return np.tensordot(LUMINANCE, planes, 1)


def _to_planes(pixels: NDArray[np.uint8]) -> Planes:
    """uint8 sRGB [H, W, 3] as linear light 0..1, float32 [3, H, W]."""
    return LINEAR_OF_CODE.take(pixels.transpose(2, 0, 1))


def _extreme(of: np.ufunc, planes: Planes) -> NDArray[np.float32]:
    """The largest or smallest of three planes, [H, W]; faster than along an axis."""
    return of(of(planes[0], planes[1]), planes[2])


def _to_pixels(planes: Planes, done: NDArray[np.uint8]) -> None:
    """Put linear light [3, H, W], clipped to 0..1, into uint8 sRGB [H, W, 3]; the exact inverse of `_to_planes`."""
    for channel, plane in enumerate(planes):
        codes = plane * np.float32(65535.0)
        codes += np.float32(0.5)
        done[..., channel] = CODE_OF_LINEAR.take(codes.astype(np.intp), mode="clip")
