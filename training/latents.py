"""What the UNets learn from: the scenes' latents and captions, all in the device's memory."""

from __future__ import annotations

from dataclasses import dataclass, field

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
HALF_FROM = 1_000_000
"""the first chunk of those that are there at half the size alone"""


class Latents:
    """Scaled latents by kind (pictures, backdrops, foregrounds on grey), float16 [N, 4 lightings, 4, h, w].

    scale: the VAE's scaling factor, which makes the pictures' latents as wide as noise; captions: for every picture;
    captions_beside: those that one types beside a lit background.
    All are there once more for the pictures at half the size, of which there may be further scenes.
    """

    def __init__(self, run: Run, vae: VAE) -> None:
        if run.rank:  # the first process makes what the others find in the work folder
            run.wait()
            run.read_manifest()
        made, kind = [run.budget, run.kind.chunk], run.kind
        known = run.manifest["scenes"] if run.manifest.get("scenes for") == made else (None, None)
        both = _made(run, vae, range(kind.latent_chunks), True, config.LATENTS_SHARE, known[0])
        more = _made(run, vae, range(HALF_FROM, HALF_FROM + kind.half_chunks), False, config.HALF_LATENTS_SHARE,
                     known[1])
        self._arrays = {name: torch.cat([part[name] for part in both.arrays + more.arrays if name in part])
                        for name in both.arrays[0]}
        if "scale" not in run.manifest:
            run.manifest["scale"] = config.LATENT_STD / float(self._arrays["pictures"].float().std())
        run.manifest |= {"scenes": [len(both.subjects), len(more.subjects)], "scenes for": made}
        run.write_manifest()
        if not run.rank:
            run.wait()
        self.scale: float = run.manifest["scale"]
        told = both.subjects + more.subjects, both.lights + more.lights
        self.captions = CaptionBank(*told, run.device)
        self.captions_beside = CaptionBank(*told, run.device, beside=True)

    def count(self, half: bool = False) -> int:
        """The number of scenes; the first are the same at both sizes."""
        return len(self._arrays[_name("masks", half)])

    def of(self, kind: str, scenes: Tensor, lighting: Tensor, half: bool = False) -> Tensor:
        """float32 [B, 4, h, w] of these scenes under these lightings, [B] each."""
        return self._arrays[_name(kind, half)][scenes, lighting].float() * self.scale

    def masks(self, scenes: Tensor, half: bool = False) -> Tensor:
        """The alpha at the latents' size, [B, 1, h, w], of scenes [B]."""
        return self._arrays[_name("masks", half)][scenes]


def _name(kind: str, half: bool) -> str:
    return f"half {kind}" if half else kind


@dataclass
class _Made:
    """Scenes with their latents, by chunk, and captions."""

    arrays: list[dict[str, Tensor]] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    lights: list[list[str]] = field(default_factory=list)


def _made(run: Run, vae: VAE, chunks: range, whole: bool, share: float, known: int | None) -> _Made:
    """These chunks of scenes, until the share of the budget is over.

    whole: at both sizes, else at half the size alone;
    known: the number of scenes that the same budget had time for before: a run that goes on has to learn from the same.
    """
    result, until = _Made(), run.clock() + share * run.budget
    least = max(2, config.PRODUCTS_EVERY) if whole else 0
    for index in tqdm(chunks, desc="latents", mininterval=10):
        enough = run.clock() > until and len(result.arrays) >= least
        if len(result.subjects) == known or (known is None and enough):
            break
        chunk = kept_chunk(run.data, index, run.kind.chunk, run.size if whole else run.size // 2, run.device)
        result.arrays.append(_encoded(run, vae, chunk, index, whole))
        result.subjects += chunk.subjects
        result.lights += chunk.lights
    return result


def _encoded(run: Run, vae: VAE, chunk: Chunk, index: int, whole: bool) -> dict[str, Tensor]:
    """The latents and masks of a chunk, from the work folder if they are there.

    whole: at both sizes; else the chunk has been rendered at half the size.
    """
    path = run.data / f"latents-{run.size}-{index}.safetensors" if run.data else None
    if path and path.is_file():
        result: dict[str, Tensor] = load_file(path, device=str(run.device))
        return result
    found = {}
    for half in (False, True) if whole else (True,):
        pictures, backdrops, alpha = ((halved(one) if half and whole else one)
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
