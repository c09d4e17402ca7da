"""Runs in a double of Forge that do not go straight through: stopped ones, several batches, pictures of other sizes."""

from __future__ import annotations

import sys
from typing import Any

import fake_webui as fake
import numpy as np
import pytest
import torch
from fake_webui import img2img, job, latent_of, picture
from fastapi import HTTPException
from PIL import Image

from lib_iclight.errors import HostError
from lib_iclight.matting import Cutout


def stop_at(p: fake.Processing, number: int, step: int, how: str) -> None:
    """Have the person press Interrupt or Skip just before a step of the `number`th pass."""
    def at_step(*now: int) -> None:
        if now == (number, step):
            setattr(sys.modules["modules.shared"].state, how, True)

    p.at_step = at_step


def values(image: Image.Image) -> set[tuple[int, ...]]:
    """The colours in a picture."""
    return {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def halves(left: int, right: int, width: int = 64, height: int = 64) -> Image.Image:
    """Two plain halves."""
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2:] = right
    return Image.fromarray(pixels)


@pytest.mark.parametrize("how", ["interrupted", "skipped"])
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("number", [1, 2])
def test_stopped_in_mid_pass(script: Any, number: int, step: int, how: str) -> None:
    """In either pass, before its first step or later: no complaint, the model is as before, and the next job works."""
    sd_model = fake.SdModel()
    before = vars(sd_model.original.unet.clone())
    p = job(script, sd_model, hires=(12, 12), light="left")
    stop_at(p, number, step, how)
    processed = fake.process_images(p)
    assert p.passes[number - 1].taken == step
    assert len(processed.images) == 1
    assert p.swallowed == []
    unet = sd_model.original.unet
    assert (unet.patches, unet.model_options) == (before["patches"], before["model_options"])
    assert not {"sample", "sample_img2img"} & set(vars(p.sampler))
    assert "sample" not in vars(p)

    vars(sys.modules["modules.shared"].state).update(interrupted=False, skipped=False)
    off = job(script, sd_model, enabled=False)
    fake.process_images(off)
    assert off.passes[0].concats == [None, None]
    again = job(script, sd_model, hires=(12, 12), light="left")
    fake.process_images(again)
    assert [one.taken for one in again.passes] == [2, 2]
    assert all(concat is not None for one in again.passes for concat in one.concats)


def test_an_interrupt_ends_the_batches_and_a_skip_only_one(script: Any) -> None:
    for how, passes in (("interrupted", [1]), ("skipped", [1, 2, 2])):
        p = job(script, n_iter=3)
        stop_at(p, 1, 1, how)
        fake.process_images(p)
        assert [one.taken for one in p.passes] == passes
        assert p.swallowed == []
        sys.modules["modules.shared"].state.interrupted = False


def test_stopping_excuses_no_pass_but_the_stopped_one(script: Any) -> None:
    """A batch after a skipped one must be relit like any other."""
    p = job(script, n_iter=2)
    stop_at(p, 1, 1, "skipped")
    hook, calls = script.process_before_every_sampling, []

    def dropping(p: Any, *args: Any, **kwargs: Any) -> None:
        hook(p, *args, **kwargs)
        calls.append(p.iteration)
        if p.iteration == 1:
            p.sd_model.reset()

    script.process_before_every_sampling = dropping
    with pytest.raises(HostError, match="without IC-Light's conditioning"):
        fake.process_images(p)
    assert calls == [0, 1]


@pytest.mark.parametrize("hires", [None, (12, 12)])
def test_every_batch_is_conditioned_and_starts_from_the_light(script: Any, hires: tuple[int, int] | None) -> None:
    p = job(script, n_iter=3, batch_size=2, light="ambient", hires=hires)
    fake.process_images(p)
    per_batch = 1 if hires is None else 2
    assert len(p.passes) == 3 * per_batch
    for number, one in enumerate(p.passes):
        size = 8 if number % per_batch == 0 else 12
        assert one.patches == ["iclight-fc-0123456789ab"]
        assert len(one.concats) == 2
        assert all(torch.allclose(concat, torch.full((2, 4, size, size), latent_of(200))) for concat in one.concats)
        assert one.entrance == "image"
        if size == 8:
            assert torch.allclose(one.initial, torch.zeros(2, 4, 8, 8))
    assert p.swallowed == []


@pytest.mark.parametrize("start", ["auto", "noise"])
def test_one_sampler_serves_all_batches_of_img2img(script: Any, start: str) -> None:
    p = img2img(script, [picture(90), picture(30)], batch_size=2, n_iter=3, start=start)
    fake.process_images(p)
    assert [one.entrance for one in p.passes] == ["noise" if start == "noise" else "image"] * 3
    for one in p.passes:
        for concat in one.concats:
            assert torch.allclose(concat[0], torch.tensor(latent_of(90)))
            assert torch.allclose(concat[1], torch.tensor(latent_of(30)))
    assert not {"sample", "sample_img2img"} & set(vars(p.sampler))


def test_a_light_in_an_inpainting_tab_is_the_same_in_every_batch(script: Any) -> None:
    """It is laid over the tab's own latent, not over what the batch before was given."""
    keep = torch.zeros(4, 8, 8)
    keep[:, :, 4:] = 0.5
    p = img2img(script, [picture(90)], light="ambient", mask=keep, n_iter=3)
    fake.process_images(p)
    for one in p.passes:
        assert torch.allclose(one.initial[..., :4], torch.zeros(1))
        assert torch.allclose(one.initial[..., 4:], torch.full((1, 4, 8, 4), 3.5))


def test_each_picture_of_each_batch_gets_its_own_background(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in the batch counts, whichever batch it is."""
    half = np.zeros((64, 64), np.float32)
    half[:, :32] = 1
    monkeypatch.setattr(script.session.cutter, "cut",
                        lambda rgb, *args, **options: Cutout(half, rgb, f"half-{rgb.mean()}"))
    p = img2img(script, [picture(210), picture(30)], batch_size=2, n_iter=2, matting="auto", keep_background=True,
                outputs=["raw"])
    processed = fake.process_images(p)
    assert [values(image) for image in processed.images[:4]] == [{(90,) * 3, (210,) * 3}, {(90,) * 3, (30,) * 3}] * 2
    assert [values(image) for image in processed.images[4:]] == [{(90,) * 3}] * 4


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 96), (100, 104), (32, 32)])
def test_preservation_fits_what_came(script: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another extension scaled the picture before us."""
    half = np.zeros((64, 64), np.float32)
    half[:, :32] = 1
    monkeypatch.setattr(script.session.cutter, "cut", lambda rgb, *args, **options: Cutout(half, rgb, "half"))
    p = job(script, matting="auto", keep_background=True, preserve_color=0.5)
    p.upscale = lambda image: image.resize(size)
    [result] = fake.process_images(p).images
    assert result.size == size
    row = np.asarray(result)[size[1] // 2, :, 0]
    assert (row[:size[0] * 3 // 8] == 90).all()
    assert (row[size[0] * 5 // 8:] == 200).all()


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("truncate", [(0, 8), (0, 0)], ids=["cut", "stretched"])
def test_preservation_fits_a_scaled_hires_picture(script: Any, truncate: tuple[int, int], factor: int,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Hires fix to another aspect cuts (or stretches) the picture: the background must still lie where it did."""
    corner = np.zeros((64, 64), np.float32)
    corner[0, 0] = 1
    monkeypatch.setattr(script.session.cutter, "cut", lambda rgb, *args, **options: Cutout(corner, rgb, "corner"))
    p = job(script, foreground=halves(20, 220), hires=(8, 16), truncate=truncate, keep_background=True, matting="auto")
    p.upscale = lambda image: image.resize((image.width * factor, image.height * factor))
    [result] = fake.process_images(p).images
    assert result.size == (128 * factor, 64 * factor)
    row = np.asarray(result)[40 * factor, :, 0].astype(int)
    assert (np.abs(row[:60 * factor] - 20) <= 12).all()  # the resampling rings beside the edge
    assert (np.abs(row[-60 * factor:] - 220) <= 12).all()


@pytest.mark.parametrize("size", [(128, 64), (64, 96), (128, 152)])
@pytest.mark.parametrize("settings", [{"preserve_color": 1.0}, {"preserve_detail": 1.0}, {"keep_background": True}])
def test_a_picture_of_another_aspect_fails_the_job_by_name(script: Any, size: tuple[int, int],
                                                           settings: dict[str, Any]) -> None:
    sentence = f"another extension made a {size[0]}x{size[1]} picture of the relit one, 64x64"
    p = job(script, n_iter=2, **settings)
    p.upscale = lambda image: image.resize(size)
    with pytest.raises(HostError, match=sentence):
        fake.process_images(p)
    assert len(p.passes) == 1
    p = job(script, is_api=True, **settings)
    p.upscale = lambda image: image.resize(size)
    with pytest.raises(HTTPException) as caught:
        fake.process_images(p)
    assert caught.value.status_code == 422
    assert sentence in caught.value.detail


def test_a_picture_of_another_aspect_passes_where_nothing_is_preserved(script: Any) -> None:
    p = job(script)
    p.upscale = lambda image: image.resize((128, 64))
    [result] = fake.process_images(p).images
    assert values(result) == {(90, 90, 90)}
    assert p.swallowed == []


def test_an_error_in_finishing_a_picture_fails_the_job(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = job(script, batch_size=2, preserve_color=1.0)

    def out_of_memory(*args: Any, **options: Any) -> Any:
        raise MemoryError("no more")

    monkeypatch.setattr("lib_iclight.preserve.preserve", out_of_memory)
    with pytest.raises(MemoryError, match="no more"):
        fake.process_images(p)


def test_an_error_in_adding_extra_pictures_is_no_silence(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = job(script, outputs=["mask"])
    monkeypatch.setattr(fake.Processed, "infotext", lambda *args: 1 / 0)
    processed = fake.process_images(p)
    with pytest.raises(ZeroDivisionError):
        processed.images[-1].save("out.png")
    with pytest.raises(ZeroDivisionError):
        np.asarray(processed.images[-1].convert("RGB"))
    assert "sample" not in vars(p)
    fake.process_images(p2 := job(script))
    assert p2.swallowed == []
