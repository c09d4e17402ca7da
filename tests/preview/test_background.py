"""The light of a background: direction, colour, surroundings, lamps, and when there is none to be seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.color import linear_to_srgb
from lib_iclight.errors import ImageError
from lib_iclight.lights import Directional, Point, linear_color
from lib_iclight.preview import light_of


def wall(angle: float, color: tuple[float, float, float] = (1, 1, 1), height: int = 90,
         width: int = 120) -> NDArray[Any]:
    """A rough wall that gets exponentially brighter towards `angle`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = (x - width / 2) / height, (height / 2 - y) / height
    level = 0.15 * np.exp(1.5 * (math.cos(math.radians(angle)) * x + math.sin(math.radians(angle)) * y))
    linear = level[..., None] * color * (1 + 0.1 * rng.normal(size=(height, width, 1)))
    return np.rint(255 * linear_to_srgb(linear.clip(0, 1))).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 37, 90, 145, 180, 251, 270, 340])
def test_the_side_of_the_light_is_found(angle: float) -> None:
    found = light_of(wall(angle))
    assert found.angle is not None and abs((found.angle - angle + 180) % 360 - 180) < 2
    assert found.clarity > 0.9
    light = found.spec.lights[0]
    assert isinstance(light, Directional) and abs((light.angle - angle + 180) % 360 - 180) < 2.1


def test_its_colour_and_the_surroundings_are_found() -> None:
    found = light_of(wall(180, (1.0, 0.6, 0.25)))
    color = linear_color(found.spec.lights[0].color)
    np.testing.assert_allclose(color, [1.0, 0.6, 0.25], atol=0.08)
    ambient = linear_color(found.spec.ambient)
    assert ambient[0] > ambient[1] > ambient[2] > 0 and ambient[0] < 0.2
    assert found.note.startswith("Light from the left (180 degrees")


def test_without_a_direction_it_says_so_and_gives_the_surroundings() -> None:
    rng = np.random.default_rng(1)
    patches = np.kron(rng.integers(40, 220, (6, 8, 1)), np.ones((16, 16, 3))).astype(np.uint8)
    for picture in (patches, np.full((50, 60, 3), (90, 60, 30), np.uint8), np.zeros((30, 30, 3), np.uint8)):
        found = light_of(picture)
        assert found.angle is None and found.spec.lights == () and "No direction of light is clear" in found.note
    assert light_of(np.full((50, 60, 3), (90, 60, 30), np.uint8)).spec.ambient == "#5a3c1e"


def test_the_subject_does_not_count() -> None:
    picture = wall(0)
    subject = np.zeros(picture.shape[:2], np.float32)
    subject[20:70, 5:50] = 1
    picture[20:70, 5:50] = 255
    angle = light_of(picture, subject).angle
    assert angle is not None and abs((angle + 180) % 360 - 180) < 4
    blind = light_of(picture)
    assert blind.angle is None or abs((blind.angle + 180) % 360 - 180) > 30
    with pytest.raises(ImageError, match="covers the whole background"):
        light_of(picture, np.ones(picture.shape[:2], np.float32))
    with pytest.raises(ImageError, match="mask has 4 x 3 pixels"):
        light_of(picture, np.zeros((3, 4), np.float32))


def test_clipped_blobs_are_lamps() -> None:
    picture = np.full((96, 128, 3), 60, np.uint8)
    picture[8:20, 92:104] = (200, 120, 50)
    picture[10:18, 94:102] = 255
    picture[70:76, 20:26] = 255
    picture[0, 0] = 255  # too small for a lamp
    found = light_of(picture)
    lamps = [light for light in found.spec.lights if isinstance(light, Point)]
    assert len(lamps) == 2 and "2 lamps are seen" in found.note
    assert abs(lamps[0].x - 98 / 128) < 0.02 and abs(lamps[0].y - 14 / 96) < 0.02
    assert linear_color(lamps[0].color)[2] < 0.4
    assert abs(lamps[1].x - 23 / 128) < 0.02 and abs(lamps[1].y - 73 / 96) < 0.02


def test_a_white_sky_is_no_lamp() -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    picture[:20] = 255
    found = light_of(picture)
    assert not any(isinstance(light, Point) for light in found.spec.lights)
    assert found.angle is not None and abs(found.angle - 90) < 3
