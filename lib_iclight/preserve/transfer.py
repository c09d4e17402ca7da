"""The new light alone: what of a result is light on its original, free of what the model blurred and made up.

Given as the logarithm of a factor for linear light, at the result's size, to be carried to the original's pixels. The
plain ratio result / original holds whatever the two do not share: a model melts print and texture, so the print stands
in the ratio once more, turned round, and cancels on the original what it should bring back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..matting.foreground import box_sum
from .detail import away_from_edges
from .planes import FLOOR, GRID, Pixels, Planes, luminance, resize, shrunk, to_planes

SHINE = 3.0
"""How many times more than around it the new light may multiply a pixel; what goes beyond is a highlight, which lies
over the paint and is added: on a highlight there is little texture."""
AROUND = 17
"""Side of the windows for that, in points of the coarse grid: an eighth of the picture."""
WIDER = 4
"""Sides of the windows in which detail is compared, in those of the blur that it is finer than."""
NOISE, PRIOR = 1e-5, 0.1
"""Variance of the logarithm of detail that counts as none, and how much the whole picture counts beside such a window:
where there is no detail, the result lacks what it lacks elsewhere."""


class NewLight(NamedTuple):
    """What turns an original into its result: (original + FLOOR) * exp(factor) + shine - FLOOR, in linear light."""

    factor: Planes
    """[3, H, W]"""
    shine: Planes
    """[3, H, W], 0 but on highlights"""


def light_of(result: Pixels, original: Pixels, alpha: NDArray[np.float32], *, radius: float = 4.0) -> NewLight:
    """The new light on the subject, carried on beside it.

    result, original: uint8 sRGB [H, W, 3], of one size. alpha: float32 [H, W] in 0..1. radius: in pixels of a 512 x 512
    picture: what is finer is compared with the original's detail, and what only is missing of that is not light.
    Both parts are exactly 0 everywhere where the two are equal.
    """
    after, before = to_planes(result), to_planes(original)
    after += FLOOR
    before += FLOOR
    inner = np.maximum(2.0 * alpha - 1.0, 0.0)
    side = math.sqrt(alpha.size) / 512.0
    weight = away_from_edges(inner * inner * inner, max(1, round(side))) + np.float32(1e-9)
    light, broad = _light(after, before, weight, radius * side)
    if alpha.min() < 1.0:
        trust = (4.0 * weight).clip(0.0, 1.0)
        light, broad = carried_on(np.concatenate([light, broad]), trust).reshape(2, 3, *alpha.shape)
    factor = np.minimum(light, broad + np.float32(math.log(SHINE)))
    return NewLight(factor, before * (np.exp(light) - np.exp(factor)))


def _light(after: Planes, before: Planes, weight: NDArray[np.float32], radius: float) -> tuple[Planes, Planes]:
    """The logarithm of the factor, and of what holds of it around each point, [3, H, W] both.

    A ratio of means is free of detail that both lack; what is finer is added level by level, each free of what the
    result lacks of the original's detail there."""
    ratio, detail, trust = np.log(after / before), np.log(luminance(before)), weight
    light = np.zeros_like(ratio)
    both = np.concatenate([after, before])
    side, before_it, unsure = 3, 0.0, _half_a_code(after) + _half_a_code(before)
    while True:
        means, trusted = _means(both, weight, side)
        coarser, smooth = np.log(means[:3] / means[3:]), np.log(luminance(means[3:]))
        fine, own = ratio - coarser, detail - smooth
        fine -= fine.clip(-unsure, unsure)  # a smooth light would come in steps
        lacking = _lacking(fine, own, weight, WIDER * side + 1)
        # What has lost the original's detail there has lost the light's as well: what is left is the model's.
        kept = trust.clip(0.0, 1.0) * (1.0 + lacking.mean(axis=0)) * (fine - lacking * own)
        reached = side / 2.5
        if reached >= radius:  # levels double: of the last one so much as the radius lies beyond the one before
            share = math.log(radius / before_it) / math.log(reached / before_it) if before_it else 1.0
            light += ratio + np.float32(share) * (kept + coarser - ratio)
            return light, _around(after, before, weight)
        light += kept
        ratio, detail, trust, before_it = coarser, smooth, trusted, reached
        side, unsure = 2 * side - 1, unsure / 4


def _half_a_code(planes: Planes) -> Planes:
    """By how much the logarithm of linear light may be off, for it comes from 8-bit sRGB, whose steps are about as high
    as those of a power of 2.2."""
    step: Planes = np.float32(0.5 * 2.2 / 255.0) / np.maximum(planes, FLOOR) ** np.float32(1.0 / 2.2)
    return step


def _lacking(fine: Planes, own: NDArray[np.float32], weight: NDArray[np.float32], side: int) -> Planes:
    """Which part of the original's own detail a result lacks, as a slope -1..0: [3, H, W]."""
    spread, along = box_sum(weight * own * own, side), box_sum(weight * own * fine, side)
    whole = np.float32(PRIOR * side**2 / weight.sum(dtype=np.float64))
    spread += whole * (weight * own * own).sum() + NOISE * box_sum(weight, side)
    along += whole * (weight * own * fine).sum(axis=(1, 2), keepdims=True)
    slope: Planes = (along / spread).clip(-1.0, 0.0)
    return slope


def _means(planes: Planes, weight: NDArray[np.float32], side: int) -> tuple[Planes, NDArray[np.float32]]:
    """Means [N, H, W] over windows of `side` twice over, weighted, and how much weight there is, [H, W]."""
    total = box_sum(box_sum(weight, side), side)
    means: Planes = box_sum(box_sum(planes * weight, side), side) / total
    return means, total / np.float32(side**4)


def _around(after: Planes, before: Planes, weight: NDArray[np.float32]) -> Planes:
    """The middling light about each point: of the logarithms, so that highlights count as little else."""
    step = max(1, round(math.sqrt(weight.size) / GRID))
    small = shrunk(weight, step)
    ratio = shrunk(np.log(after / before) * weight, step) / small
    total = box_sum(small, AROUND)
    means: Planes = box_sum(ratio * small, AROUND) / total
    return resize(means, weight.shape)


def carried_on(planes: Planes, trust: NDArray[np.float32]) -> Planes:
    """Planes [N, H, W] as they are where trust [H, W] is 1, and where it is 0 as they are around: from grids that get
    coarser (Gortler et al., "The Lumigraph", 1996: pull and push)."""
    if min(trust.shape) < 4:
        total = trust.sum(dtype=np.float64) + 1e-12
        means = (planes * trust).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / total
        return np.broadcast_to(means.astype(np.float32), planes.shape)
    small = shrunk(trust, 2)
    coarse = carried_on(shrunk(planes * trust, 2) / (small + np.float32(1e-9)), (4.0 * small).clip(0.0, 1.0))
    filled: Planes = resize(coarse, trust.shape)
    filled += trust * (planes - filled)
    return filled
