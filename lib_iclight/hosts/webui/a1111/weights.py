"""IC-Light's weights in A1111's live UNet for the length of one sampling, and the host's own again after.

Every parameter is pointed at a tensor with the offset added, and afterwards, however the sampling ends, at its own
tensor again: the same bytes. The merged tensors are kept for the next sampling while memory abounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from ....errors import HostError
from ....weights import Offsets
from . import loras


@dataclass(frozen=True)
class _State:
    """Tells one state of a UNet's parameters from another, without reading them whole.

    Writing into a parameter counts its version up, and moving one gives it another address; should someone write
    behind torch's back, the first numbers most likely differ.
    """

    addresses: tuple[int, ...]
    versions: tuple[int, ...]
    samples: tuple[float, ...]

    @classmethod
    def of(cls, unet: torch.nn.Module) -> _State:
        parameters = list(unet.parameters())
        return cls(tuple(parameter.data_ptr() for parameter in parameters),
                   tuple(parameter._version for parameter in parameters),
                   tuple(float(parameter.detach().as_strided((), (), 0)) for parameter in parameters))


class Weights:
    """Puts IC-Light's weights into a UNet and takes them out; keeps them for the next time while memory abounds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        self._made_of: tuple[str, _State] | None = None
        self._kept: dict[str, torch.Tensor] = {}

    @contextmanager
    def merged(self, unet: torch.nn.Module, offsets: Offsets) -> Iterator[Callable[[], None]]:
        """The UNet's parameters are W + offset inside, and their own selves again afterwards, bit by bit.

        Gives a function for every step: it merges anew if the LoRAs have changed since, as some extensions let them.
        """
        originals: dict[str, torch.Tensor] = {}
        settled: list[Any] = []

        def enter() -> None:
            settled[:] = loras.settle(unet)
            self._enter(unet, offsets, originals)

        def renew() -> None:
            if settled != loras.chosen():
                self.forget()
                _leave(unet, originals)
                enter()

        with torch.no_grad():
            try:
                enter()
                yield renew
            finally:
                try:
                    self._keep(unet)
                finally:
                    _leave(unet, originals)

    def _enter(self, unet: Any, offsets: Offsets, originals: dict[str, torch.Tensor]) -> None:
        parameters = dict(unet.named_parameters())
        if parameters.keys() != offsets.tensors.keys():
            raise HostError("the UNet's layers are not those of SD 1.5: another extension replaced some. "
                            "Switch that extension off for this job.")
        if unet.input_blocks[0][0].weight.shape[1] != 4:
            raise HostError("the UNet is being sampled from already: another extension starts a second sampling "
                            "inside the first. Switch that extension off for this job.")
        made_of = offsets.name, _State.of(unet)
        kept = self._kept if made_of == self._made_of else {}
        self.forget()
        aside = _place_for_originals(unet)
        for name, parameter in parameters.items():
            weight = kept[name].to(parameter.device) if kept else _sum(parameter.detach(), offsets.tensors[name])
            originals[name] = parameter.detach() if aside is None else parameter.detach().to(aside)
            parameter.data = weight
        self._made_of = made_of

    def _keep(self, unet: torch.nn.Module) -> None:
        """Keep the merged weights if there is plenty of memory where they are."""
        if self._made_of is not None and _memory_abounds(unet):
            self._kept = {name: parameter.detach() for name, parameter in unet.named_parameters()}
        else:
            self.forget()


def _leave(unet: torch.nn.Module, originals: dict[str, torch.Tensor]) -> None:
    """Give the parameters their own tensors back. They may have moved meanwhile (medvram): each stays where it is.

    Raises torch.cuda.OutOfMemoryError if the GPU has no room for one; all have their own then, that one elsewhere.
    """
    full = None
    for name, parameter in unet.named_parameters():
        if name in originals:
            own, device = originals.pop(name), parameter.device
            parameter.data = own  # lets go of the merged one, whose place it takes
            try:
                parameter.data = own.to(device)
            except torch.cuda.OutOfMemoryError as error:
                full = error
    if full is not None:
        raise full


def _sum(weight: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """weight + offset in the weight's dtype and place, with missing input channels of the weight taken as zero."""
    total = offset.to(weight.device, torch.float32, copy=True)
    (total if total.shape == weight.shape else total[:, :weight.shape[1]]).add_(weight.float())
    return total.to(weight.dtype)


def _place_for_originals(unet: torch.nn.Module) -> torch.device | None:
    """Where to keep a GPU's own weights while the merged ones are there: None: beside them, else in main memory."""
    device = next(unet.parameters()).device
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return None if free > 2 * _size(unet) else torch.device("cpu")


def _memory_abounds(unet: torch.nn.Module) -> bool:
    """Whether a second set of weights may stay in memory between jobs without being in anyone's way."""
    devices_used = {parameter.device for parameter in unet.parameters()}
    if len(devices_used) > 1:  # --lowvram
        return False
    device = devices_used.pop()
    if device.type == "cuda":  # where merging again is quick, and too little left ends a job
        free, total = torch.cuda.mem_get_info(device)
        return free > total / 2
    memory = psutil.virtual_memory()
    return bool(memory.available > memory.total / 4)


def _size(unet: torch.nn.Module) -> int:
    """Bytes of a UNet's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in unet.parameters())
