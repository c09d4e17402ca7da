"""What a relight needs of whatever runs the diffusion, and what the adapters of the WebUIs share.

A host adapter gives the job an `Encoder` (its VAE), adds the offsets and the concat conditioning to its UNet for one
sampling, and starts that sampling from the job's initial latent. How it does so is the host's own affair.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ..errors import CheckpointError, HostError
from ..job import Encoder
from ..weights import Layout, Offsets


@dataclass
class Applied:
    """What one sampling was given, and whether it arrived."""

    steps: int = 0
    """model evaluations that saw the conditioning"""


class Host(Protocol):
    """A WebUI, as one relit job in it sees it."""

    @property
    def name(self) -> str:
        """The host's name and version, for the log."""
        ...

    @property
    def adapter(self) -> str:
        """The adapter's name, for the log."""
        ...

    @property
    def layout(self) -> Layout:
        """The key layout in which it wants offsets."""
        ...

    def check_checkpoint(self, sd_model: Any) -> None:
        """Raise CheckpointError unless `sd_model` is a plain SD 1.x text-to-image model."""
        ...

    def encoder(self, sd_model: Any) -> Encoder:
        """The VAE in use."""
        ...

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """Make the coming sampling of `p` an IC-Light one: the offsets on the UNet, `concat` beside the noisy latent.

        concat: float [batch or 1, 4 or 8, h, w], exactly as large as the latent that will be sampled. A sampling of
        another size, or a UNet that lost the offsets, raises HostError at its first step. Nothing stays on the model
        when the sampling is over, however it ends. Called again before the same sampling, it does the same again.
        """
        ...

    def release(self) -> None:
        """Let go of what is kept for the next relit job. Called when a job runs without IC-Light."""
        ...


def require_sd1(sd_model: Any, channels: int, context: int = 768) -> None:
    """Raise CheckpointError unless the host's flags say SD 1.x and its UNet takes 4 `channels` and such a `context`."""
    name = getattr(getattr(sd_model, "sd_checkpoint_info", None), "name_for_extra", "the loaded checkpoint")
    if not getattr(sd_model, "is_sd1", False) or context != 768:
        kind = next((label for flag, label in (("is_sd2", "an SD 2"), ("is_sdxl", "an SDXL"), ("is_sd3", "an SD 3"))
                     if getattr(sd_model, flag, False)), "an SD 2" if context == 1024 else "another kind of")
        raise CheckpointError(f"{name} is {kind} checkpoint, and IC-Light's weights exist for SD 1.5 only (there are "
                              "no public ones for SDXL or Flux). Choose an SD 1.5 checkpoint, or switch IC-Light off.")
    if channels != 4:
        raise CheckpointError(f"{name} is an inpainting or editing checkpoint (its UNet takes {channels} channels). "
                              "Choose a plain SD 1.5 checkpoint: masks work with it too.")


def check_pass(unet: Any, x: torch.Tensor, concat: torch.Tensor) -> None:
    """Raise HostError unless `unet` (ldm's) has the wider first convolution and `concat` is as large as latent `x`."""
    first = unet.input_blocks[0][0]
    weight = first.weight
    for function in getattr(first, "weight_function", None) or ():  # short of memory, hosts patch a layer as it runs
        weight = function(weight.clone())
    inputs = weight.shape[1]
    if inputs != 4 + concat.shape[1]:
        raise HostError(f"the UNet takes {inputs} channels where IC-Light needs {4 + concat.shape[1]}: another "
                        "extension replaced it. Switch that extension off for this job.")
    check_size(x, concat)


def check_size(x: torch.Tensor, prepared: torch.Tensor) -> None:
    """Raise HostError unless the latent `x` being sampled, [B, 4, h, w], is as large as what was `prepared` for it."""
    if x.shape[2:] != prepared.shape[2:]:
        raise HostError(f"the latent being sampled is {x.shape[3]}x{x.shape[2]}, but IC-Light was prepared for "
                        f"{prepared.shape[3]}x{prepared.shape[2]}: another extension changed the size. "
                        "Switch that extension off for this job.")


def fingerprint(first_stage: Any) -> str:
    """Names a VAE's encoder (ldm's) by the content of three of its small tensors."""
    digest = hashlib.blake2b(digest_size=12)
    for layer in (first_stage.encoder.conv_in, first_stage.encoder.conv_out, first_stage.quant_conv):
        digest.update(layer.weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


class ModeOfPosterior:
    """Stands where a VAE keeps its first stage, and encodes to the posterior's mode instead of a sample.

    The result then does not depend on the random numbers, and memory handling and tiling stay the host's.
    """

    def __init__(self, first_stage: Any) -> None:
        self._first_stage = first_stage

    def encode(self, pixels: torch.Tensor, *rest: Any) -> torch.Tensor:
        """float [B, 3, H, W] in -1..1 -> the means [B, 4, H/8, W/8], not scaled."""
        # Hosts hand pixels over channels last, and torch's group norm on a CPU is a hundred times less exact there.
        moments = self._first_stage.quant_conv(self._first_stage.encoder(pixels.contiguous()))
        mode: torch.Tensor = moments[:, :moments.shape[1] // 2]
        return mode
