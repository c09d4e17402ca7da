"""What to sample, beside how to relight: prompt, size, steps, seed and the rest of a generation's choices."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from .errors import SettingsError, hint, shown
from .settings import RECOMMENDED

_LORA_TAG = re.compile(r"<lora:[^<>]+>")
NATIVE = 512
"""Side of the square pictures that SD 1.5 was trained on; up to half as much again it is at its best."""


PromptSyntax = Literal["webui", "plain"]
"""webui: emphasis, BREAK, textual inversions and LoRA tags as WebUIs read them; plain: every letter is text, and long
prompts are cut every 75 tokens, as the reference demo does"""


class Sampler(NamedTuple):
    """A diffusers scheduler class and what is particular to its configuration.

    most_steps: as many as it can schedule, None for as many as anyone wants.
    """

    scheduler: str
    options: Mapping[str, Any]
    most_steps: int | None = None


SAMPLERS: Mapping[str, Sampler] = MappingProxyType({
    "DPM++ 2M SDE Karras": Sampler("DPMSolverMultistepScheduler",
                                   {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "DPM++ 2M SDE": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2M Karras": Sampler("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", {}),
    "Euler": Sampler("EulerDiscreteScheduler", {}),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", {}),
    "Heun": Sampler("HeunDiscreteScheduler", {}),
    "DDIM": Sampler("DDIMScheduler", {"timestep_spacing": "leading", "clip_sample": False,
                                      "set_alpha_to_one": False}),
    "UniPC": Sampler("UniPCMultistepScheduler", {}),
    "LCM": Sampler("LCMScheduler", {"clip_sample": False, "set_alpha_to_one": False}, 50),
    "TCD": Sampler("TCDScheduler", {"clip_sample": False, "set_alpha_to_one": False}, 50),
})
"""Sampler names, as WebUIs spell them; the first is the reference demo's and the default. LCM and TCD are for
checkpoints and LoRAs that were made for few steps (LCM; TCD, Hyper-SD)."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation's choices. Raises SettingsError for values that cannot be meant.

    Longer prompts than 75 tokens are encoded in chunks.
    """

    prompt: str = "best quality"
    negative_prompt: str = "lowres, bad anatomy, bad hands, cropped, worst quality"
    width: int = RECOMMENDED["fc"].width
    """pixels, a multiple of 8"""
    height: int = RECOMMENDED["fc"].height
    """pixels, a multiple of 8"""
    steps: int = RECOMMENDED["fc"].steps
    """steps that are really run, in each pass, whatever its strength"""
    cfg: float = RECOMMENDED["fc"].cfg
    """classifier-free guidance; 1 = none, the negative prompt does not count then"""
    seed: int = 0
    """of the first picture; the next ones have seed + 1, seed + 2, ..."""
    sampler: str = next(iter(SAMPLERS))
    hires_scale: float = 1.0
    """how much larger the second pass is; 1 = no second pass"""
    hires_denoise: float = RECOMMENDED["fc"].denoise
    """strength of the second pass"""
    batch: int = 1
    """number of pictures"""
    guidance_end: float = 1.0
    """share of each pass's steps after which there is no more guidance, and a step takes half the time"""
    prompt_syntax: PromptSyntax = "webui"
    """how both prompts are read"""

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt"):
            if not isinstance(getattr(self, name), str):
                raise SettingsError(f"{name} must be text.")
        for name, low, high in (("width", 64, 4096), ("height", 64, 4096), ("steps", 1, 1000),
                                ("seed", 0, 2**32 - 1), ("batch", 1, 1000)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise SettingsError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                raise SettingsError(f"{name} must be a multiple of 8, not {getattr(self, name)}.")
        for name, least, most in (("cfg", 1.0, 50.0), ("hires_scale", 1.0, 4.0), ("hires_denoise", 0.05, 1.0),
                                  ("guidance_end", 0.0, 1.0)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not least <= value <= most:  # NaN is in no range
                raise SettingsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}.")
        if not isinstance(self.sampler, str) or self.sampler not in SAMPLERS:
            raise SettingsError(f"sampler must be one of the known ones, not {shown(self.sampler)}. "
                                f"{hint(self.sampler, SAMPLERS)}")
        if self.prompt_syntax not in get_args(PromptSyntax):
            raise SettingsError(f"prompt_syntax must be one of {', '.join(get_args(PromptSyntax))}, "
                                f"not {shown(self.prompt_syntax)}.")

    def warnings(self) -> list[str]:
        """What was given and changes nothing, in sentences; only values other than the defaults count as given."""
        found = []
        if self.hires_scale == 1 and self.hires_denoise != Generation.hires_denoise:
            found.append("The hires pass's denoise is not used: hires_scale is 1, so there is no such pass.")
        if self.cfg == 1 and self.guidance_end != Generation.guidance_end:
            found.append("The guidance's end is not used: at cfg 1 there is no guidance.")
        if self.cfg == 1 and self.negative_prompt != Generation.negative_prompt:
            found.append("The negative prompt is not used: at cfg 1 there is no guidance away from it.")
        if self.prompt_syntax == "plain" and _LORA_TAG.search(f"{self.prompt} {self.negative_prompt}"):
            found.append("The LoRA in the prompt is not used: with plain prompts its tag is read as words.")
        return found

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the finished pictures."""
        return self.hires_size if self.hires_scale > 1 else (self.width, self.height)

    @property
    def hires_size(self) -> tuple[int, int]:
        """Width and height of the second pass: scaled, to the nearest multiple of 64, as the reference does."""
        return (round(self.width * self.hires_scale / 64) * 64, round(self.height * self.hires_scale / 64) * 64)


def comfortable_size(width: int, height: int, native: int = NATIVE) -> tuple[int, int]:
    """The size in multiples of 64 closest to a picture's aspect and area, as far as the model is at home there.

    native: side of the squares that the model was trained on. One of smaller squares than SD 1.5's saw no other sizes.
    """
    least, most = native**2, (native * 3 // 2) ** 2
    area = min(max(width * height, least), most if native >= NATIVE else least)
    sides = range(native // 2, 2 * native + 1, 64)

    def distance(size: tuple[int, int]) -> float:
        w, h = size
        # A wrong aspect cuts the picture; a little more or less area hardly matters.
        return abs(math.log(w / h * height / width)) + 0.1 * abs(math.log(w * h / area))

    return min(((w, h) for w in sides for h in sides if 0.9 * least <= w * h <= 1.1 * most), key=distance)


def suited(given: Mapping[str, Any], mode: str, native: int = NATIVE, picture: tuple[int, int] | None = None,
           own: Mapping[str, Any] = MappingProxyType({})) -> Generation:
    """The generation of the values that are given, by the names of `Generation`; None stands for what suits.

    mode: its recommended steps and cfg. native: as `comfortable_size` has it. picture: width and height of the
    foreground, whose shape the size follows where neither side is given. own: what suits the checkpoint in that mode
    better than the recommended. `Session.suited` knows its checkpoint. Raises SettingsError.
    """
    best = RECOMMENDED[mode]
    width, height = reference_size(mode, native)
    if picture is not None and given.get("width") is None and given.get("height") is None:
        width, height = comfortable_size(*picture, native)
    best_values = {"width": width, "height": height, "steps": best.steps, "cfg": best.cfg, **own}
    return Generation(**best_values | {name: value for name, value in given.items() if value is not None})


def reference_size(mode: str, native: int = NATIVE) -> tuple[int, int]:
    """Width and height of the reference demo's pictures; of another model the squares that it was trained on."""
    best = RECOMMENDED[mode]
    return (best.width, best.height) if native == NATIVE else (native, native)
