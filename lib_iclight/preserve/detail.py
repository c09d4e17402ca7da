"""Preserving detail: what is finer than a radius is the original's, what is coarser the result's.

Works on planes of linear light, float32 [3, H, W] in 0..1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..matting.foreground import box_sum
from .planes import FLOOR, Planes, resize

DARKEN, BRIGHTEN = 6.0, 2.0
"""How many times darker and brighter detail may make a pixel. Brightening brings highlights back as ghosts."""


def sharpened(result: Planes, original: Planes, smooth: Planes, strength: Planes) -> Planes:
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


def away_from_edges(solid: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Weights of what is smooth, [H, W]: next to nothing within `by` pixels of the subject's edge.

    There the model has blurred the background into the subject. Hair that is all edge still has its own weights.
    """
    weight = solid.copy()
    for least, values in ((weight, solid), (weight.T, solid.T)):
        np.minimum(least[by:], values[:-by], out=least[by:])
        np.minimum(least[:-by], values[by:], out=least[:-by])
    weight += np.float32(1e-4) * solid
    return weight


def weighted_means(planes: Planes, weight: NDArray[np.float32], radius: float) -> Planes:
    """Means of `planes` under a bell of standard deviation `radius`, weighted; on a grid as coarse as allows.

    Scaling down with triangles, two 3 x 3 boxes there and scaling up linearly (`resize` does both) have variances of
    1/6, 4/3 and 1/6 grid points squared, which makes the grid's step radius / sqrt(5/3).
    """
    step = max(1.0, radius / math.sqrt(5.0 / 3.0))
    shape = (max(1, round(weight.shape[0] / step)), max(1, round(weight.shape[1] / step)))
    total = resize(weight[None], shape)
    coarse = np.concatenate([*(resize(plane[None] * weight, shape) for plane in planes), total])
    coarse = box_sum(box_sum(coarse, 3), 3)
    means: Planes = coarse[:-1] / np.maximum(coarse[-1], 1e-6)
    return means
