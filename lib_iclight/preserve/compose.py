"""A photo under a new light, put on what is behind it: every pixel of it, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..imaging.coding import Codes, Planes
from ..imaging.enlarge import Enlarged
from ..imaging.photo import Photo
from .planes import FLOOR, LINEAR_OF_CODE, Pixels

Rows = Callable[[slice], Planes]
"""rows -> planes [3, rows, width] of linear sRGB"""
Cut = Callable[[slice, Pixels], NDArray[np.float32]]
"""rows, and their pixels in 8-bit sRGB [rows, width, 3] -> the subject's alpha, float32 [rows, width] in 0..1"""
FAINT = 1.0 / 255.0
"""a mask that lets less than this change lets nothing change"""


@dataclass(frozen=True, eq=False)
class Composition:
    """What a photo is made into. Called with rows it makes them: `by_bands` calls it from several threads.

    Compositing is done on codes, in which mattes are made; light is multiplied in linear light.
    """

    photo: Photo
    codes: Codes
    """the part of the photo's codes that is worked on, [H, W, 3]"""
    made: Codes
    """where the picture is put, as large"""
    light: Enlarged
    """the new light, linear sRGB [6, ...]: its factor's logarithm, and its shine, see `transfer.NewLight`"""
    cut: Cut | None = None
    """None: all of it is subject"""
    colors: Enlarged | None = None
    """estimates of the colours of subject and background, sRGB codes 0..255 [6, ...]; None: soft pixels are the
    subject's colours as they are"""
    behind: Rows | None = None
    """what the subject is put on; None: on the photo's own background"""
    tint: Enlarged | None = None
    """logarithm of the light on the photo's own background"""
    painted: Enlarged | None = None
    """how much may change, [1, ...], 0..1; None: all of it"""

    def __call__(self, rows: slice) -> None:
        codes, made = np.ascontiguousarray(self.codes[rows]), self.made[rows]
        may = None if self.painted is None else self.painted(rows)[0]
        if may is not None and may.max() < FAINT:
            made[...] = codes
            return
        alpha = None if self.cut is None else self.cut(rows, eight(codes, self.photo))
        if alpha is None or alpha.min() >= 1.0:
            self._light_up(codes, rows, made)
        else:
            made[...] = self._put_on(codes, alpha, rows)
        if may is not None:
            part = may < 1.0
            share = np.where(may < FAINT, np.float32(0.0), may)[part][:, None]
            kept = codes[part].astype(np.float32)
            made[part] = np.rint(kept + share * (made[part].astype(np.float32) - kept))

    def front(self, rows: slice, alpha: NDArray[np.float32]) -> Codes:
        """The photo's codes with the subject's own colours where it is soft; see `matting.foreground.blur_fusion`."""
        codes = np.ascontiguousarray(self.codes[rows])
        soft = np.flatnonzero((alpha > 0.0) & (alpha < 1.0))
        if self.colors is None or not soft.size:
            return codes
        estimates = self.colors(rows).reshape(6, -1)[:, soft]
        if self.photo.encoding is not None:
            linear = LINEAR_OF_CODE[np.rint(estimates).clip(0, 255).astype(np.uint8)]
            coding = self.photo.coding
            estimates = np.concatenate([coding.encode(coding.own(linear[:3])), coding.encode(coding.own(linear[3:]))])
        elif self.photo.bits == 16:
            estimates *= np.float32(257.0)
        subject, background, weight = estimates[:3].T, estimates[3:].T, alpha.ravel()[soft, None]
        here = codes.reshape(-1, 3)[soft]
        found = subject + weight * (here - weight * subject - (1.0 - weight) * background)
        done = codes.copy()
        done.reshape(-1, 3)[soft] = np.rint(found).clip(0, self.photo.coding.top)
        return done

    def _light_up(self, codes: Codes, rows: slice, made: Codes) -> None:
        coding = self.photo.coding
        planes = coding.linear(codes)
        light = self.light(rows)
        planes += FLOOR
        planes *= coding.own(np.exp(light[:3]))
        planes += coding.own(light[3:])
        planes -= FLOOR
        coding.write(planes, made)

    def _put_on(self, codes: Codes, alpha: NDArray[np.float32], rows: slice) -> Codes:
        coding, there = self.photo.coding, alpha.ravel()
        front = self.front(rows, alpha)
        done = np.empty_like(codes)
        if there.any():
            self._light_up(front, rows, done)
        flat, shown = done.reshape(-1, 3), np.flatnonzero(there < 1.0)
        weight = there[shown, None]
        lit = np.where(weight > 0.0, flat[shown], 0).astype(np.float32)
        if self.behind is not None:
            back = _listed(coding.encode(coding.own(self.behind(rows))), shown)
            mixed = weight * lit + (1.0 - weight) * back
        else:
            # Of the subject its difference is added: blending two soft pixels by alpha would show both backgrounds.
            own = codes.reshape(-1, 3)[shown].astype(np.float32)
            mixed = own + weight * (lit - np.where(weight > 0.0, front.reshape(-1, 3)[shown], 0))
            if self.tint is not None:
                tinted = coding.encode(coding.linear(codes) * coding.own(np.exp(self.tint(rows))))
                mixed += (1.0 - weight) * (_listed(tinted, shown) - own)
        flat[shown] = np.rint(mixed).clip(0, coding.top)
        return done


def eight(codes: Codes, photo: Photo) -> Pixels:
    """Codes of a photo's as 8-bit sRGB."""
    if photo.encoding is None and photo.bits == 8:
        return codes
    return Photo(codes, encoding=photo.encoding).in_srgb(8).codes


def _listed(planes: Planes, where: NDArray[np.intp]) -> NDArray[np.float32]:
    """Planes [3, ...] at places of the flat picture: [N, 3]."""
    return planes.reshape(3, -1)[:, where].T
