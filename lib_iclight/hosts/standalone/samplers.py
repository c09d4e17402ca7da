"""The denoising loop: latents through a diffusers scheduler.

Latents stay on the device of the noise prediction, in float32; all noise is drawn on the CPU, so that a seed means the
same on every device. Schedules stay on the CPU: a scheduler that reads a step from the device waits for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...errors import SettingsError
from ...generation import SAMPLERS
from ...job import scheduled_steps

Predict = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
"""(noisy latents float32 [B, 4, h, w], timestep [] on the CPU, share of the steps that are done) -> what the UNet
predicts, float32 [B, 4, h, w], on the latents' device"""


def make_scheduler(sampler: str, prediction: str = "epsilon", steps: int | None = None) -> Any:
    """A new diffusers scheduler with the noise schedule that SD 1.5 was trained with; prediction: see `Checkpoint`.

    steps: that it will schedule. A single one begins at the noisiest timestep, where diffusers' usual spacings have it
    at the clean end and return the noise.

    The reference demo leaves `beta_schedule` at diffusers' "linear" for its DPM++ and Euler samplers; SD 1.x was
    trained with "scaled_linear", which the demo's own DDIM and all WebUIs use, and so do we.
    """
    import diffusers

    choice = SAMPLERS[sampler]
    config: dict[str, Any] = {
        "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "steps_offset": 1, "timestep_spacing": "linspace",
        "prediction_type": prediction, **choice.options, **({"timestep_spacing": "trailing"} if steps == 1 else {})}
    return getattr(diffusers, choice.scheduler)(**config)


def check_steps(sampler: str, steps: int, strength: float) -> None:
    """Raise SettingsError where a sampler cannot schedule so many steps as a pass of this strength needs."""
    most, scheduled = SAMPLERS[sampler].most_steps, scheduled_steps(steps, strength)
    if most is not None and scheduled > most:
        raise SettingsError(f"{sampler} has at most {most} steps, and {steps} steps at a denoise of {strength:g} take "
                            f"{scheduled}. Use at most {int(most * strength)}; 4 to 8 are usual.")


def denoise(predict: Predict, sampler: str, *, start: torch.Tensor | None, shape: tuple[int, ...], steps: int,
            strength: float, generators: Sequence[torch.Generator], on_step: Callable[[], None],
            device: torch.device | str = "cpu", prediction: str = "epsilon") -> torch.Tensor:
    """Clean latents, float32 [B, 4, h, w] on the device, one for each of the generators (on the CPU).

    start: latents to begin from, [1 or B, 4, h, w] on the CPU, noised to `strength` (0..1]; None: pure noise, all the
    way. shape: of one of them, [4, h, w]. steps: the number that is really run; `on_step` is called after each.
    prediction: what `predict` gives, see `Checkpoint`.
    """
    scheduled = steps if start is None else scheduled_steps(steps, strength)
    scheduler = make_scheduler(sampler, prediction, scheduled)
    noise = torch.cat([torch.randn((1, *shape), generator=generator) for generator in generators])
    scheduler.set_timesteps(scheduled)
    skipped = (scheduled - steps) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)  # Karras timesteps may repeat, so that a step is not known by its time
    latent: torch.Tensor = (noise * scheduler.init_noise_sigma if start is None
                            else scheduler.add_noise(start, noise, timesteps[:1])).to(device)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": list(generators)} if takes_generator else {}
    for index, timestep in enumerate(timesteps):
        predicted = predict(scheduler.scale_model_input(latent, timestep), timestep, index / len(timesteps))
        latent = scheduler.step(predicted, timestep, latent, **options).prev_sample
        if (index + 1) % scheduler.order == 0 or index + 1 == len(timesteps):
            on_step()
    return latent
