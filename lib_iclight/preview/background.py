"""The light that a background shows: from where, of which colour, how much of it from all around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE, linear_to_srgb, srgb_to_linear
from ..console import Note
from ..errors import ImageError
from ..lights import Directional, LightSpec, Point

GRID = 96
"""Shorter side, in pixels, that is looked at."""
BLUR = 0.06
"""Standard deviation, in shorter sides, of the blur that leaves of a picture its light."""
FLOOR = 0.01
"""Linear light added before logarithms are taken: what is nearly black tells nothing."""
CLEAR = 0.35
"""R² from which a direction is clear: the part of the brightness's variance that a plane explains."""
LEAST_CHANGE = 0.25
"""Natural logarithm of the brightness's change across the picture, below which no side is brighter."""
BURNT = 0.95
"""Linear luminance from which a pixel is clipped: a lamp, a window, the sun."""
LAMPS = 3
"""At most so many clipped blobs become lamps, the largest."""
LAMP_AREA = (0.0015, 0.08)
"""Smallest and largest part of the picture that a lamp takes; larger ones are skies and white walls."""
LEAST_SEEN = 0.02
"""The part of a background picture that the subject must leave free."""


@dataclass(frozen=True)
class FoundLight:
    """The light of a background."""

    spec: LightSpec
    """ready to be used; ambient alone where no direction is clear"""
    angle: float | None
    """degrees, 0 = from the right, 90 = from the top; None where no direction is clear"""
    clarity: float
    """R² of the plane, 0..1"""
    note: str
    """one plain sentence: what was found"""


def light_of(rgb: NDArray[np.uint8], subject: NDArray[np.float32] | None = None) -> FoundLight:
    """The light of a background picture, as a spec.

    rgb: uint8 sRGB [H, W, 3]. subject: float32 [H, W], 0..1: what of the picture is the subject and tells nothing.
    A plane is fitted to the blurred log luminance; its slope is the direction and R² says how clear that is. The mean
    colour of the brightest tenth is the light's, the median all around, and clipped blobs are lamps.
    Raises ImageError where the sizes differ or hardly any background is seen.
    """
    if subject is not None and subject.shape != rgb.shape[:2]:
        raise ImageError(f"the subject's mask has {subject.shape[1]} x {subject.shape[0]} pixels and the background "
                         f"{rgb.shape[1]} x {rgb.shape[0]}. Give both the same size.")
    linear, weight = _small(rgb, subject)
    if weight.mean() < LEAST_SEEN:
        raise ImageError("the subject covers the whole background picture, so no light can be seen in it. "
                         "Use another background.")
    luminance = linear @ LUMINANCE
    angle, change, clarity = _direction(luminance, weight)
    seen = weight > 0.5 if (weight > 0.5).any() else weight > 0.0
    values, colors = luminance[seen], linear[seen]
    middle = np.median(colors, axis=0)
    lamps = _lamps(linear, luminance, seen)
    ambient = _code(middle * (0.5 if angle is not None or lamps else 1.0))
    lights: list[Directional | Point] = list(lamps)
    if angle is not None:
        bright = colors[values >= np.quantile(values, 0.9)].mean(axis=0)
        color, peak = _hue(bright)
        # As the light map draws it: the spec's light and ambient give the bright side its brightness.
        intensity = round(float(np.clip(peak - 0.5 * middle.max(), 0.15, 1.0)), 2)
        lights.insert(0, Directional(round(angle, 1) % 360.0, color, intensity))
    return FoundLight(LightSpec(ambient, tuple(lights)), angle, clarity, _said(angle, clarity, len(lamps)))


def _small(rgb: NDArray[np.uint8], subject: NDArray[np.float32] | None
           ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear light [h, w, 3] of the picture scaled down, and how much of each pixel is background, [h, w]."""
    height, width = rgb.shape[:2]
    scale = min(1.0, GRID / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    linear = srgb_to_linear(small / 255.0)
    if subject is None:
        return linear, np.ones(linear.shape[:2], np.float32)
    covered = np.asarray(Image.fromarray(subject.astype(np.float32)).resize(size, Image.Resampling.BOX))
    free: NDArray[np.float32] = (1.0 - covered).clip(0.0, 1.0)
    return linear, free * free * free * free


def _direction(luminance: NDArray[np.float32], weight: NDArray[np.float32]) -> tuple[float | None, float, float]:
    """Where the light comes from in degrees, the logarithm of its change across the shorter side, and R²."""
    height, width = luminance.shape
    level = np.log(luminance + FLOOR)
    near = _blurred(weight) + 1e-6
    level = (_blurred(level * weight) / near).astype(np.float64)
    unit = min(height, width)
    x = np.broadcast_to((np.arange(width) - (width - 1) / 2)[None, :] / unit, level.shape)
    y = np.broadcast_to(-(np.arange(height) - (height - 1) / 2)[:, None] / unit, level.shape)
    design = np.stack([x.ravel(), y.ravel(), np.ones(level.size)], axis=1)
    root = np.sqrt(weight.ravel().astype(np.float64))
    found = np.linalg.lstsq(design * root[:, None], level.ravel() * root, rcond=None)[0]
    left = level.ravel() - design @ found
    total = level.ravel() - np.average(level.ravel(), weights=weight.ravel())
    explained = 1.0 - float((weight.ravel() * left**2).sum() / max(float((weight.ravel() * total**2).sum()), 1e-9))
    change = float(np.hypot(found[0], found[1]))
    clarity = min(max(explained, 0.0), 1.0) if change > 1e-3 else 0.0
    if clarity < CLEAR or change < LEAST_CHANGE:
        return None, change, clarity
    return math.degrees(math.atan2(found[1], found[0])) % 360.0, change, clarity


def _lamps(linear: NDArray[np.float32], luminance: NDArray[np.float32], seen: NDArray[np.bool_]) -> list[Point]:
    """Clipped blobs as point lights, the largest first; colours are those just round them, for clipped is white."""
    height, width = luminance.shape
    burnt = (luminance >= BURNT) & seen
    if not burnt.any():
        return []
    names = _labelled(burnt)
    kinds, areas = np.unique(names[names > 0], return_counts=True)
    made = []
    for name in kinds[np.argsort(-areas, kind="stable")]:
        blob = names == name
        part = blob.mean()
        if not LAMP_AREA[0] <= part <= LAMP_AREA[1]:
            continue
        rows, columns = np.nonzero(blob)
        rim = _grown(blob, 2) & ~blob & seen
        color, _ = _hue(linear[rim].mean(axis=0) if rim.any() else linear[blob].mean(axis=0))
        radius = 3.0 * math.sqrt(float(blob.sum()) / math.pi) / min(height, width)
        made.append(Point(round((columns.mean() + 0.5) / width, 3), round((rows.mean() + 0.5) / height, 3),
                          round(min(max(radius, 0.3), 2.0), 2), color, 1.0))
    return made[:LAMPS]


def _labelled(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each connected (8 neighbours) part of `mask`, 0 outside: the largest index in it, spread about."""
    names = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(names, 1)
        rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
        spread = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]) * mask
        if (spread == names).all():
            return names
        names = spread


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    for _ in range(by):
        padded = np.pad(mask, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return mask


def _blurred(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, w] under a Gaussian of BLUR shorter sides; only what lies inside the picture counts."""
    sigma = max(BLUR * min(plane.shape), 0.3)
    for count in plane.shape:
        at = np.arange(count)
        weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2)
        plane = ((weights / weights.sum(axis=1, keepdims=True)) @ plane).T
    return plane


def _hue(linear: NDArray[np.float32]) -> tuple[str, float]:
    """A colour with its largest component 1 as "#rrggbb", and what that component was."""
    peak = max(float(linear.max()), 1e-4)
    return _code(linear / peak), peak


def _code(linear: NDArray[np.float32]) -> str:
    return "#" + "".join(f"{int(code):02x}" for code in np.rint(255.0 * linear_to_srgb(linear.clip(0.0, 1.0))))


def _said(angle: float | None, clarity: float, lamps: int) -> Note:
    bright = {0: "", 1: ", and one lamp is seen"}.get(lamps, f", and {lamps} lamps are seen")
    if angle is None:
        return Note(f"No direction of light is clear in this background{bright}: the light comes from all around."
                    if not lamps else f"No side of this background is clearly brighter{bright}.")
    side = ("right", "top right", "top", "top left", "left", "bottom left", "bottom", "bottom right")[
        round(angle / 45.0) % 8]
    return Note(f"Light from the {side} ({round(angle) % 360} degrees, {100 * clarity:.0f} % clear){bright}.")
