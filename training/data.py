"""The light stage's pictures on disk, and captions for them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from . import config
from .light_stage import COLORS, MATERIALS, SHAPES, SIDES, TINTS, random_lighting, random_scenes, to_srgb

LIGHTINGS = 4
"""per scene: a, b, a and b together, c"""
DISTRACTORS = ("best quality", "highly detailed", "photo", "studio photography", "portrait", "sharp focus",
               "masterpiece", "indoors", "on a table", "8k")
UNWANTED = "lowres, bad anatomy, bad hands, cropped, worst quality"
"""the usual negative prompt; it has to mean as little as no prompt"""
MEANINGFUL = sorted({word for name in (*COLORS, *SHAPES, *MATERIALS, *SIDES, *TINTS) for word in name.split()})


@dataclass(frozen=True)
class Shards:
    """Rendered scenes. pictures, backdrops: uint8 sRGB [N, 4, 3, H, W]; alpha: uint8 [N, 1, H, W]; mapped files."""

    pictures: np.ndarray
    backdrops: np.ndarray
    alpha: np.ndarray
    subjects: list[str]
    lights: list[list[str]]


def render_shards(folder: Path, scenes: int, seed: int) -> Shards:
    """The first `scenes` of the data set in `folder`; what is missing is rendered. Each shard has a seed of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    size, per = config.SIZE, config.SCENES_PER_SHARD
    shape = (config.SCENES, LIGHTINGS, 3, size, size)
    paths = {name: folder / f"{name}.npy" for name in ("pictures", "backdrops", "alpha")}
    shapes = {"pictures": shape, "backdrops": shape, "alpha": (config.SCENES, 1, size, size)}
    arrays = {name: np.lib.format.open_memmap(path, mode="r+" if path.exists() else "w+", dtype=np.uint8,
                                              shape=shapes[name]) for name, path in paths.items()}
    captions = []
    for shard in tqdm(range(scenes // per), desc="rendering"):
        done = folder / f"captions-{shard}.json"
        if not done.is_file():
            rows = slice(shard * per, (shard + 1) * per)
            generator = torch.Generator().manual_seed(seed * 100_003 + shard)
            bodies = random_scenes(per, size, generator)
            a, b, c = (random_lighting(bodies, generator) for _ in range(3))
            pictures, backdrops = ([make(lamp) for lamp in (a, b, c)] for make in (
                lambda lamp: lamp.picture(bodies), lambda lamp: lamp.backdrop(bodies)))  # noqa: B023
            for name, (one, two, three) in (("pictures", pictures), ("backdrops", backdrops)):
                arrays[name][rows] = _bytes(to_srgb(torch.stack([one, two, one + two, three], 1)))
            arrays["alpha"][rows] = _bytes(bodies.alpha)
            both = [f"{one} and {two}" for one, two in zip(a.captions, b.captions, strict=True)]
            lights = [list(row) for row in zip(a.captions, b.captions, both, c.captions, strict=True)]
            done.write_text(json.dumps([bodies.captions, lights]))
        captions.append(json.loads(done.read_text()))
    return Shards(**{name: array[:scenes] for name, array in arrays.items()},
                  subjects=[name for part in captions for name in part[0]],
                  lights=[row for part in captions for row in part[1]])


def _bytes(values: Tensor) -> np.ndarray:
    return (values * 255).round().to(torch.uint8).numpy()


def on_grey(pictures: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [..., 3, H, W] with alpha uint8 [..., 1, H, W] over grey 127, as lib_iclight composites."""
    blended = 127 + (pictures.astype(np.float32) - 127) * (alpha.astype(np.float32) / 255)
    return blended.clip(0, 255).astype(np.uint8)


def caption(subject: str, light: str, draw: random.Random) -> str:
    """What a person may type for such a picture: the subject, the light, its colour alone, more, or nothing."""
    if draw.random() < config.CAPTION_DROP:
        return draw.choice(["", UNWANTED, draw.choice(DISTRACTORS)])
    parts = []
    if draw.random() < 0.7:
        parts.append(subject)
    if draw.random() < 0.85:
        if " and " not in light:
            color, side = light.split(" from ")
            first, *rest = color.split()
            if len(rest) == 2 and draw.random() < 0.2:
                color = f"{draw.choice([first, rest[0]])} light"
            light = f"{color} from {side}" if draw.random() < 0.5 else color
        parts.append(light)
    parts += draw.sample(DISTRACTORS, draw.choice([0, 0, 1, 2]))
    draw.shuffle(parts)
    return ", ".join(parts)


def meaning(text: str) -> set[str]:
    """The words of a caption that say how its picture looks, each with the part that it is said of."""
    return {f"{'subject' if part.startswith('a ') else 'light'}: {word}" for part in text.split(", ")
            if part.startswith("a ") or "light" in part for word in part.split() if word in MEANINGFUL}
