"""The panel's helpers: sizes, recommendations, and what a person wants."""

from __future__ import annotations

import pytest

from lib_iclight.generation import comfortable_size, reference_size
from lib_iclight.panel import helpers, texts
from lib_iclight.settings import STAGES


@pytest.mark.parametrize(("picture", "size"), [
    ((512, 512), (512, 512)), ((300, 300), (512, 512)), ((4000, 3000), (768, 576)), ((3000, 4000), (576, 768)),
    ((600, 400), (768, 512)), ((1920, 1080), (1024, 576))])
def test_comfortable_sizes(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert comfortable_size(*picture) == size


def test_a_smaller_model_has_smaller_sizes() -> None:
    assert comfortable_size(1000, 1000, native=128) == (128, 128)
    assert reference_size("fc", native=128) == (128, 128)


@pytest.mark.parametrize("aspect", [0.4, 0.5, 0.62, 0.8, 1, 1.1, 1.3, 1.78, 2.2])
def test_comfortable_sizes_keep_the_aspect(aspect: float) -> None:
    width, height = comfortable_size(round(1000 * aspect), 1000)
    assert width % 64 == height % 64 == 0
    assert width / height == pytest.approx(aspect, rel=0.05)
    assert 0.9 * 512**2 <= width * height <= 1.1 * 768**2


def test_wants_are_read_back_from_the_settings() -> None:
    for want in helpers.WANTS:
        for stage in STAGES:
            made = helpers.settings_for(want, "fc", 0.0, 0.0, stage)
            assert helpers.want_of(made["mode"], made["keep_background"], made["stage"]) == want
    assert helpers.settings_for(texts.NEW_BACKGROUND, "fcon", 0, 0, "off")["mode"] == "fcon"


@pytest.mark.parametrize(("before", "after"), [("off", "8"), ("4", "4"), ("8", "8")])
def test_a_light_stage_has_all_lights_but_where_fewer_were_chosen(before: str, after: str) -> None:
    made = helpers.settings_for(texts.LIGHT_STAGE, "fc", 0, 0, before)
    assert (made["mode"], made["stage"], made["keep_background"]) == ("fbc", after, False)
    assert helpers.settings_for(texts.NEW_BACKGROUND, "fbc", 0, 0, before)["stage"] == "off"


def test_keeping_the_scene_raises_the_sliders_and_leaving_it_lowers_them_again() -> None:
    kept = helpers.settings_for(texts.SAME_SCENE, "fc", 0, 0, "off")
    assert (kept["preserve_color"], kept["preserve_detail"]) == (0.5, 0.5)
    left = helpers.settings_for(texts.NEW_BACKGROUND, "fc", 0.5, 0.5, "off")
    assert (left["preserve_color"], left["preserve_detail"]) == (0, 0)
    for want in helpers.WANTS:  # what a person chose stays
        chosen = helpers.settings_for(want, "fc", 0.3, 0.0, "off")
        assert (chosen["preserve_color"], chosen["preserve_detail"]) == (0.3, 0.0)


def test_recommended_values_are_those_of_the_reference() -> None:
    everything = ("width", "height", "steps", "cfg", "sampler", "scheduler", "denoise")
    assert helpers.recommended("fc", "txt2img", None, everything) == {
        "width": 512, "height": 640, "steps": 25, "cfg": 2.0, "sampler": "DPM++ 2M SDE", "scheduler": "Karras",
        "denoise": 0.5}
    assert helpers.recommended("fbc", "img2img", (3000, 4000), everything) == {
        "width": 576, "height": 768, "steps": 20, "cfg": 7.0, "sampler": "DPM++ 2M SDE", "scheduler": "Karras",
        "denoise": 0.9}
    assert helpers.recommended("fc", "txt2img", None, ("sampler",)) == {"sampler": "DPM++ 2M SDE Karras"}
    assert helpers.recommended("fc", "txt2img", None, ("steps", "cfg", "sampler"), own={"sampler": "DDIM", "steps": 4}
                               ) == {"steps": 4, "cfg": 2.0, "sampler": "DDIM"}


def test_changes_name_only_what_changes() -> None:
    assert helpers.changes({"cfg": 7, "steps": 25}, {"cfg": 2.0, "steps": 25}) == "CFG scale: 7 → 2"
    assert helpers.changes({"cfg": 2}, {"cfg": 2.0}) == ""
