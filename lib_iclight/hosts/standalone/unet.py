"""The UNet with IC-Light's offsets on it, and without them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from ...errors import WeightsError
from ...weights import Offsets
from .loras import Delta

FIRST = "conv_in.weight"


class RelitUNet:
    """A diffusers UNet whose weights are base + LoRAs + offsets.

    The base weights stay in main memory, so that every change of offsets starts from them and none leaves a trace:
    the sum is made in float32 and rounded once, to the UNet's own dtype.
    """

    def __init__(self, unet: Any, deltas: Mapping[str, Sequence[Delta]]) -> None:
        self._unet = unet
        self._deltas = deltas
        self._base = {key: weight.detach().cpu().clone() for key, weight in unet.named_parameters()}
        self._used: str | None = None
        if deltas:
            self._write({})

    def use(self, offsets: Offsets | None) -> None:
        """Put these offsets on, or with None take them off. Raises WeightsError if they do not fit this UNet."""
        name = offsets.name if offsets else None
        if name == self._used:
            return
        tensors = offsets.tensors if offsets else {}
        if offsets:
            self._check(offsets)
        self._used = "being changed"  # so that after an interrupt the next job writes all weights anew
        self._write(tensors)
        self._used = name

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor as it is used at present, by its name in diffusers; for reading only."""
        for key, weight in self._unet.named_parameters():
            yield key, weight.detach()

    def __call__(self, latent: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor,
                 concat: torch.Tensor | None) -> torch.Tensor:
        """The predicted noise, float32 [B, 4, h, w] on the latent's device.

        latent: [B, 4, h, w]; context: [B, tokens, width]; concat: [B or 1, 4 or 8, h, w], None without offsets.
        """
        device, dtype = self._unet.device, self._unet.dtype
        if concat is not None:
            latent = torch.cat([latent, concat.to(latent).expand(len(latent), -1, -1, -1)], dim=1)
        predicted: torch.Tensor = self._unet(latent.to(device, dtype), timestep.to(device),
                                             context.to(device, dtype), return_dict=False)[0]
        return predicted.to(latent.device, torch.float32)

    def _check(self, offsets: Offsets) -> None:
        for key, base in self._base.items():
            offset = offsets.tensors.get(key)
            if offset is None:
                raise WeightsError(f"the weights {offsets.name} do not fit the checkpoint: {key} is missing.")
            expected = (base.shape[0], offset.shape[1], *base.shape[2:]) if key == FIRST else tuple(base.shape)
            if tuple(offset.shape) != expected:
                raise WeightsError(f"the weights {offsets.name} do not fit the checkpoint: {key} has the shape "
                                   f"{list(offset.shape)}, the checkpoint's {list(base.shape)}.")

    @torch.no_grad()
    def _write(self, offsets: Mapping[str, torch.Tensor]) -> None:
        inputs = offsets[FIRST].shape[1] if offsets else self._base[FIRST].shape[1]
        first = self._unet.conv_in
        if first.weight.shape[1] != inputs:
            wider = first.weight.new_empty(first.weight.shape[0], inputs, *first.weight.shape[2:])
            first.weight = torch.nn.Parameter(wider, requires_grad=False)
            first.in_channels = inputs
        for key, weight in self._unet.named_parameters():
            base = self._base[key]
            value = base.float()
            for delta in self._deltas.get(key, ()):
                value = value + delta.of(base.shape)
            if key == FIRST:
                value = pad(value, (0, 0, 0, 0, 0, inputs - base.shape[1]))
            if offsets:
                value = value + offsets[key].float()
            weight.copy_(value)
