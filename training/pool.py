"""Scenes of the light stage, rendered on the device that learns from them.

Every chunk of scenes has a seed of its own, so that it is the same whenever it is made (on one kind of device).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d

from . import config
from .captions import LENGTH, Tokenizer, caption
from .light_stage import random_lighting, random_scenes
from .renderer import to_srgb
from .subjects import product_scenes

LIGHTINGS = 4
"""per scene: a, b, a and b together, c"""
VARIANTS = 4
"""captions of each picture"""


@dataclass
class Chunk:
    """Rendered scenes. pictures, backdrops: uint8 sRGB [N, 4, 3, H, W]; alpha: uint8 [N, 1, H, W]."""

    pictures: Tensor
    backdrops: Tensor
    alpha: Tensor
    subjects: list[str]
    lights: list[list[str]]
    """each scene's four lightings"""


@torch.no_grad()
def render_chunk(index: int, count: int, size: int, device: torch.device) -> Chunk:
    """Chunk `index` of the data set."""
    generator = torch.Generator(device).manual_seed(config.SEED * 100_003 + index)
    every = config.PRODUCTS_EVERY
    make = product_scenes if every and index % every == every - 1 else random_scenes
    scenes = make(count, size, generator)
    a, b, c = (random_lighting(scenes, generator) for _ in range(3))
    pictures, backdrops = ([one.picture(scenes) for one in (a, b, c)], [one.backdrop(scenes) for one in (a, b, c)])
    lit, walls = (_bytes(to_srgb(torch.stack([one, two, one + two, three], 1)))
                  for one, two, three in (pictures, backdrops))
    both = [f"{one} and {two}" for one, two in zip(a.captions, b.captions, strict=True)]
    lights = [list(row) for row in zip(a.captions, b.captions, both, c.captions, strict=True)]
    return Chunk(lit, walls, _bytes(scenes.alpha), list(scenes.captions), lights)


def kept_chunk(folder: Path | None, index: int, count: int, size: int, device: torch.device) -> Chunk:
    """Chunk `index`, from `folder` if it is there, else rendered and, if there is a folder, kept in it."""
    if folder is None:
        return render_chunk(index, count, size, device)
    path = folder / f"chunk-{size}-{index}.safetensors"
    if not path.is_file():
        chunk = render_chunk(index, count, size, device)
        tensors = {name: getattr(chunk, name).contiguous().cpu() for name in ("pictures", "backdrops", "alpha")}
        write_tensors(tensors, path, {"captions": json.dumps([chunk.subjects, chunk.lights])})
        return chunk
    with safe_open(str(path), framework="pt",  # type: ignore[attr-defined,no-untyped-call]
                   device=str(device)) as file:
        subjects, lights = json.loads(file.metadata()["captions"])
        pictures, backdrops, alpha = (file.get_tensor(name) for name in ("pictures", "backdrops", "alpha"))
        return Chunk(pictures, backdrops, alpha, subjects, lights)


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # processes that train together write alike files
    save_file(tensors, part, metadata)
    part.replace(path)


def _bytes(values: Tensor) -> Tensor:
    return (values * 255).round().to(torch.uint8)


def on_grey(pictures: Tensor, alpha: Tensor) -> Tensor:
    """uint8 [..., 3, H, W] with alpha uint8 [..., 1, H, W] over grey 127, as lib_iclight composites; uint8."""
    blended = 127 + (pictures.float() - 127) * (alpha.float() / 255)
    return blended.clamp(0, 255).to(torch.uint8)


def halved(pictures: Tensor) -> Tensor:
    """uint8 [..., H, W] at half the size."""
    small = avg_pool2d(pictures.flatten(0, -3).float(), 2).round().to(torch.uint8)
    result: Tensor = small.unflatten(0, pictures.shape[:-2])
    return result


class PicturePool:
    """The scenes that the VAE learns from: a ring of chunks in the device's memory, [N, ...] each."""

    def __init__(self, kind: config.Device, size: int, device: torch.device, folder: Path | None) -> None:
        self._kind, self._size, self._device, self._folder = kind, size, device, folder
        self._next = 0
        count = kind.chunk * kind.vae_chunks
        self.pictures, self.backdrops = (torch.empty(count, LIGHTINGS, 3, size, size, dtype=torch.uint8, device=device)
                                         for _ in range(2))
        self.alpha = torch.empty(count, 1, size, size, dtype=torch.uint8, device=device)
        self.filled = 0

    def add(self) -> None:
        """Put the next chunk in, in place of the oldest when the pool is full."""
        kind = self._kind
        chunk = kept_chunk(self._folder, self._next, kind.chunk, self._size, self._device)
        at = self._next % kind.vae_chunks * kind.chunk
        for name in ("pictures", "backdrops", "alpha"):
            getattr(self, name)[at:at + kind.chunk] = getattr(chunk, name)
        self.filled = max(self.filled, at + kind.chunk)
        self._next += 1

    def at_step(self, step: int) -> None:
        """Make the pool what it is to be at a step."""
        kind = self._kind
        wanted = kind.vae_start + step // kind.fresh_every
        if not kind.renew:
            wanted = min(wanted, kind.vae_chunks)
        self._next = max(self._next, wanted - kind.vae_chunks)
        while self._next < wanted:
            self.add()

    def crops(self, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """uint8 [count, 3, side, side] and alpha [count, 1, side, side], 0..1.

        Most are of pictures, some of walls, of foregrounds on grey or drawn gradients (with alpha 0).
        """
        def draw(high: int, *shape: int) -> Tensor:
            return torch.randint(high, (count, *shape), generator=generator, device=self._device)

        scene, lit = draw(self.filled), draw(LIGHTINGS)
        steps = torch.arange(side, device=self._device)
        rows, columns = (draw((self._size - side) // 8 + 1)[:, None] * 8 + steps for _ in range(2))
        where = (rows[:, :, None], columns[:, None, :])
        one, two = scene[:, None, None], lit[:, None, None]
        picture, wall = (field[one, two, :, *where].movedim(-1, 1) for field in (self.pictures, self.backdrops))
        alpha = self.alpha[one, 0, *where][:, None]
        corners = torch.rand(count, 3, 2, 2, generator=generator, device=self._device) * 255
        corners = torch.where(draw(2, 1, 1, 1) == 0, corners[:, :1], corners)
        along = torch.linspace(0, 1, side, device=self._device)
        weights = torch.stack([1 - along, along])
        drawn = torch.einsum("bcij,ih,jw->bchw", corners, weights, weights).to(torch.uint8)
        kind = draw(100, 1, 1, 1)
        found = torch.where(kind < 64, picture, torch.where(kind < 80, on_grey(picture, alpha),
                                                            torch.where(kind < 88, wall, drawn)))
        return found, torch.where(kind < 80, alpha.float() / 255, 0)


class CaptionBank:
    """Tokens of `VARIANTS` captions of each picture, int32 [N, 4, VARIANTS, 77], and the captions themselves.

    beside: as in `caption`.
    """

    def __init__(self, subjects: Sequence[str], lights: Sequence[Sequence[str]], device: torch.device,
                 beside: bool = False) -> None:
        draw, tokenizer = random.Random(config.SEED), Tokenizer()
        self.texts = [caption(subject, light, draw, beside) for subject, row in zip(subjects, lights, strict=True)
                      for light in row for _ in range(VARIANTS)]
        distinct = {text: index for index, text in enumerate(dict.fromkeys(self.texts))}
        index = torch.tensor([distinct[text] for text in self.texts])
        self.tokens = tokenizer(list(distinct))[index].view(-1, LIGHTINGS, VARIANTS, LENGTH).to(device)

    def draw(self, scenes: Tensor, lit: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens [B, 77] for these scenes under these lightings, [B] each."""
        variant = torch.randint(VARIANTS, (len(scenes),), generator=generator, device=scenes.device)
        return self.tokens[scenes, lit, variant].long()
