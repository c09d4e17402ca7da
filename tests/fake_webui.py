"""A double of the WebUI, as far as IC-Light's hooks meet it: enough of `modules` and `backend` to run a job.

The real thing is met in tests/live. Here the order of hooks, the sampler's two entrances and the reset of
`forge_objects` are Forge's; the "UNet" only notes what reaches it.
"""

from __future__ import annotations

import base64
import copy
import importlib.util
import io
import logging
import sys
from collections.abc import Callable, Iterator
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

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "iclight.py"


class ConditionNoiseShape:
    def __init__(self, cond: torch.Tensor) -> None:
        self.cond = cond


class StableDiffusionProcessingImg2Img:
    pass


class Script:
    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Every host that IC-Light fits has it."""

    def postprocess_image_after_composite(self, p: Any, pp: Any, *args: Any) -> None:
        """So do those of today."""


@contextmanager
def input_accordion(value: Any = None, **kwargs: Any) -> Iterator[gr.Checkbox]:
    """A checkbox that other widgets can be put into. Not a subclass: gradio would write a .pyi file beside this one."""
    checkbox = gr.Checkbox(value=value, **kwargs)
    with gr.Accordion(label=kwargs["label"]):
        yield checkbox


def get_closet_checkpoint_match(search_string: str) -> Any:
    """No checkpoint is there."""


def on_before_ui(callback: Callable[..., Any], *, name: str | None = None) -> None:
    """Nothing calls it."""


def on_app_started(callback: Callable[..., Any], *, name: str | None = None) -> None:
    """Nothing calls it."""


def install(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    """Put the doubles where `import modules...` and `import backend...` find them, and forget them afterwards."""
    state = SimpleNamespace(interrupted=False, skipped=False, textinfo=None)
    fakes: dict[str, dict[str, Any]] = {
        "modules": {},
        "modules.shared": {"state": state, "opts": SimpleNamespace(sd_model_checkpoint=None, samples_save=True,
                                                                    overlay_inpaint=True),
                           "cmd_opts": SimpleNamespace(loglevel=None)},
        "modules.sd_models": {"get_closet_checkpoint_match": get_closet_checkpoint_match},
        "modules.paths_internal": {"models_path": str(models)},
        "modules.processing": {"StableDiffusionProcessingImg2Img": StableDiffusionProcessingImg2Img},
        "modules.scripts": {"scripts_data": [], "Script": Script, "AlwaysVisible": object()},
        "modules.script_callbacks": {"on_before_ui": on_before_ui, "on_app_started": on_app_started},
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


def load_script() -> Any:
    """scripts/iclight.py as a module, run anew; `install` comes first."""
    spec = importlib.util.spec_from_file_location("iclight_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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

    def add_patches(self, *, filename: str, patches: dict[str, Any], strength_patch: float = 1.0,
                    strength_model: float = 1.0, online_mode: bool = False) -> None:
        self.patches[filename] = patches

    def add_conditioning_modifier(self, modifier: Any, ensure_uniqueness: bool = False) -> None:
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

    def encode(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(pixel_samples.shape))
        result: torch.Tensor = self.first_stage_model.encode(2 * pixel_samples.movedim(-1, 1) - 1)
        return result


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
    """Notes how it was entered, and takes its steps through the conditioning modifiers. Hosts make it for each pass."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self.steps = 2
        self.model_wrap_cfg = SimpleNamespace(init_latent=None)

    def sample(self, p: Any, x: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
               steps: int | None = None, image_conditioning: Any = None) -> torch.Tensor:
        return self._run(x, "noise", None, steps)

    def sample_img2img(self, p: Any, x: torch.Tensor, noise: torch.Tensor, conditioning: Any,
                       unconditional_conditioning: Any, steps: int | None = None,
                       image_conditioning: Any = None) -> torch.Tensor:
        return self._run(noise, "image", x, steps)

    def _run(self, x: torch.Tensor, entrance: str, initial: torch.Tensor | None, steps: int | None) -> torch.Tensor:
        unet = self.p.sd_model.forge_objects.unet
        for patches in unet.patches.values():
            _, (weight, _) = patches["diffusion_model.input_blocks.0.0.weight"]
            inputs = weight.shape[1]
            self.p.sd_model.diffusion_model.input_blocks[0][0].weight = torch.zeros(320, inputs, 3, 3)
        seen = SimpleNamespace(entrance=entrance, initial=initial, steps=steps, strength=self.p.denoising_strength,
                               noise=x, concats=[], patches=list(unet.patches), taken=0)
        self.p.passes.append(seen)
        state = sys.modules["modules.shared"].state
        for step in range(self.steps):
            self.p.at_step(len(self.p.passes), step)
            if state.interrupted or state.skipped:  # the hosts' samplers hand over what they have by then
                break
            cond: list[dict[str, Any]] = [{"model_conds": {}}]
            uncond: list[dict[str, Any]] = [{"model_conds": {}}]
            for modifier in unet.model_options["conditioning_modifiers"]:
                _, _, _, uncond, cond, *_ = modifier(unet.model, x, None, uncond, cond, 1.0, {}, 0)
            concats = [part["model_conds"].get("c_concat") for part in (*cond, *uncond)]
            seen.concats = [None if concat is None else concat.cond for concat in concats]
            seen.taken += 1
        return x


class Processing:
    """txt2img: `n_iter` times `batch_size` pictures; `hires` is the second pass's latent size (height, width).

    at_step: called with the number of the pass, from 1 on, and of the step in it before each step.
    """

    def __init__(self, sd_model: SdModel, script: Any, args: Any, *, width: int = 64, height: int = 64,
                 batch_size: int = 1, n_iter: int = 1, hires: tuple[int, int] | None = None,
                 truncate: tuple[int, int] = (0, 0), is_api: bool = False) -> None:
        self.sd_model, self.script, self.script_args = sd_model, script, args
        self.width, self.height, self.hires = width, height, hires
        self.batch_size, self.n_iter, self.iteration, self.batch_index = batch_size, n_iter, 0, 0
        self.at_step: Callable[[int, int], None] = lambda number, step: None
        self.truncate_x, self.truncate_y = truncate
        self.steps, self.denoising_strength, self.is_api, self.is_hr_pass = 4, 0.4, is_api, False
        self.extra_generation_params: dict[str, Any] = {}
        self.prompt, self.negative_prompt, self.seed, self.subseed = "a prompt", "a negative prompt", 100, 500
        self.cfg_scale, self.sampler_name = 2.0, "Euler"
        self.all_prompts: list[str] = []
        self.all_negative_prompts: list[str] = []
        self.all_seeds: list[int] = []
        self.all_subseeds: list[int] = []
        self.comments: list[str] = []
        self.outpath_samples: str | None = None
        self.do_not_save_samples = self.do_not_save_grid = False
        self.image_mask: Image.Image | None = None
        self.mask_for_overlay: Image.Image | None = None
        self.overlay_images: list[Image.Image] | None = None
        self.paste_to: tuple[int, int, int, int] | None = None
        self.color_corrections: Any = ["a correction"]
        self.passes: list[Any] = []
        self.swallowed: list[Exception] = []
        self.sampler: Any = None
        self.upscale: Callable[[Image.Image], Image.Image] = lambda picture: picture  # another extension's hook

    def comment(self, text: str) -> None:
        """What the page shows under the result."""
        self.comments.append(text)

    def _hook(self, x: torch.Tensor) -> None:
        swallow(self, self.script.process_before_every_sampling, *self.script_args, x=x, noise=x, c=None, uc=None)

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        """txt2img has no pictures to prepare."""

    def sample(self, conditioning: Any, unconditional_conditioning: Any, seeds: Any, subseeds: Any,
               subseed_strength: Any, prompts: Any) -> torch.Tensor:
        self.sampler = Sampler(self)
        x = noise_of(seeds, self.height // 8, self.width // 8)
        self.sd_model.reset()
        self._hook(x)
        x = self.sampler.sample(self, x, None, None, image_conditioning=None)
        if self.hires and not sys.modules["modules.shared"].state.interrupted:
            self.is_hr_pass = True
            self.sampler = Sampler(self)
            x = torch.randn(self.batch_size, 4, *self.hires)
            self._hook(x)  # Forge calls it, resets, and calls it again
            self.sd_model.reset()
            self._hook(x)
            x = self.sampler.sample_img2img(self, x, torch.randn_like(x), None, None, steps=self.steps)
            self.is_hr_pass = False
        return x


class ProcessingImg2Img(Processing, StableDiffusionProcessingImg2Img):
    """img2img of `init_images`, with an optional latent mask (1 = keep).

    crop: the box that "only masked" paints. image_mask: the tab's mask, white = may change, as large as the pictures.
    """

    def __init__(self, *args: Any, init_images: list[Image.Image], mask: torch.Tensor | None = None,
                 resize_mode: int = 0, crop: tuple[int, int, int, int] | None = None,
                 image_mask: Image.Image | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.image_mask, self.inpaint_full_res = image_mask, crop is not None
        self.init_images, self.mask, self.resize_mode, self.crop = init_images, mask, resize_mode, crop
        self.nmask = None if mask is None else 1 - mask
        self.init_latent: Any = None

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        self.sampler = Sampler(self)
        if self.crop is not None:
            self.paste_to = (*self.crop[:2], self.crop[2] - self.crop[0], self.crop[3] - self.crop[1])
        if self.image_mask is not None:
            size = (self.width, self.height) if self.crop is None else self.init_images[0].size
            self.mask_for_overlay = self.image_mask.convert("L").resize(size)
            kept = Image.eval(self.mask_for_overlay, lambda value: 255 - value)
            self.overlay_images = []
            for image in self.init_images:
                overlay = image.convert("RGB").resize(size).convert("RGBA")
                overlay.putalpha(kept)
                self.overlay_images.append(overlay)
            self.overlay_images *= self.batch_size
        swallow(self, self.script.before_process_init_images, {"crop_region": self.crop}, *self.script_args)
        self.init_latent = torch.full((self.batch_size, 4, self.height // 8, self.width // 8), 7.0)

    def sample(self, conditioning: Any, unconditional_conditioning: Any, seeds: Any, subseeds: Any,
               subseed_strength: Any, prompts: Any) -> torch.Tensor:
        self.sd_model.reset()
        self._hook(self.init_latent)
        noise = noise_of(seeds, *self.init_latent.shape[2:])
        result: torch.Tensor = self.sampler.sample_img2img(self, self.init_latent, noise, None, None,
                                                           image_conditioning=None)
        return result


class Processed:
    def __init__(self, images: list[Image.Image], infotexts: list[str], params: dict[str, Any]) -> None:
        self.images = images
        self.index_of_first_image = 0
        self.extra_generation_params = params
        self.infotexts = infotexts

    def infotext(self, p: Any, index: int) -> str:
        return text_of(p, p.all_seeds[index])


def text_of(p: Any, seed: int) -> str:
    """An infotext of the parameters as they are now."""
    return ", ".join(f"{key}: {value}" for key, value in {"Seed": seed, **p.extra_generation_params}.items())


def noise_of(seeds: list[int], height: int, width: int) -> torch.Tensor:
    """The noise of a batch's seeds, [B, 4, height, width]."""
    return torch.stack([torch.randn(4, height, width, generator=torch.Generator().manual_seed(seed))
                        for seed in seeds])


def swallow(p: Any, hook: Any, *args: Any, **kwargs: Any) -> None:
    """Hosts print what a hook raises, and go on."""
    try:
        hook(p, *args, **kwargs)
    except Exception as error:
        p.swallowed.append(error)


def apply_overlay(image: Image.Image, paste_loc: tuple[int, int, int, int] | None,
                  overlay: Image.Image) -> Image.Image:
    """What an inpainting mask keeps, over the picture; "only masked" is pasted first."""
    if paste_loc is not None:
        x, y, width, height = paste_loc
        base = Image.new("RGBA", overlay.size)
        base.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        image = base
    image = image.convert("RGBA")
    image.alpha_composite(overlay)
    return image.convert("RGB")


def process_images(p: Any) -> Processed:
    """The host's main loop, with its hooks in its order."""
    state = sys.modules["modules.shared"].state
    swallow(p, p.script.before_process, *p.script_args)
    count = p.n_iter * p.batch_size
    p.all_prompts, p.all_negative_prompts = [p.prompt] * count, [p.negative_prompt] * count
    p.all_seeds, p.all_subseeds = [p.seed + one for one in range(count)], [p.subseed + one for one in range(count)]
    swallow(p, p.script.process, *p.script_args)
    p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
    images, infotexts = [], []
    for iteration in range(p.n_iter):
        p.iteration = iteration
        state.skipped = False
        if state.interrupted:
            break
        here = slice(iteration * p.batch_size, (iteration + 1) * p.batch_size)
        latents = p.sample(None, None, p.all_seeds[here], p.all_subseeds[here], 0, p.all_prompts[here])
        for index in range(p.batch_size):
            p.batch_index = index
            picture = np.full((latents.shape[2] * 8, latents.shape[3] * 8, 3), 90, np.uint8)
            pp = SimpleNamespace(image=p.upscale(Image.fromarray(picture)))
            swallow(p, p.script.postprocess_image, pp, *p.script_args)
            if p.overlay_images is not None and isinstance(getattr(pp.image, "size", None), tuple):
                pp.image = apply_overlay(pp.image, p.paste_to, p.overlay_images[index])
            swallow(p, p.script.postprocess_image_after_composite, pp, *p.script_args)
            infotexts.append(text_of(p, p.all_seeds[here][index]))
            pp.image.info["parameters"] = infotexts[-1]  # outside of any hook, as the hosts do it
            images.append(pp.image)
    processed = Processed(images, infotexts, p.extra_generation_params)
    swallow(p, p.script.postprocess, processed, *p.script_args)
    return processed


SAME_AS: dict[str, Any] = {
    "modules.scripts:Script.process_before_every_sampling": Script.process_before_every_sampling,
    "modules.sd_models:get_closet_checkpoint_match": get_closet_checkpoint_match,
    "modules.script_callbacks:on_before_ui": on_before_ui,
    "modules.script_callbacks:on_app_started": on_app_started,
    "modules.sd_samplers_kdiffusion:KDiffusionSampler.sample": Sampler.sample,
    "modules.sd_samplers_kdiffusion:KDiffusionSampler.sample_img2img": Sampler.sample_img2img,
    "modules.sd_samplers_timesteps:CompVisSampler.sample": Sampler.sample,
    "modules.sd_samplers_timesteps:CompVisSampler.sample_img2img": Sampler.sample_img2img,
    "modules.processing:StableDiffusionProcessingTxt2Img.init": Processing.init,
    "modules.processing:StableDiffusionProcessingTxt2Img.sample": Processing.sample,
    "modules.processing:StableDiffusionProcessingImg2Img.init": ProcessingImg2Img.init,
    "modules.processing:StableDiffusionProcessingImg2Img.sample": ProcessingImg2Img.sample,
    "modules.processing:Processed.infotext": Processed.infotext,
    "modules.processing:process_images": process_images,
    "modules.processing:apply_overlay": apply_overlay,
    "modules.scripts:Script.postprocess_image_after_composite": Script.postprocess_image_after_composite,
}
"""module:name in every host -> the double that has its parameters, by name and order; compared in tests/live"""
SAME_AS_FORGE: dict[str, Any] = {
    "modules.ui_components:InputAccordion": input_accordion,
    "backend.sampling.condition:ConditionNoiseShape.__init__": ConditionNoiseShape.__init__,
    "backend.patcher.unet:UnetPatcher.clone": Unet.clone,
    "backend.patcher.unet:UnetPatcher.add_patches": Unet.add_patches,
    "backend.patcher.unet:UnetPatcher.add_conditioning_modifier": Unet.add_conditioning_modifier,
    "backend.patcher.vae:VAE.clone": Vae.clone,
    "backend.patcher.vae:VAE.encode": Vae.encode,
    "backend.nn.vae:IntegratedAutoencoderKL.process_in": FirstStage.process_in,
}
"""the same in Forge alone"""


def picture(value: int = 200, size: tuple[int, int] = (64, 64), alpha: int | None = None) -> Image.Image:
    """A plain picture; with `alpha`, its left half opaque and its right half of that alpha."""
    pixels = np.full((size[1], size[0], 3 if alpha is None else 4), value, np.uint8)
    if alpha is not None:
        pixels[:, :size[0] // 2, 3] = 255
        pixels[:, size[0] // 2:, 3] = alpha
    return Image.fromarray(pixels)


def base64_of(image: Image.Image) -> str:
    """A picture as base64 PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def job(script: Any, sd_model: Any = None, **settings: Any) -> Processing:
    """A txt2img job; keys that Processing takes go to it, the rest are settings."""
    names = ("width", "height", "batch_size", "n_iter", "hires", "truncate", "is_api")
    options = {name: settings.pop(name) for name in names if name in settings}
    values = {"enabled": True, "matting": "none", "foreground": picture(), **settings}
    return Processing(sd_model or SdModel(), script, [values], **options)


def img2img(script: Any, init_images: list[Image.Image], **settings: Any) -> ProcessingImg2Img:
    """An img2img job, as `job`."""
    names = ("mask", "resize_mode", "crop", "image_mask", "batch_size", "n_iter", "width", "height", "is_api")
    options = {name: settings.pop(name) for name in names if name in settings}
    values = {"enabled": True, "matting": "none", **settings}
    return ProcessingImg2Img(SdModel(), script, [values], init_images=init_images, **options)


def latent_of(value: float) -> float:
    """What the double's VAE makes of a plain grey value, as IC-Light wants it: (v / 127 - 1) * scaling factor."""
    return (value / 127 - 1) * 0.5
