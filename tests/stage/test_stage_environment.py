"""Environments: what light from all around weighs, and the files it comes in."""

from __future__ import annotations

import builtins
import io
import itertools
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.errors import StageError
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    SKIES,
    Direction,
    Environment,
    Lamp,
    from_panorama,
    load_environment,
    rig,
    sky,
)
from lib_iclight.stage.hdr import read_hdr, write_hdr

RING = tuple(Lamp(name, Direction(*place)) for name, place in (
    ("behind", (0, 0, -1)), ("right", (1, 0, 0)), ("front", (0, 0, 1)), ("left", (-1, 0, 0)), ("up", (0, 1, 0)),
    ("down", (0, -1, 0))))
WIDTH, HEIGHT = 128, 64


def hot(direction: tuple[float, float, float], size: float = 1000.0) -> Environment:
    """A dark panorama with one bright pixel towards a direction."""
    x, y, z = np.array(direction, float) / np.linalg.norm(direction)
    panorama = np.full((32, 64, 3), 1e-6, np.float32)
    row = min(int((0.5 - math.asin(y) / math.pi) * 32), 31)
    panorama[row, int((math.atan2(x, -z) / (2 * math.pi) + 0.5) * 64) % 64] = size
    return from_panorama(panorama)


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lamps", [FOUR, EIGHT, FOUR[:4], EIGHT[:8], RING, rig(["left", "right", "ambient"]),
                                   rig(["ambient"])])
@pytest.mark.parametrize("rotation", [0.0, 33.3, -90.0])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_white_furnace_weighs_all_alike(lamps: tuple[Lamp, ...], rotation: float, smooth: bool) -> None:
    white = from_panorama(np.full((HEIGHT, WIDTH, 3), 1.0, np.float32)).turned(rotation)
    np.testing.assert_allclose(white.weights(lamps, smooth), 1.0, atol=0.015)


@pytest.mark.parametrize("lamps", [FOUR, EIGHT, RING])
def test_one_hot_pixel_goes_to_the_nearest_light(lamps: tuple[Lamp, ...]) -> None:
    random = np.random.default_rng(0)
    for number, lamp in enumerate(lamps):
        for _ in range(4):
            near = np.array(lamp.direction) + random.uniform(-0.15, 0.15, 3)
            weights = hot(tuple(near)).weights(lamps)[:, 0]
            assert weights[number] > 0.99 * weights.sum()
            assert hot(tuple(near)).weights(lamps, smooth=True)[:, 0].argmax() == number


def test_the_weight_of_a_hot_pixel_is_its_solid_angle() -> None:
    panorama = np.full((32, 64, 3), 0.0, np.float32)
    panorama[15, 48] = (100, 200, 400)  # on the right, just above the horizon
    solid = 2 * math.pi / 64 * (math.sin(math.pi / 32) - 0)
    weights = from_panorama(panorama).weights(RING)
    np.testing.assert_allclose(weights[1], np.array([100, 200, 400]) * solid * 6 / (4 * math.pi), rtol=1e-5)
    assert not np.delete(weights, 1, 0).any()


def test_rotation_by_a_quarter_rotates_the_weights() -> None:
    noise = np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(np.float32) ** 8
    environment = from_panorama(noise)
    for smooth in (False, True):
        before = environment.weights(RING, smooth)
        for turns in (1, 2, 3, -1):
            after = environment.turned(90.0 * turns).weights(RING, smooth)
            np.testing.assert_allclose(after[:4], np.roll(before[:4], turns, axis=0), rtol=1e-4)
            np.testing.assert_allclose(after[4:], before[4:], rtol=1e-4)


def test_drawn_lights_take_the_front_as_ambient_and_what_is_behind_as_sides() -> None:
    for direction, name in (((0, 0, 1), "ambient"), ((-0.3, 0.02, -1), "left"), ((0.3, 0.02, -1), "right"),
                            ((0.1, 0.9, -0.4), "top"), ((0, -1, 0.1), "bottom")):
        weights = hot(direction).weights(FOUR)[:, 0]
        assert FOUR[weights.argmax()].name == name


def test_a_dome_before_the_subject_is_lit_by_the_half_before_it() -> None:
    dome = RING[1:]
    weights = from_panorama(np.ones((HEIGHT, WIDTH, 3), np.float32)).weights(dome)
    assert weights[:, 0].sum() == pytest.approx(5, rel=1e-4)
    behind = hot((0.1, 0.1, -1), 1e4).weights(dome)
    assert behind.max() < 0.01


def test_exposure_and_saturation() -> None:
    environment = from_panorama(np.full((8, 16, 3), (1, 0.5, 0.25), np.float32))
    np.testing.assert_allclose(environment.turned(0, 3).weights(FOUR), 8 * environment.weights(FOUR), rtol=1e-5)
    grey = environment.weights(FOUR, saturation=0.0)
    np.testing.assert_allclose(grey, np.full((5, 3), 0.2126 + 0.5 * 0.7152 + 0.25 * 0.0722), rtol=0.01)
    for saturation in (-0.1, 1.1, float("nan")):
        with pytest.raises(StageError):
            environment.weights(FOUR, saturation=saturation)
    for rotation, exposure in ((float("nan"), 0), (0, -100), (0, float("nan"))):
        with pytest.raises(StageError):
            environment.turned(rotation, exposure)


def test_a_set_without_directions_is_refused() -> None:
    from lib_iclight.lights import Directional, LightSpec

    with pytest.raises(StageError, match="direction"):
        sky("overcast").weights([Lamp("a", LightSpec(lights=(Directional(0), Directional(180))))])


# --- horizon and skies --------------------------------------------------------------------------------------------


def test_the_horizon_is_what_is_behind_the_subject() -> None:
    panorama = np.full((HEIGHT, WIDTH, 3), 0.1, np.float32)
    panorama[:, WIDTH // 2:] = (0.5, 0.1, 0.1)  # red to the right of the middle
    panorama[:HEIGHT // 2] *= 1.5
    picture = from_panorama(panorama).horizon(40, 30, exposure=0.0).astype(int)
    assert picture.shape == (30, 40, 3)
    assert (picture[5:25, 25:, 0] > picture[5:25, 25:, 1] + 50).all(), "the right is red"
    assert (picture[5:25, :15, 0] == picture[5:25, :15, 1]).all()
    assert (picture[:10, :, 1] > picture[20:, :, 1]).all(), "above is brighter"
    turned = from_panorama(panorama).turned(90).horizon(40, 30, exposure=0.0)
    assert (turned[..., 0] == turned[..., 1]).all(), "what was on the left is behind now"
    for size in ((0, 10), (10, 0)):
        with pytest.raises(StageError):
            from_panorama(panorama).horizon(*size)
    for wrong in ({"fov": 0.5}, {"fov": 180}, {"exposure": "x"}, {"exposure": -100}):
        with pytest.raises(StageError):
            from_panorama(panorama).horizon(10, 10, **wrong)


def test_the_horizons_geometry_is_a_cameras() -> None:
    """A direction is seen where a pinhole camera of that field of view projects it."""
    for x, y in ((0.2, 0.1), (-0.3, 0.2), (0.0, -0.25)):
        panorama = np.full((512, 1024, 3), 0.001, np.float32)
        length = math.sqrt(x * x + y * y + 1)
        row, column = (0.5 - math.asin(y / length) / math.pi) * 512, (math.atan2(x, 1) / (2 * math.pi) + 0.5) * 1024
        panorama[int(row) - 2:int(row) + 3, int(column) - 2:int(column) + 3] = 1
        seen = from_panorama(panorama).horizon(200, 160, fov=60, exposure=0.0)[..., 0] > 60
        down, across = np.argwhere(seen).mean(axis=0) + 0.5
        focal = 100 / math.tan(math.radians(30))
        assert (across - 100, 80 - down) == pytest.approx((x * focal, y * focal), abs=1.5)


@pytest.mark.parametrize("name", SKIES)
def test_skies_are_skies(name: str) -> None:
    made = sky(name)
    assert np.isfinite(made.radiance).all()
    top, bottom = made.radiance[:128], made.radiance[128:]
    assert top.mean() > bottom.mean() > 0
    weights = {lamp.name: row for lamp, row in zip(FOUR, made.weights(FOUR), strict=True)}
    assert weights["top"].sum() > weights["bottom"].sum()
    if name == "overcast":
        np.testing.assert_allclose(weights["left"], weights["right"], rtol=1e-3)
    else:
        assert weights["right"].sum() > weights["left"].sum(), "the sun is to the right"
    if name == "sunset":
        assert weights["right"].argmax() == 0
        assert weights["right"][0] > 1.5 * weights["right"][2], "and warm"
    with pytest.raises(StageError, match="There are: clear noon"):
        sky("dawn")


# --- files --------------------------------------------------------------------------------------------------------


def rgbe(height: int, width: int, seed: int = 0) -> NDArray[Any]:
    """Pixels with runs, never ones that the old form takes for a count."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[:, width // 3:width // 2] = pixels[:, width // 3:width // 3 + 1]
    pixels[height // 2] = (9, 8, 7, 130)
    pixels[..., 0] |= 4  # neither 1 nor 2 first
    pixels[..., 3] = pixels[..., 3] % 30 + 115
    return pixels


def new_form(row: NDArray[Any]) -> bytes:
    coded = bytes([2, 2, len(row) >> 8, len(row) & 255])
    for channel in row.T:
        at = 0
        while at < len(channel):
            run = 1
            while at + run < len(channel) and run < 127 and channel[at + run] == channel[at]:
                run += 1
            if run > 2:
                coded += bytes([128 + run, channel[at]])
                at += run
            else:
                some = bytes(channel[at:at + min(5, len(channel) - at)])
                coded += bytes([len(some)]) + some
                at += len(some)
    return coded


def old_form(row: NDArray[Any]) -> bytes:
    coded, at = b"", 0
    while at < len(row):
        coded += row[at].tobytes()
        run = 0
        while at + 1 + run < len(row) and (row[at + 1 + run] == row[at]).all():
            run += 1
        left = run
        while left:  # several marks after each other count in powers of 256
            if left & 255:
                coded += bytes([1, 1, 1, left & 255])
            else:
                coded += bytes([1, 1, 1, 0])
            left >>= 8
        at += 1 + run
    return coded


def file(pixels: NDArray[Any], code: Callable[[NDArray[Any]], bytes], axes: str | None = None,
         header: str = "") -> bytes:
    axes = axes or f"-Y {pixels.shape[0]} +X {pixels.shape[1]}"
    return f"#?RADIANCE\n# by a test\nFORMAT=32-bit_rle_rgbe\n{header}\n{axes}\n".encode() + b"".join(
        code(row) for row in pixels)


def by_hand(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.array([[[(m + 0.5) * 2.0 ** (int(e) - 136) if e else 0.0 for m in (r, g, b)] for r, g, b, e in row]
                     for row in pixels.tolist()])


def test_flat_and_both_run_length_forms_read_alike() -> None:
    for height, width in ((4, 8), (6, 37), (3, 700), (2, 5)):
        pixels = rgbe(height, width, seed=width)
        expected = by_hand(pixels)
        for code in (lambda row: row.tobytes(), old_form, *([new_form] if width >= 8 else [])):
            np.testing.assert_allclose(read_hdr(file(pixels, code)), expected, rtol=1e-6)
        forms = itertools.cycle((old_form, new_form, bytes) if width >= 8 else (old_form, bytes))
        mixed = file(pixels, lambda row, forms=forms: next(forms)(row))
        np.testing.assert_allclose(read_hdr(mixed), expected, rtol=1e-6)


def test_a_zero_exponent_is_black_and_the_headers_exposure_counts() -> None:
    pixels = rgbe(4, 8)
    pixels[0, :, 3] = 0
    plain = read_hdr(file(pixels, bytes))
    assert not plain[0].any()
    exposed = read_hdr(file(pixels, bytes, header="EXPOSURE=2\nEXPOSURE= 4.0\n"))
    np.testing.assert_allclose(exposed, plain / 8, rtol=1e-6)


@pytest.mark.parametrize(("axes", "turn"), [
    ("+Y 4 +X 9", lambda a: a[::-1]), ("-Y 4 -X 9", lambda a: a[:, ::-1]), ("+Y 4 -X 9", lambda a: a[::-1, ::-1]),
    ("+X 4 -Y 9", lambda a: a.transpose(1, 0, 2)), ("+X 4 +Y 9", lambda a: a.transpose(1, 0, 2)[::-1]),
    ("-X 4 -Y 9", lambda a: a.transpose(1, 0, 2)[:, ::-1])])
def test_all_orders_of_the_axes(axes: str, turn: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    pixels = rgbe(4, 9)
    np.testing.assert_allclose(read_hdr(file(pixels, bytes, axes)), turn(by_hand(pixels)), rtol=1e-6)


def test_what_is_written_is_read() -> None:
    linear = (np.random.default_rng(3).random((8, 16, 3)) ** 6 * 500).astype(np.float32)
    linear[0, 0] = 0
    np.testing.assert_allclose(read_hdr(write_hdr(linear)), linear, atol=500 / 256, rtol=0.01)
    back = read_hdr(write_hdr(linear))
    assert np.abs(back - linear).max(axis=2)[linear.max(axis=2) > 0].max() < 2
    assert (np.abs(back - linear).max(axis=2) <= linear.max(axis=2) / 128).all()


def test_a_picture_cut_short_or_damaged_is_named() -> None:
    pixels = rgbe(4, 20)
    for code in (bytes, old_form, new_form):
        whole = file(pixels, code)
        start = whole.index(b"+X 20\n") + 6
        for size in [*range(start, len(whole), 7), len(whole) - 1]:
            with pytest.raises(StageError, match="cut short|damaged"):
                read_hdr(whole[:size])
    for data, words in ((b"", "no Radiance"), (b"P6 3 3", "no Radiance"), (b"#?RADIANCE\n\nno size\n", "header"),
                        (b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 4 +X 8\n", "another kind"),
                        (b"#?RADIANCE\nEXPOSURE=x\n\n-Y 4 +X 8\n", "header"), (b"#?RADIANCE\n\n-Y 4 +Y 8\n", "header"),
                        (b"#?RADIANCE\n\n-Y 999999 +X 999999\n", "cannot be used"),
                        (b"#?RADIANCE\n\n-Y 0 +X 8\n", "cannot be used"),
                        (b"#?RADIANCE\n\n-Y 1 +X 8\n\x02\x02\x00\x08\xff\x01", "longer than its row"),
                        (b"#?RADIANCE\n\n-Y 1 +X 8\n\x02\x02\x00\x08\x00\x01", "longer than its row"),
                        (b"#?RADIANCE\n\n-Y 1 +X 8\n\x02\x02\x00\x09\x00\x01", "another length"),
                        (b"#?RADIANCE\n\n-Y 1 +X 2\n" + b"\1\1\1\5" * 2, "longer than its row")):
        with pytest.raises(StageError, match=words):
            read_hdr(data)


def test_environments_come_from_files(tmp_path: Path) -> None:
    linear = np.random.default_rng(4).random((16, 32, 3)).astype(np.float32) * 50
    (tmp_path / "a.hdr").write_bytes(write_hdr(linear))
    loaded = load_environment(tmp_path / "a.hdr")
    np.testing.assert_allclose(loaded.radiance, linear, atol=0.3)
    np.testing.assert_array_equal(load_environment((tmp_path / "a.hdr").read_bytes()).radiance, loaded.radiance)
    codes = np.random.default_rng(5).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(codes).save(tmp_path / "a.png")
    expected = ((codes / 255 + 0.055) / 1.055) ** 2.4
    expected = np.where(codes > 10, expected, codes / 255 / 12.92)
    np.testing.assert_allclose(load_environment(tmp_path / "a.png").radiance, expected, atol=1e-6)


def test_environments_that_are_none_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "square.png")
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "text.hdr").write_text("no picture")
    (tmp_path / "short.hdr").write_bytes(write_hdr(np.ones((16, 32, 3), np.float32))[:-1])
    for name, words in (("square.png", "twice as"), ("black.png", "black"), ("text.hdr", r"text\.hdr is damaged"),
                        ("short.hdr", r"short\.hdr is cut short"), ("gone.hdr", "cannot be read")):
        with pytest.raises(StageError, match=words) as caught:
            load_environment(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)
    for array in (np.ones((4, 8)), np.full((4, 8, 3), np.nan), np.full((4, 8, 3), -1.0)):
        with pytest.raises((StageError, IndexError)):
            from_panorama(array.astype(np.float32))


EXR = b"\x76\x2f\x31\x01" + bytes(60)


def test_exr_without_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> object:
        if name == "OpenEXR":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.exr").write_bytes(EXR)
    for source in (tmp_path / "a.exr", EXR):
        with pytest.raises(StageError, match="pip install OpenEXR"):
            load_environment(source)


def test_exr_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's interface in a double: a file is a context with channels, RGB together or apart."""
    linear = np.random.default_rng(6).random((4, 8, 3)).astype(np.float16)
    shown: dict[str, NDArray[Any]] = {}

    class File:
        def __init__(self, path: str) -> None:
            if "bad" in Path(path).name:
                raise RuntimeError("not an EXR")
            assert Path(path).read_bytes() == EXR

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def channels(self) -> dict[str, object]:
            return {name: types.SimpleNamespace(pixels=values) for name, values in shown.items()}

    monkeypatch.setitem(sys.modules, "OpenEXR", types.SimpleNamespace(File=File))
    (tmp_path / "a.exr").write_bytes(EXR)
    (tmp_path / "bad.exr").write_bytes(EXR)
    for channels, expected in (({"RGB": linear}, linear), ({"RGBA": np.dstack([linear, linear[..., :1]])}, linear),
                               (dict(zip("RGB", np.moveaxis(linear, 2, 0), strict=True)), linear),
                               ({"Y": linear[..., 0]}, np.repeat(linear[..., :1], 3, 2))):
        shown.clear()
        shown.update(channels)
        for source in (tmp_path / "a.exr", EXR):
            np.testing.assert_allclose(load_environment(source).radiance, expected)
    shown.clear()
    shown["Z"] = linear[..., 0]
    with pytest.raises(StageError, match="no red, green and blue"):
        load_environment(tmp_path / "a.exr")
    with pytest.raises(StageError, match=r"bad\.exr is damaged"):
        load_environment(tmp_path / "bad.exr")


def test_an_ordinary_picture_that_is_damaged(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    with pytest.raises(StageError, match="damaged|cut short"):
        load_environment(buffer.getvalue()[:-2000])
    with pytest.raises(StageError, match="no picture format"):
        load_environment(b"what is this")
