"""A cut-out at a photo's own pixels: models see it at 1024 pixels, and its edges follow the photo from there on.

After He, Sun and Tang, "Guided Image Filtering" (PAMI 2013), with colour as the guide, its coefficients made on a grid
of the matte's own fineness (He and Sun, "Fast Guided Filter", 2015) and carried to the photo's pixels. Only soft pixels
take part: what is subject or surroundings in the matte, away from its edge, stays so exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..imaging.enlarge import Axis, Enlarged
from .foreground import box_sum

GRID = 1024
"""points of the longer side: as fine as the models' mattes are"""
RADIUS = 4
"""grid points to either side of a window"""
EPSILON = 1e-4
"""colours 0..1 of a smaller variance count as one"""
CLEAR = 2.0 / 255.0
"""alpha so near to 0 or 1 is 0 or 1 at the photo's own size: mattes of models have such a haze"""


class Detailed:
    """The alpha at a photo's pixels, some rows at a time.

    rgb: uint8 sRGB [h, w, 3], the photo at the size at which it was cut out, at which `alpha` float32 [h, w] is.
    across, down: how the photo's pixels lie along the sides of that.
    guided: whether the edges follow the photo; else the alpha is scaled up and no more.
    """

    def __init__(self, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], across: Axis, down: Axis, *,
                 guided: bool = True) -> None:
        self._base = Enlarged(alpha[None], across, down)
        self._lines: Enlarged | None = None
        if guided and bool(((alpha > CLEAR) & (alpha < 1.0 - CLEAR)).any()):
            height, width = alpha.shape
            scale = min(1.0, GRID / max(height, width))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            coarse = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
            colors = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
            planes = np.ascontiguousarray(colors.transpose(2, 0, 1), np.float32) / np.float32(255.0)
            x, y = size[0] / width, size[1] / height
            self._lines = Enlarged(_lines(planes, coarse), Axis(across.pixels, across.scale * x, across.offset * x),
                                   Axis(down.pixels, down.scale * y, down.offset * y), "linear")

    def __call__(self, rows: slice, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Alpha float32 [rows, width] in 0..1. rgb: uint8 sRGB [rows, width, 3], the photo's own pixels there."""
        alpha: NDArray[np.float32] = self._base(rows)[0].clip(0.0, 1.0)
        alpha[alpha < CLEAR] = 0.0
        alpha[alpha > 1.0 - CLEAR] = 1.0
        if self._lines is None:
            return alpha
        soft = np.flatnonzero((alpha > 0.0) & (alpha < 1.0))
        if not soft.size:
            return alpha
        lines = self._lines(rows).reshape(5, -1)[:, soft]
        colors = rgb.reshape(-1, 3)[soft].T.astype(np.float32)
        colors /= np.float32(255.0)
        found = (lines[:3] * colors).sum(axis=0) + lines[3]
        own = alpha.ravel()[soft]
        # Trusted where the matte is soft over the whole window; at the rim of the soft range it gives way to the matte.
        found = own + lines[4].clip(0.0, 1.0) * (found - own)
        found[found < CLEAR] = 0.0
        found[found > 1.0 - CLEAR] = 1.0
        alpha.reshape(-1)[soft] = found.clip(0.0, 1.0)
        return alpha


def _lines(guide: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """alpha = a * colour + b about each point: float32 [5, h, w], a's three, b, and how soft it is around, 0..1."""
    side = 2 * RADIUS + 1
    count = box_sum(np.ones_like(alpha), side)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        means: NDArray[np.float32] = box_sum(values, side) / count
        return means

    means, level = mean(guide), mean(alpha)
    r, g, b = guide
    pairs = mean(np.stack([r * r, r * g, r * b, g * g, g * b, b * b]))
    for place, (i, j) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
        pairs[place] -= means[i] * means[j]
    rr, rg, rb, gg, gb, bb = pairs
    rr, gg, bb = rr + EPSILON, gg + EPSILON, bb + EPSILON
    along = mean(guide * alpha) - means * level
    cofactors = (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb, rr * bb - rb * rb, rb * rg - rr * gb,
                 rr * gg - rg * rg)
    whole = rr * cofactors[0] + rg * cofactors[1] + rb * cofactors[2]
    (a, d, e), (f, h, k) = cofactors[:3], cofactors[3:]
    slope = np.stack([a * along[0] + d * along[1] + e * along[2], d * along[0] + f * along[1] + h * along[2],
                      e * along[0] + h * along[1] + k * along[2]]) / whole
    offset = level - (slope * means).sum(axis=0)
    soft = ((alpha > CLEAR) & (alpha < 1.0 - CLEAR)).astype(np.float32)
    return np.concatenate([mean(slope), mean(offset)[None], (3.0 * mean(soft)).clip(0.0, 1.0)[None]])
