"""Normals, albedo and depth, on bodies whose shape is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.color import LUMINANCE
from lib_iclight.errors import StageError
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    Direction,
    Lamp,
    Stage,
    albedo,
    depth,
    depth_codes,
    from_pictures,
    lambert,
    normals,
    pairs,
    reference,
    rig,
    save,
    store,
)
from lib_iclight.stage.normals import to_colors
from lib_iclight.stage.store import load

from .stages import HEIGHT, WIDTH, alpha_of, decode, encode, pictures_of, random_codes, random_stage, round_alpha

SIDES = ("left", "right", "bottom", "top")


def dome(count: int = 24) -> list[tuple[float, float, float]]:
    """Directions on rings at 30 and 60 degrees."""
    found = []
    for number in range(count):
        high, turn = math.radians((30, 60)[number % 2]), 2 * math.pi * number / count
        found.append((math.cos(turn) * math.cos(high), math.sin(turn) * math.cos(high), math.sin(high)))
    return found


def lamps(places: list[tuple[float, float, float]]) -> list[Lamp]:
    """Real lamps there."""
    return [Lamp(str(number), Direction(*place)) for number, place in enumerate(places)]


def ball(size: int = 64) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Normals, alpha and depth (in units of the side) of a ball that fills most of the picture."""
    along = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = along[None, :], -along[:, None]
    square = (x**2 + y**2) / 0.8**2
    alpha = ((1 - square) * size / 4).clip(0, 1)
    z = np.sqrt((1 - square).clip(0))
    normal = np.stack(np.broadcast_arrays(x / 0.8, y / 0.8, z), 2)
    normal[square >= 1] = (0, 0, 1)
    return normal.astype(np.float32), alpha.astype(np.float32), 0.4 * z


def photographed(paint: float | NDArray[Any] = 0.6, size: int = 64, gain: float = 1.0) -> Stage:
    """A matte ball under each lamp of the dome."""
    normal, alpha, _ = ball(size)
    shade = np.einsum("hwc,lc->lhw", normal, np.array(dome())).clip(0)
    pictures = (np.asarray(paint) * gain * shade[..., None] * np.ones(3)).clip(0, 1)
    return from_pictures(lamps(dome()), pictures.astype(np.float32), alpha)


def drawn(size: int = 64, lamps: tuple[Lamp, ...] = FOUR) -> Stage:
    """A matte ball under broad lights from the sides."""
    normal, alpha, _ = ball(size)
    pictures = [0.5 * (0.55 + 0.45 * (normal @ np.array(lamp.direction))) for lamp in lamps]
    return from_pictures(lamps, np.repeat(np.array(pictures, np.float32)[..., None], 3, 3), alpha)


def degrees(found: NDArray[Any], truth: NDArray[Any], where: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.degrees(np.arccos((found * truth).sum(axis=2).clip(-1, 1)))[where])


# --- the reference ------------------------------------------------------------------------------------------------


def demo(left: NDArray[Any], right: NDArray[Any], bottom: NDArray[Any], top: NDArray[Any],
         alpha: NDArray[Any]) -> NDArray[Any]:
    """IC-Light's demo in a few lines; pictures are sRGB 0..1."""
    mean = (left + right + bottom + top) / 4
    ratio = [(one + 1e-5) / (mean + 1e-5) - 1 for one in (left, right, bottom, top)]
    u, v = np.mean((ratio[1] - ratio[0]) * 0.5, axis=2), np.mean((ratio[3] - ratio[2]) * 0.5, axis=2)
    n = np.dstack([u, v, (1 - u * u - v * v).clip(0) ** (10 / 2)])
    n = n / np.sqrt((n * n).sum(axis=2, keepdims=True))
    return np.asarray(n * alpha[..., None] + np.array([0, 0, 1]) * (1 - alpha[..., None]))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("lamps", [FOUR, EIGHT, rig(["top", "ambient", "right", "left", "bottom"])])
def test_the_reference_is_the_demos_formula(tmp_path: Path, bits: int, lamps: tuple[Lamp, ...]) -> None:
    save(random_stage(lamps, seed=bits), tmp_path, bits)
    stage = load(tmp_path)
    encoded = {lamp.name: np.rint(encode(picture.astype(float)) * (2**bits - 1)) / (2**bits - 1)
               for lamp, picture in zip(lamps, pictures_of(stage), strict=True)}
    left, right, bottom, top = (encoded[name] for name in SIDES)
    expected = demo(left, right, bottom, top, alpha_of(stage).astype(float))
    np.testing.assert_allclose(reference(stage), expected, atol=1e-6)


# --- pairs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relief", [0.0, 0.3, 0.6, 1.0])
def test_pairs_have_the_relief_that_is_asked_for_and_no_tilt(relief: float) -> None:
    stage = random_stage(FOUR, seed=1, height=60, width=50)
    found = pairs(stage, relief)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    solid = stage.alpha == 1
    rms = math.sqrt(float((found[solid][:, :2] ** 2).sum(axis=1).mean()))
    assert rms == pytest.approx(relief, abs=0.25 if relief == 1 else 0.03)  # nothing is steeper than upright
    assert np.abs(found[solid][:, :2].mean(axis=0)).max() < 0.05
    np.testing.assert_array_equal(found[stage.alpha == 0], np.broadcast_to([0, 0, 1], found[stage.alpha == 0].shape))


@pytest.mark.parametrize("lamps", [FOUR, EIGHT])
def test_pairs_face_the_light(lamps: tuple[Lamp, ...]) -> None:
    truth, alpha, _ = ball()
    stage = drawn(lamps=lamps)
    assert degrees(pairs(stage, 0.64), truth, alpha > 0.9).mean() < 6
    gains = (1 + 0.3 * np.arange(len(lamps)) / len(lamps)).reshape(-1, 1, 1, 1).astype(np.float32)
    brighter = from_pictures(lamps, pictures_of(stage) * gains, alpha)
    assert degrees(pairs(brighter, 0.64), truth, alpha > 0.9).mean() < 9, "an uneven pair is no tilt"


def test_pairs_work_with_real_lamps_of_the_four_sides_and_in_bands(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = photographed(size=130)
    truth, alpha, _ = ball(130)
    assert degrees(normals(stage, "pairs", 0.64), truth, alpha > 0.9).mean() < 20
    save(stage, tmp_path, 16)
    held = load(tmp_path)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr(store, "CHUNK", 1)
    for method in ("pairs", "lambert", "reference"):
        np.testing.assert_allclose(normals(load(tmp_path), method), normals(held, method), atol=1e-5)


@pytest.mark.parametrize("relief", [-0.1, 1.1, float("nan"), "much", None, True])
def test_a_relief_that_is_none_is_refused(relief: Any) -> None:
    with pytest.raises(StageError, match="relief must be"):
        normals(random_stage(), relief=relief)


def test_what_a_method_needs_is_named() -> None:
    for method in ("pairs", "reference"):
        with pytest.raises(StageError, match="none from the bottom"):
            normals(random_stage(rig(["left", "right", "top", "ambient"])), method)
    for lamps in (FOUR, [Lamp("a", Direction(0, 0, 1)), Lamp("b", Direction(1, 0, 1)), Lamp("c", Direction(-1, 0, 1))]):
        with pytest.raises(StageError, match="three or more"):
            normals(random_stage(tuple(lamps)), "lambert")
    with pytest.raises(StageError, match="not by 'magic'"):
        normals(random_stage(), "magic")  # type: ignore[arg-type]


# --- lambert ------------------------------------------------------------------------------------------------------


def test_lambert_finds_a_balls_normals_and_is_the_default_with_real_lamps() -> None:
    paint = 0.2 + 0.7 * np.random.default_rng(0).random((64, 64, 1))
    stage, (truth, alpha, _) = photographed(paint), ball()
    assert degrees(normals(stage), truth, alpha == 1).max() < 0.2
    found = lambert(stage)[1]
    np.testing.assert_allclose(found[alpha == 1], paint[alpha == 1][:, 0], rtol=1e-3)
    assert not np.array_equal(normals(drawn()), lambert(stage)[0])


def test_lambert_leaves_out_what_is_clipped_shadowed_or_shines() -> None:
    truth, alpha, _ = ball()
    assert degrees(lambert(photographed(0.6, gain=2.2))[0], truth, alpha == 1).mean() < 0.2, "clipped"
    stage = photographed()
    shadowed, shining = pictures_of(stage).copy(), pictures_of(stage).copy()
    random = np.random.default_rng(1)
    for number in range(24):
        top, left = random.integers(0, 40, 2)
        shadowed[number, top:top + 20, left:left + 20] = 0.01
        half = np.array(dome()[number]) + np.array([0, 0, 1])
        shining[number] += 0.3 * ((truth @ half / np.linalg.norm(half)).clip(0) ** 60)[..., None]
    for pictures, limit in ((shadowed, 0.5), (shining, 1.0)):
        found = lambert(from_pictures(stage.lamps, pictures, alpha))[0]
        assert degrees(found, truth, alpha == 1).mean() < limit


def test_lambert_where_nothing_is_seen_is_flat() -> None:
    stage = photographed()
    dark = pictures_of(stage).copy()
    dark[:, 20:30, 20:30] = 0
    dark[:, 40:44, 40:44] = 1
    found = lambert(from_pictures(stage.lamps, dark, stage.alpha))[0]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[20:30, 20:30], np.broadcast_to([0, 0, 1], (10, 10, 3)), atol=1e-6)


def test_a_rendered_dome_to_two_degrees() -> None:
    """Bodies of the training renderer with their own and cast shadows, pictures of 16 bits."""
    torch = pytest.importorskip("torch")
    from training.light_stage import random_scenes
    from training.renderer import Directional, render

    scenes = random_scenes(4, 64, torch.Generator().manual_seed(5))
    pictures = torch.stack([render(scenes, Directional(torch.tensor([one]).expand(4, 3), torch.full((4, 3), 1.6)))
                            for one in dome()]).clamp(0, 1).numpy()
    truth, alpha = scenes.normal.numpy(), scenes.alpha.numpy()[:, 0]
    errors = []
    for number in range(4):
        linear = np.moveaxis(pictures[:, number], 1, 3)
        codes = np.rint(encode(linear.astype(float)) * 65535) / 65535
        stage = from_pictures(lamps(dome()), decode(codes), alpha[number])
        errors.append(degrees(normals(stage), np.moveaxis(truth[number], 0, 2), alpha[number] > 0.95).mean())
    assert np.mean(errors) <= 2, errors


# --- albedo and depth ---------------------------------------------------------------------------------------------


def test_albedo_loses_the_shading_and_keeps_the_paint_and_its_colour() -> None:
    truth, alpha, _ = ball()
    y, x = np.mgrid[:64, :64]
    paint = np.where(((x // 8 + y // 8) % 2)[..., None] == 1, (0.5, 0.2, 0.1), (0.3, 0.5, 0.7)).astype(np.float32)
    shade = np.einsum("hwc,lc->lhw", truth, np.array(dome())[:12]).clip(0) + 0.1
    stage = from_pictures(lamps(dome()[:12]), 0.6 * paint * shade[..., None], alpha)
    found, mean = albedo(stage, truth), pictures_of(stage).mean(axis=0)
    solid = alpha == 1
    ratios = {name: (one[solid] / paint[solid])[:, 1] for name, one in (("found", found), ("mean", mean))}
    assert ratios["found"].std() / ratios["found"].mean() < 0.35 * ratios["mean"].std() / ratios["mean"].mean()
    chroma = [one[solid] / (one[solid] @ LUMINANCE)[:, None] for one in (found, mean)]
    assert (found[solid].max(axis=1) < 1).mean() > 0.98
    kept = found[solid].max(axis=1) < 1
    np.testing.assert_allclose(chroma[0][kept], chroma[1][kept], rtol=1e-4)
    assert np.percentile(found[solid].max(axis=1), 99) == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(found[alpha == 0], mean[alpha == 0].clip(0, 1), atol=1e-6)
    with pytest.raises(StageError, match="the stage 64 x 64"):
        albedo(stage, truth[1:])


@pytest.mark.parametrize("wall", [0.0, 0.1, 0.4, 0.8])
def test_albedo_has_no_rim_before_any_background(wall: float) -> None:
    """At an edge four pixels soft nothing is brighter than the subject and the background on its two sides."""
    truth, _, _ = ball(128)
    y, x = np.mgrid[:128, :128] + 0.5
    alpha = ((0.38 * 128 - np.hypot(x - 64, y - 64)) / 4 + 0.5).clip(0, 1).astype(np.float32)
    shade = 0.9 * np.einsum("hwc,lc->lhw", truth, np.array(dome(8))).clip(0) + 0.1
    paint = np.array([0.5, 0.3, 0.2])
    pictures = paint * shade[..., None] * alpha[..., None] + wall * (1 - alpha[..., None])
    found = albedo(from_pictures(lamps(dome(8)), pictures.astype(np.float32), alpha), truth) @ LUMINANCE
    soft, near = (alpha > 0) & (alpha < 1), (alpha == 1) & (np.hypot(x - 64, y - 64) > 0.28 * 128)
    assert soft.sum() > 500
    assert found[soft].max() < 1.1 * max(found[near].max(), wall)


@pytest.mark.parametrize("size", [64, 97, 160])
def test_depth_is_a_balls(size: int) -> None:
    normal, alpha, high = ball(size)
    stage = from_pictures(rig(["left"]), np.zeros((1, size, size, 3), np.float32), alpha)
    found = depth(stage, normal)
    inner = alpha == 1
    off = (found - high)[inner]
    assert off.std() < 0.03 * high[inner].std()
    assert found[alpha > 0.5].min() == 0
    assert not found[alpha <= 0.5].any()
    codes = depth_codes(found, alpha)
    assert codes.dtype == np.uint16
    assert (codes[alpha > 0.5].min(), codes.max()) == (1, 65535)
    assert not codes[alpha <= 0.5].any()


def test_depth_of_slopes_that_no_edge_bends() -> None:
    """A plane in a ragged mask of several parts, wide and high."""
    alpha = np.zeros((80, 200), np.float32)
    alpha[5:70, 10:90], alpha[20:40, 30:60], alpha[10:75, 120:190] = 1, 0, 1
    slope = np.array([-0.3, 0.2, 1.0])  # z = 0.3 x - 0.2 y, in pixels
    normal = np.broadcast_to(slope / np.linalg.norm(slope), (80, 200, 3)).astype(np.float32)
    found = depth(from_pictures(rig(["left"]), np.zeros((1, 80, 200, 3), np.float32), alpha), normal) * 80
    y, x = np.mgrid[:80, :200]
    plane = 0.3 * x + 0.2 * y
    for part in (np.s_[:, :100], np.s_[:, 100:]):
        inside = alpha[part] == 1
        assert (found[part] - plane[part])[inside].std() < 0.15


def test_depth_of_nothing_is_nothing() -> None:
    dark = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    empty = from_pictures(rig(["left"]), dark, dark[0, ..., 0])
    flat = np.broadcast_to(np.array([0, 0, 1], np.float32), (HEIGHT, WIDTH, 3))
    assert not depth(empty, flat).any()
    assert not depth_codes(depth(empty, flat), alpha_of(empty)).any()
    whole = from_pictures(rig(["left"]), dark)
    assert not depth(whole, flat).any()
    assert (depth_codes(depth(whole, flat), whole.subject) == 1).all()


def test_a_normal_map_as_a_picture(tmp_path: Path) -> None:
    normal = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]]], np.float32)
    expected = [[[255, 128, 128], [128, 255, 128], [128, 128, 255], [0, 128, 128]]]
    np.testing.assert_array_equal(to_colors(normal), expected)
    assert to_colors(normal, 16).max() == 65535
    Image.fromarray(to_colors(np.repeat(normal, 4, 0))).save(tmp_path / "n.png")


def test_random_codes_do_not_upset_any_method() -> None:
    """Black, white and noise give unit normals, never NaN."""
    for pictures in (np.zeros((5, HEIGHT, WIDTH, 3), np.float32), np.ones((5, HEIGHT, WIDTH, 3), np.float32),
                     np.stack([random_codes(k) for k in range(5)]).astype(np.float32) / 255):
        stage = from_pictures(FOUR, pictures, round_alpha())
        for method in ("pairs", "reference"):
            assert np.isfinite(normals(stage, method)).all()
        assert np.isfinite(albedo(stage, pairs(stage))).all()
        assert np.isfinite(depth(stage, pairs(stage))).all()
