"""Stable Diffusion web UI (A1111): the live UNet is IC-Light's for the length of one sampling, and itself again after.

This host has no patches of its own. So the sampler of one pass is wrapped: before it runs, every parameter of the UNet
is pointed at a tensor with the offsets added, and after it, however it ends, at its own tensor again: the same bytes.
The host's LoRAs write into the weights too, and keep books on what they wrote; they are made to do so before, and
their books stay true because they never see ours.

The conditioning goes in where the host lets it pass: as `image_conditioning`, which an inpainting checkpoint would use.
The host repeats and splits it along with the batch and hands it to the diffusion wrapper, which ignores it for a plain
checkpoint. A hook there takes it, and one at the first convolution puts it beside the latent, behind whatever other
extensions do to the UNet's `forward`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from modules import devices, sd_unet, shared

from ... import imaging
from ...errors import HostError
from ...weights import Layout, Offsets
from ..base import Applied, Encoder, check_pass, fingerprint, require_sd1

LORA_LAYERS = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.GroupNorm, torch.nn.LayerNorm)
"""the layers whose `forward` the host's LoRA extension replaces, as far as a UNet has them"""


class A1111Host:
    """See `hosts.base.Host`."""

    adapter = "a1111"
    layout: Layout = "ldm"

    def __init__(self, name: str) -> None:
        self.name = name
        self._weights = _Weights()

    def check_checkpoint(self, sd_model: Any) -> None:
        """See `Host.check_checkpoint`."""
        is_sd1 = getattr(sd_model, "is_sd1", False)
        require_sd1(sd_model, sd_model.model.diffusion_model.input_blocks[0][0].weight.shape[1] if is_sd1 else 4)

    def encoder(self, sd_model: Any) -> Encoder:
        """The VAE in use, encoding as the host's img2img does, except for the mode."""
        first_stage = sd_model.first_stage_model

        def encode(pixels: np.ndarray) -> torch.Tensor:
            image = torch.from_numpy(imaging.to_vae(pixels)).movedim(-1, 0)[None].contiguous()
            first_stage.to(devices.dtype_vae)
            posterior = sd_model.encode_first_stage(image.to(shared.device, dtype=devices.dtype_vae))
            latent = (sd_model.scale_factor * posterior.mode()).float().cpu()
            if not torch.isfinite(latent).all():
                raise HostError("the VAE made NaN of a picture, as some do in half precision. "
                                "Start the WebUI with --no-half-vae, or choose another VAE.")
            return latent

        return Encoder(f"a1111-{fingerprint(first_stage)}-{devices.dtype_vae}", encode)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`. What is changed is `p.sampler`, which the host makes anew for each pass."""
        if sd_unet.current_unet is not None:
            raise HostError("another UNet (for example of TensorRT) stands in for the checkpoint's own, and IC-Light "
                            "cannot change it. Set SD Unet to None in the settings.")
        applied = Applied()
        model = p.sd_model.model
        for name in ("sample", "sample_img2img"):
            method = getattr(p.sampler, name)
            original = getattr(method, "iclight_original", method)
            setattr(p.sampler, name, self._relit(original, model, offsets, concat, applied))
        return applied

    def release(self) -> None:
        """See `Host.release`."""
        self._weights.forget()

    def _relit(self, original: Callable[..., Any], model: Any, offsets: Offsets, concat: torch.Tensor,
               applied: Applied) -> Callable[..., Any]:
        """A sampler's method that samples with IC-Light in the model."""
        def sample(p: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            kwargs["image_conditioning"] = concat.expand(x.shape[0], -1, -1, -1).to(x)
            with (self._weights.merged(model.diffusion_model, offsets) as renew,
                  _conditioned(model, renew, applied)):
                return original(p, x, *args, **kwargs)

        sample.iclight_original = original  # type: ignore[attr-defined]
        return sample


@contextmanager
def _conditioned(model: Any, renew: Callable[[], None], applied: Applied) -> Iterator[None]:
    """Put the conditioning that the diffusion wrapper `model` is given beside the latent. `renew` runs every step."""
    unet = model.diffusion_model
    conditioning: list[torch.Tensor] = []

    def take(module: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        if args:  # with --medvram the ControlNet extension calls it in mid-step with nothing, for the sake of its hooks
            renew()
            conditioning[:] = kwargs.get("c_concat") or []

    def put(convolution: Any, args: tuple[torch.Tensor]) -> torch.Tensor:
        (x,) = args
        if not conditioning:
            raise HostError("the conditioning was lost on its way to the UNet: another extension changes how it is "
                            "called. Switch that extension off for this job.")
        # Steps that leave the negative prompt out hand over its rows of the conditioning all the same, at the end.
        concat = conditioning[0][:x.shape[0]].to(x)
        check_pass(unet, x, concat)
        applied.steps += 1
        return torch.cat([x, concat], dim=1)

    hooks = [model.register_forward_pre_hook(take, with_kwargs=True),
             unet.input_blocks[0][0].register_forward_pre_hook(put)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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


class _Weights:
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
        loras: list[Any] = []

        def enter() -> None:
            loras[:] = _settle_loras(unet)
            self._enter(unet, offsets, originals)

        def renew() -> None:
            if loras != _loras():
                self.forget()
                _leave(unet, originals)
                enter()

        with torch.no_grad():
            try:
                enter()
                yield renew
            finally:
                self._keep(unet)
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
    """Give the parameters their own tensors back. They may have moved meanwhile (medvram): each stays where it is."""
    for name, parameter in unet.named_parameters():
        if name in originals:
            parameter.data = originals.pop(name).to(parameter.device)


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
    return memory.available > memory.total / 4


def _size(unet: torch.nn.Module) -> int:
    """Bytes of a UNet's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in unet.parameters())


def _lora_extension() -> Any:
    """The host's own LoRA extension's module, None if it is switched off."""
    networks = sys.modules.get("networks")
    return networks if hasattr(networks, "network_apply_weights") else None


def _loras() -> list[Any]:
    """The LoRAs that are chosen for the next step, as the host's extension tells them apart."""
    networks = _lora_extension()
    return [(net.name, net.te_multiplier, net.unet_multiplier, net.dyn_dim)
            for net in (networks.loaded_networks if networks else ())]


def _settle_loras(unet: torch.nn.Module) -> list[Any]:
    """Have the host bring its LoRAs into the weights now: by itself it would do so layer by layer in the first step.

    Returns what `_loras` says.
    """
    networks = _lora_extension()
    for layer in unet.modules() if networks else ():
        if isinstance(layer, LORA_LAYERS):
            if not shared.opts.lora_functional:
                networks.network_apply_weights(layer)
            elif networks.loaded_networks:  # it then adds them to a layer's output, and clears the weights of them
                networks.network_restore_weights_from_backup(layer)
                networks.network_reset_cached_weight(layer)
    return _loras()
