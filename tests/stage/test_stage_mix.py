"""Weights of lights, and mixtures against a sum written out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.color import LUMINANCE
from lib_iclight.errors import ICLightError, LightError, StageError
from lib_iclight.lights import PRESETS, Directional, LightSpec, Point, linear_color
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    Direction,
    Lamp,
    from_names,
    from_pictures,
    mix,
    mix_codes,
    over,
    rig,
    to_names,
    weights_of,
)
from lib_iclight.stage.rig import side_direction
from lib_iclight.stage.weights import shares

from .stages import HEIGHT, WIDTH, alpha_of, encode, pictures_of, random_codes, random_stage, round_alpha

DOME = tuple(Lamp(f"{high}-{turn}", Direction(math.cos(math.radians(turn)) * math.cos(math.radians(high)),
                                             math.sin(math.radians(turn)) * math.cos(math.radians(high)),
                                             math.sin(math.radians(high))))
             for high, turns in ((20, range(0, 360, 45)), (55, range(20, 360, 90)), (90, (0,))) for turn in turns)


def named(light: object, lamps: Sequence[Lamp] = FOUR) -> dict[str, list[float]]:
    return to_names(weights_of(light, lamps), lamps)


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lamp", EIGHT)
def test_a_light_of_the_set_is_itself(lamp: Lamp) -> None:
    assert named(lamp.light, EIGHT) == {lamp.name: [1, 1, 1]}
    assert named(PRESETS[lamp.name], EIGHT) == {lamp.name: [1, 1, 1]}


def test_a_preset_that_the_set_holds_is_used_alone() -> None:
    lamps = rig(["left", "right", "rim", "ambient"])
    assert named("rim", lamps) == {"rim": [1, 1, 1]}
    assert set(named("rim", FOUR)) > {"left", "right"}


@pytest.mark.parametrize("lamps", [FOUR, EIGHT, FOUR[:4]])
@pytest.mark.parametrize("angle", [0, 10, 45, 77.5, 100, 180, 200, 269.9, 315, 359.99])
def test_a_light_between_two_sides_is_shared_and_keeps_its_direction(lamps: tuple[Lamp, ...], angle: float) -> None:
    weights = weights_of(LightSpec(lights=(Directional(angle, "#ff8000", 2.0),)), lamps)
    color = 2 * linear_color("#ff8000")
    np.testing.assert_allclose(weights.sum(axis=0), color, rtol=1e-5)
    grey = weights[:, 0] / color[0]
    used = np.flatnonzero(grey > 1e-6)
    assert len(used) <= 2
    mean = grey @ np.array([lamp.direction for lamp in lamps])
    np.testing.assert_allclose(mean / np.linalg.norm(mean), side_direction(angle), atol=1e-5)


def test_turning_the_light_is_continuous() -> None:
    for lamps in (FOUR, EIGHT, rig(["left", "right"]), rig(["left"]), rig(["left", "top", "ambient"]), DOME):
        turned = np.array([weights_of(LightSpec(lights=(Directional(angle),)), lamps)[:, 0]
                           for angle in np.linspace(0, 360, 361)])
        assert np.abs(np.diff(turned, axis=0)).max() < 0.1
        np.testing.assert_allclose(turned.sum(axis=1), 1, rtol=1e-5)


def test_ambient_light_goes_to_the_ambient_picture_or_to_all() -> None:
    spec = LightSpec("#804020")
    expected = linear_color("#804020") / linear_color("#7f7f7f")
    np.testing.assert_allclose(weights_of(spec, FOUR)[4], expected, rtol=1e-5)
    assert not weights_of(spec, FOUR)[:4].any()
    ramp = np.mean([((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92 for v in np.linspace(0, 1, 100_001)])
    for lamps in (FOUR[:4], DOME):
        np.testing.assert_allclose(weights_of(spec, lamps), np.broadcast_to(
            linear_color("#804020") / (ramp * len(lamps)), (len(lamps), 3)), rtol=1e-3)


def test_lights_of_a_spec_add_up() -> None:
    one, two = Directional(30, "3200K", 0.7), Point(0.9, 0.2, 1.5, "#0080ff", 2.0)
    both = weights_of(LightSpec("#111111", (one, two)), EIGHT)
    alone = [weights_of(LightSpec(ambient, (light,)), EIGHT) for ambient, light in (("#111111", one), ("#000000", two))]
    np.testing.assert_allclose(both, alone[0] + alone[1], rtol=1e-5)


@pytest.mark.parametrize(("place", "side"), [((0.0, 0.5), "left"), ((1.0, 0.5), "right"), ((0.5, 0.0), "top"),
                                             ((0.5, 1.0), "bottom"), ((-0.5, 0.5), "left")])
def test_a_lamp_shines_from_where_it_is_and_from_the_front_in_the_middle(place: tuple[float, float], side: str) -> None:
    off = named(LightSpec(lights=(Point(*place, 1.5),)))
    assert max((weight[0], name) for name, weight in off.items())[1] == side
    assert set(off) == {side, "ambient"}
    middle = named(LightSpec(lights=(Point(0.5, 0.5, 1.5),)))
    assert set(middle) == {"ambient"}


def test_a_lamp_is_as_strong_as_its_light_on_the_picture() -> None:
    spec = Point(0.2, 0.3, 0.8)
    for aspect, width, height in ((1.0, 512, 512), (2.0, 1024, 512), (0.5, 400, 800)):
        total = weights_of(LightSpec(lights=(spec,)), FOUR, aspect).sum(axis=0)[0]
        assert total == pytest.approx(spec.spread(width, height).mean() / 0.3103, rel=0.03)


@pytest.mark.parametrize("lamp", DOME)
def test_a_real_lamp_has_what_comes_from_its_place(lamp: Lamp) -> None:
    share = shares(np.array([lamp.direction]), DOME)[0]
    assert share[DOME.index(lamp)] == pytest.approx(1, abs=1e-6)


def test_shares_are_shares_and_real_lamps_keep_the_direction_roughly() -> None:
    toward = np.random.default_rng(0).normal(size=(500, 3))
    toward[:, 2] = np.abs(toward[:, 2])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    for lamps in (FOUR, EIGHT, FOUR[:4], rig(["ambient"]), rig(["left"]), DOME, DOME[:3]):
        share = shares(toward, lamps)
        assert share.min() >= 0
        np.testing.assert_allclose(share.sum(axis=1), 1)
    mean = shares(toward, DOME) @ np.array([lamp.direction for lamp in DOME])
    high = toward[:, 2] > 0.3
    off = np.degrees(np.arccos(((mean * toward).sum(1) / np.linalg.norm(mean, axis=1)).clip(-1, 1)))
    assert np.median(off[high]) < 10


def test_light_that_is_none_is_refused() -> None:
    nothings: tuple[object, ...] = ("none", {}, LightSpec())
    for light in nothings:
        with pytest.raises(StageError, match="none is no light"):
            weights_of(light, FOUR)
    with pytest.raises(LightError):
        weights_of("lefft", FOUR)
    with pytest.raises(StageError, match="no light of this stage has a direction"):
        weights_of("left", rig(["ambient"]))
    with pytest.raises(StageError, match="no light of this stage has a direction"):
        weights_of("ambient", [Lamp("a", LightSpec(lights=(Directional(0), Directional(180))))])


def test_weights_by_name_and_back() -> None:
    weights = from_names({"left": [1, 0.5, 0.25], "ambient": 0.5}, FOUR)
    np.testing.assert_array_equal(weights, np.array([[1, 0.5, 0.25], [0] * 3, [0] * 3, [0] * 3, [0.5] * 3]))
    assert to_names(weights, FOUR) == {"left": [1, 0.5, 0.25], "ambient": [0.5] * 3}
    text: Any = json.dumps(to_names(weights, FOUR))
    np.testing.assert_array_equal(from_names(text, FOUR), weights)


@pytest.mark.parametrize("values", [
    {"lfet": 1}, {"left": -1}, {"left": float("nan")}, {"left": [1, 2]}, {"left": [1, 2, float("inf")]}, {"left": "1"},
    {"left": None}, {"left": True}, {"left": 10**400}, {"left": 0}, {}, [1], 3, "{", "[1, 2]", "[" * 100_000])
def test_weights_that_are_none_are_refused(values: Any) -> None:
    with pytest.raises(StageError):
        from_names(values, FOUR)


def test_an_unknown_name_is_corrected() -> None:
    with pytest.raises(StageError, match="Did you mean 'left'"):
        from_names({"lefft": 1}, FOUR)


# --- mixtures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [0, -1.5, 2, 20, -20])
def test_a_mixture_is_the_weighted_sum(stops: float) -> None:
    stage = random_stage(EIGHT, seed=1, height=131)
    weights = np.random.default_rng(2).random((9, 3)) * (np.arange(9) != 4)[:, None]
    expected = sum(weights[k] * pictures_of(stage)[k].astype(float) for k in range(9)) * 2.0**stops
    np.testing.assert_allclose(mix(stage, weights, stops), expected, rtol=1e-5)
    for bits in (8, 16):
        codes = np.rint(encode(expected.clip(0, 1)) * (2**bits - 1))
        made = mix_codes(stage, weights, stops, bits)
        assert made.dtype == (np.uint8 if bits == 8 else np.uint16)
        assert np.abs(made.astype(int) - codes).max() <= 1
        assert (made == codes).mean() > 0.9


def test_automatic_exposure_keeps_the_sets_brightness() -> None:
    stage = random_stage(FOUR, seed=3, height=90, width=120)
    rows = alpha_of(stage) > 0.5
    wanted = np.percentile((pictures_of(stage).mean(axis=0) @ LUMINANCE)[rows], 99)
    for weights in ({"left": 1}, {"top": 100, "ambient": 3}, {"right": [0.01, 0.02, 0], "left": 1e-3}):
        factors = from_names(weights, FOUR)
        assert np.percentile((mix(stage, factors) @ LUMINANCE)[rows], 99) == pytest.approx(wanted, rel=1e-3)
        np.testing.assert_allclose(mix(stage, factors * 7), mix(stage, factors), rtol=1e-4)


def test_a_black_set_stays_black() -> None:
    stage = from_pictures(FOUR, np.zeros((5, HEIGHT, WIDTH, 3), np.float32))
    assert not mix_codes(stage, np.ones((5, 3))).any()


@pytest.mark.parametrize("exposure", [-100, 20.5, float("nan"), float("inf"), "bright", None, True])
def test_an_exposure_that_is_none_is_refused(exposure: Any) -> None:
    with pytest.raises(StageError, match="exposure must be"):
        mix(random_stage(), np.ones((5, 3)), exposure)


@pytest.mark.parametrize("weights", [np.ones((4, 3)), np.ones(5), np.zeros((5, 3)), np.full((5, 3), np.nan),
                                     -np.ones((5, 3)), np.full((5, 3), 1e7)])
def test_weights_that_do_not_fit_are_refused(weights: NDArray[Any]) -> None:
    with pytest.raises(ICLightError):
        mix(random_stage(), weights)


def test_another_background() -> None:
    front, back, alpha = random_codes(0), random_codes(1), round_alpha()
    made = over(front, alpha, back)
    expected = front * alpha[..., None].astype(float) + back * (1 - alpha[..., None].astype(float))
    assert np.abs(made - expected).max() < 0.51
    with pytest.raises(StageError, match="background is 23"):
        over(front, alpha, back[:, 1:])


# --- .lp ----------------------------------------------------------------------------------------------------------


def test_an_lp_file_of_a_set_reads_elsewhere(tmp_path: Path) -> None:
    """By a reader written from the format's description alone."""
    from lib_iclight.stage import save

    lamps = (*DOME, *rig(["left", "ambient"]))
    save(random_stage(lamps), tmp_path)
    first, *lines = (tmp_path / "stage.lp").read_text(encoding="ascii").split("\n")
    assert int(first) == len(lamps)
    assert lines.pop() == ""
    for line, lamp in zip(lines, lamps, strict=True):
        name, *numbers = line.split(" ")
        assert (tmp_path / name).is_file()
        vector = [float(one) for one in numbers]
        assert sum(one * one for one in vector) == pytest.approx(1, abs=1e-5)
        assert lamp.direction is not None
        np.testing.assert_allclose(vector, lamp.direction, atol=1e-6)


def test_a_set_goes_to_the_tools_that_take_jpegs_by_their_order(tmp_path: Path,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    """relight's command line takes the JPEGs of a folder in the order of their names, one for each line of the list."""
    from lib_iclight import cli
    from lib_iclight.stage import load, save

    both = Lamp("both sides", LightSpec(lights=(Directional(0), Directional(180))))
    lamps = (*DOME, *rig(["left"]), both, *rig(["ambient"]))
    save(random_stage(lamps, height=64, width=64), tmp_path / "set")
    stage, out = load(tmp_path / "set"), tmp_path / "out"
    assert cli.main(["stage", "--to-lp", str(tmp_path / "set"), "-o", str(out)]) == 0
    assert "both sides has no direction, so it was left out" in capsys.readouterr().err
    first, *lines = (line.split() for line in (out / "stage.lp").read_text(encoding="ascii").splitlines())
    names = sorted(path.name for path in out.glob("*.jpg"))
    assert int(first[0]) == len(lines) == len(lamps) - 1
    assert [line[0] for line in lines] == names
    assert sorted(path.name for path in out.iterdir()) == [*names, "stage.lp"]
    kept = [number for number, lamp in enumerate(lamps) if lamp is not both]
    for number, (name, *vector) in zip(kept, lines, strict=True):
        direction = lamps[number].direction
        assert direction is not None
        np.testing.assert_allclose([float(one) for one in vector], direction, atol=1e-6)
        with Image.open(out / name) as picture:
            apart = [np.abs(np.asarray(picture).astype(int) - stage.codes(other)).mean() for other in kept]
        assert kept[int(np.argmin(apart))] == number
    assert cli.main(["stage", "--to-lp", str(tmp_path / "set"), "-o", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert cli.main(["stage", "--to-lp", str(tmp_path / "none"), "-o", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


def test_an_lp_file_is_a_stage(tmp_path: Path) -> None:
    from lib_iclight.stage import load, save

    from .stages import save_photos

    save_photos(tmp_path, ("a.jpg", "b b.jpg", "c.JPG"))
    (tmp_path / "dome.lp").write_bytes(b"\xef\xbb\xbf3\r\na.jpg 1 0 1\r\nC:\\old\\place\\b b.jpg\t0 2e0 0\r\n"
                                       b"/home/x/c.JPG -1 0.5 .5\r\n\r\n")
    stage = load(tmp_path / "dome.lp")
    assert stage.names == ("a", "b b", "c")
    half = math.sqrt(0.5)
    np.testing.assert_allclose(stage.directions[:2], np.array([[half, 0, half], [0, 1, 0]]), atol=1e-9)
    assert all(lamp.true for lamp in stage.lamps)
    save(stage, tmp_path / "as stage")
    again = load(tmp_path / "as stage" / "stage.lp")
    np.testing.assert_allclose(again.directions, stage.directions, atol=1e-6)
    np.testing.assert_array_equal(pictures_of(again), pictures_of(stage))


@pytest.mark.parametrize(("text", "words"), [
    ("", "begin with the number"), ("a.jpg 0 0 1", "begin with the number"),
    ("2\na.jpg 0 0 1", "promises 2 .* lists 1"), ("0\n", "no pictures"), ("1\na.jpg 0 0", "line 2"),
    ("1\na.jpg 0 0 x", "line 2"), ("1\na.jpg 0 0 0", "line 2.*0, 0, 0"),
    ("1\na.jpg nan 0 1", "line 2.*finite"), ("1\nb.jpg 0 0 1", r"b\.jpg is missing"),
    ("99999\n" + "a.jpg 0 0 1\n" * 99999, "at most")])
def test_faults_of_lp_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    from lib_iclight.stage import load

    from .stages import save_photos

    save_photos(tmp_path, ("a.jpg",))
    (tmp_path / "x.lp").write_text(text)
    with pytest.raises(StageError, match=words):
        load(tmp_path / "x.lp")
    with pytest.raises(StageError, match="cannot be read"):
        load(tmp_path / "y.lp")
