"""Results at the photo's own size: what the host returns and saves is as large as the photo, and its own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from .client import HIRES, Forge, base64_of
from .conftest import check_relit

WIDTH, HEIGHT = 900, 600
PHOTO = np.random.default_rng(8).integers(40, 216, (HEIGHT, WIDTH, 3), np.uint8)
FROM_CENTRE = np.hypot(np.linspace(-1, 1, HEIGHT)[:, None], np.linspace(-1.5, 1.5, WIDTH))
DISC = (255 * (FROM_CENTRE < 0.7)).astype(np.uint8)
ON: dict[str, Any] = {"enabled": True, "size": "original", "light": "left"}
CUT = {"foreground": base64_of(PHOTO), "mask": base64_of(DISC)}


def follows(picture: NDArray[Any], photo: NDArray[Any]) -> float:
    """How far the picture's fine detail is the photo's, -1..1."""
    fine = [values[..., :3].astype(float) - np.asarray(Image.fromarray(values[..., :3]).reduce(4).resize(
        values.shape[1::-1]), float) for values in (picture, photo)]
    return float(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1])


def saved(forge: Forge, folder: Path, tab: str) -> set[Path]:
    """Every PNG where the host saves the tab's pictures."""
    _, options = forge.call("/sdapi/v1/options")
    place = folder / (options["outdir_samples"] or options[f"outdir_{tab}_samples"])
    return set(place.rglob("*.png"))


@pytest.mark.parametrize("hires", [{}, {**HIRES, "hr_scale": 1.5, "hr_upscaler": "Latent"}], ids=["plain", "hires"])
def test_txt2img_returns_and_saves_it(forge: Forge, folder: Path, hires: dict[str, Any]) -> None:
    before = saved(forge, folder, "txt2img")
    forge.arm()
    answer = forge.txt2img({**ON, **CUT, "fit": "contain", "keep_background": True}, steps=2, save_images=True, **hires)
    check_relit(answer, forge.seen(), "fc", 2 if hires else 1)
    files = saved(forge, folder, "txt2img") - before
    try:
        (file,) = files
        on_disk = np.asarray(Image.open(file))
    finally:
        for path in files:
            path.unlink()
    (picture,) = answer.pictures
    assert picture.shape[:2] == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(on_disk, picture)
    np.testing.assert_array_equal(picture[..., :3][DISC == 0], PHOTO[DISC == 0])
    assert follows(picture, PHOTO) > 0.8
    assert "IC-Light size: original" in answer.infotexts[0]


def test_what_the_frame_cuts_off_is_cut_off(forge: Forge) -> None:
    answer = forge.txt2img({**ON, **CUT, "outputs": ["raw", "mask"]}, steps=2)
    assert answer.status == 200, answer.sentence
    picture, mask, raw = answer.pictures
    assert picture.shape == (HEIGHT, HEIGHT, 3)  # the frame is square
    assert mask.shape[:2] == (HEIGHT, WIDTH) and raw.shape[:2] == (128, 128)


def test_on_a_given_background(forge: Forge) -> None:
    """Kept, it stands behind the subject with its own pixels, whatever the model made of it."""
    wall = np.random.default_rng(9).integers(60, 200, (700, 1050, 3), np.uint8)
    answer = forge.txt2img({**ON, **CUT, "mode": "fbc", "light": "none", "background": base64_of(wall),
                            "fit": "contain", "keep_background": True}, steps=2)
    assert answer.status == 200, answer.sentence
    (picture,) = answer.pictures
    assert picture.shape == (HEIGHT, WIDTH, 3)
    # The frame of 128 pixels shows the wall's middle 700, and in its rows 21 to 106 lies the photo.
    seen = (175.0, 21 * 700 / 128, 875.0, 106 * 700 / 128)
    expected = np.asarray(Image.fromarray(wall).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=seen))
    outside, inside = FROM_CENTRE > 0.75, FROM_CENTRE < 0.65
    assert np.abs(picture[outside].astype(int) - expected[outside]).mean() < 1
    assert np.abs(picture[inside].astype(int) - expected[inside]).mean() > 10, "the subject stands before it"


@pytest.mark.parametrize("full", [False, True], ids=["whole picture", "only masked"])
def test_img2img_with_a_mask(forge: Forge, folder: Path, full: bool) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[200:400, 300:600] = 255
    before = saved(forge, folder, "img2img")
    answer = forge.img2img({**ON, "matting": "none"}, init_images=[base64_of(PHOTO)], mask=base64_of(mask),
                           inpaint_full_res=full, inpaint_full_res_padding=16, mask_blur=0, inpainting_fill=1,
                           width=192, height=128, steps=2, save_images=True)
    files = saved(forge, folder, "img2img") - before
    try:
        assert answer.status == 200, answer.sentence
        (file,) = files
        assert Image.open(file).size == (WIDTH, HEIGHT)
    finally:
        for path in files:
            path.unlink()
    picture = answer.pictures[0]
    assert picture.shape[:2] == (HEIGHT, WIDTH)
    far = np.ones((HEIGHT, WIDTH), bool)
    far[180:420, 280:620] = False
    np.testing.assert_array_equal(picture[..., :3][far], PHOTO[far])
    assert (picture[210:390, 310:590, :3] != PHOTO[210:390, 310:590]).mean() > 0.5


def test_a_batch_has_no_grid_and_says_so(forge: Forge) -> None:
    with forge.settings(return_grid=True, grid_save=False) as options:
        answer = forge.txt2img({**ON, **CUT, "fit": "contain"}, steps=2, batch_size=2, do_not_save_grid=False,
                               **options)
    assert answer.status == 200, answer.sentence
    assert [picture.shape for picture in answer.pictures] == [(HEIGHT, WIDTH, 3)] * 2
    assert (answer.pictures[0] != answer.pictures[1]).any()


def test_a_large_photo_comes_back(forge: Forge) -> None:
    """24 megapixels: the API's answer and the host's memory take it."""
    y, x = np.mgrid[:4000, :6000].astype(np.float32)
    photo = (128 + 60 * np.sin(x / 37) * np.cos(y / 53)).astype(np.uint8)[..., None].repeat(3, 2)
    answer = forge.txt2img({**ON, "foreground": base64_of(photo), "matting": "none", "fit": "contain"}, steps=2)
    assert answer.status == 200, answer.sentence
    assert answer.pictures[0].shape == (4000, 6000, 3)
