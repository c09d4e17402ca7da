"""The panel in the host's own page, in a browser: from a dropped file to a relit picture, and what it is told there.

Set ICLIGHT_LIVE_SHOTS to a folder to have pictures of the page there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.visitor import Visitor, launched
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.imaging import load_image
from lib_iclight.panel import texts
from lib_iclight.settings import STAGES
from lib_iclight.subject import TRANSPARENCY_UNUSED

from .client import SIZE, Forge, subject
from .conftest import check_equal
from .reference import Reference, fitted, light_from

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "astronaut-cutout.webp"
PATIENCE = 600_000
"""milliseconds for a picture on a busy machine"""
A1111_OWN = "Cannot read properties of undefined (reading 'props')"
"""What A1111 1.10.1's page says, without the extension too, each time that the width or height field is left: its
`onCalcResolutionHires` returns six values to an event without outputs (modules/ui.py), for which Gradio 3.41 looks."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launched()


class Person(Visitor):
    """Someone at the host's txt2img tab."""

    def __init__(self, page: Any, theme: str) -> None:
        super().__init__(page, "txt2img")
        self.theme = theme
        self.sizes = 0
        """how often the width or height field was filled in and left"""

    def open(self, url: str) -> None:
        self.page.goto(f"{url}/?__theme={self.theme}", wait_until="domcontentloaded")
        self.page.wait_for_selector("#iclight_txt2img_enabled .label-wrap")
        self.page.click("#iclight_txt2img_enabled .label-wrap")
        self.page.wait_for_selector("#iclight_txt2img_editor .iclight-tile", state="visible")

    def choose(self, name: str, value: str) -> None:
        """In a list to open."""
        field = f"#iclight_txt2img_{name} input"
        self.page.click(f"#iclight_txt2img_{name} input")
        self.page.fill(field, value)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Tab")

    def tile(self, name: str) -> None:
        super().tile(name)
        self.page.wait_for_function(
            "(light) => document.querySelector('#iclight_txt2img_light input').value === light", arg=name)

    def generate(self) -> str:
        """Two steps at the live cases' size; what stands under the result."""
        self.sizes += 2
        for name, value in (("width", SIZE), ("height", SIZE), ("steps", 2), ("cfg_scale", 2)):
            self.page.fill(f"#txt2img_{name} input[type=number]", str(value))
            self.page.keyboard.press("Tab")
        self.page.fill("#txt2img_prompt textarea", "a cat")
        self.page.click("#txt2img_generate")
        self.page.wait_for_function("() => document.querySelector('#html_info_txt2img').innerText.includes('Steps:')",
                                    timeout=PATIENCE)
        self.page.wait_for_selector("#txt2img_gallery img")
        return str(self.page.inner_text("#txt2img_results"))

    def shoot(self, name: str) -> None:
        folder = os.environ.get("ICLIGHT_LIVE_SHOTS")
        if folder:
            self.page.screenshot(path=f"{folder}/{os.environ['ICLIGHT_LIVE_HOST']}-{self.theme}-{name}.png",
                                 full_page=True)


@pytest.fixture(params=["light", "dark"])
def person(request: pytest.FixtureRequest, browser: Any, forge: Forge) -> Iterator[Person]:
    """Someone at the host's page with the panel open; in the end the browser must not have complained."""
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.set_default_timeout(90_000)
    visitor = Person(page, request.param)
    visitor.open(forge.url)
    yield visitor
    visitor.shoot("last")
    page.close()
    known = os.environ["ICLIGHT_LIVE_HOST"] == "a1111"
    assert [text for text in visitor.complaints if not (known and A1111_OWN in text)] == []
    assert len(visitor.complaints) <= visitor.sizes


def test_the_dropped_file_is_what_is_relit(person: Person, forge: Forge, reference: Reference,
                                           tmp_path: Path) -> None:
    """A 16-bit grey PNG, which Gradio's own picture widgets make white."""
    y, x = np.mgrid[:160, :160]
    file = tmp_path / "sixteen.png"
    Image.fromarray((x * 180 + y * 220).astype(np.uint16)).save(file)
    person.drop("foreground", file)
    person.wait_for_status("160×160")
    person.shoot("dropped")
    person.choose("matting", "none")
    person.wait_for_status("used whole")
    person.tile("left")
    person.wait_for_status("lit by Left at 0.9", "ready")
    forge.arm()
    text = person.generate()
    (one,) = forge.seen().passes
    assert "IC-Light mode: fc, IC-Light light: left" in text
    assert "IC-Light warnings" not in text
    pixels = np.asarray(load_image(file, "foreground").convert("RGB"))
    assert pixels.min() == 0 and 245 < pixels.max() < 255, "or it was not read as it is"
    check_equal(one.concat, reference.latent(fitted(pixels, SIZE, SIZE)))
    check_equal(one.start, reference.latent(light_from("left", SIZE, SIZE)), 1e-3)


def test_what_is_not_used_is_told_under_the_result(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "transparent.png"
    Image.fromarray(subject()).save(file)
    person.drop("foreground", file)
    person.wait_for_status("own transparency")
    person.choose("matting", "none")
    person.wait_for_status("used whole")
    person.tile("top")
    text = person.generate()
    assert f"IC-Light: {TRANSPARENCY_UNUSED}" in text


def test_a_light_stage_and_the_photo_under_the_light(person: Person) -> None:
    person.drop("foreground", EXAMPLE)
    person.wait_for_status("own transparency")
    person.page.click(f"#iclight_txt2img_want label:has-text('{texts.LIGHT_STAGE}')")
    person.wait_for_status(f"9 {texts.STAGE_PICTURES}")
    person.tile("left")
    person.shoot("stage")
    views = "#iclight_txt2img_editor .iclight-views"
    person.page.wait_for_selector(f"{views} [data-view=onPhoto][aria-checked=true]")
    person.page.wait_for_timeout(2000)  # it is drawn after the switch
    photo = canvas_of(person)
    person.page.click(f"{views} [data-view=onMap]")
    person.page.wait_for_selector(f"{views} [data-view=onMap][aria-checked=true]")
    person.page.wait_for_timeout(500)
    ramp = canvas_of(person)
    assert photo.shape == ramp.shape and np.abs(photo - ramp).mean() > 5
    person.page.click(f"{views} [data-view=onPhoto]")


def test_the_desk_opens_under_a_light_stage(person: Person, tmp_path: Path) -> None:
    """With the gallery's own pictures and the subject's mask; it closes, comes back, and takes a set from disk."""
    page = person.page
    person.drop("foreground", EXAMPLE)
    person.wait_for_status("own transparency")
    page.click(f"#iclight_txt2img_want label:has-text('{texts.LIGHT_STAGE}')")
    person.wait_for_status(f"9 {texts.STAGE_PICTURES}")
    assert page.locator(".iclight-desk-place").count() == 0
    person.generate()
    person.wait_for_desk(9)
    assert person.desk("desk.set.lamps.map(({name}) => name)") == list(STAGES["8"])
    assert person.desk("[desk.set.width, desk.set.height]") == [SIZE, SIZE]
    share = person.desk("desk.set.alpha.filter((value) => value > 127).length / desk.set.alpha.length")
    assert 0.2 < share < 0.95
    page.click(".iclight-desk-place .iclight-tile[data-light=sunset]")
    page.click(".iclight-desk-place [data-do=none]")
    assert person.desk("desk.state.light") == "sunset" and person.desk("desk.weights.flat().some(Boolean)")
    for width, name in ((1400, "desk"), (800, "desk-800"), (360, "desk-360")):
        page.set_viewport_size({"width": width, "height": 1600})
        page.locator(".iclight-desk-place").scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        person.shoot(name)
    page.set_viewport_size({"width": 1400, "height": 1600})
    page.click("[data-do=deskClose]")
    assert page.locator(".iclight-desk-place").count() == 0
    page.click("#iclight_txt2img_editor [data-do=desk]")
    person.wait_for_desk(9)
    for name, level in (("left", 40), ("right", 90), ("ambient", 60)):
        Image.new("RGB", (48, 64), (level, level, 20)).save(tmp_path / f"{name}.png")
    page.locator(".iclight-desk-side [data-open=open]").set_input_files(
        [str(path) for path in sorted(tmp_path.glob("*.png"))])
    person.wait_for_desk(3)


def canvas_of(person: Person) -> NDArray[Any]:
    """The light editor's canvas as it is shown: float [height, width, 3]."""
    data = person.page.locator("#iclight_txt2img_editor .iclight-canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
