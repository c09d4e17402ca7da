"""Subjects and lights on which the page's sketches are compared with Python's."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib_iclight.lights import LightSpec
from lib_iclight.preview import Shape, shape_of, sketch

CLOSE = 3
"""codes of 255 by which a page's sketch may differ"""


@dataclass(frozen=True)
class Case:
    """A subject of its own colours before a photo, with a normal map of another size."""

    color: NDArray[Any]
    """uint8 [H, W, 3]"""
    alpha: NDArray[Any]
    """uint8 [H, W]"""
    photo: NDArray[Any]
    codes: NDArray[Any]
    """the normal map, uint8 [h, w, 3]"""
    own: tuple[float, float] = (0.3, -0.25)

    def expected(self, spec: dict[str, Any] | None, background: NDArray[Any] | None = None) -> NDArray[Any]:
        """What Python draws, uint8 [H, W, 3]."""
        normals = self.codes.astype(np.float32) / 127.5 - 1
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        light = "none" if spec is None else LightSpec.from_dict(spec)
        return sketch(self.photo, (self.alpha / 255).astype(np.float32), Shape(normals, self.own), light, background,
                      self.color)

    def for_page(self, specs: list[Any], background: NDArray[Any] | None = None) -> dict[str, Any]:
        """The same as JSON."""
        height, width = self.alpha.shape
        full = np.full_like(self.alpha, 255)
        return {
            "width": width, "height": height, "own": self.own, "specs": specs,
            "color": coded(np.dstack([self.color, self.alpha])), "photo": coded(np.dstack([self.photo, full])),
            "background": None if background is None else coded(np.dstack([background, full])),
            "map": {"width": self.codes.shape[1], "height": self.codes.shape[0],
                    "data": coded(np.dstack([self.codes, np.full(self.codes.shape[:2], 255, np.uint8)]))}}


def case(width: int = 64, height: int = 80) -> Case:
    """A striped ball with a soft edge before noise."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    far = np.hypot((x - width / 2) / (0.42 * width), (y - height / 2) / (0.42 * height))
    alpha = np.rint(255 * ((1.05 - far) * 8).clip(0, 1)).astype(np.uint8)
    stripes = np.stack([(np.sin(x / 5 + i) + 1) * 110 + rng.integers(0, 30, x.shape) for i in range(3)], -1)
    color = stripes.clip(0, 255).astype(np.uint8)
    noise = rng.integers(0, 256, color.shape, np.uint8)
    photo = np.rint(color * (alpha[..., None] / 255) + noise * (1 - alpha[..., None] / 255)).astype(np.uint8)
    half = np.ascontiguousarray(color[::2, ::2]), np.ascontiguousarray(alpha[::2, ::2] / np.float32(255))
    return Case(color, alpha, photo, np.rint(shape_of(*half).normals * 127.5 + 127.5).astype(np.uint8))


def specs(count: int) -> list[dict[str, Any]]:
    """Seeded light specs of all kinds of lights."""
    choose = random.Random(50)

    def color() -> str:
        return choose.choice([f"#{choose.randrange(1 << 24):06x}", f"{choose.randint(1667, 25000)}K"])

    def light() -> dict[str, Any]:
        common = {"color": color(), "intensity": choose.uniform(0, 2)}
        if choose.random() < 0.4:
            return {"kind": "directional", "angle": choose.uniform(0, 360), **common}
        hole = {"hole": choose.uniform(0.1, 0.9)} if choose.random() < 0.3 else {}
        return {"kind": "point", "x": choose.uniform(-0.5, 1.5), "y": choose.uniform(-0.5, 1.5),
                "radius": choose.uniform(0.1, 3), **hole, **common}

    return [{"ambient": color(), "lights": [light() for _ in range(choose.randint(0, 5))]} for _ in range(count)]


def coded(pixels: NDArray[Any]) -> str:
    """Pixels in base64."""
    return base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()


def decoded(text: str, like: NDArray[Any]) -> NDArray[Any]:
    """RGBA pixels of the page, uint8 [H, W, 4]."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(*like.shape[:2], 4)
