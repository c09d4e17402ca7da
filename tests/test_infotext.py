"""Infotext: what is written is read back, also by the rules of WebUIs."""

from __future__ import annotations

import pytest

from lib_iclight import infotext
from lib_iclight.generation import Generation
from lib_iclight.lights import LightSpec, Point
from lib_iclight.settings import Settings, from_infotext

GENERATION = Generation(prompt="a lamp, old\nbest quality", negative_prompt="fog: thick", width=256, height=320,
                        steps=7, cfg=3.5, seed=5, sampler="Euler a", hires_scale=1.5, hires_denoise=0.4)
SETTINGS = Settings(enabled=True, mode="fbc", light=LightSpec("#101010", (Point(0.2, 0.3, color="3200K"),)),
                    light_denoise=0.7, outputs=("mask", "raw"), keep_background=True)


def test_what_is_written_is_read_back() -> None:
    params = infotext.read(infotext.write(SETTINGS, GENERATION, 5, "a: model", {"soft, warm": 0.5}))
    assert Settings.from_dict(from_infotext(params)) == SETTINGS
    assert Generation(**infotext.generation_values(params)) == GENERATION
    assert (params["Model"], params["LoRAs"]) == ("a: model", "soft, warm 0.5")


def test_without_a_hires_pass_none_is_read() -> None:
    params = infotext.read(infotext.write(SETTINGS, Generation(), 5, "m"))
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
