"""Render the pictures that the demo and the recipes relight: python -m training.examples

In examples/, of scenes that training never drew: rendered-vase.png, rendered-bust.png and products/ (each with its wall
in RGB and its cut-out as alpha), and rendered-wall.png (the vase's wall in warm light from the right).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .light_stage import TINTS, Lighting, lighting, random_scenes
from .renderer import Scenes, to_srgb

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SIZE = 256
SEED, COUNT, VASE = 999, 24, 15
"""of `random_scenes`, and which of them is the demo's"""
SUBJECTS = {"rendered-vase": VASE, "rendered-bust": 5, "products/white-vase": 2, "products/teal-block": 6,
            "products/brown-vase": 12}
"""file -> which of the scenes"""


def main() -> None:
    """Write all pictures."""
    scenes = random_scenes(COUNT, SIZE, torch.Generator().manual_seed(SEED))
    (EXAMPLES / "products").mkdir(exist_ok=True)
    for name, which in SUBJECTS.items():
        scene = one_of(scenes, which)
        light = lit(scene, azimuth=100, tint="soft studio light")
        _save(torch.cat([to_srgb(light.picture(scene)), scene.alpha], 1), name)
    vase = one_of(scenes, VASE)
    _save(to_srgb(lit(vase, azimuth=0, tint="warm sunset light").backdrop(vase)), "rendered-wall")


def _save(picture: Tensor, name: str) -> None:
    """The first of pictures [N,C,H,W], values 0..1."""
    pixels = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(EXAMPLES / f"{name}.png", optimize=True)


def one_of(scenes: Scenes, which: int) -> Scenes:
    """One of the scenes, alone in its batch."""
    return dataclasses.replace(scenes, captions=(scenes.captions[which],), **{
        field.name: value[which:which + 1] for field in dataclasses.fields(scenes)
        if isinstance(value := getattr(scenes, field.name), Tensor)})


def lit(scene: Scenes, *, azimuth: float, tint: str) -> Lighting:
    """A lamp at `azimuth` degrees (0 = right, 90 = top)."""
    return lighting(scene, torch.tensor([math.radians(azimuth)]), torch.tensor([0.45]), torch.tensor([1.5]),
                    torch.tensor([list(TINTS).index(tint)]), torch.tensor([0.2]))


if __name__ == "__main__":
    main()
