"""The lights of a stage: what each is called, and where it stands.

Directions are unit vectors from the subject towards the light: x right, y up, z to the camera. A light that IC-Light
drew has no exact direction; it is given a nominal one. "left" is (-1, 0, 0), for a light map knows the picture's plane
only, and ambient light is (0, 0, 1): light from the camera's side has no place in a light map and ambient stands for
it. A photographed lamp has a true direction, and only such lights serve to measure normals by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..color import LUMINANCE
from ..errors import LightError, StageError
from ..lights import PRESETS, LightSpec, Point, linear_color, parse_light
from ..settings import STAGES

LAMP_HEIGHT = 0.25
"""How far before the subject a lamp of a light spec stands, in units of the picture's shorter side."""


@dataclass(frozen=True)
class Direction:
    """Where a real lamp stood: a unit vector towards it. Any length is taken and made 1.

    Raises StageError for (0, 0, 0) and for what is not three finite numbers.
    """

    x: float
    y: float
    z: float

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.z)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e100 for v in values):
            raise StageError("a light's direction must be three finite numbers: x right, y up, z to the camera.")
        length = math.hypot(*values)
        if length < 1e-9:
            raise StageError("a light's direction is 0, 0, 0. Write the vector from the subject towards the lamp.")
        for name, value in zip("xyz", values, strict=True):
            object.__setattr__(self, name, value / length)

    @property
    def vector(self) -> tuple[float, float, float]:
        """(x, y, z), of length 1."""
        return (self.x, self.y, self.z)


StageLight = str | LightSpec | Direction
"""a preset's name, a light spec, or where a photographed lamp stood"""


@dataclass(frozen=True)
class Lamp:
    """One light of a set, lit alone in its picture."""

    name: str
    light: StageLight

    @property
    def true(self) -> bool:
        """Whether the direction is that of a real lamp."""
        return isinstance(self.light, Direction)

    @property
    def ambient(self) -> bool:
        """Whether it is light from everywhere, which stands for light from the camera's side."""
        spec = self._spec
        return spec is not None and not spec.lights

    @property
    def direction(self) -> tuple[float, float, float] | None:
        """A unit vector towards the light; None for a spec whose lights come from all sides alike."""
        if isinstance(self.light, Direction):
            return self.light.vector
        spec = self._spec
        assert spec is not None
        if not spec.lights:
            return (0.0, 0.0, 1.0)
        total = np.zeros(3)
        for light in spec.lights:
            strength = light.intensity * float(LUMINANCE @ linear_color(light.color))
            toward = lamp_direction(light.x, light.y) if isinstance(light, Point) else side_direction(light.angle)
            total += strength * np.array(toward)
        length = float(np.linalg.norm(total))
        return None if length < 1e-6 else (float(total[0] / length), float(total[1] / length), float(total[2] / length))

    @property
    def _spec(self) -> LightSpec | None:
        if isinstance(self.light, Direction):
            return None
        return PRESETS[self.light] if isinstance(self.light, str) else self.light

    def to_json(self) -> Any:
        """The light as stage.json has it."""
        if isinstance(self.light, Direction):
            return {"direction": list(self.light.vector)}
        return self.light.to_dict() if isinstance(self.light, LightSpec) else self.light


def side_direction(angle: float) -> tuple[float, float, float]:
    """The direction of light from a side, in the picture's plane; angle in degrees, 0 right, 90 top."""
    turn = math.radians(angle)
    return (math.cos(turn), math.sin(turn), 0.0)


def lamp_direction(x: float, y: float, aspect: float = 1.0) -> tuple[float, float, float]:
    """The direction, from the picture's middle, of a lamp at (x, y), 0..1 from left to right and top to bottom.

    It stands LAMP_HEIGHT before the picture. aspect: width / height.
    """
    across, up, out = (x - 0.5) * max(aspect, 1.0), (0.5 - y) * max(1.0 / aspect, 1.0), LAMP_HEIGHT
    length = math.hypot(across, up, out)
    return (across / length, up / length, out / length)


def light_from_json(where: str, value: Any) -> StageLight:
    """A picture's "light" in stage.json: a preset's name, a spec, or {"direction": [x, y, z]}. Raises StageError."""
    if isinstance(value, dict) and "direction" in value:
        direction = value["direction"]
        if not isinstance(direction, list | tuple) or len(direction) != 3:
            raise StageError(f"{where}: a direction is a list of three numbers, [x, y, z].")
        try:
            return Direction(*direction)
        except StageError as error:
            raise StageError(f"{where}: {error}") from None
    try:
        light = parse_light(value)
    except LightError as error:
        raise StageError(f"{where}: {error}") from None
    if light == "none":
        raise StageError(f"{where}: a picture of a stage needs a light; none is no light. Name one, such as \"left\".")
    return light


def rig(lights: Iterable[StageLight | tuple[str, StageLight]]) -> tuple[Lamp, ...]:
    """A rig of any single lights: presets' names, or pairs of a name and a light. Raises StageError."""
    lamps = []
    for number, entry in enumerate(lights):
        if isinstance(entry, tuple):
            name, light = entry
        elif isinstance(entry, str):
            name, light = entry, entry
        else:
            name, light = f"light {number + 1}", entry
        if not isinstance(light, Direction):
            light = light_from_json(f"light {name!r}", light)
        lamps.append(Lamp(name, light))
    check_names([lamp.name for lamp in lamps])
    return tuple(lamps)


def check_names(names: Sequence[str]) -> None:
    """Raise StageError for no picture at all, and for an empty name or two of one name."""
    if not names:
        raise StageError("the stage has no pictures. It needs one for each light.")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise StageError("a picture of the stage has no name. Give each a name of its own.")
        if name in seen:
            raise StageError(f"two pictures of the stage are called {name!r}. Give each a name of its own.")
        seen.add(name)


def directions(lamps: Sequence[Lamp]) -> NDArray[np.float64]:
    """The lamps' directions [L, 3]; a row of NaN for a lamp that has none."""
    return np.array([lamp.direction or (math.nan,) * 3 for lamp in lamps])


FOUR = rig(STAGES["4"])
"""the four sides, as IC-Light's demo relights for its normals, and ambient"""
EIGHT = rig(STAGES["8"])
"""the sides, the corners and ambient"""
