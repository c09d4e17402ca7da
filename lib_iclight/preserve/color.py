"""Preserving colour: the original's chromaticity under the new light's colour, at the result's luminance.

Works on planes of linear light, float32 [3, H, W] in 0..1. Light is multiplied, so what is looked at is the logarithm
of result / original: its slow part is the new light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..matting.foreground import box_sum
from .planes import FLOOR, Pixels, Planes, coarse_grid, extreme, luminance, to_planes

LIGHT_WINDOW = 33
"""Side of the guided filter's windows in grid points: a quarter of the picture."""
LIGHT_EDGE = 0.2
"""The guided filter's epsilon: edges of a larger variance in the logarithm of luminance may part two lights."""
LIGHT_PRIOR = 0.05
"""How much the whole picture counts beside a window of average trust: where a window holds nothing grey, it decides."""
DIM = 0.05
"""Luminance at which a pixel is trusted half when the light's colour is read from it."""
SHINE_FROM, SHINE_TO = 0.3, 0.7
"""Logarithm of how much brighter a highlight is, times how much greyer: from where it is one, and from where wholly."""


def new_light(result: Pixels, original: Pixels, alpha: NDArray[np.float32]) -> Planes:
    """By how much the new light has more red and blue than green, and by how much it is brighter, against the old one.

    Given as the slopes of red and blue, their offsets and the brightness, coarse, [5, h, w]: logarithm of the factor =
    slope * log(luminance of the original) + offset. That is the logarithm of result / original through a guided
    filter whose guide is the original's luminance (He, Sun and Tang, "Guided Image Filtering", PAMI 2013), its
    coefficients made on a coarse grid (He and Sun, "Fast Guided Filter", 2015). Means are weighted: light shows its
    colour on what is grey and lit, while a saturated pixel tells of its own paint, so that paint which the model
    repainted does not pass for light. Nor do highlights.
    """
    grid = coarse_grid(alpha)
    after, before = to_planes(result[grid]) + FLOOR, to_planes(original[grid]) + FLOOR
    ratio = np.log(after / before)
    hue = ratio[[0, 2]] - ratio[1]
    bright, guide = luminance(after), luminance(before)
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


def recolored(result: Planes, original: Planes, strength: NDArray[np.float32], light: Planes) -> Planes:
    """`result` with the chromaticity of `original` under the light's colour; its luminance stays as it is.

    strength: [H, W] in 0..1. light: that of `new_light`, [5, H, W]; it is written over.
    """
    kept = original + FLOOR
    before = np.log(luminance(kept))
    grey = _greyness(kept)
    light[:2] *= before
    light[:2] += light[2:4]
    factor = np.exp(light[:2], out=light[:2])
    kept[::2] *= factor
    level = luminance(result)
    zero = level + FLOOR
    # Where one of the two shines and the other does not, its colour there is the lamp's and not the paint's.
    shown = result + FLOOR
    shown[::2] /= factor
    strength = strength * (1.0 - _shine(np.log(zero) - before - light[4], _greyness(shown) - grey))
    kept *= zero / luminance(kept)
    # What the screen cannot show goes towards grey of the same luminance, as highlights go white, at the same hue.
    over = (1.0 - level) / np.maximum(extreme(np.maximum, kept) - zero, 1e-6)
    under = level / np.maximum(zero - extreme(np.minimum, kept), 1e-6)
    share = np.minimum(np.minimum(over, under), 1.0)
    # result + strength * (level + share * (kept - zero) - result), in fewer steps
    share *= strength
    kept *= share
    kept += strength * level - share * zero
    kept += (1.0 - strength) * result
    return kept


def _local(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted means of [..., h, w] about each point of the light's grid."""
    weighted, prior = weight * values, np.float32(LIGHT_PRIOR * LIGHT_WINDOW**2)
    total: NDArray[np.float32] = box_sum(weighted, LIGHT_WINDOW) + prior * weighted.mean(axis=(-2, -1), keepdims=True)
    mean: NDArray[np.float32] = total / (box_sum(weight, LIGHT_WINDOW) + prior * weight.mean())
    return mean


def _greyness(planes: Planes) -> NDArray[np.float32]:
    """Least over largest of three planes, [H, W]: 1 is grey."""
    return extreme(np.minimum, planes) / extreme(np.maximum, planes)


def _shine(brighter: NDArray[np.float32], greyer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where one of two pictures shows a highlight and the other does not, 0..1.

    brighter: logarithm of how much brighter the one is, beyond what holds around. greyer: by how much its greyness is
    larger. Both are positive in its highlights, and negative in the other's.
    """
    return ((brighter * greyer - SHINE_FROM) * (1.0 / (SHINE_TO - SHINE_FROM))).clip(0.0, 1.0)
