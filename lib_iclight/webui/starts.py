"""What the host's next sampling starts from, where that is not its own way: a latent in txt2img, noise in img2img.

The sampler object on `p.sampler` has two methods in every host: `sample` starts from noise, `sample_img2img` from a
latent at `p.denoising_strength`. Each tab calls its own; here one is replaced by a call of the other.
"""

from __future__ import annotations

from typing import Any

import torch

from ..hosts.base import check_size
from ..hosts.webui.replacing import replace
from ..job import scheduled_steps


def from_latent(p: Any, initial: torch.Tensor, strength: float) -> None:
    """txt2img: send the coming pass through the sampler's image-to-image path, from `initial` at `strength`.

    initial: float [B, 4, h, w], as large as the pass's latent (HostError where another extension has changed that).
    strength: 0..1, 1 = pure noise.
    """
    sampler = p.sampler

    def sample(p: Any, x: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
               steps: int | None = None, image_conditioning: Any = None) -> Any:
        check_size(x, initial)
        steps = steps or p.steps
        own_strength = p.denoising_strength  # hires fix's
        # The host schedules int(steps / strength) steps; half a step more makes that the rounded number.
        p.denoising_strength = steps / (scheduled_steps(steps, strength) + 0.5)
        try:
            return sampler.sample_img2img(p, initial.to(x), x, conditioning, unconditional_conditioning,
                                          steps=steps, image_conditioning=image_conditioning)
        finally:
            p.denoising_strength = own_strength

    replace(sampler, "sample", sample)


def from_noise(p: Any) -> None:
    """img2img: start the coming pass from pure noise, as txt2img does."""
    sampler = p.sampler

    def sample_img2img(p: Any, x: torch.Tensor, noise: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
                       steps: int | None = None, image_conditioning: Any = None) -> Any:
        sampler.model_wrap_cfg.init_latent = x  # what an inpainting mask keeps
        return sampler.sample(p, noise, conditioning, unconditional_conditioning, steps=steps,
                              image_conditioning=image_conditioning)

    replace(sampler, "sample_img2img", sample_img2img)


def from_latent_in_tab(p: Any, initial: torch.Tensor, tab_latent: torch.Tensor) -> None:
    """img2img: start from `initial` in place of `tab_latent`, the latent of the tab's picture.

    Outside an inpainting mask the tab's latent stays: the host blends it in at every step.
    """
    initial = initial.to(tab_latent)
    p.init_latent = initial if p.mask is None else initial * p.nmask + tab_latent * p.mask
