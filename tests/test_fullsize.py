"""A result brought back to its photo: exact where nothing changes, no seams, its own detail, in little memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.frame import Frame, fit
from lib_iclight.fullsize import Painted
from lib_iclight.imaging import contain
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutout, Cutter, Refinement, refine
from lib_iclight.matting import haze as haze_of
from lib_iclight.preserve.transfer import carried_on, light_of
from lib_iclight.settings import Settings
from lib_iclight.subject import HALF_TRANSPARENT

RNG = np.random.default_rng(6)
FRAME = Frame(96, 64)
PHOTO = RNG.integers(20, 236, (200, 300, 3), np.uint8)
FAR = np.hypot(*np.ogrid[-100:100, -150:150])
DISC = (255 * np.clip((62 - FAR) / 8, 0, 1)).astype(np.uint8)
SOLID, OUTSIDE = DISC == 255, DISC == 0


def job(photo: Any = PHOTO, depth: int = 8, **settings: Any) -> Relight:
    values = {"foreground": photo, "size": "original", "fit": "contain"} | settings
    if "mask" not in values:
        values["matting"] = "none"
    return Relight(Settings(**values), cutter=Cutter([]), latents=LatentCache(), depth=depth)


def unchanged(relight: Relight, frame: Frame = FRAME) -> NDArray[Any]:
    """A result that is the photo in the same light."""
    laid = relight._laid[0]
    placed: NDArray[Any] = frame.place(laid.subject.color, laid.place)
    return placed


def times(pixels: NDArray[Any], factor: NDArray[Any] | float) -> NDArray[Any]:
    """8-bit sRGB under so many times the light."""
    lit: NDArray[Any] = np.rint(255 * linear_to_srgb((srgb_to_linear(pixels / 255) * factor).clip(0, 1)))
    return lit.astype(np.uint8)


def back(relight: Relight, result: NDArray[Any], frame: Frame = FRAME, **options: Any) -> NDArray[Any]:
    codes: NDArray[Any] = relight.bring_back(Image.fromarray(result), frame, **options).codes
    return codes


# --- what does not change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"mask": DISC, "keep_background": True}])
@pytest.mark.parametrize("frame", [FRAME, Frame(64, 64), Frame(384, 256), Frame(96, 40, full=(96, 64), top=12)])
def test_the_same_light_gives_the_photos_own_bytes(settings: dict[str, Any], frame: Frame) -> None:
    for how in ("contain", "cover"):
        relight = job(fit=how, **settings)
        assert relight.full is not None
        left, top, right, bottom = relight.full.box(frame)
        assert (right - left, bottom - top) == relight.full.size(frame)
        np.testing.assert_array_equal(back(relight, unchanged(relight, frame), frame), PHOTO[top:bottom, left:right])


def test_a_kept_background_is_the_photos_whatever_the_light() -> None:
    relight = job(mask=DISC, keep_background=True)
    made = back(relight, RNG.integers(0, 256, (64, 96, 3), np.uint8))
    np.testing.assert_array_equal(made[OUTSIDE], PHOTO[OUTSIDE])
    assert (made[SOLID] != PHOTO[SOLID]).mean() > 0.9
    tinted = back(job(mask=DISC, keep_background=True, background_tint=1.0), times(unchanged(relight), 0.3))
    assert (tinted[OUTSIDE].astype(int) - PHOTO[OUTSIDE]).mean() < -20


def test_sixteen_bits_stay_exact_too() -> None:
    deep = RNG.integers(0, 65536, (200, 300, 3), np.uint16)
    relight = job(deep, depth=16)
    off = back(relight, unchanged(relight)).astype(int) - deep
    assert np.abs(off).max() <= 1 and (off != 0).mean() < 0.01


def test_outside_a_mask_and_around_a_crop_it_stays() -> None:
    share = np.zeros((200, 300), np.float32)
    share[50:150, 100:200] = 1.0
    result = RNG.integers(0, 256, (64, 96, 3), np.uint8)
    made = back(job(), result, painted=Painted(share, of_photo=True))
    np.testing.assert_array_equal(made[share == 0], PHOTO[share == 0])
    assert (made[share == 1] != PHOTO[share == 1]).mean() > 0.9
    over_frame = np.zeros((64, 96), np.float32)
    over_frame[:, :48] = 1.0
    made = back(job(), result, painted=Painted(over_frame, of_photo=False))
    np.testing.assert_array_equal(made[:, 154:], PHOTO[:, 154:])
    whole = back(job(fit="cover"), RNG.integers(0, 256, (64, 64, 3), np.uint8), Frame(64, 64), around=True)
    np.testing.assert_array_equal(whole[:, :50], PHOTO[:, :50])
    assert whole.shape == PHOTO.shape and (whole[:, 60:240] != PHOTO[:, 60:240]).mean() > 0.9


# --- the light ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.5])
def test_an_even_light_is_multiplied_onto_every_pixel(factor: float) -> None:
    photo = RNG.integers(60, 190, (200, 300, 3), np.uint8)
    relight = job(photo)
    off = back(relight, times(unchanged(relight), factor)).astype(int) - times(photo, factor)
    assert abs(off.mean()) < 0.7 and np.abs(off).max() <= 6


def test_there_are_no_seams_in_a_constant_and_in_a_ramp() -> None:
    """Bands are 64 rows high; at their borders nothing else happens than beside them."""
    grey = np.full((400, 300, 3), 128, np.uint8)
    made = back(job(grey), np.full((128, 96, 3), 90, np.uint8), Frame(96, 128))
    assert len(np.unique(made)) == 1 and abs(int(made[0, 0, 0]) - 90) <= 1
    deep = np.full((400, 300, 3), 128 * 257, np.uint16)
    ramp = times(np.full((128, 96, 3), 128, np.uint8), np.linspace(0.5, 1.4, 128)[:, None, None])
    rows = back(job(deep, depth=16), ramp, Frame(96, 128))[..., 1].astype(float).mean(axis=1)
    steps = np.diff(rows)[8:-8]
    assert steps.min() >= 0
    bend, borders = np.abs(np.diff(steps)), np.arange(64, 384, 64) - 9
    assert bend[borders].max() <= np.percentile(bend, 99) + 1.0


def test_a_smooth_gradient_keeps_its_levels_in_sixteen_bits() -> None:
    deep = np.rint(65535 * np.linspace(0.2, 0.7, 4000)[None, :, None].repeat(32, 0).repeat(3, 2)).astype(np.uint16)
    relight = job(deep, depth=16)
    made = back(relight, times(unchanged(relight, Frame(512, 16)), 0.5), Frame(512, 16))
    assert made.dtype == np.uint16 and len(np.unique(made[16, :, 0])) > 2000
    # From 8 bits a smooth light makes levels of its own.
    light = times(np.full((16, 512, 3), 128, np.uint8), np.linspace(0.4, 1.2, 512)[None, :, None])
    flat = job(np.full((32, 4000, 3), 128, np.uint8), depth=16)
    assert len(np.unique(back(flat, light, Frame(512, 16))[16, :, 0])) > 2000


def test_print_that_the_model_melted_is_the_photos_again() -> None:
    print_ = np.where(RNG.random((50, 75)) < 0.5, 60, 200).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    photo = print_[..., None].repeat(3, 2)
    relight = job(photo)
    small = unchanged(relight)
    melted = np.asarray(Image.fromarray(small).resize((24, 16), Image.Resampling.BOX).resize((96, 64)))
    made, truth = back(relight, times(melted, 0.5)), times(photo, 0.5)
    ratio = srgb_to_linear(times(melted, 0.5) / 255) / srgb_to_linear(small / 255)
    plain = times(photo, np.asarray(Image.fromarray(ratio[..., 0]).resize((300, 200)))[..., None])
    errors = [np.abs(picture.astype(int) - truth)[20:-20, 20:-20].mean() for picture in (made, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_a_highlight_lies_over_the_paint() -> None:
    photo = RNG.integers(20, 60, (200, 300, 3), np.uint8)
    relight = job(photo)
    result = unchanged(relight).copy()
    result[28:36, 44:52] = 250
    made = back(relight, result)[92:108, 142:158].astype(float)
    assert made.mean() > 230 and made.std() < 12, "on a highlight there is little texture"


@pytest.mark.parametrize("haze", [0, 1])
def test_behind_the_subject_stands_what_was_painted_without_a_rim(haze: int) -> None:
    relight = job(mask=np.maximum(DISC, haze))
    alpha = FRAME.place(DISC.astype(np.float32) / 255, contain)[..., None]
    result = np.rint(alpha * 40 + (1 - alpha) * 200).astype(np.uint8).repeat(3, 2)  # dark before light
    made = back(relight, result).astype(int)
    behind = made[FAR > 62]
    assert behind.min() >= 198 and behind.max() <= 202
    assert made[FAR < 50].mean() < 70


def test_a_given_background_keeps_its_own_pixels() -> None:
    wall = RNG.integers(60, 200, (400, 600, 3), np.uint8)
    relight = job(mask=DISC, mode="fbc", background=wall, keep_background=True)
    made = back(relight, np.full((64, 96, 3), 90, np.uint8))
    expected = np.asarray(Image.fromarray(wall).resize((300, 200), Image.Resampling.LANCZOS))
    assert np.abs(made[OUTSIDE].astype(int) - expected[OUTSIDE]).max() <= 1
    # A frame of another shape shows the middle of it; the photo lies in the frame's rows 21 to 106.
    small = FRAME.place(wall, fit)
    square = back(relight, np.full((128, 128, 3), 90, np.uint8), Frame(128, 128))
    seen = (100.0, 21 * 400 / 128, 500.0, 106 * 400 / 128)
    expected_there = np.asarray(Image.fromarray(wall).resize((300, 200), Image.Resampling.LANCZOS, box=seen))
    assert np.abs(square[OUTSIDE].astype(int) - expected_there[OUTSIDE]).mean() < 1
    # Not kept, it is in the result's light: half of it here.
    lit = job(mask=DISC, mode="fbc", background=wall)
    darker = back(lit, times(small, 0.5))[FAR > 80].astype(int) - times(expected, 0.5)[FAR > 80]
    assert np.abs(darker).mean() < 6


def test_the_light_of_equal_pictures_is_none_at_all() -> None:
    light = light_of(PHOTO, PHOTO.copy(), DISC.astype(np.float32) / 255)
    assert not light.factor.any() and not light.shine.any()
    trust = (FAR < 40).astype(np.float32)
    planes = np.where(FAR < 40, 3.0, 99.0).astype(np.float32)[None]
    np.testing.assert_allclose(carried_on(planes, trust), 3.0, rtol=1e-4)


# --- alpha, outputs, memory ---------------------------------------------------------------------------------------


class Soft(Cutter):
    """In a cut-out model's place: a coarse matte of the photo's disc."""

    def __init__(self, alpha: NDArray[Any]) -> None:
        super().__init__([])
        self.alpha = alpha

    def cut(self, rgb: NDArray[Any], *args: Any, **options: Any) -> Cutout:
        alpha = np.asarray(Image.fromarray(self.alpha).resize(rgb.shape[1::-1], Image.Resampling.BICUBIC)).clip(0, 1)
        alpha = refine(alpha, options["refinement"])
        return Cutout(alpha, rgb, str(hash(alpha.tobytes())))


def test_the_edge_of_a_coarse_matte_follows_the_photo() -> None:
    inside = FAR < 60
    photo = np.where(inside[..., None], (200, 60, 40), (40, 90, 160)).astype(np.uint8)
    coarse = np.asarray(Image.fromarray(inside.astype(np.float32)).resize((75, 50), Image.Resampling.BOX).resize(
        (300, 200), Image.Resampling.BICUBIC)).clip(0, 1)
    relight = Relight(Settings(foreground=photo, size="original", fit="contain", outputs=("mask", "cutout")),
                      cutter=Soft(coarse), latents=LatentCache())
    mask, cutout = (picture for _, picture in sorted(relight.extras(FRAME), reverse=True))
    refined = np.asarray(mask).astype(float) / 255
    assert np.abs(refined - inside).mean() < 0.7 * np.abs(coarse - inside).mean()
    assert refined[FAR < 50].min() == 1 and refined[FAR > 70].max() == 0
    assert cutout.size == mask.size == (300, 200) and cutout.mode == "RGBA"


@pytest.mark.parametrize("form", ["grey", "transparent", "beside the photo's own transparency", "inverted", "half"])
def test_a_persons_own_mask_counts_at_the_photos_pixels(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subject is worked on at a smaller size, where lines of one pixel are a mush of half transparency."""
    monkeypatch.setattr("lib_iclight.job.ENOUGH", 64)
    lines = (DISC * (np.arange(300) % 2)).astype(np.uint8)
    photo: Any = PHOTO
    mask: Any = Image.fromarray(lines)
    wanted: NDArray[Any] = lines
    if form == "transparent":
        mask = Image.merge("LA", [Image.new("L", mask.size, 128), mask])
    elif form == "inverted":
        wanted = 255 - lines
    elif form == "half":
        mask = mask.reduce(2)
        wanted = np.asarray(mask.resize((300, 200), Image.Resampling.BICUBIC))
    elif form != "grey":
        photo = np.dstack([PHOTO, np.where(np.arange(200)[:, None] < 100, 255, 51).repeat(300, 1)]).astype(np.uint8)
        wanted = np.where(np.arange(200)[:, None] < 100, lines, np.rint(lines / 5.0)).astype(np.uint8)
    relight = job(photo, mask=mask, mask_invert=form == "inverted", outputs=("mask",),
                  keep_background=photo is PHOTO)
    assert min(relight.subjects[0].size) < 200, "else there is nothing to lose"
    (_, made), = relight.extras(FRAME)
    np.testing.assert_array_equal(np.asarray(made), wanted)
    if photo is not PHOTO:
        return
    lit = back(relight, times(unchanged(relight), 0.25)).astype(int)
    assert (lit[wanted == 0] == PHOTO[wanted == 0]).all()
    if form in ("grey", "transparent", "inverted"):
        bright = (wanted == 255) & (PHOTO.min(2) > 60)
        assert (lit[bright] < PHOTO[bright]).mean() > 0.99


def test_a_stages_alpha_is_as_large_as_its_pictures() -> None:
    alpha = job(mask=DISC).alpha(FRAME)
    assert alpha is not None and alpha.shape == (200, 300)
    np.testing.assert_allclose(alpha, DISC / 255, atol=0.01)
    assert job().alpha(FRAME) is None


def test_a_hazy_inside_is_told_and_made_solid_with_soft_edges_left() -> None:
    edge = np.clip((80 - FAR) / 10, 0, 1).astype(np.float32)
    hazy = edge * np.where(FAR < 45, 0.5, 1.0).astype(np.float32)
    assert haze_of(edge) < 0.02 < 0.05 < haze_of(hazy)
    solid = refine(hazy, Refinement(solid=True))
    assert solid[FAR < 40].min() > 0.95
    np.testing.assert_allclose(solid[FAR > 74], edge[FAR > 74], atol=0.06)
    for mask_solid in (False, True):
        relight = Relight(Settings(foreground=PHOTO, mask_solid=mask_solid), cutter=Soft(hazy), latents=LatentCache())
        assert (HALF_TRANSPARENT in relight.warnings) is not mask_solid


@pytest.mark.parametrize(("place", "frame"), [
    (contain, Frame(96, 96)), (fit, Frame(64, 96)), (fit, Frame(96, 40, full=(96, 64), top=12)),
    (fit, Frame(100, 80, full=(90, 60), stretched=True))])
def test_what_is_told_of_a_placement_is_what_it_does(place: Any, frame: Frame) -> None:
    """Ramps, laid, say where each pixel went."""
    across, down = (np.broadcast_to(ramp, (200, 300)).astype(np.float32) for ramp in
                    ((np.arange(300) + 0.5)[None] / 300, (np.arange(200) + 0.5)[:, None] / 200))
    lie = frame.lie((300, 200), place)
    left, top, right, bottom = lie.seen((300, 200), frame.width, frame.height)
    x, y = (left + right) / 2, (top + bottom) / 2
    column, row = int(x * lie.across + lie.left), int(y * lie.down + lie.top)
    there = frame.place(across, place)[row, column] * 300, frame.place(down, place)[row, column] * 200
    expected = (column + 0.5 - lie.left) / lie.across, (row + 0.5 - lie.top) / lie.down
    assert there == pytest.approx(expected, abs=0.5)


def test_beside_photo_and_result_little_is_held() -> None:
    """For each pixel more three bytes for what is made of the photo, and what bands need, which grow with its width."""
    peaks = []
    for many in (7, 13):
        photo = np.tile(PHOTO, (many, many, 1))
        relight = job(photo, mask=Image.fromarray(DISC), keep_background=True)
        assert relight.full is not None
        relight.full.photo(0)
        unchanged(relight)
        result = Image.fromarray(RNG.integers(0, 256, (64, 96, 3), np.uint8))
        tracemalloc.start()
        relight.bring_back(result, FRAME)
        peaks.append((photo.size / 3, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (few, small), (more, large) = peaks
    assert large < 400e6 and (large - small) / (more - few) < 3 + 6
