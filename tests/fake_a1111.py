"""A double of A1111 1.10, as far as its adapter meets it: a live UNet, a sampler, and the built-in LoRA extension.

The LoRA extension keeps the books that the real one keeps: per layer a backup and the names of what was last written
into it, brought up to date in the layer's `forward`. The real thing is met in tests/live.
"""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_modules import forget_modules, put_modules


class Networks(types.ModuleType):
    """The module `networks` of the host's LoRA extension. A LoRA here adds its strength to every weight."""

    def __init__(self) -> None:
        super().__init__("networks")
        self.loaded_networks: list[SimpleNamespace] = []

    def choose(self, **strengths: float) -> None:
        self.loaded_networks = [SimpleNamespace(name=name, te_multiplier=strength, unet_multiplier=strength,
                                                dyn_dim=None) for name, strength in strengths.items()]

    @staticmethod
    def network_apply_weights(self: Any) -> None:
        """`self` is the layer, as the host calls it."""
        layer, loaded = self, sys.modules["networks"].loaded_networks
        current = getattr(layer, "network_current_names", ())
        wanted = tuple((net.name, net.unet_multiplier) for net in loaded)
        if getattr(layer, "network_weights_backup", None) is None and wanted != ():
            assert current == (), "no backup weights found and current weights are not unchanged"
            layer.network_weights_backup = layer.weight.detach().clone()
        if current != wanted:
            if getattr(layer, "network_weights_backup", None) is not None:
                layer.weight.copy_(layer.network_weights_backup)
            for net in loaded:
                layer.weight.copy_(layer.weight + net.unet_multiplier)
            layer.network_current_names = wanted

    @staticmethod
    def network_restore_weights_from_backup(self: Any) -> None:
        if getattr(self, "network_weights_backup", None) is not None:
            self.weight.copy_(self.network_weights_backup)

    @staticmethod
    def network_reset_cached_weight(self: Any) -> None:
        self.network_current_names, self.network_weights_backup = (), None


def with_loras(layer: torch.nn.Module, opts: Any) -> torch.nn.Module:
    """The layer as the LoRA extension leaves it: its `forward` first sees to the weights."""
    plain = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        networks: Any = sys.modules.get("networks")
        if networks is not None and not opts.lora_functional:
            networks.network_apply_weights(layer)
        elif networks is not None and networks.loaded_networks:
            networks.network_restore_weights_from_backup(layer)
            networks.network_reset_cached_weight(layer)
        result: torch.Tensor = plain(x)
        return result

    layer.forward = forward
    return layer


class Unet(torch.nn.Module):
    """ldm's names, few weights."""

    def __init__(self, opts: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.input_blocks: Any = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3, padding=1))])
        self.out: Any = torch.nn.ModuleList([torch.nn.GroupNorm(2, 6), torch.nn.Conv2d(6, 4, 3, padding=1)])
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).to(dtype)
            parameter.requires_grad_(False)
        for layer in (self.input_blocks[0][0], *self.out):
            with_loras(layer, opts)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, timesteps: Any = None, context: Any = None, *args: Any,
                **kwargs: Any) -> torch.Tensor:
        hidden = self.input_blocks[0](x)
        for layer in self.out:
            hidden = layer(hidden)
        self.seen.append(hidden)
        result: torch.Tensor = hidden
        return result


class DiffusionWrapper(torch.nn.Module):
    """Ignores the concat conditioning, as ldm's does for a plain checkpoint."""

    def __init__(self, unet: Unet) -> None:
        super().__init__()
        self.diffusion_model = unet

    def forward(self, x: torch.Tensor, t: Any, c_concat: list[torch.Tensor] | None = None,
                c_crossattn: Any = None, c_adm: Any = None) -> torch.Tensor:
        result: torch.Tensor = self.diffusion_model(x, t, context=c_crossattn)
        return result


class FirstStage(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Module()
        self.encoder.conv_in = self.encoder.conv_out = torch.nn.Conv2d(3, 3, 1)
        self.quant_conv = torch.nn.Conv2d(3, 3, 1)


class SdModel:
    is_sd1 = True
    scale_factor = 0.5

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.opts = SimpleNamespace(lora_functional=False)
        self.model = DiffusionWrapper(Unet(self.opts, dtype))
        self.first_stage_model = FirstStage()
        self.sd_checkpoint_info = SimpleNamespace(name_for_extra="a-checkpoint")

    @property
    def unet(self) -> Unet:
        return self.model.diffusion_model

    def encode_first_stage(self, x: torch.Tensor) -> Any:
        """A posterior whose mode is the 8 x 8 pixel means."""
        means = torch.nn.functional.avg_pool2d(x, 8)
        return SimpleNamespace(mode=lambda: torch.cat([means, means[:, :1]], dim=1))

    def hash(self) -> str:
        """Of the UNet's weights as they are now."""
        digest = hashlib.sha256()
        for name, value in self.unet.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class InterruptedException(BaseException):
    """What the host's denoiser raises in mid-pass once the person has interrupted."""


class Sampler:
    """Takes steps with the image conditioning repeated for prompt and negative prompt. `at_step` may do harm."""

    def __init__(self, sd_model: SdModel, steps: int = 2) -> None:
        self.sd_model, self.steps = sd_model, steps
        self.at_step: Callable[[int], None] = lambda step: None
        self.skip_negative_at = -1

    def sample(self, p: Any, x: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
               steps: int | None = None, image_conditioning: Any = None) -> torch.Tensor:
        return self._run(x, image_conditioning)

    def _run(self, x: torch.Tensor, image_conditioning: torch.Tensor) -> torch.Tensor:
        """The last step's result; after an interrupt that of the steps so far, as with the host's `launch_sampling`."""
        result = x
        try:
            for step in range(self.steps):
                self.at_step(step)
                rows = x if step == self.skip_negative_at else torch.cat([x, x])
                with torch.no_grad():
                    result = self.sd_model.model(rows, None, c_concat=[torch.cat([image_conditioning] * 2)])
        except InterruptedException:
            pass
        return result

    def sample_img2img(self, p: Any, x: torch.Tensor, noise: torch.Tensor, conditioning: Any,
                       unconditional_conditioning: Any, steps: int | None = None,
                       image_conditioning: Any = None) -> torch.Tensor:
        return self._run(x + noise, image_conditioning)


def install(monkeypatch: pytest.MonkeyPatch, sd_model: SdModel) -> Networks:
    """Put the doubles where the adapter's imports find them."""
    networks = Networks()
    modules: dict[str, dict[str, Any]] = {
        "modules": {},
        "modules.devices": {"dtype_vae": torch.float32},
        "modules.sd_unet": {"current_unet": None},
        "modules.shared": {"device": torch.device("cpu"), "opts": sd_model.opts},
    }
    put_modules(monkeypatch, modules)
    monkeypatch.setitem(sys.modules, "networks", networks)
    forget_modules(monkeypatch, "lib_iclight.hosts.webui.a1111")
    return networks


SAME_AS_A1111: dict[str, Any] = {
    "networks:network_apply_weights": Networks.network_apply_weights,
    "networks:network_restore_weights_from_backup": Networks.network_restore_weights_from_backup,
    "networks:network_reset_cached_weight": Networks.network_reset_cached_weight,
    "ldm.modules.diffusionmodules.openaimodel:UNetModel.forward": Unet.forward,
    "ldm.models.diffusion.ddpm:DiffusionWrapper.forward": DiffusionWrapper.forward,
    "ldm.models.diffusion.ddpm:LatentDiffusion.encode_first_stage": SdModel.encode_first_stage,
    "modules.sd_samplers_kdiffusion:KDiffusionSampler.sample": Sampler.sample,
    "modules.sd_samplers_kdiffusion:KDiffusionSampler.sample_img2img": Sampler.sample_img2img,
    "modules.sd_samplers_timesteps:CompVisSampler.sample": Sampler.sample,
    "modules.sd_samplers_timesteps:CompVisSampler.sample_img2img": Sampler.sample_img2img,
}
"""module:name in A1111 -> the double that has its parameters, by name and order; compared in tests/live"""
