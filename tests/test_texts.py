"""The panel's texts have a translation each, under the words that stand on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib_iclight.effects import SENTENCES
from lib_iclight.lights import PRESETS
from lib_iclight.panel import texts
from lib_iclight.session import CANNOT_DOWNLOAD
from lib_iclight.settings import FIELDS, MODES

FOLDER = Path(__file__).resolve().parent.parent / "localizations"
PROMPTS = ("LIGHTING_PROMPTS", "SUBJECT_PROMPTS")  # go to the model, in English


def all_texts() -> set[str]:
    found: set[str] = set()
    for name, value in vars(texts).items():
        if name.isupper() and name not in PROMPTS:
            found |= {value} if isinstance(value, str) else set(value.values())
    found |= {*SENTENCES, CANNOT_DOWNLOAD}
    for field in FIELDS:
        found |= {field.label} | ({field.help} if field.group in ("advanced", "matting") else set())
    return found


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_every_text_is_translated(file: Path) -> None:
    translated = json.loads(file.read_text(encoding="utf-8"))
    assert all_texts() - set(translated) == set()
    assert all(text.strip() for text in translated.values())


def test_every_preset_and_mode_has_a_label() -> None:
    assert list(texts.PRESET_LABELS) == list(PRESETS)
    assert list(texts.MODE_LABELS) == list(MODES)
