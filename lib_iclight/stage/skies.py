"""Three skies made by formula, to light a set by without any file.

The skies' luminance is the CIE's standard general sky (CIE S 011 / ISO 15469:2004):
L ~ (1 + a exp(b / cos Z)) * (1 + c (exp(d X) - exp(d pi / 2)) + e cos^2 X), Z being the angle from the zenith and X that
from the sun; its five constants are the standard's. Their colours, and those of sun and ground, are ours.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..color import kelvin_to_linear
from ..errors import StageError
from .environment import Environment, from_panorama
from .rig import side_direction

SIZE = 256
"""height of a made panorama in pixels"""


class _Sky(NamedTuple):
    """a..e: the standard's constants. Angles in degrees, temperatures in kelvin, radiances linear."""

    constants: tuple[float, float, float, float, float]
    zenith: float
    """temperature of the sky overhead"""
    low: float
    """temperature of the sky at the horizon"""
    height: float
    """of the sun above the horizon"""
    sun: float
    """its light, in times that of the whole sky"""
    sun_kelvin: float
    ground: tuple[float, float, float]
    """reflectance of the ground"""


_SKIES = MappingProxyType({
    "clear noon": _Sky((-1.0, -0.32, 10.0, -3.0, 0.45), 25000, 11000, 55, 4.0, 5600, (0.20, 0.18, 0.14)),
    "sunset": _Sky((-1.0, -0.15, 16.0, -3.0, 0.30), 12000, 2600, 5, 1.2, 2100, (0.10, 0.09, 0.08)),
    "overcast": _Sky((4.0, -0.70, 0.0, -1.0, 0.0), 6800, 6500, 50, 0.0, 6500, (0.20, 0.20, 0.20)),
})
SKIES = tuple(_SKIES)
"""names of the skies"""


def sky(name: str, azimuth: float = 60.0) -> Environment:
    """One of SKIES, its mean radiance over the upper half 1. The sun stands `azimuth` degrees to the right of what is behind.

    Raises StageError for an unknown name.
    """
    if name not in _SKIES:
        raise StageError(f"there is no sky called {name!r:.40}. There are: {', '.join(SKIES)}.")
    made = _SKIES[name]
    latitude = (0.5 - (np.arange(SIZE) + 0.5) / SIZE) * math.pi
    longitude = ((np.arange(2 * SIZE) + 0.5) / SIZE - 1.0) * math.pi
    lon, lat = np.broadcast_arrays(longitude[None, :], latitude[:, None])
    toward = np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), -np.cos(lon) * np.cos(lat)], 2)
    across, up, _ = side_direction(made.height)
    turn = math.radians(azimuth)
    sun = np.array([math.sin(turn) * across, up, -math.cos(turn) * across])
    above = toward[..., 1] > 0
    area = np.cos(lat) * above
    away = np.arccos((toward @ sun).clip(-1.0, 1.0))
    a, b, c, d, e = made.constants
    high = np.maximum(toward[..., 1], 0.01)
    light = (1 + a * np.exp(b / high)) * (1 + c * (np.exp(d * away) - math.exp(d * math.pi / 2)) + e * np.cos(away) ** 2)
    blend = (np.maximum(toward[..., 1], 0.0) ** 0.4)[..., None]
    color = blend * kelvin_to_linear(made.zenith) + (1 - blend) * kelvin_to_linear(made.low)
    picture: NDArray[np.float64] = np.maximum(light, 0.0)[..., None] * color
    picture /= (picture.mean(axis=2) * area).sum() / area.sum()
    if made.sun:  # wider than the real one, so that a pixel of the grid that weights are taken on can hold it
        disc = np.exp(-0.5 * (away / math.radians(1.5)) ** 2) * area
        picture += (made.sun * area.sum() / disc.sum()) * (disc / np.maximum(area, 1e-6))[..., None] \
            * kelvin_to_linear(made.sun_kelvin)
    irradiance = (picture * (area * np.maximum(toward[..., 1], 0.0))[..., None]).sum((0, 1)) / area.sum() * 2
    picture[~above] = np.array(made.ground) * irradiance
    return from_panorama(picture.astype(np.float32))
