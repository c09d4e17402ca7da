"""A photo under another light at once, at its own size and without a model: the sketch of `preview`, from settings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import imaging
from .effects import idle, looks_for_light
from .errors import LightError, SettingsError
from .fields import FROM_BACKGROUND
from .lightfrom import light_in
from .lights import LightSpec
from .preview import Convention, Shape, shape_from_normals, shape_of, sketch
from .settings import FIELDS, Settings
from .subject import TRANSPARENCY_UNUSED, Subject

USED = ("foreground", "background", "background_flip", "light", "matting",
        *(field.name for field in FIELDS if field.group == "matting"))
"""the settings that a preview is made by"""
NO_LIGHT = "there is no light to show. Choose one, such as left."
NO_NORMALS = "The convention is not used: there is no normal map."
UNSURE = ("The normal map does not tell whether green is up or down; up (opengl) was taken. If light from the top "
          "comes from the bottom, say directx.")


class Instant(NamedTuple):
    """A photo under another light."""

    picture: Image.Image
    """RGB; RGBA of a picture that is cut out already, without a background: transparent as it was"""
    light: str | LightSpec
    """that it is under: a preset's name or a spec; the one that was found, where it was looked for"""
    notes: tuple[str, ...]
    """what was found, what was given and changed nothing, what is not sure, in sentences"""


def instant(settings: Settings, subject: Subject, *, normals: object = None, convention: Convention = "auto",
            side: int | None = None) -> Instant:
    """The subject under the settings' light, before the background picture if there is one, else before its own.

    Of the settings `USED` count. normals: a normal map of the same photo in any picture form, at any size;
    convention: see `preview.shape_from_normals`. side: longer side in pixels at most, None: the photo's own size.
    Raises LightError without a light, SettingsError and ImageError for pictures that are missing or do not fit.
    """
    if settings.light == "none":
        raise LightError(NO_LIGHT)
    if settings.light == FROM_BACKGROUND and settings.background is None:
        raise SettingsError(f"the light is {FROM_BACKGROUND!r}, and there is no background picture. Add one, or choose "
                            "another light.")
    notes = [found.sentence for found in idle(settings) if "background" not in found.names]
    behind = imaging.load_plain(settings.background, "background")
    if behind is not None and settings.background_flip:
        behind = np.ascontiguousarray(behind[:, ::-1])
    light = settings.light
    if looks_for_light(settings):
        assert behind is not None, "asked for above"
        found = light_in(behind, subject, flipped=settings.background_flip)
        light, notes = found.spec, [*notes, found.note]
    width, height = _size(subject.size, side)
    rgb, color = (imaging.fit(picture, width, height) for picture in (subject.original, subject.color))
    alpha = imaging.fit_alpha(subject.alpha, width, height)
    shape = shape_of(color, alpha) if normals is None else _shape(normals, convention, color, alpha)
    if normals is None and convention != "auto":
        notes.append(NO_NORMALS)
    if subject.is_whole and subject.own_alpha is not None:
        notes.append(TRANSPARENCY_UNUSED)
    if not shape.sure:
        notes.append(UNSURE)
    if behind is not None:
        behind = imaging.fit(behind, width, height)
    elif subject.own_alpha is not None:  # it has no background of its own
        own = imaging.fit_alpha(subject.own_alpha, width, height)
        if not subject.is_whole:
            return Instant(_transparent(rgb, color, alpha, own, shape, light), light, tuple(notes))
        rgb = imaging.composite_on_grey(rgb, own)
    made = sketch(rgb, alpha, shape, light, behind, color)
    return Instant(Image.fromarray(made), light, tuple(notes))


def _transparent(rgb: NDArray[np.uint8], color: NDArray[np.uint8], alpha: NDArray[np.float32],
                 own: NDArray[np.float32], shape: Shape, light: str | LightSpec) -> Image.Image:
    """RGBA: a cut-out under a light. rgb: its colours; own: its transparency; alpha: what of it is the subject."""
    there = np.maximum(own, alpha)  # a subject that was grown shows beyond
    share = (alpha / np.maximum(there, np.float32(1e-6))).astype(np.float32)
    photo = np.where(own[..., None] > 0, rgb, color)  # what was hidden has no colour that could shine through
    made = sketch(photo, share, shape, light, None, color)
    return Image.fromarray(np.dstack([made, np.rint(there * 255.0).astype(np.uint8)]), "RGBA")


def _size(own: tuple[int, int], side: int | None) -> tuple[int, int]:
    scale = 1.0 if side is None else min(1.0, side / max(own))
    return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))


def _shape(source: object, convention: Convention, color: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Shape:
    rgb, there = imaging.split_alpha(imaging.load_image(source, "normal map"))
    if there is not None:  # what is transparent faces the camera, as what is black does
        rgb = np.where(there[..., None] > 0.5, rgb, 0).astype(np.uint8)
    return shape_from_normals(rgb, convention, rgb=color, alpha=alpha)
