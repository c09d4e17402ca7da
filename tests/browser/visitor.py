"""A browser, and someone in it at a page with the panel: the studio's, a double of a WebUI's, or a real WebUI's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import chromium

SWITCHES = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync")
HARMLESS = ("iframeResizer", "net::ERR_NAME_NOT_RESOLVED", "net::ERR_INTERNET_DISCONNECTED", "manifest.json",
            "net::ERR_PROXY_CONNECTION_FAILED", "net::ERR_CONNECTION_REFUSED")
"""what Gradio's and the WebUIs' own pages say where there is no internet"""


def need(module: str) -> Any:
    """A module that only these tests need."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        chromium.without(f"{module.split('.')[0]} is not installed")


def launched(more: Sequence[str] = ()) -> Iterator[Any]:
    """A running Chromium. more: switches."""
    api = need("playwright.sync_api")
    program = chromium.find()
    if program is None:
        chromium.without("there is no Chromium: install one, or name it in the variable CHROMIUM")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=[*SWITCHES, *more])
        yield running
        running.close()


class Visitor:
    """Someone at a page with a panel. `complaints` are what the browser says of errors."""

    def __init__(self, page: Any, tab: str) -> None:
        self.page = page
        self.tab = tab
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(known in text for known in HARMLESS):
            self.complaints.append(text)

    def field(self, name: str) -> str:
        return f"#iclight_{self.tab}_{name}"

    def drop(self, name: str, picture: Path) -> None:
        self.page.set_input_files(f"{self.field(name)} input[type=file]", str(picture))
        self.page.wait_for_selector(f"{self.field(name)} img")

    def wait_for_status(self, *parts: str) -> None:
        """Until the status line has all of these."""
        for part in parts:
            self.page.wait_for_function("([id, part]) => document.querySelector(id).innerText.includes(part)",
                                        arg=[self.field("status"), part])

    def tile(self, name: str) -> None:
        self.page.click(f"{self.field('editor')} .iclight-tile[data-light='{name}']")

    def wait_for_desk(self, lights: int, patience: int = 60_000) -> None:
        """Until the light desk under the result shows a set of so many. patience: milliseconds for it to be made."""
        self.page.wait_for_selector(".iclight-desk-place .iclight-desk-canvas", state="visible", timeout=patience)
        self.page.wait_for_function("([tab, lights]) => iclight.desks.places[tab].desk.set.lamps.length === lights",
                                    arg=[self.tab, lights])

    def desk(self, script: str, argument: Any = None) -> Any:
        """The value of an expression about `desk`."""
        given = f"(given) => {{ const {{desk}} = iclight.desks.places.{self.tab}; return {script}; }}"
        return self.page.evaluate(given, argument)
