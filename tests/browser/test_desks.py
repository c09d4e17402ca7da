"""The light desk on a page: under the result once a stage was made, and for sets from disk."""

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

from lib_iclight.color import srgb_to_linear
from lib_iclight.panel import texts
from lib_iclight.settings import STAGES
from lib_iclight.stage import FOUR, from_pictures, mix_codes, save
from lib_iclight.stage.desk import read_mix

from .conftest import STAGE_PICTURES

CUTOUT = Path(__file__).resolve().parents[2] / "examples" / "rendered-vase.png"
PLACE = ".iclight-desk-place"
RAMP = np.linspace(0, 1, STAGE_PICTURES.shape[2], dtype=np.float32)[None].repeat(STAGE_PICTURES.shape[1], 0)
"""the mask that the double tells of"""


def seen(person: Any) -> NDArray[Any]:
    """What the desk shows, uint8 [H, W, 3]."""
    width, height, data = person.desk("""(() => {
        const {width, height, data} = desk.painter.read();
        return [width, height, btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
    })()""")
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def saved(person: Any, button: str) -> str:
    with person.page.expect_download() as download:
        person.page.click(f"{PLACE} [data-do={button}]")
    return Path(download.value.path()).read_text(encoding="utf-8")


def words(person: Any) -> list[str]:
    """The parts of the desk's status line."""
    return list(person.page.locator(f"{PLACE} [role=status] span").all_inner_texts())


def test_in_a_webui_the_gallerys_pictures_and_the_mask_are_shown(at_webui: Any) -> None:
    page = at_webui.page
    assert page.locator(PLACE).count() == 0
    page.click("#txt2img_generate")
    at_webui.wait_for_desk(5)
    page.wait_for_function("() => document.querySelector('#txt2img_results').lastElementChild"
                           ".classList.contains('iclight-desk-place')")
    assert at_webui.desk("desk.set.lamps.map(({name}) => name)") == list(STAGES["4"])
    assert page.locator(f"{PLACE} .iclight-desk-head select").is_hidden()  # there is one set
    stage = from_pictures(FOUR, srgb_to_linear(STAGE_PICTURES / np.float32(255)), RAMP)
    for light in ("top", "sunset"):
        page.click(f"{PLACE} [data-light={light}]")
        weights, exposure = read_mix(saved(at_webui, "saveMix"), stage.lamps, 64 / 80)
        assert np.abs(seen(at_webui).astype(int) - mix_codes(stage, weights, exposure)).max() <= 2
    assert page.locator(f"{PLACE} [data-do=none]").is_enabled()
    mask = at_webui.desk("[...desk.set.alpha.slice(0, 64)]")
    assert np.abs(np.array(mask) - 255 * RAMP[0]).max() <= 1


def test_another_result_brings_another_set_and_a_closed_desk_comes_back(at_webui: Any) -> None:
    page = at_webui.page
    page.click("#txt2img_generate")
    at_webui.wait_for_desk(5)
    page.click(f"{PLACE} [data-do=deskClose]")
    assert page.locator(PLACE).count() == 0
    page.wait_for_timeout(600)  # nothing brings it back by itself
    assert page.locator(PLACE).count() == 0
    page.click("[data-do=desk]")
    at_webui.wait_for_desk(5)
    page.evaluate("""() => {
        const field = document.querySelector("#generation_info_txt2img :is(textarea, input)");
        const info = JSON.parse(field.value), [set] = info.extra_generation_params["IC-Light desk"];
        info.extra_generation_params["IC-Light desk"] = [{...set, pictures: set.pictures.slice(0, 2)},
            {...set, seed: 8, pictures: set.pictures.slice(2), alpha: null}];
        field.value = JSON.stringify(info);
        iclight.look();
    }""")
    at_webui.wait_for_desk(2)
    page.select_option(f"{PLACE} .iclight-desk-head select", label="2: 8")
    at_webui.wait_for_desk(3)
    assert page.locator(f"{PLACE} [data-do=none]").is_disabled()


@pytest.mark.parametrize("told", ["", "{", "[]", "null", "3", "{}", '{"extra_generation_params": {"IC-Light desk": 3}}',
                                  '{"extra_generation_params": {"IC-Light desk": [{"pictures": []}]}}',
                                  '{"extra_generation_params": {"IC-Light desk": '
                                  '[{"pictures": [{"name": "left", "at": 99}]}]}}'])
def test_what_is_no_set_opens_no_desk(at_webui: Any, told: str) -> None:
    at_webui.page.evaluate("""(told) => {
        document.querySelector("#generation_info_txt2img :is(textarea, input)").value = told;
        iclight.look();
    }""", told)
    at_webui.page.wait_for_timeout(400)
    assert at_webui.page.locator(PLACE).count() == 0


def test_in_the_studio_it_opens_under_a_stage(person: Any) -> None:
    page = person.page
    person.small()
    person.number("batch_count", 2)
    person.drop("foreground", CUTOUT)
    page.get_by_role("radio", name=texts.LIGHT_STAGE, exact=True).check()
    person.wait_for_status(f"9 {texts.STAGE_PICTURES}")
    page.locator(f"{person.field('advanced')} .label-wrap").first.click()
    page.locator(f"{person.field('stage')} label:has-text('4')").click()
    person.wait_for_status(f"5 {texts.STAGE_PICTURES}")
    person.generate()
    person.wait_for_desk(5, 240_000)
    assert page.locator("#studio_result .iclight-desk-place").count() == 1
    assert page.locator(f"{PLACE} .iclight-desk-head option").count() == 2
    page.click(f"{PLACE} [data-light=left]")
    first = page.evaluate("() => document.querySelector('#studio_gallery .thumbnail-lg img').src")
    pixels = page.evaluate("""async (url) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
    }""", first)
    left = np.array(pixels, np.uint8).reshape(128, 128, 4)[..., :3]
    page.locator(f"{PLACE} [data-field=auto]").uncheck()
    assert np.abs(seen(person).astype(int) - left).max() <= 1
    assert person.desk("desk.set.alpha[0]") == 0  # the vase's own transparency
    # A relight that is no stage leaves it there.
    page.get_by_role("radio", name=texts.NEW_BACKGROUND, exact=True).check()
    person.number("batch_count", 1)
    person.result()
    page.wait_for_timeout(600)
    assert person.desk("desk.set.lamps.length") == 5


def test_it_takes_sets_from_disk(at_webui: Any, tmp_path: Path) -> None:
    page = at_webui.page
    stage = from_pictures(FOUR[:3], srgb_to_linear(STAGE_PICTURES[:3] / np.float32(255)), RAMP)
    save(stage, tmp_path / "set")
    page.click("[data-do=desk]")
    page.wait_for_selector(f"{PLACE} .iclight-desk-empty", state="visible")
    chooser = page.locator(f"{PLACE} .iclight-desk-empty [data-open=open]")
    chooser.set_input_files(str(tmp_path / "set" / "stage.json"))
    page.wait_for_selector(f"{PLACE} [role=alert] span:has-text('but was not given')")
    chooser.set_input_files([str(path) for path in sorted((tmp_path / "set").iterdir())])
    at_webui.wait_for_desk(3)
    assert page.locator(f"{PLACE} [role=alert]").is_hidden()
    assert words(at_webui)[0] == "3" and words(at_webui)[1].startswith("pictures. Press on the picture")
    # Named after presets, by a drop.
    page.evaluate("""async (pictures) => {
        const transfer = new DataTransfer();
        for (const [name, data] of pictures) {
            transfer.items.add(new File([await (await fetch(data)).blob()], name, {type: "image/png"}));
        }
        document.querySelector(".iclight-desk").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer,
            bubbles: true, cancelable: true}));
    }""", [[name, picture_address(number)] for number, name in enumerate(("left.png", "top-right.png"))])
    at_webui.wait_for_desk(2)
    (tmp_path / "mix.json").write_text(json.dumps({"version": 1, "weights": {"left": 0.5}, "exposure": 0}))
    page.locator(f"{PLACE} .iclight-desk-side [data-open=open]").set_input_files(str(tmp_path / "mix.json"))
    page.wait_for_function("() => iclight.desks.places.txt2img.desk.state.kind === 'weights'")
    assert at_webui.desk("desk.weights[0]") == [0.5, 0.5, 0.5]


def picture_address(number: int) -> str:
    file = io.BytesIO()
    Image.fromarray(STAGE_PICTURES[number]).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(("width", "wide", "small"), [(2400, True, False), (1400, False, False), (360, False, True)])
def test_it_fits_where_it_lies(at_webui: Any, width: int, wide: bool, small: bool) -> None:
    page = at_webui.page
    page.set_viewport_size({"width": width, "height": 900})
    page.click("#txt2img_generate")
    at_webui.wait_for_desk(5)
    page.wait_for_timeout(300)
    classes = page.get_attribute(".iclight-desk", "class")
    assert ("is-wide" in classes, "is-small" in classes) == (wide, small)
    overflow = page.evaluate("""() => {
        const place = document.querySelector(".iclight-desk-place").getBoundingClientRect();
        return [...document.querySelectorAll(".iclight-desk-place *")].filter((one) => one.checkVisibility())
            .map((one) => [one, one.getBoundingClientRect()])
            .filter(([, box]) => box.right > place.right + 1 || box.left < place.left - 1)
            .map(([one]) => one.outerHTML.slice(0, 120));
    }""")
    assert overflow == []


def test_before_and_after_show_a_single_result_in_the_place_of_a_grid(at_webui: Any) -> None:
    """The double's gallery begins with a grid, which it shows first."""
    page = at_webui.page
    at_webui.drop("foreground", CUTOUT)
    page.click("#txt2img_generate")
    at_webui.wait_for_desk(5)

    def compared(number: int) -> None:
        page.wait_for_function("(number) => document.querySelector('.iclight-after')?.src"
                               " === iclight.page.gallery('txt2img')[number]", arg=number)

    compared(1)
    page.locator("#txt2img_gallery .thumbnail-item").nth(3).click()
    compared(3)
    page.locator("#txt2img_gallery .thumbnail-item").nth(0).click()
    compared(1)
