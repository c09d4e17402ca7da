"""Settings, lights and infotexts as programs, pictures and people send them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lib_iclight import infotext
from lib_iclight.generation import Generation
from lib_iclight.lights import PRESETS, light_map, parse_light
from lib_iclight.settings import FIELDS, Settings, from_infotext

from .campaign import cases, holds

TEXT = st.text(max_size=20) | st.text(st.characters(), max_size=8) | st.just("x" * 10**5) | st.just("\ud800")
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 1, 10**400, -0.0, 1e308, 0.5, 45, 2**63])
JSON = st.recursive(st.none() | st.booleans() | NUMBERS | TEXT, lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12)
COLORS = (st.from_regex(r"#[0-9a-fA-F]{3}([0-9a-fA-F]{3})?", fullmatch=True) | TEXT
          | st.sampled_from(["3200K", "1667k", "0K"]))
LIGHT = st.fixed_dictionaries({"kind": st.sampled_from(["point", "directional"]) | JSON}, optional={
    "x": NUMBERS, "y": NUMBERS, "radius": NUMBERS, "angle": NUMBERS, "color": COLORS, "intensity": NUMBERS, "z": JSON})
SOUND = st.builds(lambda x, y, r, c, i: {"kind": "point", "x": x, "y": y, "radius": r, "color": c, "intensity": i},
                  st.floats(-1, 2), st.floats(-1, 2), st.floats(1e-300, 4), st.sampled_from(["#fff", "25000K"]),
                  st.floats(0, 10))
SPECS = st.fixed_dictionaries({}, optional={
    "ambient": COLORS, "lights": st.lists(SOUND | LIGHT | JSON, max_size=40) | JSON, "other": JSON})
LIGHTS: st.SearchStrategy[object] = (st.sampled_from([*PRESETS, "lft"]) | SPECS | SPECS.map(json.dumps) | JSON
                                     | st.just({"lights": [{}] * 300_000}))
VALUES = {field.name: JSON | NUMBERS | st.just(field.default) for field in FIELDS} | {"light": LIGHTS}
SETTINGS = st.fixed_dictionaries({}, optional=VALUES) | JSON | st.dictionaries(TEXT, JSON, max_size=3)


@cases(400)
@given(values=SETTINGS)
def test_settings(values: Any) -> None:
    made = holds(lambda: Settings.from_dict(values))
    if isinstance(made, Settings):
        json.dumps(made.to_dict())
        text = infotext.write(made.to_infotext(), Generation(), 1, "m")
        text.encode("utf-8")
        again = Settings.from_dict(from_infotext(infotext.read(text)))
        assert again.to_infotext() == made.to_infotext()


@cases(300)
@given(value=LIGHTS, width=st.integers(1, 40), height=st.integers(1, 40), form=st.sampled_from(["fc", "fbc"]))
def test_lights(value: Any, width: int, height: int, form: Any) -> None:
    made = holds(lambda: light_map(parse_light(value), width, height, form))
    if made is not None and not isinstance(made, Exception):
        assert made.shape == (height, width, 3)


KEYS = st.sampled_from([field.infotext for field in FIELDS if field.infotext] + ["Steps", "Seed", "Size", "CFG scale"])
PAIRS = st.lists(st.tuples(KEYS | TEXT, TEXT | NUMBERS.map(repr) | SPECS.map(json.dumps)), max_size=12)


@cases(300)
@given(prompt=TEXT, pairs=PAIRS, raw=st.booleans())
def test_infotexts(prompt: str, pairs: list[tuple[str, str]], raw: bool) -> None:
    def take() -> None:
        line = ", ".join(f"{key}: {value if raw else json.dumps(value)}" for key, value in pairs)
        params = infotext.read(f"{prompt}\nSteps: 20, IC-Light mode: fc, {line}")
        Settings.from_dict(from_infotext(params))
        Generation(**infotext.generation_values(params))

    holds(take, ValueError)
