"""Planes seen at the pixels of a larger picture, some rows at a time: nothing of the large size is ever held whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Planes = NDArray[np.float32]


class Axis(NamedTuple):
    """How the pixels of a large picture lie along one side of a small one: the middle of pixel i at
    (i + 0.5) * scale + offset, where the small one's first pixel reaches from 0 to 1."""

    pixels: int
    """of the large picture along this side"""
    scale: float
    offset: float = 0.0


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution (1981), a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


KERNELS: Mapping[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int]] = MappingProxyType({
    "linear": (lambda x: np.maximum(1 - np.abs(x), 0.0), 1), "cubic": (_cubic, 2), "lanczos": (_lanczos, 3)})
"""name -> weights by distance, and how far they reach"""


class Enlarged:
    """Planes [N, h, w] at the pixels of a larger (or smaller) picture; beyond their borders they go on as there.

    kernel: one of `KERNELS`; where the picture is smaller it grows with the step, so that nothing is left out.
    Calling it gives some rows: slice -> float32 [N, rows, width]. It may be called from several threads.
    """

    def __init__(self, planes: Planes, across: Axis, down: Axis, kernel: str = "cubic") -> None:
        self._planes = planes
        self._columns, self._shares = _taps(across, planes.shape[2], kernel)
        self._places, self._weights = _taps(down, planes.shape[1], kernel)

    def __call__(self, rows: slice) -> Planes:
        places, weights = self._places[rows], self._weights[rows]
        first, last = int(places.min()), int(places.max())
        mix = np.zeros((len(places), last + 1 - first), np.float32)
        line = np.arange(len(places))
        for place, weight in zip(places.T, weights.T, strict=True):
            np.add.at(mix, (line, place - first), weight)
        source = self._planes[:, first:last + 1]  # only what these rows need is ever made wide
        wide = np.zeros((*source.shape[:2], len(self._columns)), np.float32)
        for place, weight in zip(self._columns.T, self._shares.T, strict=True):
            wide += source[:, :, place] * weight
        made: Planes = np.matmul(mix, wide)
        return made


def _taps(axis: Axis, size: int, kernel: str) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each pixel the places that it is made of, and their weights, which sum up to 1: [count, taps] both."""
    weigh, reach = KERNELS[kernel]
    wider = max(1.0, axis.scale)
    middle = (np.arange(axis.pixels) + 0.5) * axis.scale + axis.offset - 0.5
    taps = 2 * math.ceil(reach * wider) + 1
    places = np.floor(middle).astype(np.intp)[:, None] + np.arange(taps) - taps // 2
    weights = weigh((places - middle[:, None]) / wider)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(np.abs(weights).max(axis=0) > 0)
    return places[:, used].clip(0, size - 1), weights[:, used].astype(np.float32)


class Scaled:
    """A picture in 8 bits, uint8 [h, w, 3], at the pixels of another one, by Lanczos; cheap for large pictures.

    Calling it gives some rows: slice -> uint8 [rows, width, 3].
    """

    def __init__(self, pixels: NDArray[np.uint8], across: Axis, down: Axis) -> None:
        self._image = Image.fromarray(pixels)
        self._across, self._down = across, down

    def __call__(self, rows: slice) -> NDArray[Any]:
        start, stop = rows.start, min(rows.stop, self._down.pixels)
        left, right = _clipped(self._across.offset, self._across.offset + self._across.pixels * self._across.scale,
                               self._image.width)
        top, bottom = _clipped(self._down.offset + start * self._down.scale,
                               self._down.offset + stop * self._down.scale, self._image.height)
        return np.asarray(self._image.resize((self._across.pixels, stop - start), Image.Resampling.LANCZOS,
                                             box=(left, top, right, bottom)))


def _clipped(first: float, last: float, size: int) -> tuple[float, float]:
    """Pillow takes no box that stands out, not by a rounding either."""
    first = min(max(first, 0.0), size - 1e-3)
    return first, max(min(last, float(size)), first + 1e-3)
