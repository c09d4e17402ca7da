"""Weights that take less room between their uses: kept in fewer bits, and made whole for the layer that works."""

from __future__ import annotations

from typing import Any

import torch

LARGEST = {torch.float8_e4m3fn: 448.0}
"""the largest number that each dtype of 8 bits holds"""
_WHOLE = ("conv_in", "conv_out", "time_embedding", "norm")
"""parts of a UNet that stay whole where storage loses: small ones that much depends on"""
_HALVES = (torch.float16, torch.bfloat16)


class Shrunk:
    """The large weights of a model in `storage`; each is made `compute` while its layer works, and let go after it.

    Numbers of 8 bits are scaled by each weight's largest value, so that none is lost at either end.
    """

    def __init__(self, model: Any, storage: torch.dtype | None, compute: torch.dtype) -> None:
        """storage: None for 16 bits where they hold all of a weight's numbers exactly, else `compute`."""
        self.compute = compute
        self._storage = storage
        self._kept: dict[Any, tuple[torch.Tensor, float]] = {}
        lossless = storage is None
        self._layers = {f"{name}.weight": layer for name, layer in model.named_modules()
                        if (isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
                        and (lossless or not any(part in name for part in _WHOLE)))
                        or (lossless and isinstance(layer, torch.nn.Embedding))}
        for layer in self._layers.values():
            if isinstance(layer, torch.nn.Embedding):  # only the rows that were looked up are made whole
                layer.register_forward_hook(self._looked_up)
                continue
            layer.register_forward_pre_hook(self._before)
            layer.register_forward_hook(self._after, always_call=True)

    def __contains__(self, key: str) -> bool:
        return key in self._layers

    def write(self, key: str, value: torch.Tensor) -> None:
        """Keep a weight, given in float32; without a storage of its own also as it was kept."""
        layer = self._layers[key]
        if self._storage is None:
            self._keep(layer, _exact(value, self.compute), 1.0)
            return
        largest = LARGEST.get(self._storage)
        scale = float(value.abs().max()) / largest if largest else 1.0
        scale = scale or 1.0
        self._keep(layer, (value / scale if largest else value).to(self._storage), scale)

    def whole(self, key: str) -> torch.Tensor:
        """A weight as its layer works with it."""
        layer = self._layers[key]
        return layer.weight.detach().to(self.compute) * self._kept[layer][1]

    def _keep(self, layer: Any, stored: torch.Tensor, scale: float) -> None:
        with torch.inference_mode(False), torch.no_grad():  # what is made in inference mode could not be made whole
            stored = stored.clone() if stored.is_inference() else stored
            self._kept[layer] = (stored, scale)
            layer.weight = torch.nn.Parameter(stored, requires_grad=False)

    def _before(self, layer: Any, _: Any) -> None:
        stored, scale = layer.weight.data, self._kept[layer][1]
        self._kept[layer] = stored, scale  # it may lie on another device than it did
        with torch.inference_mode(False), torch.no_grad():  # torch gives a parameter no data of inference mode
            whole = stored.to(self.compute)
            layer.weight.data = whole if scale == 1.0 else whole.mul_(scale)

    def _after(self, layer: Any, *_: Any) -> None:
        layer.weight.data = self._kept[layer][0]

    def _looked_up(self, _: Any, __: Any, rows: torch.Tensor) -> torch.Tensor:
        return rows.to(self.compute)


def exact(model: Any, compute: torch.dtype) -> Shrunk:
    """Keep the model's weights in 16 bits where they lose nothing by it: those that a file in half precision gave.

    What the model computes stays the same bit for bit.
    """
    shrunk = Shrunk(model, None, compute)
    for key in [key for key, _ in model.named_parameters() if key in shrunk]:  # keys alone: weights go one by one
        shrunk.write(key, model.get_parameter(key).detach())
    return shrunk


def _exact(value: torch.Tensor, compute: torch.dtype) -> torch.Tensor:
    """The weight in 16 bits if they hold it exactly, else in `compute`."""
    whole = value.to(compute)
    for dtype in _HALVES:
        half = value.to(dtype)
        if torch.equal(half.to(compute), whole):
            return half
    return whole
