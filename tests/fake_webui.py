"""A double of the WebUI, as far as IC-Light's hooks meet it: enough of `modules` and `backend` to run a job.

The real thing is met in tests/live. Here the order of hooks, the sampler's two entrances and the reset of
`forge_objects` are Forge's; the "UNet" only notes what reaches it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from fake_modules import forget_modules, put_modules
from PIL import Image


class ConditionNoiseShape:
    def __init__(self, cond: torch.Tensor) -> None:
        self.cond = cond


class StableDiffusionProcessingImg2Img:
    pass


class Script:
    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Every host that IC-Light fits has it."""


@contextmanager
def input_accordion(value: bool, **options: Any) -> Iterator[gr.Checkbox]:
    """A checkbox that other widgets can be put into. Not a subclass: gradio would write a .pyi file beside this one."""
    checkbox = gr.Checkbox(value=value, **options)
    with gr.Accordion(label=options["label"]):
        yield checkbox


def install(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    """Put the doubles where `import modules...` and `import backend...` find them, and forget them afterwards."""
    state = SimpleNamespace(interrupted=False, skipped=False, textinfo=None)
    fakes: dict[str, dict[str, Any]] = {
        "modules": {},
        "modules.shared": {"state": state, "opts": SimpleNamespace(sd_model_checkpoint=None),
                           "cmd_opts": SimpleNamespace(loglevel=None)},
        "modules.sd_models": {"get_closet_checkpoint_match": lambda name: None},
        "modules.paths_internal": {"models_path": str(models)},
        "modules.processing": {"StableDiffusionProcessingImg2Img": StableDiffusionProcessingImg2Img},
        "modules.scripts": {"scripts_data": [], "Script": Script, "AlwaysVisible": object()},
        "modules.script_callbacks": {"on_before_ui": lambda f: None, "on_app_started": lambda f: None},
        "modules.ui_components": {"InputAccordion": input_accordion},
        "backend": {},
        "backend.memory_management": {"VAE_ALWAYS_TILED": False},
        "backend.sampling": {},
        "backend.sampling.condition": {"ConditionNoiseShape": ConditionNoiseShape},
    }
    put_modules(monkeypatch, fakes)
    log = logging.getLogger("iclight")  # which the script lets be seen
    for name, value in {"handlers": [], "level": logging.NOTSET, "propagate": True}.items():
        monkeypatch.setattr(log, name, value)
    forget_modules(monkeypatch, "lib_iclight.webui",
                   *(f"lib_iclight.hosts.webui.{name}" for name in ("forge", "ldm", "a1111", "detect")))


class Unet:
    """Forge's UNet patcher: clones share the model and copy their options."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.patches: dict[str, dict[str, Any]] = {}
        self.model_options: dict[str, Any] = {"conditioning_modifiers": []}

    def clone(self) -> Unet:
        twin = Unet(self.model)
        twin.patches = dict(self.patches)
        twin.model_options = copy.deepcopy(self.model_options)
        return twin

    def add_patches(self, *, filename: str, patches: dict[str, Any]) -> None:
        self.patches[filename] = patches

    def add_conditioning_modifier(self, modifier: Any) -> None:
        self.model_options["conditioning_modifiers"].append(modifier)


class FirstStage:
    """A VAE whose moments are the 8 x 8 pixel means (and a spread that must not be used)."""

    def __init__(self) -> None:
        self.encoder = Encoder(SimpleNamespace(weight=torch.zeros(2)))
        self.quant_conv = QuantConv()

    def process_in(self, latent: torch.Tensor) -> torch.Tensor:
        return latent * 0.5


class Encoder:
    def __init__(self, layer: Any) -> None:
        self.conv_in = self.conv_out = layer

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8)


class QuantConv:
    weight = torch.zeros(2)

    def __call__(self, means: torch.Tensor) -> torch.Tensor:
        mean = torch.cat([means, means[:, :1]], dim=1)
        return torch.cat([mean, torch.full_like(mean, 1e9)], dim=1)


class Vae:
    vae_dtype = torch.float32

    def __init__(self) -> None:
        self.first_stage_model: Any = FirstStage()
        self.calls: list[tuple[int, ...]] = []

    def clone(self) -> Vae:
        return copy.copy(self)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(pixels.shape))
        return self.first_stage_model.encode(2 * pixels.movedim(-1, 1) - 1)


class SdModel:
    def __init__(self) -> None:
        first = SimpleNamespace(weight=torch.zeros(320, 4, 3, 3))
        self.is_sd1 = True
        self.is_sdxl = False
        self.sd_checkpoint_info = SimpleNamespace(name_for_extra="a-checkpoint")
        self.model_config = SimpleNamespace(unet_config={"in_channels": 4})
        self.diffusion_model = SimpleNamespace(input_blocks=[[first]])
        self.original = SimpleNamespace(unet=Unet(SimpleNamespace(diffusion_model=self.diffusion_model)), vae=Vae())
        self.forge_objects: Any = None
        self.reset()

    def reset(self) -> None:
        """What Forge does before every sampling."""
        self.forge_objects = SimpleNamespace(**vars(self.original))


class Sampler:
    """Notes how it was entered, and takes one step per pass through the conditioning modifiers."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self.model_wrap_cfg = SimpleNamespace(init_latent=None)

    def sample(self, p: Any, x: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
               steps: int | None = None, image_conditioning: Any = None) -> torch.Tensor:
        return self._step(x, "noise", None, steps)

    def sample_img2img(self, p: Any, x: torch.Tensor, noise: torch.Tensor, conditioning: Any,
                       unconditional_conditioning: Any, steps: int | None = None,
                       image_conditioning: Any = None) -> torch.Tensor:
        return self._step(noise, "image", x, steps)

    def _step(self, x: torch.Tensor, entrance: str, initial: torch.Tensor | None, steps: int | None) -> torch.Tensor:
        unet = self.p.sd_model.forge_objects.unet
        for patches in unet.patches.values():
            _, (weight, _) = patches["diffusion_model.input_blocks.0.0.weight"]
            inputs = weight.shape[1]
            self.p.sd_model.diffusion_model.input_blocks[0][0].weight = torch.zeros(320, inputs, 3, 3)
        cond: list[dict[str, Any]] = [{"model_conds": {}}]
        uncond: list[dict[str, Any]] = [{"model_conds": {}}]
        for modifier in unet.model_options["conditioning_modifiers"]:
            _, _, _, uncond, cond, *_ = modifier(unet.model, x, None, uncond, cond, 1.0, {}, 0)
        concats = [part["model_conds"].get("c_concat") for part in (*cond, *uncond)]
        self.p.passes.append(SimpleNamespace(
            entrance=entrance, initial=initial, steps=steps, strength=self.p.denoising_strength, noise=x,
            concats=[None if c is None else c.cond for c in concats], patches=list(unet.patches)))
        return x


class Processing:
    """txt2img: one job of `batch_size` pictures; `hires` is the second pass's latent size (height, width)."""

    def __init__(self, sd_model: SdModel, script: Any, args: Any, *, width: int = 64, height: int = 64,
                 batch_size: int = 1, hires: tuple[int, int] | None = None, truncate: tuple[int, int] = (0, 0),
                 is_api: bool = False) -> None:
        self.sd_model, self.script, self.script_args = sd_model, script, args
        self.width, self.height, self.batch_size, self.hires = width, height, batch_size, hires
        self.truncate_x, self.truncate_y = truncate
        self.steps, self.denoising_strength, self.is_api, self.is_hr_pass = 4, 0.4, is_api, False
        self.extra_generation_params: dict[str, Any] = {}
        self.color_corrections: Any = ["a correction"]
        self.passes: list[Any] = []
        self.swallowed: list[Exception] = []
        self.sampler: Any = None

    def _hook(self, x: torch.Tensor) -> None:
        swallow(self, self.script.process_before_every_sampling, *self.script_args, x=x, noise=x, c=None, uc=None)

    def init(self) -> None:
        """txt2img has no pictures to prepare."""

    def sample(self) -> torch.Tensor:
        self.sampler = Sampler(self)
        x = torch.randn(self.batch_size, 4, self.height // 8, self.width // 8)
        self.sd_model.reset()
        self._hook(x)
        x = self.sampler.sample(self, x, None, None, image_conditioning=None)
        if self.hires:
            self.is_hr_pass = True
            self.sampler = Sampler(self)
            x = torch.randn(self.batch_size, 4, *self.hires)
            self._hook(x)  # Forge calls it, resets, and calls it again
            self.sd_model.reset()
            self._hook(x)
            x = self.sampler.sample_img2img(self, x, torch.randn_like(x), None, None, steps=self.steps)
        return x


class ProcessingImg2Img(Processing, StableDiffusionProcessingImg2Img):
    """img2img of `init_images`, with an optional latent mask (1 = keep)."""

    def __init__(self, *args: Any, init_images: list[Image.Image], mask: torch.Tensor | None = None,
                 resize_mode: int = 0, crop: tuple[int, int, int, int] | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.init_images, self.mask, self.resize_mode, self.crop = init_images, mask, resize_mode, crop
        self.nmask = None if mask is None else 1 - mask
        self.init_latent: Any = None

    def init(self) -> None:
        self.sampler = Sampler(self)
        swallow(self, self.script.before_process_init_images, {"crop_region": self.crop}, *self.script_args)
        self.init_latent = torch.full((self.batch_size, 4, self.height // 8, self.width // 8), 7.0)

    def sample(self) -> torch.Tensor:
        self.sd_model.reset()
        self._hook(self.init_latent)
        noise = torch.randn_like(self.init_latent)
        return self.sampler.sample_img2img(self, self.init_latent, noise, None, None, image_conditioning=None)


class Processed:
    def __init__(self, images: list[Image.Image]) -> None:
        self.images = images
        self.infotexts = ["text"] * len(images)

    def infotext(self, p: Any, index: int) -> str:
        return "text"


def swallow(p: Any, hook: Any, *args: Any, **kwargs: Any) -> None:
    """Hosts print what a hook raises, and go on."""
    try:
        hook(p, *args, **kwargs)
    except Exception as error:
        p.swallowed.append(error)


def process_images(p: Any) -> Processed:
    """The host's main loop, with its hooks in its order."""
    swallow(p, p.script.process, *p.script_args)
    p.init()
    latents = p.sample()
    images = []
    for index in range(p.batch_size):
        p.batch_index = index
        picture = np.full((latents.shape[2] * 8, latents.shape[3] * 8, 3), 90, np.uint8)
        pp = SimpleNamespace(image=Image.fromarray(picture))
        swallow(p, p.script.postprocess_image, pp, *p.script_args)
        images.append(pp.image)
    processed = Processed(images)
    swallow(p, p.script.postprocess, processed, *p.script_args)
    return processed
