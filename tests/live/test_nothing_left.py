"""After a relit job, whatever its end, the UNet is what it was, and so are the pictures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .client import HIRES, Forge, base64_of, scene, subject
from .conftest import control_unit, plain, script_name

FC = {"enabled": True, "foreground": base64_of(subject()), "light": "left"}
FBC = {**FC, "mode": "fbc", "background": base64_of(scene())}


def test_relit_weights_differ(forge: Forge, fresh: tuple[str, bytes]) -> None:
    assert forge.txt2img(FC).status == 200
    assert forge.unet_hash() != fresh[0], "or this file's other cases prove nothing"


@pytest.mark.parametrize("settings", [FC, FBC], ids=["fc", "fbc"])
def test_after_a_job(forge: Forge, fresh: tuple[str, bytes], settings: dict[str, Any]) -> None:
    assert forge.txt2img(settings, **HIRES, hr_scale=1.5, hr_upscaler="Latent").status == 200
    assert plain(forge) == fresh


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_after_an_error_in_the_middle(forge: Forge, fresh: tuple[str, bytes], tab: str) -> None:
    forge.arm(raise_at=2)
    answer = forge.job(tab, FC, steps=3, init_images=[base64_of(subject())])
    assert answer.status == 500
    assert plain(forge) == fresh


def test_after_an_error_in_the_hires_pass(forge: Forge, fresh: tuple[str, bytes]) -> None:
    forge.arm(raise_at=2)
    answer = forge.txt2img(FBC, **HIRES, hr_scale=1.5, hr_upscaler="Latent")
    assert answer.status == 500
    assert plain(forge) == fresh


def test_after_an_interrupt(forge: Forge, fresh: tuple[str, bytes]) -> None:
    forge.arm(interrupt_at=2)
    answer = forge.txt2img(FC, steps=4, n_iter=2)
    assert answer.status == 200, answer.sentence
    assert len(forge.seen().passes[0].channels) < 4
    assert plain(forge) == fresh


def test_with_a_lora(forge: Forge, fresh: tuple[str, bytes]) -> None:
    assert forge.txt2img(FC, prompt="a cat <lora:iclight-live-lora:1>").status == 200
    assert plain(forge) == fresh


def test_with_a_controlnet(forge: Forge, host: str, fresh: tuple[str, bytes]) -> None:
    name = script_name(forge, host, "ControlNet")
    assert forge.txt2img(FC, scripts={name: [control_unit(forge)]}).status == 200
    assert plain(forge) == fresh


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
@pytest.mark.parametrize(("harm", "complaint"), [
    ({"drop_unet": True}, "sampled without IC-Light's conditioning"),
    ({"shrink_latent": True}, "another extension changed the size"),
])
def test_another_extension_does_harm(forge: Forge, fresh: tuple[str, bytes], harm: dict[str, Any],
                                     complaint: str, tab: str) -> None:
    """Never an unrelit picture without a word."""
    forge.arm(**harm)
    photo = {"init_images": [base64_of(scene())]} if tab == "img2img" else {}
    answer = forge.job(tab, FC, **photo)
    assert answer.status == 422
    assert re.search(f"^IC-Light: HostError: .*{complaint}", answer.sentence)
    assert plain(forge) == fresh
