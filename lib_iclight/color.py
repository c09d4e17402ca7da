"""Colour: sRGB and linear light, luminance, and the colour of a temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec. 709 weights of linear red, green and blue."""
_XYZ_TO_LINEAR_SRGB = np.array(  # IEC 61966-2-1, white D65
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def srgb_to_linear(encoded: NDArray[Any] | float) -> NDArray[np.float32]:
    """sRGB-encoded values 0..1, any shape, as linear light 0..1 in float32 (IEC 61966-2-1)."""
    v = np.asarray(encoded, dtype=np.float32)
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: NDArray[Any] | float) -> NDArray[np.float32]:
    """Linear light 0..1, any shape, as sRGB-encoded values 0..1 in float32 (IEC 61966-2-1)."""
    v = np.asarray(linear, dtype=np.float32)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * np.maximum(v, 0.0) ** (1 / 2.4) - 0.055).astype(np.float32)


def kelvin_to_linear(t: float) -> NDArray[np.float32]:
    """The colour of a black body at t kelvin in linear sRGB, float32 [3], its largest component 1, negatives clipped.

    The cubic fits of the Planckian locus in CIE 1931 xy by Kim et al., "Color temperature conversion system and
    method using the same", US patent 7,024,034 (2006), made for 1667..25000 K. White is D65, so 6500 K is near white.
    """
    k = 1000.0 / t
    if t <= 4000:
        x = -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
    else:
        x = -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
    if t <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif t <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    rgb: NDArray[np.float64] = _XYZ_TO_LINEAR_SRGB @ np.array([x / y, 1.0, (1.0 - x - y) / y])
    return (rgb / float(rgb.max())).clip(0.0, 1.0).astype(np.float32)
