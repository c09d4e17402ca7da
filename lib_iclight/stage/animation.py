"""Moving light: weights for each frame, the frames, and files of them.

A movement is the weights of all its frames, [F, L, 3]; one exposure serves them all, so that nothing flickers.
Movements that go around end one step before where they began, so that they repeat without a halt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import StageError, shown
from ..imaging.save import part_of
from ..jsontext import read_json
from ..lights import MAX_LIGHTS, Directional, LightSpec, Point
from .environment import Environment
from .mix import exposure_of, mix_codes, over
from .store import Stage
from .weights import weights_of

MAX_FRAMES = 3600
MIN_FPS, MAX_FPS = 1.0, 60.0
MAX_BYTES = 2**31
"""of all frames of a WebP, which Pillow holds at once"""
QUALITY = 95
"""of a WebP's frames: at 85 smooth backgrounds fall into blocks that move with the light"""
Movement = NDArray[np.float32]
"""weights of each frame, [F, L, 3]"""


def frame_count(seconds: float, fps: float) -> int:
    """How many frames an animation has, at least 2. Raises StageError for no time, and for more than MAX_FRAMES."""
    for name, value in (("seconds", seconds), ("fps", fps)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise StageError(f"{name} of an animation must be a number above 0 and not endless, not {value!r:.20}.")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise StageError(f"an animation has {MIN_FPS:g} to {MAX_FPS:g} frames a second, not {fps:g}.")
    if seconds * fps > MAX_FRAMES:
        raise StageError(f"an animation of {seconds:g} seconds has {seconds * fps:.0f} frames. "
                         f"Make it shorter or slower: at most {MAX_FRAMES} frames.")
    return max(2, round(seconds * fps))


def orbit(stage: Stage, count: int, color: str = "#ffffff", intensity: float = 1.0, ambient: str = "#202020",
          start: float = 90.0) -> Movement:
    """A light from one side that goes once around, clockwise from `start` degrees (90 = top), over ambient light."""
    return _specs(stage, (LightSpec(ambient, (Directional(start - 360.0 * frame / count, color, intensity),))
                          for frame in _frames(count)))


def along_path(stage: Stage, count: int, points: Sequence[tuple[float, float]], color: str = "#ffffff",
               intensity: float = 1.0, radius: float = 2.0, ambient: str = "#202020", closed: bool = False) -> Movement:
    """A lamp that moves evenly along the straight lines between `points`, (x, y) as in a light spec.

    closed: it goes back to where it began. Raises StageError for fewer than two points, or all at one place.
    """
    way = np.array([*points, *points[:1 if closed else 0]], np.float64)
    if way.ndim != 2 or way.shape[0] < 2 or way.shape[1] != 2 or not np.isfinite(way).all():
        raise StageError("a lamp's path needs two or more points, each an x and a y from 0 to 1.")
    lengths = np.concatenate([[0.0], np.hypot(*np.diff(way, axis=0).T).cumsum()])
    if lengths[-1] < 1e-6:
        raise StageError("the points of a lamp's path are all at one place. Give it somewhere to go.")
    at = np.arange(count) / (count if closed else max(count - 1, 1)) * lengths[-1]
    places = np.stack([np.interp(at, lengths, way[:, axis]) for axis in (0, 1)], 1)
    return _specs(stage, (LightSpec(ambient, (Point(float(places[frame][0]), float(places[frame][1]), radius, color,
                                                    intensity),)) for frame in _frames(count)))


def turning(stage: Stage, count: int, environment: Environment, turns: float = 1.0,
            saturation: float = 1.0) -> Movement:
    """An environment that turns about the vertical, by 360 degrees times `turns`."""
    return np.stack([environment.turned(360.0 * turns * frame / count).weights(stage.lamps, True, saturation)
                     for frame in _frames(count)])


def cross_fade(stage: Stage, count: int, lights: Sequence[Any]) -> Movement:
    """From each light (a preset's name or a spec) to the next and back to the first, with smooth starts and halts.

    Raises StageError for fewer than two lights.
    """
    if not 2 <= len(lights) <= MAX_LIGHTS:
        raise StageError(f"a cross-fade needs 2 to {MAX_LIGHTS} lights, not {len(lights)}.")
    ends = np.stack([weights_of(light, stage.lamps, stage.width / stage.height) for light in lights])
    at = np.arange(count) / len(_frames(count)) * len(lights)
    first = at.astype(int) % len(lights)
    share = (at % 1.0) ** 2 * (3.0 - 2.0 * (at % 1.0))
    share = share[:, None, None]
    mixed: Movement = ends[first] * (1.0 - share) + ends[(first + 1) % len(lights)] * share
    return mixed.astype(np.float32, copy=False)


def path_from_json(text: str) -> list[tuple[float, float]]:
    """The points of a path, `[[0, 0.5], [1, 0.5]]`. Raises StageError."""
    advice = "Write a list of points, like [[0, 0.5], [1, 0.5]]."
    values = read_json(text, "the path", StageError, advice)
    if not isinstance(values, list):
        raise StageError(f"the path must be a list of points, not {shown(values)}. {advice}")
    if len(values) > MAX_FRAMES:
        raise StageError(f"a path has at most {MAX_FRAMES} points, not {len(values)}.")
    for number, point in enumerate(values, 1):
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_place, point)):
            raise StageError(f"point {number} of the path must be two numbers, x and y, not {shown(point)}. {advice}")
    return [(float(x), float(y)) for x, y in values]


def _is_place(value: object) -> bool:
    """Whether it is a number of JSON's, and no text or truth that Python would make one of."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def frames(stage: Stage, movement: Movement, exposure: float | str = "auto",
           background: NDArray[np.uint8] | None = None) -> Iterator[NDArray[np.uint8]]:
    """The frames, uint8 sRGB [H, W, 3], as they are asked for.

    exposure: stops, or "auto", found once for the mean of the movement. background: uint8 [H, W, 3] to set the subject
    before.
    """
    gain = np.float32(exposure_of(stage, movement.mean(axis=0), exposure))
    for weights in movement:
        codes = mix_codes(stage, weights * gain, 0.0).astype(np.uint8, copy=False)
        yield over(codes, stage.subject, background) if background is not None else codes


def check_ending(path: Path) -> None:
    """Raise StageError for a file that is named like no animation."""
    if path.suffix.lower() not in (".webp", ".mp4"):
        raise StageError(f"an animation ends in .webp or .mp4, not in {path.suffix.lower() or 'nothing'!r:.20}.")


def write_animation(path: Path, pictures: Iterable[NDArray[np.uint8]], count: int, fps: float) -> None:
    """Write `count` frames as animated WebP or MP4 (H.264), by the file's ending. It is there whole or not at all.

    MP4 needs one of the optional packages `av` and `imageio-ffmpeg`. Raises StageError without, for another ending, and
    for frames that are too many for their size.
    """
    check_ending(path)
    ending = path.suffix.lower()
    writers = {".webp": _write_webp, ".mp4": _write_mp4}
    rest = iter(pictures)
    first = next(rest)
    try:
        with part_of(path, ending) as part:
            writers[ending](part, first, itertools.chain([first], rest), count, fps)
    except OSError as error:
        raise StageError(f"{path.name} cannot be written ({error.strerror or error}). "
                         "Choose a folder that may be written to and has room.") from error


def _write_webp(path: Path, first: NDArray[np.uint8], pictures: Iterator[NDArray[np.uint8]], count: int,
                fps: float) -> None:
    if first.nbytes * count > MAX_BYTES or max(first.shape) > 16383:
        raise StageError(f"{count} frames of {first.shape[1]} x {first.shape[0]} pixels are too much for a WebP. "
                         "Make the animation smaller or shorter, or write an MP4.")
    images = (Image.fromarray(picture) for picture in pictures)
    # Frames begin at whole milliseconds; each lasts until the next one's, so that the whole has its length.
    begins = [round(1000.0 * frame / fps) for frame in range(count + 1)]
    next(images).save(path, "WEBP", save_all=True, append_images=list(images), loop=0, quality=QUALITY, method=2,
                      duration=[later - sooner for sooner, later in itertools.pairwise(begins)])


def _write_mp4(path: Path, first: NDArray[np.uint8], pictures: Iterator[NDArray[np.uint8]], count: int,
               fps: float) -> None:
    height, width = (side - side % 2 for side in first.shape[:2])  # H.264 halves the colours' resolution
    if min(height, width) < 2:
        raise StageError("an MP4 is at least 2 x 2 pixels.")
    even = (np.ascontiguousarray(picture[:height, :width]) for picture in pictures)
    try:
        import av  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        _write_by_ffmpeg(path, even, (width, height), fps)
        return
    from fractions import Fraction

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18"}
        for picture in even:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def _write_by_ffmpeg(path: Path, pictures: Iterator[NDArray[np.uint8]], size: tuple[int, int], fps: float) -> None:
    try:
        import imageio_ffmpeg  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise StageError("MP4 needs one of the optional packages av and imageio-ffmpeg: pip install av. "
                         "Or write a .webp.") from error
    writer = imageio_ffmpeg.write_frames(str(path), size, fps=fps, codec="libx264", quality=8, macro_block_size=2)
    writer.send(None)
    try:
        for picture in pictures:
            writer.send(picture)
    finally:
        writer.close()


def _specs(stage: Stage, specs: Iterable[LightSpec]) -> Movement:
    """The weights of each spec."""
    return np.stack([weights_of(spec, stage.lamps, stage.width / stage.height) for spec in specs])


def _frames(count: int) -> range:
    """The frames' numbers. Raises StageError for a count that is none."""
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MAX_FRAMES:
        raise StageError(f"an animation has 2 to {MAX_FRAMES} frames, not {count!r:.20}.")
    return range(count)
