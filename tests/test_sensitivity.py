"""Nothing that a person gives is dropped in silence.

For every setting, in every mode, start and tab and beside many other settings: a changed value changes what the job
gives out (the weights, the conditioning, the start, the finished picture, the extra pictures), or the job refuses it,
or it warns of it by name. And the infotext claims nothing that had no effect.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.cache import content_key
from lib_iclight.effects import idle
from lib_iclight.errors import ICLightError
from lib_iclight.fields import FROM_BACKGROUND
from lib_iclight.folders import Folders
from lib_iclight.frame import Frame
from lib_iclight.job import Encoder, LatentCache, Relight
from lib_iclight.matting import Cutout, Cutter
from lib_iclight.progress import silent
from lib_iclight.session import Session
from lib_iclight.settings import FIELD, FIELDS, MODES, STAGE_OUTPUTS, STARTS, Settings
from lib_iclight.weights.keys import shapes

FRAME = Frame(48, 32)
RNG = np.random.default_rng(7)
PHOTO = RNG.integers(20, 235, (40, 40, 3), np.uint8)
OTHER_PHOTO = PHOTO[::-1].copy()
CUT = np.dstack([PHOTO, np.pad(RNG.integers(1, 255, (34, 34), np.uint8), 3)])
DISC = (255 - 1.1 * np.add.outer((np.arange(40) - 19.5) ** 2, (np.arange(40) - 19.5) ** 2)).clip(0).astype(np.uint8)
SPOTS = DISC.copy()
SPOTS[4:8, 4:8] = 255
SPOTS[7:14, 7:14] = np.maximum(SPOTS[7:14, 7:14], 100)  # joined to the disc under a low threshold
UPPER_RIGHT = np.add.outer(np.linspace(0.5, 0.1, 32), np.linspace(0.1, 0.5, 48))[..., None]
WALL = (RNG.integers(0, 255, (32, 48, 3)) * UPPER_RIGHT).astype(np.uint8)
OTHER_WALL = WALL[::-1] // 2
GLOW = np.repeat(np.linspace(250, 10, 48).astype(np.uint8)[None, :, None], 3, 2).repeat(32, 0)
RESULT = Image.fromarray(RNG.integers(20, 235, (32, 48, 3), np.uint8))

CHANGED: dict[str, tuple[Any, ...]] = {
    "mode": MODES, "foreground": (OTHER_PHOTO, CUT), "background": (WALL, OTHER_WALL),
    "background_flip": (True,),
    "light": ("left", "top", "none", FROM_BACKGROUND), "light_map": (GLOW,), "light_map_blur": (0.2,),
    "light_denoise": (0.5,),
    "start": STARTS, "start_amount": (0.4,), "fit": ("contain",), "size": ("original",),
    "stage": ("4", "8"), "matting": ("none",),
    "mask": (np.roll(DISC, 4, 0), np.roll(SPOTS, 3, 1)),
    "mask_contrast": (0.7,), "mask_threshold": (0.3,), "mask_grow": (30.0,), "mask_feather": (30.0,),
    "mask_largest": (True,), "mask_solid": (True,), "mask_invert": (True,),
    "preserve_color": (0.8,), "preserve_detail": (0.8,),
    "detail_radius": (20.0,), "detail_mode": ("add",), "keep_background": (True,), "background_tint": (0.7,),
    "harmonise": (0.6,),
    "weights": ("other.safetensors",), "outputs": (("cutout", "raw"), ("lightmap",), ("normals",), ("albedo",)),
}
"""setting -> values to change it to"""


def test_every_setting_is_changed() -> None:
    assert set(CHANGED) | {"enabled"} == {field.name for field in FIELDS}, (
        "CHANGED has values of each setting that change what a job gives out")


def beside() -> Iterator[dict[str, Any]]:
    """Settings to change one of: every mode, start and tab plainly, and a seeded choice of richer ones."""
    for mode, start in itertools.product(MODES, STARTS):
        yield {"mode": mode, "start": start, "light": "right", "mask": SPOTS, "background": WALL}
        yield {"mode": mode, "start": start, "light": FROM_BACKGROUND, "mask": SPOTS, "background": WALL}
    plain = [start for start in STARTS if start != "sketch"]
    richer = {"mode": MODES, "start": plain, "light": ("none", "right"), "mask": (None, SPOTS),
              "background": (None, WALL),
              "foreground": (PHOTO, CUT), "light_map": (None, GLOW[:, ::-1].copy()), "keep_background": (False, True),
              "preserve_detail": (0.0, 0.5), "matting": ("auto", "none"), "harmonise": (0.0, 0.4),
              "mask_largest": (False, True)}
    choose = random.Random(11)
    for number in range(70):
        yield {name: choose.choice(values) for name, values in richer.items()} | {
            "stage": "off" if number < 60 else "4"}
    for _ in range(12):
        yield {name: choose.choice(values) for name, values in richer.items()} | {"size": "original"}


class BrightIsSubject(Cutter):
    """In a cut-out model's place: what is brighter than the middle is the subject, to its share."""

    def __init__(self) -> None:
        super().__init__([])

    def cut(self, rgb: NDArray[Any], model: str = "auto", progress: Any = silent, *, own: Any = None, mask: Any = None,
            refinement: Any = None) -> Cutout:
        if mask is None and (own is None or model != "auto"):
            mask = (rgb.mean(axis=2) / 127 - 0.5).clip(0, 1).astype(np.float32)
        return super().cut(rgb, "auto", progress, own=own, mask=mask, refinement=refinement)


def encode(pixels: NDArray[Any]) -> torch.Tensor:
    """Another latent for every other picture, the same for the same."""
    seed = int(content_key(pixels)[:12], 16)
    height, width = pixels.shape[:2]
    return torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))


def finished_by(job: Relight) -> bytes:
    """What comes back of the result, at the photo's size where that is asked for."""
    picture = job.finish(RESULT, FRAME)
    return picture.tobytes() if job.full is None else job.bring_back(picture, FRAME).codes.tobytes()


def content_of(latent: torch.Tensor | None) -> bytes | None:
    return None if latent is None else latent.numpy().tobytes()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """With two files of weights for each kind that take no room on the disk."""
    folder = tmp_path_factory.mktemp("weights")
    for name, inputs in (("iclight_sd15_fc", 8), ("iclight_sd15_fcon", 8), ("iclight_sd15_fbc", 12), ("other", 8)):
        entries, end = {}, 0
        for key, shape in shapes("diffusers", inputs).items():
            begin, end = end, end + math.prod(shape)
            entries[key] = {"dtype": "F8_E4M3", "shape": list(shape), "data_offsets": [begin, end]}
        raw = json.dumps(entries).encode()
        with (folder / f"{name}.safetensors").open("wb") as file:
            file.write(len(raw).to_bytes(8, "little") + raw)
            file.truncate(8 + len(raw) + end)
    return Session(folders=Folders((folder,), (Path(folder),)))


class Given:
    """What a job gives out, and what it says."""

    def __init__(self, session: Session, values: dict[str, Any], tab: str) -> None:
        settings = Settings(**{"foreground": PHOTO} | values)
        pictures = [OTHER_PHOTO] if tab == "img2img" else []
        job = Relight(settings, cutter=BrightIsSubject(), latents=LatentCache(), tab=tab, pictures=pictures)
        encoder = Encoder("double", encode)
        concats = [single.concat(encoder, FRAME).numpy().tobytes() for single in job.singles]
        initials = [single.initial(encoder, FRAME) for single in job.singles]
        assert len({*zip(concats, map(content_of, initials), strict=True)}) == len(job.singles), "two lights are alike"
        started = tab != "img2img" and initials[0] is not None
        extras = [(name, picture.tobytes()) for name, picture in job.extras(FRAME)]
        self.signature = (
            session.resolve_weights(settings).name, concats, [content_of(initial) for initial in initials], job.start,
            settings.light_denoise if started else None,
            [finished_by(single) for single in job.singles], extras, "raw" in settings.outputs,
            settings.stage != "off" and [name for name in settings.outputs if name in STAGE_OUTPUTS])
        self.idle = {name for found in idle(settings, tab) for name in found.names}
        self.warnings = job.warnings
        self.infotext = job.infotext()
        self.start = job.start


def given(session: Session, values: dict[str, Any], tab: str) -> Given | None:
    """None where the job refuses."""
    try:
        return Given(session, values, tab)
    except ICLightError:
        return None


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_value_acts_or_is_told(session: Session, name: str, tab: str) -> None:
    compared = 0
    for values in beside():
        if name == "weights" and values["mode"] == "fbc":  # of another kind: refused by name
            continue
        before = given(session, values, tab)
        for value in CHANGED[name]:
            after = given(session, values | {name: value}, tab)
            if before is None or after is None or value is values.get(name, FIELD[name].default):
                continue
            if name == "start" and before.start == after.start:  # auto, and what it stands for
                continue
            compared += 1
            if before.signature == after.signature:
                told = name in after.idle or name in before.idle or before.warnings != after.warnings
                assert told, f"{name} {before.infotext} -> {after.infotext}: nothing changed, and nothing was said"
            for found in (before, after):
                assert all(FIELD[idler].infotext not in found.infotext for idler in found.idle if FIELD[idler].infotext)
                assert bool(found.warnings) >= bool(found.idle)
    assert compared >= 10


def test_the_known_cases_are_told() -> None:
    """Those that were once dropped: by the setting's name, and why."""
    for values, name, why in (
            ({"mode": "fbc", "background": WALL, "light": "left"}, "light", "background picture tells"),
            ({"background": WALL}, "background", "fbc places"),
            ({"background_tint": 0.5}, "background_tint", "keep_background is off"),
            ({"light": "left", "start_amount": 0.5}, "start_amount", "light+foreground"),
            ({"light": "left", "light_map": GLOW}, "light", "light map takes"),
            ({"mask": DISC, "matting": "isnet-general-use"}, "matting", "mask takes")):
        [found] = [found for found in idle(Settings(foreground=PHOTO, **values)) if name in found.names]
        assert why in found.sentence


def test_a_transparent_picture_that_is_used_whole_is_told_or_refused() -> None:
    def job(alpha: int) -> Relight:
        picture = np.dstack([PHOTO, np.full((40, 40), alpha, np.uint8)])
        return Relight(Settings(foreground=picture, matting="none"), cutter=BrightIsSubject(), latents=LatentCache())

    assert job(255).warnings == []
    assert "transparency is not used" in job(128).warnings[0]
    with pytest.raises(ICLightError, match="fully transparent"):
        job(0)
