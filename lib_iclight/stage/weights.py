"""From a light to weights: how strong each light of a set has to shine to make a light that is not among them.

A weight is linear RGB; 1 is the light as in its picture. A set's own single lights are taken to be white and of
intensity 1, its ambient picture to be of the colour #7f7f7f, as the presets of those names are. Then, with a light
spec's light of linear colour c and intensity i:

- directional, angle a: weight i * c, shared among the lights by `shares` of the direction (cos a, sin a, 0);
- point at (x, y) with radius r: weight g * i * c, shared by `shares` of the direction (X, Y, LAMP_HEIGHT), where X and
  Y are measured from the picture's middle in units of its shorter side. g = (mean of the lamp's light map over the
  picture, at GRID x GRID points) / RAMP: as much light as the map of a directional light of the same intensity has;
- ambient colour c: weight c / linear(#7f7f7f) on the ambient picture; of a set without one, c / (RAMP * N) on each of
  its N lights that have a direction.

A set that holds a picture of exactly this light uses that one alone. JavaScript computes the same for the desk.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..color import srgb_to_linear
from ..errors import StageError
from ..jsontext import read_json
from ..lights import PRESETS, LightSpec, Point, linear_color, parse_light
from .rig import Direction, Lamp, directions, lamp_direction, side_direction

Weights = NDArray[np.float32]
"""linear RGB for each light of a set, [L, 3], 0..MAX_WEIGHT"""

MAX_WEIGHT = 1e6
GRID = 16
"""points to a side at which a lamp's light is averaged"""
RAMP = 0.3103
"""mean of a directional light's map along its direction: the integral of sRGB decoding over 0..1"""
AMBIENT = float(srgb_to_linear(127 / 255))
"""linear value of #7f7f7f, the colour of the preset "ambient\""""
BEHIND = 4
"""how narrow the region behind the subject is from where light reaches all sides alike"""
NEIGHBOURS = 3
"""real lamps that share a direction between them"""


def weights_of(light: Any, lamps: Sequence[Lamp], aspect: float = 1.0) -> Weights:
    """The weights [L, 3] that make `light` of the lamps of a set; the formula is the module's.

    light: a preset's name, a light spec, its JSON object or text. aspect: the pictures' width / height.
    Raises LightError for what is no light, StageError for "none" and for a set without a light that has a direction.
    """
    light = parse_light(light)
    if light == "none":
        raise StageError("a mixture needs a light; none is no light. Name one, such as \"left\", or give weights.")
    weights = np.zeros((len(lamps), 3), np.float32)
    for number, lamp in enumerate(lamps):
        if not isinstance(lamp.light, Direction) and _spec(lamp.light) == _spec(light):
            weights[number] = 1.0
            return weights
    spec = _spec(light)
    placed = [number for number, lamp in enumerate(lamps) if lamp.direction is not None and not lamp.ambient]
    if not placed and (spec.lights or not any(lamp.ambient for lamp in lamps)):
        raise StageError("no light of this stage has a direction, so this light cannot be mixed. "
                         "Give weights by name.")
    ambient = linear_color(spec.ambient)
    fill = [number for number, lamp in enumerate(lamps) if lamp.ambient]
    if fill:
        weights[fill] += ambient / np.float32(AMBIENT * len(fill))
    else:
        weights[placed] += ambient / np.float32(RAMP * len(placed))
    for one in spec.lights:
        strength = np.float32(one.intensity) * linear_color(one.color)
        if isinstance(one, Point):
            strength = strength * np.float32(_lamp_light(one, aspect) / RAMP)
            toward = lamp_direction(one.x, one.y, aspect)
        else:
            toward = side_direction(one.angle)
        weights += shares(np.array([toward]), lamps)[0][:, None].astype(np.float32) * strength
    return weights


def shares(toward: NDArray[np.float64], lamps: Sequence[Lamp]) -> NDArray[np.float64]:
    """How the lamps share light from each of the unit vectors `toward` [M, 3]: [M, L], each row 0..1 with the sum 1.

    Of real lamps (three or more with true directions) the NEIGHBOURS nearest share by ((R - t) / (R t))^2, t being the
    angle to the lamp and R that to the next lamp after them, normalised (Franke and Nielson, "Smooth interpolation
    of large sets of scattered data", 1980): all of it goes to a lamp that stands exactly there.

    Of drawn lights, N sides in the picture's plane and perhaps ambient: ambient, which stands for the front, gets
    max(z, 0)^((N - 1) / 2), so that light from everywhere makes all weights equal, and the two sides next to the
    azimuth share the rest by sin(t2) : sin(t1), t1 and t2 being the angles to them (vector base amplitude panning,
    Pulkki 1997), which keeps the direction; by t2 : t1 where they are half a turn or more apart. Of light from behind,
    the share max(-z, 0)^BEHIND goes to all sides alike, as a rim, so that what passes behind does not jump from side to
    side.
    """
    sides = [number for number, lamp in enumerate(lamps) if lamp.direction is not None and not lamp.ambient]
    fill = [number for number, lamp in enumerate(lamps) if lamp.ambient]
    result = np.zeros((len(toward), len(lamps)))
    if sum(lamp.true for lamp in lamps) >= 3:
        real = [number for number in sides if lamps[number].true]
        result[:, real] = _among_real(toward, directions([lamps[number] for number in real]))
        return result
    if not sides:
        result[:, fill] = 1.0 / max(len(fill), 1)
        return result
    front = np.maximum(toward[:, 2], 0.0) ** ((len(sides) - 1) / 2) if fill else np.zeros(len(toward))
    if fill:
        result[:, fill] = (front / len(fill))[:, None]
    behind = np.maximum(-toward[:, 2:], 0.0) ** BEHIND
    split = _among_sides(toward, directions([lamps[one] for one in sides])) * (1.0 - behind) + behind / len(sides)
    result[:, sides] = (1.0 - front)[:, None] * split
    return result


def from_names(values: Mapping[str, Any], lamps: Sequence[Lamp]) -> Weights:
    """Weights [L, 3] from an object of names: `{"left": [1, 0.5, 0.2], "ambient": 0.3}`; lights not named are off.

    Raises StageError for an unknown name, and for what is not one number or three, finite and from 0 to MAX_WEIGHT.
    """
    if isinstance(values, str):
        values = read_json(values, "the weights' object", StageError,
                           "Write {\"left\": [1, 0.5, 0.2], \"ambient\": 0.3}.")
    if not isinstance(values, Mapping):
        raise StageError("the weights must be an object of names, like {\"left\": 1, \"ambient\": 0.3}.")
    names = [lamp.name for lamp in lamps]
    weights = np.zeros((len(lamps), 3), np.float32)
    for name, value in values.items():
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It has: {', '.join(names)}."
            raise StageError(f"weights: the stage has no light called {str(name)!r:.60}. {hint}")
        parts = list(value) if isinstance(value, list | tuple) else [value]
        if len(parts) not in (1, 3) or not all(_is_weight(part) for part in parts):
            raise StageError(f"weights: {name} must be one number or three (red, green, blue), "
                             f"from 0 to {MAX_WEIGHT:g}.")
        weights[names.index(name)] = parts
    return checked(weights, len(lamps))


def to_names(weights: Weights, lamps: Sequence[Lamp]) -> dict[str, list[float]]:
    """The weights as the object that `from_names` reads; lights that are off are left out."""
    return {lamp.name: [float(f"{value:.6g}") for value in row]
            for lamp, row in zip(lamps, weights, strict=True) if row.any()}


def checked(weights: NDArray[Any], count: int) -> Weights:
    """Weights as float32 [L, 3]. Raises StageError where they are not such, or all are 0."""
    if weights.shape != (count, 3):
        raise StageError(f"{count} lights need weights of shape [{count}, 3], not {list(weights.shape)}.")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() > MAX_WEIGHT:
        raise StageError(f"weights must be finite numbers from 0 to {MAX_WEIGHT:g}.")
    if not weights.any():
        raise StageError("all weights are 0, so there is no light. Give at least one light a weight.")
    return weights.astype(np.float32)


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) \
        and (isinstance(value, int) or math.isfinite(value)) and 0 <= value <= MAX_WEIGHT


def _spec(light: str | LightSpec) -> LightSpec:
    return PRESETS[light] if isinstance(light, str) else light


def _lamp_light(lamp: Point, aspect: float) -> float:
    """Mean of a lamp's light map over the picture, at the middles of GRID x GRID cells."""
    middles = (np.arange(GRID) + 0.5) / GRID
    distance = np.hypot((middles[None, :] - lamp.x) * max(aspect, 1.0),
                        (middles[:, None] - lamp.y) * max(1.0 / aspect, 1.0))
    q = np.minimum(distance, lamp.radius) / lamp.radius
    return float(((1.0 - q**4) ** 2 / (1.0 + (4.0 * q) ** 2)).mean())


def _among_real(toward: NDArray[np.float64], stand: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares [M, L] of real lamps that stand at [L, 3]; see `shares`."""
    # From the chord, because the arc cosine is blind to small angles.
    chord = np.linalg.norm(toward[:, None] - stand[None], axis=2)
    angle = np.maximum(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)), 1e-6)
    count = stand.shape[0]
    reach = np.sort(angle, axis=1)[:, [NEIGHBOURS]] if count > NEIGHBOURS else np.full((len(toward), 1), math.pi)
    weight = (np.maximum(reach - angle, 0.0) / (reach * angle)) ** 2
    total = weight.sum(axis=1, keepdims=True)
    alike = (angle <= angle.min(axis=1, keepdims=True) + 1e-9).astype(np.float64)  # all of them at the same angle
    weight = np.where(total > 0.0, weight, alike)
    result: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return result


def _among_sides(toward: NDArray[np.float64], stand: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares [M, N] of lights that stand in the picture's plane, by azimuth; see `shares`."""
    count, turn = len(stand), 2.0 * math.pi
    azimuth = np.arctan2(stand[:, 1], stand[:, 0]) % turn
    order = np.argsort(azimuth)
    around = azimuth[order]
    result = np.zeros((len(toward), count))
    asked = np.arctan2(toward[:, 1], toward[:, 0]) % turn
    after = np.searchsorted(around, asked, side="right") % count
    before = (after - 1) % count
    first, second = (asked - around[before]) % turn, (around[after] - asked) % turn
    gap = first + second
    one, two = np.where(gap < math.pi - 1e-6, (np.sin(second), np.sin(first)), (second, first))
    total = one + two
    rows = np.arange(len(toward))
    same = total < 1e-12  # a single side, met exactly
    result[rows, order[before]] += np.where(same, 1.0, one / np.where(same, 1.0, total))
    result[rows, order[after]] += np.where(same, 0.0, two / np.where(same, 1.0, total))
    result[np.hypot(toward[:, 0], toward[:, 1]) < 1e-9] = 1.0 / count
    return result
