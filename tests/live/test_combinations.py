"""With the host's other features on, the conditioning reaches the UNet at every call."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from .client import HIRES, SIZE, Answer, Forge, base64_of, scene, subject
from .conftest import check_equal, check_relit, control_unit, script_name
from .reference import Reference, fitted, light_from, on_grey, stretched

FC = {"enabled": True, "foreground": base64_of(subject())}
FBC = {**FC, "mode": "fbc", "background": base64_of(scene())}

FREEU = "FreeU Integrated"
SAG = "SelfAttentionGuidance Integrated"
PAG = "PerturbedAttentionGuidance Integrated"
KOHYA = "Kohya HRFix Integrated"
LATENT = "LatentModifier Integrated"
TILES = "MultiDiffusion Integrated"
NEVER_OOM = "Never OOM Integrated"


@pytest.fixture(scope="session")
def foreground(reference: Reference) -> torch.Tensor:
    """The latent of the subject at the usual size."""
    return reference.latent(fitted(on_grey(subject()), SIZE, SIZE))


@pytest.fixture(scope="session")
def plain(forge: Forge) -> Answer:
    """The relit picture with nothing else on, two steps."""
    return forge.txt2img(FC, steps=2)


@pytest.mark.parametrize(("name", "values"), [
    (FREEU, [True, 1.3, 1.4, 0.9, 0.2, 0.0, 1.0]),
    (SAG, [True, 0.8, 2.0, 1.0]),
    (PAG, [True, 3.0, 0.0, 0.0, 1.0]),
    (KOHYA, [True, 3, 2.0, 0.0, 1.0, True, "bicubic", "bicubic"]),
    (LATENT, [True, 5.0]),
    ("ControlNet", None),
])
def test_with_a_built_in_extension(forge: Forge, host: str, plain: Answer, foreground: torch.Tensor, name: str,
                                   values: list[Any] | None) -> None:
    script = script_name(forge, host, name)
    forge.arm()
    answer = forge.txt2img(FC, steps=2, scripts={script: values or [control_unit(forge)]})
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check_equal(one.concat, foreground)
    assert (answer.pictures[0] != plain.pictures[0]).any(), f"{name} did nothing"


def test_all_guidances_at_once_with_hires(forge: Forge, host: str) -> None:
    script_name(forge, host, "ControlNet")
    asked: dict[str, list[Any]] = {FREEU: [True, 1.3, 1.4, 0.9, 0.2, 0.0, 1.0], SAG: [True, 0.8, 2.0, 1.0],
                                   PAG: [True, 3.0, 0.0, 0.0, 1.0], "ControlNet": [control_unit(forge)]}
    scripts = {name: values for title, values in asked.items() for name in forge.scripts(title)}
    forge.arm()
    answer = forge.txt2img(FBC, **{**HIRES, "hr_second_pass_steps": 2}, steps=2, hr_scale=1.5, hr_upscaler="Latent",
                           prompt="a cat <lora:iclight-live-lora:1>", scripts=scripts)
    first, hires = check_relit(answer, forge.seen(), "fbc", 2)
    assert (len(first.channels) > 2) == bool(forge.scripts(SAG) or forge.scripts(PAG)), "these call the UNet themselves"


def test_multidiffusion(forge: Forge, host: str, reference: Reference, request: pytest.FixtureRequest) -> None:
    script = script_name(forge, host, TILES)
    if host == "reforge":
        request.applymarker(pytest.mark.xfail(strict=True, reason=(
            "reforge's own fault: its tiles fail on anything beside the latent, of inpainting checkpoints too")))
    forge.arm()
    answer = forge.txt2img(FC, width=192, scripts={script: [True, "MultiDiffusion", 128, 128, 64, 1]})
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    assert one.x.shape[2:] == (16, 16)
    whole = reference.latent(fitted(on_grey(subject()), 192, SIZE))
    tiles = [whole[..., left:left + 16] for left in range(9)]
    best = min(float((one.concat[:1] - tile).abs().max()) for tile in tiles)
    assert best <= 1e-5 * float(whole.abs().max())


def test_never_oom(forge: Forge, host: str, foreground: torch.Tensor) -> None:
    name = script_name(forge, host, NEVER_OOM)
    forge.arm()
    answer = forge.txt2img(FC, scripts={name: [True, True]})
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check_equal(one.concat, foreground)  # one tile is the whole picture here
    forge.arm()
    answer = forge.txt2img(FC, scripts={name: [False, False]})
    check_relit(answer, forge.seen(), "fc", 1)


def test_batch_size_and_count(forge: Forge, host: str, foreground: torch.Tensor) -> None:
    forge.arm()
    answer = forge.txt2img({**FC, "light": "left", "preserve_detail": 1.0}, batch_size=2, n_iter=2)
    passes = check_relit(answer, forge.seen(), "fc", 2)
    for one in passes:
        # Two pictures, conditioned and not: Classic calls the UNet once for each, the others once for both.
        assert one.x.shape[0] == (2 if host == "classic" else 4)
        check_equal(one.concat, foreground)
    pictures = [picture for picture in answer.pictures if picture.shape == (SIZE, SIZE, 3)]
    assert len({picture.tobytes() for picture in pictures}) == 4


@pytest.mark.parametrize(("size", "upscaler", "expected"), [
    ({"hr_scale": 1.4}, "Latent (bicubic antialiased)", (176, 176)),
    ({"hr_scale": 1.4}, "Lanczos", (176, 176)),
    ({"hr_resize_x": 136, "hr_resize_y": 200}, "Latent", (136, 200)),
])
def test_hires_sizes(forge: Forge, host: str, reference: Reference, size: dict[str, Any], upscaler: str,
                     expected: tuple[int, int]) -> None:
    if host == "neo":
        expected = {(176, 176): (192, 192), (136, 200): (128, 192)}[expected]  # to multiples of 64
    forge.arm()
    answer = forge.txt2img(FC, **HIRES, **size, hr_upscaler=upscaler)
    _, hires = check_relit(answer, forge.seen(), "fc", 2)
    width, height = hires.x.shape[3] * 8, hires.x.shape[2] * 8
    assert (width, height) == expected
    side = max(expected)  # a square first pass is scaled to cover, then cut
    pixels = fitted(on_grey(subject()), side, side)
    if host == "neo":  # or stretched
        pixels = stretched(pixels, width, height)
    else:
        left, top = (side - width) // 16 * 8, (side - height) // 16 * 8
        pixels = pixels[top:top + height, left:left + width]
    check_equal(hires.concat, reference.latent(pixels))


def test_switching_modes_and_off(forge: Forge) -> None:
    off = forge.txt2img().pictures[0]
    pictures = {}
    for turn, (settings, kind) in enumerate([(FC, "fc"), (FBC, "fbc"), (None, ""), (FC, "fc")]):
        forge.arm()
        answer = forge.txt2img(settings)
        if kind:
            check_relit(answer, forge.seen(), kind, 1)
            pictures[turn] = answer.pictures[0]
        else:
            (one,) = forge.seen().passes
            assert set(one.channels) == {4}
            assert (answer.pictures[0] == off).all()
    assert (pictures[0] == pictures[3]).all()
    assert (pictures[0] != pictures[1]).any()


def test_a_panel_that_is_off_changes_nothing(forge: Forge) -> None:
    assert (forge.txt2img({"enabled": False, "mode": "fbc"}).pictures[0] == forge.txt2img().pictures[0]).all()


@pytest.mark.parametrize("sampler", ["DDIM", "UniPC", "Euler a", "LCM", "DPM++ 2M SDE", "Heun"])
def test_samplers(forge: Forge, foreground: torch.Tensor, sampler: str) -> None:
    forge.arm()
    answer = forge.txt2img({**FC, "light": "right"}, sampler_name=sampler, scheduler="Automatic", steps=4)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check_equal(one.concat, foreground)


def test_cfg_1(forge: Forge, host: str, foreground: torch.Tensor) -> None:
    forge.arm()
    answer = forge.txt2img(FC, cfg_scale=1.0)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    assert one.x.shape[0] == (2 if host == "a1111" else 1)  # only A1111 computes what it then multiplies by nothing
    check_equal(one.concat, foreground)


def test_negative_guidance_minimum_sigma(forge: Forge, host: str, foreground: torch.Tensor,
                                         reference: Reference) -> None:
    """The setting leaves the negative prompt out below a noise level, here from the start."""
    if host == "reforge":
        pytest.skip("reforge has the setting, but its samplers do not look at it")
    changed: dict[str, Any] = {"s_min_uncond": 15.0, **({"s_min_uncond_all": True} if host != "classic" else {})}
    forge.arm()
    with forge.settings(**changed) as settings:
        answer = forge.txt2img(FC, **settings)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    assert one.x.shape[0] == 1
    check_equal(one.concat, foreground)
    check_equal(one.output, reference.noise("fc", one.x, one.timesteps, one.context))


def test_token_merging(forge: Forge, plain: Answer, foreground: torch.Tensor) -> None:
    forge.arm()
    with forge.settings(token_merging_ratio=0.5) as settings:
        answer = forge.txt2img(FC, steps=2, **settings)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    assert len(one.channels) == 2
    check_equal(one.concat, foreground)
    assert (answer.pictures[0] != plain.pictures[0]).any(), "token merging did nothing"
    assert (forge.txt2img(FC, steps=2).pictures[0] == plain.pictures[0]).all()


@pytest.mark.parametrize("start", ["noise", "light", "light+foreground", "image", "background"])
def test_starts(forge: Forge, reference: Reference, start: str) -> None:
    forge.arm()
    settings = {**FC, "background": base64_of(scene()), "light": "bottom", "start": start}
    answer = forge.txt2img(settings, steps=2)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    assert len(one.channels) == 2
    picture = fitted(subject()[..., :3], SIZE, SIZE)
    light = light_from("bottom", SIZE, SIZE)
    if start == "noise":
        noisy = one.x[:1, :4] * (one.sigma**2 + 1) ** 0.5
        assert float((noisy / one.noise).std()) < 0.01  # noise alone, whatever its scale
        return
    if start == "light+foreground":
        alpha = fitted(subject()[..., 3], SIZE, SIZE)[..., None] / 255
        over = fitted(subject()[..., :3], SIZE, SIZE) * alpha + light * (1 - alpha)
        expected, tolerance = over.round().astype(np.uint8), 2e-2  # 8-bit alpha here, float there
    else:
        expected, tolerance = {"light": light, "image": picture, "background": fitted(scene(), SIZE, SIZE)}[start], 1e-4
    check_equal(one.start, reference.latent(expected), tolerance)


def test_light_denoise_sets_the_noise(forge: Forge) -> None:
    sigmas = {}
    for denoise in (0.5, 1.0):
        forge.arm()
        answer = forge.txt2img({**FC, "light": "left", "light_denoise": denoise}, steps=3)
        (one,) = check_relit(answer, forge.seen(), "fc", 1)
        assert len(one.channels) == 3, "the steps asked for are the steps run"
        sigmas[denoise] = one.sigma
    assert sigmas[0.5] < sigmas[1.0]


@pytest.mark.parametrize("scripts", ["same", "own"])
def test_a_second_pass_like_adetailers(forge: Forge, foreground: torch.Tensor, scripts: str) -> None:
    forge.arm(second_pass=scripts)
    answer = forge.txt2img({**FC, "preserve_color": 0.5}, n_iter=2)
    passes = forge.seen().passes
    assert answer.status == 200, answer.sentence
    # Each picture's own pass, then the one after it; that runs on the plain model where it leaves the extension out.
    inner = {8} if scripts == "same" else {4}
    assert [set(one.channels) for one in passes] == [{8}, inner, {8}, inner]
    for one in passes[::2]:
        check_equal(one.concat, foreground)


def test_xyz_plot(forge: Forge) -> None:
    arguments = forge.scripts("x/y/z plot")["x/y/z plot"]
    labels = arguments[0]["choices"]
    wanted = {"X type": labels.index("[IC-Light] Light"), "X values": "left, right",
              "Y type": labels.index("[IC-Light] Light denoise"), "Y values": "0.5, 0.9", "Z type": 0,
              "Draw legend": False, "Include Sub Images": True, "Use text inputs instead of dropdowns": True}
    values = [wanted.pop(argument["label"], argument["value"]) for argument in arguments]
    assert not wanted
    forge.arm()
    answer = forge.txt2img(FC, script_name="x/y/z plot", script_args=values)
    check_relit(answer, forge.seen(), "fc", 4)
    own = [text for text in answer.infotexts if "IC-Light light: left" in text]
    assert len(own) >= 2
    assert len({picture.tobytes() for picture in answer.pictures[1:]}) == 4


@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn"])
def test_unet_storage(forge: Forge, host: str, foreground: torch.Tensor, dtype: str) -> None:
    plain = forge.txt2img(FC).pictures[0].astype(float)
    try:
        forge.call(f"/probe/storage?dtype={dtype}", {})
        forge.arm()
        answer = forge.txt2img(FC)
        (one,) = check_relit(answer, forge.seen(), "fc", 1)
        assert dtype in forge.call("/probe/state")[1]["dtype"]
        # A1111 then computes in bfloat16, the VAE's part too.
        check_equal(one.concat, foreground, 2e-2 if host == "a1111" else 1e-5)
        if dtype == "float16":
            assert np.abs(answer.pictures[0] - plain).mean() < 2
    finally:
        forge.call("/probe/storage", {})


@pytest.mark.parametrize("light", ["top-left", {"ambient": "#303030", "lights": [
    {"kind": "directional", "angle": 180, "color": "#ffffff", "intensity": 1.0},
    {"kind": "point", "x": 0.2, "y": 0.3, "radius": 0.5, "color": "3200K", "intensity": 1.2}]}])
def test_infotext_round_trip(forge: Forge, light: Any) -> None:
    settings = {"enabled": True, "mode": "fcon", "light": light, "light_denoise": 0.75, "preserve_color": 0.25,
                "preserve_detail": 0.5, "matting": "none", "start": "light", "background_flip": True}
    picture = base64_of(subject()[..., :3])
    forge.arm()
    first = forge.img2img(settings, init_images=[picture])
    check_relit(first, forge.seen(), "fcon", 1)
    forge.arm()
    again = forge.job("img2img", None, init_images=[picture], denoising_strength=0.9, infotext=first.infotexts[0])
    check_relit(again, forge.seen(), "fcon", 1)
    # img2img has no light denoise, and no background to flip: that they were given is told, and they are not written.
    assert len(first.warnings) == 2 and "Light denoise" in first.warnings[0] and "flip" in first.warnings[1]
    assert not again.warnings
    assert re.sub(r', IC-Light warnings: "[^"]*"', "", first.infotexts[0]) == again.infotexts[0]
    assert (again.pictures[0] == first.pictures[0]).all()
    plain = forge.txt2img()
    assert "IC-Light" not in plain.infotexts[0]


def test_extra_outputs(forge: Forge) -> None:
    answer = forge.txt2img({**FC, "light": "left", "outputs": ["cutout", "mask", "lightmap", "raw"],
                            "preserve_detail": 1.0})
    assert answer.status == 200, answer.sentence
    result, cutout, mask, lightmap, raw = answer.pictures
    assert (cutout == subject()).all()
    assert (mask == subject()[..., 3]).all()
    assert (lightmap == light_from("left", SIZE, SIZE)).all()
    assert raw.shape == result.shape
    assert (raw != result).any()
    for text, name in zip(answer.infotexts[1:], ("cutout", "mask", "lightmap", "raw"), strict=True):
        assert f"IC-Light output: {name}" in text
