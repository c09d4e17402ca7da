"""The sketch: a picture under the lights of a spec, pixel by pixel. The formula is in this package's docstring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import linear_to_srgb, srgb_to_linear
from ..errors import ImageError
from ..lights import PRESETS, Directional, Light, LightSpec, Point, linear_color, parse_light
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

PIXELS = 16384
"""of a band of rows that is worked on at once: what is made of them in between stays in a processor's cache"""
_LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255.0)
_DROPPED = 14
"""bits of a float32, of its 23 of mantissa, that the tone curve's table passes over: steps of 1 / 512"""

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
    spec = _spec(light)
    done = np.empty_like(rgb)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda make: make(done).light(spec, done), _bands(rgb, alpha, shape, background, color)))
    return done


class Sketcher:
    """A picture that is made ready once, for any number of lights; it takes some 50 bytes of memory a pixel.

    For the arguments, and what they raise, see `sketch`.
    """

    def __init__(self, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], shape: Shape,
                 background: NDArray[np.uint8] | None = None, color: NDArray[np.uint8] | None = None) -> None:
        self._behind = np.empty_like(rgb)
        with ThreadPoolExecutor(2) as pool:
            self._bands = list(pool.map(lambda make: make(self._behind),
                                        _bands(rgb, alpha, shape, background, color)))

    def under(self, light: str | LightSpec) -> NDArray[np.uint8]:
        """The picture under a light, as `sketch` makes it."""
        spec = _spec(light)
        done = self._behind.copy()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda band: band.light(spec, done), self._bands))
        return done


def shade(color: Planes, normals: Planes, own: tuple[float, float], spec: LightSpec, across: NDArray[np.float32],
          down: NDArray[np.float32], aspect: float) -> Planes:
    """Linear light [3, h, w] of colours, linear [3, h, w], on surfaces with unit normals [3, h, w]; not compressed yet.

    own: the photo's own light (see `Shape.own`). across [w], down [h]: the pixels' places, 0..1, in a picture `aspect`
    times as wide as high. Lights add: with lights a and b it is the sum of those with a and with b, when the ambient is
    black.
    """
    return _Surface(color, normals, own).lit(spec, across, down, aspect)


class _Surface:
    """Colours on surfaces, for any light; see `shade`."""

    def __init__(self, color: Planes, normals: Planes, own: tuple[float, float]) -> None:
        self._shape = color.shape
        self._normals = np.concatenate([normals.reshape(3, -1), np.ones((1, normals[0].size), np.float32)])
        """and ones: what is added to a cosine goes along in one product"""
        flat = color.reshape(3, -1)
        self._gloss = (flat[0] + flat[1] + flat[2]) * np.float32(SHEEN / 3.0) + np.float32(SHEEN * DULL)
        self._paint = flat
        if any(own):
            x, y = self._normals[0], self._normals[1]
            self._paint = flat * np.exp(-(np.float32(own[0]) * x + np.float32(own[1]) * y))

    def lit(self, spec: LightSpec, across: NDArray[np.float32], down: NDArray[np.float32], aspect: float) -> Planes:
        """Linear light [3, h, w]."""
        count = len(spec.lights)
        soft = np.empty((count + 1, self._gloss.size), np.float32)
        glance = np.empty((count, self._gloss.size), np.float32)
        tints = np.empty((3, count + 1), np.float32)
        soft[count] = 1.0
        tints[:, count] = np.float32(AMBIENT_GAIN) * linear_color(spec.ambient)
        for number, light in enumerate(spec.lights):
            tints[:, number] = np.float32(LIGHT_GAIN * light.intensity) * linear_color(light.color)
            if isinstance(light, Point) and not light.hole:
                self._under_lamp(light, across, down, aspect, soft[number], glance[number])
            else:
                self._under_far(light, across, down, soft[number], glance[number])
        total = tints @ soft
        total *= self._paint
        if count:
            # A product of matrices takes ten times as long as this where the inner side is 1.
            shine = tints[:, :1] * glance if count == 1 else tints[:, :count] @ glance
            shine *= self._gloss
            total += shine
        return total.reshape(self._shape)

    def _under_far(self, light: Light, across: NDArray[np.float32], down: NDArray[np.float32],
                   soft: NDArray[np.float32], glance: NDArray[np.float32]) -> None:
        """Of a light from one direction: each pixel's diffuse and sheen, written to `soft` and `glance` [n]."""
        x = y = 0.0
        if isinstance(light, Directional):
            x, y = math.cos(math.radians(light.angle)), math.sin(math.radians(light.angle))
        flat, z = (math.cos(ELEVATION), math.sin(ELEVATION)) if isinstance(light, Directional) else (0.0, 1.0)
        diffuse, half = (1.0 - FILL) / (1.0 + WRAP), 1.0 / math.sqrt(2.0 + 2.0 * z)
        rows = np.array([[diffuse * flat * x, diffuse * flat * y, diffuse * z, diffuse * WRAP + FILL],
                         [half * flat * x, half * flat * y, half * (z + 1.0), 0.0]], np.float32) @ self._normals
        np.clip(rows[0], np.float32(FILL), np.float32(1.0), out=soft)
        _sharpened(rows[1], glance)
        if isinstance(light, Directional):
            slope = np.float32(2.0 * SLOPE / (abs(x) + abs(y)))
            strength = (slope * np.float32(x)) * (across - np.float32(0.5)) + (
                1.0 - slope * np.float32(y) * (down - np.float32(0.5)))[:, None]
            soft *= strength.ravel()
            glance *= strength.ravel()

    def _under_lamp(self, light: Point, across: NDArray[np.float32], down: NDArray[np.float32], aspect: float,
                    soft: NDArray[np.float32], glance: NDArray[np.float32]) -> None:
        """The same of a lamp at a place."""
        wide, high = (aspect, 1.0) if aspect >= 1.0 else (1.0, 1.0 / aspect)
        right = np.float32(light.x * wide) - across * np.float32(wide)
        above = (down * np.float32(high) - np.float32(light.y * high))[:, None]
        distance: NDArray[np.float32] = np.square(right) + np.square(above)
        before = np.float32(LAMP_NEAR + LAMP_FAR * light.radius**2)
        x, y, z = self._normals[:3].reshape(3, *distance.shape)
        cosine: NDArray[np.float32] = x * right
        cosine += y * above
        cosine += z * before
        length: NDArray[np.float32] = distance + before * before
        np.sqrt(length, out=length)
        cosine /= length
        q = distance
        q *= 1.0 / light.radius**2
        np.minimum(q, np.float32(1.0), out=q)
        strength: NDArray[np.float32] = 1.0 - q * q
        strength *= strength
        q *= LAMP_FALLOFF**2
        q += 1.0
        strength /= q
        # The half vector's length is sqrt(2 + 2 L_z), L_z = before / length.
        np.divide(np.float32(2.0) * before, length, out=length)
        length += 2.0
        np.sqrt(length, out=length)
        half: NDArray[np.float32] = cosine + z
        half /= length
        _sharpened(half.ravel(), glance)
        diffuse = (1.0 - FILL) / (1.0 + WRAP)
        cosine *= diffuse
        cosine += diffuse * WRAP + FILL
        np.clip(cosine.ravel(), np.float32(FILL), np.float32(1.0), out=soft)
        soft *= strength.ravel()
        glance *= strength.ravel()


def _sharpened(cosine: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """max(cosine, 0) to the power SHARPNESS."""
    np.clip(cosine, np.float32(0.0), np.float32(1.0), out=out)
    for _ in range(int(math.log2(SHARPNESS))):
        out *= out


class _Band:
    """Some rows of a picture, ready for any light."""

    def __init__(self, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], color: NDArray[np.uint8],
                 background: NDArray[np.uint8] | None, normals: Planes, own: tuple[float, float], rows: slice,
                 size: tuple[int, int], done: NDArray[np.uint8]) -> None:
        """All of these rows; size: of the whole picture, width and height; done: what is behind is written there."""
        width, height = size
        if background is None:
            behind = np.maximum(rgb.transpose(2, 0, 1) - alpha * color.transpose(2, 0, 1), 0.0)
        else:
            behind = (1.0 - alpha) * background.transpose(2, 0, 1)
        behind += np.float32(0.5)  # so that cutting off rounds
        _interleave(behind, done[rows])
        seen = np.flatnonzero(alpha.any(axis=0))
        columns = slice(seen[0], seen[-1] + 1) if seen.size else slice(0, 0)
        """the rest of the rows no light changes"""
        self._place, self._aspect = (rows, columns), width / height
        self._across = ((np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width))[columns]
        self._down = ((np.arange(rows.start, rows.stop) + 0.5) / height).astype(np.float32)
        self._behind = np.ascontiguousarray(behind[..., columns], np.float32)
        self._alpha = np.ascontiguousarray(alpha[:, columns])
        self._color = color[:, columns]
        self._surface = _Surface(_LINEAR_OF_CODE.take(self._color.transpose(2, 0, 1)), normals[..., columns], own)

    def light(self, spec: LightSpec | None, done: NDArray[np.uint8]) -> None:
        """Write these rows of `done`, which has what is behind, under a light; None: the picture's own."""
        if not self._across.size:
            return
        if spec is None:
            lit = self._color.astype(np.float32).transpose(2, 0, 1) * self._alpha
        else:
            lit = _tone(self._surface.lit(spec, self._across, self._down, self._aspect))
            lit *= self._alpha
        lit += self._behind
        _interleave(lit, done[self._place])


def _interleave(planes: Planes, done: NDArray[np.uint8]) -> None:
    """Codes [3, h, w], from 0 on, cut off and written to uint8 [h, w, 3]."""
    codes = np.minimum(planes, np.float32(255.0)).astype(np.uint8)
    for channel, plane in enumerate(codes):  # a third of the time of a transposed copy
        done[..., channel] = plane


def _bands(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], shape: Shape, background: NDArray[np.uint8] | None,
           color: NDArray[np.uint8] | None) -> Iterator[Callable[[NDArray[np.uint8]], _Band]]:
    """What makes each of a picture's bands, and writes what is behind it into a picture of its size. Raises ImageError,
    before the first.
    """
    height, width = _checked(rgb, alpha, shape, background, color)
    own_color = rgb if color is None else color
    normals_of = _stretched(shape.normals, height, width)
    step = max(1, PIXELS // width)

    def make(rows: slice, done: NDArray[np.uint8]) -> _Band:
        behind = None if background is None else background[rows]
        return _Band(rgb[rows], alpha[rows], own_color[rows], behind, normals_of(rows), shape.own, rows,
                     (width, height), done)

    return (partial(make, slice(top, min(top + step, height))) for top in range(0, height, step))


def _spec(light: str | LightSpec) -> LightSpec | None:
    """A light's spec; None for the picture's own. Raises LightError."""
    parsed = parse_light(light)
    if parsed == "none":
        return None
    return PRESETS[parsed] if isinstance(parsed, str) else parsed


def _curve() -> NDArray[np.float32]:
    """Codes 0..255, not rounded, by the upper bits of linear light as a float32, from 0 to 4: see `_tone`."""
    bits = (np.arange((int(np.float32(4.0).view(np.int32)) >> _DROPPED) + 1, dtype=np.int32) << _DROPPED)
    bits += 1 << (_DROPPED - 1)  # the middle of what has these bits
    codes = np.zeros(len(bits), np.float32)
    seen = bits >= np.float32(2.0**-20).view(np.int32)  # what is darker is black
    linear = np.minimum(bits[seen].view(np.float32), np.float32(4.0))
    over = np.maximum(linear - KNEE, 0.0) / (1.0 - KNEE)
    codes[seen] = 255.0 * linear_to_srgb(np.minimum(linear, KNEE) + (1.0 - KNEE) * (1.0 - np.exp(-over)))
    return codes


_CODES = _curve()


def _tone(linear: Planes) -> Planes:
    """Linear light, 0 and up, as codes 0..255, not rounded, bright values compressed.

    A float's bits grow as it does, so its upper ones are its place in a table whose steps are even in stops.
    """
    return _CODES.take(linear.view(np.int32) >> _DROPPED, mode="clip")


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
        raise ImageError(f"the shape was made for a picture of other proportions ({own_width} x {own_height}) than "
                         f"this one ({width} x {height}). Use the normal map or shape of this very picture.")
    return height, width
