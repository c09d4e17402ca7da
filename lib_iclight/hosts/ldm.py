"""reForge and Forge Classic: offsets as weight patches, the concat latent through conditioning modifiers.

As in `forge`, everything is done to clones, and the host merges and un-merges the weights.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from ldm_patched.modules import model_management
from ldm_patched.modules.conds import CONDNoiseShape

from .. import imaging
from ..weights import Layout, Offsets
from .base import Applied, Encoder, ModeOfPosterior, check_pass, fingerprint, require_sd1
from .patches import KeptClone


class LdmHost:
    """See `hosts.base.Host`."""

    adapter = "ldm"
    layout: Layout = "ldm"

    def __init__(self, name: str) -> None:
        self.name = name
        self._clone = KeptClone()

    def check_checkpoint(self, sd_model: Any) -> None:
        """See `Host.check_checkpoint`."""
        config = sd_model.forge_objects.unet.model.model_config.unet_config
        # By these hosts' own flags an SD 2 checkpoint is SD 1.
        require_sd1(sd_model, config.get("in_channels", 4), config.get("context_dim", 768))

    def encoder(self, sd_model: Any) -> Encoder:
        """The VAE in use. The host keeps its memory handling, precision and tiling."""
        vae = sd_model.forge_objects.vae
        first_stage = vae.first_stage_model
        latents = sd_model.forge_objects.unet.model

        def encode(pixels: np.ndarray) -> torch.Tensor:
            stand_in = copy.copy(vae)  # with the same patcher: a clone's would be loaded anew
            stand_in.first_stage_model = ModeOfPosterior(first_stage)
            # These hosts compute 2x - 1; so x = (v / 127) / 2 arrives as v / 127 - 1.
            image = torch.from_numpy((imaging.to_vae(pixels) + 1) / 2)[None]
            return latents.process_latent_in(stand_in.encode(image)).float().cpu()

        tiled = "tiled" if model_management.VAE_ALWAYS_TILED else "whole"
        return Encoder(f"ldm-{fingerprint(first_stage)}-{tiled}-{vae.vae_dtype}", encode)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`."""
        sd_model = p.sd_model
        unet = self._clone.patched(sd_model.forge_objects.unet, offsets)
        applied = Applied()

        # A closure: the hosts deep-copy the model options with each clone, and functions are not copied.
        def modifier(model: Any, x: torch.Tensor, timestep: Any, uncond: Any, cond: Any,
                     *rest: Any) -> tuple[Any, ...]:
            check_pass(model.diffusion_model, x, concat)
            beside = concat.expand(x.shape[0], -1, -1, -1).to(x.device)
            for part in [*cond, *(uncond or [])]:
                part["model_conds"]["c_concat"] = CONDNoiseShape(beside)
            applied.steps += 1
            return (model, x, timestep, uncond, cond, *rest)

        unet.add_conditioning_modifier(modifier)
        sd_model.forge_objects.unet = unet
        return applied

    def release(self) -> None:
        """See `Host.release`."""
        self._clone.forget()
