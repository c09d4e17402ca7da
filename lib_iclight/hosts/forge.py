"""Stable Diffusion WebUI Forge and Forge Neo: offsets as weight patches, the concat latent through modifiers.

Everything is done to clones that Forge itself drops when it resets `forge_objects` before the next sampling; Forge
merges and un-merges the weights. Nothing of Forge is replaced.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from backend import memory_management
from backend.sampling.condition import ConditionNoiseShape

from .. import imaging
from ..weights import Layout, Offsets
from .base import Applied, Encoder, ModeOfPosterior, check_pass, fingerprint, require_sd1
from .patches import KeptClone, patched


class ForgeHost:
    """See `hosts.base.Host`."""

    adapter = "forge"
    layout: Layout = "ldm"

    def __init__(self, name: str) -> None:
        self.name = name
        self._clone = KeptClone()

    def check_checkpoint(self, sd_model: Any) -> None:
        """See `Host.check_checkpoint`."""
        config = getattr(sd_model, "model_config", None)
        require_sd1(sd_model, config.unet_config.get("in_channels", 4) if config else 4)

    def encoder(self, sd_model: Any) -> Encoder:
        """The VAE in use. Forge keeps its memory handling, precision and tiling."""
        vae = sd_model.forge_objects.vae
        first_stage = vae.first_stage_model

        def encode(pixels: np.ndarray) -> torch.Tensor:
            stand_in = copy.copy(vae)  # with the same patcher: Neo would load a clone's anew
            stand_in.first_stage_model = ModeOfPosterior(first_stage)
            # Forge computes 2x - 1; so x = (v / 127) / 2 arrives as v / 127 - 1.
            image = torch.from_numpy((imaging.to_vae(pixels) + 1) / 2)[None]
            return first_stage.process_in(stand_in.encode(image)).float().cpu()

        tiled = "tiled" if memory_management.VAE_ALWAYS_TILED else "whole"
        return Encoder(f"forge-{fingerprint(first_stage)}-{tiled}-{vae.vae_dtype}", encode)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`."""
        sd_model = p.sd_model
        base = sd_model.forge_objects.unet
        # Forge merges by the patches' file name; Neo since 2026 by an id of the clone's.
        put = self._clone.patched if hasattr(base, "patches_uuid") else patched
        unet = put(base, offsets, filename=offsets.name)
        applied = Applied()

        # A closure: Forge deep-copies the model options with each clone, and functions are not copied.
        def modifier(model: Any, x: torch.Tensor, timestep: Any, uncond: Any, cond: Any,
                     *rest: Any) -> tuple[Any, ...]:
            check_pass(model.diffusion_model, x, concat)
            beside = concat.expand(x.shape[0], -1, -1, -1).to(x.device)
            for part in [*cond, *(uncond or [])]:
                part["model_conds"]["c_concat"] = ConditionNoiseShape(beside)
            applied.steps += 1
            return (model, x, timestep, uncond, cond, *rest)

        unet.add_conditioning_modifier(modifier)
        sd_model.forge_objects.unet = unet
        return applied

    def release(self) -> None:
        """See `Host.release`. The host un-merges the weights itself, for a job without."""
        self._clone.forget()
