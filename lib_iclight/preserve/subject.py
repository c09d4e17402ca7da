"""Preserving the relit subject's own colour and detail: the two together, band by band."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .color import new_light, recolored
from .detail import away_from_edges, sharpened, weighted_means
from .planes import FLOOR, Pixels, Planes, by_bands, resize, stretched, to_pixels, to_planes

SHINE = 5.0
"""How many times more than around it the new light may strengthen detail: on a highlight there is little texture."""


def preserve(result: Pixels, original: Pixels, alpha: NDArray[np.float32], *, color: float, detail: float,
             detail_radius: float, additive: bool = False) -> Pixels:
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
    light = new_light(result, original, alpha)
    light_on = stretched(light, alpha.shape)
    done = np.empty_like(result)

    def painted(rows: slice) -> tuple[Planes, Planes]:
        planes, source = to_planes(result[rows]), to_planes(original[rows])
        if color:
            planes = recolored(planes, source, np.float32(color) * alpha[rows], light_on(rows))
        return planes, source

    if not detail:
        def paint(rows: slice) -> None:
            to_pixels(painted(rows)[0], done[rows])

        by_bands(paint, alpha.shape[0])
        return done

    both = np.empty((2, 3, *alpha.shape), np.float32)

    def prepare(rows: slice) -> None:
        both[0, :, rows], both[1, :, rows] = painted(rows)

    by_bands(prepare, alpha.shape[0])
    inner = np.maximum(2.0 * alpha - 1.0, 0.0)
    solid = inner * inner * inner
    side = math.sqrt(alpha.size) / 512.0
    slow = weighted_means(both.reshape(6, *alpha.shape), away_from_edges(solid, max(1, round(side))),
                           detail_radius * side)
    if additive:
        gain = np.ones_like(slow[:3])
    else:
        brightest = np.float32(SHINE) * np.exp(resize(light[4:], slow.shape[1:]))
        gain = np.minimum((slow[:3] + FLOOR) / (slow[3:] + FLOOR), brightest)
    smooth = stretched(np.concatenate([gain, slow[:3] - gain * slow[3:]]), alpha.shape)

    def sharpen(rows: slice) -> None:
        to_pixels(sharpened(both[0, :, rows], both[1, :, rows], smooth(rows), solid[rows] * np.float32(detail)),
                   done[rows])

    by_bands(sharpen, alpha.shape[0])
    return done
