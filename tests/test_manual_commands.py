"""Every command line of the README and the manual, run: on the pocket model, page by page, in their order.

What a reader has and we have not is put there (photos, a cut-out model, weights, a list of photographs) or left out
(their checkpoint and folders), and samplers take one step.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import lines_of_commands
from test_weights import iclight
from tiny_onnx import pixelwise

from lib_iclight.cli import main

pytestmark = pytest.mark.usefixtures("one_thread", "offline")

ROOT = Path(__file__).resolve().parent.parent
VASE = ROOT / "examples" / "rendered-vase.png"
THEIRS = ("--checkpoint", "--weights-dir", "--lora", "--models", "--steps")
"""flags whose files only a reader has, and what is given anew here"""
ELSEWHERE = ("--webui", "--ray", "/share/")
"""in lines that need other machines or programs: those are parsed only, in tests/test_docs.py"""
LINES = [(page, words) for page, words in lines_of_commands() if not any(sign in words for sign in ELSEWHERE)]
PAGES = sorted({page for page, _ in LINES})
SAMPLING = ("relight", "stage", "batch")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader has it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICLIGHT_HOME", raising=False)
    (tmp_path / "examples").mkdir()
    (tmp_path / "PHOTOS").mkdir()
    for name in ("photo.png", "background.png", "examples/rendered-vase.png", "PHOTOS/vase.png"):
        shutil.copy(VASE, tmp_path / name)
    for name in ("photo.jpg", "background.jpg"):
        with Image.open(VASE) as picture:
            picture.convert("RGB").save(tmp_path / name)
    models = tmp_path / "models" / "matting"
    models.mkdir(parents=True)
    (models / "isnet-general-use.onnx").write_bytes(pixelwise([1.0, 1.0, 1.0], 0.0, (1, 3, 64, 64)))
    photographs(tmp_path)
    return tmp_path


def photographs(folder: Path) -> None:
    """Three of one grey thing, and photos.lp with where the lamps stood."""
    lines = ["3"]
    for name, x, y in (("a.png", 0.6, 0.0), ("b.png", -0.6, 0.0), ("c.png", 0.0, 0.6)):
        shade = np.full((16, 16, 3), 120 + round(60 * (x + y)), np.uint8)
        Image.fromarray(shade).save(folder / name)
        lines.append(f"{name} {x} {y} 0.8")
    (folder / "photos.lp").write_text("\n".join(lines) + "\n")


def runnable(words: str, folder: Path) -> list[str]:
    """A line's words as they can be run in the folder."""
    command, *rest = shlex.split(words)
    made: list[str] = [command]
    skip = False
    for word in rest:
        if skip or word in THEIRS:
            skip = not skip
            continue
        made.append(word)
    if command in SAMPLING and "--from-lp" not in made:
        made += ["--steps", "1"]
    if "--from-lp" in made:
        made[made.index("-o") + 1] += "-of-photographs"
    if command == "weights":
        iclight(folder / made[1], 8, dtype="F8_E4M3")
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page).replace(str(ROOT), "").strip("/"))
def test_the_commands_of_a_page_run(page: str, desk: Path) -> None:
    for line in [words for of, words in LINES if of == page]:
        words = runnable(line, desk)
        code = main(words)
        # The doctor finds that the cut-out model is not the released one, which is so.
        assert code in ((0, 1) if words[0] == "doctor" else (0,)), (
            f"{words} did not run. The files that it needs are those that `desk` above puts there, or earlier lines")
        if "-o" in words:
            assert (desk / words[words.index("-o") + 1]).exists(), words
