"""End to end: the pocket model relights a rendered vase, and the light does what it is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.color import srgb_to_linear
from lib_iclight.demo import BACKGROUND, FOREGROUND
from lib_iclight.errors import WeightsError
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone import samplers
from lib_iclight.hosts.standalone.host import Result, Standalone
from lib_iclight.hosts.standalone.pocket import BEST, FOLDER, SIDE, Pocket
from lib_iclight.imaging import fit, fit_alpha
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutter
from lib_iclight.settings import Settings
from training.light_stage import random_scenes
from training.renderer import to_srgb

pytestmark = pytest.mark.usefixtures("one_thread")
POCKET = Pocket()
PROMPT = "a glossy yellow vase, best quality"
SIDES = {"left": (1, -1), "right": (1, 1), "top": (0, -1), "bottom": (0, 1)}
"""preset -> (array axis, where along it the picture is brighter)"""


@pytest.fixture(scope="module")
def host() -> Standalone:
    return Standalone(POCKET, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def alpha() -> NDArray[Any]:
    return fit_alpha(np.asarray(Image.open(FOREGROUND))[..., 3] / np.float32(255), SIDE, SIDE)


def relight(host: Standalone, mode: str = "fc", seed: int = 2, steps: int | None = None, prompt: str = PROMPT,
            hires: float = 1, batch: int = 1, **settings: Any) -> Result:
    job = Relight(Settings(mode=mode, **{"foreground": FOREGROUND} | settings), cutter=Cutter([]),
                  latents=LatentCache())
    best = BEST[mode] if steps is None else {**BEST[mode], "steps": steps}
    generation = Generation(prompt=prompt, width=SIDE, height=SIDE, seed=seed, hires_scale=hires, batch=batch, **best)
    return host.relight(job, generation, POCKET.offsets(mode))


def pixels(result: Result, index: int = 0) -> NDArray[Any]:
    return np.asarray(result.pictures[index].picture)


def slope(picture: NDArray[Any], alpha: NDArray[Any], axis: int) -> float:
    """How much the subject's linear brightness grows along an axis, relative to its mean."""
    light = srgb_to_linear(picture.astype(np.float32) / 255).mean(-1)
    inside = alpha > 0.98
    place = np.indices(light.shape)[axis][inside] / light.shape[axis]
    return float(np.polyfit(place, light[inside], 1)[0] / light[inside].mean())


@pytest.mark.parametrize("light", SIDES)
def test_the_subject_is_brighter_where_the_light_comes_from(host: Standalone, alpha: NDArray[Any], light: str) -> None:
    axis, sign = SIDES[light]
    opposite = next(name for name, place in SIDES.items() if place == (axis, -sign))
    lit, otherwise = (slope(pixels(relight(host, light=name)), alpha, axis) for name in (light, opposite))
    assert (lit - otherwise) * sign > 0.2


def test_a_seed_gives_the_same_picture(host: Standalone) -> None:
    first, again, other = (pixels(relight(host, light="left", seed=seed)) for seed in (2, 2, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_batch_gives_different_pictures_under_the_same_light(host: Standalone, alpha: NDArray[Any]) -> None:
    result = relight(host, light="left", batch=2)
    right = slope(pixels(relight(host, light="right")), alpha, 1)
    assert np.abs(pixels(result, 0).astype(int) - pixels(result, 1)).mean() > 1
    assert all(slope(pixels(result, index), alpha, 1) < right for index in range(2))


def test_hires_keeps_the_direction(host: Standalone) -> None:
    slopes = []
    for light in ("left", "right"):
        picture = pixels(relight(host, light=light, hires=1.5))
        assert picture.shape == (SIDE * 3 // 2, SIDE * 3 // 2, 3)
        large = fit_alpha(np.asarray(Image.open(FOREGROUND))[..., 3] / np.float32(255), SIDE * 3 // 2, SIDE * 3 // 2)
        slopes.append(slope(picture, large, 1))
    assert slopes[1] - slopes[0] > 0.2


def warmth(picture: NDArray[Any], alpha: NDArray[Any]) -> float:
    """log(red / blue) of the subject's mean linear colour."""
    red, _, blue = srgb_to_linear(picture.astype(np.float32) / 255)[alpha > 0.98].mean(0)
    return float(np.log(red / blue))


def test_warm_and_cold_prompts_tint_the_subject(host: Standalone) -> None:
    scenes = random_scenes(12, SIDE, torch.Generator().manual_seed(77))
    pictures = torch.cat([to_srgb(scenes.albedo * 0.8), scenes.alpha], 1).movedim(1, -1)
    foregrounds, alphas = (pictures * 255).round().to(torch.uint8).numpy(), scenes.alpha[:, 0].numpy()
    # What has next to no blue, or no red, of its own is hardly tinted by any light.
    own = [abs(warmth(one[..., :3], alpha)) < 1.5 for one, alpha in zip(foregrounds, alphas, strict=True)]

    def tint(chosen: int, seed: int, *words: str) -> float:
        prompt = ", ".join((scenes.captions[chosen], *words, "best quality"))
        return warmth(pixels(relight(host, foreground=foregrounds[chosen], prompt=prompt, seed=seed)), alphas[chosen])

    subjects = [(int(chosen), seed) for seed, chosen in enumerate(np.flatnonzero(own)[:6])]
    plain = np.array([tint(*subject) for subject in subjects])
    warmer = np.array([tint(*subject, "warm sunset light") for subject in subjects]) - plain
    colder = np.array([tint(*subject, "cold blue light") for subject in subjects]) - plain
    assert sum(warmer > 0.2) >= 5 and warmer.mean() > 0.7, "the green vase stays cold"
    assert colder.max() < -0.2 and colder.mean() < -0.6


def test_fbc_takes_its_light_from_the_background(host: Standalone, alpha: NDArray[Any]) -> None:
    background = np.asarray(Image.open(BACKGROUND).convert("RGB"))
    slopes = [slope(pixels(relight(host, mode="fbc", background=background, background_flip=flip)), alpha, 1)
              for flip in (False, True)]
    assert slopes[0] - slopes[1] > 0.2, "it is lit from the right, or flipped from the left"


def test_fbc_keeps_the_background(host: Standalone, alpha: NDArray[Any]) -> None:
    made = pixels(relight(host, mode="fbc", background=BACKGROUND)).astype(float)
    wanted = fit(np.asarray(Image.open(BACKGROUND).convert("RGB")), SIDE, SIDE).astype(float)
    border = np.ones((SIDE, SIDE), bool)
    border[32:-32, 32:-32] = False
    assert np.abs(made - wanted)[border & (alpha < 0.01)].mean() < 25


def test_it_is_sampled_as_its_folder_says_that_it_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pocket"
    shutil.copytree(FOLDER, folder)
    file = folder / "scheduler" / "scheduler_config.json"
    seen, make = list[str](), samplers.make_scheduler

    def recorded(sampler: str, prediction: str, steps: int) -> Any:
        seen.append(prediction)
        return make(sampler, prediction, steps)

    monkeypatch.setattr(samplers, "make_scheduler", recorded)
    for prediction in ("epsilon", "v_prediction"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": prediction}))
        relight(Standalone(Pocket(folder), device=torch.device("cpu")), steps=1)
    assert seen == ["epsilon", "v_prediction"]


def test_modes_switch_and_leave_nothing_behind(host: Standalone) -> None:
    latent, context = torch.ones(1, 4, 16, 16), host.contexts(PROMPT, "")[0]

    def plain() -> torch.Tensor:
        host.unet.use(None)
        with torch.inference_mode():
            return host.unet(latent, torch.tensor(500), context, None)

    before = plain()
    fc = pixels(relight(host, light="left", steps=2))
    fbc = pixels(relight(host, mode="fbc", light="left", steps=2))
    assert not np.array_equal(fc, fbc)
    assert np.array_equal(pixels(relight(host, light="left", steps=2)), fc)
    assert torch.equal(plain(), before)


def test_it_is_as_small_as_it_says() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 30 * 2**20


def test_offsets_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "pocket"
    shutil.copytree(FOLDER, folder)
    (folder / "ic-light" / "fcon-offsets.safetensors").unlink()
    with pytest.raises(WeightsError, match="no offsets for mode fcon. Install the program anew"):
        Pocket(folder).offsets("fcon")
