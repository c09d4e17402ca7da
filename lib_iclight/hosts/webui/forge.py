"""Stable Diffusion WebUI Forge and Forge Neo: see `patcher`. Nothing of the host is replaced."""

from __future__ import annotations

from typing import Any

import torch
from backend import memory_management
from backend.sampling.condition import ConditionNoiseShape

from ...job import Encoder
from ...weights import Layout, Offsets
from ..base import Applied, require_sd1
from .patcher import KeptClone, condition, encoder, patched


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
        """The VAE in use."""
        vae = sd_model.forge_objects.vae
        return encoder(vae, self.adapter, memory_management.VAE_ALWAYS_TILED, vae.first_stage_model.process_in)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`."""
        objects = p.sd_model.forge_objects
        # Forge tells sets of patches apart by their file names, Neo 2.26 by an id.
        put = self._clone.patched if hasattr(objects.unet, "patches_uuid") else patched
        objects.unet = put(objects.unet, offsets, filename=offsets.name)
        return condition(objects.unet, concat, ConditionNoiseShape)

    def release(self) -> None:
        """See `Host.release`."""
        self._clone.forget()
