"""A random miniature of SD 1.5 with random IC-Light offsets.

It has every part and every key of the real thing at a hundredth of its width, so that the whole machinery runs in
seconds on a CPU. It has learnt nothing: its pictures are noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from lib_iclight.hosts.standalone import checkpoint
from lib_iclight.hosts.standalone.prompts import clip_tokenizer
from lib_iclight.weights import Offsets

NAME = "miniature"

UNET: Mapping[str, Any] = MappingProxyType({
    **checkpoint.UNET, "block_out_channels": (8, 12, 16, 16), "cross_attention_dim": 24, "attention_head_dim": 2,
    "norm_num_groups": 4})
VAE: Mapping[str, Any] = MappingProxyType({
    **checkpoint.VAE, "block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "layers_per_block": 1})
TEXT_ENCODER: Mapping[str, Any] = MappingProxyType({
    **checkpoint.TEXT_ENCODER, "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
    "num_hidden_layers": 2, "projection_dim": 24})


@dataclass(frozen=True)
class Miniature(checkpoint.StableDiffusion15):
    """A checkpoint (see `checkpoint.Checkpoint`) of random weights; the same seed gives the same weights."""

    seed: int = 0
    name = NAME

    def load(self, dtype: torch.dtype = torch.float32) -> checkpoint.Models:
        """See `checkpoint.Checkpoint.load`."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            unet, vae = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
            text_encoder = CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
        return checkpoint.Models(unet=unet.to(dtype).eval().requires_grad_(False),
                                 vae=vae.eval().requires_grad_(False),
                                 text_encoder=text_encoder.to(dtype).eval().requires_grad_(False),
                                 tokenizer=clip_tokenizer())

    def offsets(self, kind: str) -> Offsets:
        """Random offsets for `kind` (fc, fcon, fbc), in diffusers' layout: about a tenth of the weights' size."""
        generator = torch.Generator().manual_seed(self.seed + 1 + ("fc", "fcon", "fbc").index(kind))
        tensors = {}
        for key, weight in self.load().unet.state_dict().items():
            shape = list(weight.shape)
            if key == "conv_in.weight":
                shape[1] = 12 if kind == "fbc" else 8
            tensors[key] = torch.randn(shape, generator=generator) * 0.02
        return Offsets(f"{NAME}-{kind}-{self.seed}", kind, tensors)
