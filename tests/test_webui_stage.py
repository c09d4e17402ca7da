"""Light stages in a double of a WebUI: each batch under its own light, all with one seed, and a folder for each set."""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_webui as fake
import numpy as np
import pytest
import torch
from fake_webui import img2img, job, latent_of, picture
from fastapi import HTTPException
from PIL import Image

from lib_iclight.errors import HostError, SettingsError
from lib_iclight.lights import light_map
from lib_iclight.settings import STAGES
from lib_iclight.stage import load, normals, to_colors


def staged(script: Any, out: Path | None, **settings: Any) -> fake.Processing:
    """A txt2img job for a stage whose pictures go to `out`."""
    p = job(script, **{"mode": "fbc", "stage": "4", **settings})
    p.outpath_samples = None if out is None else str(out)
    return p


def listed(folder: Path) -> list[str]:
    return [entry["name"] for entry in json.loads((folder / "stage.json").read_text())["pictures"]]


def drawn(light: str, form: Any) -> torch.Tensor:
    """What the double's VAE makes of a light map of 64 x 64."""
    pixels = light_map(light, 64, 64, form)
    assert pixels is not None
    means = torch.from_numpy((pixels / 127 - 1).astype(np.float32)).movedim(2, 0)[None]
    means = torch.nn.functional.avg_pool2d(means, 8)
    return 0.5 * torch.cat([means, means[:, :1]], 1)


@pytest.mark.parametrize("stage", ["4", "8"])
def test_each_picture_has_its_own_light_and_all_one_seed(script: Any, tmp_path: Path, stage: str) -> None:
    p = staged(script, tmp_path, stage=stage)
    processed = fake.process_images(p)
    lights = STAGES[stage]
    assert p.swallowed == [] and len(p.passes) == len(lights) == len(processed.images)
    for one, light in zip(p.passes, lights, strict=True):
        assert one.patches == ["iclight-fbc-0123456789ab"] and one.entrance == "noise"
        assert torch.allclose(one.concats[0][:, :4], torch.tensor(latent_of(200)))
        assert torch.allclose(one.concats[0][:, 4:], drawn(light, "fbc"), atol=1e-5)
        assert torch.equal(one.noise, p.passes[0].noise)
    assert p.all_seeds == [100] * len(lights) and p.all_subseeds == [500] * len(lights)
    for text, light in zip(processed.infotexts, lights, strict=True):
        assert f"IC-Light light: {light}, " in text + ", " and f"IC-Light stage: {stage}" in text
    assert p.n_iter == 1


def test_in_fc_the_light_is_what_a_picture_starts_from(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path, mode="fc", hires=(12, 12))
    fake.process_images(p)
    firsts, seconds = p.passes[::2], p.passes[1::2]
    assert len(firsts) == len(seconds) == 5
    for one, light in zip(firsts, STAGES["4"], strict=True):
        assert one.entrance == "image" and torch.allclose(one.initial, drawn(light, "fc"), atol=1e-5)
    [folder] = tmp_path.iterdir()
    assert (load(folder).width, load(folder).height) == (96, 96)


def test_a_batch_count_means_more_sets(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path, n_iter=2, batch_size=2)
    processed = fake.process_images(p)
    assert p.all_seeds == [100, 101] * 5 + [102, 103] * 5
    assert p.all_subseeds == [500, 501] * 5 + [502, 503] * 5
    folders = sorted(tmp_path.iterdir(), key=lambda folder: load(folder).seed or 0)
    assert [load(folder).seed for folder in folders] == [100, 101, 102, 103]
    assert all(listed(folder) == list(STAGES["4"]) for folder in folders)
    assert p.n_iter == 2
    named = processed.extra_generation_params
    assert named["IC-Light stage lights"] == [light for light in STAGES["4"] for _ in range(2)] * 2
    assert sorted(named["IC-Light stage folders"]) == sorted(folder.name for folder in folders)
    assert sum("light stage is in" in comment for comment in p.comments) == 4
    assert not any(str(tmp_path) in text for text in (*p.comments, *processed.infotexts))


def test_the_folder_holds_what_the_host_is_given(script: Any, tmp_path: Path) -> None:
    cut = picture(200, alpha=0)
    p = staged(script, tmp_path, foreground=cut, matting="auto", preserve_color=1.0, light="top")
    processed = fake.process_images(p)
    [folder] = tmp_path.iterdir()
    stage = load(folder)
    assert folder.name.startswith("stage-") and folder.name.endswith("-100")
    for number, image in enumerate(processed.images):
        assert np.array_equal(stage.codes(number), np.asarray(image))
    assert stage.alpha is not None and stage.alpha[0, 0] == 1 and stage.alpha[0, -1] == 0
    assert stage.settings["mode"] == "fbc" and stage.settings["generation"]["prompt"] == "a prompt"
    assert processed.extra_generation_params["IC-Light warnings"] == [
        "The light is not used: each picture of a light stage has a light of its own."]


def mask_of(address: str) -> Any:
    """The grey picture in a data address, uint8 [H, W]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_the_page_is_told_where_the_sets_pictures_are(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path, n_iter=2, batch_size=2, foreground=picture(200, alpha=0), matting="auto")
    told = fake.process_images(p).extra_generation_params["IC-Light desk"]
    lights = list(STAGES["4"])
    assert [one["seed"] for one in told] == [100, 101, 102, 103]
    for number, first in enumerate((0, 1, 10, 11)):
        assert told[number]["pictures"] == [{"name": light, "at": first + 2 * place}
                                            for place, light in enumerate(lights)]
        assert np.array_equal(mask_of(told[number]["alpha"])[0, [0, -1]], [255, 0])
    json.dumps(told)
    # None of it goes to an API's client, into a picture or onto the disk, and none of it names a folder.
    client = staged(script, tmp_path / "api", is_api=True)
    assert "IC-Light desk" not in fake.process_images(client).extra_generation_params
    assert not any("IC-Light desk" in text for text in fake.process_images(staged(script, tmp_path)).infotexts)
    assert str(tmp_path) not in json.dumps(told)


def test_a_grid_and_masks_among_the_pictures_are_counted(script: Any, tmp_path: Path) -> None:
    """A host puts a grid first, and behind each picture its inpainting mask, if it is set to."""
    p = staged(script, None)
    own = script.postprocess

    def postprocess(p: Any, processed: Any, *args: Any) -> None:
        processed.images[:] = [Image.new("L", (9, 9)), *(one for made in processed.images for one in (made, made))]
        processed.index_of_first_image = 1
        own(p, processed, *args)

    script.postprocess = postprocess
    [told] = fake.process_images(p).extra_generation_params["IC-Light desk"]
    assert [one["at"] for one in told["pictures"]] == [1, 3, 5, 7, 9] and told["alpha"] is None


@pytest.mark.parametrize("how", ["interrupted", "skipped"])
def test_the_page_is_told_of_whole_pictures_only(script: Any, tmp_path: Path, how: str) -> None:
    state = sys.modules["modules.shared"].state
    p = staged(script, tmp_path)
    p.at_step = lambda number, step: setattr(state, how, True) if (number, step) == (2, 1) else None
    [told] = fake.process_images(p).extra_generation_params["IC-Light desk"]
    whole = {"left": 0} if how == "interrupted" else {"left": 0, "bottom": 2, "top": 3, "ambient": 4}
    assert {one["name"]: one["at"] for one in told["pictures"]} == whole


def test_the_light_is_drawn_over_a_background(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path, background=picture(200))
    fake.process_images(p)
    left, right = (one.concats[0][:, 4:] for one in p.passes[:2])
    assert torch.allclose(left, right.flip(3), atol=1e-5)
    assert left[0, 0, 0, 0] > latent_of(185) and left[0, 0, 0, -1] < latent_of(60)


def test_img2img_is_staged_too(script: Any, tmp_path: Path) -> None:
    p = img2img(script, [picture(90)], mode="fc", stage="4")
    p.outpath_samples = str(tmp_path)
    fake.process_images(p)
    assert len(p.passes) == 5
    for one, light in zip(p.passes, STAGES["4"], strict=True):
        assert torch.allclose(one.concats[0], torch.tensor(latent_of(90)))
        assert torch.allclose(one.initial, drawn(light, "fc"), atol=1e-5)
        assert torch.equal(one.noise, p.passes[0].noise)
    assert listed(next(tmp_path.iterdir())) == list(STAGES["4"])


@pytest.mark.parametrize("how", ["interrupted", "skipped"])
def test_what_was_made_before_an_interrupt_stays(script: Any, tmp_path: Path, how: str) -> None:
    state = sys.modules["modules.shared"].state
    p = staged(script, tmp_path, outputs=["normals"])
    p.at_step = lambda number, step: setattr(state, how, True) if (number, step) == (4, 1) else None
    processed = fake.process_images(p)
    [folder] = tmp_path.iterdir()
    whole = ["left", "right", "bottom"] + (["ambient"] if how == "skipped" else [])
    assert listed(folder) == whole
    assert {path.name for path in folder.iterdir()} == {"stage.json", "stage.lp"} | {f"{name}.png" for name in whole}
    assert len(processed.images) == (4 if how == "interrupted" else 5)  # the host's own, the cut one among them
    assert "interrupted" in processed.extra_generation_params["IC-Light warnings"][0]
    assert p.n_iter == 1 and p.swallowed == []


def test_normals_and_albedo_come_without_a_folder(script: Any, tmp_path: Path) -> None:
    shades = iter(range(90, 140, 10))
    p = staged(script, tmp_path, outputs=["normals", "albedo", "raw", "lightmap"], n_iter=1)
    p.do_not_save_samples = True

    def shaded(image: Image.Image) -> Image.Image:
        level = next(shades)
        return Image.fromarray(np.clip(np.asarray(image).astype(int) + np.arange(64)[:, None] - level // 2, 0,
                                       255).astype(np.uint8))

    p.upscale = shaded
    processed = fake.process_images(p)
    assert list(tmp_path.iterdir()) == []
    named = [text.rpartition("IC-Light output: ")[2] for text in processed.infotexts[5:]]
    assert named == [*(f"{light}-lightmap" for light in STAGES["4"]), *(f"{light}-raw" for light in STAGES["4"]),
                     "normals", "albedo"]
    assert all("IC-Light light: " not in text for text in processed.infotexts[5:])
    assert "IC-Light stage folders" not in processed.extra_generation_params
    saved = staged(script, tmp_path)
    shades = iter(range(90, 140, 10))
    saved.upscale = shaded
    fake.process_images(saved)
    assert np.array_equal(np.asarray(processed.images[-2]), to_colors(normals(load(next(tmp_path.iterdir())))))


@pytest.mark.parametrize(("save", "path"), [(False, "out"), (True, None)])
def test_nothing_is_written_where_nothing_is_to_be_saved(script: Any, tmp_path: Path, save: bool,
                                                         path: str | None) -> None:
    sys.modules["modules.shared"].opts.samples_save = save
    p = staged(script, tmp_path / path if path else None)
    assert len(fake.process_images(p).images) == 5
    assert not (tmp_path / "out").exists() and p.comments == []


def test_the_same_processing_again_makes_the_same_again(script: Any, tmp_path: Path) -> None:
    """As the host's loopback script does it."""
    p = staged(script, tmp_path, n_iter=2)
    for _ in range(2):
        p.passes.clear()
        fake.process_images(p)
        assert len(p.passes) == 10
    p.script_args = [{"enabled": True, "mode": "fbc", "stage": "4"}]  # no foreground
    with pytest.raises(Exception, match="no foreground"):
        fake.process_images(p)
    p.script_args = [{"enabled": False}]
    p.passes.clear()
    fake.process_images(p)
    assert (len(p.passes), p.n_iter) == (2, 2)
    assert len(list(tmp_path.iterdir())) == 4


def test_lists_of_prompts_are_repeated_for_every_light(script: Any) -> None:
    stages = importlib.import_module("lib_iclight.webui.stages")
    p = SimpleNamespace(iclight_batches=(2, 10), batch_size=2, all_prompts=["a", "b", "c"], all_hr_prompts=None,
                        all_negative_prompts=["n"] * 20, all_seeds=list(range(20)), all_subseeds=[])
    stages.relist(p, SimpleNamespace(stage="4"))
    assert p.all_prompts == ["a", "b"] * 5 + ["c", "c"] * 5
    assert p.all_seeds == [0, 1] * 5 + [2, 3] * 5
    assert (p.all_hr_prompts, p.all_subseeds) == (None, [])


def test_a_host_that_cannot_is_told(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path)
    script.before_process = lambda p, *args: None
    with pytest.raises(HostError, match="cannot make a light stage"):
        fake.process_images(p)


def test_upscaling_one_picture_is_no_stage(script: Any, tmp_path: Path) -> None:
    p = staged(script, tmp_path)
    p.txt2img_upscale = True  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="not by upscaling one picture"):
        fake.process_images(p)
    assert p.n_iter == 1 and list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_told_as_without_a_stage(script: Any) -> None:
    p = job(script, stage="6", is_api=True)
    with pytest.raises(HTTPException) as told:
        fake.process_images(p)
    assert told.value.status_code == 422 and "stage must be one of off, 4, 8" in told.value.detail
    assert p.n_iter == 1 and p.swallowed == []


def test_an_axis_may_switch_the_stage_on(script: Any, tmp_path: Path) -> None:
    p = job(script, mode="fbc", light="left")
    p.outpath_samples = str(tmp_path)
    p.iclight_overrides = {"stage": "4"}  # type: ignore[attr-defined]
    assert len(fake.process_images(p).images) == 5
