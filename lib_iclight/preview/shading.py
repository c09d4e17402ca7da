"""The sketch: a picture under the lights of a spec, pixel by pixel. The formula is in this package's docstring."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import linear_to_srgb, srgb_to_linear
from ..errors import ImageError
from ..lights import PRESETS, Directional, Light, LightSpec, linear_color, parse_light
from .shape import Shape

AMBIENT_GAIN, LIGHT_GAIN = 3.0, 2.0
"""Linear light of the spec's ambient and of its lights, on a surface that faces them, in units of the photo's own."""
ELEVATION = math.radians(15.0)
"""How far a directional light comes from the camera's side: parallel to the picture only its outline would be lit."""
WRAP = 0.25
"""cos of the angle past 90 degrees at which a surface is dark: no lamp is a point, so shadows begin softly."""
FILL = 0.06
"""The part of a light that comes back from the surroundings and reaches everything."""
SLOPE = 0.4
"""By how much of itself a directional light is stronger at its side of the picture, and weaker at the other."""
LAMP_NEAR, LAMP_FAR = 0.08, 0.28
"""A lamp of radius r stands 0.08 + 0.28 r² shorter sides before the picture: large ones light the front."""
LAMP_FALLOFF = 2.0
"""A lamp's light has fallen to 1 / (1 + (2 q)²) at q of its radius (and further, to 0, at the radius)."""
SHEEN, SHARPNESS = 0.3, 16
"""Strength and exponent of the highlights (Blinn, 1977)."""
DULL = 0.06
"""What is added to the mean of a colour's channels, the factor of its highlights: what is dark in a photo is mostly in
shadow or dull."""
KNEE = 0.6
"""Linear value above which brightness is compressed, towards 1, so that nothing burns out at an edge."""

BAND = 64
"""Rows to work on at once."""
_LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255.0)
_STEPS = 4095
"""The table of the tone curve is over the square root of linear light, 0..2, in so many steps."""

Planes = NDArray[np.float32]


def sketch(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], shape: Shape, light: str | LightSpec,
           background: NDArray[np.uint8] | None = None, color: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """The picture under a light, uint8 sRGB [H, W, 3].

    rgb: uint8 sRGB [H, W, 3]. alpha: float32 [H, W] in 0..1, what of it is lit. shape: of the same picture, of any
    size; its normals are scaled linearly. light: a preset's name or a spec; with "none" the picture keeps its light.
    background: uint8 sRGB [H, W, 3] to put the subject before; without one the picture's own stays, exactly so where
    alpha is 0. color: the subject's own colours at soft edges (`matting.foreground_color`), `rgb` where not given.
    Works in bands of rows, so that a picture of any size needs little more memory than its own.
    Raises ImageError where sizes do not go together, LightError for an unknown light.
    """
    height, width = _checked(rgb, alpha, shape, background, color)
    light = parse_light(light)
    spec = PRESETS[light] if isinstance(light, str) else light
    color = rgb if color is None else color
    done = np.empty_like(rgb)
    normals_of = _stretched(shape.normals, height, width)
    across = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width)

    def work(rows: slice) -> None:
        there = alpha[rows, :, None]
        if light == "none":
            lit: NDArray[np.float32] | NDArray[np.uint8] = color[rows]
        else:
            down = ((np.arange(rows.start, min(rows.stop, height)) + 0.5) / height).astype(np.float32)
            normals = normals_of(rows)
            planes = _LINEAR_OF_CODE.take(color[rows].transpose(2, 0, 1))
            lit = _tone(shade(planes, normals, shape.own, spec, across, down, width / height))
        if background is None:
            behind = np.maximum(rgb[rows] - there * color[rows], 0.0)
        else:
            behind = (1.0 - there) * background[rows]
        done[rows] = (behind + there * lit + np.float32(0.5)).clip(0, 255)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (slice(top, top + BAND) for top in range(0, height, BAND))))
    return done


def shade(color: Planes, normals: Planes, own: tuple[float, float], spec: LightSpec, across: NDArray[np.float32],
          down: NDArray[np.float32], aspect: float) -> Planes:
    """Linear light [3, h, w] of colours, linear [3, h, w], on surfaces with unit normals [3, h, w]; not compressed yet.

    own: the photo's own light (see `Shape.own`). across [w], down [h]: the pixels' places, 0..1, in a picture `aspect`
    times as wide as high. Lights add: with lights a and b it is the sum of those with a and with b, when the ambient is
    black.
    """
    total = np.empty_like(color)
    total[:] = (np.float32(AMBIENT_GAIN) * linear_color(spec.ambient))[:, None, None]
    shine = np.zeros_like(color)
    for light in spec.lights:
        toward, strength = rays(light, across, down, aspect)
        cosine = normals[0] * toward[0] + normals[1] * toward[1] + normals[2] * toward[2]
        soft = ((cosine + WRAP) * (1.0 / (1.0 + WRAP))).clip(0.0, 1.0)
        soft *= 1.0 - FILL
        soft += FILL
        soft *= strength
        half = 1.0 / np.sqrt(2.0 + 2.0 * toward[2])
        glance = ((cosine + normals[2]) * half).clip(0.0, 1.0)
        for _ in range(int(math.log2(SHARPNESS))):
            glance *= glance
        glance *= strength
        tint = np.float32(LIGHT_GAIN * light.intensity) * linear_color(light.color)
        for channel in range(3):
            total[channel] += tint[channel] * soft
            shine[channel] += np.float32(SHEEN) * tint[channel] * glance
    if any(own):
        total *= np.exp(-(np.float32(own[0]) * normals[0] + np.float32(own[1]) * normals[1]))
    total *= color
    shine *= (color[0] + color[1] + color[2]) * np.float32(1.0 / 3.0) + np.float32(DULL)
    total += shine
    return total


def rays(light: Light, across: NDArray[np.float32], down: NDArray[np.float32], aspect: float
         ) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]:
    """Unit vectors from each pixel to a light (x right, y up, z to the camera) and how strong it is there, 0 and up.

    Each broadcasts to [h, w].
    """
    u, v = across[None, :], down[:, None]
    if isinstance(light, Directional):
        x, y = math.cos(math.radians(light.angle)), math.sin(math.radians(light.angle))
        ramp = (x * (u - 0.5) - y * (v - 0.5)) / (abs(x) + abs(y))
        flat = math.cos(ELEVATION)
        one = np.ones((1, 1), np.float32)
        return (np.float32(flat * x) * one, np.float32(flat * y) * one, np.float32(math.sin(ELEVATION)) * one), (
            1.0 + 2.0 * SLOPE * ramp).astype(np.float32)
    wide, high = (aspect, 1.0) if aspect >= 1.0 else (1.0, 1.0 / aspect)
    x, y = np.float32(light.x * wide) - u * np.float32(wide), v * np.float32(high) - np.float32(light.y * high)
    flat_distance = x * x + y * y
    q = np.minimum(flat_distance / np.float32(light.radius**2), 1.0)
    strength = (1.0 - q * q) ** 2 / (1.0 + LAMP_FALLOFF**2 * q)
    if light.hole:  # a ring lamp is about the camera
        zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
        return (zero, zero, one), one
    before = np.float32(LAMP_NEAR + LAMP_FAR * light.radius**2)
    length = 1.0 / np.sqrt(flat_distance + before * before)
    return (x * length, y * length, before * length), strength.astype(np.float32)


def _curve() -> NDArray[np.float32]:
    """Codes 0..255, not rounded, by the square root of linear light, 0..2."""
    linear = (2.0 * np.arange(_STEPS + 1) / _STEPS) ** 2
    over = np.maximum(linear - KNEE, 0.0) / (1.0 - KNEE)
    return (255.0 * linear_to_srgb(np.minimum(linear, KNEE) + (1.0 - KNEE) * (1.0 - np.exp(-over)))).astype(np.float32)


_CODES = _curve()


def _tone(linear: Planes) -> NDArray[np.float32]:
    """Linear planes [3, h, w] as codes [h, w, 3], 0..255, not rounded, bright values compressed."""
    place = np.sqrt(linear) * np.float32(_STEPS / 2.0) + np.float32(0.5)
    return _CODES.take(place.astype(np.int32), mode="clip").transpose(1, 2, 0)


def _stretched(normals: NDArray[np.float32], height: int, width: int) -> Callable[[slice], Planes]:
    """rows -> unit normals [3, rows, width] of a picture of `height` x `width`, linearly between those of [h, w, 3]."""
    own_height, own_width = normals.shape[:2]
    planes = normals.transpose(2, 0, 1)
    if (own_height, own_width) == (height, width):
        return lambda rows: planes[:, rows]
    wide = planes if own_width == width else np.stack([
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, own_height), Image.Resampling.BILINEAR))
        for plane in planes])
    place = ((np.arange(height) + 0.5) * (own_height / height) - 0.5).clip(0.0, own_height - 1.0)
    first = np.minimum(place.astype(np.intp), max(own_height - 2, 0))
    second = np.minimum(first + 1, own_height - 1)
    share = (place - first).astype(np.float32)[None, :, None]

    def rows_of(rows: slice) -> Planes:
        mixed = wide[:, first[rows]] * (1.0 - share[:, rows]) + wide[:, second[rows]] * share[:, rows]
        mixed /= np.sqrt(mixed[0] ** 2 + mixed[1] ** 2 + mixed[2] ** 2) + np.float32(1e-6)
        return np.asarray(mixed, np.float32)

    return rows_of


def _checked(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], shape: Shape,
             background: NDArray[np.uint8] | None, color: NDArray[np.uint8] | None) -> tuple[int, int]:
    height, width = rgb.shape[:2]
    for what, other in (("alpha", alpha), ("background", background), ("subject's own colours", color)):
        if other is not None and other.shape[:2] != (height, width):
            raise ImageError(f"the {what} has {other.shape[1]} x {other.shape[0]} pixels and the picture "
                             f"{width} x {height}. Give both the same size.")
    own_height, own_width = shape.normals.shape[:2]
    if abs(own_width * height - own_height * width) > max(width, height) + 0.01 * own_width * height:
        raise ImageError(f"the shape was made for a picture of other proportions ({own_width} x {own_height}) than this "
                         f"one ({width} x {height}). Use the normal map or shape of this very picture.")
    return height, width
