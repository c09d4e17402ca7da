"""The text that tells what made a picture, in the form that WebUIs write into their pictures and read from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import __version__
from .generation import Generation

_NEGATIVE = "Negative prompt:"
_FEWEST = 3
"""A last line with fewer pairs is taken for prompt, as WebUIs do."""
_OWN = {"Prompt": "IC-Light prompt", "Negative prompt": "IC-Light negative prompt"}
"""Where a prompt is kept as well that cannot be told from its lines, such as one that holds "Negative prompt:"."""

_RUN = re.compile(r"[\w \-/]+")
_START = re.compile(r"\w")
_BLANK = re.compile(r"\s*")
_QUOTED = re.compile(r'"(?!")[^"\\]*(?:\\.[^"\\]*)*"(?=,|$)')


def write(settings: Mapping[str, object], generation: Generation, seed: int, checkpoint: str,
          loras: Mapping[str, float] | None = None, controls: Sequence[tuple[str, float]] = ()) -> str:
    """The infotext of the picture that `seed` gave; settings: keys and values as `Settings.to_infotext` gives them.

    loras, controls: names and strengths; of ControlNets several may have one name.
    """
    values: dict[str, object] = {
        "Steps": generation.steps, "Sampler": generation.sampler, "CFG scale": f"{generation.cfg:g}", "Seed": seed,
        "Size": f"{generation.width}x{generation.height}", "Model": checkpoint}
    if generation.hires_scale > 1:
        values |= {"Denoising strength": f"{generation.hires_denoise:g}",
                   "Hires upscale": f"{generation.hires_scale:g}", "Hires upscaler": "Lanczos"}
    if generation.guidance_end < 1 and generation.cfg > 1:
        values["Guidance end"] = f"{generation.guidance_end:g}"
    if generation.prompt_syntax != Generation.prompt_syntax:
        values["Prompt syntax"] = generation.prompt_syntax
    if loras:
        values["LoRAs"] = "; ".join(f"{name} {strength:g}" for name, strength in loras.items())
    if controls:
        values["ControlNets"] = "; ".join(f"{name} {strength:g}" for name, strength in controls)
    values |= dict(settings) | {"Version": f"IC-Light {__version__}"}
    prompts = {"Prompt": generation.prompt, "Negative prompt": generation.negative_prompt}
    text = _text(prompts, values)
    found = read(text)
    unclear = {_OWN[name]: prompt for name, prompt in prompts.items() if found.get(name) != prompt}
    return _text(prompts, values | unclear) if unclear else text


def read(text: str) -> dict[str, str]:
    """The keys and values of an infotext, with "Prompt" and "Negative prompt" among them; {} where there are none.

    As WebUIs read it: the last line has the pairs, if there are three or more; of those before, the ones from the first
    that begins with "Negative prompt:" on are the negative prompt. Takes time in proportion to the text's length.
    Values are text, as they were written; `settings.from_infotext` and `generation_values` make something of them.
    """
    *lines, last = text.strip().split("\n")
    pairs = list(_pairs(last))
    found = {name: _unquoted(value) for name, value in pairs if value}
    if len(pairs) < _FEWEST or "Steps" not in found:
        return {}
    stripped = [line.strip() for line in lines]
    split = next((index for index, line in enumerate(stripped) if line.startswith(_NEGATIVE)), len(stripped))
    negative = stripped[split:]
    if negative:  # a later line that begins so loses its beginning as well
        negative = [line[len(_NEGATIVE):].strip() if line.startswith(_NEGATIVE) else line for line in negative]
    prompts = {"Prompt": "\n".join(stripped[:split]), "Negative prompt": "\n".join(negative).lstrip("\n")}
    return found | prompts | {name: found[own] for name, own in _OWN.items() if own in found}


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
    values["guidance_end"] = float(params.get("Guidance end", 1.0))
    values["prompt_syntax"] = params.get("Prompt syntax", Generation.prompt_syntax)
    return values


def _text(prompts: Mapping[str, str], values: Mapping[str, object]) -> str:
    line = ", ".join(f"{name}: {_quoted(value)}" for name, value in values.items())
    return f"{_sound(prompts['Prompt'])}\n{_NEGATIVE} {_sound(prompts['Negative prompt'])}\n{line}"


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    r"""The pairs of a line, as WebUIs find them with `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`.

    That expression tries a run of words from each of its letters, which takes time in proportion to the square of its
    length; here each run is looked at once. It ends at a colon or is no name, since no colon is in it.
    """
    at = 0
    while run := _RUN.search(line, at):
        at = run.end()
        start = _START.search(line, run.start(), at - 1)
        if start is None or not line.startswith(":", at):
            continue
        name = line[start.start():at]
        blank = _BLANK.match(line, at + 1)
        begin = blank.end() if blank else at + 1
        quoted = _QUOTED.match(line, begin)
        comma = line.find(",", begin)
        end = quoted.end() if quoted else comma if comma >= 0 else len(line)
        yield name, line[begin:end]
        at = end + 1


def _quoted(value: object) -> str:
    text = str(value)
    if set(text) & set(",:\n\r\"") or text != text.strip() or not text:
        return json.dumps(text, ensure_ascii=_sound(text) != text)
    return _sound(text) if _sound(text) == text else json.dumps(text)


def _sound(text: str) -> str:
    """The text with a question mark for what no file can hold: lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text))
    except (ValueError, RecursionError):
        return text
