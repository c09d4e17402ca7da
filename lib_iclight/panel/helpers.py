"""What the panel's helpers work out: pure functions, without Gradio and without a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..generation import NATIVE, comfortable_size, reference_size
from ..settings import RECOMMENDED, STAGES, Settings
from . import texts

WANTS = (texts.NEW_BACKGROUND, texts.MY_BACKGROUND, texts.SAME_SCENE, texts.LIGHT_STAGE)
LARGEST_STAGE = list(STAGES)[-1]
KEPT = 0.5
"""Preserve colour and detail at which "keep the scene" starts."""


def want_of(mode: str, keep_background: bool, stage: str) -> str:
    """What these settings amount to, in a person's words: one of `WANTS`."""
    if stage != "off":
        return texts.LIGHT_STAGE
    if mode == "fbc":
        return texts.MY_BACKGROUND
    return texts.SAME_SCENE if keep_background else texts.NEW_BACKGROUND


def settings_for(want: str, mode: str, color: float, detail: float, stage: str) -> dict[str, Any]:
    """The settings that a want amounts to. `want_of` reads it back from them; nothing else remembers it.

    color, detail: the preserve sliders as they are. "Keep the scene" raises them where both are 0, and leaving it puts
    them back where nobody moved them. stage: as it is; a stage is of all lights where there was none.
    """
    keep = want == texts.SAME_SCENE
    if keep and not (color or detail):
        color = detail = KEPT
    elif not keep and color == detail == KEPT:
        color = detail = 0.0
    own_mode = mode if mode != "fbc" else "fc"
    if want != texts.LIGHT_STAGE:
        stage = "off"
    elif stage == "off":
        stage = LARGEST_STAGE
    return {"mode": "fbc" if want in (texts.MY_BACKGROUND, texts.LIGHT_STAGE) else own_mode, "keep_background": keep,
            "preserve_color": color, "preserve_detail": detail, "stage": stage}


def recommended(mode: str, tab: str, size: tuple[int, int] | None, has: Iterable[str],
                native: int = NATIVE, own: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The recommended value of each of the host's widgets in `has`: width, height, steps, cfg, sampler, ...

    size: the foreground's width and height, if there is one. own: what suits the checkpoint better. A host without a
    widget for the scheduler has it in the sampler's name. In img2img the tab's denoising strength is the light's.
    """
    best = RECOMMENDED[mode]
    width, height = comfortable_size(*size, native) if size else reference_size(mode, native)
    has = set(has)
    sampler = best.sampler if "scheduler" in has else f"{best.sampler} {best.scheduler}"
    denoise = Settings.light_denoise if tab == "img2img" else best.denoise
    values = {"width": width, "height": height, "steps": best.steps, "cfg": best.cfg, "sampler": sampler,
              "scheduler": best.scheduler, "denoise": denoise, **own}
    return {name: value for name, value in values.items() if name in has}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What turns `before` into `after`, as `Label: old → new`, separated by commas; empty for nothing."""
    return ", ".join(f"{texts.GENERATION_LABELS[name]}: {_plain(before[name])} → {_plain(value)}"
                     for name, value in after.items() if before[name] != value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
