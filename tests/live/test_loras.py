"""On every host: LoRAs on, off and changed between jobs with and without IC-Light, in all orders.

Whatever came before, the UNet's weights are those of a fresh start with the same LoRAs.
"""

from __future__ import annotations

from typing import Any

import pytest

from .client import SIZE, Forge, base64_of, subject

FC = {"enabled": True, "foreground": base64_of(subject()), "light": "left"}
FBC = {**FC, "mode": "fbc"}
LORAS = {"without": "a cat", "weak": "a cat <lora:iclight-live-lora:0.5>", "strong": "a cat <lora:iclight-live-lora:1>"}
SMALL: dict[str, Any] = {"width": SIZE // 2, "height": SIZE // 2}


@pytest.fixture(scope="module")
def expected(forge: Forge, fresh: tuple[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """The UNet's hash and a picture for each LoRA, from jobs without IC-Light."""
    states = {name: state(forge, name) for name in LORAS}
    assert states["without"][0] == fresh[0]
    return states


def state(forge: Forge, lora: str) -> tuple[str, bytes]:
    """The UNet's hash after a job without IC-Light, and its picture."""
    forge.call("/probe/disarm", {})
    picture = forge.txt2img(prompt=LORAS[lora], **SMALL).pictures[0]
    return forge.unet_hash(), picture.tobytes()


def test_loras_differ(expected: dict[str, tuple[str, bytes]]) -> None:
    assert len({hashed for hashed, _ in expected.values()}) == 3, "or the other cases prove nothing"


# Every change of LoRA between two states, each with a relit job on either side of it.
@pytest.mark.parametrize("order", [
    [("without", FC), ("weak", FC), ("weak", None)],
    [("weak", None), ("strong", FC), ("weak", None)],
    [("strong", FC), ("strong", None), ("without", FC), ("without", None)],
    [("without", FC), ("without", None), ("strong", None), ("weak", FBC), ("weak", None)],
    [("weak", FC), ("without", None), ("weak", FC), ("strong", None)],
    [("strong", FC), ("weak", FC), ("without", FC), ("without", None), ("strong", None)],
], ids=lambda order: "-".join(f"{lora}{'' if settings is None else '+'}" for lora, settings in order))
def test_orders(forge: Forge, expected: dict[str, tuple[str, bytes]],
                order: list[tuple[str, dict[str, Any] | None]]) -> None:
    for lora, settings in order:
        if settings is None:
            assert state(forge, lora) == expected[lora]
        else:
            answer = forge.txt2img(settings, prompt=LORAS[lora], **SMALL)
            assert answer.status == 200, answer.sentence
