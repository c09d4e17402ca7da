"""`<lora:NAME:STRENGTH>` in prompts: which LoRA files are meant, and the prompt without the tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ... import files
from ...errors import SettingsError, WeightsError, hint, shown
from .loras import Lora

_TAG = re.compile(r"<(?P<kind>\w+):(?P<values>[^<>]+)>")
_NAMED = ("te", "unet")
"""the strengths for the text encoder and for the UNet, as in `<lora:name:te=0.5:unet=0.8>`"""


def read_tags(prompt: str, folders: Sequence[Path]) -> tuple[str, list[Lora]]:
    """The prompt without its tags, and the LoRAs that they name, in their order.

    A LoRA's name is its file's, without .safetensors, in one of `folders` or below. Its strength is 1 when left out;
    a second number is that of the UNet alone. Raises SettingsError and WeightsError.
    """
    loras = [_lora(tag["kind"], tag["values"], folders) for tag in _TAG.finditer(prompt)]
    return _TAG.sub("", prompt), loras


def without_tags(prompt: str) -> str:
    """A negative prompt, in which no tag may be. Raises SettingsError for one."""
    tag = _TAG.search(prompt)
    if tag:
        raise SettingsError(f"{shown(tag[0])} is in the negative prompt. LoRAs belong in the prompt.")
    return prompt


def _lora(kind: str, values: str, folders: Sequence[Path]) -> Lora:
    if kind != "lora":
        raise SettingsError(f"the prompt has {shown(f'<{kind}:{values}>')}, and here only <lora:NAME:STRENGTH> is "
                            "known. Leave it out.")
    name, *rest = (value.strip() for value in values.split(":"))
    strengths = dict(zip(_NAMED, [text for text in rest if "=" not in text], strict=False))
    for text in rest:
        key, named, value = text.partition("=")
        if named:
            strengths[key.strip()] = value
    if not set(strengths) <= set(_NAMED) or len(rest) > len(_NAMED):
        raise SettingsError(f"the tag {shown(f'<lora:{values}>')} says more than a LoRA's name and strengths. Write it "
                            "as <lora:name:0.8>.")
    try:
        text_strength = float(strengths.get("te") or 1.0)
        strength = float(strengths.get("unet") or text_strength)
    except ValueError:
        raise SettingsError(f"the tag {shown(f'<lora:{values}>')} has a strength that is no number. Write it as "
                            "<lora:name:0.8>.") from None
    return Lora(find_lora(name, folders), strength, text_strength)


def find_lora(name: str, folders: Sequence[Path]) -> Path:
    """The file of that name, without .safetensors, in the folders or below. Raises WeightsError."""
    there = [path for path in files.walk(folders) if path.suffix.casefold() == ".safetensors"]
    found = files.named(there, f"{name}.safetensors")
    if found is None:
        known = [files.shown_name(path.with_suffix("")) for path in there]
        places = ", ".join(map(files.place, folders)) or "any folder"
        raise WeightsError(f"there is no LoRA {shown(name)} in {places}. "
                           + (hint(name, known[:20]) if known else "There are none at all."))
    return found
