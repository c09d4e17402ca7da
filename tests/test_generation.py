"""What a generation says of values that change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lib_iclight.generation import Generation, suited


@pytest.mark.parametrize(("given", "told"), [
    ({}, None), ({"hires_denoise": 0.3}, "hires pass's denoise"), ({"hires_denoise": 0.3, "hires_scale": 2.0}, None),
    ({"cfg": 1.0, "guidance_end": 0.5}, "guidance's end"), ({"guidance_end": 0.5}, None),
    ({"cfg": 1.0, "negative_prompt": "fog"}, "negative prompt"), ({"cfg": 1.0}, None),
    ({"prompt": "a <lora:warm:0.8> lamp", "prompt_syntax": "plain"}, "LoRA in the prompt"),
    ({"negative_prompt": "<lora:warm>", "prompt_syntax": "plain"}, "LoRA in the prompt"),
    ({"prompt": "a <lora:warm:0.8> lamp"}, None), ({"prompt": "a < lora: b", "prompt_syntax": "plain"}, None),
])
def test_what_changes_nothing_is_told(given: dict[str, Any], told: str | None) -> None:
    sentences = Generation(**given).warnings()
    assert len(sentences) == (0 if told is None else 1)
    for sentence in sentences:
        assert told and told in sentence and "is not used" in sentence


def test_what_is_not_given_is_what_suits_the_mode_and_the_checkpoint() -> None:
    plain = suited({"steps": None}, "fbc")
    assert (plain.width, plain.height, plain.sampler, plain.steps, plain.cfg) == (
        512, 640, "DPM++ 2M SDE Karras", 20, 7.0)
    own = suited({"steps": 8, "height": 128}, "fbc", 64, (300, 200), {"sampler": "Euler", "steps": 3, "cfg": 1.0})
    assert (own.width, own.height, own.sampler, own.steps, own.cfg) == (64, 128, "Euler", 8, 1.0)
