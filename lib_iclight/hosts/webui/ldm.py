"""reForge and Forge Classic: see `patcher`. Nothing of the host is replaced."""

from __future__ import annotations

from typing import Any

import torch
from ldm_patched.modules import model_management
from ldm_patched.modules.conds import CONDNoiseShape

from ...job import Encoder
from ...weights import Layout, Offsets
from ..base import Applied, require_sd1
from .patcher import KeptClone, condition, encoder


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
        """The VAE in use."""
        objects = sd_model.forge_objects
        return encoder(objects.vae, self.adapter, model_management.VAE_ALWAYS_TILED,
                       objects.unet.model.process_latent_in)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`."""
        objects = p.sd_model.forge_objects
        objects.unet = self._clone.patched(objects.unet, offsets)
        return condition(objects.unet, concat, CONDNoiseShape)

    def release(self) -> None:
        """See `Host.release`."""
        self._clone.forget()
