"""A browser on the studio's page. Without Chromium these tests are skipped and say so; in CI they fail: chromium.py."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from running import running

from lib_iclight.assets import page_scripts
from lib_iclight.settings import STAGES

from . import visitor
from .visitor import launched, need

SWITCHES = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
            "--host-resolver-rules=MAP evil.test 127.0.0.1")

WIDTH, HEIGHT = 64, 80
STAGE_PICTURES = np.random.default_rng(4).integers(0, 256, (len(STAGES["4"]), HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launched(SWITCHES)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of models without any, and no way to fetch one."""
    folder = tmp_path_factory.mktemp("models")
    environment = pytest.MonkeyPatch()
    environment.setenv("HF_HUB_OFFLINE", "1")
    environment.setenv("U2NET_HOME", str(folder))
    yield folder
    environment.undo()


def served(page: Any, *folders: Path) -> Iterator[str]:
    """The address of a Gradio page while it is served. folders: whose files it may hand out."""
    _, address, _ = page.queue().launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, show_api=False,
                                        allowed_paths=[str(folder) for folder in folders])
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
def img2img(studio: str, models: Path) -> Iterator[str]:
    """The address of a page with what of a WebUI's img2img tab the panel meets: pictures in tabs of their own.

    The studio starts first: while it runs its folder is where Gradio looks for every page's uploads.
    """
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
        in_browser(page.load, page_script(page_scripts(ROOT)))
    yield from served(page)


def loading(folder: Path) -> str:
    """A script that puts a folder's scripts into the page by their addresses, as a WebUI does; the others it leaves."""
    addresses = [f"file={file.as_posix()}?{file.stat().st_mtime}" for file in sorted(folder.glob("*.js"))]
    return f"""() => {{ for (const address of {json.dumps(addresses)}) {{
        const script = document.createElement("script");
        [script.src, script.async] = [address, false];
        document.head.append(script);
    }} }}"""


@pytest.fixture(scope="module")
def webui(studio: str, models: Path) -> Iterator[str]:
    """The address of a page with what of a WebUI's txt2img tab the desk meets; its Generate makes a stage of 4.

    The studio starts first, as for `img2img`.
    The gallery has a grid first and a mask last, which are not the stage's, and the info is in a hidden field.
    """
    gr = need("gradio")
    from lib_iclight.folders import Folders
    from lib_iclight.panel.gradio_host import GRADIO_4, in_browser, on_server
    from lib_iclight.panel.panel import Panel
    from lib_iclight.session import Session
    from lib_iclight.stage import set_on_page
    from lib_iclight.studio.page import FONTS, ROOT, always_open

    def generate() -> tuple[list[Any], str]:
        grid = Image.new("RGB", (3 * WIDTH, 2 * HEIGHT), "gray")
        pictures = [Image.fromarray(one) for one in STAGE_PICTURES]
        alpha = np.linspace(0, 1, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, 0)
        told = set_on_page([(name, 1 + place) for place, name in enumerate(STAGES["4"])], alpha, 7)
        info = {"infotexts": [], "index_of_first_image": 1, "extra_generation_params": {"IC-Light desk": [told]}}
        return [grid, *pictures, Image.fromarray(STAGE_PICTURES[0][..., 0])], json.dumps(info)

    whole = ".gradio-container { max-width: none !important; }\n"  # as in WebUIs
    with gr.Blocks(css=whole + (ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False,
                   theme=gr.themes.Default(font=FONTS, font_mono=["monospace"])) as page:
        with gr.Row():
            with gr.Column():
                panel = Panel("txt2img", Session(folders=Folders.under(models)), always_open)
            with gr.Column(elem_id="txt2img_results"):
                gallery = gr.Gallery(elem_id="txt2img_gallery", columns=4, preview=True,
                                     **({"format": "png"} if GRADIO_4 else {}))
                info = gr.Textbox(visible=False, elem_id="generation_info_txt2img")
                run = gr.Button("Generate", elem_id="txt2img_generate")
        panel.connect({})
        on_server(run.click, generate, [], [gallery, info], quick=False)
        in_browser(page.load, loading(ROOT / "javascript"))
    yield from served(page, ROOT / "javascript")


class Visitor(visitor.Visitor):
    """A page with a panel as a person meets it."""

    def open(self, address: str) -> None:
        self.page.goto(address, wait_until="domcontentloaded")
        self.page.wait_for_selector(".iclight-tile")

    @property
    def light(self) -> str:
        """The value of the light widget."""
        return str(self.page.input_value(f"{self.field('light')} input"))

    def wait_for_light(self, script: str) -> None:
        """Until the light widget's value, `light`, fulfils a JavaScript expression."""
        self.page.wait_for_function(
            f"() => {{ const light = document.querySelector('{self.field('light')} input').value; return {script}; }}")

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


@pytest.fixture
def at_webui(browser: Any, webui: str) -> Iterator[Visitor]:
    """Someone at a txt2img tab."""
    yield from visit(browser, webui, "txt2img")
