"""The desk as one file, opened from disk in a browser that has no network.

Its mixtures are Python's, and it can be used with mouse, finger and keyboard.
"""

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

from lib_iclight.stage import EIGHT, Stage, from_pictures, mix_codes, over, save, weights_of
from lib_iclight.stage.desk import read_mix, write_desk
from lib_iclight.stage.environment import from_panorama
from lib_iclight.stage.hdr import read_hdr, write_hdr

WIDTH, HEIGHT = 96, 72
PAINTERS = ("webgl", "plain")
TITLE = "A <set> & \"more\" </script>"


def smooth_noise(rng: np.random.Generator, count: int) -> NDArray[Any]:
    """Linear light [count, H, W, 3] with dark and bright parts, that no 8-bit code hits."""
    coarse = (rng.random((count, 6, 8, 3)) ** 2.2 * 255).astype(np.uint8)
    pictures = [np.asarray(Image.fromarray(one).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for one in coarse]
    noise = rng.normal(0, 0.01, (count, HEIGHT, WIDTH, 3))
    return np.asarray((np.stack(pictures) / 255.0 + noise).clip(0.0, 1.0), np.float32)


@pytest.fixture(scope="module")
def stage() -> Stage:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    alpha = (36 - np.hypot(y - HEIGHT / 2, x - WIDTH / 2)).clip(0, 1)
    return from_pictures(EIGHT, smooth_noise(np.random.default_rng(16), len(EIGHT)), alpha.astype(np.float32))


class Client:
    """Someone who was mailed a desk."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self.asked.append(request.url.split(",")[0].split("?")[0]))

    def open(self, file: Path) -> None:
        self.page.goto(file.as_uri())
        self.page.wait_for_selector(".iclight-desk-canvas")

    def desk(self, script: str, argument: Any = None) -> Any:
        """The value of an expression about `desk`."""
        return self.page.evaluate(f"(given) => {{ const desk = window.desk; return {script}; }}", argument)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.desk("desk.state"))

    def seen(self) -> NDArray[Any]:
        """What the desk shows, uint8 [H, W, 4], colours multiplied by alpha on WebGL."""
        width, height, data = self.desk("""(() => {
            const {width, height, data} = desk.painter.read();
            return [width, height, btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
        })()""")
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    def mixed_by(self, stage: Stage) -> NDArray[Any]:
        """What Python makes of the mix that the desk would save: uint8 [H, W, 3]."""
        weights, exposure = read_mix(self.saved("saveMix"), stage.lamps, stage.width / stage.height)
        return np.asarray(mix_codes(stage, weights, exposure))

    def saved(self, button: str) -> str:
        return self.saved_bytes(button).decode()

    def saved_bytes(self, button: str) -> bytes:
        with self.page.expect_download() as download:
            self.page.click(f"[data-do={button}]")
        return Path(download.value.path()).read_bytes()

    def give(self, name: str, *paths: Path) -> None:
        self.page.locator(f".iclight-desk-side [data-open={name}]").set_input_files([str(path) for path in paths])

    def place(self, u: float, v: float) -> tuple[float, float]:
        """A place of the picture, 0..1, on the screen."""
        box = self.page.locator(".iclight-desk-picture").bounding_box()
        return box["x"] + u * box["width"], box["y"] + v * box["height"]

    def says(self, text: str) -> None:
        self.page.wait_for_function("(text) => document.querySelector('.iclight-desk [role=status]').textContent"
                                    ".includes(text)", arg=text)


@pytest.fixture(scope="module")
def file(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mail") / "desk é.html"
    write_desk(stage, path, TITLE)
    return path


def visit(browser: Any, file: Path, plain: bool | None = False, **options: Any) -> Iterator[Client]:
    """plain: whether to do without WebGL; None leaves that to the desk, and these browsers have no graphics card."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}, **options)
    # The page keeps its desk to itself: take it as it is made.
    context.add_init_script("""
        let made;
        Object.defineProperty(globalThis, "iclight", {configurable: true, get: () => made, set: (value) => {
            made = value;
            let inside;
            Object.defineProperty(value, "desk", {get: () => inside, set: (given) => {
                const mount = (element, options) => window.desk = given.mount(element, {...options, plain: PLAIN});
                inside = {...given, mount};
            }});
        }});""".replace("PLAIN", "undefined" if plain is None else str(plain).lower()))
    client = Client(context.new_page())
    client.open(file)
    assert client.desk("desk.painter.constructor.name") == ("GlPainter" if plain is False else "PlainPainter")
    yield client
    context.close()
    assert client.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in client.asked), client.asked


@pytest.fixture(params=PAINTERS)
def client(browser: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """At a desk, with WebGL and without."""
    yield from visit(browser, file, plain=request.param == "plain")


@pytest.fixture
def at_desk(browser: Any, file: Path) -> Iterator[Client]:
    """At a desk with WebGL."""
    yield from visit(browser, file)


def test_fifty_mixtures_are_pythons(client: Client, stage: Stage) -> None:
    rng = np.random.default_rng(50)
    worst = 0
    for number in range(50):
        weights = rng.random((len(EIGHT), 3)) * rng.random((len(EIGHT), 1)) * 2
        weights[rng.random(len(EIGHT)) < 0.4] = 0
        weights[rng.integers(len(EIGHT))] = rng.random(3) + 0.1
        auto = number % 2 == 0
        stops = 0 if auto else float(rng.uniform(-2, 0.5))
        client.desk("""(() => {
            const {weights, auto, stops} = given;
            [desk.weights, desk.factor] = [weights, auto ? desk.set.meter(weights) : 2 ** stops];
            desk.paint();
        })()""", {"weights": weights.tolist(), "auto": auto, "stops": stops})
        expected = mix_codes(stage, weights, "auto" if auto else stops)
        worst = max(worst, int(np.abs(client.seen()[..., :3].astype(int) - expected).max()))
    assert worst <= 2


def test_what_is_saved_makes_the_same_picture_in_python(client: Client, stage: Stage) -> None:
    for light in ("sunset", "left", "neon pair"):
        client.page.click(f"[data-light='{light}']")
        assert np.abs(client.seen()[..., :3].astype(int) - client.mixed_by(stage)).max() <= 2, light
    client.page.locator("[data-field=ev]").focus()
    for _ in range(8):
        client.page.keyboard.press("ArrowLeft")
    assert client.state["ev"] == pytest.approx(-0.4)
    assert np.abs(client.seen()[..., :3].astype(int) - client.mixed_by(stage)).max() <= 2
    client.page.locator("[data-knob=top]").press("Shift+ArrowUp")
    assert client.state["kind"] == "weights"
    assert np.abs(client.seen()[..., :3].astype(int) - client.mixed_by(stage)).max() <= 2


def test_the_saved_picture_is_whole_and_pythons(client: Client, stage: Stage) -> None:
    client.page.click("[data-light=window]")
    saved = np.asarray(Image.open(io.BytesIO(client.saved_bytes("savePicture"))))
    assert saved.shape == (HEIGHT, WIDTH, 4) and (saved[..., 3] == 255).all()
    assert np.abs(saved[..., :3].astype(int) - client.mixed_by(stage)).max() <= 2


def test_backgrounds(client: Client, stage: Stage, tmp_path: Path) -> None:
    under = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(under).save(tmp_path / "wall.png")
    client.page.click("[data-light=top]")
    mixture = client.mixed_by(stage).astype(np.uint8)
    client.give("picture", tmp_path / "wall.png")
    client.page.wait_for_selector("[data-do=picture][aria-pressed=true]")
    alpha = np.rint(stage.subject * 255).astype(np.float32) / 255
    expected = over(mixture, alpha, under)
    assert np.abs(client.seen()[..., :3].astype(int) - expected).max() <= 2
    client.page.click("[data-do=none]")
    seen = client.seen()
    assert np.abs(seen[..., 3].astype(int) - np.rint(alpha * 255)).max() <= 1
    inside = alpha == 1
    assert np.abs(seen[..., :3].astype(int) - mixture)[inside].max() <= 2
    saved = np.asarray(Image.open(io.BytesIO(client.saved_bytes("savePicture"))))
    assert np.abs(saved[..., 3].astype(int) - np.rint(alpha * 255)).max() <= 1
    client.page.click("[data-do=own]")
    assert np.abs(client.seen()[..., :3].astype(int) - mixture).max() <= 2


def test_a_lamp_is_dragged_over_the_picture_and_the_weights_follow(at_desk: Client, stage: Stage) -> None:
    page = at_desk.page
    page.mouse.move(*at_desk.place(0.2, 0.5))
    page.mouse.down()
    weights = at_desk.desk("desk.weights")
    assert sum(weights[0]) > sum(weights[1])  # left, right
    page.mouse.move(*at_desk.place(0.8, 0.5), steps=5)
    page.wait_for_function("() => window.desk.weights[1][0] > window.desk.weights[0][0]")
    page.mouse.up()
    [lamp] = at_desk.state["spec"]["lights"]
    assert lamp["kind"] == "point" and lamp["x"] == pytest.approx(0.8, abs=0.01)
    expected = weights_of(json.dumps(at_desk.state["spec"]), EIGHT, WIDTH / HEIGHT)
    np.testing.assert_allclose(at_desk.desk("desk.weights"), expected, atol=1e-4)
    page.mouse.move(*at_desk.place(0.8, 0.5))  # the same lamp again
    page.mouse.down()
    page.mouse.move(*at_desk.place(0.5, 0.1), steps=5)
    page.mouse.up()
    [lamp] = at_desk.state["spec"]["lights"]
    assert (lamp["x"], lamp["y"]) == pytest.approx((0.5, 0.1), abs=0.01)
    page.click("[data-do=undo]")
    assert at_desk.state["spec"]["lights"][0]["x"] == pytest.approx(0.8, abs=0.01)


def test_a_knob_is_dragged(at_desk: Client) -> None:
    page = at_desk.page
    page.click("[data-light=left]")
    box = page.locator("[data-knob=right]").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 60, steps=4)
    page.wait_for_selector("[data-light=left][aria-pressed=false]")  # while it is still held
    assert "by hand" in page.inner_text(".iclight-desk [role=status]")
    page.mouse.up()
    lights = at_desk.state["lights"]
    assert lights[1]["intensity"] == pytest.approx(0.5, abs=0.02) and lights[0]["intensity"] == 1
    assert json.loads(at_desk.desk("desk.json")) == {"left": [1, 1, 1], "right": [0.5, 0.5, 0.5]}
    assert page.get_attribute("[data-knob=right]", "aria-valuenow") == "0.5"
    page.select_option("[data-field=colouring] >> visible=true", "temperature")
    assert at_desk.state["lights"][1]["color"] == "5000K"
    page.dblclick("[data-knob=left]")
    assert at_desk.state["lights"][0]["intensity"] == 0
    page.dblclick("[data-knob=left]")
    assert at_desk.state["lights"][0]["intensity"] == 1


def test_what_is_said_is_of_the_latest_change(at_desk: Client) -> None:
    page = at_desk.page

    def said() -> str:
        return str(page.inner_text(".iclight-desk [role=status]"))

    assert "pictures" in said()
    page.click("[data-light=left]")
    assert said() == ""
    page.click("[data-do=undo]")
    assert said() == "Undone"
    page.locator("[data-field=ev]").press("ArrowRight")
    assert said() == ""
    page.click("[data-do=addPoint]")
    assert "added" in said()
    page.click("[data-light=right]")
    assert said() == ""


def test_the_sets_lights_are_called_as_their_presets_are(at_desk: Client) -> None:
    knob = at_desk.page.locator("[data-knob=top-left]")
    assert (knob.get_attribute("aria-label"), knob.get_attribute("title")) == ("Top left", "Top left")
    knob.focus()
    chosen = at_desk.page.locator("[data-field=chosen] >> visible=true")
    assert chosen.locator("option:checked").inner_text() == "Top left"


def test_a_panorama_is_turned(at_desk: Client, tmp_path: Path) -> None:
    radiance = np.full((32, 64, 3), 0.05, np.float32)
    radiance[14:18, 46:50] = (40, 20, 10)  # a warm lamp at the camera's right
    (tmp_path / "room.hdr").write_bytes(write_hdr(radiance))
    at_desk.give("panorama", tmp_path / "room.hdr")
    at_desk.says("panorama")
    environment = from_panorama(read_hdr(write_hdr(radiance)))
    slider = at_desk.page.locator("[data-field=rotation]")
    for presses in (0, 30):
        slider.focus()
        for _ in range(presses):
            at_desk.page.keyboard.press("ArrowRight")
        expected = environment.turned(presses).weights(EIGHT, smooth=True)
        assert at_desk.state["rotation"] == presses
        np.testing.assert_allclose(at_desk.desk("desk.weights"), expected, rtol=1e-3, atol=1e-4)
        assert expected[1].argmax() == 0 and expected[1, 0] == expected[:8, 0].max()
    picture = Image.fromarray((radiance.clip(0, 1) * 255).astype(np.uint8))
    picture.save(tmp_path / "room.png")
    at_desk.give("open", tmp_path / "room.png")  # twice as wide as high: a panorama too
    at_desk.page.wait_for_function("() => window.desk.state.id === 1")


def test_by_keyboard_alone(at_desk: Client) -> None:
    page = at_desk.page
    page.locator("[data-do=addPoint]").focus()
    page.keyboard.press("Enter")
    assert at_desk.state["spec"]["lights"][0]["x"] == 0.3
    lamp = page.locator("[data-lamp='0']")
    lamp.press("ArrowRight")
    lamp.press("Shift+ArrowDown")
    light = at_desk.state["spec"]["lights"][0]
    assert (light["x"], light["y"]) == (0.31, 0.4)
    assert "31, 40" in lamp.get_attribute("aria-label")
    page.keyboard.press("Control+z")
    assert at_desk.state["spec"]["lights"][0]["y"] == 0.3
    at_desk.says("Undone")
    page.keyboard.press("Control+y")
    assert at_desk.state["spec"]["lights"][0]["y"] == 0.4
    lamp.press("Delete")
    assert at_desk.state["spec"]["lights"] == []
    page.keyboard.press("Control+z")
    shown = at_desk.seen()
    page.locator("[data-knob=left]").focus()
    page.keyboard.down("b")
    at_desk.says("Before")
    assert (at_desk.seen() != shown).any()
    page.keyboard.up("b")
    at_desk.says("After")
    assert (at_desk.seen() == shown).all()
    page.keyboard.press("ArrowUp")
    assert at_desk.state["kind"] == "weights"
    page.keyboard.press("Enter")
    assert at_desk.state["lights"][0]["intensity"] == 0
    # Everything can be reached by Tab: each control once, in the order of the page.
    reached = set()
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("""() => { const {knob, do: button, field, light} = document.activeElement.dataset;
            return knob || button || field || light || ""; }"""))
    assert {"left", "ambient", "undo", "before", "orbit", "sunset", "addPoint", "auto", "ev", "intensity",
            "savePicture", "copyJson", "panorama"} <= reached


def test_an_orbit_plays_and_stops_where_it_is(at_desk: Client) -> None:
    at_desk.page.click("[data-do=orbit]")
    at_desk.page.wait_for_function("() => window.desk.state.spec?.lights[0]?.angle < 80")
    assert at_desk.page.inner_text("[data-do=orbit]") == "Stop"
    at_desk.page.click("[data-do=orbit]")
    before = at_desk.state
    assert before["spec"]["lights"][0]["kind"] == "directional"
    at_desk.page.wait_for_timeout(100)
    assert at_desk.state == before
    at_desk.page.click("[data-do=undo]")
    assert at_desk.state["spec"]["lights"] == []
    at_desk.page.click("[data-light=top]")
    at_desk.page.keyboard.press("o")
    at_desk.page.wait_for_function("() => window.desk.state.light === null")
    at_desk.page.keyboard.press("Control+z")  # back to where it began
    assert at_desk.state["light"] == "top"
    assert at_desk.page.inner_text("[data-do=orbit]") == "Play"


def test_a_saved_mix_and_another_set_are_opened(at_desk: Client, tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text('{"version": 1, "weights": {"top": [1, 0.5, 0], "ambient": 0.25},'
                                       ' "exposure": -1}', encoding="utf-8")
    at_desk.give("open", tmp_path / "mix.json")
    at_desk.page.wait_for_function("() => window.desk.state.kind === 'weights'")
    assert json.loads(at_desk.desk("desk.json"))["ambient"] == [0.25, 0.25, 0.25] and at_desk.state["ev"] == -1
    (tmp_path / "mix.json").write_text('{"version": 1, "weights": {"topp": 1}}', encoding="utf-8")
    at_desk.give("open", tmp_path / "mix.json")
    at_desk.page.wait_for_selector("[role=alert]:has-text('topp')")
    rng = np.random.default_rng(9)
    other = from_pictures(EIGHT[:3], smooth_noise(rng, 3)[:, :40, :64])
    save(other, tmp_path / "set")
    at_desk.give("open", *sorted((tmp_path / "set").iterdir()))
    at_desk.page.wait_for_function("() => window.desk.set.lamps.length === 3")
    at_desk.page.click("[data-light=left]")
    assert np.abs(at_desk.seen()[..., :3].astype(int) - at_desk.mixed_by(other)).max() <= 2
    assert at_desk.page.locator("[data-do=none]").is_disabled()  # without a mask
    at_desk.page.dblclick("[data-knob=left]")
    at_desk.says("All lights are off")
    at_desk.give("open", tmp_path / "set" / "stage.json")
    at_desk.page.wait_for_selector("[role=alert]:has-text('Choose it together with stage.json')")


def test_what_cannot_be_read_is_told(at_desk: Client, tmp_path: Path) -> None:
    for name, content, words in (("a.exr", b"v/1\x01", "Convert the panorama"),
                                 ("b.hdr", b"#?RADIANCE\n\n-Y 8 +X 16\n12", "cut short"),
                                 ("c.png", b"no picture", "cannot be read"), ("d.json", b"[1", "cannot be read"),
                                 ("e.json", b"{}", "neither"), ("f.txt", b"hm", "cannot be read")):
        (tmp_path / name).write_bytes(content)
        at_desk.give("open", tmp_path / name)
        at_desk.page.wait_for_selector(f"[role=alert]:has-text('{words}')")


def test_a_processor_in_the_graphics_cards_place_is_not_asked(browser: Any, file: Path, stage: Stage) -> None:
    """A plain canvas is many times as quick."""
    for client in visit(browser, file, plain=None):
        client.page.click("[data-light=left]")
        assert np.abs(client.seen()[..., :3].astype(int) - client.mixed_by(stage)).max() <= 2


def test_without_webgl_in_the_middle_it_goes_on(at_desk: Client, stage: Stage) -> None:
    at_desk.page.click("[data-light=left]")
    at_desk.desk("desk.painter.gl.getExtension('WEBGL_lose_context').loseContext()")
    at_desk.page.wait_for_function("() => window.desk.painter.constructor.name === 'PlainPainter'")
    assert np.abs(at_desk.seen()[..., :3].astype(int) - at_desk.mixed_by(stage)).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (800, 1000), (360, 740)])
def test_it_fits_and_can_be_hit(at_desk: Client, width: int, height: int) -> None:
    page = at_desk.page
    page.set_viewport_size({"width": width, "height": height})
    page.click("[data-light='neon pair']")
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    small = page.evaluate("""() => [...document.querySelectorAll(".iclight-desk :is(button, select, input)")]
        .filter((one) => one.checkVisibility())
        .map((one) => [one, (one.closest("label") || one).getBoundingClientRect()])
        .filter(([, box]) => Math.min(box.width, box.height) < 35.5).map(([one]) => one.outerHTML)""")
    assert small == []
    boxes = [page.locator(f"[data-knob='{lamp.name}']").bounding_box() for lamp in EIGHT]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert abs(one["x"] - other["x"]) >= 36 or abs(one["y"] - other["y"]) >= 36


def test_a_finger_puts_and_drags_a_lamp(browser: Any, file: Path) -> None:
    for person in visit(browser, file, has_touch=True):
        person.page.touchscreen.tap(*person.place(0.25, 0.5))
        person.page.wait_for_function("() => window.desk.state.spec?.lights.length === 1")
        [light] = person.state["spec"]["lights"]
        assert light["x"] == pytest.approx(0.25, abs=0.01)
        lamp = "getComputedStyle(document.querySelector('[data-lamp]'))"
        assert person.page.evaluate(f"() => {lamp}.touchAction") == "none"


def test_an_empty_desk_takes_a_set(browser: Any, file: Path, stage: Stage, tmp_path: Path) -> None:
    """As a page mounts it: without pictures, which then come from disk, named after presets."""
    for person in visit(browser, file):
        person.desk("window.desk = iclight.desk.mount(document.querySelector('main'), {presets: desk.presets})")
        assert person.page.locator(".iclight-desk-bench").is_hidden()
        assert stage.pictures is not None
        for lamp, picture in zip(EIGHT[:4], stage.pictures[:4], strict=True):
            Image.fromarray((picture * 255).astype(np.uint8)).save(tmp_path / f"{lamp.name}.png")
        person.page.locator(".iclight-desk-empty [data-open=open]").set_input_files(
            [str(path) for path in sorted(tmp_path.glob("*.png"))])
        person.page.wait_for_function("() => window.desk.set?.lamps.length === 4")
        assert sorted(person.desk("desk.set.lamps.map(({name}) => name)")) == ["bottom", "left", "right", "top"]
