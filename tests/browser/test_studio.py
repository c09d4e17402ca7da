"""The studio's page in a real browser: from dropping a photo to a relit picture, and what may happen in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CUTOUT = EXAMPLES / "astronaut-cutout.webp"
LAMP = {"ambient": "#101010", "lights": [
    {"kind": "point", "x": 0.25, "y": 0.5, "radius": 0.8, "color": "3200K", "intensity": 1.2}]}


def set_light(person: Any, light: str) -> None:
    """Type a light into the widget, as a person without the editor would."""
    field = f"{person.field('light')} input"
    person.page.fill(field, light)
    person.page.press(field, "Enter")
    person.page.press(field, "Tab")


def want(person: Any, words: str) -> Any:
    return person.page.get_by_role("radio", name=words, exact=True)


def canvas_at(person: Any, x: float, y: float) -> tuple[float, float]:
    box = person.page.locator(".iclight-canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(person: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    person.page.locator(".iclight-canvas").scroll_into_view_if_needed()
    person.page.mouse.move(*canvas_at(person, *start))
    person.page.mouse.down()
    person.page.mouse.move(*canvas_at(person, *end), steps=12)
    person.page.mouse.up()


def test_from_a_photo_to_a_relit_picture(person: Any) -> None:
    person.small()
    person.drop("foreground", CUTOUT)  # 1
    person.page.wait_for_selector(".iclight-preview .iclight-mask img")
    person.tile("left")  # 2
    person.wait_for_light("light === 'left'")
    person.page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText"
                                  ".includes('own transparency · lit by Left at 0.9')")
    person.generate()  # 3
    person.page.wait_for_selector("#studio_gallery img")
    text = person.page.input_value("#studio_infotext textarea")
    assert "IC-Light mode: fc, IC-Light light: left" in text and "Size: 128x128" in text
    person.page.wait_for_selector(".iclight-pair .iclight-after")
    slider = person.page.locator(".iclight-compare input[type=range]")
    slider.focus()
    slider.press("Home")
    assert "0%" in person.page.locator(".iclight-after").get_attribute("style")


def test_tiles_write_the_light_and_show_it(person: Any) -> None:
    for name in ("sunset", "top-left", "none"):
        person.tile(name)
        person.wait_for_light(f"light === '{name}'")
        pressed = person.page.locator(".iclight-tile[aria-pressed=true]")
        assert pressed.count() == 1 and pressed.get_attribute("data-light") == name


def test_dragging_a_side_light_moves_the_bright_side(person: Any) -> None:
    person.tile("left")
    person.wait_for_light("light === 'left'")
    assert person.bright_side() == "left"
    drag(person, (0.08, 0.5), (0.92, 0.52))
    person.wait_for_light("light.startsWith('{')")
    assert person.bright_side() == "right"
    [light] = json.loads(person.light)["lights"]
    assert light["angle"] < 10 or light["angle"] > 350


def test_dragging_a_lamp_and_its_size(person: Any) -> None:
    set_light(person, json.dumps(LAMP))
    person.page.wait_for_selector(".iclight-fields [data-field=radius]")
    drag(person, (0.25, 0.5), (0.7, 0.3))
    person.wait_for_light("light.includes('\"x\":0.7')")
    [light] = json.loads(person.light)["lights"]
    assert (light["x"], light["y"]) == pytest.approx((0.7, 0.3), abs=0.02)
    assert light["color"] == "3200K" and light["radius"] == 0.8
    drag(person, (0.02, 0.3), (0.4, 0.3))  # the edge does not fit on the right, so its handle is at the left
    person.wait_for_light("JSON.parse(light).lights[0].radius < 0.5")
    assert json.loads(person.light)["lights"][0]["x"] == light["x"]


def test_undo_and_redo(person: Any) -> None:
    person.tile("left")
    person.tile("neon pair")
    person.page.click(".iclight-button[data-do=remove]")
    person.wait_for_light("light.startsWith('{') && JSON.parse(light).lights.length === 1")
    person.page.click(".iclight-button[data-do=undo]")
    person.wait_for_light("light === 'neon pair'")
    person.page.click(".iclight-button[data-do=undo]")
    person.wait_for_light("light === 'left'")
    person.page.click(".iclight-button[data-do=redo]")
    person.page.click(".iclight-button[data-do=redo]")
    person.wait_for_light("light.startsWith('{')")
    assert person.page.locator(".iclight-button[data-do=redo]").is_disabled()


def test_keyboard(person: Any) -> None:
    person.page.click(".iclight-button[data-do=addPoint]")
    person.wait_for_light("light.startsWith('{')")
    canvas = person.page.locator(".iclight-canvas")
    canvas.focus()
    for key in ("ArrowRight", "Shift+ArrowDown"):
        canvas.press(key)
    person.wait_for_light("JSON.parse(light).lights[0].x === 0.31 && JSON.parse(light).lights[0].y === 0.4")
    canvas.press("Control+z")
    person.wait_for_light("JSON.parse(light).lights[0].y === 0.3")
    canvas.press("Delete")
    person.wait_for_light("light === 'none'")


def test_fields_edit_the_chosen_light(person: Any) -> None:
    person.page.click(".iclight-button[data-do=addPoint]")
    person.page.click(".iclight-button[data-do=copy]")
    person.wait_for_light("light.startsWith('{') && JSON.parse(light).lights.length === 2")
    person.page.select_option("[data-field=colouring]", "temperature")
    person.wait_for_light("JSON.parse(light).lights[1].color === '5000K'")
    person.page.locator("[data-field=intensity]").focus()
    person.page.keyboard.press("ArrowRight")
    person.wait_for_light("JSON.parse(light).lights[1].intensity === 1.05")
    assert json.loads(person.light)["lights"][0]["intensity"] == 1


def test_what_i_want_is_only_another_view_of_the_settings(person: Any) -> None:
    page = person.page
    want(person, "Keep the scene, change the light").check()
    page.locator(f"{person.field('preserve')} button, {person.field('preserve')} .label-wrap").first.click()
    page.wait_for_function("() => document.querySelector('#iclight_studio_keep_background input').checked")
    assert page.input_value(f"{person.field('preserve_color')} input[type=number]") == "0.5"
    want(person, "Place on my background").check()
    page.wait_for_selector(f"{person.field('background')}", state="visible")
    assert page.input_value(f"{person.field('preserve_color')} input[type=number]") == "0"
    page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText"
                           ".includes('Drop a background')")


def test_helpers(person: Any) -> None:
    page = person.page
    person.number("cfg_scale", 7)
    person.drop("foreground", EXAMPLES / "coffee.jpg")  # 600 x 400
    page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText.includes('600×400')")
    page.click(person.field("use_size"))
    page.wait_for_function("() => document.querySelector('#studio_width input[type=number]').value === '768'")
    assert page.input_value("#studio_height input[type=number]") == "512"
    page.click(person.field("recommended"))
    page.wait_for_function("() => document.querySelector('#studio_cfg_scale input[type=number]').value === '2'")
    assert "CFG scale: 7 → 2" in page.inner_text(person.field("note"))
    page.click(f"{person.field('lighting_prompt')} input")
    page.locator(f"{person.field('lighting_prompt')} li").first.click()
    page.wait_for_function("() => document.querySelector('#studio_prompt textarea').value"
                           " === 'best quality, soft studio lighting'")


def test_an_infotext_restores_every_field(person: Any) -> None:
    page = person.page
    text = ('a lamp\nNegative prompt: fog\nSteps: 7, Sampler: Euler a, CFG scale: 3.5, Seed: 12, Size: 192x256, '
            'Denoising strength: 0.4, Hires upscale: 1.5, IC-Light mode: fbc, IC-Light background flip: True, '
            f'IC-Light light: {json.dumps(json.dumps(LAMP, separators=(",", ":")))}, IC-Light light denoise: 0.7, '
            'IC-Light start: light, IC-Light cut-out: none, IC-Light preserve color: 0.25, '
            'IC-Light outputs: mask+raw')
    page.fill("#studio_infotext textarea", text)
    page.click("#studio_use_infotext")
    person.wait_for_light("light.includes('3200K')")
    assert json.loads(person.light) == LAMP
    page.wait_for_selector(".iclight-fields [data-field=radius]")
    numbers = {name: page.input_value(f"#studio_{name} input[type=number]") for name in
               ("steps", "cfg_scale", "width", "height", "hr_scale", "denoising_strength")}
    assert numbers == {"steps": "7", "cfg_scale": "3.5", "width": "192", "height": "256", "hr_scale": "1.5",
                       "denoising_strength": "0.4"}
    assert page.input_value("#studio_prompt textarea") == "a lamp"
    assert page.input_value("#studio_neg_prompt textarea") == "fog"
    assert page.input_value(f"{person.field('light_denoise')} input[type=number]") == "0.7"
    assert page.input_value(f"{person.field('preserve_color')} input[type=number]") == "0.25"
    assert want(person, "Place on my background").is_checked()
    assert page.locator(f"{person.field('background_flip')} input").is_checked()
    checked = page.evaluate("() => [...document.querySelectorAll('#iclight_studio_outputs input')]"
                            ".map((input) => input.checked)")
    assert checked == [False, True, False, True]


@pytest.mark.parametrize(("prepare", "sentence"), [
    (lambda person: None, "there is no foreground picture. Drop one"),
    (lambda person: want(person, "Place on my background").check(), "Add a background picture"),
])
def test_errors_are_text_that_says_what_to_do(person: Any, prepare: Any, sentence: str) -> None:
    person.small()
    if "background" in sentence:
        person.drop("foreground", CUTOUT)
    prepare(person)
    person.page.wait_for_timeout(500)
    person.generate()
    person.page.wait_for_selector("#studio_fault [role=alert]")
    assert sentence in person.page.inner_text("#studio_fault")


def test_a_light_that_cannot_be_read_is_named(person: Any) -> None:
    set_light(person, "lfet")
    person.page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText"
                                  ".includes(\"Did you mean 'left'\")")
    set_light(person, '{"ambient": ')
    person.page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText"
                                  ".includes('not valid JSON')")
