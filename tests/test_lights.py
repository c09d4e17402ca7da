"""Presets against the reference's numbers, specs against a scalar writing of the documented formula, and refusals."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.color import srgb_to_linear
from lib_iclight.errors import LightError
from lib_iclight.lights import PRESETS, Directional, LightSpec, Point, broad_light, light_map, linear_color, parse_light

Form = Literal["fc", "fbc"]
NAMES = ["none", "left", "right", "top", "bottom", "top-left", "top-right", "bottom-left", "bottom-right", "ambient"]
SCENES = [name for name in PRESETS if name not in NAMES]
LAMP = {"kind": "point", "x": 0.2, "y": 0.3, "radius": 0.5, "color": "#ffcc88", "intensity": 1.2}
SUN = {"kind": "directional", "angle": 180, "color": "#ffffff", "intensity": 1.0}


def drawn(light: str | LightSpec, width: int, height: int, form: Form = "fc") -> NDArray[np.uint8]:
    """The light map of a light that is one."""
    made = light_map(light, width, height, form)
    assert made is not None
    return made


def test_presets_are_all_there_in_order() -> None:
    assert list(PRESETS)[:len(NAMES)] == NAMES
    assert {"rim", "softbox", "window", "sunset", "neon pair", "front", "ring"} <= set(SCENES), "people have saved them"
    assert PRESETS["none"] == LightSpec()
    with pytest.raises(TypeError):
        PRESETS["new"] = LightSpec()  # type: ignore[index]


@pytest.mark.parametrize("name, form, ramp", [
    ("left", "fc", [255, 191, 127, 63, 0]),
    ("right", "fc", [0, 63, 127, 191, 255]),
    ("top", "fc", [255, 191, 127, 63, 0]),
    ("bottom", "fc", [0, 63, 127, 191, 255]),
    ("left", "fbc", [224, 176, 128, 80, 32]),
    ("right", "fbc", [32, 80, 128, 176, 224]),
    ("top", "fbc", [224, 176, 128, 80, 32]),
    ("bottom", "fbc", [32, 80, 128, 176, 224]),
])
def test_side_presets_literal_values(name: str, form: Form, ramp: Any) -> None:
    across = name in ("left", "right")
    result = drawn(name, *((5, 3) if across else (3, 5)), form)
    assert result.dtype == np.uint8 and result.shape == ((3, 5, 3) if across else (5, 3, 3))
    assert result.flags.c_contiguous
    for channel in range(3):
        for line in range(3):
            np.testing.assert_array_equal(result[line, :, channel] if across else result[:, line, channel], ramp)


def test_side_presets_equal_linspace_at_a_working_size() -> None:
    cases: tuple[tuple[Form, int, int], ...] = (("fc", 255, 0), ("fbc", 224, 32))
    for form, bright, dark in cases:
        ramp = np.linspace(bright, dark, 512)
        expected = np.stack([np.tile(ramp, (640, 1))] * 3, axis=-1).astype(np.uint8)
        np.testing.assert_array_equal(drawn("left", 512, 640, form), expected)
        np.testing.assert_array_equal(drawn("top", 640, 512, form), expected.transpose(1, 0, 2))


def test_ambient_preset_and_none() -> None:
    np.testing.assert_array_equal(drawn("ambient", 4, 2), np.full((2, 4, 3), 127))
    np.testing.assert_array_equal(drawn("ambient", 4, 2, "fbc"), np.full((2, 4, 3), 64))
    for nothing in ("none", LightSpec()):
        assert light_map(nothing, 4, 2) is None


@pytest.mark.parametrize("name, row, column", [("top-left", 0, 0), ("top-right", 0, -1), ("bottom-left", -1, 0),
                                               ("bottom-right", -1, -1)])
@pytest.mark.parametrize("form, dark, bright", [("fc", 0, 255), ("fbc", 32, 224)])
def test_corner_presets(name: str, row: int, column: int, form: Form, dark: int, bright: int) -> None:
    result = drawn(name, 9, 5, form)
    assert result[row, column].tolist() == [bright] * 3
    opposite = (-1 if row == 0 else 0, -1 if column == 0 else 0)
    assert result[opposite].tolist() == [dark] * 3
    # (dark + bright) / 2 in the middle and along the other diagonal, at whatever proportions
    for y, x in ((2, 4), (row, opposite[1]), (opposite[0], column)):
        np.testing.assert_allclose(result[y, x], (dark + bright) / 2, atol=0.51)


@pytest.mark.parametrize("form", ["fc", "fbc"])
def test_named_presets_and_their_specs_agree(form: Form) -> None:
    for name in NAMES[1:-1]:
        np.testing.assert_allclose(drawn(name, 40, 30, form), drawn(PRESETS[name], 40, 30, form).astype(int),
                                   atol=1)
    np.testing.assert_array_equal(drawn(PRESETS["ambient"], 4, 3), drawn("ambient", 4, 3))


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_drawn_from_their_specs_and_are_all_different(name: str) -> None:
    picture = drawn(name, 24, 32)
    np.testing.assert_array_equal(picture, drawn(PRESETS[name], 24, 32))
    assert picture.max() > 150 and picture.min() < (150 if name == "front" else 80)
    assert all(np.abs(picture - drawn(other, 24, 32).astype(int)).mean() > 8 for other in PRESETS
               if other not in ("none", name))


@pytest.mark.parametrize("name, brighter, darker", [
    ("rim", (slice(None), 0), (slice(None), 12)), ("softbox", (0, 0), (-1, -1)),
    ("window", (slice(None), 0), (slice(None), -1)), ("sunset", (slice(None), -1), (slice(None), 0))])
def test_scenes_are_bright_where_their_names_say(name: str, brighter: Any, darker: Any) -> None:
    picture = drawn(name, 24, 32).astype(float)
    assert picture[brighter].mean() > picture[darker].mean() + 40


def test_sunset_is_warm_and_the_neon_pair_is_of_two_colours() -> None:
    assert drawn("sunset", 24, 32)[24, -1].argmin() == 2
    neon = drawn("neon pair", 24, 32)
    assert (neon[16, 0].argmin(), neon[16, -1].argmin()) == (1, 0)


def one_pixel(spec: dict[str, Any], column: int, row: int, width: int, height: int, form: Form) -> list[float]:
    """The module's documented formula for one pixel, in plain floats, as a page's script would compute it."""
    def decode(v: float) -> float:
        return v / 12.92 if v <= 0.04045 else float(((v + 0.055) / 1.055) ** 2.4)

    def encode(v: float) -> float:
        return v * 12.92 if v <= 0.0031308 else float(1.055 * v ** (1 / 2.4) - 0.055)

    def color(text: str) -> list[float]:
        return [decode(int(text[i:i + 2], 16) / 255) for i in (1, 3, 5)]

    u = column / (width - 1) if width > 1 else 0.5
    v = row / (height - 1) if height > 1 else 0.5
    total = color(spec["ambient"])
    for light in spec["lights"]:
        if light["kind"] == "directional":
            dx, dy = math.cos(math.radians(light["angle"])), -math.sin(math.radians(light["angle"]))
            share = decode(min(1, max(0, 0.5 + (dx * (u - 0.5) + dy * (v - 0.5)) / (abs(dx) + abs(dy)))))
        else:
            unit = min(width, height)
            d = math.hypot((u - light["x"]) * width / unit, (v - light["y"]) * height / unit)
            hole = light.get("hole", 0)
            q = min(abs(d / light["radius"] - hole) / (1 - hole), 1)
            share = (1 - q ** 4) ** 2 / (1 + 16 * q * q)
        total = [t + light["intensity"] * share * c for t, c in zip(total, color(light["color"]), strict=True)]
    return [255 * encode(min(1, t)) if form == "fc" else 32 + 192 * encode(min(1, t)) for t in total]


@pytest.mark.parametrize("form", ["fc", "fbc"])
@pytest.mark.parametrize("width, height", [(7, 11), (12, 5), (1, 6), (6, 1), (1, 1)])
def test_specs_equal_the_documented_formula(width: int, height: int, form: Form) -> None:
    spec = {"ambient": "#101820", "lights": [
        LAMP, {**LAMP, "x": 1.4, "y": -0.5, "radius": 2.5, "color": "#3060ff"},
        {**LAMP, "hole": 0.4, "color": "#204020"},
        {**SUN, "angle": 200, "color": "#804020"}, {**SUN, "angle": 33.3, "intensity": 0.2}]}
    result = drawn(LightSpec.from_dict(spec), width, height, form)
    assert result.shape == (height, width, 3) and result.dtype == np.uint8
    expected = [[one_pixel(spec, x, y, width, height, form) for x in range(width)] for y in range(height)]
    np.testing.assert_allclose(result, expected, atol=0.51)


def test_point_light_is_round_brightest_at_its_place_and_dark_from_its_radius_on() -> None:
    spec = LightSpec(lights=(Point(0.5, 0.5, radius=0.25),))
    result = drawn(spec, 161, 81)[..., 0].astype(int)
    assert result[40, 80] == result.max() == 255
    # Units are of the shorter side: the same drop 12 pixels to the side (12 / 160 * 161 / 81) as 12 below (12 / 80).
    np.testing.assert_allclose(result[40, 92], result[52, 80], atol=2)
    assert (result[40, 103:] == 0).all() and (result[62:, 80] == 0).all()
    assert (np.diff(result[40, 80:]) <= 0).all() and (np.diff(result[40, :81]) >= 0).all()


def test_a_ring_is_brightest_on_its_circle_and_front_in_the_middle() -> None:
    ring = drawn("ring", 101, 81)[40, :, 0].astype(int)
    assert ring[50] < 130 and abs(int(ring[50:].argmax()) - 0.385 * 81) < 2 and ring.max() > 240
    np.testing.assert_allclose(ring, ring[::-1], atol=1)
    front = drawn("front", 101, 81)[40, :, 0].astype(int)
    assert front[50] == front.max() and 150 < front[0] < 220
    assert "hole" not in str(LightSpec(lights=(Point(0, 0),)).to_dict())
    assert LightSpec.from_dict(PRESETS["ring"].to_dict()) == PRESETS["ring"]
    with pytest.raises(LightError, match="hole must be a number from 0 to 0.9"):
        Point(0.5, 0.5, hole=1)


def test_lights_add_in_linear_light() -> None:
    red, green = Directional(10, "#c01000"), Point(0.4, 0.6, 1.0, "#00a020")
    single = [srgb_to_linear(drawn(LightSpec(lights=(light,)), 20, 16) / 255) for light in (red, green)]
    both = srgb_to_linear(drawn(LightSpec(lights=(red, green)), 20, 16) / 255)
    np.testing.assert_allclose(both, single[0] + single[1], atol=0.01)
    assert drawn(LightSpec(lights=(Directional(0),) * 2), 9, 9).max() == 255  # clipped, not wrapped


def test_intensity_scales_linear_light() -> None:
    half = drawn(LightSpec(lights=(Directional(0, intensity=0.5),)), 9, 1)
    assert half[0, -1].tolist() == [188] * 3  # 0.5 in linear light is 187.5 of 255 in sRGB
    assert drawn(LightSpec(lights=(Directional(0, intensity=0),)), 9, 9).max() == 0


def test_angles_go_round() -> None:
    for angle, same in ((-90, 270), (360, 0), (540, 180), (-1e-20, 0)):
        assert Directional(angle) == Directional(same)
    assert 0.0 <= Directional(-1e-20).angle < 360.0


def black_body(kelvin: float) -> NDArray[Any]:
    """Planck's law through Wyman, Sloan and Shirley's analytic fit of the CIE 1931 observer (JCGT 2(2), 2013)."""
    nm = np.arange(360.0, 831.0)

    def lobe(center: float, left: float, right: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(-0.5 * ((nm - center) / np.where(nm < center, left, right)) ** 2))

    power = nm ** -5 / np.expm1(1.438776877e7 / (nm * kelvin))
    xyz = np.array([
        (power * (1.056 * lobe(599.8, 37.9, 31.0) + 0.362 * lobe(442.0, 16.0, 26.7) - 0.065 * lobe(501.1, 20.4, 26.2))
         ).sum(),
        (power * (0.821 * lobe(568.8, 46.9, 40.5) + 0.286 * lobe(530.9, 16.3, 31.1))).sum(),
        (power * (1.217 * lobe(437.0, 11.8, 36.0) + 0.681 * lobe(459.0, 26.0, 13.8))).sum()])
    return np.asarray(xyz / xyz.sum())


@pytest.mark.parametrize("kelvin", [1667, 2000, 2222, 2223, 2856, 3200, 4000, 4001, 5000, 6500, 10000, 25000])
def test_temperatures_follow_plancks_law(kelvin: int) -> None:
    color = linear_color(f"{kelvin}K")
    assert color.max() == 1.0 and color.min() >= 0.0
    # sRGB's primaries and white, from which the matrix to XYZ is derived anew
    primaries = np.array([[0.64, 0.33, 0.03], [0.30, 0.60, 0.10], [0.15, 0.06, 0.79]]).T
    white = np.array([0.3127, 0.3290, 0.3583]) / 0.3290
    expected = np.linalg.solve(primaries * np.linalg.solve(primaries, white), black_body(kelvin))
    np.testing.assert_allclose(color, (expected / expected.max()).clip(0), atol=0.02)


def test_published_temperatures() -> None:
    assert (linear_color("6500K") > 0.94).all()  # near white
    assert linear_color("2000K")[2] < linear_color("3200K")[2] < linear_color("6500K")[2]
    assert linear_color("10000K")[0] < linear_color("7000K")[0] < 1.0
    # CIE illuminant A, 2856 K: xy = (0.44757, 0.40745) (CIE 15)
    rgb = linear_color("2856K")
    x, y, z = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    np.testing.assert_allclose([x / (x + y + z), y / (x + y + z)], [0.44757, 0.40745], atol=1e-3)


def test_colours() -> None:
    np.testing.assert_allclose(linear_color("#fff"), [1, 1, 1])
    np.testing.assert_allclose(linear_color("#000080"), [0, 0, 0.215861], atol=1e-6)
    assert LightSpec("#AbC").ambient == "#aabbcc" and LightSpec(" 3200k ").ambient == "3200K"
    for bad in ("#ff", "#fffff", "#ggg", "ffffff", "red", "", "K", "32.5K", "-3200K", "1666K", "25001K", "1000000K",
                None, 5, "#fff\n#fff", "٣٢٠٠K"):
        with pytest.raises(LightError, match="^color"):
            linear_color(bad)  # type: ignore[arg-type]


def test_round_trip_and_hash() -> None:
    spec = LightSpec("#303030", (Directional(180), Point(0.2, 0.3, 0.5, "3200K", 1.2)))
    assert LightSpec.from_dict(spec.to_dict()) == spec
    assert LightSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(LightSpec.from_dict(spec.to_dict())) == hash(spec)
    assert spec != LightSpec("#303030", (Directional(181), Point(0.2, 0.3, 0.5, "3200K", 1.2)))
    for preset in PRESETS.values():
        assert LightSpec.from_dict(preset.to_dict()) == preset


def test_parse_light() -> None:
    for name in NAMES:
        assert parse_light(name) == name
    spec = {"ambient": "#303030", "lights": [SUN, LAMP]}
    expected = LightSpec("#303030", (Directional(180), Point(0.2, 0.3, 0.5, "#ffcc88", 1.2)))
    for value in (spec, json.dumps(spec), "\n " + json.dumps(spec, indent=2) + "\n", expected):
        assert parse_light(value) == expected
    assert parse_light({"lights": [{"kind": "point", "x": 0, "y": 1}]}) == LightSpec(lights=(Point(0, 1),))
    for nothing in ({}, "{}", {"ambient": "#000", "lights": []}, LightSpec()):
        assert parse_light(nothing) == "none"


@pytest.mark.parametrize("value, at_fault", [
    ("lft", "'lft'. Did you mean 'left'"),
    ("zzz", "Known are: none, left"),
    ("", "unknown light ''"),
    ("Left", "Did you mean 'left'"),
    (None, "null"),
    (3, "not 3"),
    ([SUN], "list"),
    ("{", "not valid JSON"),
    pytest.param('{"a":' * 10_000, "not valid JSON", id="a nest"),
    pytest.param(json.dumps({"lights": [SUN] * 3000}), "characters long. Use at most 65536", id="a long text"),
    pytest.param({"lights": [LAMP] * 300_000}, "300000 entries. Use at most 32", id="a long list"),
    pytest.param({"lights": [{**SUN, "color": "9" * 10**6 + "K"}]}, "color must be", id="a long colour"),
    pytest.param({"a" * 10**6: 1}, "^'aaa.*: unknown key", id="a long key"),
    pytest.param("a" * 10**6, "at most 65536", id="a long name"),
    ('{"ambient": 1}', "^ambient"),
    ({"ambience": "#fff"}, "^ambience: unknown key. Did you mean 'ambient'"),
    ({"lights": SUN}, "^lights must be a list"),
    ({"lights": "left"}, "^lights must be a list"),
    ({"lights": ["left"]}, r"^lights\[0\] must be an object"),
    ({"lights": [SUN, {**SUN, "colour": "#fff"}]}, r"^lights\[1\].colour: unknown key. Did you mean 'color'"),
    ({"lights": [{**SUN, "radius": 1}]}, r"^lights\[0\].radius: unknown key"),
    ({"lights": [{"angle": 1}]}, r"^lights\[0\].kind .* not null"),
    ({"lights": [{"kind": "spot"}]}, r"^lights\[0\].kind .* directional, point"),
    ({"lights": [{"kind": []}]}, r"^lights\[0\].kind"),
    ({"lights": [{"kind": "directional"}]}, r"^lights\[0\].angle is missing"),
    ({"lights": [{"kind": "point", "x": 1}]}, r"^lights\[0\].y is missing"),
    ({"lights": [{**SUN, "angle": "180"}]}, r"^lights\[0\].angle must be a finite number, not '180'"),
    ({"lights": [{**SUN, "angle": math.inf}]}, r"^lights\[0\].angle"),
    ({"lights": [{**SUN, "angle": True}]}, r"^lights\[0\].angle"),
    ({"lights": [{**SUN, "angle": 10**400}]}, r"^lights\[0\].angle .* so large"),
    ('{"lights": [{"kind": "directional", "angle": NaN}]}', r"^lights\[0\].angle .* nan"),
    ('{"lights": [{"kind": "directional", "angle": 1e999}]}', r"^lights\[0\].angle .* inf"),
    ({"lights": [{**SUN, "intensity": -0.1}]}, r"^lights\[0\].intensity must be a number from 0 to 10"),
    ({"lights": [{**SUN, "intensity": 10.1}]}, r"^lights\[0\].intensity"),
    ({"lights": [{**SUN, "intensity": math.nan}]}, r"^lights\[0\].intensity"),
    ({"lights": [{**SUN, "color": "1000K"}]}, r"^lights\[0\].color .* 1667K to 25000K, not '1000K'"),
    ({"lights": [{**SUN, "color": "white"}]}, r"^lights\[0\].color"),
    ({"lights": [{**LAMP, "x": 2.1}]}, r"^lights\[0\].x must be a number from -1 to 2"),
    ({"lights": [{**LAMP, "y": -1.1}]}, r"^lights\[0\].y"),
    ({"lights": [{**LAMP, "radius": 0}]}, r"^lights\[0\].radius must be above 0"),
    ({"lights": [{**LAMP, "radius": 4.1}]}, r"^lights\[0\].radius"),
    ({"lights": [{**LAMP, "radius": None}]}, r"^lights\[0\].radius .* null"),
    ({"lights": [SUN] * 33}, "33 entries. Use at most 32"),
    pytest.param({"lights": [{"kind": "spot"}] * 300_000}, "300000 entries", id="a long list, refused unread"),
])
def test_refusals_name_the_field_at_fault(value: Any, at_fault: str) -> None:
    with pytest.raises(LightError, match=at_fault):
        parse_light(value)


@pytest.mark.parametrize("value", [
    "\ud800", {"\ud800": 1}, {"ambient": "\udfff"}, {"lights": "\ud800"}, {"lights": ["\ud800"]},
    {"lights": [{"\ud800": 1, "kind": "point"}]}, {"lights": [{"kind": "\ud800"}]},
    {"lights": [{**SUN, "color": "\ud800"}]}, {"lights": [{**SUN, "angle": "\ud800\0\x1b"}]},
    '{"\\ud800": 1}', '{"\\ud800": 1, "\\ud800": 2}'])
def test_what_is_no_text_is_refused_in_one_that_can_be_sent(value: Any) -> None:
    """JSON can hold half of a letter, which no UTF-8 can."""
    with pytest.raises(LightError) as caught:
        parse_light(value)
    assert caught.value.sentence.encode("utf-8") and caught.value.sentence.isprintable()


def test_many_lamps_on_a_large_map_take_little_beside_it() -> None:
    """Drawn in bands: its whole planes in floats would be thirteen times the picture itself."""
    lamps = LightSpec(lights=tuple(Point(number / 31, 0.5, 0.9) for number in range(32)))
    tracemalloc.start()
    try:
        picture = drawn(lamps, 640, 1600)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3 * picture.nbytes


@pytest.mark.filterwarnings("error")
def test_the_extremes_that_are_allowed_render() -> None:
    lights = (Point(-1, 2, 4.0, "25000K", 10), Point(2, -1, 5e-324), *(Directional(0.0),) * 30)
    assert drawn(LightSpec(lights=lights), 8, 8).max() == 255
    with pytest.raises(LightError, match="unknown light"):
        light_map("lft", 8, 8)


def test_broad_light_of_nothing_to_smooth_is_the_picture() -> None:
    flat = np.full((3, 5, 3), (10, 127, 255), np.uint8)
    assert np.array_equal(broad_light(flat, 0.3), flat)
    busy = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(broad_light(busy, 0.0), busy)
    assert np.array_equal(broad_light(busy, 0.001), busy)  # a Gaussian far narrower than a pixel


def test_broad_light_averages_in_linear_light() -> None:
    """Black and white stripes far finer than the Gaussian: half the light, which is the shade 188, not 127."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(broad_light(stripes, 0.05)[16:-16, 16:-16].astype(int) - 188).max() <= 1


def test_broad_light_equals_a_direct_sum_also_at_the_edges() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    sigma = 0.2 * 7
    linear = srgb_to_linear(pixels / 255)
    for row, column in [(0, 0), (3, 5), (6, 10), (2, 0)]:
        rows, columns = np.mgrid[:7, :11]
        weight = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))[..., None]
        mean = (weight * linear).sum((0, 1)) / weight.sum()
        encoded = np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055)
        assert np.abs(broad_light(pixels, 0.2)[row, column] - 255 * encoded).max() <= 0.6


def test_broad_light_keeps_where_the_light_is_and_drops_the_things() -> None:
    things = np.random.default_rng(3).integers(0, 2, (64, 48, 1)) * np.linspace(240, 20, 48)[None, :, None]
    smoothed = broad_light(np.broadcast_to(things, (64, 48, 3)).astype(np.uint8), 0.15)
    along = smoothed[..., 0].mean(0)
    assert (np.diff(along) <= 0).all() and along[0] > along[-1] + 60
    assert smoothed[..., 0].std(0).max() < 12  # of some 100
