"""Offsets as the weight patches of Forge's UNet patcher and its relatives', and a clone to carry them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..weights import Offsets

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


class _Kept(NamedTuple):
    unet: Any
    """our clone, with the patches; what it was cloned from has the same patches but ours"""
    beneath: tuple[Any, ...]
    offsets: str


class KeptClone:
    """A patched clone, used again while the weights stay the same.

    For hosts that tell sets of patches apart by an id that is new at every `add_patches` (reForge, Neo since 2026), or
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
