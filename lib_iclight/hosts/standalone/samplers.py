"""The denoising loop: one latent through a diffusers scheduler.

Everything but the noise prediction is float32 on the CPU, the noise included: a seed means the same on every device,
and the arrays are tiny beside the UNet's work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ...generation import SAMPLERS
from ...job import scheduled_steps

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy latent float32 [1, 4, h, w], timestep []) -> predicted noise, float32 [1, 4, h, w], both on the CPU."""


def make_scheduler(sampler: str) -> Any:
    """A new diffusers scheduler with the noise schedule that SD 1.5 was trained with.

    The reference demo leaves `beta_schedule` at diffusers' "linear" for its DPM++ and Euler samplers; SD 1.x was
    trained with "scaled_linear", which the demo's own DDIM and all WebUIs use, and so do we.
    """
    import diffusers

    choice = SAMPLERS[sampler]
    config: dict[str, Any] = {
        "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "steps_offset": 1, "timestep_spacing": "linspace", **choice.options}
    return getattr(diffusers, choice.scheduler)(**config)


def denoise(predict: Predict, sampler: str, *, start: torch.Tensor | None, shape: tuple[int, ...], steps: int,
            strength: float, generator: torch.Generator, on_step: Callable[[], None]) -> torch.Tensor:
    """A clean latent, float32 of `shape` [1, 4, h, w].

    start: the latent to begin from, noised to `strength` (0..1]; None: pure noise, all the way.
    steps: the number that is really run. `on_step` is called after each.
    """
    scheduler = make_scheduler(sampler)
    noise = torch.randn(shape, generator=generator)
    scheduled = steps if start is None else scheduled_steps(steps, strength)
    scheduler.set_timesteps(scheduled)
    skipped = (scheduled - steps) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)  # Karras timesteps may repeat, so that a step is not known by its time
    latent: torch.Tensor = (noise * scheduler.init_noise_sigma if start is None
                            else scheduler.add_noise(start, noise, timesteps[:1]))
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes_generator else {}
    for index, timestep in enumerate(timesteps, start=1):
        predicted = predict(scheduler.scale_model_input(latent, timestep), timestep)
        latent = scheduler.step(predicted, timestep, latent, **options).prev_sample
        if index % scheduler.order == 0 or index == len(timesteps):
            on_step()
    return latent
