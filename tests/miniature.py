"""A random miniature of SD 1.5 with random IC-Light offsets.

It has every part and every key of the real thing at a hundredth of its width, so that the whole machinery runs in
seconds on a CPU. It has learnt nothing: its pictures are noise.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from lib_iclight.hosts.standalone import checkpoint, models
from lib_iclight.hosts.standalone.prompts import clip_tokenizer
from lib_iclight.weights import Offsets

NAME = "miniature"

UNET: Mapping[str, Any] = MappingProxyType({
    **models.UNET, "block_out_channels": (8, 12, 16, 16), "cross_attention_dim": 24, "attention_head_dim": 2,
    "norm_num_groups": 4})
VAE: Mapping[str, Any] = MappingProxyType({
    **models.VAE, "block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "layers_per_block": 1})
TEXT_ENCODER: Mapping[str, Any] = MappingProxyType({
    **models.TEXT_ENCODER, "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
    "num_hidden_layers": 2, "projection_dim": 24})


@dataclass(frozen=True)
class Miniature(checkpoint.StableDiffusion15):
    """A checkpoint (see `checkpoint.Checkpoint`) of random weights; the same seed gives the same weights."""

    seed: int = 0
    name = NAME

    def load(self, dtype: torch.dtype = torch.float32) -> models.Models:
        """See `checkpoint.Checkpoint.load`. Models of the caller's own, copied from those of the first call."""
        built = _built(self.seed)
        unet, vae, text_encoder = copy.deepcopy((built.unet, built.vae, built.text_encoder))
        return models.Models(unet=unet.to(dtype), vae=vae, text_encoder=text_encoder.to(dtype),
                                 tokenizer=built.tokenizer)

    def offsets(self, kind: str) -> Offsets:
        """Random offsets for `kind` (fc, fcon, fbc), in diffusers' layout: about a tenth of the weights' size."""
        generator = torch.Generator().manual_seed(self.seed + 1 + ("fc", "fcon", "fbc").index(kind))
        tensors = {}
        for key, weight in _built(self.seed).unet.state_dict().items():
            shape = list(weight.shape)
            if key == "conv_in.weight":
                shape[1] = 12 if kind == "fbc" else 8
            tensors[key] = torch.randn(shape, generator=generator) * 0.02
        return Offsets(f"{NAME}-{kind}-{self.seed}", kind, tensors)


@functools.cache
def _built(seed: int) -> models.Models:
    """The models in single precision, built once: filling layers with random numbers takes most of the time."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet, vae = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
        text_encoder = CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
    return models.Models(unet=unet.eval().requires_grad_(False), vae=vae.eval().requires_grad_(False),
                             text_encoder=text_encoder.eval().requires_grad_(False), tokenizer=clip_tokenizer())
