"""The one table of settings: defaults, refusals that name the field, round trips, and the schema made from it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight.errors import ICLightError, LightError, SettingsError
from lib_iclight.fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from lib_iclight.lights import PRESETS, Directional, LightSpec
from lib_iclight.settings import FIELD, FIELDS, PICTURES, Field, Settings, schema

# Version 1 of the API, written out: a change here breaks people's requests.
DEFAULTS: dict[str, Any] = {
    "enabled": False, "mode": "fc", "weights": "auto", "foreground": None, "background": None,
    "background_flip": False, "matting": "auto", "mask": None, "mask_contrast": 0.0, "mask_threshold": 0.5,
    "mask_grow": 0.0, "mask_feather": 0.0, "mask_largest": False, "mask_solid": False,
    "mask_invert": False,
    "light": "none", "light_map": None, "light_map_blur": 0.0, "light_denoise": 0.9, "start": "auto",
    "preserve_color": 0.0, "preserve_detail": 0.0, "detail_radius": 4.0, "detail_mode": "multiply",
    "keep_background": False, "background_tint": 0.0, "harmonise": 0.0, "start_amount": 1.0, "fit": "cover",
    "size": "frame", "stage": "off", "outputs": (),
}
OTHERS: dict[str, Any] = {
    "enabled": True, "mode": "fbc", "weights": "my file.safetensors", "background_flip": True,
    "matting": "u2net", "light": LightSpec("#303030", (Directional(45, "3200K", 0.5),)), "light_denoise": 0.5,
    "light_map_blur": 0.15,
    "start": "light+foreground", "fit": "contain", "size": "original", "stage": "8",
    "preserve_color": 1.0, "preserve_detail": 0.25, "detail_radius": 10.0,
    "detail_mode": "add", "background_tint": 0.4, "harmonise": 0.6, "start_amount": 0.7,
    "keep_background": True, "outputs": ("cutout", "raw"), "mask_contrast": 0.3, "mask_threshold": 0.2,
    "mask_grow": -3.5, "mask_feather": 2.0, "mask_largest": True, "mask_solid": True, "mask_invert": True,
}


def test_defaults() -> None:
    new = set(FIELD) - set(DEFAULTS)
    assert not new, "a setting has its default in DEFAULTS, and another value in OTHERS"
    assert {field.name: getattr(Settings(), field.name) for field in FIELDS} == DEFAULTS
    assert set(FIELD) == set(DEFAULTS) and len(FIELDS) == len(DEFAULTS)
    assert Settings.from_dict({}) == Settings()


def test_choices_are_those_of_the_api() -> None:
    assert FIELD["mode"].kind.choices == ("fc", "fcon", "fbc")
    assert FIELD["start"].kind.choices == (
        "auto", "noise", "light", "light+foreground", "sketch", "image", "background")
    assert FIELD["outputs"].kind.choices == ("cutout", "mask", "lightmap", "raw", "normals", "albedo")
    assert FIELD["stage"].kind.choices == ("off", "4", "8")
    assert FIELD["light"].kind.choices == (*PRESETS, "from background")


def test_every_field_tells_people_what_it_is() -> None:
    for field in FIELDS:
        assert field.label and field.help.endswith(".")
    keys = [field.infotext for field in FIELDS if field.infotext]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("IC-Light ") and not set(key) & set(":,\"") for key in keys)


def test_values_are_kept_and_come_back_from_json() -> None:
    settings = Settings(**OTHERS)
    for name, value in OTHERS.items():
        assert getattr(settings, name) == value
    assert Settings.from_dict(settings.to_dict()) == settings
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert Settings.from_dict(Settings().to_dict()) == Settings()
    assert "foreground" not in settings.to_dict()


def test_values_are_made_canonical() -> None:
    settings = Settings.from_dict({"light_denoise": 1, "outputs": ["raw", "cutout", "raw"], "foreground": "",
                                   "light": json.dumps(OTHERS["light"].to_dict())})
    assert settings.light_denoise == 1.0 and isinstance(settings.light_denoise, float)
    assert settings.outputs == ("cutout", "raw")
    assert settings.foreground is None
    assert settings.light == OTHERS["light"]


def test_pictures_are_kept_as_they_came() -> None:
    for picture in ("aGVsbG8=", "data:image/png;base64,aGVsbG8=", b"hello", np.zeros((2, 2)), Image.new("L", (2, 2))):
        assert Settings(foreground=picture).foreground is picture
        assert Settings(background=picture).background is picture
        assert Settings(mask=picture).mask is picture


def test_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().mode = "fbc"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings(True)  # type: ignore[misc]
    changed = Settings().replace(mode="fcon")
    assert changed.mode == "fcon" and Settings().mode == "fc"
    with pytest.raises(SettingsError, match="^mode "):
        Settings().replace(mode="sdxl")


@pytest.mark.parametrize("key, hint", [("moode", "Did you mean 'mode'"), ("preserve_colour", "'preserve_color'"),
                                       ("xyz", "Known are: enabled, mode"), ("Mode", "'mode'"), (3, "unknown")])
def test_unknown_keys_are_named_with_a_suggestion(key: str | int, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint) as caught:
        Settings.from_dict({"enabled": True, key: 1})
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("values", [None, [], [{}], "auto", 3, True])
def test_settings_must_be_one_object(values: Any) -> None:
    with pytest.raises(SettingsError, match="one JSON object"):
        Settings.from_dict(values)


WRONG: dict[type[Kind], list[Any]] = {
    Bool: [None, 0, 1, "true", "", [], {}, math.nan],
    Choice: [None, "", 0, True, [], {}, "FC", "fc ", "sdxl", "Auto"],
    Name: [None, "", "  ", 0, True, [], {}],
    Number: [None, "", "0.5", True, False, [], {}, math.nan, math.inf, -math.inf, -1e-9, -1, 1e9, 10**400],
    List: [None, "", "raw", 0, True, {}, ["nothing"], [None], ["raw", 3], [["raw"]], [{}]],
    Picture: [0, 1.5, True, [], {}, {"image": "x"}, object()],
    Light: [None, 0, True, [], "", "lft", {"light": 1}, "{", math.nan],
}


@pytest.mark.parametrize("name, value", [
    pytest.param(field.name, value, id=f"{field.name}-{type(value).__name__}-{i}")
    for field in FIELDS for i, value in enumerate(WRONG[type(field.kind)])
    if not (field.name == "mask_grow" and value in (-1e-9, -1))])
def test_wrong_values_are_refused_by_the_fields_name(name: str, value: Any) -> None:
    with pytest.raises(ICLightError, match=name) as caught:
        Settings.from_dict({name: value})
    assert isinstance(caught.value, LightError if name == "light" else SettingsError)
    assert len(str(caught.value)) < 300


def with_one(name: str, value: Any) -> Settings:
    values: dict[str, Any] = {name: value}
    return Settings(**values)


def limits(name: str) -> tuple[float, float]:
    kind = FIELD[name].kind
    assert isinstance(kind, Number)
    return kind.minimum, kind.maximum


@pytest.mark.parametrize("name", [field.name for field in FIELDS if isinstance(field.kind, Number)])
def test_ranges_are_inclusive(name: str) -> None:
    minimum, maximum = limits(name)
    for value in (minimum, maximum):
        assert getattr(with_one(name, value), name) == value
    for value in (math.nextafter(minimum, -math.inf), math.nextafter(maximum, math.inf)):
        with pytest.raises(SettingsError, match=f"^{name} "):
            with_one(name, value)


def test_ranges_are_those_of_the_api() -> None:
    assert limits("light_denoise") == (0.05, 1.0)
    for name in ("preserve_color", "preserve_detail"):
        assert limits(name) == (0.0, 1.0)
    assert limits("detail_radius")[0] > 0
    for name in ("mask_contrast", "mask_threshold"):
        assert limits(name) == (0.0, 1.0)
    assert limits("mask_grow") == (-64.0, 64.0)
    assert limits("mask_feather") == (0.0, 64.0)


@pytest.mark.parametrize("name", ["weights", "matting"])
@pytest.mark.parametrize("path", ["a/b", "/etc/passwd", "..\\x.safetensors", "..", ".", "../x", "C:x.safetensors",
                                  "C:\\x", "x\0.safetensors"])
def test_names_are_never_paths(name: str, path: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be a plain file or model name"):
        with_one(name, path)


@pytest.mark.parametrize("name", ["weights", "matting"])
def test_ordinary_names_are_taken(name: str) -> None:
    for plain in ("auto", "iclight_sd15_fc.safetensors", "my copy (2).v1.safetensors", "..hidden", "ä 光"):
        assert getattr(with_one(name, plain), name) == plain


def test_schema_lists_each_field_once_with_its_default() -> None:
    text = json.dumps(schema(), allow_nan=False)
    keys: list[str] = []

    def collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys.extend(key for key, _ in pairs)
        return dict(pairs)

    parsed = json.loads(text, object_pairs_hook=collect)
    assert parsed == schema()
    assert parsed["additionalProperties"] is False and parsed["type"] == "object"
    assert list(parsed["properties"]) == [field.name for field in FIELDS]
    for name in DEFAULTS:
        assert keys.count(name) == 1
        default = parsed["properties"][name]["default"]
        assert default == (list(DEFAULTS[name]) if isinstance(DEFAULTS[name], tuple) else DEFAULTS[name])
    assert Settings.from_dict({name: entry["default"] for name, entry in parsed["properties"].items()}) == Settings()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_values_come_back_from_text_and_json(field: Field) -> None:
    """What infotext and JSON hold is read back to the same value; pictures have neither."""
    if field.name in PICTURES:
        assert not field.infotext and field.name not in Settings().to_dict()
        return
    assert field.name in OTHERS, f"{field.name} has another value than its default in OTHERS"
    for value in (field.default, OTHERS[field.name]):
        value = field.kind.check(field.name, value)
        assert field.kind.check(field.name, field.kind.to_json(value)) == value
        if field.infotext:
            assert field.kind.check(field.name, field.kind.from_text(str(field.kind.to_text(value)))) == value


def test_lists_are_read_from_infotexts_and_command_lines() -> None:
    kind = List(("a", "b", "c"))
    for text in ("a+c", "a,c", " c , a,", "c+a+"):
        assert kind.check("outputs", kind.from_text(text)) == ("a", "c")
    assert kind.from_text("") == []


def test_ranges_are_offered_for_numbers_alone() -> None:
    assert {field.kind.text_type for field in FIELDS if isinstance(field.kind, Number)} == {float}
    assert {field.kind.text_type for field in FIELDS if not isinstance(field.kind, Number)} == {str}
