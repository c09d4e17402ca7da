"""What must not change: preservation reaches the picture that is returned and saved, once, and its settings with it.

Each job also returns its own `raw` picture. What the host made of the job must be what preservation makes of that.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight import infotext
from lib_iclight.fields import Picture
from lib_iclight.frame import Frame, fit
from lib_iclight.job import Encoder, LatentCache, Relight
from lib_iclight.matting import Cutter
from lib_iclight.settings import FIELDS, Settings, from_infotext

from .client import HIRES, SIZE, Forge, base64_of, scene, subject
from .conftest import check_equal, check_relit
from .reference import Reference

PHOTO = subject()[..., :3].copy()
MASK = subject()[..., 3].copy()
OUTSIDE = np.asarray(Image.fromarray(subject(SIZE, SIZE)[..., 3])) == 0

KEPT: dict[str, Any] = {
    "preserve_color": 0.8, "preserve_detail": 0.7, "detail_radius": 6.5, "detail_mode": "add", "keep_background": True,
    "background_tint": 0.25}
NOTHING_KEPT = {**KEPT, "preserve_color": 0.0, "preserve_detail": 0.0, "keep_background": False}
LIT: dict[str, Any] = {"enabled": True, "light": "left", "start": "light+foreground", "start_amount": 0.6,
                       "harmonise": 0.3, "outputs": ["raw"]}
PICTURES = {"foreground": base64_of(PHOTO), "mask": base64_of(MASK), "background": base64_of(scene())}
STRONG = {"enabled": True, "preserve_color": 1.0, "preserve_detail": 1.0, "outputs": ["raw"]}


class Pixels:
    """An encoder and what it was to encode."""

    def __init__(self) -> None:
        self.encoder = Encoder("pixels", self._encode)

    def _encode(self, pixels: NDArray[Any]) -> torch.Tensor:
        self.pixels = pixels
        return torch.zeros(1, 4, 1, 1)


def relight(settings: dict[str, Any], **options: Any) -> Relight:
    return Relight(Settings.from_dict(settings), cutter=Cutter([]), latents=LatentCache(), **options)


def check_preserved(picture: NDArray[Any], raw: NDArray[Any], job: Relight, below: int | None = None) -> None:
    """`picture`, down to the row `below`, is what preservation makes of `raw`, and that is something else.

    Within one code: matrix products may round otherwise in the host's process.
    """
    expected = np.asarray(job.finish(Image.fromarray(raw), Frame(raw.shape[1], raw.shape[0])))
    off = np.abs(picture.astype(int) - expected)[:below]
    assert off.max() <= 1 and (off > 0).mean() < 0.001
    assert np.abs(picture.astype(int) - raw)[:below].mean() > 2


def saved_pictures(forge: Forge, folder: Path) -> set[Path]:
    """Every PNG where the host saves txt2img's pictures."""
    _, options = forge.call("/sdapi/v1/options")
    place = folder / (options["outdir_samples"] or options["outdir_txt2img_samples"])
    return set(place.rglob("*.png"))


def test_the_saved_picture_is_the_preserved_one_and_restores_the_sliders(
        forge: Forge, folder: Path, reference: Reference) -> None:
    settings = {**LIT, **KEPT, **PICTURES}
    before = saved_pictures(forge, folder)
    forge.arm()
    answer = forge.txt2img(settings, steps=2, save_images=True)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    files = saved_pictures(forge, folder) - before
    try:
        assert len(files) == 1, "the result is saved, its raw picture is not"
        (file,) = files
        saved = np.asarray(Image.open(file))
        status, told = forge.call("/sdapi/v1/png-info", {"image": base64.b64encode(file.read_bytes()).decode()})
    finally:
        for path in files:
            path.unlink()

    result, raw = answer.pictures
    job = relight(settings)
    check_preserved(result[..., :3], raw, job)  # Forge hides the infotext in a saved picture's alpha
    np.testing.assert_array_equal(saved, result)

    assert status == 200 and told["info"] == answer.infotexts[0]
    asked = Settings.from_dict(settings)
    for params in (told["parameters"], infotext.read(told["info"])):
        again = Settings.from_dict(from_infotext(params))
        for field in FIELDS:
            if not isinstance(field.kind, Picture):
                assert getattr(again, field.name) == getattr(asked, field.name), field.name

    pixels = Pixels()
    job.initial(pixels.encoder, Frame(SIZE, SIZE))
    check_equal(one.start, reference.latent(pixels.pixels), 1e-3)

    plain = forge.txt2img({**LIT, **NOTHING_KEPT, **PICTURES}, steps=2)
    np.testing.assert_array_equal(plain.pictures[0], plain.pictures[1])
    np.testing.assert_array_equal(plain.pictures[0], raw)


def test_each_picture_of_a_batch(forge: Forge) -> None:
    settings = {**LIT, **KEPT, **PICTURES, "background_tint": 0.0}
    answer = forge.txt2img(settings, steps=2, batch_size=2)
    assert answer.status == 200, answer.sentence
    first, second, *raws = answer.pictures
    job = relight(settings)
    check_preserved(first, raws[0], job)
    check_preserved(second, raws[1], job)
    assert (raws[0] != raws[1]).any()
    for picture in (first, second):
        np.testing.assert_array_equal(picture[:4, :4], fit(PHOTO, SIZE, SIZE)[:4, :4])


def test_at_the_size_of_the_hires_pass(forge: Forge) -> None:
    settings = {**LIT, **KEPT, **PICTURES}
    answer = forge.txt2img(settings, **HIRES, hr_scale=1.5, hr_upscaler="Latent")
    assert answer.status == 200, answer.sentence
    result, raw = answer.pictures
    assert result.shape == (SIZE * 3 // 2, SIZE * 3 // 2, 3)
    check_preserved(result, raw, relight(settings))


@pytest.mark.parametrize("correction", [False, True])
def test_inside_an_inpainting_mask_and_past_colour_correction(forge: Forge, correction: bool) -> None:
    """The picture's own background lies inside the mask and outside it."""
    photo, mask = subject(SIZE, SIZE)[..., :3].copy(), np.zeros((SIZE, SIZE), np.uint8)
    mask[:96] = 255
    settings = {**STRONG, "mask": base64_of(subject(SIZE, SIZE)[..., 3].copy()), "keep_background": True}
    answer = forge.img2img(settings, init_images=[base64_of(photo)], mask=base64_of(mask), inpaint_full_res=False,
                           mask_blur=0, inpainting_fill=1, steps=2, override_settings_restore_afterwards=True,
                           override_settings={"img2img_color_correction": correction})
    assert answer.status == 200, answer.sentence
    result, raw = answer.pictures
    np.testing.assert_array_equal(result[104:], photo[104:])
    check_preserved(result, raw, relight(settings, tab="img2img", pictures=[photo]), 88)
    np.testing.assert_array_equal(result[:88][OUTSIDE[:88]], photo[:88][OUTSIDE[:88]])
