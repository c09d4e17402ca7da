"""What a relight is asked to do: one frozen object, described by one ordered table of fields.

The panel, the API, the command line and the infotext are all made from `FIELDS`; nothing else lists the settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from .errors import SettingsError, hint, kind_name, shown
from .fields import FROM_BACKGROUND, Bool, Choice, Kind, Light, List, Name, Number, Picture
from .lights import PRESETS, LightSpec

VERSION = 1
MODES = ("fc", "fcon", "fbc")
STARTS = ("auto", "noise", "light", "light+foreground", "sketch", "image", "background")
FITS = ("cover", "contain")
SIZES = ("frame", "original")
DETAIL_MODES = ("multiply", "add")
OUTPUTS = ("cutout", "mask", "lightmap", "raw", "normals", "albedo")
STAGE_OUTPUTS = ("normals", "albedo")
"""those that are made of a light stage"""
_SIDES = ("left", "right", "bottom", "top")
STAGES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "off": (), "4": (*_SIDES, "ambient"),
    "8": (*_SIDES, "top-left", "top-right", "bottom-left", "bottom-right", "ambient")})
"""the single lights of a light stage, in its pictures' order: the sides, the corners, and light from everywhere"""


class Recommended(NamedTuple):
    """The reference demo's generation choices for a mode; `denoise` is the hires pass's strength."""

    steps: int
    cfg: float
    width: int = 512
    height: int = 640
    sampler: str = "DPM++ 2M SDE"
    scheduler: str = "Karras"
    denoise: float = 0.5


RECOMMENDED: Mapping[str, Recommended] = MappingProxyType(
    {"fc": Recommended(25, 2.0), "fcon": Recommended(25, 2.0), "fbc": Recommended(20, 7.0)})


@dataclass(frozen=True)
class Field:
    """One setting, as people and programs meet it.

    `infotext` is the key under which the value is written into pictures; empty for what infotext cannot hold.
    """

    name: str
    kind: Kind
    default: Any
    label: str
    help: str
    group: str = "main"
    infotext: str = ""


def _setting(kind: Kind, default: Any, label: str, help: str, **rest: Any) -> Any:
    return dataclasses.field(default=default, metadata={
        "kind": kind, "default": default, "label": label, "help": help, **rest})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every choice of one relight. Made by `Settings.from_dict`, or directly; both validate.

    Pictures are kept as they came (see `imaging.load_image`); nothing is read or decoded here.
    Raises SettingsError or LightError for values that cannot be meant.
    """

    enabled: bool = _setting(Bool(), False, "Enable", "Relight this job's pictures.")
    mode: str = _setting(
        Choice(MODES), "fc", "Mode",
        "fc: the foreground in a new scene from the prompt. fcon: the same, trained with offset noise (deeper darks). "
        "fbc: the foreground placed on a background picture.",
        infotext="IC-Light mode")
    foreground: Any = _setting(
        Picture(), None, "Foreground", "The subject to relight. In img2img the img2img picture when empty.")
    background: Any = _setting(
        Picture(), None, "Background",
        "The picture to place the subject on (mode fbc), to start from, or to take the light from.")
    background_flip: bool = _setting(
        Bool(), False, "Flip background", "Mirror the background picture left to right.",
        infotext="IC-Light background flip")
    light: str | LightSpec = _setting(
        Light((*PRESETS, FROM_BACKGROUND)), "none", "Light", "Where the light comes from: a preset, a light spec as "
        "JSON, or from background: the light that the background picture shows.",
        infotext="IC-Light light")
    light_map: Any = _setting(
        Picture(), None, "Light map", "A picture of the light, used in the light's place: bright where light falls.")
    light_map_blur: float = _setting(
        Number(maximum=0.5), 0.0, "Light map blur",
        "0: the light map as it is. Above: only its broad light, as one takes it from a reference photo. "
        "The share of the shorter side over which it is smoothed.",
        infotext="IC-Light light map blur")
    light_denoise: float = _setting(
        Number(minimum=0.05), 0.9, "Light denoise",
        "How freely the picture leaves the light map: lower keeps more of it. In img2img the tab's own "
        "denoising strength rules.",
        infotext="IC-Light light denoise")
    start: str = _setting(
        Choice(STARTS), "auto", "Start from",
        "What the first latent is made of. auto: the light map when there is a light in fc and fcon, else noise "
        "in txt2img and the picture in img2img. sketch: the subject under the light as far as it can be worked out, "
        "over the light map.",
        group="advanced", infotext="IC-Light start")
    start_amount: float = _setting(
        Number(), 1.0, "Foreground in the start",
        "How much of the foreground start light+foreground puts over the light map.",
        group="advanced", infotext="IC-Light start amount")
    fit: str = _setting(
        Choice(FITS), "cover", "Fit",
        "How the foreground lies in the frame. cover: it fills the frame, and what stands out is cut off. contain: all "
        "of it is in, and the result is cut back to the picture's own shape.",
        group="advanced", infotext="IC-Light fit")
    size: str = _setting(
        Choice(SIZES), "frame", "Result size",
        "frame: as generated. original: as the photo: its own pixels in the new light, as many as it has.",
        infotext="IC-Light size")
    stage: str = _setting(
        Choice(tuple(STAGES)), "off", "Light stage",
        "One picture for each single light, to mix any light of afterwards. 4: the four sides and ambient. 8: the "
        "corners too. Mixtures are best in mode fbc.",
        group="advanced", infotext="IC-Light stage")
    matting: str = _setting(
        Name(), "auto", "Cut-out",
        "auto: the picture's own transparency, else a cut-out by the default model. none: use the picture whole. "
        "Or a model's name.",
        infotext="IC-Light cut-out")
    mask: Any = _setting(
        Picture(), None, "Mask",
        "Your own cut-out, whatever else is chosen: white is the subject. A transparent picture counts by its alpha.",
        group="matting")
    mask_contrast: float = _setting(
        Number(), 0.0, "Edge contrast", "0: the edge as it is. 1: hard at the threshold.",
        group="matting", infotext="IC-Light mask contrast")
    mask_threshold: float = _setting(
        Number(), 0.5, "Threshold", "What counts as subject for the edge contrast and the largest object.",
        group="matting", infotext="IC-Light mask threshold")
    mask_grow: float = _setting(
        Number(minimum=-64.0, maximum=64.0, step=0.5), 0.0, "Grow or shrink",
        "Move the edge outwards, or inwards below 0; pixels of a 512 pixel picture.",
        group="matting", infotext="IC-Light mask grow")
    mask_feather: float = _setting(
        Number(maximum=64.0, step=0.5), 0.0, "Feather",
        "Soften the edge to either side; pixels of a 512 pixel picture.",
        group="matting", infotext="IC-Light mask feather")
    mask_largest: bool = _setting(
        Bool(), False, "Largest object only", "Keep the largest connected object, drop the rest.",
        group="matting", infotext="IC-Light mask largest")
    mask_solid: bool = _setting(
        Bool(), False, "Solid inside", "What is half transparent inside the subject becomes solid; edges and hair stay "
        "soft.",
        group="matting", infotext="IC-Light mask solid")
    mask_invert: bool = _setting(
        Bool(), False, "Invert", "Subject and surroundings change places, before all else.",
        group="matting", infotext="IC-Light mask invert")
    preserve_color: float = _setting(
        Number(), 0.0, "Preserve colour",
        "Give the subject its own colours back, keeping the new light.",
        group="preserve", infotext="IC-Light preserve color")
    preserve_detail: float = _setting(
        Number(), 0.0, "Preserve detail",
        "Give the subject its own fine detail back: print, texture, hair.",
        group="preserve", infotext="IC-Light preserve detail")
    detail_radius: float = _setting(
        Number(minimum=0.1, maximum=64.0, step=0.1), 4.0, "Detail radius",
        "What counts as detail, in pixels of a 512 pixel picture.",
        group="preserve", infotext="IC-Light detail radius")
    detail_mode: str = _setting(
        Choice(DETAIL_MODES), "multiply", "Detail mode",
        "multiply: detail follows the new light. add: it stays as strong in shadows as it was.",
        group="preserve", infotext="IC-Light detail mode")
    keep_background: bool = _setting(
        Bool(), False, "Keep the original background",
        "Put the relit subject back on its own picture, in mode fbc on the background picture.",
        group="preserve", infotext="IC-Light keep background")
    background_tint: float = _setting(
        Number(), 0.0, "Tint the kept background", "How much of the subject's new light falls on the kept background.",
        group="preserve", infotext="IC-Light background tint")
    harmonise: float = _setting(
        Number(), 0.0, "Harmonise", "Give the subject the background picture's colours before it is relit: "
        "0.25 looks like its light, 1 like its paint.",
        group="preserve", infotext="IC-Light harmonise")
    weights: str = _setting(
        Name(), "auto", "Weights", "auto: the official file for the mode, downloaded when missing. Or a file name "
        "in the weights folders.",
        group="advanced", infotext="IC-Light weights")
    outputs: tuple[str, ...] = _setting(
        List(OUTPUTS), (), "Also return", "Further pictures to return beside the result.",
        group="advanced", infotext="IC-Light outputs")

    def __post_init__(self) -> None:
        for field in FIELDS:
            object.__setattr__(self, field.name, field.kind.check(field.name, getattr(self, field.name)))

    @classmethod
    def from_dict(cls, values: Any) -> Settings:
        """Settings from a JSON object; missing keys take their defaults, unknown ones are refused by name."""
        if not isinstance(values, dict):
            raise SettingsError(f"the settings must be one JSON object, not {kind_name(values)}. "
                                "Send {\"enabled\": true, ...}.")
        for key in values:
            if key not in FIELD:
                raise SettingsError(f"unknown setting {shown(key)}. {hint(key, FIELD)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, pictures left out (they are not ours to copy around)."""
        return {f.name: f.kind.to_json(getattr(self, f.name)) for f in FIELDS if f.name not in PICTURES}

    def to_infotext(self) -> dict[str, str | float | bool]:
        """What is written into pictures: the mode always (it marks a relit picture), the rest where not the default."""
        texts: dict[str, str | float | bool] = {}
        for f in FIELDS:
            value = getattr(self, f.name)
            if f.infotext and (value != f.default or f.name == "mode"):
                texts[f.infotext] = f.kind.to_text(value)
        return texts

    def replace(self, **changes: Any) -> Settings:
        """A copy with some values changed, validated again."""
        return dataclasses.replace(self, **changes)


def from_infotext(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a picture's infotext stands for, for `Settings.from_dict`; pictures cannot be among them.

    `params` are the infotext's keys and values, as text or typed. Fields that it does not name have their defaults.
    {"enabled": False} for a picture that was not relit. Raises ValueError for a number that is none.
    """
    if FIELD["mode"].infotext not in params:
        return {"enabled": False}
    values: dict[str, Any] = {"enabled": True}
    for f in FIELDS:
        if not f.infotext:
            continue
        value = params.get(f.infotext)
        if value is None:
            value = f.kind.to_json(f.default)
        values[f.name] = f.kind.from_text(value) if isinstance(value, str) else value
    return values


def schema() -> dict[str, Any]:
    """The settings as a JSON Schema object (draft 2020-12): what the API's one argument may be."""
    properties = {f.name: {"title": f.label, "description": f.help, "default": f.kind.to_json(f.default),
                           **f.kind.schema()} for f in FIELDS}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "IC-Light settings",
            "version": VERSION, "type": "object", "additionalProperties": False, "properties": properties}


FIELDS: tuple[Field, ...] = tuple(Field(name=f.name, **f.metadata) for f in dataclasses.fields(Settings))
FIELD: dict[str, Field] = {f.name: f for f in FIELDS}
PICTURES: tuple[str, ...] = tuple(f.name for f in FIELDS if isinstance(f.kind, Picture))
"""the names of the fields that hold pictures"""
