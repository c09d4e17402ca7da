"""The UNet with LoRAs and IC-Light's offsets on it, and without them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from ...errors import CheckpointError, WeightsError
from ...weights import Offsets
from ...weights.stored import let_go, shape_of
from .loras import NO_LORAS, Loras
from .memory import Means, clear
from .storage import Shrunk

FIRST = "conv_in.weight"


class RelitUNet:
    """A diffusers UNet whose weights are base + LoRAs + offsets.

    Each sum is made from the base, in float32, and rounded once, layer by layer; so no change leaves a trace, and no
    second copy of the UNet is ever in memory.
    """

    def __init__(self, unet: Any, base: Mapping[str, torch.Tensor] | None, means: Means) -> None:
        """base: where the checkpoint's weights are read from, whenever they are written; None: copies of the UNet's."""
        self._unet = unet
        self._means = means
        if base is None:
            base = {key: weight.detach().cpu().clone() for key, weight in unet.named_parameters()}
        self._base = base
        self._shapes = {key: tuple(weight.shape) for key, weight in unet.named_parameters()}
        self._shrunk = Shrunk(unet, means.storage, means.compute) if means.storage != means.compute else None
        self._used: tuple[object, ...] | None = None
        self.forward: Any = unet
        """what is called in the UNet's place: itself, or what it was compiled to"""

    @property
    def model(self) -> Any:
        """The UNet itself."""
        return self._unet

    def use(self, offsets: Offsets | None, loras: Loras = NO_LORAS) -> bool:
        """Put these offsets and LoRAs on, and take others off; says whether there was anything to change.

        Raises WeightsError if they do not fit this UNet, or a file of theirs cannot be read.
        """
        name = (offsets.name if offsets else None, loras.name)
        if name == self._used:
            return False
        tensors: Mapping[str, torch.Tensor] = offsets.tensors if offsets else {}
        if offsets:
            self._check(offsets)
        self._used = None  # so that after an interrupt the next job writes all weights anew
        try:
            self._write(tensors, loras.unet)
        finally:
            let_go(self._base)
            let_go(tensors)
        clear(self._means.device)  # what the sums, and other models as they were loaded, left free in between
        self._used = name
        return True

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor as it is used at present, by its name in diffusers; for reading only."""
        for key, weight in self._unet.named_parameters():
            yield key, self._shrunk.whole(key) if self._shrunk and key in self._shrunk else weight.detach()

    def __call__(self, latent: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor,
                 concat: torch.Tensor | None, **residuals: Any) -> torch.Tensor:
        """What the UNet predicts, float32 [B, 4, h, w] on the latent's device.

        latent: [B, 4, h, w]; context: [B, tokens, width]; concat: [B or 1, 4 or 8, h, w], None without offsets;
        residuals: what a ControlNet adds, by the names of diffusers' UNet.
        """
        device, dtype = self._means.device, self._means.compute
        if concat is not None:
            latent = torch.cat([latent, concat.to(latent).expand(len(latent), -1, -1, -1)], dim=1)
        sample = latent.to(device, dtype)
        if self._means.channels_last:
            sample = sample.contiguous(memory_format=torch.channels_last)
        predicted: torch.Tensor = self.forward(sample, timestep.to(device), context.to(device, dtype),
                                               return_dict=False, **residuals)[0]
        return predicted.to(latent.device, torch.float32)

    def _check(self, offsets: Offsets) -> None:
        for key, shape in self._shapes.items():
            try:
                offset = shape_of(offsets.tensors, key)
            except KeyError:
                raise WeightsError(f"the weights {offsets.name} do not fit the checkpoint: {key} is missing.") from None
            expected = (shape[0], offset[1], *shape[2:]) if key == FIRST else shape
            if offset != expected:
                raise WeightsError(f"the weights {offsets.name} do not fit the checkpoint: {key} has the shape "
                                   f"{list(offset)}, the checkpoint's {list(shape)}.")

    @torch.no_grad()
    def _write(self, offsets: Mapping[str, torch.Tensor], deltas: Mapping[str, Sequence[Any]]) -> None:
        inputs = shape_of(offsets, FIRST)[1] if offsets else self._shapes[FIRST][1]
        self._unet.conv_in.in_channels = inputs
        # Those that live in main memory are summed there too.
        where = torch.device("cpu") if self._means.moves else self._means.device
        for key, shape in self._shapes.items():
            try:
                value = self._base[key].to(where, torch.float32)
            except WeightsError as error:  # which is what files are called that it was made for
                raise CheckpointError(str(error), path=error.path) from error
            for delta in deltas.get(key, ()):
                value = value + delta.of(torch.Size(shape), where)
            if key == FIRST:
                value = pad(value, (0, 0, 0, 0, 0, inputs - shape[1]))
            if offsets:
                value = value + offsets[key].to(where, torch.float32)
            self._put(key, value)

    def _put(self, key: str, value: torch.Tensor) -> None:
        if self._shrunk and key in self._shrunk:
            self._shrunk.write(key, value)
            return
        module_name, _, leaf = key.rpartition(".")
        module = self._unet.get_submodule(module_name)
        there = getattr(module, leaf)
        if there.device.type != "meta" and there.shape == value.shape:
            there.copy_(value)
            return
        dtype = self._means.compute
        # A tensor of its own: a base in float32 is the file's, and without offsets the sum is the base.
        made = torch.empty_like(value, dtype=dtype)
        if self._means.channels_last and value.ndim == 4:
            made = made.contiguous(memory_format=torch.channels_last)
        setattr(module, leaf, torch.nn.Parameter(made.copy_(value), requires_grad=False))
