"""SD 1.5 checkpoints: one .safetensors file in ldm's layout, or a diffusers folder. Nothing comes from the network.

A checkpoint is judged by its header or its configuration alone, before anything is loaded: IC-Light's weights fit
plain SD 1.x only. Pickles are refused unread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from ... import files
from ...errors import CheckpointError, ICLightError, WeightsError
from ...generation import NATIVE
from ...weights import Offsets
from ...weights.header import PICKLES, Entry, read_header
from ...weights.keys import CONTEXT, LATENT, shapes
from ...weights.stored import Stored
from .models import TEXT_ENCODER, TEXT_PREFIX, UNET, UNET_PREFIX, VAE, VAE_PREFIX, Models, empty, models_from_ldm
from .prompts import END, START, clip_tokenizer

_CONFIG_LIMIT = 100_000
"""bytes of a configuration; real ones have 2000"""
_NUMBER_LIMIT = 100_000
"""A larger number in a configuration is no size of SD 1.x's; its vocabulary, the largest, has 49408 words."""
_COUNT_LIMIT = 100
"""nor has it more layers, or longer lists; its text encoder has 12 layers"""


class Checkpoint(Protocol):
    """Something that models can be loaded from."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def native(self) -> int:
        """Side in pixels of the square pictures that it was trained on."""
        ...

    @property
    def best(self) -> Mapping[str, Mapping[str, Any]]:
        """Mode -> the values of a `Generation` that it is at its best with, where those are not the recommended."""
        ...

    @property
    def note(self) -> str:
        """What to know before its pictures are judged, as the end of a sentence; empty for nothing."""
        ...

    @property
    def threads(self) -> int | None:
        """How many threads of a processor it is fastest with; None for as many as there are."""
        ...

    @property
    def prediction(self) -> str:
        """What its UNet predicts, as diffusers' schedulers call it: epsilon, the noise, or v_prediction."""
        ...

    def offsets(self, kind: str) -> Offsets | None:
        """The offsets that it brings for a mode, in diffusers' layout; None where IC-Light's files are meant.

        Raises WeightsError for a mode that it has none for, where it brings its own.
        """
        ...

    def load(self, dtype: torch.dtype) -> Models:
        """New models, with the UNet and the text encoder in `dtype`. Raises CheckpointError."""
        ...


class StableDiffusion15:
    """What all plain SD 1.x checkpoints have in common; see `Checkpoint`."""

    native = NATIVE
    best: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    note = ""
    threads: int | None = None

    @property
    def prediction(self) -> str:
        """See `Checkpoint`."""
        return "epsilon"

    def offsets(self, kind: str) -> Offsets | None:
        """None: IC-Light's files fit it."""
        return None


def open_checkpoint(name: Path | str) -> Checkpoint:
    """The checkpoint at a path, or the pocket model by its name; not yet loaded.

    Raises CheckpointError for everything but plain SD 1.x and the pocket model.
    """
    from .pocket import NAME, Pocket

    if name == NAME:
        return Pocket()
    path = Path(name)
    if files.is_dir(path):
        return Folder(path)
    if not files.is_file(path):
        raise CheckpointError(f"there is no checkpoint {files.shown_name(path)}. Give an SD 1.5 .safetensors file or "
                              "diffusers folder.", path=path)
    return SingleFile(path)


@dataclass(frozen=True)
class SingleFile(StableDiffusion15):
    """A checkpoint as WebUIs use it: UNet, VAE and text encoder in one .safetensors file, with ldm's keys."""

    path: Path

    def __post_init__(self) -> None:
        fault = _fault_of(self.path, files.state(self.path))
        if fault:
            raise CheckpointError(fault, path=self.path)

    @property
    def name(self) -> str:
        """The file's name without its extension, as it can be shown."""
        return files.shown_name(self.path.with_suffix(""))

    def load(self, dtype: torch.dtype) -> Models:
        """See `Checkpoint.load`."""
        try:
            return models_from_ldm(Stored(self.path), dtype, UNET, VAE, TEXT_ENCODER)
        except WeightsError as error:
            raise CheckpointError(str(error), path=self.path) from error
        except (RuntimeError, KeyError, AttributeError, IndexError, ValueError, TypeError) as error:
            # A tensor is missing or has the wrong shape.
            raise CheckpointError(f"{files.shown_name(self.path)} is not a whole SD 1.5 checkpoint: "
                                  f"{_brief(error, self.path)}. Use another copy of it.", path=self.path) from error


@dataclass(frozen=True)
class Folder(StableDiffusion15):
    """A checkpoint as diffusers saves it: `unet/`, `vae/`, `text_encoder/`, with safetensors; maybe `tokenizer/`."""

    path: Path

    def __post_init__(self) -> None:
        unet = self._config("unet")
        inputs, context = unet.get("in_channels"), unet.get("cross_attention_dim")
        fault = _kind_fault(inputs, context, unet.get("addition_embed_type") is not None)
        if fault is None and self.prediction != "epsilon":
            fault = f"predicts {self.prediction}, not noise"
        if fault:
            raise CheckpointError(f"{self.name} {fault}. IC-Light's weights exist for plain SD 1.5 only: "
                                  "use such a checkpoint.")
        for part in ("unet", "vae", "text_encoder"):
            if part != "unet":
                self._config(part)
            try:
                read_header(self.path / part / _weights_name(part, self._variant(part)))
            except WeightsError as error:
                raise CheckpointError(f"{self.name}/{part}: {error}", path=self.path) from error

    @property
    def name(self) -> str:
        """The folder's name, as it can be shown."""
        return files.shown_name(Path(os.path.abspath(self.path)))

    @property
    def prediction(self) -> str:
        """See `Checkpoint`; what its scheduler's configuration says."""
        config = self._config("scheduler") if files.is_dir(self.path / "scheduler") else {}
        return str(config.get("prediction_type", "epsilon"))

    def load(self, dtype: torch.dtype) -> Models:
        """See `Checkpoint.load`."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        def loaded(kind: Any, part: str, dtype: torch.dtype) -> Any:
            return kind.from_pretrained(str(self.path), subfolder=part, variant=self._variant(part), torch_dtype=dtype,
                                        local_files_only=True, use_safetensors=True).eval().requires_grad_(False)

        default = torch.get_default_dtype()
        try:
            base = Stored(self.path / "unet" / _weights_name("unet", self._variant("unet")))
            config = UNet2DConditionModel.load_config(str(self.path), subfolder="unet", local_files_only=True)
            models = Models(
                unet=empty(lambda: UNet2DConditionModel.from_config(config), base, dtype),
                vae=loaded(AutoencoderKL, "vae", torch.float32),
                text_encoder=loaded(CLIPTextModel, "text_encoder", dtype),
                tokenizer=CLIPTokenizer.from_pretrained(str(self.path / "tokenizer"), local_files_only=True)
                if files.is_file(self.path / "tokenizer" / "vocab.json") else clip_tokenizer(), unet_base=base)
        except WeightsError as error:
            raise CheckpointError(f"{self.name}/unet: {error}", path=self.path) from error
        except ICLightError:
            raise
        except Exception as error:  # two libraries read half-copied and damaged files, and raise what they come upon
            raise CheckpointError(f"{self.name} cannot be loaded ({_brief(error, self.path)}). Use another copy of it.",
                                  path=self.path) from error
        finally:  # transformers changes it while it loads, and does not put it back when that fails
            torch.set_default_dtype(default)
        if models.tokenizer.convert_tokens_to_ids(["<|startoftext|>", "<|endoftext|>"]) != [START, END]:
            raise CheckpointError(f"{self.name} has another tokenizer than SD 1.x, or a damaged one. Delete its folder "
                                  "tokenizer: without it CLIP's own is used.", path=self.path)
        return models

    def _config(self, part: str) -> dict[str, Any]:
        file = f"{part}/{'scheduler_config.json' if part == 'scheduler' else 'config.json'}"
        try:
            config = json.loads(files.content(self.path / file, _CONFIG_LIMIT))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.name} is not a diffusers folder: {file} is missing or broken. Give an SD 1.5 "
                                  ".safetensors file or a diffusers folder.", path=self.path) from error
        if not isinstance(config, dict) or not all(map(_is_sound, config, config.values())):
            raise CheckpointError(f"{self.name} is not an SD 1.5 checkpoint: {file} is damaged. "
                                  "Use another copy of it.", path=self.path)
        return config

    def _variant(self, part: str) -> str | None:
        """None for the plain safetensors of a part, else the first variant (`fp16`) that is there."""
        if files.is_file(self.path / part / _weights_name(part, None)):
            return None
        stem = _weights_name(part, None).removesuffix(".safetensors")
        variants = sorted(path.name.split(".")[1] for path in files.listed(self.path / part, f"{stem}.*.safetensors"))
        if not variants:
            raise CheckpointError(f"{self.name} has no {part}/{stem}.safetensors. Pickles (.bin) are not opened: "
                                  "use the checkpoint's safetensors form.", path=self.path)
        return variants[0]


def _weights_name(part: str, variant: str | None) -> str:
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    return f"{stem}.{variant}.safetensors" if variant else f"{stem}.safetensors"


def _is_sound(name: str, value: object) -> bool:
    """Can a configuration of SD 1.x hold the value? Absurd sizes would build absurd models, or for hours."""
    if isinstance(value, list):
        return len(value) <= _COUNT_LIMIT and all(_is_sound(name, one) for one in value)
    limit = _COUNT_LIMIT if "layers" in name else _NUMBER_LIMIT
    return not isinstance(value, int | float) or abs(value) <= limit


def _brief(error: BaseException, path: Path) -> str:
    """The first line of another library's message, without the whole paths that those like to name."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    for whole in (str(path.parent), os.path.abspath(path.parent)):
        first = first.replace(whole + os.sep, "")
    return first[:200].rstrip(".")


@lru_cache(maxsize=64)
def _fault_of(path: Path, state: files.State | None) -> str:
    """Why a single file is not plain SD 1.x, as sentences, or nothing; `state` tells that it is still the same file."""
    name, suffix = files.shown_name(path), path.suffix.casefold()
    if suffix in PICKLES:
        return (f"{name} is a pickle. Pickles can run code when they are opened, so it was not read. "
                "Use the checkpoint's .safetensors form.")
    if suffix != ".safetensors":
        return f"{name} is not a .safetensors file. Give an SD 1.5 .safetensors file or a diffusers folder."
    try:
        fault = _fault(read_header(path).entries)
    except WeightsError as error:
        return str(error)
    return f"{name} {fault}. IC-Light's weights exist for plain SD 1.5 only: use such a checkpoint." if fault else ""


def _fault(entries: Mapping[str, Entry]) -> str | None:
    """What keeps a single file from being plain SD 1.x, as the end of a sentence; None if nothing does."""
    shape = {key: entry.shape for key, entry in entries.items()}
    first = shape.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
    if first is None:
        return "has no Stable Diffusion UNet in it"
    context = shape.get(f"{UNET_PREFIX}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight") or (0,)
    fault = _kind_fault(first[1] if len(first) > 1 else 0, context[-1], f"{UNET_PREFIX}label_emb.0.0.weight" in shape)
    if fault:
        return fault
    for key, expected in shapes("ldm", LATENT).items():
        if shape.get(UNET_PREFIX + key) != expected:
            return f"is not SD 1.5: {UNET_PREFIX}{key} is missing or has another shape"
    for key, what in ((f"{VAE_PREFIX}decoder.conv_in.weight", "VAE"), (f"{VAE_PREFIX}encoder.conv_in.weight", "VAE")):
        if key not in shape:
            return f"has no {what} in it"
    if not any(key.startswith(TEXT_PREFIX) for key in shape):
        return "has no CLIP text encoder in it"
    return None


def _kind_fault(inputs: object, context: object, sdxl: bool) -> str | None:
    """What a UNet with so many inputs and so wide a context is, if it is not plain SD 1.x."""
    if sdxl or context == 2048:
        return "is an SDXL checkpoint"
    if context == 1024:
        return "is an SD 2 checkpoint"
    if inputs == 9:
        return "is an inpainting checkpoint"
    if inputs != LATENT:
        return f"has a UNet with {inputs} inputs instead of {LATENT}"
    if context != CONTEXT:
        return "is not an SD 1.x checkpoint"
    return None
