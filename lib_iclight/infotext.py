"""The text that tells what made a picture, in the form that WebUIs write into their pictures and read from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from . import __version__
from .generation import Generation

_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"


def write(settings: Mapping[str, object], generation: Generation, seed: int, checkpoint: str,
          loras: Mapping[str, float] | None = None) -> str:
    """The infotext of the picture that `seed` gave; settings: keys and values as `Settings.to_infotext` gives them.

    loras: names and strengths.
    """
    values: dict[str, object] = {
        "Steps": generation.steps, "Sampler": generation.sampler, "CFG scale": f"{generation.cfg:g}", "Seed": seed,
        "Size": f"{generation.width}x{generation.height}", "Model": checkpoint}
    if generation.hires_scale > 1:
        values |= {"Denoising strength": f"{generation.hires_denoise:g}",
                   "Hires upscale": f"{generation.hires_scale:g}", "Hires upscaler": "Lanczos"}
    if loras:
        values["LoRAs"] = "; ".join(f"{name} {strength:g}" for name, strength in loras.items())
    values |= dict(settings) | {"Version": f"IC-Light {__version__}"}
    line = ", ".join(f"{name}: {_quoted(value)}" for name, value in values.items())
    return f"{generation.prompt}\n{_NEGATIVE} {generation.negative_prompt}\n{line}"


def read(text: str) -> dict[str, str]:
    """The keys and values of an infotext, with "Prompt" and "Negative prompt" among them; {} where there are none.

    Values are text, as they were written; `settings.from_infotext` and `generation_values` make something of them.
    """
    *lines, last = text.strip().split("\n") if text.strip() else [""]
    pairs = {name.strip(): _unquoted(value.strip()) for name, value in _PAIR.findall(last)}
    if "Steps" not in pairs:
        return {}
    prompt, _, negative = "\n".join(lines).partition(_NEGATIVE)
    return {"Prompt": prompt.strip(), "Negative prompt": negative.strip(), **pairs}


def generation_values(params: Mapping[str, str]) -> dict[str, Any]:
    """The values of `Generation` that an infotext names. Raises ValueError for numbers that are none."""
    values: dict[str, Any] = {"prompt": params.get("Prompt", ""), "negative_prompt": params.get("Negative prompt", "")}
    for key, name, kind in (("Steps", "steps", int), ("CFG scale", "cfg", float), ("Seed", "seed", int),
                            ("Denoising strength", "hires_denoise", float), ("Hires upscale", "hires_scale", float)):
        if key in params:
            values[name] = kind(params[key])
    if "Size" in params:
        values["width"], values["height"] = (int(side) for side in params["Size"].split("x"))
    if "Sampler" in params:
        # WebUIs that have a scheduler beside the sampler write its name apart.
        values["sampler"] = " ".join([params["Sampler"], params.get("Schedule type", "")]).strip()
    values.setdefault("hires_scale", 1.0)
    return values


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text
