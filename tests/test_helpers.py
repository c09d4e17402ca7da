"""The panel's helpers: sizes, recommendations, prompts, what a person wants, and what the status line says."""

from __future__ import annotations

import pytest

from lib_iclight.generation import comfortable_size, reference_size
from lib_iclight.lights import LightSpec, Point
from lib_iclight.panel import helpers, texts
from lib_iclight.panel.helpers import Seen
from lib_iclight.settings import Settings


@pytest.mark.parametrize(("picture", "size"), [
    ((512, 512), (512, 512)), ((300, 300), (512, 512)), ((4000, 3000), (768, 576)), ((3000, 4000), (576, 768)),
    ((600, 400), (768, 512)), ((1920, 1080), (1024, 576))])
def test_comfortable_sizes(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert comfortable_size(*picture) == size


def test_a_smaller_model_has_smaller_sizes() -> None:
    assert comfortable_size(1000, 1000, native=128) == (192, 192)
    assert reference_size("fc", native=128) == (128, 128)


@pytest.mark.parametrize("aspect", [0.4, 0.5, 0.62, 0.8, 1, 1.1, 1.3, 1.78, 2.2])
def test_comfortable_sizes_keep_the_aspect(aspect: float) -> None:
    width, height = comfortable_size(round(1000 * aspect), 1000)
    assert width % 64 == height % 64 == 0
    assert width / height == pytest.approx(aspect, rel=0.05)
    assert 0.9 * 512**2 <= width * height <= 1.1 * 768**2


def test_wants_are_read_back_from_the_settings() -> None:
    for want in helpers.WANTS:
        made = helpers.settings_for(want, "fc", 0.0, 0.0)
        assert helpers.want_of(made["mode"], made["keep_background"]) == want
    assert helpers.settings_for(texts.NEW_BACKGROUND, "fcon", 0, 0)["mode"] == "fcon"


def test_keeping_the_scene_raises_the_sliders_and_leaving_it_lowers_them_again() -> None:
    kept = helpers.settings_for(texts.SAME_SCENE, "fc", 0, 0)
    assert (kept["preserve_color"], kept["preserve_detail"]) == (0.5, 0.5)
    left = helpers.settings_for(texts.NEW_BACKGROUND, "fc", 0.5, 0.5)
    assert (left["preserve_color"], left["preserve_detail"]) == (0, 0)
    for want in helpers.WANTS:  # what a person chose stays
        chosen = helpers.settings_for(want, "fc", 0.3, 0.0)
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


def test_changes_name_only_what_changes() -> None:
    assert helpers.changes({"cfg": 7, "steps": 25}, {"cfg": 2.0, "steps": 25}) == "CFG scale: 7 → 2"
    assert helpers.changes({"cfg": 2}, {"cfg": 2.0}) == ""


def described(**settings: object) -> tuple[str, tuple[str, ...]]:
    of_host = ("tab", "seen", "has_background", "has_light_map", "weights_ready", "cfg", "hires_denoise", "head",
               "faults")
    host = {key: settings.pop(key) for key in of_host if key in settings}
    status = helpers.describe(Settings(**settings), **{
        "tab": "txt2img", "seen": Seen(832, 1216, False), "has_background": False,
        "has_light_map": False, "weights_ready": True, **host})
    return " ".join(status.parts), status.warnings


def test_the_status_is_a_sentence() -> None:
    assert described(light="left", matting="isnet-general-use")[0] == (
        "Foreground 832×1216, cut out by isnet-general-use · lit by Left at 0.9 · weights fc ready")
    assert described(weights_ready=False, seen=Seen(8, 9, True))[0] == (
        "Foreground 8×9, cut out by its own transparency · no light chosen: the prompt decides · "
        "weights fc will be downloaded (1.7 GB)")
    assert described(tab="img2img", seen=None, matting="none", keep_background=True, light="top")[0] == (
        "the img2img picture is the foreground · lit by Top put back on its own picture · weights fc ready")
    assert described(mode="fbc", has_background=True, keep_background=True, light="top") == described(
        mode="fbc", has_background=True, light="top")
    assert "lit by your light map at 0.9" in described(has_light_map=True)[0]
    assert "lit by the light of your picture at 0.9" in described(has_light_map=True, light_map_blur=0.2)[0]
    assert described(weights_ready=False, faults=["no network"]) == (
        "Foreground 832×1216, cut out by isnet-general-use · no light chosen: the prompt decides", ("no network",))
    assert described(seen=None)[0] == "no light chosen: the prompt decides · weights fc ready"
    assert described(tab="img2img", seen=Seen(8, 9, False, of_tab=True), matting="none")[0].startswith(
        "Foreground from img2img 8×9, used whole ·")
    assert "lit by the light editor" in described(light=LightSpec(lights=(Point(0.5, 0.5),)))[0]


@pytest.mark.parametrize(("settings", "warning"), [
    ({"seen": None}, texts.NEEDS_FOREGROUND), ({"mode": "fbc"}, texts.NEEDS_BACKGROUND),
    ({"cfg": 4.5}, texts.HIGH_CFG), ({"hires_denoise": 0.1}, texts.LOW_HIRES_DENOISE),
    ({"head": 40.0}, texts.SMALL_FACE), ({"head": 40.0, "preserve_detail": 0.5}, texts.SMALL_FACE),
    ({"head": 40.0, "hires_denoise": 0.5}, texts.SMALL_FACE)])
def test_the_status_warns(settings: dict[str, object], warning: str) -> None:
    assert described(**settings)[1] == (warning,)


@pytest.mark.parametrize("settings", [
    {"tab": "img2img", "seen": None}, {"mode": "fbc", "light": "left"}, {"mode": "fbc", "has_background": True},
    {"mode": "fbc", "light": "left", "cfg": 7}, {"cfg": 4}, {"hires_denoise": 0.5}, {},
    {"head": 64.0}, {"head": 40.0, "preserve_detail": 0.5, "hires_denoise": 0.5}])
def test_the_status_does_not_warn_without_need(settings: dict[str, object]) -> None:
    assert described(**settings)[1] == ()


def test_the_status_shows_texts_as_text() -> None:
    shown = helpers.Status(("a", "<b>"), ("c & d",)).html()
    assert "<span>a</span> <span>&lt;b&gt;</span>" in shown and "c &amp; d" in shown
