"""What the status line says of the panel, and what it warns of."""

from __future__ import annotations

from typing import Any

import pytest

from lib_iclight.lights import LightSpec, Point
from lib_iclight.panel import texts
from lib_iclight.panel.pictures import ForegroundInfo
from lib_iclight.panel.status import Status, describe
from lib_iclight.settings import Settings


def described(**settings: Any) -> tuple[str, tuple[str, ...]]:
    of_host = ("tab", "foreground", "has_background", "has_light_map", "weights_ready", "cfg", "hires_denoise", "head",
               "faults")
    host = {key: settings.pop(key) for key in of_host if key in settings}
    usual: dict[str, Any] = {"tab": "txt2img", "foreground": ForegroundInfo(832, 1216, False), "has_background": False,
                             "has_light_map": False, "weights_ready": True}
    status = describe(Settings(**settings), **usual | host)
    return " ".join(status.parts), status.warnings


def test_the_status_is_a_sentence() -> None:
    assert described(light="left", matting="isnet-general-use")[0] == (
        "Foreground 832×1216, cut out by isnet-general-use · lit by Left at 0.9 · weights fc ready")
    assert described(weights_ready=False, foreground=ForegroundInfo(8, 9, True))[0] == (
        "Foreground 8×9, cut out by its own transparency · no light chosen: the prompt decides · "
        "weights fc will be downloaded (1.7 GB)")
    assert described(tab="img2img", foreground=None, keep_background=True, light="top")[0] == (
        "the img2img picture is the foreground · lit by Top put back on its own picture · weights fc ready")
    assert described(mode="fbc", has_background=True, keep_background=True, light="top") == described(
        mode="fbc", has_background=True, light="top")
    assert "lit" not in described(mode="fbc", has_background=True, light="top")[0]
    assert "lit by your light map at 0.9" in described(has_light_map=True)[0]
    assert "lit by the light of your picture at 0.9" in described(has_light_map=True, light_map_blur=0.2)[0]
    assert described(weights_ready=False, faults=["no network"]) == (
        "Foreground 832×1216, cut out by isnet-general-use · no light chosen: the prompt decides", ("no network",))
    assert described(foreground=None)[0] == "no light chosen: the prompt decides · weights fc ready"
    assert described(tab="img2img", foreground=ForegroundInfo(8, 9, False, of_tab=True), matting="none")[0].startswith(
        "Foreground from img2img 8×9, used whole ·")
    assert described(mode="fbc", stage="8") == (
        "Foreground 832×1216, cut out by isnet-general-use · 9 pictures, one for each light "
        "on a background drawn from the light · weights fbc ready", ())
    assert " 5 pictures, one for each light on your background" in described(
        mode="fbc", stage="4", has_background=True)[0]
    assert "lit by the light editor" in described(light=LightSpec(lights=(Point(0.5, 0.5),)))[0]


@pytest.mark.parametrize(("settings", "warning"), [
    ({"foreground": None}, texts.NEEDS_FOREGROUND), ({"mode": "fbc"}, texts.NEEDS_BACKGROUND),
    ({"cfg": 4.5}, texts.HIGH_CFG), ({"hires_denoise": 0.1}, texts.LOW_HIRES_DENOISE),
    ({"head": 40.0}, texts.SMALL_FACE), ({"head": 40.0, "preserve_detail": 0.5}, texts.SMALL_FACE),
    ({"head": 40.0, "hires_denoise": 0.5}, texts.SMALL_FACE),
    ({"background_tint": 0.5}, "The background's tint is not used: it falls on a kept background, and keep_background "
                               "is off."),
    ({"has_background": True}, "The background picture is not used: mode fbc places the subject on it, start "
                               "background begins from it, harmonise takes its colours, light from background its "
                               "light."),
    ({"start": "light"}, "start is 'light', but there is no light. Choose a light, or another start.")])
def test_the_status_warns(settings: dict[str, object], warning: str) -> None:
    assert described(**settings)[1] == (warning,)


@pytest.mark.parametrize("settings", [
    {"tab": "img2img", "foreground": None}, {"mode": "fbc", "light": "left"}, {"mode": "fbc", "has_background": True},
    {"mode": "fbc", "light": "left", "cfg": 7}, {"cfg": 4}, {"hires_denoise": 0.5}, {},
    {"head": 64.0}, {"head": 40.0, "preserve_detail": 0.5, "hires_denoise": 0.5}])
def test_the_status_does_not_warn_without_need(settings: dict[str, object]) -> None:
    assert described(**settings)[1] == ()


def test_the_status_shows_texts_as_text() -> None:
    shown = Status(("a", "<b>"), ("c & d",)).html()
    assert "<span>a</span> <span>&lt;b&gt;</span>" in shown and "c &amp; d" in shown
