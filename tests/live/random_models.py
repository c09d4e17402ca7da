"""Random full-size models for a Forge, where there are none yet: right in shape, and lively enough to tell jobs apart.

    python tests/live/random_models.py --forge DIR sd15 inpaint sd2 sdxl lora full-lora controlnet offsets

Run with Forge's own Python: key names are changed with Forge's own converter. Prints the path of each file that it
made. Offsets are made only for the kinds that are missing under their official names.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

Tensors = dict[str, torch.Tensor]
CONFIGS = {"sd15": "runwayml/stable-diffusion-v1-5", "sd2": "stabilityai/stable-diffusion-2-1",
           "sdxl": "stabilityai/stable-diffusion-xl-base-1.0"}


class Maker:
    """Makes models for the Forge in `forge`."""

    def __init__(self, forge: Path) -> None:
        self._models = forge / "models"
        self._configs = forge / "backend" / "huggingface"
        sys.path.insert(0, str(forge / "repositories" / "huggingface_guess"))
        from huggingface_guess import diffusers_convert, utils
        self._convert, self._utils = diffusers_convert, utils

    def make(self, name: str) -> Iterator[Path]:
        """Make what `name` stands for, as far as it is missing; the paths of what was made."""
        if name == "offsets":
            for kind in ("fc", "fcon", "fbc"):
                if not (self._models / "ic-light" / f"iclight_sd15_{kind}.safetensors").is_file():
                    yield from self._save(f"ic-light/iclight-live-{kind}.safetensors",
                                          functools.partial(self._offsets, kind))
        elif name == "lora":
            yield from self._save("Lora/iclight-live-lora.safetensors", self.lora)
        elif name == "full-lora":
            yield from self._save("Lora/iclight-live-full-lora.safetensors", self.full_lora)
        elif name == "controlnet":
            yield from self._save("ControlNet/iclight-live-controlnet.safetensors", self.controlnet)
        else:
            yield from self._save(f"Stable-diffusion/iclight-live-{name}.safetensors", getattr(self, name))

    def _save(self, place: str, make: Callable[[], Tensors]) -> Iterator[Path]:
        path = self._models / place
        if path.exists():
            return
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".part")
        save_file({key: value.contiguous() for key, value in make().items()}, unfinished, metadata={"format": "pt"})
        unfinished.replace(path)
        yield path

    def _config(self, family: str, part: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._configs / CONFIGS[family] / part / "config.json").read_text())
        return found

    def _shapes(self, model: Any, family: str, part: str, **changes: Any) -> Tensors:
        with torch.device("meta"):
            return dict(model.from_config({**self._config(family, part), **changes}).state_dict())

    def _unet(self, family: str, seed: int) -> Tensors:
        made = fill(self._shapes(UNet2DConditionModel, family, "unet"), seed)
        scale(made, 2.5, "conv_out.weight")  # about unit noise
        for part in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"):
            scale(made, 1.8, "attn2", part)  # prompts matter
        return made

    def _vae(self, family: str) -> Tensors:
        made = fill(self._shapes(AutoencoderKL, family, "vae"), 1)
        scale(made, 2.0, "decoder.conv_out.weight")
        scale(made, 24.0, "encoder.conv_out.weight")  # latents of about unit size
        made["quant_conv.weight"][4:] *= 0.05  # a small posterior variance
        made["quant_conv.bias"][4:] = -6
        return prefixed(self._convert.convert_vae_state_dict(made), "first_stage_model.")

    def _text(self, family: str, part: str, seed: int, model: Any = CLIPTextModel, **changes: Any) -> Tensors:
        config = CLIPTextConfig.from_dict({**self._config(family, part), **changes})
        with torch.device("meta"):
            made = dict(model(config).state_dict())
        made = fill(made, seed)
        made["text_model.embeddings.position_ids"] = torch.arange(77).expand(1, -1).clone()
        return made

    def _open_clip(self, text: Tensors, projection: torch.Tensor, prefix: str) -> Tensors:
        """A text encoder under the names of open_clip, as in SD 2 and SDXL checkpoints."""
        made = self._convert.convert_text_enc_state_dict_v20(prefixed(text, "transformer."))
        made.pop("transformer.text_model.embeddings.position_ids", None)
        return prefixed({**made, "text_projection": projection, "logit_scale": torch.tensor(4.6)}, prefix)

    def sd15(self, unet: Tensors | None = None) -> Tensors:
        """A Stable Diffusion 1.5 checkpoint."""
        unet = unet or self._unet("sd15", 0)
        return {**prefixed(self._convert.convert_unet_state_dict(unet), "model.diffusion_model."), **self._vae("sd15"),
                **prefixed(self._text("sd15", "text_encoder", 2), "cond_stage_model.transformer.")}

    def inpaint(self) -> Tensors:
        """The same as an inpainting checkpoint: 9 inputs."""
        unet = self._unet("sd15", 0)
        more = torch.rand(320, 5, 3, 3, generator=torch.Generator().manual_seed(10)) * 0.2 - 0.1
        unet["conv_in.weight"] = torch.cat([unet["conv_in.weight"], more.half()], 1)
        return self.sd15(unet)

    def sd2(self) -> Tensors:
        """A Stable Diffusion 2.1 checkpoint."""
        text = self._text("sd2", "text_encoder", 21, num_hidden_layers=24)
        return {**prefixed(self._convert.convert_unet_state_dict(self._unet("sd2", 20)), "model.diffusion_model."),
                **self._vae("sd2"), **self._open_clip(text, torch.zeros(1024, 1024).half(), "cond_stage_model.model.")}

    def sdxl(self) -> Tensors:
        """A Stable Diffusion XL checkpoint: 6.9 GB."""
        names = self._utils.unet_to_diffusers({
            "num_res_blocks": [2, 2, 2], "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "transformer_depth_middle": 10,
            "model_channels": 320, "num_heads": -1})
        for i, j in ((1, 0), (2, 2)):
            for leaf in ("weight", "bias"):
                names[f"add_embedding.linear_{i}.{leaf}"] = f"label_emb.0.{j}.{leaf}"
        unet = {names[key]: value for key, value in self._unet("sdxl", 30).items()}
        second = self._text("sdxl", "text_encoder_2", 32, CLIPTextModelWithProjection)
        projection = second.pop("text_projection.weight").T.contiguous()
        return {**prefixed(unet, "model.diffusion_model."), **self._vae("sdxl"),
                **prefixed(self._text("sdxl", "text_encoder", 31), "conditioner.embedders.0.transformer."),
                **self._open_clip(second, projection, "conditioner.embedders.1.model.")}

    def _offsets(self, kind: str) -> Tensors:
        shapes = self._shapes(UNet2DConditionModel, "sd15", "unet", in_channels=12 if kind == "fbc" else 8)
        return offsets(shapes, ("fc", "fcon", "fbc").index(kind))

    def lora(self) -> Tensors:
        """A LoRA of rank 4 on every attention layer of the SD 1.5 UNet."""
        generator = torch.Generator().manual_seed(40)
        made: Tensors = {}
        for key, value in self._shapes(UNet2DConditionModel, "sd15", "unet").items():
            if ".attn" in key and key.endswith(".weight"):
                name = "lora_unet_" + key.removesuffix(".weight").replace(".", "_")
                outputs, inputs = value.shape
                down = torch.randn(4, inputs, generator=generator) / math.sqrt(inputs)
                up = torch.randn(outputs, 4, generator=generator) * 0.35
                made |= {f"{name}.lora_down.weight": down.half(), f"{name}.lora_up.weight": up.half(),
                         f"{name}.alpha": torch.tensor(4.0).half()}
        return made

    def full_lora(self) -> Tensors:
        """A LoRA file that changes every weight of the SD 1.5 UNet, as IC-Light's offsets do: 1.7 GB."""
        made = offsets(self._shapes(UNet2DConditionModel, "sd15", "unet"), 9)
        names = {"weight": "diff", "bias": "diff_b"}
        return {f"lora_unet_{layer.replace('.', '_')}.{names[leaf]}": value for key, value in made.items()
                for layer, _, leaf in [key.rpartition(".")]}

    def controlnet(self) -> Tensors:
        """A ControlNet for SD 1.5 under its original names."""
        unet = self._config("sd15", "unet")
        keep = ("act_fn", "attention_head_dim", "block_out_channels", "cross_attention_dim", "down_block_types",
                "in_channels", "layers_per_block", "norm_eps", "norm_num_groups")
        with torch.device("meta"):
            shapes = dict(ControlNetModel(**{key: unet[key] for key in keep}).state_dict())
        made = fill(shapes, 50)
        scale(made, 8.0, "controlnet_cond_embedding.conv_out")
        own = {}
        for key in [key for key in made if key.startswith("controlnet_")]:
            parts = key.split(".")
            if parts[0] == "controlnet_down_blocks":
                name = f"zero_convs.{parts[1]}.0.{parts[2]}"
            elif parts[0] == "controlnet_mid_block":
                name = f"middle_block_out.0.{parts[-1]}"
            else:
                index = {"conv_in": 0, "conv_out": 14}.get(parts[1])
                name = f"input_hint_block.{2 * int(parts[2]) + 2 if index is None else index}.{parts[-1]}"
            own[name] = made.pop(key)
        # The converter wants every key of a UNet; what a ControlNet lacks of them comes back as None.
        wanted: dict[str, Any] = {diffusers: None for _, diffusers in self._convert.unet_conversion_map}
        shared = self._convert.convert_unet_state_dict({**wanted, **made})
        return prefixed({**{key: value for key, value in shared.items() if value is not None}, **own}, "control_model.")


def fill(shapes: Tensors, seed: int) -> Tensors:
    """Half-precision tensors as a fresh network has them: uniform within 1/sqrt(inputs), norms at one."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    inputs = 1
    for key, shape in shapes.items():
        tensor = torch.empty(shape.shape)
        if tensor.dim() >= 2:
            inputs = shape[0].numel()
        if "embeddings.token_embedding" in key:
            tensor.normal_(0, 0.5, generator=generator)
        elif tensor.dim() == 1 and "norm" in key:
            tensor.fill_(1.0 if key.endswith("weight") else 0.0)
        else:
            tensor.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
        made[key] = tensor.half()
    return made


def offsets(shapes: Tensors, seed: int) -> Tensors:
    """Small offsets for every weight, larger ones for the first convolution, so that the conditioning matters."""
    generator = torch.Generator().manual_seed(60 + seed)
    made = {}
    inputs = 1
    for key, shape in shapes.items():
        if shape.dim() >= 2:
            inputs = shape[0].numel()
        spread = (0.3 if key == "conv_in.weight" else 0.02) / math.sqrt(3 * inputs)
        made[key] = torch.empty(shape.shape).normal_(0, spread, generator=generator).half()
    return made


def scale(tensors: Tensors, factor: float, *parts: str) -> None:
    """Multiply every tensor whose key has all of `parts`."""
    for key in tensors:
        if all(part in key for part in parts):
            tensors[key] *= factor


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    """The same tensors, `prefix` before each key."""
    return {prefix + key: value for key, value in tensors.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forge", type=Path, required=True)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    maker = Maker(arguments.forge)
    for wanted_name in arguments.names:
        for made_path in maker.make(wanted_name):
            print(made_path, flush=True)
