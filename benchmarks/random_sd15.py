"""Random weights in the shapes of SD 1.5 and of IC-Light's offsets, and the reference demo's pipeline on them.

For measuring time, memory and agreement where no real weights are: the pictures are noise. `small` is a hundredth as
wide, for tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from lib_iclight.hosts.standalone.checkpoint import Folder
from lib_iclight.weights import Offsets

SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "full": {
        "unet": {"sample_size": 64, "cross_attention_dim": 768},
        "vae": {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
                "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4},
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768}},
    "small": {
        "unet": {"sample_size": 64, "cross_attention_dim": 24, "block_out_channels": (8, 12, 16, 16),
                 "attention_head_dim": 2, "norm_num_groups": 4},
        "vae": {"sample_size": 512, "block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4,
                "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4},
        "text": {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2,
                 "projection_dim": 24}}}
PROMPT, NEGATIVE = "a cat, best quality", "lowres, bad anatomy, worst quality"


@dataclass(frozen=True)
class RandomModel(Folder):
    """The checkpoint, see `checkpoint.Checkpoint`; it brings its own offsets for fc."""

    def __post_init__(self) -> None:
        """Nothing to check: it was made here."""

    def offsets(self, kind: str) -> Offsets:
        """See `checkpoint.Checkpoint.offsets`."""
        file = self.path / f"{kind}-offsets.safetensors"
        try:
            from lib_iclight.weights.stored import Stored
        except ImportError:  # an older state of the library
            return Offsets("random-fc", kind, load_file(file))
        return Offsets("random-fc", kind, Stored(file))


def make(folder: Path, size: str = "full") -> RandomModel:
    """The checkpoint in a folder, made there unless it is there already: half precision, 2.2 GB and as much offsets."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    done = folder / "done"
    if not done.is_file():
        configs = SIZES[size]
        unet = _random(lambda: UNet2DConditionModel(**configs["unet"]), 0)
        with torch.no_grad():
            unet.conv_out.weight.mul_(2.5)  # about unit noise
        unet.save_pretrained(folder / "unet")
        generator = _generator(1)
        offsets = {key: (torch.randn(weight.shape, generator=generator) * _tenth(weight)).half()
                   for key, weight in _widened(unet).items()}
        save_file(offsets, folder / "fc-offsets.safetensors")
        del unet, offsets
        vae = _random(lambda: AutoencoderKL(**configs["vae"]), 2)
        with torch.no_grad():
            vae.decoder.conv_out.weight.mul_(2)
            vae.encoder.conv_out.weight.mul_(24)  # latents of about unit size
        vae.save_pretrained(folder / "vae")
        _random(lambda: CLIPTextModel(CLIPTextConfig(**configs["text"])), 3).save_pretrained(folder / "text_encoder")
        done.touch()
    return RandomModel(folder)


def _widened(unet: Any) -> dict[str, torch.Tensor]:
    """The UNet's weights, the first convolution with 8 inputs."""
    weights = dict(unet.state_dict())
    first = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([first, first], dim=1)
    return weights


def _tenth(weight: torch.Tensor) -> float:
    """A tenth of a weight's spread; of biases and norms, which have none, a hundredth."""
    return 0.1 * float(weight.float().std()) if weight.dim() > 1 else 0.01


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(build: Callable[[], Any], seed: int) -> Any:
    """A model in half precision with weights as a new network has them: uniform within 1 / sqrt(inputs), norms at one.
    """
    from accelerate import init_empty_weights  # type: ignore[import-untyped]

    with init_empty_weights():
        model = build()
    generator, state = _generator(seed), {}
    for key, shape in model.state_dict().items():
        if shape.dim() < 2:
            filled = torch.full(shape.shape, 1.0 if "norm" in key and key.endswith("weight") else 0.0)
        else:
            bound = 0.5 if "embedding.weight" in key else 1 / math.sqrt(shape[0].numel())
            filled = torch.empty(shape.shape).uniform_(-bound, bound, generator=generator)
        state[key] = filled.half()
    model.load_state_dict(state, assign=True)
    return model.half()


def subject(side: int = 256) -> NDArray[np.uint8]:
    """A picture to relight, uint8 [side, side, 3]: smooth random colours."""
    small = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


class Demo:
    """What IC-Light's demo does, written anew after it on diffusers' pipelines: fc, light from the left, hires pass.

    vae_dtype: the demo's is bfloat16.
    """

    def __init__(self, model: RandomModel, device: torch.device, dtype: torch.dtype, vae_dtype: torch.dtype) -> None:
        from diffusers import (
            AutoencoderKL,
            StableDiffusionImg2ImgPipeline,
            StableDiffusionPipeline,
            UNet2DConditionModel,
        )
        from transformers import CLIPTextModel

        from lib_iclight.hosts.standalone.prompts import clip_tokenizer

        path, self._device = str(model.path), device
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet")
        with torch.no_grad():
            wider = torch.nn.Conv2d(8, unet.conv_in.out_channels, 3, padding=1)
            wider.weight.zero_()
            wider.weight[:, :4].copy_(unet.conv_in.weight)
            wider.bias = unet.conv_in.bias
            unet.conv_in = wider
        offsets, origin = load_file(model.path / "fc-offsets.safetensors"), unet.state_dict()
        unet.load_state_dict({key: origin[key] + offsets[key] for key in origin}, strict=True)
        del offsets, origin
        self._unet = unet.to(device, dtype).eval().requires_grad_(False)
        self._forward = self._unet.forward
        self._unet.forward = self._hooked
        self._vae = AutoencoderKL.from_pretrained(path, subfolder="vae").to(device, vae_dtype).eval()
        self._text = CLIPTextModel.from_pretrained(path, subfolder="text_encoder").to(device, dtype).eval()
        self._tokenizer = clip_tokenizer()
        self._concat: torch.Tensor | None = None
        parts = {"vae": self._vae, "text_encoder": self._text, "tokenizer": self._tokenizer, "unet": self._unet,
                 "scheduler": self._scheduler(), "safety_checker": None, "feature_extractor": None,
                 "image_encoder": None, "requires_safety_checker": False}
        self._from_noise, self._from_picture = StableDiffusionPipeline(**parts), StableDiffusionImg2ImgPipeline(**parts)
        for pipe in (self._from_noise, self._from_picture):
            pipe.set_progress_bar_config(disable=True)
        self.latent = torch.zeros(0)
        """the last picture's final latent"""

    @staticmethod
    def _scheduler() -> Any:
        from diffusers import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                                           beta_schedule="scaled_linear", algorithm_type="sde-dpmsolver++",
                                           use_karras_sigmas=True, steps_offset=1)

    def _hooked(self, sample: torch.Tensor, timestep: Any, encoder_hidden_states: Any, **rest: Any) -> Any:
        assert self._concat is not None
        beside = self._concat.to(sample).repeat(sample.shape[0] // self._concat.shape[0], 1, 1, 1)
        return self._forward(torch.cat([sample, beside], dim=1), timestep, encoder_hidden_states,
                             **rest | {"cross_attention_kwargs": {}})

    def _encoded(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        image = torch.from_numpy(pixels.astype(np.float32) / 127 - 1).movedim(-1, 0)[None]
        latent: torch.Tensor = self._vae.encode(image.to(self._vae.device, self._vae.dtype)).latent_dist.mode()
        scaled: torch.Tensor = latent * self._vae.config.scaling_factor
        return scaled

    def _decoded(self, latent: torch.Tensor) -> NDArray[np.uint8]:
        picture = self._vae.decode(latent.to(self._vae.dtype) / self._vae.config.scaling_factor).sample[0]
        return np.asarray((picture.movedim(0, -1).float() * 127.5 + 127.5).clip(0, 255).cpu().numpy().astype(np.uint8))

    def _context(self, text: str) -> torch.Tensor:
        ids = self._tokenizer([text], padding="max_length", max_length=77, truncation=True,
                              return_tensors="pt").input_ids
        state: torch.Tensor = self._text(ids.to(self._device)).last_hidden_state
        return state

    @torch.inference_mode()
    def relight(self, picture: NDArray[np.uint8], width: int, height: int, steps: int, cfg: float, seed: int,
                hires: float) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3], which is what `Session.relight` makes of the same."""
        generator = torch.Generator().manual_seed(seed)
        common = {"prompt_embeds": self._context(PROMPT), "negative_prompt_embeds": self._context(NEGATIVE),
                  "guidance_scale": cfg, "generator": generator, "output_type": "latent"}

        def laid(width: int, height: int) -> NDArray[np.uint8]:
            image = Image.fromarray(picture)
            scale = max(width / image.width, height / image.height)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            return np.asarray(image.crop((left, top, left + width, top + height)))

        ramp = np.tile(np.linspace(255, 0, width), (height, 1))[..., None].repeat(3, -1).astype(np.uint8)
        self._concat = self._encoded(laid(width, height))
        latent = self._from_picture(image=self._encoded(ramp), strength=0.9, num_inference_steps=round(steps / 0.9),
                                    **common).images
        made = self._decoded(latent)
        if hires > 1:
            across, down = (round(side * hires / 64) * 64 for side in (width, height))
            larger = np.asarray(Image.fromarray(made).resize((across, down), Image.Resampling.LANCZOS))
            self._concat = self._encoded(laid(across, down))
            latent = self._from_picture(image=self._encoded(larger), strength=0.5,
                                        num_inference_steps=round(steps / 0.5), **common).images
            made = self._decoded(latent)
        self.latent = latent.float().cpu()
        return made
