"""The hooks of scripts/iclight.py in a double of Forge: what reaches the UNet, what comes back, what is left behind."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import fake_webui as fake
import gradio as gr
import numpy as np
import pytest
import torch
from fake_webui import base64_of, img2img, job, latent_of, picture
from fastapi import HTTPException
from PIL import Image

from lib_iclight.errors import HostError, ImageError, SettingsError
from lib_iclight.matting import Cutout
from lib_iclight.settings import FIELDS, Settings


def test_concat_reaches_cond_and_uncond(script: Any) -> None:
    p = job(script, foreground=picture(200, alpha=0), matting="auto")
    fake.process_images(p)
    [only] = p.passes
    assert only.patches == ["iclight-fc-0123456789ab"]
    assert len(only.concats) == 2
    for concat in only.concats:
        assert concat.shape == (1, 4, 8, 8)
        assert torch.allclose(concat[..., :4], torch.tensor(latent_of(200)))
        assert torch.equal(concat[..., 4:], torch.zeros(1, 4, 8, 4))  # transparent -> 127 -> exactly zero
    assert p.swallowed == []


def test_fbc_has_foreground_then_background(script: Any) -> None:
    p = job(script, mode="fbc", background=picture(20, (32, 32)), batch_size=2)
    fake.process_images(p)
    concat = p.passes[0].concats[0]
    assert concat.shape == (2, 8, 8, 8)
    assert torch.allclose(concat[:, :4], torch.tensor(latent_of(200)))
    assert torch.allclose(concat[:, 4:], torch.tensor(latent_of(20)))


def test_without_a_light_sampling_starts_from_noise(script: Any) -> None:
    p = job(script)
    fake.process_images(p)
    assert p.passes[0].entrance == "noise"


def test_a_light_is_the_initial_latent_at_light_denoise(script: Any) -> None:
    p = job(script, light="ambient", light_denoise=0.5, hires=(12, 12))
    fake.process_images(p)
    first, hires = p.passes
    assert first.entrance == "image"
    assert torch.allclose(first.initial, torch.zeros(1, 4, 8, 8))  # ambient is 127
    assert first.steps == 4
    assert int(first.steps / first.strength) == 8
    assert (hires.entrance, hires.strength) == ("image", 0.4)
    assert hires.concats[0].shape == (1, 4, 12, 12)


def test_a_light_map_is_used_in_the_lights_place(script: Any) -> None:
    p = job(script, light_map=picture(60, (32, 32)), light="ambient", outputs=["lightmap"])
    processed = fake.process_images(p)
    assert torch.allclose(p.passes[0].initial, torch.tensor(latent_of(60)))
    assert np.asarray(processed.images[1]).shape == (64, 64, 3) and (np.asarray(processed.images[1]) == 60).all()
    p = job(script, light_map=picture(60, (32, 32)), mode="fbc")
    fake.process_images(p)
    assert torch.allclose(p.passes[0].concats[0][:, 4:], torch.tensor(latent_of(60)))


def test_only_the_light_of_a_reference_picture_is_used(script: Any) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    p = job(script, light_map=Image.fromarray(stripes), light_map_blur=0.2, outputs=["lightmap"])
    lit = np.asarray(fake.process_images(p).images[1]).astype(int)
    assert np.abs(lit[:, 16:48] - 188).max() <= 3  # half the light, in sRGB
    assert p.extra_generation_params["IC-Light light map blur"] == 0.2


def test_hires_double_call_and_the_next_job_encode_nothing_again(script: Any) -> None:
    sd_model = fake.SdModel()
    fake.process_images(job(script, sd_model, hires=(12, 12)))
    calls = list(sd_model.original.vae.calls)
    fake.process_images(job(script, sd_model, hires=(12, 12), batch_size=2))
    assert calls == [(1, 64, 64, 3), (1, 96, 96, 3)]
    assert sd_model.original.vae.calls == calls


def test_hires_to_another_aspect_cuts_as_the_host_does(script: Any) -> None:
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)  # 128 x 64
    # The host scales 64 x 64 to 128 x 128 and keeps the middle 128 x 64.
    p = job(script, foreground=Image.fromarray(ramp), hires=(8, 16), truncate=(0, 8))
    fake.process_images(p)
    first, hires = (one.concats[0][0, 0] for one in p.passes)
    assert hires.shape == (8, 16)
    # The first pass saw columns 32..96 of the picture; so must the hires pass, at twice the size.
    assert torch.allclose(hires[4, ::2], first[4], atol=0.02)
    assert torch.allclose(hires[4, 1::2], first[4], atol=0.02)


def test_hires_that_stretches_takes_the_conditioning_along(script: Any) -> None:
    """Neo rounds to multiples of 64 and never cuts."""
    ramp = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    p = job(script, foreground=Image.fromarray(ramp), hires=(8, 16))
    fake.process_images(p)
    first, hires = (one.concats[0][0, 0] for one in p.passes)
    assert hires.shape == (8, 16)
    # The first pass saw columns 32..96 of the picture; so must the hires pass, at twice the width.
    assert torch.allclose((hires[4, ::2] + hires[4, 1::2]) / 2, first[4], atol=0.02)
    assert hires[4, 0] > latent_of(255 * 32 / 128) - 0.02


def test_img2img_uses_its_picture_and_keeps_the_tab_latent(script: Any) -> None:
    p = img2img(script, [picture(90)])
    fake.process_images(p)
    assert torch.allclose(p.passes[0].concats[0], torch.tensor(latent_of(90)))
    assert torch.equal(p.passes[0].initial, torch.full((1, 4, 8, 8), 7.0))
    assert p.color_corrections is None


def test_img2img_batch_pairs_each_picture_with_its_own_conditioning(script: Any) -> None:
    p = img2img(script, [picture(90), picture(30)], batch_size=2)
    fake.process_images(p)
    concat = p.passes[0].concats[0]
    assert torch.allclose(concat[0], torch.tensor(latent_of(90)))
    assert torch.allclose(concat[1], torch.tensor(latent_of(30)))


def test_inpainting_keeps_the_latent_outside_the_mask(script: Any) -> None:
    keep = torch.zeros(4, 8, 8)
    keep[:, :, 4:] = 1
    p = img2img(script, [picture(90)], light="ambient", mask=keep)
    fake.process_images(p)
    assert torch.allclose(p.passes[0].initial[..., :4], torch.zeros(1))
    assert torch.equal(p.passes[0].initial[..., 4:], torch.full((1, 4, 8, 4), 7.0))


def test_inpainting_only_masked_conditions_on_the_crop(script: Any) -> None:
    halves = np.zeros((64, 128, 3), np.uint8)
    halves[:, 64:] = 180
    p = img2img(script, [Image.fromarray(halves)], crop=(64, 0, 128, 64))
    fake.process_images(p)
    assert torch.allclose(p.passes[0].concats[0], torch.tensor(latent_of(180)))


@pytest.mark.parametrize(("mode", "left", "middle"), [(0, 10, 10), (1, 250, 10), (2, 10, 10)])
def test_resize_modes_place_the_picture_as_the_tab_does(script: Any, mode: int, left: int, middle: int) -> None:
    wide = np.full((64, 256, 3), 10, np.uint8)
    wide[:, 96:112] = 250  # at the left edge of the middle square, and nowhere else in it
    p = img2img(script, [Image.fromarray(wide)], resize_mode=mode)
    fake.process_images(p)
    row = p.passes[0].concats[0][0, 0, 4]
    assert row[0].item() == pytest.approx(latent_of(left), abs=0.05)
    assert row[6].item() == pytest.approx(latent_of(middle), abs=0.05)


def test_img2img_can_start_from_noise(script: Any) -> None:
    p = img2img(script, [picture(90)], start="noise")
    fake.process_images(p)
    assert p.passes[0].entrance == "noise"
    assert torch.equal(p.sampler.model_wrap_cfg.init_latent, torch.full((1, 4, 8, 8), 7.0))


def test_off_changes_nothing(script: Any) -> None:
    p = job(script, enabled=False)
    fake.process_images(p)
    assert p.passes[0].concats == [None, None]
    assert p.passes[0].patches == []
    assert p.extra_generation_params == {}
    assert "sample" not in vars(p)
    assert p.color_corrections == ["a correction"]


def test_nothing_stays_on_the_job_or_the_model(script: Any) -> None:
    sd_model = fake.SdModel()
    p = job(script, sd_model)
    fake.process_images(p)
    assert "sample" not in vars(p)
    assert sd_model.original.unet.patches == {}
    p.script_args = [{"enabled": False}]  # the same object again, as the batch tab does
    fake.process_images(p)
    assert p.passes[-1].concats == [None, None]


def test_a_batch_tab_takes_the_next_picture(script: Any) -> None:
    p = img2img(script, [picture(90)])
    fake.process_images(p)
    p.init_images = [picture(30)]
    fake.process_images(p)
    assert torch.allclose(p.passes[-1].concats[0], torch.tensor(latent_of(30)))


@pytest.mark.parametrize("settings", [
    {"foreground": None}, {"foreground": "garbage"}, {"mode": "fbc"}, {"foregrund": "x"},
    {"light_denoise": float("nan")}, {"enabled": "yes"}, {"matting": "no-such-model"},
    {"start": "light"}, {"start": "background"}, {"light": {"\ud800": 1}}, {"\ud800": 1}, {"mode": "\ud800"},
    {"foreground": picture(9, (1, 1))}, {"foreground": picture(9, alpha=0).crop((40, 0, 64, 64)), "matting": "auto"},
])
def test_a_mistake_stops_the_job_with_its_sentence(script: Any, settings: dict[str, Any]) -> None:
    p = job(script, **settings, is_api=True)
    with pytest.raises(HTTPException) as caught:
        fake.process_images(p)
    assert caught.value.status_code == 422
    assert caught.value.detail.startswith("IC-Light: ")
    assert caught.value.detail.encode("utf-8")  # as the server sends it
    assert p.passes == []


@pytest.mark.parametrize("place", ["prepare", "before_sampling", "finish", "bring_back", "end"])
def test_what_nobody_foresaw_is_told_without_the_servers_folders(
        script: Any, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("cannot open /srv/people/photo.png")

    from lib_iclight.webui.run import Run

    monkeypatch.setattr(Run, place, fail)
    with pytest.raises(HTTPException) as caught:
        encoded(fake.process_images(job(script, is_api=True)))
    assert (caught.value.status_code, caught.value.detail) == (500, "IC-Light: RuntimeError: cannot open photo.png")
    with pytest.raises(RuntimeError, match="/srv/people"):  # the person at the page sees the log as well
        encoded(fake.process_images(job(script)))


def encoded(processed: Any) -> list[bytes]:
    """The pictures as the host sends them."""
    return [picture.tobytes() for picture in processed.images]


def test_on_the_page_the_named_error_comes_out(script: Any) -> None:
    with pytest.raises(ImageError, match="no foreground"):
        fake.process_images(job(script, foreground=None))


def test_an_api_object_must_say_whether_to_relight(script: Any) -> None:
    p = fake.Processing(fake.SdModel(), script, [{"light": "left"}], is_api=True)
    with pytest.raises(HTTPException, match="enabled"):
        fake.process_images(p)


@pytest.mark.parametrize(("attribute", "value", "word"), [
    ("is_sd1", False, "SDXL"), ("model_config", SimpleNamespace(unet_config={"in_channels": 9}), "inpainting")])
def test_other_checkpoints_are_refused(script: Any, attribute: str, value: Any, word: str) -> None:
    sd_model = fake.SdModel()
    sd_model.is_sdxl = True
    setattr(sd_model, attribute, value)
    p = job(script, sd_model, is_api=True)
    with pytest.raises(HTTPException, match=word):
        fake.process_images(p)


def test_a_refiner_is_refused(script: Any) -> None:
    p: Any = job(script, is_api=True)
    p.refiner_checkpoint_info = SimpleNamespace(name_for_extra="another")
    with pytest.raises(HTTPException, match="refiner"):
        fake.process_images(p)


def test_another_extension_that_drops_the_unet_is_noticed(script: Any) -> None:
    p = job(script)
    hook = script.process_before_every_sampling

    def dropping(p: Any, *args: Any, **kwargs: Any) -> None:
        hook(p, *args, **kwargs)
        p.sd_model.reset()

    p.script = SimpleNamespace(before_process=script.before_process, process=script.process,
                               process_before_every_sampling=dropping,
                               postprocess_image=script.postprocess_image, postprocess=script.postprocess)
    with pytest.raises(HostError, match="without IC-Light's conditioning"):
        fake.process_images(p)


def test_a_changed_latent_size_is_noticed(script: Any) -> None:
    p = job(script)
    hook = script.process_before_every_sampling

    def other_size(p: Any, *args: Any, x: torch.Tensor, **kwargs: Any) -> None:
        hook(p, *args, x=x[..., :4], **kwargs)

    p.script = SimpleNamespace(before_process=script.before_process, process=script.process,
                               process_before_every_sampling=other_size,
                               postprocess_image=script.postprocess_image, postprocess=script.postprocess)
    with pytest.raises(HostError, match="8x8.*4x8"):
        fake.process_images(p)


@pytest.mark.parametrize("light", ["none", "left"])
def test_a_latent_changed_after_all_hooks_is_noticed(script: Any, light: str) -> None:
    """By an extension that replaces the sampler's method, over ours where a light map is the start."""
    p = job(script, light=light)
    hook = script.process_before_every_sampling

    def shrinking(p: Any, *args: Any, **kwargs: Any) -> None:
        hook(p, *args, **kwargs)
        sample = p.sampler.sample
        p.sampler.sample = lambda p, x, *rest, **more: sample(p, x[..., :-2], *rest, **more)

    p.script = SimpleNamespace(before_process=script.before_process, process=script.process,
                               process_before_every_sampling=shrinking,
                               postprocess_image=script.postprocess_image, postprocess=script.postprocess)
    with pytest.raises(HostError, match=r"6x8.*8x8: another extension changed the size"):
        fake.process_images(p)


def test_an_error_of_our_own_in_a_hook_is_not_swallowed(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.session, "map_offsets", None)
    with pytest.raises(TypeError):
        fake.process_images(job(script))


def test_extra_outputs_only_when_asked(script: Any) -> None:
    assert len(fake.process_images(job(script)).images) == 1
    processed = fake.process_images(job(script, light="left", outputs=["raw", "cutout", "lightmap", "mask"],
                                        keep_background=True))
    texts = processed.infotexts[1:]
    assert [text.rpartition("IC-Light output: ")[2] for text in texts] == ["cutout", "mask", "lightmap", "raw"]
    assert [image.info["parameters"] for image in processed.images[1:]] == texts
    assert np.asarray(processed.images[4])[0, 0].tolist() == [90, 90, 90]


def test_keep_background_puts_the_subject_back(script: Any) -> None:
    half = np.zeros((64, 64), np.float32)
    half[:, :32] = 1
    script.session.cutter = SimpleNamespace(cut=lambda rgb, *args, **options: Cutout(half, rgb, "half"))
    processed = fake.process_images(job(script, matting="auto", keep_background=True))
    result = np.asarray(processed.images[0])
    assert result[32, 8].tolist() == [90, 90, 90]  # the relit subject
    assert result[32, 56].tolist() == [200, 200, 200]  # its own background


def test_keep_background_needs_one(script: Any) -> None:
    with pytest.raises(SettingsError, match="uncut photo"):
        fake.process_images(job(script, foreground=picture(200, alpha=0), matting="auto", keep_background=True))


def test_pictures_come_as_base64_and_data_uris(script: Any) -> None:
    text = base64_of(picture(50))
    for given in (text, f"data:image/png;base64,{text}"):
        p = job(script, foreground=given)
        fake.process_images(p)
        assert torch.allclose(p.passes[0].concats[0], torch.tensor(latent_of(50)))


def test_xyz_axes_override_the_panel(script: Any) -> None:
    p: Any = job(script, light="left")
    p.iclight_overrides = {"light": "ambient"}
    fake.process_images(p)
    assert torch.allclose(p.passes[0].initial, torch.zeros(1))
    assert p.extra_generation_params["IC-Light light"] == "ambient"


def test_an_axis_without_the_panel_is_an_error(script: Any) -> None:
    p: Any = job(script, enabled=False, is_api=True)
    p.iclight_overrides = {"light": "left"}
    with pytest.raises(HTTPException, match="not enabled"):
        fake.process_images(p)


@pytest.mark.parametrize("is_img2img", [False, True])
def test_the_panel_is_the_settings_table(script: Any, is_img2img: bool) -> None:
    with gr.Blocks():
        inputs = script.ui(is_img2img)
    values = {field.name: widget.value for field, widget in zip(FIELDS, inputs, strict=True)}
    assert Settings.from_dict(values) == Settings()
    tab = "img2img" if is_img2img else "txt2img"
    assert [widget.elem_id for widget in inputs] == [f"iclight_{tab}_{field.name}" for field in FIELDS]
    p = fake.Processing(fake.SdModel(), script, [widget.value for widget in inputs])
    fake.process_images(p)
    assert p.passes[0].concats == [None, None]


def test_infotext_is_read_back_into_the_widgets(script: Any) -> None:
    spec = {"ambient": "#000000",
            "lights": [{"kind": "directional", "angle": 30.0, "color": "#ff8800", "intensity": 1.5}]}
    mask = base64_of(picture(200, alpha=99))
    p = job(script, light=json.dumps(spec), light_denoise=0.7, mask_invert=True, mask=mask, outputs=["raw", "mask"])
    fake.process_images(p)
    params = {key: str(value) for key, value in p.extra_generation_params.items()}
    with gr.Blocks():
        script.ui(False)
    read = {widget.elem_id.removeprefix("iclight_txt2img_"): reader(params)
            for widget, reader in script.infotext_fields}
    assert read["enabled"] is True
    assert Settings.from_dict({"light": read["light"]}).light == Settings.from_dict({"light": spec}).light
    assert (read["light_denoise"], read["mask_invert"], read["start"]) == (0.7, True, "auto")
    assert read["outputs"] == ["mask", "raw"]  # no update: Forge's API would take its keys for the value
    unrelated = {widget.elem_id: reader({"Steps": "20"}) for widget, reader in script.infotext_fields}
    assert unrelated.pop("iclight_txt2img_enabled") is False
    assert set(unrelated.values()) == {None}
