"""LoRA files as additions to weights: W' = W + strength * alpha / rank * up @ down.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. Keys as kohya's trainer writes them (with
diffusers' or ldm's module names) and as diffusers does (peft's `lora_A`/`lora_B`, `lora.up`, attention processors).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ... import files
from ...errors import WeightsError
from ...weights.header import read_header
from ...weights.keys import TO_DIFFUSERS

_PART = re.compile(r"(?P<module>.+?)[._]lora(_linear_layer)?[._](?P<part>up|down|mid|A|B)(\.default)?\.weight")
_PARTS = {"A": "down", "B": "up"}


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it counts. Raises WeightsError if the file is not a LoRA that can be used."""

    path: Path
    strength: float = 1.0
    text_strength: float | None = None
    """of what it adds to the text encoder; None: as `strength`"""

    def __post_init__(self) -> None:
        name = files.shown_name(self.path)
        if not math.isfinite(self.strength) or not math.isfinite(self.text_strength or 0.0):
            raise WeightsError(f"the strength of {name} must be a number, not {self.strength}.")
        if not files.is_file(self.path):
            raise WeightsError(f"there is no LoRA {name}. Check the file's name.", path=self.path)
        entries = read_header(self.path).entries
        strange = [key for key in entries if not _PART.fullmatch(key) and not key.endswith(".alpha")]
        if strange or not entries:
            raise WeightsError(f"{name} is not a plain LoRA"
                               + (f" (it has the key {strange[0]})" if strange else "")
                               + ". LoHa, LoKr and DoRA cannot be used here.")
        for key, entry in entries.items():
            fits = math.prod(entry.shape) == 1 if key.endswith(".alpha") else len(entry.shape) >= 2 and all(entry.shape)
            if not fits:
                raise WeightsError(f"{name} is damaged: {key} has the shape {list(entry.shape)}. "
                                   "Use another copy of it.")


@dataclass(frozen=True, eq=False)
class Delta:
    """What one LoRA adds to one weight. up: [out, rank, ...]; down: [rank, in, ...]; mid: [rank, rank, k, k]."""

    up: torch.Tensor
    down: torch.Tensor
    mid: torch.Tensor | None
    scale: float

    def fits(self, shape: torch.Size) -> bool:
        """Has the addition as many values as a weight of that shape, and do the halves fit each other? Told from their
        shapes: two small halves can make a product that no memory holds."""
        rank = self.down.shape[0]
        if self.mid is None:
            inner, out, inputs = rank, self.up.shape[0], self.down[:1].numel()
        else:
            if self.mid.ndim < 3 or self.mid.shape[1] != rank:
                return False
            inner, out = self.mid.shape[0], self.up.shape[0]
            inputs = self.down[:1].numel() * self.mid[0, 0].numel()
        return self.up[:1].numel() == inner and (out, inputs) == (shape[0], math.prod(shape[1:]))

    def of(self, shape: torch.Size, device: torch.device | str = "cpu") -> torch.Tensor:
        """The addition in float32, in the weight's shape, on the device."""
        up, down = self.up.to(device, torch.float32).flatten(1), self.down.to(device, torch.float32)
        if self.mid is None:
            product = up @ down.flatten(1)
        else:  # a convolution in Tucker form
            product = torch.einsum("or,rs...,si->oi...", up, self.mid.to(up), down.flatten(1))
        return product.reshape(shape) * self.scale


@dataclass(frozen=True, eq=False)
class Loras:
    """What several LoRAs together add to a checkpoint, by the keys of its weights; name: equal for equal ones."""

    name: tuple[object, ...]
    unet: Mapping[str, Sequence[Delta]]
    text: Mapping[str, Sequence[Delta]]


NO_LORAS = Loras((), {}, {})


def load_loras(loras: Iterable[Lora], unet: Mapping[str, torch.Tensor], text_encoder: Mapping[str, torch.Tensor],
               ) -> tuple[dict[str, list[Delta]], dict[str, list[Delta]]]:
    """The additions to the UNet's and to the text encoder's weights, by their state dict keys.

    `unet` and `text_encoder` are the state dicts in diffusers' and transformers' layout. Raises WeightsError if a LoRA
    is for another kind of model.
    """
    places = dict(_spellings("unet", unet)) | dict(_spellings("text_encoder", text_encoder))
    shapes = {("unet", key): tensor.shape for key, tensor in unet.items()}
    shapes |= {("text_encoder", key): tensor.shape for key, tensor in text_encoder.items()}
    found: dict[str, defaultdict[str, list[Delta]]] = {"unet": defaultdict(list), "text_encoder": defaultdict(list)}
    for lora in loras:
        name = files.shown_name(lora.path)
        for module, delta in _deltas(lora):
            place = places.get(module) or places.get(f"{module}.0")  # attention processors say to_out for to_out.0
            if place is None:
                raise WeightsError(f"{name} is not for SD 1.5: the checkpoint has no {module}.")
            if not delta.fits(shapes[place]):
                raise WeightsError(f"{name} is not for SD 1.5: {module} has another shape there.")
            of_text = lora.strength if lora.text_strength is None else lora.text_strength
            strength = of_text if place[0] == "text_encoder" else lora.strength
            found[place[0]][place[1]].append(replace(delta, scale=delta.scale * strength))
    return dict(found["unet"]), dict(found["text_encoder"])


def _spellings(part: str, state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, tuple[str, str]]]:
    """(a module's name in LoRA files, (part, key of its weight)), for each of the ways that files spell it."""
    ldm_names = {diffusers: ldm for ldm, diffusers in TO_DIFFUSERS.items()} if part == "unet" else {}
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part]
    for key, tensor in state.items():
        if tensor.ndim < 2 or not key.endswith(".weight"):
            continue
        module = key.removesuffix(".weight")
        names = [f"{part}.{module}", module, prefix + module.replace(".", "_")]
        if key in ldm_names:
            names.append(prefix + ldm_names[key].removesuffix(".weight").replace(".", "_"))
        for name in names:
            yield name, (part, key)


def _deltas(lora: Lora) -> Iterator[tuple[str, Delta]]:
    """(module's name, what is added to it at strength 1) for each module in the file."""
    from safetensors import SafetensorError  # type: ignore[attr-defined]  # its stub is incomplete
    from safetensors.torch import load_file

    name = files.shown_name(lora.path)
    try:
        with files.as_text(lora.path) as source:
            tensors = load_file(source)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{name} cannot be read ({files.reason(error)}). Use another copy of it.",
                           path=lora.path) from error
    modules: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        match = _PART.fullmatch(key)
        module = match["module"] if match else key.removesuffix(".alpha")
        part = _PARTS.get(match["part"], match["part"]) if match else "alpha"
        modules[module.replace(".processor", "")][part] = tensor
    for module, parts in modules.items():
        if "up" not in parts or "down" not in parts:
            raise WeightsError(f"{name} is damaged: {module} lacks one of its two halves. Use another copy of it.")
        rank = parts["down"].shape[0]
        alpha = float(parts["alpha"]) if "alpha" in parts else rank
        if not math.isfinite(alpha) or not all(bool(torch.isfinite(part.float()).all()) for part in parts.values()):
            raise WeightsError(f"{name} is damaged: {module} holds values that are no numbers. Use another copy of it.")
        yield module, Delta(parts["up"], parts["down"], parts.get("mid"), alpha / rank)
