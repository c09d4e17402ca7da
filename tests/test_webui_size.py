"""Results at the photo's own size in a double of a WebUI: what the host is given to save; masks, batches, stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_webui as fake
import numpy as np
import pytest
from fake_webui import img2img, job
from fastapi import HTTPException
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.job import Relight
from lib_iclight.stage import load

RNG = np.random.default_rng(4)
PHOTO = RNG.integers(30, 225, (150, 300, 3), np.uint8)
DISC = (255 * (np.hypot(np.linspace(-1, 1, 150)[:, None], np.linspace(-2, 2, 300)) < 0.7)).astype(np.uint8)
LEFT_HALF = Image.fromarray(np.repeat(np.arange(300)[None] < 150, 150, 0).astype(np.uint8) * 255)


def pixels(picture: Image.Image) -> NDArray[Any]:
    return np.asarray(picture.convert("RGB"))


def test_txt2img_comes_back_as_the_frame_shows_the_photo(script: Any) -> None:
    p = job(script, foreground=Image.fromarray(PHOTO), size="original", outputs=["raw"])
    result, raw = fake.process_images(p).images
    assert p.swallowed == []
    assert result.size == (150, 150) and raw.size == (64, 64)  # a square frame shows the middle
    assert "IC-Light size: original" in result.info["parameters"]
    # All grey: the photo's pixels keep their own detail under a light that varies slowly.
    own, lit = (values.astype(float) - values.mean() for values in (PHOTO[:, 75:225], pixels(result)))
    assert (own * lit).mean() / (own.std() * lit.std()) > 0.9


def test_fit_contain_brings_all_of_it_back(script: Any) -> None:
    p = job(script, foreground=Image.fromarray(PHOTO), size="original", fit="contain")
    [result] = fake.process_images(p).images
    assert result.size == (300, 150)


def test_hires_gives_the_light(script: Any) -> None:
    p = job(script, foreground=Image.fromarray(PHOTO), size="original", hires=(12, 12))
    [result] = fake.process_images(p).images
    assert p.swallowed == [] and result.size == (150, 150)


def test_a_kept_background_is_the_photos_to_the_bit(script: Any) -> None:
    p = job(script, foreground=Image.fromarray(PHOTO), mask=Image.fromarray(DISC), matting="auto", size="original",
            keep_background=True, fit="contain")
    [result] = fake.process_images(p).images
    outside = np.asarray(Image.fromarray(DISC).convert("L")) == 0
    np.testing.assert_array_equal(pixels(result)[outside], PHOTO[outside])
    assert (pixels(result)[~outside] != PHOTO[~outside]).mean() > 0.5


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_img2img_lies_as_its_resize_mode_says(script: Any, mode: int) -> None:
    p = img2img(script, [Image.fromarray(PHOTO)], resize_mode=mode, size="original")
    [result] = fake.process_images(p).images
    assert p.swallowed == []
    assert result.size == ((150, 150) if mode == 1 else (300, 150))


def test_outside_an_inpainting_mask_the_photo_stays_to_the_bit(script: Any) -> None:
    p = img2img(script, [Image.fromarray(PHOTO)], size="original", image_mask=LEFT_HALF)
    [result] = fake.process_images(p).images
    assert p.swallowed == [] and result.size == (300, 150)
    made = pixels(result)
    np.testing.assert_array_equal(made[:, 160:], PHOTO[:, 160:])
    assert (made[:, :140] != PHOTO[:, :140]).mean() > 0.5


def test_only_masked_changes_its_part_of_the_whole_photo(script: Any) -> None:
    mask = np.zeros((150, 300), np.uint8)
    mask[40:100, 60:120] = 255
    p = img2img(script, [Image.fromarray(PHOTO)], size="original", image_mask=Image.fromarray(mask),
                crop=(50, 30, 130, 110))
    [result] = fake.process_images(p).images
    assert p.swallowed == [] and result.size == (300, 150)
    made, inside = pixels(result), mask > 0
    np.testing.assert_array_equal(made[~inside], PHOTO[~inside])
    assert (made[inside] != PHOTO[inside]).mean() > 0.5


def test_each_of_a_batch_is_its_own_photo_and_no_grid_is_made(script: Any) -> None:
    other = PHOTO[:, ::-1].copy()
    p = img2img(script, [Image.fromarray(PHOTO), Image.fromarray(other)], batch_size=2, size="original")
    seen: list[bool] = []
    ended = p.script.postprocess

    def listening(p: Any, processed: Any, *args: Any) -> None:
        seen.append(p.do_not_save_grid)
        ended(p, processed, *args)

    p.script.postprocess = listening
    first, second = fake.process_images(p).images
    for made, photo in ((first, PHOTO), (second, other)):
        own, lit = (values.astype(float) - values.mean() for values in (photo, pixels(made)))
        assert (own * lit).mean() / (own.std() * lit.std()) > 0.9
    assert seen == [True] and not p.do_not_save_grid
    assert any("No grid" in comment for comment in p.comments)


def test_a_stages_pictures_are_as_large_and_so_is_its_alpha(script: Any, tmp_path: Path) -> None:
    p = job(script, mode="fbc", stage="4", foreground=Image.fromarray(PHOTO), mask=Image.fromarray(DISC),
            matting="auto", size="original", fit="contain")
    p.outpath_samples = str(tmp_path)
    processed = fake.process_images(p)
    assert p.swallowed == [] and {image.size for image in processed.images} == {(300, 150)}
    [folder] = tmp_path.iterdir()
    assert json.loads((folder / "stage.json").read_text())["settings"]["size"] == "original"
    stage = load(folder)
    assert (stage.width, stage.height) == (300, 150) and stage.alpha is not None
    assert stage.alpha.shape == (150, 300)


def test_an_upscaled_result_gives_its_light_too(script: Any) -> None:
    p = job(script, foreground=Image.fromarray(PHOTO), size="original")
    p.upscale = lambda picture: picture.resize((128, 128))
    [result] = fake.process_images(p).images
    assert result.size == (150, 150)


def test_what_cannot_be_done_is_refused_before_the_work(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = sys.modules["modules.shared"]
    monkeypatch.setattr(shared, "opts", SimpleNamespace(**vars(shared.opts), return_mask_composite=True))
    p = img2img(script, [Image.fromarray(PHOTO)], size="original", image_mask=LEFT_HALF, is_api=True)
    with pytest.raises(HTTPException, match="masked composites"):
        fake.process_images(p)
    monkeypatch.delattr(fake.Script, "postprocess_image_after_composite")
    other = job(script, foreground=Image.fromarray(PHOTO), size="original", is_api=True)
    with pytest.raises(HTTPException, match="no place for pictures at the photo's own size"):
        fake.process_images(other)
    assert p.passes == []


def test_a_failure_there_is_no_silent_picture(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("no room for the photo")

    monkeypatch.setattr(Relight, "bring_back", broken)
    with pytest.raises(MemoryError, match="no room"):
        fake.process_images(job(script, foreground=Image.fromarray(PHOTO), size="original"))
