"""The status line: what pressing Generate will do, and what speaks against it. Without Gradio and without a host."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..effects import idle, is_lit, looks_for_light, start_of
from ..errors import ICLightError
from ..frame import Frame, fit
from ..imaging import contain
from ..lights import LightSpec
from ..matting import DEFAULT
from ..preview import FoundLight
from ..session import Session
from ..settings import FIELDS, PICTURES, STAGES, Settings
from . import hints, markup, texts
from .pictures import ForegroundInfo

LEAST_HIRES_DENOISE = 0.2
MOST_FC_CFG = 4.0
STATUS_FIELDS = tuple(field.name for field in FIELDS if field.name not in (*PICTURES, "enabled", "outputs"))
"""the settings that the status line is made of"""
_THERE = b"there"
"""stands for a picture that the panel has, where only that counts"""


class PanelState(NamedTuple):
    """What of the panel and the tab around it the status line is made of."""

    foreground: ForegroundInfo | None
    has_background: bool
    has_light_map: bool
    has_mask: bool
    values: Mapping[str, Any]
    """of `STATUS_FIELDS`, and of those of the host's widgets that there are"""
    found: FoundLight | str | None = None
    """the light of the background, where that is the light; a sentence where it cannot be told"""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of a foreground that can be used."""
        info = self.foreground
        return None if info is None or info.fault else (info.width, info.height)

    def changed(self, values: Mapping[str, Any]) -> PanelState:
        """The same with other values."""
        return self._replace(values={**self.values, **values})


class Status(NamedTuple):
    """What pressing Generate will do, in parts of one sentence, and what speaks against it."""

    parts: tuple[str, ...]
    warnings: tuple[str, ...]
    light: LightSpec | None = None
    """the light that was found in the background, for the editor"""

    def html(self) -> str:
        """As one element; each text is an element of its own, for the host's localisation."""
        parts = " ".join(f"<span>{html.escape(part)}</span>" for part in self.parts)
        warnings = "".join(markup.warning(warning) for warning in self.warnings)
        light = "" if self.light is None else f' data-light="{html.escape(json.dumps(self.light.to_dict()))}"'
        return f'<div class="iclight-status" role="status"{light}><p>{parts}</p>{warnings}</div>'


def status_of(state: PanelState, tab: str, session: Session) -> Status:
    """The status of a panel in a tab. Settings that cannot be meant are all that it tells then."""
    values = state.values
    try:
        settings = Settings(**{name: values[name] for name in STATUS_FIELDS})
    except ICLightError as error:
        return Status((), (str(error),))
    ready, faults = session.outlook(settings)
    scale = values.get("hires_scale", 1.0) if values.get("hires", True) else 1.0
    hires = values.get("denoise") if tab != "img2img" and (scale > 1 or values.get("hires")) else None
    head = back_at = None
    if state.size and {"width", "height"} <= set(values) and not (state.foreground and state.foreground.of_tab):
        back_at = _back_at(settings, state.size, (values["width"], values["height"]))
    if state.size and state.foreground and state.foreground.standing and {"width", "height"} <= set(values):
        job = values["width"], values["height"]
        head = hints.head_height(state.foreground.standing, state.size, job, scale)
    return describe(settings, tab=tab, foreground=state.foreground, has_background=state.has_background,
                    has_light_map=state.has_light_map, has_mask=state.has_mask, weights_ready=ready, faults=faults,
                    cfg=values.get("cfg"), hires_denoise=hires, head=head, found=state.found,
                    back_at=back_at)


def describe(settings: Settings, *, tab: str, foreground: ForegroundInfo | None, has_background: bool,
             has_light_map: bool, has_mask: bool = False, weights_ready: bool = True, faults: Iterable[str] = (),
             cfg: float | None = None, hires_denoise: float | None = None, head: float | None = None,
             found: FoundLight | str | None = None, back_at: tuple[int, int] | None = None) -> Status:
    """The status of the panel.

    foreground: what is known of it, if there is one. has_...: whether the panel has that picture.
    faults: what else is known to stop the job.
    cfg, hires_denoise: the host's, where known; `hires_denoise` None also without a hires pass.
    head: pixels of a person's head in the finished picture, None where nothing looks like a standing person.
    found: see `PanelState.found`. back_at: width and height of results at the photo's own size, where they are known.
    """
    s = settings.replace(foreground=_THERE if foreground and not foreground.of_tab else None,
                         background=_THERE if has_background else None, mask=_THERE if has_mask else None,
                         light_map=_THERE if has_light_map else None)
    faults = [*faults, *([foreground.fault] if foreground and foreground.fault else []),
              *([found] if isinstance(found, str) else [])]
    start, without = "", set[str]()
    idle_sentences: list[str] = []
    try:
        start = start_of(s, tab)
        for told in idle(s, tab):
            without.update(told.names)
            idle_sentences.append(told.sentence)
    except ICLightError as error:
        faults.append(str(error))
    warnings = list(faults)
    parts = _foreground_parts(s, tab, foreground)
    if not parts and not (foreground and foreground.fault):
        warnings.append(texts.NEEDS_FOREGROUND)
    if parts:
        parts.append("·")
    if s.stage != "off" or not {"light", "light_map"} & without:
        parts += _light_parts(s, tab, start, found if isinstance(found, FoundLight) else None)
        if looks_for_light(s) and not has_background:
            warnings.append(texts.NEEDS_LIT_BACKGROUND)
    if s.mode == "fbc":
        if has_background:
            parts.append(texts.ON_BACKGROUND)
        elif is_lit(s) or s.stage != "off":
            parts.append(texts.ON_DRAWN_BACKGROUND)
        else:
            warnings.append(texts.NEEDS_BACKGROUND)
    said_already = s.mode == "fbc" and has_background
    if s.keep_background and "keep_background" not in without and not said_already:
        parts.append(texts.BACK_ON_PICTURE)
    if s.size == "original":
        parts += [texts.BACK_AT_OWN] if back_at is None else [texts.BACK_AT, f"{back_at[0]}×{back_at[1]}"]
    if not faults:  # nothing speaks against it
        parts += ["·", texts.WEIGHTS, s.mode, texts.READY if weights_ready else texts.WILL_DOWNLOAD]
    if s.mode != "fbc" and cfg is not None and cfg > MOST_FC_CFG:
        warnings.append(texts.HIGH_CFG)
    if hires_denoise is not None and hires_denoise < LEAST_HIRES_DENOISE:
        warnings.append(texts.LOW_HIRES_DENOISE)
    if head is not None and head < hints.LEAST_HEAD and not (s.preserve_detail and hires_denoise is not None):
        warnings.append(texts.SMALL_FACE)
    warnings += idle_sentences
    return Status(tuple(parts), tuple(warnings), found.spec if isinstance(found, FoundLight) else None)


def _back_at(settings: Settings, size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """What of a photo of `size` a frame shows, in the photo's pixels (width, height all)."""
    place = contain if settings.fit == "contain" else fit
    left, top, right, bottom = Frame(*frame).lie(size, place).seen(size, *frame)
    return right - left, bottom - top


def _foreground_parts(settings: Settings, tab: str, foreground: ForegroundInfo | None) -> list[str]:
    """Which picture is relit, and how it is cut out; nothing where none can be."""
    if foreground is None:
        return [texts.TAB_PICTURE] if tab == "img2img" else []
    if foreground.fault:
        return []
    parts = [texts.TAB_FOREGROUND if foreground.of_tab else texts.FOREGROUND,
             f"{foreground.width}×{foreground.height},"]
    if settings.matting == "none":
        return [*parts, texts.USED_WHOLE]
    if settings.matting == "auto" and foreground.transparent:
        return [*parts, texts.OWN_TRANSPARENCY]
    return [*parts, texts.CUT_OUT_BY, DEFAULT if settings.matting == "auto" else settings.matting]


def _light_parts(settings: Settings, tab: str, start: str, found: FoundLight | None) -> list[str]:
    """What lights it, and how freely. found: the light of the background, where it is wanted and there."""
    s = settings
    if s.stage != "off":
        return [str(len(STAGES[s.stage])), texts.STAGE_PICTURES]
    if not is_lit(s):
        return [] if s.mode == "fbc" else [texts.NO_LIGHT]
    if s.light_map is not None:
        name = texts.FROM_REFERENCE if s.light_map_blur else texts.FROM_MAP
    elif looks_for_light(s):
        name = texts.FROM_BACKGROUND
    else:
        name = texts.FROM_EDITOR if isinstance(s.light, LightSpec) else texts.PRESET_LABELS[s.light]
    seen: list[str] = []
    if found is not None and looks_for_light(s):
        seen = [texts.NO_CLEAR_SIDE] if found.angle is None else [
            f"({found.angle:.0f}°, {100 * found.clarity:.0f} %", texts.CLEAR]
    drawn = start.startswith("light") or start == "sketch"
    strength = [texts.AT_STRENGTH, f"{s.light_denoise:g}"] if tab != "img2img" and drawn else []
    return [texts.LIT_BY, name, *seen, *strength]
