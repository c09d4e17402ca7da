"""The panel's texts have a translation each, under the words that stand on the page."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from lib_iclight import errors
from lib_iclight.assets import assets, page_scripts
from lib_iclight.effects import SENTENCES
from lib_iclight.lights import PRESETS
from lib_iclight.matting import MODELS
from lib_iclight.panel import texts
from lib_iclight.panel.matting_notes import NO_MODEL_NEEDED, USE_WHOLE
from lib_iclight.session import CANNOT_DOWNLOAD
from lib_iclight.settings import FIELDS, MODES

FOLDER = Path(__file__).resolve().parent.parent / "localizations"
DESK = Path(__file__).resolve().parent.parent / "javascript" / "later" / "74-desk-texts.js"
LIB = Path(__file__).resolve().parent.parent / "lib_iclight"
ERRORS = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
OF_THE_HOST = ("Run cut-out models on", "IC-Light (switched off)",
               "gpu needs an onnxruntime with GPU support, such as onnxruntime-gpu; where it fails, the CPU takes over")
"""short texts in a WebUI's own places"""
PROMPTS = ("LIGHTING_PROMPTS", "SUBJECT_PROMPTS")  # go to the model, in English


SAID = ("effects.py", "fullsize.py", "generation.py", "job.py", "laid.py", "lightfrom.py", "session.py", "subject.py",
        "lights", "matting", "panel", "preview", "webui/fullsize.py", "webui/options.py",
        "webui/unsupported.py")
"""modules whose sentences and errors a page shows as they are (it cannot translate one with a value in it)"""
KEPT = re.compile(r"--[a-z]+|[A-Z]+_[A-Z_]+|\.hdr|[a-z]+\.(?:json|png)|(?<![a-z])f(?:c|con|bc)(?![a-z])"
                  r"|(?<![A-Za-z\d.])\d+(?:\.\d+)?(?![A-Za-z])")
"""what stands for a value, a name or a number in a text, and so stays in every language"""


def all_texts() -> set[str]:
    found: set[str] = set()
    for name, value in vars(texts).items():
        if name.isupper() and name not in PROMPTS:
            found |= {value} if isinstance(value, str) else set(value.values())
    found |= {*SENTENCES, CANNOT_DOWNLOAD, *desk_texts().values(), *sentences_of_scripts()}
    found |= {NO_MODEL_NEEDED, USE_WHOLE, *(model.notice for model in MODELS.values() if model.notice)}
    for place in SAID:
        path = LIB / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found |= said(file.read_text(encoding="utf-8"))
    for field in FIELDS:
        shown = field.group in ("advanced", "matting") or field.name == "light_map_blur"
        found |= {field.label} | ({field.help} if shown else set())
    return found


def said(source: str) -> set[str]:
    """The whole sentences in Python's source, errors' too: those with no value in them, and no docstrings."""
    tree = ast.parse(source)
    skipped = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Expr | ast.JoinedStr)
               for part in ast.walk(node) if isinstance(node, ast.JoinedStr) or part is node.value}
    # What a sentence goes on with, and keys of what is looked up.
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.BinOp) for part in ast.walk(node)}
    raised = {id(node.args[0]) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args
              and isinstance(node.func, ast.Name) and node.func.id in ERRORS}
    return {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
            and (id(node) in raised or re.fullmatch(r"[A-Z](?=[^\n]* )[^\n]*[.!]", node.value))}


def sentences_of_scripts() -> set[str]:
    """What the scripts say beside the texts that they are handed."""
    found = [re.findall(r'^(?!\s*(?://|\*)).*?"([A-Z][^"\\]* [^"\\]*[.!?])"', path.read_text(encoding="utf-8"), re.M)
             for path in page_scripts(assets()) if path != DESK]
    return {sentence for sentences in found for sentence in sentences}


def test_the_readers_find_sentences() -> None:
    source = ('"""No docstring. None."""\nA = ("It is so: "\n "and so.")\ndef f(x):\n    """Nor this one."""\n'
              '    if x:\n        raise ImageError("there is none. Add one.")\n    if y:\n'
              '        raise ImageError(f"there is no {x}. Add one.")\n    return ["Word", "A warning.", "key."]\n')
    assert said(source) == {"It is so: and so.", "there is none. Add one.", "A warning."}
    assert len(sentences_of_scripts()) >= 7


def desk_texts() -> dict[str, str]:
    """The light desk's, which lie in a script: each a name and one or more literals."""
    literal = r'"(?:[^"\\]|\\.)*"'
    found = re.findall(rf"^        (\w+): ({literal}(?:\s*\+ {literal})*),$", DESK.read_text(encoding="utf-8"), re.M)
    return {name: "".join(json.loads(part) for part in re.findall(literal, text)) for name, text in found}


def test_all_texts_of_the_desk_are_found() -> None:
    found = desk_texts()
    names = re.findall(r"^        (\w+):", DESK.read_text(encoding="utf-8"), re.M)
    assert list(found) == names and len(names) > 50 and found["keys"].endswith("undo and redo.")


LANGUAGES = sorted(FOLDER.glob("*.json"))
CHINESE = FOLDER / "zh_CN.json"
"""the first one: what has a place there has one in the others too"""


def test_the_languages_that_we_have() -> None:
    found = [file.stem for file in LANGUAGES]
    assert found == ["de", "ja", "zh_CN"], "a new language is named here too"
    manual = (FOLDER.parent / "docs" / "panel.md").read_text(encoding="utf-8").partition("## Other languages")[2]
    assert not [name for name in found if f"`{name}`" not in manual], "docs/panel.md names each under Other languages"


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_every_text_is_translated(file: Path) -> None:
    translated = json.loads(file.read_text(encoding="utf-8"))
    wanted = all_texts() | {*OF_THE_HOST} | set(json.loads(CHINESE.read_text(encoding="utf-8")))
    missing = sorted(wanted - set(translated))
    lines = "\n".join(f"    {json.dumps(text, ensure_ascii=False)}: \"\"," for text in missing)
    assert not missing, f"localizations/{file.name} has no translation of these {len(missing)}:\n{lines}"
    empty = [key for key, text in translated.items() if not text.strip()]
    assert not empty, f"localizations/{file.name} has an empty translation of these {len(empty)}: {empty}"


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_names_and_numbers_stay_in_every_language(file: Path) -> None:
    translated = json.loads(file.read_text(encoding="utf-8"))
    lost = {key: sorted(set(KEPT.findall(key)) - set(KEPT.findall(text))) for key, text in translated.items()}
    told = "\n".join(f"    {', '.join(names)} of {key!r}" for key, names in lost.items() if names)
    assert not told, f"what stands for a value is not kept in localizations/{file.name}:\n{told}"


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_a_key_stands_once(file: Path) -> None:
    pairs: list[tuple[str, str]] = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=list)
    assert len({key for key, _ in pairs}) == len(pairs)


def test_every_preset_and_mode_has_a_label() -> None:
    assert list(texts.PRESET_LABELS) == list(PRESETS)
    assert list(texts.MODE_LABELS) == list(MODES)
