"""What was given and changed nothing is told: over the API as a list, in the pictures as text."""

from __future__ import annotations

from typing import Any

import pytest

from lib_iclight import infotext
from lib_iclight.effects import idle
from lib_iclight.laid import CUT_OFF
from lib_iclight.settings import Settings
from lib_iclight.subject import TRANSPARENCY_UNUSED

from .client import HIRES, Forge, base64_of, subject

FC: dict[str, Any] = {"enabled": True, "foreground": base64_of(subject()), "light": "left"}
IDLE: dict[str, Any] = {"detail_radius": 9.0, "background_tint": 0.5, "start_amount": 0.3}
"""nothing that they are for is switched on"""
KEY = "IC-Light warnings"


def sentences(settings: dict[str, Any], tab: str) -> list[str]:
    found = [one.sentence for one in idle(Settings.from_dict(settings), tab)]
    assert len(found) >= len(IDLE), "or this case proves little"
    return found


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_idle_settings(forge: Forge, tab: str) -> None:
    settings = {**FC, **IDLE, "light_denoise": 0.5}
    answer = forge.job(tab, settings, init_images=[FC["foreground"]], batch_size=2, n_iter=2)
    assert answer.status == 200, answer.sentence
    expected = sentences(settings, tab)
    assert answer.warnings == expected
    for text in answer.infotexts:
        params = infotext.read(text)
        assert params[KEY] == " ".join(expected)
        assert not {"IC-Light detail radius", "IC-Light background tint", "IC-Light start amount"} & set(params)
        assert ("IC-Light light denoise" in params) == (tab == "txt2img"), "there it has an effect"


def test_what_the_pictures_tell(forge: Forge) -> None:
    """A transparent picture that is used whole, of which the frame shows little: told once, with hires fix too."""
    wide = subject(900, 160)
    wide[..., 3] = 0
    wide[:, 40:330, 3] = 255  # left of what a square frame shows, but for a little
    wide[:, 330:400, 3] = 255
    answer = forge.txt2img({**FC, "foreground": base64_of(wide)}, **HIRES, hr_scale=1.5, hr_upscaler="Latent", n_iter=2)
    assert answer.warnings == [CUT_OFF]
    whole = forge.txt2img({**FC, "matting": "none"})
    assert whole.warnings == [TRANSPARENCY_UNUSED]
    assert infotext.read(whole.infotexts[0])[KEY] == TRANSPARENCY_UNUSED


def test_nothing_to_tell(forge: Forge) -> None:
    for settings in (FC, {"enabled": False, **IDLE}, None):
        answer = forge.txt2img(settings)
        assert answer.status == 200, answer.sentence
        assert answer.warnings == []
        assert KEY not in answer.infotexts[0]
