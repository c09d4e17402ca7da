"""What is known of a subject's shape: from its normal map, or from nothing but its colours and its outline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE, srgb_to_linear
from ..errors import ImageError
from ..matting.foreground import box_sum
from .colors import color_geometry
from .silhouette import inflated

SHORTER_SIDE = 384
"""Shapes are made from pictures scaled down to this; they are smooth."""
RELIEF = 0.08
"""Root mean square of the slopes that the geometry of colours adds to those of the outline."""
FLAT_RELIEF = 0.4
"""The same where there is no outline."""
BLUR = 0.02
"""The geometry of colours has edges where strokes stand out, which look like cracks under a light; it is blurred by a
Gaussian of this many shorter sides."""
EVEN = 1.0
"""How much of the photo's own light, as far as it is known, is taken out before it is lit anew."""
MOST_OWN = 0.9
"""At most so large is the photo's own light: that of a surface that faces it is e^0.9 times the mean."""


@dataclass(frozen=True)
class Shape:
    """A subject's shape. Made once per picture; every light needs it."""

    normals: NDArray[np.float32] = field(repr=False)
    """unit, float32 [h, w, 3]: x right, y up, z to the camera; of the picture's size or smaller, of its proportions"""
    own: tuple[float, float] = (0.0, 0.0)
    """the photo's own light: a surface of normal n had about e^(own . (n_x, n_y)) times the mean light"""
    source: str = "normals"
    """where it comes from: "normals", "colours", or "colours and outline" """
    convention: str = ""
    """for a normal map: "opengl" (green up) or "directx" (green down)"""
    sure: bool = True
    """False where the convention of a normal map could not be told and "opengl" was taken"""


def shape_of(rgb: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Shape:
    """The shape that a picture's colours and its subject's outline suggest.

    rgb: uint8 sRGB [H, W, 3], best with the subject's own colours at soft edges. alpha: float32 [H, W] in 0..1.
    Raises ImageError where the two have different sizes.
    """
    if rgb.shape[:2] != alpha.shape:
        raise ImageError(f"the alpha has {alpha.shape[1]} x {alpha.shape[0]} pixels and the picture {rgb.shape[1]} x "
                         f"{rgb.shape[0]}. Give both the same size.")
    height, width = alpha.shape
    scale = min(1.0, SHORTER_SIDE / min(height, width))
    small, matte = scaled(rgb, alpha, (max(1, round(width * scale)), max(1, round(height * scale))))
    outline = inflated(matte)
    slopes = color_geometry(small, matte).mean(axis=2)[..., :2]
    has_outline = bool(outline[..., 2].min() < 0.99)
    slopes = _softened(slopes, matte, RELIEF if has_outline else FLAT_RELIEF)
    normals = outline.copy()
    normals[..., :2] += slopes
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Shape(normals, own_light(small, matte, outline) if has_outline else (0.0, 0.0),
                 "colours and outline" if has_outline else "colours")


def own_light(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], normals: NDArray[np.float32]) -> tuple[float, float]:
    """The light that a photo was taken in, as `Shape.own` has it: log luminance fitted by the normals.

    All of one size: uint8 sRGB [h, w, 3], float32 [h, w], float32 [h, w, 3]. (0, 0) where too little is subject.
    """
    inside = alpha > 0.95
    if inside.sum() < 16:
        return 0.0, 0.0
    luminance = np.log(srgb_to_linear(rgb[inside] / 255.0) @ LUMINANCE + 0.01).astype(np.float64)
    sides = normals[inside][:, :2].astype(np.float64)
    sides -= sides.mean(axis=0)
    # A body that hardly turns tells little of the light: as many points that tell of none.
    slopes = np.linalg.solve(sides.T @ sides + 0.02 * len(sides) * np.eye(2), sides.T @ (luminance - luminance.mean()))
    slopes *= EVEN * min(1.0, MOST_OWN / max(float(np.hypot(*slopes)), 1e-6))
    return float(slopes[0]), float(slopes[1])


def _softened(slopes: NDArray[np.float32], alpha: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Slopes [h, w, 2] blurred, within the subject, and of this root mean square there; none longer than 1."""
    radius = BLUR * min(alpha.shape)
    weight = blurred(alpha, radius) + 1e-3
    soft = np.stack([blurred(slopes[..., i] * alpha, radius) / weight for i in (0, 1)], axis=-1) * alpha[..., None]
    spread = math.sqrt(float((soft**2).sum(axis=-1).sum() / max(float((alpha**2).sum()), 1e-6)))
    soft *= strength / max(spread, 1e-3)
    limited: NDArray[np.float32] = soft / np.sqrt(1.0 + (soft**2).sum(axis=-1, keepdims=True))
    return limited


def blurred(plane: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """float32 [h, w] under a Gaussian of standard deviation `radius` in pixels, which goes on beyond the borders."""
    size = 2 * round(radius) + 1  # three boxes of this width have the variance radius²
    for _ in range(3):
        padded = np.pad(plane, size // 2, "edge")
        plane = box_sum(padded, size)[size // 2:size // 2 + plane.shape[0], size // 2:size // 2 + plane.shape[1]] / size**2
    return plane


def scaled(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], size: tuple[int, int]
           ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Both at `size` (width, height); what is scaled down is averaged."""
    if (rgb.shape[1], rgb.shape[0]) == size and alpha.shape == rgb.shape[:2]:
        return rgb, alpha
    small, matte = (np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
                    for one in (rgb, alpha.astype(np.float32)))
    return small, matte.clip(0.0, 1.0)
