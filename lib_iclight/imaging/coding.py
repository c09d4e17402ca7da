"""Linear light of a photo's own values and back, at 8 and at 16 bits, in whatever profile it has.

Planes are float32 [3, ...], 1 = white; what is written back is clipped to 0..1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..color import srgb_to_linear
from .profiles import EIGHT_BIT, STEPS, Encoding

Codes = NDArray[Any]
"""a photo's values, each at its full range"""
Planes = NDArray[np.float32]


class Coding:
    """The way between codes of so many bits and linear light of the photo's own primaries.

    encoding: None for sRGB. bits: 8 or 16. A curve that does not rise makes codes of nothing certain, but no error.
    """

    def __init__(self, encoding: Encoding | None = None, bits: int = 8) -> None:
        self.bits = bits
        self.top = 2**bits - 1
        curves = (srgb_to_linear(np.arange(STEPS) / (STEPS - 1)),) if encoding is None else encoding.curves
        step = EIGHT_BIT if bits == 8 else 1
        self._linear = [np.ascontiguousarray(curve[::step]) for curve in curves]
        matrix = None if encoding is None else encoding.matrix
        self._from_srgb = None if matrix is None else np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)

    @property
    def is_srgb(self) -> bool:
        """Whether the primaries are sRGB's."""
        return self._from_srgb is None

    @cached_property
    def _codes(self) -> list[NDArray[np.float32]]:
        """Codes by the square root of linear light, in steps of 1 / 65535; a last one twice, to go on from."""
        light, made = np.square(np.arange(STEPS) / (STEPS - 1)), []
        for curve in self._linear:
            rising = np.maximum.accumulate(curve.astype(np.float64)) + np.arange(len(curve)) * 1e-15
            codes = np.interp(light, rising, np.arange(len(curve)))
            made.append(np.append(codes, codes[-1]).astype(np.float32))
        return made

    @cached_property
    def _whole(self) -> list[NDArray[np.uint8]]:
        """8-bit codes of the same steps."""
        return [np.rint(codes).astype(np.uint8) for codes in self._codes]

    def linear(self, codes: Codes) -> Planes:
        """Codes [..., 3] of these bits as linear planes [3, ...]."""
        planes = np.empty((3, *codes.shape[:-1]), np.float32)
        for channel in range(3):
            self._linear[channel % len(self._linear)].take(codes[..., channel], out=planes[channel], mode="clip")
        return planes

    def encode(self, planes: Planes) -> Planes:
        """Linear planes, clipped to 0..1, as codes with their fractions, float32 of the same shape."""
        made = np.empty_like(planes)
        for channel, plane in enumerate(planes):
            table = self._codes[channel % len(self._codes)]
            place = np.sqrt(plane.clip(0.0, 1.0))
            place *= np.float32(STEPS - 1)
            below = place.astype(np.int32)
            place -= below
            low = table.take(below)
            below += 1
            place *= table.take(below) - low
            np.add(low, place, out=made[channel])
        return made

    def write(self, planes: Planes, done: Codes) -> None:
        """Put linear planes into codes [..., 3]; of 8 bits the exact inverse of `linear`."""
        if self.bits == 8:
            for channel, plane in enumerate(planes):
                place = np.sqrt(plane.clip(0.0, 1.0))
                place *= np.float32(STEPS - 1)
                place += np.float32(0.5)
                self._whole[channel % len(self._whole)].take(place.astype(np.int32), out=done[..., channel],
                                                              mode="clip")
            return
        self.put(self.encode(planes), done)

    def put(self, values: Planes, done: Codes) -> None:
        """Put codes with fractions, planes [3, ...], into codes [..., 3]."""
        for channel, plane in enumerate(values):
            done[..., channel] = np.rint(plane).clip(0, self.top)

    def own(self, srgb: Planes) -> Planes:
        """Linear sRGB planes, or factors of light, in the photo's primaries. What is white stays white."""
        if self._from_srgb is None:
            return srgb
        shape = srgb.shape
        turned: Planes = (self._from_srgb @ srgb.reshape(3, -1)).reshape(shape)
        return turned
