"""Light specs as pictures: see `spec` for the formulas."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..color import linear_to_srgb, srgb_to_linear
from .spec import PRESETS, LightSpec, linear_color, parse_light

_BAND = 1 << 16  # pixels that are drawn at once
# The reference demos' darkest and brightest value of a gradient, and their ambient value, in each form.
_RANGE = {"fc": (0, 255), "fbc": (32, 224)}
_AMBIENT = {"fc": 127, "fbc": 64}


def light_map(light: str | LightSpec, width: int, height: int,
              form: Literal["fc", "fbc"] = "fc") -> NDArray[np.uint8] | None:
    """The picture of a light: sRGB-encoded uint8 [height,width,3]; None for "none" (and the empty spec).

    light: a preset's name or a spec. form: "fc" for an initial latent (black to white), "fbc" for a background
    drawn in place of a picture (32..224).
    The names left, right, top, bottom and ambient give the reference demos' arrays exactly: `numpy.linspace` from
    side to side, fractions cut off; ambient 127, or 64 in the FBC form. Everything else follows the formula above.
    Raises LightError for an unknown name.
    """
    light = parse_light(light)
    if light == "none":
        return None
    low, high = _RANGE[form]
    if light == "ambient":
        return np.full((height, width, 3), _AMBIENT[form], np.uint8)
    if light in ("left", "right", "top", "bottom"):
        ends = (high, low) if light in ("left", "top") else (low, high)
        ramp = np.linspace(*ends, width)[None, :, None] if light in ("left", "right") \
            else np.linspace(*ends, height)[:, None, None]
        return np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8, order="C")
    spec = PRESETS[light] if isinstance(light, str) else light
    picture = np.empty((height, width, 3), np.uint8)
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):  # in bands, which stay in the processor's cache
        encoded = linear_to_srgb(_radiance(spec, width, height, slice(top, top + rows)))
        picture[top:top + rows] = (low + (high - low) * encoded).round()
    return picture


def broad_light(pixels: NDArray[np.uint8], blur: float) -> NDArray[np.uint8]:
    """The light of a picture without its things: its low frequencies, taken in linear light.

    pixels: sRGB-encoded uint8 [height,width,3]; returns the same form. blur: the standard deviation of a Gaussian in
    units of the picture's shorter side, not negative; 0 gives the picture itself. At the edges only what lies inside
    the picture counts. The panel's JavaScript (javascript/later/10-lights.js) computes the same.
    """
    if blur == 0.0:
        return pixels
    height, width = pixels.shape[:2]
    sigma = blur * min(width, height)
    smoothed = np.tensordot(_gaussian(height, sigma), srgb_to_linear(pixels / 255.0), 1)
    smoothed = _gaussian(width, sigma) @ smoothed
    return (255.0 * linear_to_srgb(smoothed.clip(0.0, 1.0))).round().astype(np.uint8)


def _radiance(spec: LightSpec, width: int, height: int, rows: slice) -> NDArray[np.float32]:
    """The spec's light on the pixels of some rows: linear, float32 [rows,width,3], clipped to 0..1."""
    planes = [np.full((len(range(height)[rows]), width), level, np.float32) for level in linear_color(spec.ambient)]
    for light in spec.lights:
        spread = light.spread(width, height, rows)
        for plane, level in zip(planes, np.float32(light.intensity) * linear_color(light.color), strict=True):
            plane += level * spread
    return np.stack(planes, axis=-1).clip(0.0, 1.0)


def _gaussian(count: int, sigma: float) -> NDArray[np.float32]:
    """A matrix that smooths a side of `count` pixels by a Gaussian, float32 [count,count]; its rows sum to 1."""
    at = np.arange(count)
    weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2)
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
