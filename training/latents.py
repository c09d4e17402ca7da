"""What the UNets learn from: the scenes' latents and captions, all in the device's memory."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from . import config
from .nets import VAE
from .pool import CaptionBank, Chunk, halved, kept_chunk, on_grey, write_tensors
from .run import Run

AT_ONCE = {"cuda": 512, "cpu": 2}
"""pictures that are encoded at once"""
KINDS = ("pictures", "backdrops", "foregrounds")


class Latents:
    """Scaled latents by kind (pictures, backdrops, foregrounds on grey), float16 [N, 4 lightings, 4, h, w].

    scale: the VAE's scaling factor, which makes the pictures' latents as wide as noise; captions: for every picture.
    All are there once more for the pictures at half the size.
    """

    def __init__(self, run: Run, vae: VAE) -> None:
        chunks: list[dict[str, Tensor]] = []
        subjects: list[str] = []
        lights: list[list[str]] = []
        until = run.clock() + config.LATENTS_SHARE * run.budget
        known = run.manifest["scenes"] if run.manifest.get("scenes for") == [run.budget, run.kind.chunk] else None
        for index in tqdm(range(run.kind.latent_chunks), desc="latents", mininterval=10):
            enough = run.clock() > until and len(chunks) >= max(2, config.PRODUCTS_EVERY)
            if len(subjects) == known or (known is None and enough):
                break  # a run that goes on has to learn from the same scenes as before
            chunk = kept_chunk(run.data, index, run.kind.chunk, run.size, run.device)
            chunks.append(_encoded(run, vae, chunk, index))
            subjects += chunk.subjects
            lights += chunk.lights
        self._arrays = {name: torch.cat([one[name] for one in chunks]) for name in chunks[0]}
        if "scale" not in run.manifest:
            run.manifest["scale"] = config.LATENT_STD / float(self._arrays["pictures"].float().std())
        run.manifest |= {"scenes": len(subjects), "scenes for": [run.budget, run.kind.chunk]}
        run.write_manifest()
        self.scale: float = run.manifest["scale"]
        self.captions = CaptionBank(subjects, lights, run.device)

    def __len__(self) -> int:
        return len(self._arrays["masks"])

    def of(self, kind: str, scenes: Tensor, lighting: Tensor, half: bool = False) -> Tensor:
        """float32 [B, 4, h, w] of these scenes under these lightings, [B] each."""
        return self._arrays[_name(kind, half)][scenes, lighting].float() * self.scale

    def masks(self, scenes: Tensor, half: bool = False) -> Tensor:
        """The alpha at the latents' size, [B, 1, h, w], of scenes [B]."""
        return self._arrays[_name("masks", half)][scenes]


def _name(kind: str, half: bool) -> str:
    return f"half {kind}" if half else kind


def _encoded(run: Run, vae: VAE, chunk: Chunk, index: int) -> dict[str, Tensor]:
    """The latents and masks of a chunk, from the work folder if they are there."""
    path = run.data / f"latents-{run.size}-{index}.safetensors" if run.data else None
    if path and path.is_file():
        result: dict[str, Tensor] = load_file(path, device=str(run.device))
        return result
    found = {}
    for half in (False, True):
        pictures, backdrops, alpha = ((halved(one) if half else one)
                                      for one in (chunk.pictures, chunk.backdrops, chunk.alpha))
        sources = dict(zip(KINDS, (pictures, backdrops, on_grey(pictures, alpha[:, None])), strict=True))
        for kind, source in sources.items():
            found[_name(kind, half)] = encode(vae, source.flatten(0, 1)).unflatten(0, source.shape[:2])
        found[_name("masks", half)] = avg_pool2d(alpha.float() / 255, 8)
    if path:
        write_tensors({key: value.contiguous().cpu() for key, value in found.items()}, path)
    return found


@torch.no_grad()
def encode(vae: VAE, pictures: Tensor) -> Tensor:
    """Unscaled latents, float16 [N, 4, h, w], of uint8 pictures [N, 3, H, W]."""
    kind, means = pictures.device.type, []
    for batch in pictures.split(AT_ONCE[kind]):
        pixels = (batch.float() / 127 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(kind, torch.bfloat16):
            means.append(vae.encode(pixels)[0].half())
    return torch.cat(means).contiguous()
