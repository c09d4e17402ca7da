"""A browser on the studio's page. Without Chromium these tests are skipped and say so; in CI they fail: chromium.py."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from running import running

from . import chromium

SWITCHES = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--ignore-gpu-blocklist", "--host-resolver-rules=MAP evil.test 127.0.0.1"]
HARMLESS = ("iframeResizer", "Failed to load resource: net::ERR_NAME_NOT_RESOLVED",
            "Failed to load resource: net::ERR_INTERNET_DISCONNECTED", "manifest.json")
"""What Gradio's own page says where there is no internet."""


def need(module: str) -> Any:
    """A module that only these tests need."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        chromium.without(f"{module.split('.')[0]} is not installed")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = need("playwright.sync_api")
    program = chromium.find()
    if program is None:
        chromium.without("there is no Chromium: install one, or name it in the variable CHROMIUM")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of models without any, and no way to fetch one."""
    folder = tmp_path_factory.mktemp("models")
    environment = pytest.MonkeyPatch()
    environment.setenv("HF_HUB_OFFLINE", "1")
    environment.setenv("U2NET_HOME", str(folder))
    yield folder
    environment.undo()


def served(page: Any) -> Iterator[str]:
    """The address of a Gradio page while it is served."""
    _, address, _ = page.queue().launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, show_api=False)
    yield address
    page.close(verbose=False)


@pytest.fixture(scope="module")
def studio(browser: Any, models: Path) -> Iterator[str]:
    """The address of a running studio over the pocket model, as it is printed: with the token."""
    need("gradio")
    from lib_iclight.session import Session
    from lib_iclight.studio.serve import prepared

    session = Session.open(models=models, device="cpu")
    with prepared(session, token="the token of the tests") as (server, addresses), running(server):
        yield addresses[0]


@pytest.fixture(scope="module")
def img2img(browser: Any, models: Path) -> Iterator[str]:
    """The address of a page with what of a WebUI's img2img tab the panel meets: pictures in tabs of their own."""
    gr = need("gradio")
    from lib_iclight.folders import Folders
    from lib_iclight.panel.gradio_host import image, in_browser, page_script
    from lib_iclight.panel.panel import Panel
    from lib_iclight.session import Session
    from lib_iclight.studio.page import FONTS, ROOT, always_open

    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False,
                   theme=gr.themes.Default(font=FONTS, font_mono=["monospace"])) as page:
        widgets = {}
        with gr.Tabs():
            for title, name in (("img2img", "img2img_image"), ("Inpaint", "img2maskimg")):
                with gr.TabItem(title):
                    widgets[name] = image(title, name, 240)
        for name in ("width", "height"):
            widgets[f"img2img_{name}"] = gr.Slider(64, 2048, value=512, step=8, elem_id=f"img2img_{name}")
        Panel("img2img", Session(folders=Folders.under(models)), always_open).connect(widgets)
        in_browser(page.load, page_script(sorted((ROOT / "javascript").glob("*.js"))))
    yield from served(page)


class Visitor:
    """A page with a panel as a person meets it."""

    def __init__(self, page: Any, tab: str = "studio") -> None:
        self.page = page
        self.tab = tab
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
        return f"#iclight_{self.tab}_{name}"

    def wait_for_status(self, *parts: str) -> None:
        """Until the status line has all of these."""
        for part in parts:
            self.page.wait_for_function("([id, part]) => document.querySelector(id).innerText.includes(part)",
                                        arg=[self.field("status"), part])

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

    def result(self) -> NDArray[Any]:
        """Generate, and look at the first picture: uint8 [H, W, 3]."""
        self.page.fill("#studio_infotext textarea", "")
        self.generate()
        self.page.wait_for_function("() => document.querySelector('#studio_infotext textarea').value.includes('Steps:')"
                                    " && document.querySelector('#studio_gallery img')?.complete")
        url = self.page.evaluate("() => document.querySelector('#studio_gallery img').src")
        data = self.page.evaluate("""async (url) => {
            const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
            return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
        }""", url)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def canvas_pixels(self) -> NDArray[Any]:
        """What the light editor's canvas shows: uint8 [H, W, 3]."""
        width, height, data = self.page.evaluate("""() => {
            const canvas = document.querySelector(".iclight-canvas"), {width, height} = canvas;
            const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [width, height, btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
        }""")
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]

    def bright_side(self) -> str:
        """On which side the light map on the canvas is brighter, looked at without picture and handles."""
        return str(self.page.evaluate("""() => {
            const {lights, editor} = window.iclight;
            const {spec} = editor.editors.studio, {data} = lights.draw(spec, 8, 8);
            const sum = (from) => { let s = 0; for (let r = 0; r < 8; r++) for (let c = from; c < from + 4; c++)
                s += data[(r * 8 + c) * 4]; return s; };
            return sum(0) > sum(4) ? "left" : "right";
        }"""))


def visit(browser: Any, address: str, tab: str) -> Iterator[Visitor]:
    """Someone at a page; in the end the browser must not have complained."""
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.set_default_timeout(60_000)
    made = Visitor(page, tab)
    made.open(address)
    yield made
    page.close()
    assert made.complaints == []


@pytest.fixture
def person(browser: Any, studio: str) -> Iterator[Visitor]:
    """Someone at the studio's page."""
    yield from visit(browser, studio, "studio")


@pytest.fixture
def at_img2img(browser: Any, img2img: str) -> Iterator[Visitor]:
    """Someone at an img2img tab."""
    yield from visit(browser, img2img, "img2img")
