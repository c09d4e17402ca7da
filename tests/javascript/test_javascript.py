"""The page's scripts without a page: their own tests in node, their light maps against Python's, the linter's rules.

Node is the one that Playwright brings in its package; the linter is oxlint's. Both are in requirements/dev.txt.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import playwright
import pytest

from lib_iclight.assets import page_scripts
from lib_iclight.lights import PRESETS, broad_light, light_map

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRIPTS = page_scripts(ROOT)
EXE = ".exe" if os.name == "nt" else ""
NODE = Path(playwright.__file__).parent / "driver" / f"node{EXE}"
OXLINT = Path(sys.executable).parent / f"oxlint{EXE}"
FORMS: tuple[Literal["fc"], Literal["fbc"]] = ("fc", "fbc")
SIZES = [(64, 80), (97, 33), (1, 40), (128, 128)]


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8",
                          check=False, timeout=120, **options)


def draw(maps: list[Any], pictures: list[Any]) -> tuple[list[bytes], list[bytes]]:
    """What draw.js makes of them."""
    presets = {name: spec.to_dict() for name, spec in PRESETS.items()}
    done = run(NODE, HERE / "draw.js", input=json.dumps({"presets": presets, "maps": maps, "pictures": pictures}))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return ([base64.b64decode(text) for text in made["maps"]], [base64.b64decode(text) for text in made["pictures"]])


def random_specs(count: int) -> list[dict[str, Any]]:
    rng = random.Random(20)

    def color() -> str:
        return rng.choice([f"#{rng.randrange(1 << 24):06x}", f"#{rng.randrange(1 << 12):03x}",
                           f"{rng.randint(1667, 25000)}K"])

    def light() -> dict[str, Any]:
        common = {"color": color(), "intensity": rng.uniform(0, 3)}
        if rng.random() < 0.5:
            return {"kind": "directional", "angle": rng.uniform(-400, 800), **common}
        return {"kind": "point", "x": rng.uniform(-1, 2), "y": rng.uniform(-1, 2), "radius": rng.uniform(0.02, 4),
                **common}

    return [{"ambient": color(), "lights": [light() for _ in range(rng.randint(1, 5))]} for _ in range(count)]


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_in_node(file: Path) -> None:
    done = run(NODE, "--test", "--test-reporter=tap", file)
    assert done.returncode == 0, done.stdout
    counts = {name: int(count) for name, count in re.findall(r"^# (tests|pass|skipped) (\d+)$", done.stdout, re.M)}
    assert counts["tests"] == counts["pass"] > 5 and counts["skipped"] == 0, done.stdout


def test_light_maps_are_pythons() -> None:
    lights = [json.dumps(spec) for spec in random_specs(200)] + [name for name in PRESETS if name != "none"]
    cases = [(light, *SIZES[i % len(SIZES)], form) for i, light in enumerate(lights) for form in FORMS]
    maps, _ = draw(cases, [])
    assert len(maps) == len(cases) == 2 * (200 + len(PRESETS) - 1)
    for (light, width, height, form), pixels in zip(cases, maps, strict=True):
        seen = np.frombuffer(pixels, np.uint8).reshape(height, width, 4)
        expected = light_map(light, width, height, form)
        assert expected is not None
        assert (seen[..., 3] == 255).all()
        assert np.abs(seen[..., :3].astype(int) - expected).max() <= 2, light


def test_the_light_of_a_picture_is_pythons() -> None:
    cases = [(blur, size) for blur in (0.05, 0.15, 0.5) for size in ((48, 60), (33, 20))]
    given = []
    for _, (width, height) in cases:
        pixels = np.random.default_rng(5).integers(0, 256, (height, width, 4), dtype=np.uint8)
        pixels[:, : width // 2, 0] //= 8
        pixels[..., 3] = 255
        given.append(pixels)
    _, pictures = draw([], [(base64.b64encode(pixels.tobytes()).decode(), *size, blur)
                            for (blur, size), pixels in zip(cases, given, strict=True)])
    for (blur, (width, height)), pixels, picture in zip(cases, given, pictures, strict=True):
        seen = np.frombuffer(picture, np.uint8).reshape(height, width, 4)[..., :3].astype(int)
        assert np.abs(seen - broad_light(pixels[..., :3], blur)).max() <= 1, (blur, width, height)


def test_scripts_lint() -> None:
    done = run(OXLINT, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"on (\d+) files", done.stdout)[0]) >= len(SCRIPTS), done.stdout


@pytest.mark.parametrize(("name", "line", "rule"), [
    ("later/10-lights.js", "globalThis.x = document.body;", "no-undef"),
    ("later/20-lamps.js", "globalThis.x = window.innerWidth;", "no-undef"),
    ("30-page.js", "globalThis.x = undefinedName;", "no-undef"),
    ("later/60-editor.js", "globalThis.x = document.querySelector('#txt2img_prompt');", "no-restricted-properties"),
    ("later/80-desk.js", "globalThis.x = document.getElementById('txt2img_prompt');", "no-restricted-properties"),
    ("later/60-editor.js", "const unused = 1;", "no-unused-vars"),
    ("later/60-editor.js", "var x = 1; globalThis.x = x;", "no-var"),
    ("later/60-editor.js", "let x = 1; globalThis.x = x;", "prefer-const"),
    ("later/60-editor.js", "globalThis.x = globalThis.y == 1;", "eqeqeq"),
    ("later/60-editor.js", "\n".join(f"globalThis.x{i} = {i};" for i in range(301)), "max-lines"),
])
def test_the_linter_refuses(tmp_path: Path, name: str, line: str, rule: str) -> None:
    """Its configuration names files: that what it forbids is forbidden where it should be."""
    shutil.copy(ROOT / ".oxlintrc.json", tmp_path)
    (tmp_path / "javascript" / "later").mkdir(parents=True)
    (tmp_path / "javascript" / name).write_text(line + "\n", encoding="utf-8")
    done = run(OXLINT, cwd=tmp_path)
    assert done.returncode == 1 and f"({rule})" in done.stdout, done.stdout


def test_the_page_loads_what_each_script_needs_before_it() -> None:
    """WebUIs load the scripts in the order of their names; a script takes from `iclight` only what is there by then."""
    there: set[str] = set()
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        needed = set(re.findall(r"= iclight\.(\w+);", text))
        assert needed <= there, script.name
        there |= set(re.findall(r"^    iclight\.(\w+) = ", text, re.M))
    assert {"lights", "page", "editor", "look"} <= there
