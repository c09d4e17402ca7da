"""The studio's page in a real browser: from dropping a photo to a relit picture, and what may happen in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.color import srgb_to_linear
from lib_iclight.hosts.standalone.pocket import SIDE
from lib_iclight.imaging import fit, fit_alpha, load_image, split_alpha
from lib_iclight.lights import broad_light

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CUTOUT = EXAMPLES / "astronaut-cutout.webp"
VASE = EXAMPLES / "rendered-vase.png"
REFERENCE_BLUR = 0.15
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


def brighter_side(picture: NDArray[Any], alpha: NDArray[Any]) -> float:
    """Mean linear luminance of the subject's right half less that of its left, as a share of both."""
    light = srgb_to_linear(picture / 255.0) @ (0.2126, 0.7152, 0.0722)
    middle = picture.shape[1] // 2
    left, right = ((light[:, half] * alpha[:, half]).sum() / alpha[:, half].sum()
                   for half in (slice(None, middle), slice(middle, None)))
    return float((right - left) / (right + left))


def test_dragging_a_light_moves_the_bright_side_of_the_result(person: Any) -> None:
    """From dropping a photo to two relit pictures, with the mouse alone for the light."""
    person.page.fill("#studio_prompt textarea", "a glossy yellow vase, best quality")
    person.number("steps", 15)
    person.number("seed", 2)
    person.drop("foreground", VASE)
    person.page.wait_for_selector(".iclight-preview .iclight-mask img")
    person.tile("top")
    person.wait_for_light("light === 'top'")
    own = split_alpha(load_image(VASE))[1]
    assert own is not None
    alpha = fit_alpha(own, SIDE, SIDE)
    drag(person, (0.5, 0.08), (0.08, 0.5))
    person.wait_for_light("light.startsWith('{') && Math.abs(JSON.parse(light).lights[0].angle - 180) < 8")
    lit_left = person.result()
    assert lit_left.shape == (SIDE, SIDE, 3)
    drag(person, (0.08, 0.5), (0.92, 0.52))
    person.wait_for_light("light.startsWith('{') && Math.cos(JSON.parse(light).lights[0].angle / 57.3) > 0.99")
    lit_right = person.result()
    left, right = brighter_side(lit_left, alpha), brighter_side(lit_right, alpha)
    assert left < 0 and right - left > 0.1, (left, right)


def test_the_light_of_a_reference_picture(person: Any) -> None:
    person.small()
    person.page.locator("#iclight_studio_light_map_group .label-wrap").first.click()
    person.drop("light_map", EXAMPLES / "rocket.jpg")
    person.wait_for_status("lit by your light map")
    person.page.click("[data-do=takeLight]")
    person.wait_for_status("lit by the light of your picture")
    picture = fit(np.asarray(Image.open(EXAMPLES / "rocket.jpg").convert("RGB")), 128, 128)
    expected = broad_light(picture, REFERENCE_BLUR).astype(int)
    person.page.wait_for_timeout(500)  # the canvas follows
    shown = np.asarray(Image.fromarray(person.canvas_pixels()).resize((128, 128), Image.Resampling.BOX))
    assert np.abs(shown - expected).max() <= 4
    person.drop("foreground", CUTOUT)
    person.generate()
    person.page.wait_for_selector("#studio_gallery img")
    assert f"IC-Light light map blur: {REFERENCE_BLUR}" in person.page.input_value("#studio_infotext textarea")


def test_reset_puts_everything_back(person: Any) -> None:
    page = person.page
    person.drop("foreground", CUTOUT)
    page.wait_for_selector(".iclight-preview .iclight-mask img")
    page.locator("#iclight_studio_light_map_group .label-wrap").first.click()
    person.drop("light_map", EXAMPLES / "rocket.jpg")
    page.click("[data-do=takeLight]")
    person.tile("left")
    want(person, "Place on my background").check()
    person.drop("background", EXAMPLES / "coffee.jpg")
    person.wait_for_status("on your background", "the background picture tells where the light comes from")
    page.click(person.field("recommended"))
    page.wait_for_selector(f"{person.field('note')} .iclight-note")
    page.click(person.field("reset"))
    person.wait_for_status("Drop a foreground picture to begin.", "no light chosen")
    person.wait_for_light("light === 'none'")
    page.wait_for_function("() => document.querySelector('.iclight-tile[data-light=none]').ariaPressed === 'true'")
    for name in ("foreground", "background", "light_map"):
        page.wait_for_selector(f"{person.field(name)} img", state="detached")
    page.wait_for_selector(".iclight-preview", state="detached")  # the answer that clears it may come after the status
    assert want(person, "New background from the prompt").is_checked()
    assert page.input_value(f"{person.field('light_map_blur')} input[type=number]") == "0"
    assert page.locator(f"{person.field('note')} .iclight-note").count() == 0


def test_img2img_shows_its_own_picture_cut_out(at_img2img: Any) -> None:
    page = at_img2img.page
    page.set_input_files("#img2img_image input[type=file]", str(VASE))
    at_img2img.wait_for_status("Foreground from img2img 256×256, cut out by its own transparency")
    page.wait_for_selector(".iclight-preview .iclight-mask img")
    page.click(at_img2img.field("use_size"))
    page.wait_for_function("() => document.querySelector('#iclight_img2img_note').innerText.includes('512 × 512')")
    assert not page.locator(at_img2img.field("foreground")).is_visible()
    another = page.get_by_label("Use another foreground than the img2img picture")
    another.check()
    page.wait_for_selector(at_img2img.field("foreground"), state="visible")
    at_img2img.drop("foreground", CUTOUT)
    width, height = Image.open(CUTOUT).size
    at_img2img.wait_for_status(f"Foreground {width}×{height}, cut out")
    page.wait_for_timeout(1000)  # the preview is made anew, and the page moves under the mouse
    another.uncheck()
    at_img2img.wait_for_status("Foreground from img2img 256×256")
    another.check()
    page.wait_for_selector(at_img2img.field("foreground"), state="visible")
    at_img2img.drop("foreground", EXAMPLES / "coffee.jpg")  # Gradio 3.41 takes no file twice in a row
    at_img2img.wait_for_status("Foreground 600×400, cut out")
    page.click(at_img2img.field("reset"))
    at_img2img.wait_for_status("Foreground from img2img 256×256")
    page.wait_for_selector(at_img2img.field("foreground"), state="hidden")
    # The tab that is open counts: inpainting has no picture yet.
    page.locator(".tab-nav, [role=tablist]").get_by_text("Inpaint", exact=True).click()
    at_img2img.wait_for_status("the img2img picture is the foreground")
    page.wait_for_selector(".iclight-preview", state="detached")


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


def test_a_light_map_of_ones_own(person: Any) -> None:
    person.page.locator("#iclight_studio_light_map_group .label-wrap").first.click()
    person.drop("light_map", EXAMPLES / "rocket.jpg")
    person.page.wait_for_function("() => document.querySelector('.iclight-message[role=status]').textContent"
                                  ".includes('light map')")
    person.page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText"
                                  ".includes('your light map')")


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
    person.number("steps", 20)
    person.drop("foreground", EXAMPLES / "coffee.jpg")  # 600 x 400
    page.wait_for_function("() => document.querySelector('#iclight_studio_status').innerText.includes('600×400')")
    page.click(person.field("use_size"))
    page.wait_for_function("() => document.querySelector('#studio_width input[type=number]').value === '384'")
    assert page.input_value("#studio_height input[type=number]") == "256"
    page.click(person.field("recommended"))
    page.wait_for_function("() => document.querySelector('#studio_cfg_scale input[type=number]').value === '3'")
    assert page.input_value("#studio_steps input[type=number]") == "6", "what suits the pocket model"
    assert "Steps: 20 → 6, CFG scale: 7 → 3" in page.inner_text(person.field("note"))


@pytest.mark.parametrize(("before", "after"), [
    ("", "soft studio lighting"), ("a cat", "a cat, soft studio lighting"), ("a cat, ", "a cat, soft studio lighting"),
    ("soft studio lighting, a cat", "soft studio lighting, a cat")])
def test_quick_prompts_are_appended_once(person: Any, before: str, after: str) -> None:
    prompt = "#studio_prompt textarea"
    person.page.fill(prompt, before)
    person.page.select_option("[data-words=lighting]", "soft studio lighting")
    assert person.page.input_value(prompt) == after
    assert person.page.input_value("[data-words=lighting]") == ""  # the list shows its title again
    person.page.select_option("[data-words=subject]", "car, glossy paint, best quality")
    assert person.page.input_value(prompt) == f"{after}, car, glossy paint, best quality"


def test_a_quick_prompt_reaches_the_job(person: Any) -> None:
    person.small()
    person.drop("foreground", CUTOUT)
    person.page.select_option("[data-words=subject]", "car, glossy paint, best quality")
    person.result()
    assert "car, glossy paint" in person.page.input_value("#studio_infotext textarea")


def test_an_infotext_restores_every_field(person: Any) -> None:
    page = person.page
    text = ('a lamp\nNegative prompt: fog\nSteps: 7, Sampler: Euler a, CFG scale: 3.5, Seed: 12, Size: 192x256, '
            'Denoising strength: 0.4, Hires upscale: 1.5, Guidance end: 0.5, Prompt syntax: plain, '
            'IC-Light mode: fbc, IC-Light background flip: True, '
            f'IC-Light light: {json.dumps(json.dumps(LAMP, separators=(",", ":")))}, IC-Light light denoise: 0.7, '
            'IC-Light start: light, IC-Light cut-out: none, IC-Light preserve color: 0.25, '
            'IC-Light outputs: mask+raw')
    page.fill("#studio_infotext textarea", text)
    page.click("#studio_use_infotext")
    person.wait_for_light("light.includes('3200K')")
    assert json.loads(person.light) == LAMP
    page.wait_for_selector(".iclight-fields [data-field=radius]")
    numbers = {name: page.input_value(f"#studio_{name} input[type=number]") for name in
               ("steps", "cfg_scale", "width", "height", "hr_scale", "denoising_strength",
                "guidance_end")}
    assert numbers == {"steps": "7", "cfg_scale": "3.5", "width": "192", "height": "256", "hr_scale": "1.5",
                       "denoising_strength": "0.4", "guidance_end": "0.5"}
    assert page.input_value("#studio_prompt_syntax input") == "every letter as text"
    assert page.input_value("#studio_prompt textarea") == "a lamp"
    assert page.input_value("#studio_neg_prompt textarea") == "fog"
    assert page.input_value(f"{person.field('light_denoise')} input[type=number]") == "0.7"
    assert page.input_value(f"{person.field('preserve_color')} input[type=number]") == "0.25"
    assert want(person, "Place on my background").is_checked()
    assert page.locator(f"{person.field('background_flip')} input").is_checked()
    checked = page.evaluate("() => [...document.querySelectorAll('#iclight_studio_outputs input')]"
                            ".map((input) => input.checked)")
    assert checked == [False, True, False, True, False, False]


def test_deeper_darks(person: Any) -> None:
    person.small()
    person.drop("foreground", CUTOUT)
    person.page.locator(f"{person.field('advanced')} .label-wrap").first.click()
    want(person, "New background, deeper darks (fcon)").check()
    assert len(np.unique(person.result())) > 100, "a picture, and no even surface"
    assert "IC-Light mode: fcon" in person.page.input_value("#studio_infotext textarea")


@pytest.mark.parametrize(("prepare", "sentence"), [
    (lambda person: None, "there is no foreground picture. Drop one"),
    (lambda person: want(person, "Place on my background").check(), "Add a background picture"),
])
def test_errors_are_text_that_says_what_to_do(person: Any, prepare: Any, sentence: str) -> None:
    person.small()
    if "foreground" not in sentence:
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


def test_a_file_that_is_no_picture_is_told_and_the_next_is_taken(person: Any, tmp_path: Path) -> None:
    broken, deep = tmp_path / "broken.png", tmp_path / "deep.png"
    broken.write_bytes(b"no picture")
    Image.fromarray(np.full((48, 96), 20000, np.uint16)).save(deep)
    person.page.set_input_files(f"{person.field('foreground')} input[type=file]", str(broken))
    person.wait_for_status("the foreground broken.png is in no picture format")
    person.page.locator(f"{person.field('foreground')} button[aria-label*=Remove], "
                        f"{person.field('foreground')} button[aria-label=Clear]").first.click()
    person.wait_for_status("Drop a foreground picture to begin.")
    person.drop("foreground", deep)
    person.wait_for_status("Foreground 96×48")
    person.complaints.clear()  # the browser cannot draw the broken file either


def test_the_doctors_paper_is_fetched_and_copied(person: Any) -> None:
    """By a button that is no widget of Gradio's, from a route that wants the page's token."""
    person.page.locator(f"{person.field('advanced')} .label-wrap").first.click()
    button = person.page.locator(f"{person.field('doctor')} button")
    assert button.count() == 1
    button.click()
    person.page.wait_for_selector(f"{person.field('doctor')} textarea:visible", timeout=120_000)
    text = person.page.input_value(f"{person.field('doctor')} textarea")
    assert "host           studio, adapter standalone" in text and "right  light map" in text
    *before, verdict = text.splitlines()
    untried = sum("not tried" in line for line in before)
    assert untried and verdict.endswith(f"checks, all right; {untried} not tried")
    person.page.wait_for_function("(id) => /^(Copied|Copy the text)/.test(document.querySelector(id).textContent)",
                                  arg=f"{person.field('doctor')} .iclight-note")
    assert person.complaints == []
