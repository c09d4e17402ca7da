"""Where the light comes from: presets and light specs, rendered to a light map.

A light spec is an ambient colour and any number of lights, added in linear light (IEC 61966-2-1 sRGB primaries).
With u = column / (width - 1), v = row / (height - 1), both 0.5 along a side of one pixel, a light of intensity i
and linear colour c adds `i * c * spread(u, v)`, where

- directional: spread = srgb_to_linear(0.5 + (dx * (u - 0.5) + dy * (v - 0.5)) / (|dx| + |dy|)),
  dx = cos(angle), dy = -sin(angle): an even ramp to the eye, 1 at the nearest corner or edge, 0 at the farthest;
- point: spread = (1 - q^4)^2 / (1 + (4 q)^2) with q = min(|d / radius - hole| / (1 - hole), 1) and d the distance
  from (x, y) in units of the picture's shorter side. Without a hole this is the windowed inverse square of Karis,
  "Real Shading in Unreal Engine 4" (SIGGRAPH 2013), scaled to 1 at the light and 0 from the radius on.

The sum is clipped to 0..1, sRGB-encoded to e, and written as round(255 e), or for a background (FBC) round(32 + 192 e).
The panel's JavaScript (javascript/later/10-lights.js) computes the same.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..color import kelvin_to_linear, srgb_to_linear
from ..errors import LightError, hint, shown
from ..jsontext import read_json

MAX_LIGHTS = 32
MAX_TEXT = 65536
"""characters of a spec as JSON text; 32 lights with every digit that a float has take some 6000"""
MIN_KELVIN, MAX_KELVIN = 1667, 25000

_ALL = slice(None)


@dataclass(frozen=True)
class Directional:
    """Light from one side, like a large window.

    angle: degrees, where the light comes from: 0 right, 90 top, 180 left; any finite number, kept in 0..360.
    color: "#rgb", "#rrggbb" (sRGB) or a temperature, "1667K".."25000K". intensity: 0..10.
    """

    kind: ClassVar[str] = "directional"
    angle: float
    color: str = "#ffffff"
    intensity: float = 1.0

    def __post_init__(self) -> None:
        # Twice, because a tiny negative number modulo 360 rounds to 360 itself.
        object.__setattr__(self, "angle", _number("angle", self.angle, -math.inf, math.inf) % 360.0 % 360.0)
        _check_emission(self)

    def spread(self, width: int, height: int, rows: slice = _ALL) -> NDArray[np.float32]:
        """The share of the light's intensity that pixels of `rows` get: linear light, float32 [rows,width], 0..1."""
        dx, dy = math.cos(math.radians(self.angle)), -math.sin(math.radians(self.angle))
        scale = abs(dx) + abs(dy)
        across = (dx * (positions(width) - 0.5) / scale + 0.5).astype(np.float32)
        down = (dy * (positions(height)[rows] - 0.5) / scale).astype(np.float32)
        return srgb_to_linear((down[:, None] + across[None, :]).clip(0.0, 1.0))


@dataclass(frozen=True)
class Point:
    """Light from one place in (or a little beside) the picture, like a lamp.

    x, y: the place, 0..1 from left to right and from top to bottom, -1..2 allowed.
    radius: where the light ends, in units of the picture's shorter side; above 0, up to 4.
    color: "#rgb", "#rrggbb" (sRGB) or a temperature, "1667K".."25000K". intensity: 0..10.
    hole: 0..0.9; above 0 a ring lamp, brightest at this share of the radius. Its light comes from about the camera.
    """

    kind: ClassVar[str] = "point"
    x: float
    y: float
    radius: float = 0.5
    color: str = "#ffffff"
    intensity: float = 1.0
    hole: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _number("x", self.x, -1.0, 2.0))
        object.__setattr__(self, "y", _number("y", self.y, -1.0, 2.0))
        radius = _number("radius", self.radius, 0.0, 4.0)
        if radius == 0.0:
            raise LightError("radius must be above 0.")
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "hole", _number("hole", self.hole, 0.0, 0.9))
        _check_emission(self)

    def spread(self, width: int, height: int, rows: slice = _ALL) -> NDArray[np.float32]:
        """The share of the light's intensity that pixels of `rows` get: linear light, float32 [rows,width], 0..1."""
        def squares(positions: NDArray[np.float64], at: float, side: int) -> NDArray[np.float32]:
            """Squared distances along one side in units of the radius, none beyond 1: so far out all is dark."""
            distance = np.abs(positions - at) * (side / min(width, height))
            share: NDArray[np.float32] = ((np.minimum(distance, self.radius) / self.radius) ** 2).astype(np.float32)
            return share

        across, down = squares(positions(width), self.x, width), squares(positions(height)[rows], self.y, height)
        q2 = np.minimum(down[:, None] + across[None, :], np.float32(1.0))
        if self.hole:
            q2 = ((np.sqrt(q2) - np.float32(self.hole)) / np.float32(1.0 - self.hole)) ** 2
            q2 = np.minimum(q2, np.float32(1.0))
        rest: NDArray[np.float32] = 1.0 - q2 * q2
        q2 *= 16.0
        q2 += 1.0
        rest *= rest
        rest /= q2
        return rest


Light = Directional | Point
_KINDS: Mapping[str, type[Directional] | type[Point]] = MappingProxyType({"directional": Directional, "point": Point})


@dataclass(frozen=True)
class LightSpec:
    """An ambient colour and up to MAX_LIGHTS lights. Hashable; equal when the same light is described.

    Colours are kept as "#rrggbb" or as a temperature. Made directly or by `from_dict`; both raise LightError,
    which names the field at fault.
    """

    ambient: str = "#000000"
    lights: tuple[Light, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ambient", _color("ambient", self.ambient))
        _check_count(self.lights)
        object.__setattr__(self, "lights", tuple(self.lights))

    @classmethod
    def from_dict(cls, values: Any) -> LightSpec:
        """A spec from its JSON object: `{"ambient": colour, "lights": [{"kind": "point", "x": 0.2, ...}, ...]}`."""
        if not isinstance(values, dict):
            raise LightError(f"the light must be a preset's name or an object, not {shown(values)}.")
        _check_keys("", values, ("ambient", "lights"))
        lights = values.get("lights", ())
        if not isinstance(lights, list | tuple):
            raise LightError(f"lights must be a list, not {shown(lights)}.")
        _check_count(lights)
        return cls(values.get("ambient", "#000000"),
                   tuple(_light_from_dict(f"lights[{i}]", light) for i, light in enumerate(lights)))

    def to_dict(self) -> dict[str, Any]:
        """The spec as its JSON object; `from_dict` gives an equal spec back."""
        return {"ambient": self.ambient,
                "lights": [_light_to_dict(light) for light in self.lights]}


def parse_light(value: object) -> str | LightSpec:
    """What a person or program asked for: a preset's name (returned as it is) or a spec (object, or JSON text of one).

    A spec without any light, like `{}`, is "none". Raises LightError naming the field at fault.
    """
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise LightError(f"the light is {len(value)} characters long. Use at most {MAX_TEXT}.")
        text = value.strip()
        if not text.startswith("{"):
            if text not in PRESETS:
                raise LightError(f"unknown light {shown(text)}. {hint(text, PRESETS)}")
            return text
        value = read_json(text, "the light", LightError,
                          "Write a preset's name or {\"ambient\": ..., \"lights\": [...]}.")
    spec = value if isinstance(value, LightSpec) else LightSpec.from_dict(value)
    return "none" if spec == PRESETS["none"] else spec


def linear_color(color: str) -> NDArray[np.float32]:
    """A colour of a spec in linear light, float32 [3]; a temperature's largest component is 1.

    Raises LightError for what is neither "#rgb", "#rrggbb" nor "1667K".."25000K".
    """
    color = _color("color", color)
    if color.startswith("#"):
        return srgb_to_linear(np.frombuffer(bytes.fromhex(color[1:]), np.uint8) / 255.0)
    return kelvin_to_linear(float(color[:-1]))


def positions(count: int) -> NDArray[np.float64]:
    """Pixel positions along a side of `count` pixels, from 0 to 1; the middle for a single pixel."""
    return np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])


def _light_from_dict(where: str, values: Any) -> Light:
    """One light of a spec; errors start with `where`, its place in the spec."""
    if not isinstance(values, dict):
        raise LightError(f"{where} must be an object, not {shown(values)}.")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise LightError(f"{where}.kind must be one of {', '.join(_KINDS)}, not {shown(kind)}.")
    fields = dataclasses.fields(_KINDS[kind])
    _check_keys(f"{where}.", values, ("kind", *(field.name for field in fields)))
    for field in fields:
        if field.default is dataclasses.MISSING and field.name not in values:
            raise LightError(f"{where}.{field.name} is missing.")
    try:
        return _KINDS[kind](**{key: value for key, value in values.items() if key != "kind"})
    except LightError as error:
        raise LightError(f"{where}.{error}") from None


def _check_count(lights: Sequence[Any]) -> None:
    if len(lights) > MAX_LIGHTS:
        raise LightError(f"lights has {len(lights)} entries. Use at most {MAX_LIGHTS}.")


def _light_to_dict(light: Light) -> dict[str, Any]:
    """A light's JSON object; a lamp without a hole is written as before there were any."""
    values = {"kind": light.kind, **dataclasses.asdict(light)}
    return values if values.get("hole") else {key: value for key, value in values.items() if key != "hole"}


def _check_emission(light: Light) -> None:
    """Colour and intensity, which every kind of light has, checked and made canonical."""
    object.__setattr__(light, "color", _color("color", light.color))
    object.__setattr__(light, "intensity", _number("intensity", light.intensity, 0.0, 10.0))


def _check_keys(prefix: str, values: dict[Any, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            name = key if isinstance(key, str) and len(key) <= 60 else shown(key)
            raise LightError(f"{prefix}{name}: unknown key. {hint(key, known)}")


def _number(name: str, value: Any, low: float, high: float) -> float:
    """A finite number within low..high as a float. Written for JSON values, so true and false are no numbers."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # JSON integers have no limit
            number = math.inf
        if math.isfinite(number) and low <= number <= high:
            return number
    wanted = "a finite number" if math.isinf(low) else f"a number from {low:g} to {high:g}"
    raise LightError(f"{name} must be {wanted}, not {shown(value)}.")


def _color(name: str, value: Any) -> str:
    """A colour as "#rrggbb" in lower case or as a temperature like "3200K"."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if re.fullmatch("#[0-9a-f]{6}", text):
        return text
    if re.fullmatch("#[0-9a-f]{3}", text):
        return "#" + "".join(2 * digit for digit in text[1:])
    if re.fullmatch("[0-9]{1,6}k", text):
        kelvin = int(text[:-1])
        if not MIN_KELVIN <= kelvin <= MAX_KELVIN:
            raise LightError(f"{name} must be a temperature from {MIN_KELVIN}K to {MAX_KELVIN}K, not {shown(value)}.")
        return f"{kelvin}K"
    raise LightError(f"{name} must be a colour like \"#ffcc88\" or a temperature like \"3200K\", not {shown(value)}.")


# The editor's starting points. As names, the sides and ambient are drawn as the reference draws them; see light_map.
PRESETS: Mapping[str, LightSpec] = MappingProxyType({
    "none": LightSpec(),
    "left": LightSpec(lights=(Directional(180),)),
    "right": LightSpec(lights=(Directional(0),)),
    "top": LightSpec(lights=(Directional(90),)),
    "bottom": LightSpec(lights=(Directional(270),)),
    "top-left": LightSpec(lights=(Directional(135),)),
    "top-right": LightSpec(lights=(Directional(45),)),
    "bottom-left": LightSpec(lights=(Directional(225),)),
    "bottom-right": LightSpec(lights=(Directional(315),)),
    "ambient": LightSpec(ambient="#7f7f7f"),
    "rim": LightSpec("#1c1c1c", (Point(0.0, 0.3, 0.6), Point(1.0, 0.3, 0.6))),
    "softbox": LightSpec("#242424", (Point(0.15, 0.15, 2.0, "5600K", 1.2),)),
    "window": LightSpec("#12161c", (Directional(170, "6500K", 0.5), Point(0.0, 0.4, 1.2, "7500K", 0.8))),
    "sunset": LightSpec("#2a1c38", (Directional(350, "2400K", 0.8), Point(1.0, 0.7, 0.9, "2000K", 0.9))),
    "neon pair": LightSpec("#0a0814", (Point(0.0, 0.5, 1.1, "#ff2bd6", 1.4), Point(1.0, 0.5, 1.1, "#18e0ff", 1.4))),
    "front": LightSpec("#202020", (Point(0.5, 0.5, 2.0),)),
    "ring": LightSpec("#202020", (Point(0.5, 0.5, 0.7, hole=0.55),)),
})
