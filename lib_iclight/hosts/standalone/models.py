"""A checkpoint's models, and how they are made of a file in ldm's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from ...weights.keys import CONTEXT, rename
from ...weights.stored import Renamed, let_go, shape_of
from .prompts import clip_tokenizer

# What of SD 1.5's published configurations differs from the defaults of the classes that they are given to.
UNET: Mapping[str, Any] = MappingProxyType({"sample_size": 64, "cross_attention_dim": CONTEXT})
VAE: Mapping[str, Any] = MappingProxyType({
    "sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4})
TEXT_ENCODER: Mapping[str, Any] = MappingProxyType({
    "hidden_size": CONTEXT, "intermediate_size": 4 * CONTEXT, "num_attention_heads": 12, "projection_dim": CONTEXT})

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."


@dataclass(frozen=True, eq=False)
class Models:
    """A checkpoint's models, on the CPU: diffusers' UNet and VAE, transformers' text encoder and tokenizer.

    `dtype` asked for is that of the UNet and the text encoder. The VAE is float32: many overflow in fp16, and bf16
    costs shades of the picture.
    """

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    unet_base: Mapping[str, torch.Tensor] | None = None
    """the UNet's weights where they are stored; the UNet itself is empty then, on torch's device `meta`. None: it has
    them"""


def models_from_ldm(state: Mapping[str, torch.Tensor], dtype: torch.dtype, unet: Mapping[str, Any],
                    vae: Mapping[str, Any], text_encoder: Mapping[str, Any]) -> Models:
    """Models of the given configurations with the tensors of a checkpoint in ldm's layout; the UNet is left empty.

    Raises RuntimeError, KeyError or AttributeError when tensors are missing or have other shapes.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    base = Renamed(state, {rename(key.removeprefix(UNET_PREFIX), "ldm", "diffusers"): key
                           for key in state if key.startswith(UNET_PREFIX)})
    vae_state = convert_ldm_vae_checkpoint({key: state[key] for key in state if key.startswith(VAE_PREFIX)}, vae)
    text_state = {}
    for key in state:
        if key.startswith(TEXT_PREFIX) and not key.endswith("position_ids"):  # a constant that some files carry
            # The oldest files were made before transformers put everything under text_model.
            text_state["text_model." + key.removeprefix(TEXT_PREFIX).removeprefix("text_model.")] = state[key]
    models = Models(
        unet=empty(lambda: UNet2DConditionModel(**unet), base, dtype),
        vae=_filled(lambda: AutoencoderKL(**vae), vae_state, torch.float32),
        text_encoder=_filled(lambda: CLIPTextModel(CLIPTextConfig(**text_encoder)), text_state, dtype),
        tokenizer=clip_tokenizer(), unet_base=base)
    base.let_go()
    return models


def whole_unet(models: Models) -> Any:
    """The models' UNet with all its weights in memory, as the checkpoint has them."""
    if models.unet_base is not None:
        dtype = models.unet.dtype
        models.unet.load_state_dict({key: models.unet_base[key].to(dtype, copy=True) for key in models.unet_base},
                                    assign=True)
        let_go(models.unet_base)
    return models.unet.requires_grad_(False)


def empty(make: Callable[[], Any], base: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """The model that `make` makes, without memory for its weights, which are those of `base`.

    Raises RuntimeError when tensors are missing, unknown or have other shapes.
    """
    model = _without_memory(make)
    wanted = {key: tuple(weight.shape) for key, weight in model.state_dict().items()}
    wrong = [key for key in {**wanted, **dict.fromkeys(base)} if key not in wanted or key not in base
             or shape_of(base, key) != wanted[key]]
    if wrong:
        raise RuntimeError(f"{wrong[0]} is missing, unknown or has another shape")
    return model.to(dtype).eval().requires_grad_(False)


def _filled(make: Callable[[], Any], state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """The model that `make` makes, with copies of exactly these tensors."""
    model = _without_memory(make)
    # Copies: what is mapped from a file counts as memory as long as one tensor of it is held.
    model.load_state_dict({key: tensor.to(dtype, copy=True) for key, tensor in state.items()}, strict=True,
                          assign=True)
    return model.eval().requires_grad_(False)


def _without_memory(make: Callable[[], Any]) -> Any:
    from accelerate import init_empty_weights  # type: ignore[import-untyped]

    with init_empty_weights():
        return make()
