"""A cut-out put right by hand: its edge hardened, moved or softened, stray objects dropped, or all of it turned round.

Lengths are pixels of a 512 x 512 picture (any picture of as many pixels; larger ones in proportion).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .foreground import box_sum

OBJECT_GRID = 256
"""Objects are told apart on a grid of at most so many blocks to a side: a gap thinner than a block parts none."""

EDGE = 12.0
"""How far from its surroundings a subject may be half transparent before that is taken for a mistake; a share of it is
enough to be told from `HAZY` on."""
HAZY = 0.05
_THERE = (0.02, 0.1)
"""alpha from which on a pixel is no surroundings, in part and wholly"""
_SOLID_GRID = 512
"""Inner areas are smooth: they are found on a grid of so many points to a side."""

_STEEPEST = 1e-6
"""Stands for the nothing that a full contrast leaves of the soft range."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What to change about an alpha, in the order in which it is done; by default nothing.

    threshold: 0..1, what counts as foreground to `largest` and `contrast`; alone it changes nothing.
    """

    invert: bool = False
    """the subject and the rest change places"""
    largest: bool = False
    """only the object with the largest area stays"""
    solid: bool = False
    """what is half transparent inside becomes solid; edges and hair stay as they are"""
    contrast: float = 0.0
    """0..1; at 1 the edge is hard at the threshold"""
    threshold: float = 0.5
    grow: float = 0.0
    """how far the edge moves outwards, or inwards if negative"""
    feather: float = 0.0
    """how far to either side the edge is softened"""

    def reach(self, size: int) -> float:
        """How far outwards foreground can get, in pixels of a picture of `size` pixels."""
        return (max(self.grow, 0.0) + self.feather) * _scale(size) + 2.0


def refine(alpha: NDArray[np.float32], how: Refinement) -> NDArray[np.float32]:
    """The alpha refined, float32 [H, W] in 0..1; the same object where nothing is asked.

    Beyond the picture's borders everything goes on as it is there, so a subject that the frame cuts is not eaten away.
    """
    scale = _scale(alpha.size)
    if how.invert:
        alpha = 1.0 - alpha
    if how.largest:
        alpha = largest_object(alpha, how.threshold)
    if how.solid:
        alpha = solidified(alpha)
    if how.contrast:
        alpha = harden(alpha, how.contrast, how.threshold)
    if how.grow > 0:
        alpha = grow(alpha, how.grow * scale)
    elif how.grow < 0:
        alpha = 1.0 - grow(1.0 - alpha, -how.grow * scale)
    if how.feather:
        alpha = soften(alpha, how.feather * scale)
    return alpha


def harden(alpha: NDArray[np.float32], contrast: float, threshold: float) -> NDArray[np.float32]:
    """Alpha steeper about the threshold, where it keeps its value: contrast 0 is as it is, 1 a step. All in 0..1."""
    return (threshold + (alpha - threshold) / max(1.0 - contrast, _STEEPEST)).clip(0.0, 1.0)


def solidified(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha solid further than `EDGE` from its surroundings, whatever it was there, and as it was at the edge."""
    inner = _inner(alpha)
    height, width = alpha.shape
    share = np.asarray(Image.fromarray(inner).resize((width, height), Image.Resampling.BILINEAR))
    made: NDArray[np.float32] = alpha + share * (1.0 - alpha)
    return made


def haze(alpha: NDArray[np.float32]) -> float:
    """How much of a subject `solidified` would change: the missing alpha of its inside over all of its alpha."""
    inner = _inner(alpha)
    small = _on_grid(alpha)
    total = float(small.sum(dtype=np.float64))
    return float((inner * (1.0 - small)).sum(dtype=np.float64)) / total if total else 0.0


def _inner(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far inside a subject a point is, on a grid, [h, w]: 0 within `EDGE` of its surroundings, 1 from half as far
    again on."""
    small = _on_grid(alpha)
    there = ((small - _THERE[0]) / (_THERE[1] - _THERE[0])).clip(0.0, 1.0)
    scale = _scale(small.size)
    inside: NDArray[np.float32] = 1.0 - grow(1.0 - there, EDGE * scale)
    return (soften(inside, EDGE / 4.0 * scale) * inside).clip(0.0, 1.0)


def _on_grid(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = alpha.shape
    scale = min(1.0, _SOLID_GRID / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX))


def grow(alpha: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Grey-scale dilation: each level's outline moves outwards by `radius` pixels of this array, fractions included.

    The disc is a regular octagon (exact along both axes and diagonals, up to 8 % more between them), which is four
    strokes drawn out of each other, so large radii cost little more than small ones (Adams, "Radial Decomposition of
    Discs and Spheres", 1993).
    """
    half = radius * (math.sqrt(2.0) - 1.0)  # half a side of the octagon about a circle of this radius
    for down, right, length in ((0, 1, half), (1, 0, half), (1, 1, half / math.sqrt(2)), (1, -1, half / math.sqrt(2))):
        whole = int(length)
        near = _highest(alpha, whole, down, right)
        alpha = near + (length - whole) * (_highest(near, 1, down, right) - near)
    return alpha


def soften(alpha: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Alpha blurred by a triangle that reaches about `radius` pixels to either side, fractions included."""
    side = 2 * int(radius / 2.0) + 1
    part = radius / 2.0 - int(radius / 2.0)

    def box(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return (1.0 - part) * box_sum(values, side) + part * box_sum(values, side + 2)

    height, width = alpha.shape
    inside = box(np.ones((height, width), np.float32))
    return (box(box(alpha) / inside) / inside).clip(0.0, 1.0)


def largest_object(alpha: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Alpha with all but its largest connected object at 0; as it is where nothing exceeds the threshold.

    An object is what exceeds the threshold and touches, corners included; softer pixels belong to the object that they
    lie nearest to, as long as they lead to one.
    """
    height, width = alpha.shape
    side = -(-max(height, width) // OBJECT_GRID)
    padded = np.pad(alpha, ((0, -height % side), (0, -width % side)))
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    peak = blocks.max(axis=(1, 3))
    labels = _objects(peak > threshold)
    if not labels.any():
        return alpha
    while True:
        wider = np.where((labels == 0) & (peak > 0), _highest_about(labels), labels)
        if (wider == labels).all():
            break
        labels = wider
    areas = np.bincount(labels.ravel(), weights=blocks.sum(axis=(1, 3)).ravel())
    areas[0] = 0.0  # what belongs to no object
    kept = (labels == areas.argmax()).repeat(side, axis=0).repeat(side, axis=1)
    left: NDArray[np.float32] = alpha * kept[:height, :width]
    return left


def _objects(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each connected object (corners touch), 0 elsewhere; numbers are not consecutive."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        highest = np.where(mask, _highest_about(labels), 0)
        if (highest == labels).all():
            return labels
        # Each number gives way to the highest that it touches, and that to the highest that *it* touches, ...
        heir = np.arange(mask.size + 1)
        np.maximum.at(heir, labels, highest)
        while (heir[heir] != heir).any():
            heir = heir[heir]
        labels = heir[highest]


def _highest_about(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The highest of each value and its eight neighbours."""
    return _highest(_highest(values, 1, 1, 0), 1, 0, 1)


def _highest(values: NDArray[Any], count: int, down: int, right: int) -> NDArray[Any]:
    """The highest of 2 * count + 1 values (none below 0) on a line through each, in steps of (down, right).

    Highest values of 1, 2, 4, ... neighbours are made from each other; two of those that overlap make the whole.
    """
    if count == 0:
        return values
    if right < 0:
        return _highest(values[:, ::-1], count, down, -right)[:, ::-1]
    height, width = values.shape
    line, size = np.pad(values, ((count * down,) * 2, (count * right,) * 2)), 1
    while 2 * size <= 2 * count + 1:
        rows, columns = line.shape[0] - size * down, line.shape[1] - size * right
        line = np.maximum(line[:rows, :columns], line[size * down:, size * right:])
        size *= 2
    rest = 2 * count + 1 - size
    return np.maximum(line[:height, :width], line[rest * down:rest * down + height, rest * right:rest * right + width])


def _scale(size: int) -> float:
    """Pixels of a picture of `size` pixels for one of a 512 x 512 picture."""
    return math.sqrt(size) / 512.0
