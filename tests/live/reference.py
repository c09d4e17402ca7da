"""What IC-Light should do, written anew in few lines after the reference demo, on diffusers' own classes."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

SCALING = 0.18215
GREY = 127.0
VAE = {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
       "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
UNET = {"sample_size": 64, "cross_attention_dim": 768}
"""SD 1.5, where it differs from diffusers' defaults"""


class Reference:
    """The VAE, and one UNet at a time (3.4 GB), of the checkpoint that the host runs."""

    def __init__(self, forge: Path) -> None:
        self._forge = forge
        self._checkpoint = load_file(forge / "models" / "Stable-diffusion" / "iclight-live-sd15.safetensors")
        self._vae = AutoencoderKL(**VAE).eval()
        self._vae.load_state_dict(convert_ldm_vae_checkpoint(dict(self._checkpoint), dict(self._vae.config)))
        self._unet_key: tuple[str, float] | None = None
        self._unet: UNet2DConditionModel | None = None

    @torch.inference_mode()
    def latent(self, pixels: NDArray[Any]) -> torch.Tensor:
        """The posterior's mode of uint8 pixels [h, w, 3], scaled: [1, 4, h/8, w/8]."""
        image = torch.from_numpy(pixels.astype(np.float32) / GREY - 1).movedim(-1, 0)[None]
        return self._vae.encode(image).latent_dist.mode() * SCALING

    @torch.inference_mode()
    def noise(self, kind: str, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor,
              lora: float = 0.0) -> torch.Tensor:
        """What the UNet with the offsets of `kind`, and the live LoRA at strength `lora`, predicts."""
        if self._unet_key != (kind, lora):
            self._unet = None
            gc.collect()
            self._unet, self._unet_key = self._make_unet(kind, lora), (kind, lora)
        assert self._unet is not None
        return self._unet(x, timesteps, context).sample

    def _make_unet(self, kind: str, lora: float) -> UNet2DConditionModel:
        with torch.device("meta"):
            config = dict(UNet2DConditionModel(**UNET).config)
        weights = convert_ldm_unet_checkpoint(dict(self._checkpoint), config)
        offsets = load_file(offsets_file(self._forge, kind))
        channels = offsets["conv_in.weight"].shape[1]
        first = torch.zeros(320, channels, 3, 3)
        first[:, :4] = weights["conv_in.weight"]
        summed = {key: (first if key == "conv_in.weight" else weights[key].float()) + offsets[key].float()
                  for key in weights}
        if lora:
            low_rank = load_file(self._forge / "models" / "Lora" / "iclight-live-lora.safetensors")
            for key in summed:
                name = "lora_unet_" + key.removesuffix(".weight").replace(".", "_")
                if f"{name}.alpha" in low_rank:
                    up, down = (low_rank[f"{name}.lora_{part}.weight"].float() for part in ("up", "down"))
                    summed[key] += lora * float(low_rank[f"{name}.alpha"]) / down.shape[0] * (up @ down)
        with torch.device("meta"):
            unet = UNet2DConditionModel(**UNET, in_channels=channels)
        unet.load_state_dict(summed, assign=True)
        return unet.eval()


def offsets_file(forge: Path, kind: str) -> Path:
    """The file that Forge takes for `kind`: the official name, or the random one."""
    folder = forge / "models" / "ic-light"
    official = folder / f"iclight_sd15_{kind}.safetensors"
    return official if official.is_file() else folder / f"iclight-live-{kind}.safetensors"


def on_grey(picture: NDArray[Any]) -> NDArray[Any]:
    """uint8 [h, w, 4] -> uint8 [h, w, 3]: over the grey that the model was trained with."""
    rgb, alpha = picture[..., :3].astype(np.float32), picture[..., 3:].astype(np.float32) / 255
    return (GREY + (rgb - GREY) * alpha).clip(0, 255).astype(np.uint8)


def fitted(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Scaled to cover width x height and cut about the middle."""
    image = Image.fromarray(pixels)
    scale = max(width / image.width, height / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return np.asarray(image.crop((round(left), round(top), round(left) + width, round(top) + height)))


def stretched(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Scaled to width x height whatever the aspect."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def light_from(side: str, width: int, height: int, high: int = 255, low: int = 0) -> NDArray[Any]:
    """The reference demo's light map, uint8 [height, width, 3]; `high` is on the side the light comes from."""
    ramp = np.linspace(*((low, high) if side in ("right", "bottom") else (high, low)),
                       width if side in ("left", "right") else height)
    plane = ramp[None, :] if side in ("left", "right") else ramp[:, None]
    return np.broadcast_to(plane[..., None], (height, width, 3)).astype(np.uint8)
