"""What one sampling pass paints, and how pictures lie in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import imaging

LATENT_STRIDE = 8
"""pixels to a side of one latent"""
Pixels = NDArray[Any]
"""uint8 sRGB [H, W, 3] or float32 [H, W], an alpha in 0..1"""
Place = Callable[[Pixels, int, int], Pixels]
"""lays pixels, uint8 [H, W, 3] or float32 [H, W], into a frame of so many pixels across and down"""


class Lie(NamedTuple):
    """How a picture lies in a frame: its point (x, y), in pixels from its upper left corner, is at
    (x * across + left, y * down + top) of the frame."""

    across: float
    down: float
    left: float
    top: float

    def seen(self, size: tuple[int, int], width: int, height: int) -> tuple[int, int, int, int]:
        """What of a picture of `size` (width, height) a frame of `width` x `height` shows: left, top, right, bottom in
        the picture's pixels; at least one pixel."""
        left, right = _seen(size[0], width, self.across, self.left)
        top, bottom = _seen(size[1], height, self.down, self.top)
        return left, top, right, bottom

    def scaled(self, across: float, down: float) -> Lie:
        """The same for a picture whose pixels are so many times larger."""
        return Lie(self.across * across, self.down * down, self.left, self.top)


def _seen(size: int, frame: int, scale: float, offset: float) -> tuple[int, int]:
    first = min(max(0, round(-offset / scale)), size - 1)
    return first, max(first + 1, min(size, round((frame - offset) / scale)))


class Frame(NamedTuple):
    """The part of a picture that one sampling pass paints, in pixels.

    A pass paints `width` x `height`. Hires fix to another aspect takes a larger size first, `full`; then the host
    cuts it, from `left`, `top` on, or (Neo) it is `stretched`.
    """

    width: int
    height: int
    full: tuple[int, int] | None = None
    left: int = 0
    top: int = 0
    stretched: bool = False

    def place(self, pixels: Pixels, place: Place) -> Pixels:
        """`pixels` [H, W, ...] as this pass sees them: [height, width, ...]."""
        if self.full is None:
            return place(pixels, self.width, self.height)
        whole = place(pixels, *self.full)
        if self.stretched:
            return imaging.stretch(whole, self.width, self.height)
        return whole[self.top:self.top + self.height, self.left:self.left + self.width]

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where a picture of `size` (width, height) that `contain` laid lies in this pass: left, top, right, bottom."""
        width, height = self.full or (self.width, self.height)
        left, top, right, bottom = imaging.contained(size, width, height)
        if self.stretched:
            across, down = self.width / width, self.height / height
            return round(left * across), round(top * down), round(right * across), round(bottom * down)
        return (max(0, left - self.left), max(0, top - self.top),
                min(self.width, right - self.left), min(self.height, bottom - self.top))

    def lie(self, size: tuple[int, int], place: Place) -> Lie:
        """How a picture of `size` (width, height), laid by `place`, lies in this pass."""
        width, height = self.full or (self.width, self.height)
        lie = lie_of(place, size, width, height)
        if self.full is None:
            return lie
        if self.stretched:
            across, down = self.width / width, self.height / height
            return Lie(lie.across * across, lie.down * down, lie.left * across, lie.top * down)
        return lie._replace(left=lie.left - self.left, top=lie.top - self.top)

    def share_inside(self, alpha: Pixels) -> float:
        """How much of a subject's alpha, float32 [H, W], lies in this pass where `fit` lays it, 0..1."""
        height, width = alpha.shape
        scale = max(self.width / width, self.height / height)
        x, y = (width - self.width / scale) / 2, (height - self.height / scale) / 2
        inside = alpha[round(y):round(height - y), round(x):round(width - x)]
        return float(inside.sum(dtype=np.float64) / alpha.sum(dtype=np.float64))


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """The usual placement: scale to cover, cut the middle. uint8 [H, W, 3] or float32 [H, W] (an alpha)."""
    scale = imaging.fit if pixels.dtype == np.uint8 else imaging.fit_alpha
    return scale(pixels, width, height)


def lie_of(place: Place, size: tuple[int, int], width: int, height: int) -> Lie:
    """How a picture of `size` (width, height) lies in a frame that `place` laid it into.

    A placement other than `fit` and `imaging.contain` tells it itself, by a method `lie` of the other arguments.
    """
    if place is fit:
        wide, tall = imaging.covering(size, width, height)
        left, top = round((wide - width) / 2), round((tall - height) / 2)  # as `imaging.fit` cuts
        return Lie(wide / size[0], tall / size[1], -float(left), -float(top))
    if place is imaging.contain:
        left, top, right, bottom = imaging.contained(size, width, height)
        return Lie((right - left) / size[0], (bottom - top) / size[1], float(left), float(top))
    lie: Lie = place.lie(size, width, height)  # type: ignore[attr-defined]
    return lie
