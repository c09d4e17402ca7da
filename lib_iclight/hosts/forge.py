"""Stable Diffusion WebUI Forge: offsets as weight patches, the concat latent through conditioning modifiers.

Everything is done to clones that Forge itself drops when it resets `forge_objects` before the next sampling; Forge
merges and un-merges the weights. Nothing of Forge is replaced.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from backend import memory_management
from backend.sampling.condition import ConditionNoiseShape

from .. import imaging
from ..errors import CheckpointError, HostError
from ..weights import Layout, Offsets
from .base import Encoder

WEIGHTS_LAYOUT: Layout = "ldm"
_PREFIX = "diffusion_model."


def check_checkpoint(sd_model: Any) -> None:
    """Raise CheckpointError unless `sd_model` is a plain SD 1.x text-to-image model."""
    name = getattr(getattr(sd_model, "sd_checkpoint_info", None), "name_for_extra", "the loaded checkpoint")
    if not getattr(sd_model, "is_sd1", False):
        kind = next((label for flag, label in (("is_sd2", "an SD 2"), ("is_sdxl", "an SDXL"), ("is_sd3", "an SD 3"))
                     if getattr(sd_model, flag, False)), "another kind of")
        raise CheckpointError(f"{name} is {kind} checkpoint, and IC-Light's weights exist for SD 1.5 only (there are "
                              "no public ones for SDXL or Flux). Choose an SD 1.5 checkpoint, or switch IC-Light off.")
    channels = sd_model.model_config.unet_config.get("in_channels", 4)
    if channels != 4:
        raise CheckpointError(f"{name} is an inpainting or editing checkpoint (its UNet takes {channels} channels). "
                              "Choose a plain SD 1.5 checkpoint: masks work with it too.")


class _ModeOfPosterior:
    """Stands where a VAE clone keeps its first stage, and encodes to the posterior's mode instead of a sample.

    The result then does not depend on the random numbers, and tiled encoding works as Forge does it.
    """

    def __init__(self, first_stage: Any) -> None:
        self._first_stage = first_stage

    def encode(self, pixels: torch.Tensor, regulation: Any = None) -> torch.Tensor:
        # Forge hands pixels over channels last, and torch's group norm on a CPU is a hundred times less exact there.
        moments = self._first_stage.quant_conv(self._first_stage.encoder(pixels.contiguous()))
        return moments[:, :moments.shape[1] // 2]


def _fingerprint(first_stage: Any) -> str:
    """Names a VAE's encoder by the content of three of its small tensors."""
    digest = hashlib.blake2b(digest_size=12)
    for layer in (first_stage.encoder.conv_in, first_stage.encoder.conv_out, first_stage.quant_conv):
        digest.update(layer.weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def encoder(sd_model: Any) -> Encoder:
    """The VAE in use as an Encoder. Forge keeps its memory handling, precision and tiling."""
    vae = sd_model.forge_objects.vae
    first_stage = vae.first_stage_model

    def encode(pixels: np.ndarray) -> torch.Tensor:
        clone = vae.clone()
        clone.first_stage_model = _ModeOfPosterior(first_stage)
        # Forge computes 2x - 1; so x = (v / 127) / 2 arrives as v / 127 - 1.
        image = torch.from_numpy((imaging.to_vae(pixels) + 1) / 2)[None]
        return first_stage.process_in(clone.encode(image)).float().cpu()

    tiled = "tiled" if memory_management.VAE_ALWAYS_TILED else "whole"
    return Encoder(f"forge-{_fingerprint(first_stage)}-{tiled}-{vae.vae_dtype}", encode)


class Applied:
    """What one sampling was given, and whether it arrived."""

    def __init__(self) -> None:
        self.steps = 0
        """model evaluations that saw the conditioning"""


def apply(sd_model: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
    """Make the coming sampling an IC-Light one: the offsets on the UNet, `concat` beside the noisy latent.

    concat: float [batch or 1, 4 or 8, h, w], exactly as large as the latent that will be sampled. A sampling of
    another size, or a UNet that lost the offsets, raises HostError at its first step.
    """
    unet = sd_model.forge_objects.unet.clone()
    unet.add_patches(filename=offsets.name,
                     patches={_PREFIX + key: (tensor,) for key, tensor in offsets.tensors.items()})
    applied = Applied()

    # A closure: Forge deep-copies the model options with each clone, and functions are not copied.
    def modifier(model: Any, x: torch.Tensor, timestep: Any, uncond: Any, cond: Any, *rest: Any) -> tuple[Any, ...]:
        inputs = model.diffusion_model.input_blocks[0][0].weight.shape[1]
        if inputs != 4 + concat.shape[1]:
            raise HostError(f"the UNet takes {inputs} channels where IC-Light needs {4 + concat.shape[1]}: another "
                            "extension replaced it. Switch that extension off for this job.")
        if x.shape[2:] != concat.shape[2:]:
            raise HostError(f"the latent being sampled is {x.shape[3]}x{x.shape[2]}, but IC-Light was prepared for "
                            f"{concat.shape[3]}x{concat.shape[2]}: another extension changed the size. "
                            "Switch that extension off for this job.")
        beside = concat.expand(x.shape[0], -1, -1, -1).to(x.device)
        for part in [*cond, *(uncond or [])]:
            part["model_conds"]["c_concat"] = ConditionNoiseShape(beside)
        applied.steps += 1
        return (model, x, timestep, uncond, cond, *rest)

    unet.add_conditioning_modifier(modifier)
    sd_model.forge_objects.unet = unet
    return applied
