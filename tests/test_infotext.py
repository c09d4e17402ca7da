"""Infotext: what is written is read back, also by the rules of WebUIs."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_iclight import infotext
from lib_iclight.generation import Generation
from lib_iclight.lights import LightSpec, Point
from lib_iclight.settings import Settings, from_infotext

GENERATION = Generation(prompt="a lamp, old\nbest quality", negative_prompt="fog: thick", width=256, height=320,
                        steps=7, cfg=3.5, seed=5, sampler="Euler a", hires_scale=1.5, hires_denoise=0.4)
SETTINGS = Settings(enabled=True, mode="fbc", light=LightSpec("#101010", (Point(0.2, 0.3, color="3200K"),)),
                    light_denoise=0.7, outputs=("mask", "raw"), keep_background=True)


def test_what_is_written_is_read_back() -> None:
    params = infotext.read(infotext.write(SETTINGS.to_infotext(), GENERATION, 5, "a: model", {"soft, warm": 0.5}))
    assert Settings.from_dict(from_infotext(params)) == SETTINGS
    assert Generation(**infotext.generation_values(params)) == GENERATION
    assert (params["Model"], params["LoRAs"]) == ("a: model", "soft, warm 0.5")


def test_without_a_hires_pass_none_is_read() -> None:
    params = infotext.read(infotext.write(SETTINGS.to_infotext(), Generation(), 5, "m"))
    assert Generation(**infotext.generation_values(params)) == Generation(seed=5)


def test_a_webuis_scheduler_stands_apart() -> None:
    params = infotext.read("cat\nSteps: 20, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 7, Size: 64x128")
    assert infotext.generation_values(params)["sampler"] == "DPM++ 2M SDE Karras"
    assert params["Negative prompt"] == ""


@pytest.mark.parametrize("text", ["", "   ", "a cat", "one\ntwo, three: four"])
def test_other_text_is_none(text: str) -> None:
    assert infotext.read(text) == {}


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError):
        infotext.generation_values({"Steps": "many"})


# What people write into prompts and names, and what others write into pictures

AWKWARD = st.text(st.sampled_from(' ",:;\\\n\r\t-/{}[]Aa0é\u2028\ud800') | st.characters(codec="utf-8"), max_size=30)
PIECES = st.sampled_from(["Steps: 7", "Negative prompt:", "Negative prompt: a", ", ", "\n", '"', "\\", "Size: 64x64",
                          "b"])
PROMPTS = AWKWARD | st.lists(PIECES | AWKWARD, max_size=6).map("".join)
CAMPAIGN = settings(max_examples=250, derandomize=True, deadline=None, database=None)


@CAMPAIGN
@given(prompt=PROMPTS, negative=PROMPTS, name=AWKWARD)
def test_whatever_is_written_is_read_back(prompt: str, negative: str, name: str) -> None:
    made = Generation(prompt=prompt, negative_prompt=negative, seed=5)
    text = infotext.write(SETTINGS.to_infotext(), made, 5, name, {name or "a": 0.5})
    text.encode("utf-8")  # as a picture file must hold it
    params = infotext.read(text)
    assert Generation(**infotext.generation_values(params)) == made
    assert (params["Model"], params["LoRAs"]) == (name, f"{name or 'a'} 0.5")
    assert Settings.from_dict(from_infotext(params)) == SETTINGS


@pytest.mark.parametrize("name", ['"', '""', '"a', 'a"', " a ", "", "\\", '\\"', "a,b", "a: b, Seed: 9", "\u3000a"])
def test_awkward_names(name: str) -> None:
    params = infotext.read(infotext.write(SETTINGS.to_infotext(), GENERATION, 5, name))
    assert (params["Model"], params["Seed"], params["Steps"]) == (name, "5", "7")


def as_webuis_read(text: str) -> dict[str, str]:
    """The rules of A1111 1.10's and Forge's parse_generation_parameters, sizes left whole, written anew from their
    description: an expression tried at every letter, and lines one by one."""
    pair = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    *lines, last = text.strip().split("\n")
    pairs = pair.findall(last)
    if len(pairs) < 3:
        return {}
    found: dict[str, str] = {}
    for name, value in pairs:
        if not value:
            continue
        if value[0] == value[-1] == '"':
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        found[name] = value
    prompts, current = {"Prompt": "", "Negative prompt": ""}, "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            current, line = "Negative prompt", line[16:].strip()
        prompts[current] += ("\n" if prompts[current] else "") + line
    return found | prompts


FOREIGN = st.lists(PIECES | AWKWARD | st.sampled_from([
    "Steps: 20, Sampler: Euler, CFG scale: 7", 'Lora hashes: "a: 1, b: 2"', "key:", "Key: ,", 'Key: "x" y,',
    'Key: "\\\\",', "a/b-c d: 1", ": :", "é x: 2", "\tKey\t: 3"]), max_size=12).map("".join)


@CAMPAIGN
@given(text=FOREIGN)
def test_others_text_is_read_as_webuis_read_it(text: str) -> None:
    expected = as_webuis_read(text)
    assert infotext.read(text) == (expected if "Steps" in expected else {})


def test_a_pair_named_like_a_prompt_is_not_the_prompt() -> None:
    """As in WebUIs, whose prompts are the lines before."""
    params = infotext.read("a cat\nNegative prompt: fog\nSteps: 7, Prompt: a dog, Negative prompt: rain, Seed: 5")
    assert (params["Prompt"], params["Negative prompt"], params["Seed"]) == ("a cat", "fog", "5")


@pytest.mark.parametrize("unit", ["word ", "word: ", 'w: "', 'w: "\\\\", ', "a: b, ", "\\", '"', ",", "a -/", " ",
                                  "ab:"])
def test_anything_is_read_in_one_pass(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: letters that the expressions are shown are a small multiple of the text's."""
    whole = unit * (100_000 // len(unit))
    looked = 0

    class Counting:
        def __init__(self, pattern: re.Pattern[str]) -> None:
            self.pattern = pattern

        def __getattr__(self, method: str) -> object:
            def look(text: str, at: int = 0, end: int = len(unit) * 10**9) -> re.Match[str] | None:
                nonlocal looked
                found: re.Match[str] | None = getattr(self.pattern, method)(text, at, end)
                looked += (found.end() if found else min(end, len(text))) - at
                assert looked < 8 * len(whole)  # here, for the rest would take minutes
                return found
            return look

    for name in ("_RUN", "_START", "_BLANK"):
        monkeypatch.setattr(infotext, name, Counting(getattr(infotext, name)))
    infotext.read("Steps: 20, a b: 1, c d: 2, " + whole)
    infotext.read(whole + "\nSteps: 20, a b: 1, c d: 2")
    assert looked
