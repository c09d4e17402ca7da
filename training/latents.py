"""What the UNets learn from: the scenes' latents and captions, all in the device's memory."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from . import config
from .nets import VAE
from .pool import CaptionBank, Chunk, kept_chunk, on_grey, write_tensors
from .run import Run

AT_ONCE = {"cuda": 512, "cpu": 8}
"""pictures that are encoded at once"""
KINDS = ("pictures", "backdrops", "foregrounds")


class Latents:
    """Scaled latents by kind (pictures, backdrops, foregrounds on grey), float16 [N, 4 lightings, 4, h, w].

    scale: the VAE's scaling factor, which makes the pictures' latents as wide as noise; masks: the alpha at their size,
    [N, 1, h, w]; captions: for every picture.
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
        self._arrays = {kind: torch.cat([one[kind] for one in chunks]) for kind in KINDS}
        self.masks = torch.cat([one["masks"] for one in chunks])
        if "scale" not in run.manifest:
            run.manifest["scale"] = config.LATENT_STD / float(self._arrays["pictures"].float().std())
        run.manifest |= {"scenes": len(subjects), "scenes for": [run.budget, run.kind.chunk]}
        run.write_manifest()
        self.scale: float = run.manifest["scale"]
        self.captions = CaptionBank(subjects, lights, run.device)

    def __len__(self) -> int:
        return len(self.masks)

    def of(self, kind: str, scenes: Tensor, lighting: Tensor) -> Tensor:
        """float32 [B, 4, h, w] of these scenes under these lightings, [B] each."""
        return self._arrays[kind][scenes, lighting].float() * self.scale


def _encoded(run: Run, vae: VAE, chunk: Chunk, index: int) -> dict[str, Tensor]:
    """The latents and masks of a chunk, from the work folder if they are there."""
    path = run.data / f"latents-{run.size}-{index}.safetensors" if run.data else None
    if path and path.is_file():
        return load_file(path, device=str(run.device))
    alpha = chunk.alpha[:, None]
    sources = {"pictures": chunk.pictures, "backdrops": chunk.backdrops,
               "foregrounds": on_grey(chunk.pictures, alpha)}
    found = {kind: encode(vae, pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
             for kind, pictures in sources.items()}
    found["masks"] = avg_pool2d(chunk.alpha.float() / 255, 8)
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
