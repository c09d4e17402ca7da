"""An infotext means the same to a WebUI's own parser and to ours: whatever others wrote, and whatever we write."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as campaign
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_infotext import AWKWARD, FOREIGN, PROMPTS, SETTINGS

from lib_iclight import infotext
from lib_iclight.generation import Generation

from .client import Forge

CAMPAIGN = campaign(max_examples=300, derandomize=True, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
JUDGED = ("Model", "Emphasis")
"""what hosts leave out or add by what they know of: their checkpoints, their prompts' syntax"""
PLAIN = "a cat\nSteps: 1, Sampler: Euler, CFG scale: 2"


def read_by_the_host(forge: Forge, text: str) -> dict[str, str]:
    """What the host's own parser finds in a picture's infotext, sizes put together again."""
    chunk = PngInfo()
    chunk.add_itxt("parameters", text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=chunk)
    status, told = forge.call("/sdapi/v1/png-info", {"image": base64.b64encode(file.getvalue()).decode()})
    assert status == 200, told
    assert told["info"] == text
    found: dict[str, Any] = told["parameters"]
    for name in [key[:-2] for key in found if key.endswith("-1") and f"{key[:-2]}-2" in found]:
        found[name] = f"{found.pop(f'{name}-1')}x{found.pop(f'{name}-2')}"
    return {name: str(value) for name, value in found.items() if name not in JUDGED}


@pytest.fixture(scope="module")
def added(forge: Forge) -> dict[str, str]:
    """What the host says of any picture, whether its infotext does or not."""
    return {name: value for name, value in read_by_the_host(forge, PLAIN).items() if name not in infotext.read(PLAIN)}


def test_others_text_is_read_alike(forge: Forge, added: dict[str, str]) -> None:
    seen = []

    @CAMPAIGN
    @given(text=FOREIGN.filter(sendable))
    def check(text: str) -> None:
        theirs, ours = read_by_the_host(forge, text), infotext.read(text)
        seen.append(bool(ours))
        if "Steps" not in theirs:
            assert ours == {}
            return
        assert ours == {name: value for name, value in theirs.items() if name in ours or added.get(name) != value}

    check()
    assert sum(seen) >= 10, "or this case proves little"


def test_what_we_write_is_read_alike(forge: Forge, added: dict[str, str]) -> None:
    @CAMPAIGN
    @given(prompt=PROMPTS.filter(sendable), negative=PROMPTS.filter(sendable), name=AWKWARD.filter(sendable))
    def check(prompt: str, negative: str, name: str) -> None:
        made = Generation(prompt=prompt, negative_prompt=negative, seed=5)
        text = infotext.write(SETTINGS.to_infotext(), made, 5, name, {name or "a": 0.5})
        theirs, ours = read_by_the_host(forge, text), infotext.read(text)
        del ours["Model"]
        # A prompt that the host's form cannot hold is kept beside it, under a name that only we read.
        for key, own in (("Prompt", "IC-Light prompt"), ("Negative prompt", "IC-Light negative prompt")):
            assert theirs.get(own, theirs[key]) == ours[key]
            del ours[key]
        assert {key: theirs.get(key) for key in ours} == ours
        assert Generation(**infotext.generation_values(infotext.read(text))) == made

    check()


def sendable(text: str) -> bool:
    """Whether a picture's chunk and JSON bring a text over unchanged, and the host does: "#" begins its comments."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not set(text) & set("\0#")
