"""What the panel's helpers work out: pure functions, without Gradio and without a host."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..generation import NATIVE, comfortable_size, reference_size
from ..lights import LightSpec
from ..matting import DEFAULT
from ..settings import RECOMMENDED, Settings
from . import texts
from .hints import LEAST_HEAD

WANTS = (texts.NEW_BACKGROUND, texts.MY_BACKGROUND, texts.SAME_SCENE)
KEPT = 0.5
"""Preserve colour and detail at which "keep the scene" starts."""

LEAST_HIRES_DENOISE = 0.2
MOST_FC_CFG = 4.0


def want_of(mode: str, keep_background: bool) -> str:
    """What these settings amount to, in a person's words: one of `WANTS`."""
    if mode == "fbc":
        return texts.MY_BACKGROUND
    return texts.SAME_SCENE if keep_background else texts.NEW_BACKGROUND


def settings_for(want: str, mode: str, color: float, detail: float) -> dict[str, Any]:
    """The settings that a want amounts to. `want_of` reads it back from them; nothing else remembers it.

    color, detail: the preserve sliders as they are. "Keep the scene" raises them where both are 0, and leaving it puts
    them back where nobody moved them.
    """
    keep = want == texts.SAME_SCENE
    if keep and not (color or detail):
        color = detail = KEPT
    elif not keep and color == detail == KEPT:
        color = detail = 0.0
    own_mode = mode if mode != "fbc" else "fc"
    return {"mode": "fbc" if want == texts.MY_BACKGROUND else own_mode, "keep_background": keep,
            "preserve_color": color, "preserve_detail": detail}


def recommended(mode: str, tab: str, size: tuple[int, int] | None, has: Iterable[str],
                native: int = NATIVE) -> dict[str, Any]:
    """The recommended value of each of the host's widgets in `has`: width, height, steps, cfg, sampler, ...

    size: the foreground's width and height, if there is one. A host without a widget for the scheduler has it in the
    sampler's name. In img2img the tab's denoising strength is the light's.
    """
    best = RECOMMENDED[mode]
    width, height = comfortable_size(*size, native) if size else reference_size(mode, native)
    has = set(has)
    sampler = best.sampler if "scheduler" in has else f"{best.sampler} {best.scheduler}"
    denoise = Settings.light_denoise if tab == "img2img" else best.denoise
    values = {"width": width, "height": height, "steps": best.steps, "cfg": best.cfg, "sampler": sampler,
              "scheduler": best.scheduler, "denoise": denoise}
    return {name: value for name, value in values.items() if name in has}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What turns `before` into `after`, as `Label: old → new`, separated by commas; empty for nothing."""
    return ", ".join(f"{texts.GENERATION_LABELS[name]}: {_plain(before[name])} → {_plain(value)}"
                     for name, value in after.items() if before[name] != value)


class Seen(NamedTuple):
    """What is known of the foreground that lies in the panel."""

    width: int
    height: int
    transparent: bool
    """it brings its own alpha"""
    of_tab: bool = False
    """it is the img2img tab's own picture"""
    standing: float | None = None
    """once it is cut out, the height of a person who may stand there; see `hints.standing_height`"""


class Status(NamedTuple):
    """What pressing Generate will do, in parts of one sentence, and what speaks against it."""

    parts: tuple[str, ...]
    warnings: tuple[str, ...]

    def html(self) -> str:
        """As one element; each text is an element of its own, for the host's localisation."""
        parts = " ".join(f"<span>{html.escape(part)}</span>" for part in self.parts)
        warnings = "".join(f'<p class="iclight-warning">{html.escape(warning)}</p>' for warning in self.warnings)
        return f'<div class="iclight-status" role="status"><p>{parts}</p>{warnings}</div>'


def describe(settings: Settings, *, tab: str, seen: Seen | None, has_background: bool, has_light_map: bool,
             weights_ready: bool, faults: Iterable[str] = (), cfg: float | None = None,
             hires_denoise: float | None = None, head: float | None = None) -> Status:
    """The status of the panel.

    seen: the foreground, if there is one. has_...: whether the panel has that picture.
    faults: what else is known to stop the job.
    cfg, hires_denoise: the host's, where known; `hires_denoise` None also without a hires pass.
    head: pixels of a person's head in the finished picture, None where nothing looks like a standing person.
    """
    s = settings
    parts: list[str] = []
    faults = list(faults)
    warnings = list(faults)
    lit = has_light_map or s.light != "none"
    if seen is not None:
        parts += [texts.TAB_FOREGROUND if seen.of_tab else texts.FOREGROUND, f"{seen.width}×{seen.height},"]
        if s.matting == "none":
            parts.append(texts.USED_WHOLE)
        elif s.matting == "auto" and seen.transparent:
            parts.append(texts.OWN_TRANSPARENCY)
        else:
            parts += [texts.CUT_OUT_BY, DEFAULT if s.matting == "auto" else s.matting]
    elif tab == "img2img":
        parts.append(texts.TAB_PICTURE)
    else:
        warnings.append(texts.NEEDS_FOREGROUND)
    if parts:
        parts.append("·")
    if lit:
        if has_light_map:
            name = texts.FROM_REFERENCE if s.light_map_blur else texts.FROM_MAP
        else:
            name = texts.FROM_EDITOR if isinstance(s.light, LightSpec) else texts.PRESET_LABELS[s.light]
        parts += [texts.LIT_BY, name]
        if tab != "img2img" and s.mode != "fbc":
            parts += [texts.AT_STRENGTH, f"{s.light_denoise:g}"]
    elif s.mode != "fbc":
        parts.append(texts.NO_LIGHT)
    if s.mode == "fbc":
        if has_background:
            parts.append(texts.ON_BACKGROUND)
        elif lit:
            parts.append(texts.ON_DRAWN_BACKGROUND)
        else:
            warnings.append(texts.NEEDS_BACKGROUND)
    if s.keep_background and not (s.mode == "fbc" and has_background):  # said already
        parts.append(texts.BACK_ON_PICTURE)
    if not faults:  # nothing speaks against it
        parts += ["·", texts.WEIGHTS, s.mode, texts.READY if weights_ready else texts.WILL_DOWNLOAD]
    if s.mode != "fbc" and cfg is not None and cfg > MOST_FC_CFG:
        warnings.append(texts.HIGH_CFG)
    if hires_denoise is not None and hires_denoise < LEAST_HIRES_DENOISE:
        warnings.append(texts.LOW_HIRES_DENOISE)
    if head is not None and head < LEAST_HEAD and not (s.preserve_detail and hires_denoise is not None):
        warnings.append(texts.SMALL_FACE)
    return Status(tuple(parts), tuple(warnings))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
