"""The LoRAs of A1111's own LoRA extension, which writes them into the weights and keeps books on what it wrote.

It does so layer by layer in the first step of a sampling. It is made to do so before IC-Light's weights go in; its
books stay true because they never see ours.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from modules import shared

LAYERS = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.GroupNorm, torch.nn.LayerNorm)
"""the layers whose `forward` the extension replaces, as far as a UNet has them"""


def chosen() -> list[Any]:
    """The LoRAs that are chosen for the next step, as the host's extension tells them apart."""
    networks = _extension()
    return [(net.name, net.te_multiplier, net.unet_multiplier, net.dyn_dim)
            for net in (networks.loaded_networks if networks else ())]


def settle(unet: torch.nn.Module) -> list[Any]:
    """Have the host bring its LoRAs into the weights now: by itself it would do so layer by layer in the first step.

    Returns what `chosen` says.
    """
    networks = _extension()
    for layer in unet.modules() if networks else ():
        if isinstance(layer, LAYERS):
            if not shared.opts.lora_functional:
                networks.network_apply_weights(layer)
            elif networks.loaded_networks:  # it then adds them to a layer's output, and clears the weights of them
                networks.network_restore_weights_from_backup(layer)
                networks.network_reset_cached_weight(layer)
    return chosen()


def _extension() -> Any:
    """The host's own LoRA extension's module, None if it is switched off."""
    networks = sys.modules.get("networks")
    return networks if hasattr(networks, "network_apply_weights") else None
