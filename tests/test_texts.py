"""The panel's texts have a translation each, under the words that stand on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lib_iclight.effects import SENTENCES
from lib_iclight.lights import PRESETS
from lib_iclight.panel import texts
from lib_iclight.session import CANNOT_DOWNLOAD
from lib_iclight.settings import FIELDS, MODES

FOLDER = Path(__file__).resolve().parent.parent / "localizations"
DESK = Path(__file__).resolve().parent.parent / "javascript" / "74-desk-texts.js"
PROMPTS = ("LIGHTING_PROMPTS", "SUBJECT_PROMPTS")  # go to the model, in English


def all_texts() -> set[str]:
    found: set[str] = set()
    for name, value in vars(texts).items():
        if name.isupper() and name not in PROMPTS:
            found |= {value} if isinstance(value, str) else set(value.values())
    found |= {*SENTENCES, CANNOT_DOWNLOAD, *desk_texts().values()}
    for field in FIELDS:
        found |= {field.label} | ({field.help} if field.group in ("advanced", "matting") else set())
    return found


def desk_texts() -> dict[str, str]:
    """The light desk's, which lie in a script: each a name and one or more literals."""
    literal = r'"(?:[^"\\]|\\.)*"'
    found = re.findall(rf"^        (\w+): ({literal}(?:\s*\+ {literal})*),$", DESK.read_text(encoding="utf-8"), re.M)
    return {name: "".join(json.loads(part) for part in re.findall(literal, text)) for name, text in found}


def test_all_texts_of_the_desk_are_found() -> None:
    found = desk_texts()
    names = re.findall(r"^        (\w+):", DESK.read_text(encoding="utf-8"), re.M)
    assert list(found) == names and len(names) > 50 and found["keys"].endswith("undo and redo.")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_every_text_is_translated(file: Path) -> None:
    translated = json.loads(file.read_text(encoding="utf-8"))
    assert all_texts() - set(translated) == set()
    assert all(text.strip() for text in translated.values())


def test_every_preset_and_mode_has_a_label() -> None:
    assert list(texts.PRESET_LABELS) == list(PRESETS)
    assert list(texts.MODE_LABELS) == list(MODES)
