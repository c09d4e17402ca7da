"""Weights that take less room between their uses: kept in fewer bits, and made whole for the layer that works."""

from __future__ import annotations

from typing import Any

import torch

LARGEST = {torch.float8_e4m3fn: 448.0}
"""the largest number that each dtype of 8 bits holds"""
_WHOLE = ("conv_in", "conv_out", "time_embedding", "norm")
"""parts of a UNet that stay whole: small ones that much depends on"""


class Shrunk:
    """The large weights of a model in `storage`; each is made `compute` while its layer works, and let go after it.

    Numbers of 8 bits are scaled by each weight's largest value, so that none is lost at either end.
    """

    def __init__(self, model: Any, storage: torch.dtype, compute: torch.dtype) -> None:
        self.compute = compute
        self._storage = storage
        self._kept: dict[Any, tuple[torch.Tensor, float]] = {}
        self._layers = {f"{name}.weight": layer for name, layer in model.named_modules()
                        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
                        and not any(part in name for part in _WHOLE)}
        for layer in self._layers.values():
            layer.register_forward_pre_hook(self._before)
            layer.register_forward_hook(self._after, always_call=True)

    def __contains__(self, key: str) -> bool:
        return key in self._layers

    def write(self, key: str, value: torch.Tensor) -> None:
        """Keep a weight, given in float32."""
        layer = self._layers[key]
        largest = LARGEST.get(self._storage)
        scale = float(value.abs().max()) / largest if largest else 1.0
        scale = scale or 1.0
        stored = (value / scale if largest else value).to(self._storage)
        self._kept[layer] = (stored, scale)
        layer.weight = torch.nn.Parameter(stored, requires_grad=False)

    def whole(self, key: str) -> torch.Tensor:
        """A weight as its layer works with it."""
        layer = self._layers[key]
        return layer.weight.detach().to(self.compute) * self._kept[layer][1]

    def _before(self, layer: Any, _: Any) -> None:
        stored, scale = layer.weight.data, self._kept[layer][1]
        self._kept[layer] = stored, scale  # it may lie on another device than it did
        with torch.inference_mode(False), torch.no_grad():  # torch gives a parameter no data of inference mode
            whole = stored.to(self.compute)
            layer.weight.data = whole if scale == 1.0 else whole.mul_(scale)

    def _after(self, layer: Any, *_: Any) -> None:
        layer.weight.data = self._kept[layer][0]
