"""Environments: the light from all around, as a panorama, and what it means for a set of single lights.

A panorama is latitude-longitude, linear radiance [H, W, 3], W = 2 H: the first row is straight up; its middle column is
what lies behind the subject, where the camera looks (-z); to the right of it lies what is to the camera's right (+x).
Turned by an angle, what was in the middle moves that much to the right, and what was on the right comes to the camera's
side. The weights are those of Debevec et al., "Acquiring the Reflectance Field of a Human Face" (SIGGRAPH 2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE, srgb_to_linear
from ..errors import ImageError, StageError
from ..files import content, is_file
from ..imaging import load_image, read_picture, split_alpha
from ..imaging.decode import MAX_BYTES
from .files import to_codes
from .hdr import exr_from_bytes, read_exr, read_hdr
from .mix import MAX_EV, MIN_EV
from .rig import Lamp, directions
from .weights import Weights, checked, shares

GRID_WIDTH, GRID_HEIGHT = 64, 32
"""what a panorama is averaged to before its weights are taken"""
EXR = b"\x76\x2f\x31\x01"
"""what an OpenEXR file begins with"""
FINER = 4
"""points to a side of a point of the grid, at which cells are told apart"""
MIDDLE_GREY = 0.18
"""mean (geometric) luminance of a background at automatic exposure"""


@dataclass(frozen=True, eq=False)
class Environment:
    """Light from all around. Made by `load_environment`, `from_panorama` or `skies.sky`; it does not change."""

    radiance: NDArray[np.float32]
    """linear, not negative, [H, W, 3]; see the module for which way it lies"""
    rotation: float = 0.0
    """degrees about the vertical, see the module"""
    exposure: float = 0.0
    """stops that it is made brighter by"""

    def turned(self, rotation: float, exposure: float = 0.0) -> Environment:
        """The same environment turned further by `rotation` degrees and brighter by `exposure` stops.

        Raises StageError for what is not finite, and for an exposure outside MIN_EV..MAX_EV.
        """
        stops = self.exposure + exposure
        if not math.isfinite(rotation) or not MIN_EV <= stops <= MAX_EV:
            raise StageError("an environment is turned by a finite angle and exposed by "
                             f"{MIN_EV:g} to {MAX_EV:g} stops.")
        return replace(self, rotation=(self.rotation + rotation) % 360.0, exposure=stops)

    def weights(self, lamps: Sequence[Lamp], smooth: bool = False, saturation: float = 1.0) -> Weights:
        """The weights [L, 3] that light the subject as the environment does; all 1 where radiance is 1 all around.

        Weight k = L / (4 pi) * sum over the light's cell of radiance * cos(latitude) dlat dlon, L being the number of
        lights that take part. A cell is what is nearest to the light. Among drawn lights ambient stands for the front:
        its cell is the cap about +z that has 1 / L of the sphere, and each side has what is nearest in azimuth of the
        rest, so that light from everywhere weighs all alike. Where all of three or more real lamps stand before the
        subject, only the half of the sphere before it counts: nothing that the camera sees is lit from behind.

        smooth: `weights.shares` in place of cells, so that weights of a turning environment do not jump.
        saturation: 0 makes the weights grey, which keeps skin colours; 1 leaves their colour. Raises StageError.
        """
        if not 0.0 <= saturation <= 1.0:
            raise StageError("saturation must be a number from 0 to 1.")
        small = _averaged(self.radiance, GRID_WIDTH, GRID_HEIGHT)
        # Cells are cut finer than the grid, so that a point on a border is shared in proportion.
        toward, solid = _sphere(self.rotation, 1 if smooth else FINER)
        share, taking = _assigned(toward, lamps, smooth)
        if not smooth:
            share, solid = _gathered(share * solid[:, None]), _gathered(solid[:, None])[:, 0]
            share = share / solid[:, None]
        part = share.sum(axis=1)  # 0 where an environment does not count
        area = float(solid.sum() / (solid * part).sum())
        weights = area * taking / (4 * math.pi) * (share.T @ (solid[:, None] * small.reshape(-1, 3)))
        grey = (weights @ LUMINANCE)[:, None]
        return checked((grey + saturation * (weights - grey)) * 2.0 ** self.exposure, len(lamps))

    def horizon(self, width: int, height: int, fov: float = 50.0, exposure: float | str = "auto") -> NDArray[np.uint8]:
        """What a camera with `fov` degrees across the longer side sees behind the subject: uint8 sRGB [H, W, 3].

        exposure: stops, or "auto": the geometric mean of luminance becomes MIDDLE_GREY. Light is clipped at white.
        Raises StageError for a size under 1, a fov outside 1..170 and an exposure that is none.
        """
        if width < 1 or height < 1 or not 1.0 <= fov <= 170.0:
            raise StageError("a background needs a width and a height in pixels, "
                             "and a field of view of 1 to 170 degrees.")
        half = math.tan(math.radians(fov / 2)) / max(width, height)
        across = (2 * np.arange(width) + 1 - width)[None, :] * half
        up = (height - 1 - 2 * np.arange(height))[:, None] * half
        longitude = np.arctan(np.broadcast_to(across, (height, width))) - math.radians(self.rotation)
        latitude = np.arctan2(up, np.sqrt(1 + across**2))
        seen = _looked_up(self.radiance, longitude, latitude)
        if exposure == "auto":
            grey = math.exp(float(np.log(seen @ LUMINANCE + 1e-6).mean()))
            gain = MIDDLE_GREY / grey
        elif isinstance(exposure, int | float) and not isinstance(exposure, bool) and MIN_EV <= exposure <= MAX_EV:
            gain = 2.0 ** (exposure + self.exposure)
        else:
            raise StageError(f"exposure must be \"auto\" or a number of stops from {MIN_EV:g} to {MAX_EV:g}.")
        codes = to_codes(seen * np.float32(gain))
        assert codes.dtype == np.uint8
        return codes  # type: ignore[return-value]


def load_environment(source: Path | bytes, what: str = "environment") -> Environment:
    """An environment from a panorama: Radiance .hdr, EXR (with the package OpenEXR) or any picture, by its content.

    An ordinary picture is sRGB and ends at white, so its lamps and sun are weaker than they were. Raises StageError.
    """
    data = _bytes_of(source, what) if isinstance(source, Path) else source
    name = source.name if isinstance(source, Path) else f"the {what}"
    if data[:2] == b"#?":
        return from_panorama(read_hdr(data, name), name)
    if data[:4] == EXR:
        return from_panorama(read_exr(source) if isinstance(source, Path) else exr_from_bytes(data), name)
    if isinstance(source, Path) and source.suffix.lower() in (".hdr", ".exr"):
        raise StageError(f"{name} is damaged or not the picture that its name says. Copy or download it anew.")
    try:
        pixels, _ = split_alpha(load_image(data, what))
    except ImageError as error:
        raise StageError(str(error)) from error
    return from_panorama(srgb_to_linear(pixels / 255.0), name)


def _bytes_of(path: Path, what: str) -> bytes:
    """A panorama's file, told to be one by its first bytes. Raises StageError."""
    try:
        if is_file(path):
            with path.open("rb") as file:
                head = file.read(4)
            if head[:2] != b"#?" and head != EXR and path.suffix.lower() not in (".hdr", ".exr"):
                return read_picture(path, what)
        return content(path, MAX_BYTES)
    except ImageError as error:
        raise StageError(str(error)) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StageError(f"the {what} cannot be read ({why}). Check the file's name.") from error


def from_panorama(radiance: NDArray[np.float32], what: str = "the environment") -> Environment:
    """An environment of linear radiance [H, W, 3]. Negative values become 0.

    Raises StageError where it is not twice as wide as high (to a hundredth), is not finite, or is black.
    """
    if radiance.ndim != 3 or radiance.shape[2] != 3 or abs(radiance.shape[1] - 2 * radiance.shape[0]) \
            > max(1, 0.02 * radiance.shape[0]):
        raise StageError(f"{what} is {radiance.shape[1]} x {radiance.shape[0]} pixels. A panorama of all around is "
                         "twice as wide as high (latitude-longitude); convert it to that.")
    if not np.isfinite(radiance).all():
        raise StageError(f"{what} holds values that are no numbers. Save it anew.")
    radiance = np.maximum(radiance, 0.0).astype(np.float32)
    if not radiance.any():
        raise StageError(f"{what} is black, so there is no light in it.")
    return Environment(radiance)


def _sphere(rotation: float, finer: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each point of a grid that is so many times finer, row by row: the unit vector towards it, once turned, [N, 3],
    and its solid angle [N]."""
    wide, high = finer * GRID_WIDTH, finer * GRID_HEIGHT
    longitude = (np.arange(wide) + 0.5) / wide * 2 * math.pi - math.pi + math.radians(rotation)
    latitude = math.pi / 2 - (np.arange(high) + 0.5) / high * math.pi
    edges = np.sin(math.pi / 2 - np.arange(high + 1) / high * math.pi)
    lon, lat = np.broadcast_arrays(longitude[None, :], latitude[:, None])
    toward = np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), -np.cos(lon) * np.cos(lat)], 2).reshape(-1, 3)
    return toward, np.repeat((edges[:-1] - edges[1:]) * 2 * math.pi / wide, wide)


def _gathered(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of [N, L] of the finer grid over the points of the grid, [GRID_HEIGHT * GRID_WIDTH, L]."""
    cells: NDArray[np.float64] = values.reshape(GRID_HEIGHT, FINER, GRID_WIDTH, FINER, -1).sum(axis=(1, 3))
    return cells.reshape(GRID_HEIGHT * GRID_WIDTH, -1)


def _assigned(toward: NDArray[np.float64], lamps: Sequence[Lamp], smooth: bool) -> tuple[NDArray[np.float64], int]:
    """Each point's shares among the lights [N, L], in rows of sum 1 or 0; and how many lights take part."""
    sides = [number for number, lamp in enumerate(lamps) if lamp.direction is not None and not lamp.ambient]
    fill = [number for number, lamp in enumerate(lamps) if lamp.ambient]
    if not sides and not fill:
        raise StageError("no light of this stage has a direction, so an environment cannot be mixed. "
                         "Give weights by name.")
    real = [number for number in sides if lamps[number].true]
    ahead = np.ones(len(toward), bool)
    if len(real) >= 3:
        stand = directions([lamps[number] for number in real])
        if stand[:, 2].min() > -0.05:
            ahead = toward[:, 2] > 0.0
        share = shares(toward, lamps) if smooth else _nearest(toward @ stand.T, real, len(lamps))
        return share * ahead[:, None], len(real)
    if smooth:
        return shares(toward, lamps), len(sides) + len(fill)
    share = np.zeros((len(toward), len(lamps)))
    if sides:
        flat = directions([lamps[number] for number in sides])[:, :2]
        flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
        share = _nearest(toward[:, :2] @ flat.T, sides, len(lamps))
    if fill:
        count = len(sides) + len(fill)
        front = toward[:, 2] > 1.0 - 2.0 * len(fill) / count
        share[front] = 0.0
        for number in fill:
            share[front, number] = 1.0 / len(fill)
    return share, len(sides) + len(fill)


def _nearest(closeness: NDArray[np.float64], numbers: Sequence[int], count: int) -> NDArray[np.float64]:
    """Shares [N, count]: a point belongs to the light of largest closeness [N, len(numbers)], or evenly to several."""
    best = closeness >= closeness.max(axis=1, keepdims=True) - 1e-9
    share = np.zeros((len(closeness), count))
    share[:, list(numbers)] = best / best.sum(axis=1, keepdims=True)
    return share


def _averaged(radiance: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """A panorama averaged to [height, width, 3]; within so small a cell all of its rows count alike."""
    return np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(radiance[..., channel])).resize(
        (width, height), Image.Resampling.BOX)) for channel in range(3)], 2)


def _looked_up(radiance: NDArray[np.float32], longitude: NDArray[np.float64],
               latitude: NDArray[np.float64]) -> NDArray[np.float32]:
    """Radiance towards angles in radians, bilinear, [..., 3]; it goes on around the sides and ends at the poles."""
    height, width = radiance.shape[:2]
    column = (longitude / (2 * math.pi) + 0.5) * width - 0.5
    row = ((0.5 - latitude / math.pi) * height - 0.5).clip(0, height - 1)
    left, above = np.floor(column).astype(int), np.minimum(row.astype(int), max(height - 2, 0))
    right, below = (left + 1) % width, np.minimum(above + 1, height - 1)
    left %= width
    across = (column - np.floor(column))[..., None].astype(np.float32)
    down = (row - above)[..., None].astype(np.float32)
    upper = radiance[above, left] * (1 - across) + radiance[above, right] * across
    lower = radiance[below, left] * (1 - across) + radiance[below, right] * across
    blended: NDArray[np.float32] = upper * (1 - down) + lower * down
    return blended
