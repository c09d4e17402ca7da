"""The photo under the light in a real browser: by the graphics card, on a canvas, and the editor's switch."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from javascript.sketches import CLOSE, case, decoded, specs
from lib_iclight.assets import page_scripts

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CUTOUT = EXAMPLES / "astronaut-cutout.webp"
DRAW = """({kind, given}) => {
    const decoded = (text) => Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));
    const picture = (text) => text && {width: given.width, height: given.height, data: decoded(text)};
    const prepared = iclight.sketch.prepare({color: picture(given.color), photo: picture(given.photo),
        background: picture(given.background), own: given.own, map: {...given.map, data: decoded(given.map.data)}});
    const painter = new iclight.preview[kind]();
    return given.specs.map((spec) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [given.width, given.height];
        const context = canvas.getContext("2d");
        context.drawImage(painter.paint(prepared, spec), 0, 0);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
        return btoa(Array.from(data, (code) => String.fromCharCode(code)).join(""));
    });
}"""


@pytest.fixture
def scripts(browser: Any) -> Any:
    """An empty page with the scripts that a sketch needs."""
    page = browser.new_page()
    for file in [one for one in page_scripts(ROOT) if one.name[0] in "1234"]:
        page.add_script_tag(content=file.read_text(encoding="utf-8"))
    yield page
    page.close()


@pytest.mark.parametrize("kind", ["Card", "Plain"])
def test_sketches_are_pythons(scripts: Any, kind: str) -> None:
    if kind == "Card" and not scripts.evaluate("() => !!document.createElement('canvas').getContext('webgl2')"):
        pytest.skip("this browser has no WebGL 2")
    subject, lights = case(), [*specs(50), None]
    made = scripts.evaluate(DRAW, {"kind": kind, "given": subject.for_page(lights)})
    assert len(made) == len(set(made)) == 51
    for spec, text in zip(lights, made, strict=True):
        seen = decoded(text, subject.photo)
        assert (seen[..., 3] == 255).all()
        assert np.abs(seen[..., :3].astype(int) - subject.expected(spec)).max() <= CLOSE, spec


def pixels_of(person: Any) -> NDArray[Any]:
    """The canvas as it is on the page, without handles where no light is chosen, uint8 [H, W, 4]."""
    data = person.page.evaluate("() => document.querySelector('.iclight-canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGBA"))


def view(person: Any, name: str) -> Any:
    return person.page.locator(f"[data-view={name}]")


def shown(person: Any, name: str) -> None:
    person.page.wait_for_function(
        "(name) => document.querySelector(`[data-view=${name}]`).ariaChecked === 'true'", arg=name)


def test_the_photo_is_shown_under_the_light_once_it_is_there(person: Any) -> None:
    assert view(person, "onPhoto").is_disabled() and view(person, "onMap").get_attribute("aria-checked") == "true"
    person.drop("foreground", EXAMPLES / "rendered-vase.png")
    shown(person, "onPhoto")
    assert "sketch" in person.page.inner_text(".iclight-shown .iclight-message")
    person.tile("left")
    person.page.wait_for_timeout(300)
    left = pixels_of(person)
    person.tile("right")
    person.page.wait_for_timeout(300)
    right = pixels_of(person)
    subject = np.s_[left.shape[0] // 2 - 60:left.shape[0] // 2 + 60]
    half = left.shape[1] // 2

    def bright(picture: NDArray[Any]) -> float:
        rows = picture[subject][..., :3].astype(float)
        return float(rows[:, half - 80:half].mean() - rows[:, half:half + 80].mean())

    assert bright(left) > bright(right) + 10
    view(person, "onMap").click()
    shown(person, "onMap")
    person.page.wait_for_timeout(300)
    ramp = pixels_of(person)[5:15, :, :3].mean(axis=(0, 2))
    assert ramp[-20:].mean() > ramp[:20].mean() + 60  # the light map from the right, under a trace of the photo
    view(person, "onMap").press("ArrowRight")
    shown(person, "onPhoto")


def test_a_light_map_of_ones_own_takes_the_sketchs_place(person: Any) -> None:
    person.drop("foreground", CUTOUT)
    shown(person, "onPhoto")
    person.page.locator("#iclight_studio_light_map_group .label-wrap").first.click()
    person.drop("light_map", EXAMPLES / "rocket.jpg")
    shown(person, "onMap")
    assert view(person, "onPhoto").is_disabled()


def test_the_light_of_the_background(person: Any, tmp_path: Path) -> None:
    """The button asks for a background; its light is drawn, told, and becomes a light of one's own when it is moved."""
    person.drop("foreground", CUTOUT)
    person.page.click("[data-do=fromBackground]")
    person.wait_for_light("light === 'from background'")
    person.wait_for_status("Drop a background: its light will be found.")
    person.page.wait_for_selector(person.field("background"), state="visible")
    wall = Image.fromarray(np.tile((20 + 2.5 * np.arange(80)).astype(np.uint8), (60, 1)))
    path = tmp_path / "wall.png"
    wall.save(path)
    person.drop("background", path)
    person.wait_for_status("lit by the light of the background", "clear)")
    person.page.wait_for_function("() => iclight.editor.editors.studio.spec.lights.length === 1")
    found = person.page.evaluate("() => iclight.editor.editors.studio.spec.lights[0].angle")
    assert min(found, 360 - found) < 5  # the right is bright
    person.page.locator(".iclight-fields [data-field=intensity]").focus()
    person.page.keyboard.press("ArrowRight")
    person.wait_for_light("light.startsWith('{')")
    assert json.loads(person.light)["lights"][0]["angle"] == pytest.approx(found)
