"""A browser on the studio's page. Without Chromium or Playwright these tests are skipped, and say so.

Chromium is taken from the variable CHROMIUM, else from the PATH; pip cannot install it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib_iclight.hosts.standalone.host import pick_device

SWITCHES = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"]
HARMLESS = ("iframeResizer", "Failed to load resource: net::ERR_NAME_NOT_RESOLVED",
            "Failed to load resource: net::ERR_INTERNET_DISCONNECTED", "manifest.json")
"""What Gradio's own page says where there is no internet."""


def chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no Chromium here: install one, or name it in CHROMIUM")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="module")
def studio(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running studio over the embedded model."""
    gradio = pytest.importorskip("gradio", reason="gradio is not installed")
    from lib_iclight.webui.studio import Embedded, EmbeddedWorkshop, Studio, build

    models = tmp_path_factory.mktemp("models")
    environment = pytest.MonkeyPatch()
    environment.setenv("HF_HUB_OFFLINE", "1")  # no cut-out model is fetched
    environment.setenv("U2NET_HOME", str(models))
    page = build(Studio(Embedded(), EmbeddedWorkshop(models), pick_device("cpu")))
    assert isinstance(page, gradio.Blocks)
    _, address, _ = page.queue().launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, show_api=False)
    yield address
    page.close(verbose=False)
    environment.undo()


class Studio:
    """The page as a person meets it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(known in text for known in HARMLESS):
            self.complaints.append(text)

    def open(self, address: str) -> None:
        self.page.goto(address, wait_until="domcontentloaded")
        self.page.wait_for_selector(".iclight-tile")

    def field(self, name: str) -> str:
        return f"#iclight_studio_{name}"

    def drop(self, name: str, picture: Path) -> None:
        self.page.set_input_files(f"{self.field(name)} input[type=file]", str(picture))
        self.page.wait_for_selector(f"{self.field(name)} img")

    @property
    def light(self) -> str:
        """The value of the light widget."""
        return str(self.page.input_value(f"{self.field('light')} input"))

    def wait_for_light(self, script: str) -> None:
        """Until the light widget's value, `light`, fulfils a JavaScript expression."""
        self.page.wait_for_function(
            f"() => {{ const light = document.querySelector('{self.field('light')} input').value; return {script}; }}")

    def tile(self, name: str) -> None:
        self.page.click(f".iclight-tile[data-light='{name}']")

    def number(self, name: str, value: float) -> None:
        self.page.fill(f"#studio_{name} input[type=number]", str(value))
        self.page.keyboard.press("Tab")

    def small(self) -> None:
        """As quick as it gets."""
        for name, value in (("width", 128), ("height", 128), ("steps", 2)):
            self.number(name, value)

    def generate(self) -> None:
        self.page.click("#studio_generate")

    def bright_side(self) -> str:
        """On which side the light map on the canvas is brighter, looked at without picture and handles."""
        return str(self.page.evaluate("""() => {
            const {lights, editor} = window.iclight;
            const {spec} = editor.editors.studio, {data} = lights.draw(spec, 8, 8);
            const sum = (from) => { let s = 0; for (let r = 0; r < 8; r++) for (let c = from; c < from + 4; c++)
                s += data[(r * 8 + c) * 4]; return s; };
            return sum(0) > sum(4) ? "left" : "right";
        }"""))


@pytest.fixture
def person(browser: Any, studio: str) -> Iterator[Studio]:
    """Someone at the studio's page; in the end the browser must not have complained."""
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.set_default_timeout(60_000)
    made = Studio(page)
    made.open(studio)
    yield made
    page.close()
    assert made.complaints == []
