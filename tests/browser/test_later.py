"""The page's scripts as a WebUI loads them: few at the opening, the others once a panel is opened."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib_iclight.assets import assets, later_scripts
from lib_iclight.lights import PRESETS
from lib_iclight.panel import texts

TABS = ("txt2img", "img2img")


def text_of(folder: Path) -> str:
    """A page with two closed panels and the scripts of a folder, all by their addresses."""
    def editor(tab: str) -> str:
        data = {"tab": tab, "presets": {name: spec.to_dict() for name, spec in PRESETS.items()}, "prompts": {},
                "labels": dict(texts.PRESET_LABELS), "texts": dict(texts.EDITOR), "scripts": later_scripts(assets())}
        return f'<div id="iclight_{tab}_editor" style="display: none"><div class="iclight-editor" ' \
               f'data-iclight="{html.escape(json.dumps(data))}"></div></div>'

    scripts = "".join(f'<script src="{file.as_uri()}?1"></script>' for file in sorted(folder.glob("*.js")))
    return f"<!DOCTYPE html><html><head>{scripts}</head><body>{''.join(map(editor, TABS))}</body></html>"


class Visit:
    """A page, the scripts that it asked for, and what it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url.rpartition("/javascript/")[2]))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def later(self) -> list[str]:
        return [name for name in self.asked if name.startswith("later/")]

    def show(self, tab: str) -> None:
        """Open a panel."""
        self.page.evaluate("(id) => document.getElementById(id).removeAttribute('style')", f"iclight_{tab}_editor")


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Visit]:
    page = browser.new_page()
    shutil.copytree(assets() / "javascript", tmp_path / "javascript")
    (tmp_path / "page.html").write_text(text_of(tmp_path / "javascript"), encoding="utf-8")
    made = Visit(page)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(500)  # longer than what is looked at after an opening
    yield made
    page.close()


def test_closed_panels_cost_two_scripts(visit: Visit) -> None:
    assert len([name for name in visit.asked if ".js?" in name]) == 2
    assert visit.later == [] and visit.page.query_selector(".iclight-tile") is None


def test_an_opened_panel_has_all_scripts_once(visit: Visit) -> None:
    for tab in TABS:
        visit.show(tab)
        visit.page.wait_for_selector(f"#iclight_{tab}_editor .iclight-tile")
    assert visit.later == later_scripts(assets()) and len(visit.later) > 15
    assert visit.complaints == []


def test_a_script_that_is_missing_is_told(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "javascript" / "later" / "10-lights.js").unlink()
    visit.show("txt2img")
    visit.page.wait_for_selector(f"#iclight_txt2img_editor [role=alert]:text-is('{texts.EDITOR['notLoaded']}')")
    assert visit.page.query_selector(".iclight-tile") is None
