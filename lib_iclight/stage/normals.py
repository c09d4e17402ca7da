"""Which way each point of the subject faces, from how its brightness changes with the light.

A normal map is float32 [H, W, 3]: unit vectors, x right, y up, z to the camera; (0, 0, 1) outside the subject.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..color import LUMINANCE, linear_to_srgb
from ..errors import StageError
from .store import BAND, CLIPPED, Stage
from .files import LINEAR_OF_CODE

Method = Literal["pairs", "reference", "lambert"]
Normals = NDArray[np.float32]

RELIEF = 0.6
"""root mean square of the length of (x, y) over the subject, as the default method scales it"""
SIGMA = 10.0
"""the reference demo's"""
SHADOW = 0.12
"""A real lamp's pixel counts as shadowed where it is darker than this share of its brightest picture."""
OUTLIER = 0.12
"""Relative error of the model from which on a pixel of one lamp is left out of the next fit: a shadow or a highlight."""
PASSES = 4
"""fits of the least squares"""
SIDES = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "bottom": (0.0, -1.0), "top": (0.0, 1.0)}
NEAR = math.cos(math.radians(15.0))
"""how close to its side a light must be to serve as the light from there"""


def normals(stage: Stage, method: Method | None = None, relief: float = RELIEF) -> Normals:
    """The subject's normals.

    method: "pairs", "reference" or "lambert", see the functions of those names; None takes "lambert" for a set with three or
    more lights that have true directions, else "pairs". relief: 0 (flat) to 1, of "pairs".
    Raises StageError for another method, a relief out of range and a set that lacks the lights which a method needs.
    """
    if method is None:
        method = "lambert" if sum(lamp.true for lamp in stage.lamps) >= 3 else "pairs"
    if method == "pairs":
        return pairs(stage, relief)
    if method == "reference":
        return reference(stage)
    if method == "lambert":
        return lambert(stage)[0]
    raise StageError(f"normals are made by \"pairs\", \"reference\" or \"lambert\", not by {method!r:.40}.")


def pairs(stage: Stage, relief: float = RELIEF) -> Normals:
    """Normals from the lights of four sides: what is brighter under the one of a pair than under the other faces it.

    On sRGB-encoded luminance: u = (R - L) / (R + L), v = (T - B) / (T + B); the subject's mean of both is taken off, for it
    is the lights' difference and not the subject's; then they are scaled so that the root mean square of their length is
    `relief`; z = sqrt(1 - u^2 - v^2). Measured on known shapes, this beats the reference's formula by far.
    """
    if isinstance(relief, bool) or not isinstance(relief, int | float) or not 0.0 <= relief <= 1.0:
        raise StageError(f"relief must be a number from 0 (flat) to 1, not {relief!r:.20}.")
    numbers = side_numbers(stage)
    slope = np.empty((stage.height, stage.width, 2), np.float32)

    def compare(rows: slice, pictures: NDArray[np.float32]) -> None:
        left, right, bottom, top = linear_to_srgb((pictures @ LUMINANCE).clip(0.0, 1.0))
        slope[rows, :, 0] = (right - left) / (right + left + np.float32(1e-4))
        slope[rows, :, 1] = (top - bottom) / (top + bottom + np.float32(1e-4))

    stage.each_band(compare, numbers)
    return _from_slopes(slope, stage.subject, relief)


def reference(stage: Stage, sigma: float = SIGMA) -> Normals:
    """Normals as IC-Light's demo makes them from four relights, for comparison; its formula, and not more accurate.

    On sRGB-encoded values x, A the mean of the four: d(x) = (x + 1e-5) / (A + 1e-5) - 1; u = mean over red, green and blue of
    (d(R) - d(L)) / 2, v of (d(T) - d(B)) / 2; h = max(1 - u^2 - v^2, 0)^(sigma / 2); (u, v, h) normalised, blended to
    (0, 0, 1) by alpha. It is not normalised after blending, as in the demo.
    """
    numbers = side_numbers(stage)
    result = np.empty((stage.height, stage.width, 3), np.float32)

    def compare(rows: slice, pictures: NDArray[np.float32]) -> None:
        encoded = linear_to_srgb(pictures).astype(np.float64)
        mean = encoded.mean(axis=0) + 1e-5
        left, right, bottom, top = (encoded + 1e-5) / mean - 1.0
        u, v = ((right - left) / 2).mean(axis=2), ((top - bottom) / 2).mean(axis=2)
        h = np.maximum(1.0 - u**2 - v**2, 0.0) ** (sigma / 2)
        normal = np.stack([u, v, h], 2)
        normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
        alpha = stage.subject[rows][..., None]
        result[rows] = normal * alpha + np.array([0.0, 0.0, 1.0]) * (1.0 - alpha)

    stage.each_band(compare, numbers)
    return result


def lambert(stage: Stage) -> tuple[Normals, NDArray[np.float32]]:
    """Normals and albedo from three or more lamps with true directions, by least squares; returns both.

    A matte point under lamp k has the luminance albedo * (normal . direction_k) (Woodham, "Photometric Method for
    Determining Surface Orientation from Multiple Images", 1980). Left out, pixel by pixel: lamps whose picture is clipped
    there, those under which it is darker than SHADOW of its brightest, and after each of PASSES fits those further than OUTLIER
    from the model: cast shadows and highlights. Where fewer than three are left, the last good fit stays, or (0, 0, 1).
    Albedo, float32 [H, W], is in units of a picture's luminance. Raises StageError for fewer than three directions, and
    for lamps that stand in one plane with the subject, which leaves the normal open.
    """
    numbers = [number for number, lamp in enumerate(stage.lamps) if lamp.true]
    toward = stage.directions[numbers]
    if len(numbers) < 3 or np.linalg.svd(toward, compute_uv=False)[2] < 0.05:
        raise StageError("normals by \"lambert\" need three or more lights with true directions that are not all in one plane. "
                         "Use \"pairs\", or give the lamps' directions in stage.json.")
    normal = np.empty((stage.height, stage.width, 3), np.float32)
    albedo = np.empty((stage.height, stage.width), np.float32)
    burnt = np.float32(LINEAR_OF_CODE[16][round(CLIPPED * 65535)])
    outer = np.stack([toward[:, i] * toward[:, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))], 1)

    def fit(rows: slice, pictures: NDArray[np.float32]) -> None:
        light = (pictures @ LUMINANCE).reshape(len(numbers), -1).astype(np.float64)
        whole = (pictures < burnt).all(axis=3).reshape(len(numbers), -1)
        usable = whole & (light > SHADOW * light.max(axis=0)) & (light > 0)
        scaled = np.zeros((light.shape[1], 3))
        keep = usable
        for _ in range(PASSES):
            found, good = _solve(keep, light, toward, outer)
            scaled[good] = found[good]
            model = toward @ scaled.T
            error = np.abs(light - model) / np.maximum(model, 1e-6)
            keep = usable & (model > 0) & (error < np.maximum(OUTLIER, _middle(error, usable)))
        length = np.linalg.norm(scaled, axis=1)
        unit = np.where((length > 1e-6)[:, None], scaled / np.maximum(length, 1e-6)[:, None], (0.0, 0.0, 1.0))
        normal[rows] = unit.reshape(normal[rows].shape)
        albedo[rows] = length.reshape(albedo[rows].shape)

    stage.each_band(fit, numbers)
    return blended(normal, stage.subject), albedo


def blended(normal: Normals, alpha: NDArray[np.float32]) -> Normals:
    """Normals blended to (0, 0, 1) where alpha [H, W] falls to 0, of length 1 again."""
    mixed = normal * alpha[..., None]
    mixed[..., 2] += 1.0 - alpha
    length = np.linalg.norm(mixed, axis=2, keepdims=True)
    return np.where(length > 1e-6, mixed / np.maximum(length, 1e-6), np.float32([0, 0, 1])).astype(np.float32)


def to_colors(normal: Normals, bits: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A normal map as a picture: red = right, green = up, blue = to the camera, n * half + half, rounded."""
    half, kind = (127.5, np.uint8) if bits == 8 else (32767.5, np.uint16)
    return np.rint(normal.clip(-1.0, 1.0) * half + half).astype(kind)


def side_numbers(stage: Stage) -> list[int]:
    """The places of the pictures lit from the left, right, bottom and top. Raises StageError where one lacks."""
    found = []
    for name, (x, y) in SIDES.items():
        close = [(float(d[0] * x + d[1] * y), number) for number, (lamp, d) in enumerate(
            zip(stage.lamps, stage.directions, strict=True)) if not lamp.ambient and np.isfinite(d).all()]
        # Real lamps stand before the subject: what counts is the azimuth, and among several the lowest lamp.
        near = [(dot, number) for dot, number in close
                if dot > NEAR * math.hypot(*stage.directions[number][:2]) and dot > 0.2]
        if not near:
            raise StageError(f"normals from pairs of lights need lights from the left, right, bottom and top; "
                             f"this stage has none from the {name}.")
        found.append(max(near)[1])
    return found


def _from_slopes(slope: NDArray[np.float32], alpha: NDArray[np.float32], relief: float) -> Normals:
    """Normals of (u, v) [H, W, 2], once their mean is taken off and they are scaled to `relief`."""
    total = max(float(alpha.sum()), 1e-6)
    slope = slope - np.array([(slope[..., axis] * alpha).sum() / total for axis in (0, 1)], np.float32)
    square = (slope**2).sum(axis=2)
    rms = math.sqrt(float((square * alpha).sum()) / total)
    slope *= np.float32(relief / rms if rms > 1e-9 else 0.0)
    square = np.minimum((slope**2).sum(axis=2), 1.0)
    normal = np.concatenate([slope, np.sqrt(1.0 - square)[..., None]], 2)
    return blended(normal / np.linalg.norm(normal, axis=2, keepdims=True), alpha)


def _solve(keep: NDArray[np.bool_], light: NDArray[np.float64], toward: NDArray[np.float64],
           outer: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Albedo times normal [N, 3] by least squares over the lamps kept [L, N], and where it is determined [N]."""
    kept = keep.astype(np.float64)
    a, b, c, d, e, f = (kept.T @ outer).T
    x, y, z = (toward.T @ (kept * light))
    # The inverse of a symmetric 3 x 3 matrix by its cofactors.
    p, q, r, s, t, u = d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * p + b * q + c * r
    good = (kept.sum(axis=0) >= 3) & (determinant > 1e-4)
    found = np.stack([p * x + q * y + r * z, q * x + s * y + t * z, r * x + t * y + u * z], 1)
    return found / np.where(good, determinant, 1.0)[:, None], good


def _middle(error: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median over the usable lamps [L, N] of the error, [N]; where it is large, half of the lamps stay all the same."""
    ordered = np.sort(np.where(usable, error, np.inf), axis=0)
    half = np.maximum(usable.sum(axis=0) - 1, 0) // 2 + 1
    middle: NDArray[np.float64] = ordered[np.minimum(half, len(ordered) - 1), np.arange(ordered.shape[1])]
    return np.where(np.isfinite(middle), middle, 0.0)
