"""What Forge's patchers of UNet and VAE have in common with those of its relatives.

Offsets go in as weight patches, the concat latent through a conditioning modifier, pixels through the VAE with its
posterior's mode. Everything is done to copies, and the host merges and un-merges the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ... import imaging
from ...job import Encoder
from ...weights import Offsets
from ..base import Applied, ModeOfPosterior, check_pass, fingerprint

PREFIX = "diffusion_model."
NOT_MERGED = ("model_options", "controlnet_linked_list", "extra_preserved_memory_during_sampling",
              "extra_model_patchers_during_sampling", "extra_concat_condition")
"""what of a UNet patcher other extensions set for one sampling without any bearing on the weights"""


def patched(unet: Any, offsets: Offsets, **named: str) -> Any:
    """A clone of a UNet patcher with the offsets on it; `named` is what else the host's `add_patches` wants to know."""
    clone = unet.clone()
    # "diff" with pad_weight: the first convolution grows to the offsets' inputs.
    clone.add_patches(patches={PREFIX + key: ("diff", (tensor, {"pad_weight": True}))
                               for key, tensor in offsets.tensors.items()}, **named)
    return clone


def condition(unet: Any, concat: torch.Tensor, noise_shaped: Callable[[torch.Tensor], Any]) -> Applied:
    """Put `concat` beside the latent whenever `unet`, a patcher of our own, is sampled with.

    noise_shaped: the host's condition that is cut and repeated as the latent is.
    """
    applied = Applied()

    # A closure: the hosts deep-copy the model options with each clone, and functions are not copied.
    def modifier(model: Any, x: torch.Tensor, timestep: Any, uncond: Any, cond: Any, *rest: Any) -> tuple[Any, ...]:
        check_pass(model.diffusion_model, x, concat)
        beside = concat.expand(x.shape[0], -1, -1, -1).to(x.device)
        for part in [*cond, *(uncond or [])]:
            part["model_conds"]["c_concat"] = noise_shaped(beside)
        applied.steps += 1
        return (model, x, timestep, uncond, cond, *rest)

    unet.add_conditioning_modifier(modifier)
    return applied


def encoder(vae: Any, adapter: str, tiled: bool, process_in: Callable[[torch.Tensor], torch.Tensor]) -> Encoder:
    """An encoder by the host's `vae`, with the host's memory handling, precision and tiling.

    tiled: whether the host has it work in tiles always. process_in: scales a latent for the UNet.
    """
    first_stage = vae.first_stage_model

    def encode(pixels: NDArray[np.uint8]) -> torch.Tensor:
        stand_in = copy.copy(vae)  # with the same patcher: the hosts would load a clone's anew
        stand_in.first_stage_model = ModeOfPosterior(first_stage)
        # The hosts compute 2x - 1; so x = (v / 127) / 2 arrives as v / 127 - 1.
        image = torch.from_numpy((imaging.to_vae(pixels) + 1) / 2)[None]
        return process_in(stand_in.encode(image)).float().cpu()

    return Encoder(f"{adapter}-{fingerprint(first_stage)}-{'tiled' if tiled else 'whole'}-{vae.vae_dtype}", encode)


class _Kept(NamedTuple):
    unet: Any
    """our clone, with the patches; what it was cloned from has the same patches but ours"""
    beneath: tuple[Any, ...]
    offsets: str


class KeptClone:
    """A patched clone, used again while the weights stay the same.

    For hosts that tell sets of patches apart by an id that is new at every `add_patches` (reForge, Neo 2.26), or
    by the clone itself (Classic): with a clone for each sampling they would merge anew each time.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def patched(self, base: Any, offsets: Offsets, **named: str) -> Any:
        """See `patched`; for the same weights as last time, the same clone."""
        kept = self._kept
        if kept is not None and kept.offsets == offsets.name and kept.beneath == _beneath(base):
            fresh = base.clone()
            for name in NOT_MERGED:
                if hasattr(fresh, name):
                    setattr(kept.unet, name, getattr(fresh, name))
            return kept.unet
        unet = patched(base, offsets, **named)
        self._kept = _Kept(unet, _beneath(base), offsets.name)
        return unet

    def forget(self) -> None:
        """Let go of the clone."""
        self._kept = None


def _beneath(unet: Any) -> tuple[Any, ...]:
    """Tells one state of a UNet's weights from another: the model, and which patches are on it, by identity.

    Identities stay true because a kept clone holds on to all these objects itself.
    """
    return (id(unet.model), getattr(unet, "patches_uuid", None),
            tuple((str(key), *map(id, patches)) for key, patches in unet.patches.items()),
            tuple((key, id(patch)) for key, patch in unet.object_patches.items()))
