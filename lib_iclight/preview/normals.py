"""Normal maps that a person gives: from a ControlNet preprocessor, Blender, a game's asset, a light stage."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .shape import Shape, own_light, scaled

Convention = Literal["auto", "opengl", "directx"]

SURE = 1.15
"""How many times better one reading of green must fit than the other, so that the map itself tells."""
STEEP = 0.25
"""Normals with a smaller z lie at outlines and jumps of depth, where neighbours do not belong to one surface."""


def shape_from_normals(picture: NDArray[np.uint8], convention: Convention = "auto", *,
                       rgb: NDArray[np.uint8] | None = None, alpha: NDArray[np.float32] | None = None) -> Shape:
    """The shape that a normal map gives.

    picture: uint8 [H, W, 3], n * 127.5 + 127.5 with red to the right and blue to the camera. convention: "opengl" (green
    up), "directx" (green down), or "auto": told apart by `green_up`; where that cannot be told, "opengl" is taken and
    the shape's `sure` is False. rgb, alpha: the photo, uint8 [h, w, 3] and float32 [h, w], of whatever size; given, its
    own light is known as well. Black or transparent surroundings of a map face the camera.
    Raises ImageError for a picture that is not a normal map, and where its proportions are not the photo's.
    """
    if convention not in ("auto", "opengl", "directx"):
        raise ImageError(f"the convention of a normal map is auto, opengl or directx, not {convention!r}.")
    if getattr(picture, "ndim", 0) != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ImageError("a normal map is an 8-bit colour picture, and this is none. "
                         "Save it as an RGB picture without transparency.")
    codes = picture.astype(np.float32) / 127.5 - 1.0
    length = np.linalg.norm(codes, axis=-1, keepdims=True)
    there = (picture.max(axis=-1) > 8) & (length[..., 0] > 0.3)
    _check_is_map(codes, length[..., 0], there)
    normals = np.where(there[..., None], codes / np.maximum(length, 1e-6), np.float32([0.0, 0.0, 1.0]))
    normals = normals.astype(np.float32)
    normals[..., 2] = np.maximum(normals[..., 2], 0.0)
    evidence = green_up(normals, there)
    sure = True
    if convention == "auto":
        sure = max(evidence, 1.0 / evidence) >= SURE
        convention = "directx" if evidence < 1.0 / SURE else "opengl"
    if convention == "directx":
        normals[..., 1] *= -1.0
    own = (0.0, 0.0)
    if rgb is not None:
        matte = np.ones(rgb.shape[:2], np.float32) if alpha is None else alpha
        own = own_light(*_like(normals, rgb, matte), normals)
    return Shape(normals, own, "normals", convention, sure)


def green_up(normals: NDArray[np.float32], there: NDArray[np.bool_]) -> float:
    """How many times better "green is up" fits a normal map than "green is down"; above 0, 1 where nothing tells.

    normals: unit, float32 [H, W, 3] read with green up. there: bool [H, W], where the map has content.
    The slopes of a surface are those of one height, so the change of the x slope upwards equals that of the y slope to
    the right (its curl is 0). Read the wrong way round the two have opposite signs.
    """
    z = np.maximum(normals[..., 2], STEEP)
    across, up = normals[..., 0] / z, normals[..., 1] / z
    weight = there & (normals[..., 2] > STEEP)
    weight = weight[:-1, :-1] & weight[1:, :-1] & weight[:-1, 1:] & weight[1:, 1:]
    # Over a square of four pixels; rows run downwards.
    upwards = (across[:-1, :-1] + across[:-1, 1:] - across[1:, :-1] - across[1:, 1:])[weight]
    to_right = (up[:-1, 1:] + up[1:, 1:] - up[:-1, :-1] - up[1:, :-1])[weight]
    # Single jumps, seams and 8-bit steps must not decide: a mean of absolute values.
    tiny = 0.01
    return float((abs(upwards + to_right).mean() + tiny * 0.1) / (abs(upwards - to_right).mean() + tiny * 0.1)
                 ) if weight.any() else 1.0


def _check_is_map(codes: NDArray[np.float32], length: NDArray[np.float32], there: NDArray[np.bool_]) -> None:
    wrong = "this does not look like a normal map: {}. Use a picture of tangent-space normals (mostly light blue)."
    if there.mean() < 0.01:
        raise ImageError(wrong.format("it is black"))
    if (codes[..., 2][there] < -0.1).mean() > 0.3:
        raise ImageError(wrong.format("most of it faces away from the camera"))
    if (abs(length[there] - 1.0) > 0.35).mean() > 0.3:
        raise ImageError(wrong.format("its colours are no directions"))


def _like(normals: NDArray[Any], rgb: NDArray[np.uint8], alpha: NDArray[np.float32]
          ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The photo and its alpha at the map's size; raises ImageError for other proportions."""
    height, width = normals.shape[:2]
    own_height, own_width = rgb.shape[:2]
    if abs(own_width * height - own_height * width) > max(own_width, own_height, width, height) * 2:
        raise ImageError(f"the normal map has {width} x {height} pixels and the photo {own_width} x {own_height}: "
                         "other proportions. Use the normal map of this very picture.")
    return scaled(rgb, alpha, (width, height))
