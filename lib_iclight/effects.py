"""What settings amount to before any picture is read: where a pass starts from, and what of them can have no effect.

The job, the panel's status line, the infotext and the command line all ask here, so that none claims what does not
happen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import ImageError, SettingsError
from .fields import FROM_BACKGROUND
from .settings import FIELD, Settings

REFINEMENTS = ("mask_contrast", "mask_threshold", "mask_grow", "mask_feather", "mask_largest", "mask_solid",
               "mask_invert")
"""what changes a cut-out after it was made"""
_LIT_STARTS = ("light", "light+foreground", "sketch")
"""starts that are made of the light"""


@dataclass(frozen=True)
class Idle:
    """Settings that were given and change nothing, and the sentence that tells so."""

    names: tuple[str, ...]
    sentence: str


def is_lit(settings: Settings) -> bool:
    """Whether there is a light: a light map, a light that can be drawn as one, or a stage, which has its own."""
    return settings.light_map is not None or settings.light != "none" or settings.stage != "off"


def start_of(settings: Settings, tab: str = "txt2img") -> str:
    """What the first latent is made of: `auto` made plain. Raises SettingsError where the settings do not allow it.

    tab: "img2img" where the host starts from a picture of its own.
    """
    start = settings.start
    if settings.stage != "off" and settings.mode != "fbc" and start != "auto" and not _shows_light(settings, start):
        raise SettingsError(f"in mode {settings.mode} a light stage's pictures differ by the light they start from, "
                            f"and start {start!r} shows none of it. Set start to auto or light, or mode to fbc.")
    if start == "auto":
        if settings.mode != "fbc" and is_lit(settings):
            return "light"
        return "image" if tab == "img2img" else "noise"
    if start in _LIT_STARTS and not is_lit(settings):
        raise SettingsError(f"start is {start!r}, but there is no light. Choose a light, or another start.")
    if start == "sketch" and settings.light_map is not None:
        raise SettingsError("start is 'sketch', which is drawn from lamps, and a light map picture has none. "
                            "Take the light map away, or set start to light.")
    if start == "background" and settings.background is None and not (settings.mode == "fbc" and is_lit(settings)):
        raise SettingsError("start is 'background', but there is no background picture. Add one.")
    return start


def idle(settings: Settings, tab: str = "txt2img") -> list[Idle]:
    """What was given and has no effect beside the other settings; only values other than the defaults count as given.

    The sentences are constants, so that a page can have them in another language. Raises SettingsError as `start_of`.
    """
    start = start_of(settings, tab)
    found = []
    for names, speaks, sentence in _RULES:
        given = tuple(name for name in names if _is_given(settings, name))
        if given and speaks(settings, start, tab):
            found.append(Idle(given, sentence))
    return found


def _is_given(settings: Settings, name: str) -> bool:
    value, default = getattr(settings, name), FIELD[name].default
    # An array is not to be compared; of what has None for its default everything else was given.
    return value is not None if default is None else bool(value != default)


def looks_for_light(settings: Settings) -> bool:
    """Whether the light is to be found in the background picture."""
    return settings.light == FROM_BACKGROUND and settings.light_map is None and settings.stage == "off"


def check_background(settings: Settings) -> None:
    """Raise SettingsError or ImageError for a background picture that is asked for and is not there."""
    s = settings
    if s.background is not None:
        return
    if looks_for_light(s):
        raise SettingsError(f"the light is {FROM_BACKGROUND!r}, and there is no background picture. Add one, or "
                            "choose another light.")
    if s.harmonise:
        raise SettingsError("harmonise gives the subject the colours of a background picture, and there is none. "
                            "Add one, or set harmonise to 0.")
    if s.mode == "fbc" and not is_lit(s):
        raise ImageError("mode fbc places the foreground on a background, and there is none. "
                         "Add a background picture or choose a light, or use mode fc.")


def _draws_light(s: Settings, start: str) -> bool:
    """Whether a drawn light or a light map reaches the model: as the start, or as or over the background of fbc."""
    return _shows_light(s, start) or (s.mode == "fbc" and (s.background is None or s.stage != "off"))


def _shows_light(s: Settings, start: str) -> bool:
    """Whether a start is made of the light: a picture that is all subject, laid over it whole, hides it."""
    hidden = s.start_amount == 1.0 and s.matting == "none" and s.mask is None and s.fit == "cover"
    return start in ("light", "sketch") or (start == "light+foreground" and not hidden)


def _sees_background(s: Settings, start: str) -> bool:
    """Whether the background picture reaches the model, or its light does."""
    return s.mode == "fbc" or start == "background" or (looks_for_light(s) and _draws_light(s, start))


_RULES: tuple[tuple[tuple[str, ...], Callable[[Settings, str, str], bool], str], ...] = (
    (("light", "light_map", "light_map_blur"), lambda s, start, tab: s.stage != "off",
     "The light is not used: each picture of a light stage has a light of its own."),
    (("light",), lambda s, start, tab: s.light_map is not None and s.stage == "off",
     "The light is not used: the light map takes its place."),
    (("light", "light_map", "light_map_blur"),
     lambda s, start, tab: s.mode == "fbc" and s.background is not None and not _draws_light(s, start),
     "The light is not used: in mode fbc the background picture tells where the light comes from. "
     "Take the background away, or use mode fc."),
    (("light", "light_map", "light_map_blur"),
     lambda s, start, tab: s.mode != "fbc" and not _draws_light(s, start),
     "The light is not used: the start that was chosen is not made of it. Set start to auto or light."),
    (("light_map_blur",), lambda s, start, tab: s.light_map is None and s.stage == "off",
     "The light map's blur is not used: there is no light map picture."),
    (("light_denoise",), lambda s, start, tab: tab == "img2img",
     "Light denoise is not used: in img2img the tab's own denoising strength rules."),
    (("light_denoise",), lambda s, start, tab: tab != "img2img" and start == "noise",
     "Light denoise is not used: the picture starts from noise."),
    (("start_amount",), lambda s, start, tab: start != "light+foreground",
     "How much of the foreground is in the start is not used: only start light+foreground puts it there."),
    (("background", "background_flip"),
     lambda s, start, tab: s.background is not None and not _sees_background(s, start) and not s.harmonise,
     "The background picture is not used: mode fbc places the subject on it, start background begins from it, "
     "harmonise takes its colours, light from background its light."),
    (("background_flip",), lambda s, start, tab: s.background is None,
     "The background's flip is not used: there is no background picture."),
    (("background_flip",),
     lambda s, start, tab: s.background is not None and s.harmonise > 0 and not _sees_background(s, start),
     "The background's flip is not used: harmonise takes the picture's colours only, which a mirror leaves alone."),
    (("background_tint",), lambda s, start, tab: not s.keep_background,
     "The background's tint is not used: it falls on a kept background, and keep_background is off."),
    (("preserve_detail",), lambda s, start, tab: s.size == "original",
     "Preserve detail has nothing left to do: at the photo's size all detail is the photo's own."),
    (("detail_mode",), lambda s, start, tab: s.size == "original",
     "The detail's mode is not used: at the photo's size all detail is the photo's own."),
    (("detail_radius", "detail_mode"), lambda s, start, tab: not s.preserve_detail and s.size != "original",
     "The detail's radius and mode are not used: preserve_detail is 0."),
    (("mask_threshold",), lambda s, start, tab: not s.mask_contrast and not s.mask_largest,
     "The mask's threshold is not used: it is for mask_contrast and mask_largest."),
    (REFINEMENTS, lambda s, start, tab: s.matting == "none" and s.mask is None,
     "The changes to the cut-out are not used: matting is none, so the whole picture is the subject."),
    (("keep_background", "background_tint"),
     lambda s, start, tab: s.keep_background and s.matting == "none" and s.mask is None,
     "Keep the original background is not used: matting is none, so the whole picture is the subject."),
    (("matting",), lambda s, start, tab: s.mask is not None,
     "The cut-out that was chosen is not used: the mask takes its place."),
    (("fit",), lambda s, start, tab: tab == "img2img" and s.foreground is None,
     "Fit is not used: in img2img the tab's resize mode lays its picture into the frame."),
)
"""(settings, whether they have no effect given the settings, the start and the tab, the sentence)"""
SENTENCES = tuple(sentence for _, _, sentence in _RULES)
"""all that `idle` can say, for pages in other languages"""
