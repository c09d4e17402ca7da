"""What preservation promises: exact at 0, light still colours, paint stays, print returns, no halos and no ghosts.

Ground truths are made here from albedo times light, in linear light, by formulas of IEC 61966-2-1 written out anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.errors import SettingsError
from lib_iclight.frame import Frame
from lib_iclight.imaging import composite_on_grey
from lib_iclight.job import Encoder, LatentCache, Relight
from lib_iclight.lights import light_map
from lib_iclight.matting import Cutter, blur_fusion
from lib_iclight.preserve import preserve, restore_background
from lib_iclight.preserve.detail import weighted_means
from lib_iclight.preserve.harmonise import harmonise
from lib_iclight.preserve.planes import resize, to_pixels, to_planes
from lib_iclight.settings import Settings

SIDE = 128
SOLID = np.ones((SIDE, SIDE), np.float32)
ORANGE = np.array([1.3, 0.9, 0.5])


def encode(linear: NDArray[Any]) -> NDArray[Any]:
    v = np.clip(linear, 0, 1)
    return np.asarray(np.rint(255 * np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)), np.uint8)


def decode(codes: NDArray[Any]) -> NDArray[Any]:
    v = codes / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def luminance(codes: NDArray[Any]) -> NDArray[Any]:
    return decode(codes) @ [0.2126, 0.7152, 0.0722]


def chromaticity(codes: NDArray[Any]) -> NDArray[Any]:
    linear = decode(codes)
    return np.asarray(linear / linear.sum(-1, keepdims=True))


def falloff() -> NDArray[Any]:
    """Light from the left, [1, SIDE, 1]."""
    return np.linspace(1.2, 0.4, SIDE)[None, :, None]


def noise(seed: int, side: int = SIDE) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def color(result: NDArray[Any], original: NDArray[Any], alpha: NDArray[Any] = SOLID,
          strength: float = 1.0) -> NDArray[Any]:
    return preserve(result, original, alpha, color=strength, detail=0, detail_radius=4)


def detail(result: NDArray[Any], original: NDArray[Any], alpha: NDArray[Any] = SOLID, strength: float = 1.0,
           radius: float = 16.0, additive: bool = False) -> NDArray[Any]:
    """The radius is in pixels of a 512 picture: 16 there are 4 pixels of these."""
    return preserve(result, original, alpha, color=0, detail=strength, detail_radius=radius, additive=additive)


def label_on_card() -> NDArray[Any]:
    """Albedo: a grey card with a red label."""
    albedo = np.full((SIDE, SIDE, 3), 0.5)
    albedo[40:90, 40:90] = (0.5, 0.04, 0.04)
    return albedo


# Exactness


def test_codes_survive_the_way_to_linear_light_and_back() -> None:
    codes = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    planes = to_planes(codes)
    np.testing.assert_allclose(planes, decode(codes).transpose(2, 0, 1), atol=1e-6)
    back = np.empty_like(codes)
    to_pixels(planes, back)
    np.testing.assert_array_equal(back, codes)


def test_strength_0_is_the_result_itself() -> None:
    result = noise(0)
    np.testing.assert_array_equal(
        preserve(result, noise(1), SOLID, color=0, detail=0, detail_radius=4), result)


@pytest.mark.parametrize("strengths", [(1, 0), (0, 1), (1, 1)])
def test_where_alpha_is_0_the_result_stays_exactly(strengths: tuple[float, float]) -> None:
    result, alpha = noise(0), SOLID.copy()
    alpha[:, 50:] = 0
    out = preserve(result, noise(1), alpha, color=strengths[0], detail=strengths[1], detail_radius=4)
    np.testing.assert_array_equal(out[:, 50:], result[:, 50:])
    assert (out[:, :50] != result[:, :50]).mean() > 0.5
    assert out.dtype == np.uint8 and out.flags.c_contiguous


@pytest.mark.parametrize("strengths", [(1, 0), (0, 1), (1, 1)])
def test_a_result_that_is_the_original_stays(strengths: tuple[float, float]) -> None:
    picture = noise(0)
    out = preserve(picture, picture, SOLID, color=strengths[0], detail=strengths[1], detail_radius=4)
    np.testing.assert_array_equal(out, picture)


@pytest.mark.parametrize("result, original", [(0, 0), (0, 255), (255, 0), (255, 255)])
@pytest.mark.parametrize("shape", [(16, 16), (17, 300), (331, 16)])
def test_black_white_and_odd_sizes_are_no_trouble(result: int, original: int, shape: tuple[int, int]) -> None:
    with np.errstate(all="raise"):
        out = preserve(np.full((*shape, 3), result, np.uint8), np.full((*shape, 3), original, np.uint8),
                       np.ones(shape, np.float32), color=1, detail=1, detail_radius=4)
    np.testing.assert_array_equal(out, np.full((*shape, 3), result))


# Colour


def test_a_grey_card_takes_the_colour_of_the_light() -> None:
    card = np.full((SIDE, SIDE, 3), 0.5)
    relit = encode(card * ORANGE * falloff())
    assert np.abs(color(relit, encode(card)).astype(int) - relit).max() <= 1


def test_a_red_label_stays_red_in_the_new_light() -> None:
    albedo = label_on_card()
    truth = encode(albedo * ORANGE * falloff())
    repainted = albedo * ORANGE * falloff()
    repainted[40:90, 40:90] *= (1.0, 4.0, 0.8)  # the model made the label orange
    result = encode(repainted)
    out = color(result, encode(albedo))
    wrong = np.abs(chromaticity(result) - chromaticity(truth))[40:90, 40:90].max()
    assert wrong > 0.1
    assert np.abs(chromaticity(out) - chromaticity(truth))[40:90, 40:90].max() < wrong / 8
    assert np.abs(out.astype(int) - truth)[:, 100:].max() <= 2, "the card still takes the colour of the light"


def test_the_new_shading_is_kept() -> None:
    result, original = encode(label_on_card() * falloff()), noise(3)
    for strength in (0.3, 1.0):
        out = color(result, original, strength=strength)
        np.testing.assert_allclose(luminance(out), luminance(result), atol=0.006)


def test_two_lights_of_different_colours_do_not_mix_over_an_edge() -> None:
    albedo = np.full((SIDE, SIDE, 3), 0.08)
    albedo[:, SIDE // 2:] = 0.6
    light = np.full((SIDE, SIDE, 3), ORANGE)
    light[:, SIDE // 2:] = (0.6, 0.9, 1.4)
    truth = encode(albedo * light)
    out = color(truth, encode(albedo))
    assert np.abs(out.astype(int) - truth).max() <= 10
    mixed = encode(albedo * light.mean((0, 1)))
    assert np.abs(mixed.astype(int) - truth).max() > 30, "what a filter that knows no edges would make"


def test_what_is_too_bright_for_its_hue_goes_white() -> None:
    original, bright = encode(label_on_card()), label_on_card()
    bright[60:66, 60:66] = (1.0, 0.25, 0.25)
    result = encode(bright)
    out = color(result, original)
    np.testing.assert_allclose(luminance(out), luminance(result), atol=0.006)
    red, green, blue = out[63, 63].astype(int)
    assert red == 255 and 100 < green < 250 and abs(green - blue) <= 1


def glass_with_shine() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Dark green glass beside a grey card, the same with a highlight of a warm lamp, and where the highlight is."""
    y, x = np.mgrid[:SIDE, :SIDE]
    shine = np.exp(-((y - 64) ** 2 + (x - 64) ** 2) / (2 * 6.0**2))
    glass = np.full((SIDE, SIDE, 3), (0.005, 0.03, 0.01))
    glass[:, :40] = 0.4
    return encode(glass), encode(glass + 0.6 * shine[..., None] * (1.1, 1.0, 0.85)), shine > 0.6


def test_a_new_highlight_has_the_lamps_colour() -> None:
    dull, shiny, where = glass_with_shine()
    assert np.abs(color(shiny, dull)[where].astype(int) - shiny[where]).mean() < 3
    painted = chromaticity(dull)[0, 64] - chromaticity(shiny)[64, 64]
    assert np.abs(painted).max() > 0.3, "what the glass's own colour would be there"


def test_an_old_highlight_leaves_no_patch_of_the_old_lamps_colour() -> None:
    dull, shiny, where = glass_with_shine()
    np.testing.assert_allclose(chromaticity(color(dull, shiny))[where], chromaticity(dull)[where], atol=0.03)


def test_texture_grows_only_so_far_with_a_highlight() -> None:
    """The highlight is twenty times as bright as the glass; texture that followed it would be 15 times as strong."""
    dull, shiny, where = glass_with_shine()
    check = np.where((np.indices((SIDE, SIDE)).sum(0) % 4 < 2)[..., None], 0.15, -0.15)
    light, dark = (decode(detail(shiny, encode(decode(dull) * (1 + grain)), radius=8))[..., 1]
                   for grain in (check, -check))
    texture = np.abs(light - dark)
    assert texture[:30, 50:].mean() == pytest.approx(2 * 0.15 * 0.03, rel=0.2)
    assert texture[where].mean() < 12 * texture[:30, 50:].mean()


def test_black_shadows_stay_black_on_coloured_things() -> None:
    original, result = encode(label_on_card()), encode(label_on_card())
    result[60:66, 60:66] = 0
    assert (color(result, original)[60:66, 60:66] == 0).all()


def test_more_strength_brings_the_colour_nearer() -> None:
    albedo = label_on_card()
    result = albedo.copy()
    result[40:90, 40:90] = (0.3, 0.3, 0.05)
    target = chromaticity(encode(albedo))[60, 60]
    off = [np.abs(chromaticity(color(encode(result), encode(albedo), strength=s))[60, 60] - target).sum()
           for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (np.diff(off) < -0.05).all() and off[-1] < 0.03


# Detail


def stripes(low: float = 0.1, high: float = 0.6) -> NDArray[Any]:
    """Print: vertical lines 2 pixels wide, every 8."""
    albedo = np.full((SIDE, SIDE, 3), high)
    albedo[:, np.arange(SIDE) % 8 < 2] = low
    return albedo


def test_lost_print_comes_back_and_the_new_light_stays() -> None:
    albedo = stripes()
    truth, flat = encode(albedo * falloff()), encode(albedo.mean((0, 1)) * np.ones_like(albedo) * falloff())
    out = detail(flat, encode(albedo))
    middle = np.s_[:, 16:-16]
    lost = np.abs(flat.astype(int) - truth)[middle].mean()
    assert np.abs(out.astype(int) - truth)[middle].mean() < lost / 2.5
    slow = decode(out)[:, :120].reshape(SIDE, 15, 8, 3).mean((0, 2))
    wanted = decode(flat)[:, :120].reshape(SIDE, 15, 8, 3).mean((0, 2))
    np.testing.assert_allclose(slow / wanted, np.full((15, 3), (slow / wanted).mean()), rtol=0.12)


def test_more_strength_brings_more_detail() -> None:
    albedo = stripes()
    result = np.full((SIDE, SIDE, 3), 150, np.uint8)
    contrast = [detail(result, encode(albedo), strength=s)[64, 32:96, 1].std() for s in (0, 0.25, 0.5, 0.75, 1)]
    assert contrast[0] == 0 and (np.diff(contrast) > 3).all()


def test_what_is_coarser_than_the_radius_is_the_results() -> None:
    wave = 0.3 + 0.2 * np.sin(np.arange(SIDE) * 2 * np.pi / 64)[None, :, None] * np.ones((SIDE, 1, 3))
    result = np.full((SIDE, SIDE, 3), 150, np.uint8)
    change = [np.abs(detail(result, encode(wave), radius=r).astype(int) - result)[:, 32:96].mean() for r in (4, 16, 64)]
    assert change[0] <= 1 and change[1] < change[2] / 3


@pytest.mark.parametrize("radius", [2.0, 3.3, 8.0, 12.5])
def test_the_blur_has_the_standard_deviation_it_is_asked_for(radius: float) -> None:
    spot = np.zeros((1, 129, 129), np.float32)
    spot[0, 60:69, 60:69] = 1  # 9 pixels wide, so that where it lies on the coarse grid hardly counts
    blurred = resize(weighted_means(spot, np.ones((129, 129), np.float32), radius), (129, 129))[0]
    columns = np.arange(129) - 64
    variance = (blurred.sum(0) * columns**2).sum() / blurred.sum() - (9**2 - 1) / 12
    assert variance ** 0.5 == pytest.approx(radius, rel=0.12)


def test_the_radius_grows_with_the_picture() -> None:
    result = np.full((SIDE, SIDE, 3), 150, np.uint8)
    small = detail(result, encode(stripes()))
    double = np.kron(encode(stripes()), np.ones((2, 2, 1), np.uint8))
    large = detail(np.full((2 * SIDE, 2 * SIDE, 3), 150, np.uint8), double, np.ones((2 * SIDE, 2 * SIDE), np.float32))
    middle = np.s_[32:96, 32:96]
    halved = large.reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3))
    assert np.abs(halved - small)[middle].mean() < 3


@pytest.mark.parametrize("softness", [0.01, 6.0])
def test_there_is_no_halo_at_the_edge_of_the_subject(softness: float) -> None:
    """A plain grey subject on black, relit onto white: whatever is done to it is a halo."""
    columns = np.arange(SIDE)
    alpha = np.broadcast_to(np.clip((columns - 63.5) / softness + 0.5, 0, 1), (SIDE, SIDE)).astype(np.float32)
    subject = np.full((SIDE, SIDE, 3), 128, np.uint8)
    a = alpha[..., None]
    result = np.rint(a * subject + (1 - a) * 255).astype(np.uint8)
    out = detail(result, subject, alpha)
    halo = np.abs(out.astype(int) - result).max(axis=(0, 2))
    inside = alpha[0] == 1
    assert halo[inside].max() <= 2
    assert (halo > 2).sum() <= softness / 2 + 1

    unmasked = result + (subject.astype(float) - blurred(subject)) - (result - blurred(result))
    assert np.abs(unmasked - result).max(axis=(0, 2))[inside].max() > 20, "the plain way does show one"


def test_a_highlight_that_the_light_removed_does_not_haunt() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    skin = np.full((SIDE, SIDE, 3), (0.3, 0.2, 0.15))
    shine = np.exp(-((y - 64) ** 2 + (x - 64) ** 2) / (2 * 2.0**2))[..., None]
    original, result = encode(skin + 0.8 * shine), encode(skin)
    ghost = decode(detail(result, original))[64, 64] / skin[64, 64]
    assert ghost.max() <= 2.04
    plain = result + (original.astype(float) - blurred(original)) - (result - blurred(result))
    assert (decode(plain.clip(0, 255))[64, 64] / skin[64, 64]).max() > 2.5


def test_blurred_print_is_restored_in_even_light() -> None:
    """Within the limits the original comes back whole, not only its geometric mean."""
    truth = encode(stripes(0.2, 0.5) * 0.8)
    softened = encode(np.full((SIDE, SIDE, 3), decode(truth).mean()))
    for additive in (False, True):
        out = detail(softened, encode(stripes(0.2, 0.5)), additive=additive)[16:-16, 16:-16]
        assert np.abs(out.astype(int) - truth[16:-16, 16:-16]).mean() < 8
        assert decode(out).mean() == pytest.approx(decode(truth).mean(), rel=0.02)


def test_added_detail_is_as_strong_in_the_dark_and_multiplied_detail_follows_the_light() -> None:
    dark = np.full((SIDE, SIDE, 3), 90, np.uint8)
    original = encode(stripes(0.5, 0.55))
    swing = [float(np.ptp(decode(detail(dark, original, additive=additive))[64, 32:96, 1]))
             for additive in (True, False)]
    assert swing[0] == pytest.approx(0.05, rel=0.1)
    assert swing[1] == pytest.approx(0.05 * decode(np.array(90)) / 0.5375, rel=0.1)


def blurred(codes: NDArray[Any]) -> NDArray[Any]:
    """Plain difference of Gaussians' other half: a bell of 4 pixels on 8-bit values, edges mirrored."""
    bell = np.exp(-np.arange(-12, 13) ** 2 / 32.0)
    out = np.pad(codes.astype(float), ((12, 12), (12, 12), (0, 0)), mode="symmetric")
    for axis in (0, 1):
        out = np.apply_along_axis(np.convolve, axis, out, bell / bell.sum(), mode="valid")
    return out


# Background


def test_the_background_comes_back_exactly_and_the_subject_stays_relit() -> None:
    original, result, alpha = noise(0), noise(1), SOLID.copy()
    alpha[:, :40], alpha[:, 40:60] = 0, np.linspace(0.05, 0.95, 20)
    out = restore_background(result, original, alpha)
    np.testing.assert_array_equal(out[:, :40], original[:, :40])
    np.testing.assert_array_equal(out[:, 60:], result[:, 60:])
    assert out.dtype == np.uint8 and out.flags.c_contiguous


def test_soft_edges_show_neither_the_generated_background_nor_the_old_light() -> None:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    alpha = np.clip((0.36 - np.hypot(y - 0.5, x - 0.5)) / 0.12 + 0.5, 0, 1).astype(np.float32)
    a, plain = alpha[..., None], np.ones((SIDE, SIDE, 3))
    old, new = plain * (150, 120, 100), plain * (70, 60, 90)
    old_back, new_back = plain * (40, 90, 60), plain * (255, 255, 255)
    original = np.rint(a * old + (1 - a) * old_back).astype(np.uint8)
    result = np.rint(a * new + (1 - a) * new_back).astype(np.uint8)
    truth = a * new + (1 - a) * old_back
    soft = (alpha > 0.05) & (alpha < 0.95)
    naive = result * a + original * (1 - a)
    off, off_naive = (np.abs(picture[soft] - truth[soft]).mean() for picture in
                      (restore_background(result, original, alpha), naive))
    assert off < off_naive / 3


def test_soft_edges_are_those_of_the_whole_estimate() -> None:
    """The coarse grids against `blur_fusion` on every pixel; the windows' own limits are tested there."""
    y, x = np.mgrid[:300, :420]
    alpha = np.clip((100 - np.hypot(y - 150, x - 200) + 12 * np.sin(x / 5)) / 20, 0, 1).astype(np.float32)
    waves = np.stack([np.sin(y / 17 + channel) * np.cos(x / 23) for channel in range(3)], -1)
    a = alpha[..., None]
    original = np.rint(a * (150 + 40 * waves) + (1 - a) * (60 - 30 * waves)).astype(np.uint8)
    result = np.rint(a * (90 + 60 * waves) + (1 - a) * 230).astype(np.uint8)
    change = blur_fusion((result.astype(np.float32) - original).transpose(2, 0, 1), alpha).transpose(1, 2, 0)
    whole = np.rint(original + a * change).clip(0, 255)
    soft = (alpha > 0) & (alpha < 1)
    off = np.abs(restore_background(result, original, alpha)[soft] - whole[soft])
    assert off.mean() < 0.6 and off.max() <= 4
    assert np.abs(result[soft] - whole[soft]).mean() > 20


def lit_disc(light: NDArray[Any] | float) -> tuple[NDArray[Any], NDArray[Any]]:
    """A grey disc under `light` on a grey wall that is not, uint8; and its hard alpha."""
    y, x = np.mgrid[:SIDE, :SIDE]
    alpha = (np.hypot(y - 64, x - 64) < 30).astype(np.float32)
    wall = np.full((SIDE, SIDE, 3), 0.3)
    return encode(np.where(alpha[..., None] > 0, wall * light, wall)), alpha


def test_the_new_light_tints_the_background() -> None:
    (result, alpha), (original, _) = lit_disc(ORANGE), lit_disc(1.0)
    outside = alpha == 0
    for tint, light in ((0.0, 1.0), (1.0, ORANGE), (0.5, ORANGE**0.5)):
        out = restore_background(result, original, alpha, tint=tint)
        assert np.abs(out[outside].astype(int) - encode(np.full(3, 0.3) * light)).max() <= 2
        np.testing.assert_array_equal(out[~outside], result[~outside])


def test_the_tint_knows_no_generated_background() -> None:
    (result, alpha), (original, _) = lit_disc(ORANGE), lit_disc(1.0)
    result[alpha == 0] = (0, 0, 255)
    out = restore_background(result, original, alpha, tint=1.0)
    assert np.abs(out[alpha == 0].astype(int) - encode(0.3 * ORANGE)).max() <= 3


# The job


class Seen:
    """An encoder and the pixels that it was given."""

    def __init__(self) -> None:
        self.encoder = Encoder("seen", self._encode)
        self.pixels: list[NDArray[Any]] = []

    def _encode(self, pixels: NDArray[Any]) -> torch.Tensor:
        self.pixels.append(pixels)
        return torch.zeros(1, 4, SIDE // 8, SIDE // 8)


FRAME = Frame(SIDE, SIDE)
BACKGROUND = encode(np.full((SIDE, SIDE, 3), (0.6, 0.2, 0.1)))


def disc(softness: float = 8.0) -> NDArray[Any]:
    """uint8 [SIDE, SIDE]: a mask."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray(np.rint(255 * ((40 - np.hypot(y - 64, x - 64)) / softness + 0.5).clip(0, 1)).astype(np.uint8))


def relight(**values: Any) -> Relight:
    given = {"foreground": encode(label_on_card()), "mask": disc(), **values}
    return Relight(Settings(**given), cutter=Cutter([]), latents=LatentCache())


def test_nothing_asked_is_the_hosts_own_picture() -> None:
    picture = Image.fromarray(noise(0))
    assert relight(background_tint=1.0, detail_mode="add").finish(picture, FRAME) is picture


def test_fbc_keeps_the_background_that_was_given() -> None:
    job = relight(mode="fbc", background=BACKGROUND, keep_background=True)
    result = noise(0)
    out = np.asarray(job.finish(Image.fromarray(result), FRAME))
    np.testing.assert_array_equal(out[disc() == 0], BACKGROUND[disc() == 0])
    np.testing.assert_array_equal(out[disc() == 255], result[disc() == 255])
    own = np.asarray(relight(mode="fbc", light="left", keep_background=True).finish(Image.fromarray(result), FRAME))
    np.testing.assert_array_equal(own[disc() == 0], encode(label_on_card())[disc() == 0])


def test_a_transparent_foreground_may_be_kept_on_a_given_background_only() -> None:
    cutout = np.dstack([encode(label_on_card()), disc()])
    values = {"foreground": cutout, "mask": None, "keep_background": True}
    assert relight(**values, mode="fbc", background=BACKGROUND).subjects
    for others in ({"mode": "fc", "background": BACKGROUND}, {"mode": "fbc", "light": "left"}):
        with pytest.raises(SettingsError, match="uncut photo"):
            relight(**values, **others)


def test_the_tint_and_the_detail_mode_arrive() -> None:
    result = Image.fromarray(np.rint(encode(label_on_card()) * np.array([1, 0.8, 0.6])).astype(np.uint8))
    pictures = [np.asarray(relight(keep_background=True, preserve_detail=1, **values).finish(result, FRAME)).astype(int)
                for values in ({}, {"background_tint": 1.0}, {"detail_mode": "add"})]
    outside, inside = disc() == 0, disc() == 255
    assert (pictures[0] - pictures[1])[outside].mean() > 10
    np.testing.assert_array_equal(pictures[0][inside], pictures[1][inside])
    assert np.abs(pictures[0] - pictures[2])[inside].max() > 3
    np.testing.assert_array_equal(pictures[0][outside], pictures[2][outside])


def test_the_model_is_shown_the_harmonised_subject_and_preservation_its_own_colours() -> None:
    job, seen = relight(mode="fbc", background=BACKGROUND, harmonise=1.0), Seen()
    job.concat(seen.encoder, FRAME)
    own = relight(mode="fbc", background=BACKGROUND).subjects[0]
    shown = harmonise(own.color, own.alpha, BACKGROUND, 1.0)
    np.testing.assert_array_equal(seen.pixels[0], composite_on_grey(shown, own.alpha))
    np.testing.assert_array_equal(job.subjects[0].color, own.color)
    with pytest.raises(SettingsError, match="harmonise"):
        relight(harmonise=0.1)


@pytest.mark.parametrize("amount", [0.0, 0.4, 1.0])
def test_so_much_of_the_foreground_is_in_the_start(amount: float) -> None:
    job, seen = relight(light="left", start="light+foreground", start_amount=amount), Seen()
    job.initial(seen.encoder, FRAME)
    light = light_map("left", SIDE, SIDE)
    assert light is not None
    subject = job.subjects[0]
    there = amount * subject.alpha[..., None]
    wanted = there * subject.color + (1 - there) * light
    np.testing.assert_allclose(seen.pixels[0], wanted, atol=0.51)


def test_amounts_do_not_share_latents() -> None:
    latents, seen = LatentCache(), Seen()
    for amount in (0.4, 0.4, 1.0):
        settings = Settings(foreground=encode(label_on_card()), mask=disc(), light="left", start="light+foreground",
                            start_amount=amount)
        Relight(settings, cutter=Cutter([]), latents=latents).initial(seen.encoder, FRAME)
    assert len(seen.pixels) == 2


@pytest.mark.parametrize("values", [{}, {"mode": "fbc"}, {"mode": "fbc", "stage": "4"},
                                    {"mode": "fbc", "stage": "4", "background": BACKGROUND}])
def test_light_on_a_contained_picture_is_no_other_frames(values: dict[str, Any]) -> None:
    """Each fit and each shape of a contained picture has a light map of its own, whatever was relit before."""
    latents, shared, alone = LatentCache(), Seen(), Seen()
    tall = encode(label_on_card())[:, :SIDE // 2].copy()
    for foreground, fit in ((tall, "contain"), (tall, "cover"), (encode(label_on_card()), "contain")):
        given: dict[str, Any] = {"foreground": foreground, "matting": "none", "light": "left", "fit": fit, **values}
        settings = Settings(**given)
        for seen, kept in ((shared, latents), (alone, LatentCache())):
            job = Relight(settings, cutter=Cutter([]), latents=kept).singles[0]
            if job.start == "light":
                job.initial(seen.encoder, FRAME)
            else:
                job._background_latent(seen.encoder, FRAME)
    # The last one fills the frame, and its light map is the second's.
    assert len(alone.pixels) == 3 and len(shared.pixels) == 2
    for one, other in zip(shared.pixels, alone.pixels, strict=False):
        np.testing.assert_array_equal(one, other)
    assert np.abs(alone.pixels[0].astype(int) - alone.pixels[1]).max() > 20


def test_harmonised_subjects_do_not_share_latents_with_their_own() -> None:
    latents, seen = LatentCache(), Seen()
    for amount in (0.0, 1.0, 1.0):
        settings = Settings(mode="fbc", foreground=encode(label_on_card()), mask=disc(), background=BACKGROUND,
                            harmonise=amount)
        Relight(settings, cutter=Cutter([]), latents=latents).concat(seen.encoder, FRAME)
    assert len(seen.pixels) == 3  # the background once
