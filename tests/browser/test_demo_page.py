"""The demo's page in a browser without a network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight.demo.page import Compared, write_page
from lib_iclight.stage import from_pictures
from lib_iclight.stage.rig import FOUR

RELIT, SKETCHED = ("left", "warm <sunset> \"light\""), ("top",)


def plain(red: int, green: int) -> Image.Image:
    return Image.new("RGB", (48, 48), (red, green, 90))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    levels = np.linspace(0.1, 0.9, len(FOUR), dtype=np.float32)
    stage = from_pictures(FOUR, np.broadcast_to(levels[:, None, None, None], (len(FOUR), 48, 48, 3)).copy())
    for name in ("normals.png", "orbit.webp", "sheet.png"):
        plain(90, 90).save(folder / name)
    write_page(folder / "index.html", "a <tiny> model", 12.3,
               [Compared(name, plain(255, 0), plain(0, 40 * number)) for number, name in enumerate(RELIT)],
               [Compared(name, plain(20, 20), plain(90, 200)) for name in SKETCHED], stage,
               {"its normals": folder / "normals.png", "orbit": folder / "orbit.webp"}, folder / "sheet.png")
    return folder / "index.html"


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url.split(",")[0]))
    page.goto(file.as_uri())
    page.wait_for_selector(".iclight-desk-canvas")
    yield page
    context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked


def shown(page: Any, section: str) -> list[int]:
    """The colours of a pair at a quarter and at three quarters of its width, as one sees them: red, green, twice."""
    pair = page.locator(f"#{section} .pair > div")
    pair.scroll_into_view_if_needed()
    seen = np.asarray(Image.open(io.BytesIO(pair.screenshot())).convert("RGB")).astype(int)
    height, width = seen.shape[:2]
    return [*seen[height // 2, width // 4, :2].tolist(), *seen[height // 2, 3 * width // 4, :2].tolist()]


def test_before_is_on_the_left_of_the_slider_and_after_on_its_right(page: Any) -> None:
    assert shown(page, "relit") == pytest.approx([255, 0, 0, 0], abs=6)
    page.locator("#relit .choices button").nth(1).click()
    assert shown(page, "relit") == pytest.approx([255, 0, 0, 40], abs=6)
    page.locator("#relit input").fill("100")
    assert shown(page, "relit") == pytest.approx([255, 0, 255, 0], abs=6)
    page.locator("#relit input").fill("0")
    assert shown(page, "relit") == pytest.approx([0, 40, 0, 40], abs=6)
    assert shown(page, "sketched") == pytest.approx([20, 20, 90, 200], abs=6)


def test_every_picture_has_a_button_with_its_name(page: Any) -> None:
    for section, names in (("relit", RELIT), ("sketched", SKETCHED)):
        buttons = page.locator(f"#{section} .choices button")
        assert tuple(buttons.all_text_contents()) == names
        assert [one.get_attribute("aria-pressed") for one in buttons.all()] == ["true"] + ["false"] * (len(names) - 1)
    assert "a <tiny> model" in page.locator("main").inner_text()


def test_its_desk_mixes(page: Any) -> None:
    desk = page.locator("#desk .iclight-desk-canvas")
    desk.scroll_into_view_if_needed()
    before = desk.screenshot()
    page.locator("#desk [data-light='left']").click()
    page.wait_for_timeout(300)
    assert desk.screenshot() != before


@pytest.mark.parametrize("width", [1400, 800, 360])
def test_it_fits(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
