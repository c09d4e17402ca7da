"""Render the pictures that the demo relights: python -m training.examples

examples/rendered-vase.png (with its wall in RGB and its cut-out as alpha) and examples/rendered-wall.png (a wall in
warm light from the right), of a scene that training never drew.
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
SEED, WHICH = 999, 15


def main() -> None:
    """Write both pictures."""
    scene = example_scene()
    vase = torch.cat([to_srgb(lit(scene, azimuth=100, tint="soft studio light").picture(scene)), scene.alpha], 1)
    warm = to_srgb(lit(scene, azimuth=0, tint="warm sunset light").backdrop(scene))
    for name, picture in (("rendered-vase", vase), ("rendered-wall", warm)):
        pixels = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(EXAMPLES / f"{name}.png", optimize=True)


def example_scene() -> Scenes:
    """The scene of the examples, alone in its batch."""
    scenes = random_scenes(24, SIZE, torch.Generator().manual_seed(SEED))
    return dataclasses.replace(scenes, captions=(scenes.captions[WHICH],), **{
        field.name: value[WHICH:WHICH + 1] for field in dataclasses.fields(scenes)
        if isinstance(value := getattr(scenes, field.name), Tensor)})


def lit(scene: Scenes, *, azimuth: float, tint: str) -> Lighting:
    """A lamp at `azimuth` degrees (0 = right, 90 = top)."""
    return lighting(scene, torch.tensor([math.radians(azimuth)]), torch.tensor([0.45]), torch.tensor([1.5]),
                    torch.tensor([list(TINTS).index(tint)]), torch.tensor([0.2]))


if __name__ == "__main__":
    main()
