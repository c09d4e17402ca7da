"""Light stages: a pass for each single light, all with one seed, and a folder with the set beside the pictures."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight import infotext
from lib_iclight.settings import STAGES
from lib_iclight.stage import load

from .client import HIRES, SIZE, Answer, Forge, base64_of, subject
from .conftest import check_equal, check_relit, plain
from .reference import Reference, fitted, light_from, on_grey

LIGHTS = STAGES["4"]
STAGE: dict[str, Any] = {"enabled": True, "foreground": base64_of(subject()), "mode": "fbc", "stage": "4"}
FC = {**STAGE, "mode": "fc"}


def drawn(light: str, form: str, side: int = SIZE) -> NDArray[Any]:
    """The reference demo's picture of a single light."""
    high, low, middle = (224, 32, 64) if form == "fbc" else (255, 0, 127)
    if light == "ambient":
        return np.full((side, side, 3), middle, np.uint8)
    return light_from(light, side, side, high, low)


def listed(folder: Path) -> list[str]:
    """The lights that a set claims to have."""
    return [entry["name"] for entry in json.loads((folder / "stage.json").read_text())["pictures"]]


@pytest.fixture
def saving(forge: Forge, tmp_path: Path) -> Iterator[Path]:
    """Where the host saves its pictures during a case."""
    _, before = forge.call("/sdapi/v1/options")
    changed = {"outdir_samples": "", "outdir_txt2img_samples": str(tmp_path), "outdir_img2img_samples": str(tmp_path),
               "return_grid": False, "grid_save": False}
    assert forge.call("/sdapi/v1/options", changed)[0] == 200
    yield tmp_path
    forge.call("/sdapi/v1/options", {name: before[name] for name in changed})


def check_set(answer: Answer, folder: Path, lights: tuple[str, ...], seed: int = 1) -> None:
    """The set in the one folder that is there: what the host was given back, a picture for each of `lights`."""
    count = len(lights)
    (made,) = folder.glob("stage-*")
    assert made.name.endswith(f"-{seed}")
    assert listed(made) == list(lights)
    stage = load(made)
    assert stage.names == lights and stage.seed == seed
    for number, picture in enumerate(answer.pictures[:count]):
        assert np.array_equal(stage.codes(number), picture[..., :3])


def check_texts(answer: Answer, stage: str = "4") -> None:
    """Each picture names its own light, and all have one seed."""
    assert len(answer.infotexts) == len(answer.pictures) == len(STAGES[stage])
    for text, light in zip(answer.infotexts, STAGES[stage], strict=True):
        params = infotext.read(text)
        assert (params["IC-Light light"], params["IC-Light stage"]) == (light, stage)
        assert re.search(r"\bSeed: 1,", text)


def test_fbc(forge: Forge, reference: Reference, saving: Path, fresh: tuple[str, bytes]) -> None:
    forge.arm()
    answer = forge.txt2img(STAGE, steps=2, save_images=True)
    passes = check_relit(answer, forge.seen(), "fbc", len(LIGHTS))
    check_texts(answer)
    for one, light in zip(passes, LIGHTS, strict=True):
        assert torch.equal(one.noise, passes[0].noise)
        check_equal(one.concat[:, :4], reference.latent(fitted(on_grey(subject()), SIZE, SIZE)))
        check_equal(one.concat[:, 4:], reference.latent(drawn(light, "fbc")))
        assert light == LIGHTS[0] or (one.concat[:, 4:] - passes[0].concat[:, 4:]).abs().max() > 0.1
    check_equal(passes[-1].output, reference.noise("fbc", passes[-1].x, passes[-1].timesteps, passes[-1].context))
    check_set(answer, saving, LIGHTS)
    assert plain(forge) == fresh


def test_eight_in_img2img_with_a_lora(forge: Forge, reference: Reference, saving: Path,
                                      fresh: tuple[str, bytes]) -> None:
    """The tab's own picture is relit, and its folder of pictures gets the set."""
    picture = subject(SIZE, SIZE)
    forge.arm()
    answer = forge.img2img({"enabled": True, "mode": "fbc", "stage": "8"}, init_images=[base64_of(picture)],
                           save_images=True, prompt="a cat <lora:iclight-live-lora:0.7>")
    passes = check_relit(answer, forge.seen(), "fbc", 9)
    check_texts(answer, "8")
    for one, light in zip(passes, STAGES["8"], strict=True):
        assert torch.equal(one.noise, passes[0].noise)
        check_equal(one.concat[:, :4], reference.latent(on_grey(picture)))
        if light in LIGHTS:
            check_equal(one.concat[:, 4:], reference.latent(drawn(light, "fbc")))
    backgrounds = [one.concat[0, 4:].numpy().tobytes() for one in passes]
    assert len(set(backgrounds)) == 9, "each has a light of its own, the corners too"
    check_equal(passes[-1].output, reference.noise("fbc", passes[-1].x, passes[-1].timesteps, passes[-1].context, 0.7))
    check_set(answer, saving, STAGES["8"])
    assert plain(forge) == fresh


def test_fc_with_hires_and_a_lora(forge: Forge, reference: Reference, saving: Path, fresh: tuple[str, bytes]) -> None:
    forge.arm()
    answer = forge.txt2img(FC, **HIRES, hr_scale=1.5, hr_upscaler="Latent", steps=2, save_images=True,
                           prompt="a cat <lora:iclight-live-lora:0.7>")
    passes = check_relit(answer, forge.seen(), "fc", 2 * len(LIGHTS))
    check_texts(answer)
    assert [one.hires for one in passes] == [False, True] * len(LIGHTS)
    for index, one in enumerate(passes):
        side = 192 if one.hires else SIZE
        check_equal(one.concat, reference.latent(fitted(on_grey(subject()), side, side)))
        if not one.hires:
            check_equal(one.start, reference.latent(drawn(LIGHTS[index // 2], "fc")), 1e-4)
    last = passes[-1]
    check_equal(last.output, reference.noise("fc", last.x, last.timesteps, last.context, 0.7))
    assert answer.pictures[0].shape[:2] == (192, 192)
    check_set(answer, saving, LIGHTS)
    assert plain(forge) == fresh


def test_an_interrupt(forge: Forge, saving: Path, fresh: tuple[str, bytes]) -> None:
    """In the third pass of two steps each: two pictures are whole, and the set claims these."""
    forge.arm(interrupt_at=5)
    answer = forge.txt2img(STAGE, steps=2, save_images=True)
    assert answer.status == 200, answer.sentence
    assert len(forge.seen().passes) == 3
    check_set(answer, saving, LIGHTS[:2])
    assert plain(forge) == fresh


def test_normals_where_nothing_is_saved(forge: Forge, saving: Path) -> None:
    answer = forge.txt2img({**STAGE, "outputs": ["normals", "albedo"]})
    assert answer.status == 200, answer.sentence
    assert [text.rpartition("IC-Light output: ")[2] for text in answer.infotexts[len(LIGHTS):]] == ["normals", "albedo"]
    assert list(saving.iterdir()) == []


def test_a_wrong_stage_is_refused(forge: Forge) -> None:
    answer = forge.txt2img({**STAGE, "stage": "6"})
    assert answer.status == 422 and "stage must be one of off, 4, 8" in answer.sentence


def test_a_preview(forge: Forge) -> None:
    before = forge.unet_hash()
    asked = {"foreground": STAGE["foreground"], "light": "left", "size": 128}
    status, answer = forge.call("/iclight/v1/preview", asked)
    assert status == 200, answer
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["image"]))).convert("RGB")).astype(float)
    assert max(picture.shape[:2]) <= 128 and answer["light"] == "left"
    _, other = forge.call("/iclight/v1/preview", {**asked, "light": "right"})
    mirrored = np.asarray(Image.open(io.BytesIO(base64.b64decode(other["image"]))).convert("RGB")).astype(float)
    middle = picture.shape[1] // 2
    assert (picture - mirrored)[:, :middle].mean() > 0 > (picture - mirrored)[:, middle:].mean()
    refused: list[Any] = [{**asked, "light": "above"}, {"light": "left"}, {**asked, "lihgt": "left"}, []]
    for wrong in refused:
        status, answer = forge.call("/iclight/v1/preview", wrong)
        assert status == 422, (wrong, answer)
    status, answer = forge.call("/iclight/v1/preview", {**asked, "light": "above"})
    assert answer["detail"].startswith("IC-Light: LightError: ") and "above" in answer["detail"]
    assert forge.unet_hash() == before
