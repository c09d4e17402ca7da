"""Moving light: what moves, that it repeats without a halt, and the files."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.errors import LightError, StageError
from lib_iclight.stage import EIGHT, FOUR, Lamp, Stage, animation, from_pictures, mix_codes, sky, weights_of
from lib_iclight.stage.mix import exposure_of

from .stages import HEIGHT, WIDTH, random_codes, random_stage

MOVEMENTS: dict[str, Callable[[Stage, Any], NDArray[Any]]] = {
    "orbit": lambda stage, count: animation.orbit(stage, count),
    "path": lambda stage, count: animation.along_path(stage, count, [(0, 0), (1, 0), (1, 1)], closed=True),
    "turning": lambda stage, count: animation.turning(stage, count, sky("sunset")),
    "cross-fade": lambda stage, count: animation.cross_fade(stage, count, ["left", "sunset", "top-right"]),
}


@pytest.mark.parametrize("name", MOVEMENTS)
@pytest.mark.parametrize("lamps", [FOUR, EIGHT])
def test_movements_go_around_in_small_steps(name: str, lamps: tuple[Lamp, ...]) -> None:
    stage = random_stage(lamps)
    moved = MOVEMENTS[name](stage, 48)
    assert moved.shape == (48, len(lamps), 3)
    steps = np.abs(np.diff(moved, axis=0, append=moved[:1])).max(axis=(1, 2))
    assert 0 < steps.max() < 0.4 * moved.max(), "nothing jumps"
    assert steps[-1] < 1.2 * steps[:-1].max(), "the last frame goes over into the first"
    assert MOVEMENTS[name](stage, 2).shape == (2, len(lamps), 3)


def test_an_orbit_goes_clockwise_from_the_top() -> None:
    moved = animation.orbit(random_stage(), 4, ambient="#000000")[..., 0]
    assert [FOUR[frame.argmax()].name for frame in moved] == ["top", "right", "bottom", "left"]
    np.testing.assert_allclose(moved.sum(axis=1), 1)


def test_a_lamps_path_is_walked_evenly_from_end_to_end() -> None:
    stage = random_stage()
    moved = animation.along_path(stage, 5, [(0, 0.5), (0.9, 0.5), (1, 0.5)], ambient="#000000")
    lamp = {"kind": "point", "radius": 2.0, "y": 0.5}
    for frame, x in enumerate((0, 0.25, 0.5, 0.75, 1)):
        expected = weights_of({"lights": [{**lamp, "x": x}]}, FOUR, WIDTH / HEIGHT)
        np.testing.assert_allclose(moved[frame], expected, atol=1e-6)


def test_a_cross_fade_stands_at_each_light() -> None:
    stage = random_stage()
    moved = animation.cross_fade(stage, 8, ["left", "ambient"])
    np.testing.assert_allclose(moved[0], weights_of("left", FOUR))
    np.testing.assert_allclose(moved[4], weights_of("ambient", FOUR))
    np.testing.assert_allclose(moved[2], (moved[0] + moved[4]) / 2)


def test_frames_share_one_exposure_and_take_a_background() -> None:
    stage = random_stage(seed=2)
    moved = animation.orbit(stage, 6)
    made = list(animation.frames(stage, moved))
    gain = exposure_of(stage, moved.mean(axis=0), "auto")
    for frame, weights in zip(made, moved, strict=True):
        assert np.abs(frame.astype(int) - mix_codes(stage, weights * np.float32(gain), 0.0)).max() == 0
    wall = random_codes(9)
    set_before = list(animation.frames(stage, moved, 0.0, wall))
    np.testing.assert_array_equal(set_before[0][stage.alpha == 0], wall[stage.alpha == 0])
    np.testing.assert_array_equal(set_before[0][stage.alpha == 1], mix_codes(stage, moved[0], 0.0)[stage.alpha == 1])


@pytest.mark.parametrize(("seconds", "fps", "words"), [
    (0, 24, "seconds"), (-1, 24, "seconds"), (float("nan"), 24, "seconds"), ("4", 24, "seconds"), (4, 0, "fps"),
    (4, 61, "frames a second"), (4, 0.5, "frames a second"), (1e6, 1, "1000000 frames"), (41667, 24, "1000008 frames"),
    (float("inf"), 24, "seconds"), (10**400, 24, "seconds"), (True, 24, "seconds")])
def test_times_that_are_none_are_refused(seconds: Any, fps: Any, words: str) -> None:
    with pytest.raises(StageError, match=words):
        animation.frame_count(seconds, fps)


def test_frames_are_counted() -> None:
    assert animation.frame_count(4, 24) == 96
    assert animation.frame_count(0.01, 24) == 2
    assert animation.frame_count(60, 60) == 3600


def test_movements_that_are_none_are_refused() -> None:
    stage = random_stage()
    for count in (0, 1, 10**6, 2.5, True):
        for move in MOVEMENTS.values():
            with pytest.raises(StageError):
                move(stage, count)
    bad: tuple[Any, ...] = ([], [(0, 0)], [(0.5, 0.5)] * 3, [(0, 0), (float("nan"), 1)], [(0, 0, 0), (1, 1, 1)])
    for points in bad:
        with pytest.raises(StageError):
            animation.along_path(stage, 4, points)
    with pytest.raises(LightError):
        animation.along_path(stage, 4, [(0, 0), (9, 9)])
    with pytest.raises(StageError):
        animation.cross_fade(stage, 4, ["left"])
    for text in ("{", "[[1]]", "[1, 2]", "[[\"a\", 1]]", f"[[{10**400}, 1]]", "7", "[" * 100_000,
                 # what Python would make numbers of
                 '["12", "34"]', '[["0", "1"], ["1", "1"]]', '{"12": 0, "34": 1}', "[[true, false], [0, 1]]",
                 '[{"1": 0, "2": 0}, [0, 1]]', '"1234"', "[[0, 0], [NaN, 1]]", "[[0, 0], [1e999, 1]]", "[[0, 0], null]",
                 "[[0, 0], [[1], [1]]]", "null", "true"):
        with pytest.raises(StageError, match="path") as caught:
            animation.path_from_json(text)
        assert "[[0, 0.5], [1, 0.5]]" in str(caught.value)
    assert animation.path_from_json("[[0, 0.5], [1, 2]]") == [(0.0, 0.5), (1.0, 2.0)]


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "count"), [(24, 12), (7, 5), (60, 9)])
def test_a_webp_has_the_frames_and_their_time(tmp_path: Path, fps: float, count: int) -> None:
    shades = [np.full((HEIGHT, WIDTH, 3), 20 + 200 * k // count, np.uint8) for k in range(count)]
    animation.write_animation(tmp_path / "a.webp", iter(shades), count, fps)
    with Image.open(tmp_path / "a.webp") as image:
        assert (image.n_frames, image.size) == (count, (WIDTH, HEIGHT))
        assert image.info["loop"] == 0
        total = 0
        for number, shade in enumerate(shades):
            image.seek(number)
            image.load()
            total += image.info["duration"]
            assert abs(int(np.asarray(image.convert("RGB"))[5, 5, 0]) - int(shade[5, 5, 0])) < 6
    assert total == round(1000 * count / fps)
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]


def test_files_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(StageError, match=r"ends in \.webp or \.mp4, not in '?\.gif"):
        animation.write_animation(tmp_path / "a.gif", [frame] * 2, 2, 24)
    with pytest.raises(StageError, match="too much for a WebP"):
        animation.write_animation(tmp_path / "a.webp", iter([frame] * 2), 3600 * 10**4, 24)
    with pytest.raises(StageError, match="cannot be written"):
        animation.write_animation(tmp_path / "no folder" / "a.webp", [frame] * 2, 2, 24)
    assert not list(tmp_path.iterdir())

    def broken() -> Iterator[NDArray[Any]]:
        yield frame
        raise StageError("a picture is missing")

    with pytest.raises(StageError, match="is missing"):
        animation.write_animation(tmp_path / "a.webp", broken(), 2, 24)
    assert not list(tmp_path.iterdir())


def test_an_mp4_without_a_package_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> object:
        if name in ("av", "imageio_ffmpeg"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StageError, match="av and imageio-ffmpeg: pip install av"):
        animation.write_animation(tmp_path / "a.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2, 2, 24)


@pytest.mark.parametrize("package", ["av", "imageio_ffmpeg"])
def test_an_mp4_gets_all_frames_at_an_even_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """With doubles of the packages, which take what the packages take."""
    got: list[tuple[int, ...]] = []
    seen: dict[str, Any] = {}

    class Stream:
        def encode(self, frame: object = None) -> list[object]:
            return [] if frame is None else [frame]

    class Container:
        def __init__(self, path: str, mode: str) -> None:
            assert mode == "w"
            Path(path).write_bytes(b"mp4")

        def __enter__(self) -> Container:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_stream(self, codec: str, rate: Fraction) -> Stream:
            stream = Stream()
            seen.update(rate=rate, stream=stream)
            return stream

        def mux(self, packets: list[NDArray[Any]]) -> None:
            got.extend(packet.shape for packet in packets)

    def write_frames(path: str, size: tuple[int, int], **_: object) -> Generator[None, NDArray[Any], None]:
        seen["size"] = size
        Path(path).write_bytes(b"mp4")
        while True:
            try:
                got.append((yield).shape)
            except GeneratorExit:
                return

    av = types.SimpleNamespace(open=Container, VideoFrame=types.SimpleNamespace(from_ndarray=lambda a, format: a))
    monkeypatch.setitem(sys.modules, "av", av if package == "av" else None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(write_frames=write_frames))
    frames = [random_codes(k, height=HEIGHT + 1, width=WIDTH + 1) for k in range(5)]
    animation.write_animation(tmp_path / "a.mp4", frames, 5, 12.5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert got == [(HEIGHT, WIDTH, 3)] * 5
    if package == "av":
        assert seen["rate"] == Fraction(25, 2)
        assert (seen["stream"].width, seen["stream"].height) == (WIDTH, HEIGHT)
    else:
        assert seen["size"] == (WIDTH, HEIGHT)


def test_an_mp4_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="at least 2 x 2"):
        animation.write_animation(tmp_path / "a.mp4", [np.zeros((1, 5, 3), np.uint8)] * 2, 2, 24)


def test_an_animation_of_a_whole_set(tmp_path: Path) -> None:
    stage = from_pictures(FOUR, np.random.default_rng(0).random((5, 33, 47, 3)).astype(np.float32))
    animation.write_animation(tmp_path / "a.webp", animation.frames(stage, animation.orbit(stage, 6)), 6, 12)
    with Image.open(tmp_path / "a.webp") as image:
        assert image.n_frames == 6
