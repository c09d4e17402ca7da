"""The sketch: against a scalar writing of the documented formula, and what light does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.errors import ImageError, LightError
from lib_iclight.lights import PRESETS, Directional, LightSpec, Point, linear_color
from lib_iclight.preview import Shape, Sketcher, shading, shape_of, sketch
from lib_iclight.preview.shading import shade
from lib_iclight.preview.silhouette import inflated

SIDE = 48


def ball(side: int = SIDE, radius: float = 0.4) -> tuple[NDArray[Any], NDArray[Any]]:
    """Normals [side, side, 3] of a ball in front of a wall, and its alpha."""
    x = (np.arange(side) + 0.5) / side - 0.5
    x, y = np.broadcast_to(x, (side, side)) / radius, -np.broadcast_to(x[:, None], (side, side)) / radius
    inside = x**2 + y**2 < 1
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    normals = np.where(inside[..., None], np.stack([x, y, z], -1), [0, 0, 1]).astype(np.float32)
    return normals, inside.astype(np.float32)


NORMALS, ALPHA = ball()
SHAPE = Shape(NORMALS)
GREY = np.full((SIDE, SIDE, 3), 110, np.uint8)


def brightness(picture: NDArray[Any], rows: slice, columns: slice) -> float:
    """Mean linear light of the ball in a part of the picture."""
    inside = ALPHA[rows, columns] > 0
    return float(srgb_to_linear(picture[rows, columns][inside] / 255).mean())


def one_pixel(color: NDArray[Any], normal: NDArray[Any], own: tuple[float, float], spec: LightSpec, column: int,
              row: int, width: int, height: int) -> list[float]:
    """The package's documented formula in plain floats: codes 0..255."""
    u, v, unit = (column + 0.5) / width, (row + 0.5) / height, min(width, height)
    p = [float(srgb_to_linear(c / 255)) for c in color]
    diffuse, sheen = [0.0] * 3, [0.0] * 3
    for light in spec.lights:
        if isinstance(light, Directional):
            ct, st = math.cos(math.radians(light.angle)), math.sin(math.radians(light.angle))
            e = math.radians(15)
            toward = (math.cos(e) * ct, math.cos(e) * st, math.sin(e))
            s = 1 + 0.8 * (ct * (u - 0.5) - st * (v - 0.5)) / (abs(ct) + abs(st))
        elif light.hole:
            toward, s = (0.0, 0.0, 1.0), 1.0
        else:
            d = (light.x - u) * width / unit, (v - light.y) * height / unit
            z = 0.08 + 0.28 * light.radius**2
            length = math.sqrt(d[0] ** 2 + d[1] ** 2 + z * z)
            toward = (d[0] / length, d[1] / length, z / length)
            q = min((d[0] ** 2 + d[1] ** 2) / light.radius**2, 1)
            s = (1 - q * q) ** 2 / (1 + 4 * q)
        cosine = sum(a * b for a, b in zip(normal, toward, strict=True))
        glance = max(0.0, min(1.0, (cosine + normal[2]) / math.sqrt(2 + 2 * toward[2]))) ** 16
        for k, c in enumerate(linear_color(light.color)):
            strength = 2 * light.intensity * float(c) * s
            diffuse[k] += strength * (0.06 + 0.94 * max(0.0, min(1.0, (cosine + 0.25) / 1.25)))
            sheen[k] += strength * glance
    codes = []
    for k, ambient in enumerate(linear_color(spec.ambient)):
        e = p[k] * (3 * float(ambient) + diffuse[k]) * math.exp(-(own[0] * normal[0] + own[1] * normal[1]))
        e = min(e + 0.3 * (sum(p) / 3 + 0.06) * sheen[k], 4.0)
        codes.append(255 * float(linear_to_srgb(min(e, 0.6) + 0.4 * (1 - math.exp(-max(e - 0.6, 0) / 0.4)))))
    return codes


@pytest.mark.parametrize("width, height", [(9, 6), (5, 8), (1, 4)])
@pytest.mark.parametrize("light", [*PRESETS, LightSpec("#304050", (
    Directional(200, "#ff8040", 3.0), Point(-0.3, 1.2, 0.7, "2500K", 5.0), Directional(77.7, "#0000ff", 0.3)))])
def test_the_sketch_is_the_documented_formula(light: str | LightSpec, width: int, height: int) -> None:
    if light == "none":
        return
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    normals = rng.normal(size=(height, width, 3)) * [1, 1, 0.5]
    normals[..., 2] = abs(normals[..., 2])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    alpha = rng.random((height, width)).astype(np.float32)
    behind = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    own = (0.4, -0.3)
    made = sketch(rgb, alpha, Shape(normals.astype(np.float32), own), light, behind)
    spec = PRESETS[light] if isinstance(light, str) else light
    lit = np.array([[one_pixel(rgb[y, x], normals[y, x], own, spec, x, y, width, height) for x in range(width)]
                    for y in range(height)])
    expected = (1 - alpha[..., None]) * behind + alpha[..., None] * lit
    np.testing.assert_allclose(made, expected, atol=1.0)


@pytest.mark.parametrize("light, bright, dark", [
    ("left", np.s_[:, :24], np.s_[:, 24:]), ("right", np.s_[:, 24:], np.s_[:, :24]),
    ("top", np.s_[:24], np.s_[24:]), ("bottom", np.s_[24:], np.s_[:24]),
    ("top-left", np.s_[:24, :24], np.s_[24:, 24:]), ("bottom-right", np.s_[24:, 24:], np.s_[:24, :24]),
    (LightSpec(lights=(Point(0.1, 0.5, 1.0),)), np.s_[:, :24], np.s_[:, 24:]),
    (LightSpec(lights=(Point(0.9, 0.1, 0.8),)), np.s_[:24, 24:], np.s_[24:, :24])])
@pytest.mark.parametrize("known", ["normals", "nothing"])
def test_the_side_of_the_light_is_brighter(light: str | LightSpec, bright: Any, dark: Any, known: str) -> None:
    shape = SHAPE if known == "normals" else shape_of(GREY, ALPHA)
    linear = srgb_to_linear(sketch(GREY, ALPHA, shape, light) / 255)
    inside = ALPHA > 0
    assert linear[bright][inside[bright]].mean() > 1.8 * linear[dark][inside[dark]].mean()


@pytest.mark.parametrize("light", ["front", "ring"])
def test_frontal_light_is_brightest_in_the_middle_and_alike_on_all_sides(light: str) -> None:
    made = sketch(GREY, ALPHA, SHAPE, light).astype(int)
    middle, rim = made[24, 24, 0], [made[24, 6, 0], made[24, 41, 0], made[6, 24, 0], made[41, 24, 0]]
    assert max(rim) < middle - 25 and max(rim) - min(rim) <= 2


def test_nothing_changes_where_alpha_is_0_nor_without_a_light() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    for name in PRESETS:
        made = sketch(rgb, ALPHA, SHAPE, name)
        np.testing.assert_array_equal(made[ALPHA == 0], rgb[ALPHA == 0])
    np.testing.assert_array_equal(sketch(rgb, rng.random((SIDE, SIDE)).astype(np.float32), SHAPE, "none"), rgb)
    assert (sketch(rgb, ALPHA, SHAPE, "left") != rgb).any()


def test_soft_edges_hold_no_old_background() -> None:
    """A grey subject before a white wall: half covered pixels keep half of the wall, not of the wall's light."""
    alpha = np.full((4, 4), 0.5, np.float32)
    color, wall = np.full((4, 4, 3), 60, np.uint8), np.full((4, 4, 3), 255, np.uint8)
    photo = ((color.astype(int) + wall) // 2).astype(np.uint8)
    shape, dark = Shape(np.zeros((4, 4, 3), np.float32) + np.array([0, 0, 1], np.float32)), LightSpec("#050505")
    lit = sketch(color, np.ones_like(alpha), shape, dark)
    np.testing.assert_allclose(sketch(photo, alpha, shape, dark, color=color), 0.5 * lit + 127.5, atol=1.5)
    new = np.full((4, 4, 3), 90, np.uint8)
    np.testing.assert_allclose(sketch(photo, alpha, shape, dark, new, color), 0.5 * lit + 45, atol=1)


@pytest.mark.parametrize("behind", [True, False])
def test_a_picture_made_ready_once_is_lit_as_any_other_whatever_its_bands(behind: bool,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    rgb, color, wall = (rng.integers(0, 256, (23, 31, 3), dtype=np.uint8) for _ in range(3))
    alpha = rng.random((23, 31)).astype(np.float32)
    shape = Shape(np.random.default_rng(1).dirichlet([1, 1, 1], (12, 16)).astype(np.float32) ** 0.5, (0.3, 0.2))
    more = (wall, color) if behind else (None, color)
    spec = LightSpec("#102030", (Point(0.9, 0.2, 0.6), Directional(33, "#ff0080", 2.0)))
    lights: list[str | LightSpec] = ["left", "ring", "none", spec]
    whole = [sketch(rgb, alpha, shape, light, *more) for light in lights]
    for pixels in (1, 31 * 5, 10**6):
        monkeypatch.setattr(shading, "PIXELS", pixels)
        ready = Sketcher(rgb, alpha, shape, *more)
        for light, expected in zip(lights, whole, strict=True):
            np.testing.assert_array_equal(sketch(rgb, alpha, shape, light, *more), expected)
            np.testing.assert_array_equal(ready.under(light), expected)
    with pytest.raises(LightError):
        ready.under("lfet")
    with pytest.raises(ImageError):
        Sketcher(rgb, alpha[1:], shape)


def test_two_lights_add_in_linear_light() -> None:
    rng = np.random.default_rng(1)
    planes = rng.random((3, SIDE, SIDE)).astype(np.float32)
    normals = NORMALS.transpose(2, 0, 1)
    at = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    one, two = Directional(20, "#c01000", 2.0), Point(0.4, 0.6, 1.0, "#00a020")

    def of(*lights: Directional | Point, ambient: str = "#000000") -> NDArray[Any]:
        return shade(planes, normals, (0.2, 0.1), LightSpec(ambient, lights), at, at, 1.0)

    np.testing.assert_allclose(of(one, two, ambient="#404040"), of(one) + of(two) + of(ambient="#404040"), atol=1e-5)
    dim = [srgb_to_linear(sketch(GREY, ALPHA, SHAPE, LightSpec(lights=lights)) / 255)[ALPHA > 0]
           for lights in ((one,), (two,), (one, two))]
    np.testing.assert_allclose(dim[2], dim[0] + dim[1], atol=0.015)


def test_light_has_its_colour() -> None:
    made = sketch(GREY, ALPHA, SHAPE, "neon pair").astype(int)
    left, right = made[24, 8], made[24, 39]
    assert left.argmin() == 1 and right.argmin() == 0
    warm = sketch(GREY, ALPHA, SHAPE, LightSpec(lights=(Directional(0, "2400K"),)))[24, 38].astype(int)
    assert warm[0] > warm[1] > warm[2]


def test_bright_light_burns_nothing_out_in_one_step() -> None:
    """Towards white, tones are squeezed: a ball under ever more light stays a ball."""
    white = np.full((SIDE, SIDE, 3), 235, np.uint8)
    row = sketch(white, ALPHA, SHAPE, LightSpec(lights=(Directional(180, intensity=1.0),)))[24, 8:40, 0].astype(int)
    assert len(set(row)) > 20 and abs(np.diff(row)).max() < 30


@pytest.mark.parametrize("height, width, small", [(150, 220, (75, 110)), (97, 60, (40, 25)), (130, 130, (130, 130))])
def test_a_smaller_shape_does_for_a_larger_picture(height: int, width: int, small: tuple[int, int]) -> None:
    """In bands, with normals between those given: nearly the picture with the larger shape, and no seams."""
    y, x = np.mgrid[:height, :width]

    def normals(rows: int, columns: int) -> NDArray[Any]:
        v, u = (np.mgrid[:rows, :columns] + 0.5) / [[[rows]], [[columns]]]
        field = np.stack([np.sin(5 * u), np.cos(4 * v), np.full_like(u, 1.2)], -1)
        return np.asarray((field / np.linalg.norm(field, axis=-1, keepdims=True)).astype(np.float32))

    rgb = np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)
    alpha = np.ones((height, width), np.float32)
    made, whole = (sketch(rgb, alpha, Shape(normals(*size)), "sunset") for size in (small, (height, width)))
    assert abs(made.astype(int) - whole).max() <= 4


def test_the_outline_of_a_disc_is_a_ball_and_a_cut_body_goes_on() -> None:
    normals, alpha = ball(128)
    assert np.degrees(np.arccos((inflated(alpha) * normals).sum(-1).clip(-1, 1)))[alpha > 0].mean() < 4
    pillar = np.zeros((64, 64), np.float32)
    pillar[:, 20:44] = 1
    made = inflated(pillar)
    assert abs(made[..., 1]).max() < 0.02 and made[32, 22, 0] < -0.5 and made[32, 41, 0] > 0.5
    np.testing.assert_allclose(made[..., 0], -made[:, ::-1, 0], atol=0.01)
    for whole in (np.ones((20, 30), np.float32), np.zeros((20, 30), np.float32)):
        np.testing.assert_array_equal(inflated(whole), np.broadcast_to([0, 0, 1], (20, 30, 3)))


def test_a_pinhole_in_the_matte_is_no_dent() -> None:
    _, alpha = ball(128)
    pierced = alpha.copy()
    pierced[60:62, 50:52] = 0
    np.testing.assert_allclose(inflated(pierced)[alpha > 0], inflated(alpha)[alpha > 0], atol=0.02)


def test_the_photos_own_light_is_taken_out() -> None:
    """A ball that was lit from the right looks under light from the left nearly as one in even light does."""
    lit = (110 * (1 + 0.5 * NORMALS[..., :1])).repeat(3, -1).astype(np.uint8)
    shape = shape_of(lit, ALPHA)
    assert shape.own[0] > 0.3 and abs(shape.own[1]) < 0.1 and shape.source == "colours and outline"
    made = sketch(lit, ALPHA, shape, "left")
    assert brightness(made, np.s_[:], np.s_[:24]) > 1.5 * brightness(made, np.s_[:], np.s_[24:])


@pytest.mark.parametrize("height, width", [(1, 1), (2, 3), (1, 50), (40, 3), (700, 20)])
def test_pictures_of_any_size_have_a_shape(height: int, width: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ramp = np.linspace(0, 1, width, dtype=np.float32) * np.ones((height, 1), np.float32)
    for alpha in (np.ones((height, width), np.float32), ramp):
        shape = shape_of(rgb, alpha)
        np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=-1), 1, atol=1e-4)
        assert sketch(rgb, alpha, shape, "left").shape == rgb.shape


def test_sizes_that_do_not_go_together_are_named() -> None:
    wrong = np.ones((10, 20), np.float32)
    with pytest.raises(ImageError, match="alpha has 20 x 10 pixels and the picture 48 x 48"):
        sketch(GREY, wrong, SHAPE, "left")
    with pytest.raises(ImageError, match="background has 20 x 10"):
        sketch(GREY, ALPHA, SHAPE, "left", np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(ImageError, match="own colours has 20 x 10"):
        sketch(GREY, ALPHA, SHAPE, "left", None, np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(ImageError, match="other proportions"):
        sketch(GREY, ALPHA, Shape(np.zeros((48, 24, 3), np.float32)), "left")
    with pytest.raises(ImageError, match="Give both the same size"):
        shape_of(GREY, wrong)
    with pytest.raises(LightError, match="unknown light"):
        sketch(GREY, ALPHA, SHAPE, "lef")
