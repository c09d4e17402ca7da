#!/usr/bin/env python3
"""What preservation brings back, against no preservation and against a plain difference of Gaussians.

    python benchmarks/preserve.py [--subjects 32] [--speed | --harmonise] [--pictures DIR]

Prints Markdown tables. There is no ground truth for what IC-Light should have painted, so its faults are made: the true
picture under the new light is given a colour shift, a blur and another contrast, all seeded, and each method gets the
same inputs to undo them. Three sets:

- light stage: rendered bodies with print on them, under one lamp (the original) and another (the truth);
- photos: the free pictures of `examples/` with print on them, times a smooth coloured light (the truth);
- hard: a shiny bottle with print, white on white, black on black, hair against a bright window.

Measured on what is wholly subject: colour error (mean CIEDE2000 after giving each pixel the truth's luminance),
legibility (correlation of the print's edges with the truth's), PSNR, and the halo: how many pixels about the subject's
edge are further from the truth than what lies around, in pixels of a 512 pixel picture. Needs scikit-image.

`--harmonise` takes harmonising for a light-weight relighting: bodies pasted before another wall, under another lamp,
take on its colours, and are compared with how they look in that light.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, gaussian_filter, sobel
from skimage.color import deltaE_ciede2000, rgb2lab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.matting import foreground_color
from lib_iclight.preserve import preserve, restore_background
from lib_iclight.preserve.harmonise import harmonise

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PRINT = ("WARRANTY", "No. 5 EST", "75 cl 12%", "MADE HERE")
RADIUS = 4.0
"""of all methods' blurs, in pixels of a 512 pixel picture: the default setting"""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
HALO = 4.0
"""codes above the surroundings' error at which an edge pixel counts half as halo; not at all at half of it"""
REACH = 24
"""pixels to either side of the edge that are looked at for a halo"""


class Case(NamedTuple):
    """uint8 sRGB pictures [H, W, 3], the subject's alpha [H, W], and the box (rows, columns) that holds print."""

    original: NDArray[Any]
    result: NDArray[Any]
    truth: NDArray[Any]
    alpha: NDArray[Any]
    label: tuple[slice, slice]


class Scores(NamedTuple):
    """Colour error, legibility, PSNR in dB, halo in pixels (nan where the subject has no edge)."""

    color: float
    legibility: float
    psnr: float
    halo: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=32, help="bodies on the light stage")
    parser.add_argument("--speed", action="store_true", help="measure the time per megapixel instead")
    parser.add_argument("--harmonise", action="store_true", help="measure harmonising instead")
    parser.add_argument("--pictures", type=Path, help="also write the pictures of each case, side by side, to here")
    arguments = parser.parse_args()
    if arguments.speed:
        print(speed_table())
        return 0
    if arguments.harmonise:
        print(harmonise_table(arguments.subjects))
        return 0
    sets = {"light stage": stage_cases(arguments.subjects), "photos": photo_cases(), "hard": hard_cases(),
            "light stage, with a cast": stage_cases(arguments.subjects, tint=True)}
    print("| set | method | colour error | legibility | PSNR | halo |\n| --- | --- | --- | --- | --- | --- |")
    for name, cases in sets.items():
        scores = {method: np.array([score(apply(case), case) for case in cases]) for method, apply in METHODS.items()}
        for method, values in scores.items():
            color, legible, ratio, rim = np.nanmean(values, axis=0)
            print(f"| {name} ({len(cases)}) | {method} | {color:.2f} | {legible:.3f} | {ratio:.1f} dB | {rim:.1f} px |")
        for other in ("none", "DoG"):
            gain = (scores["ours"] - scores[other]) * (-1, 1, 1, -1)
            wins = [f"{(column > 1e-9).sum()}-{(column < -1e-9).sum()}" for column in gain.T]
            print(f"| | ours against {other}: won-lost | {' | '.join(wins)} |")
    everything = [case for cases in sets.values() for case in cases]
    for case in everything:
        zero = preserve(case.result, case.original, case.alpha, color=0, detail=0, detail_radius=RADIUS)
        assert np.array_equal(zero, case.result), "strength 0 must change nothing"
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for number, case in enumerate(everything):
            row = [case.original, case.truth, *(apply(case) for apply in METHODS.values())]
            row.append(restore_background(row[-1], case.original, case.alpha))
            Image.fromarray(np.hstack(row)).save(arguments.pictures / f"{number:02}.png")
    return 0


def ours(case: Case) -> NDArray[Any]:
    """Colour and detail at full strength."""
    return preserve(case.result, foreground_color(case.original, case.alpha), case.alpha, color=1, detail=1,
                    detail_radius=RADIUS)


def difference_of_gaussians(case: Case) -> NDArray[Any]:
    """As ports of IC-Light do it: the result's low frequencies plus the original's high ones, on sRGB values."""
    sigma = RADIUS * np.sqrt(case.alpha.size) / 512
    original, result = case.original.astype(np.float32), case.result.astype(np.float32)
    blur = (sigma, sigma, 0)
    mixed = gaussian_filter(result, blur) + original - gaussian_filter(original, blur)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


METHODS: dict[str, Callable[[Case], NDArray[Any]]] = {
    "none": lambda case: case.result, "DoG": difference_of_gaussians, "ours": ours}


# --- cases --------------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """A body before its own wall and before another under another lamp, linear [256, 256, 3]; the wall alone."""

    before: NDArray[Any]
    after: NDArray[Any]
    wall: NDArray[Any]
    alpha: NDArray[Any]
    label: tuple[slice, slice]


def on_stage(number: int) -> Stage:
    """A body that no training saw, with print on it."""
    import torch

    from training import light_stage as stage

    generator = torch.Generator().manual_seed(70_000_000 + number)
    scenes = stage.random_scenes(2, 256, generator)
    lights = [stage.random_lighting(scenes, generator) for _ in range(2)]
    alpha = scenes.alpha[0, 0].numpy().astype(np.float32)
    middle = [int(c.mean()) for c in np.nonzero(alpha > 0.99)]
    paint, label = print_on(scenes.albedo[0].numpy().transpose(1, 2, 0), middle, 1)
    body = {"albedo": torch.from_numpy(paint.transpose(2, 0, 1))[None]}
    body |= {name: getattr(scenes, name)[:1] for name in ("thickness", "normal", "alpha", "roughness", "gloss")}
    fields: dict[str, Any] = {name: field.repeat(2, 1, 1, 1) for name, field in body.items()}
    printed = dataclasses.replace(scenes, **fields)
    before, after, wall = (picture.numpy().transpose(1, 2, 0) for picture in (
        lights[0].picture(printed)[0], lights[1].picture(printed)[1], lights[1].backdrop(printed)[1]))
    return Stage(before, after, wall, alpha, label)


def stage_cases(count: int, tint: bool = False) -> list[Case]:
    """Bodies on the light stage, 256 x 256; in the result before another wall."""
    cases = []
    for number in range(count):
        one = on_stage(number)
        truth = encode(one.after)
        cases.append(Case(encode(one.before), degrade(truth, one.alpha, number, tint), truth, one.alpha, one.label))
    return cases


def photo_cases() -> list[Case]:
    """The free photos under a smooth coloured light."""
    cases = []
    for number, name in enumerate(("astronaut-cutout.webp", "chelsea.jpg", "coffee.jpg", "rocket.jpg")):
        picture = Image.open(EXAMPLES / name)
        picture.thumbnail((512, 512))
        rgba = np.asarray(picture.convert("RGBA"))
        alpha = rgba[..., 3].astype(np.float32) / 255
        height, width = alpha.shape
        painted, label = print_on(decode(rgba[..., :3]), (round(height * 0.8), round(width * 0.5)), 2)
        generator = np.random.default_rng(number)
        angle, color = generator.uniform(0, 2 * np.pi), np.array([[1.2, 0.9, 0.6], [0.7, 0.95, 1.3]])[number % 2]
        y, x = np.mgrid[:height, :width] / max(height, width) - 0.5
        light = (0.75 + 0.8 * (np.cos(angle) * x + np.sin(angle) * y))[..., None] * color
        a = alpha[..., None]
        original = encode(a * painted + (1 - a) * 0.4)
        truth = encode(a * painted * light + (1 - a) * (0.15 + 0.5 * light))
        cases.append(Case(original, degrade(truth, alpha, number), truth, alpha, label))
    return cases


def hard_cases() -> list[Case]:
    """Bodies of revolution and the astronaut, 512 x 512: shiny glass, no contrast to the wall, hair before a window."""
    y, x = np.mgrid[:512, :512].astype(np.float32)
    bottle = np.where((y > 40) & (y < 480), (x - 256) / np.where(y < 170, 40, 120), 2.0)
    printed, label = print_on(np.full((512, 512, 3), (0.03, 0.12, 0.05)), (360, 256), 2)
    gloss = np.full((512, 512), 0.9)
    gloss[label] = 0.05
    grain = gaussian_filter(np.random.default_rng(0).normal(size=(512, 512)), 1.2)
    grain = 1 + 0.12 * grain[..., None] / grain.std()
    right, down = (x - 256) / 150, (y - 256) / 150
    band = np.s_[200:310, 180:340]
    cases = [shone_on(bottle, 0 * y, 120, printed, gloss, 0.35, label),
             shone_on(right, down, 150, 0.85 * grain, 0.1, 0.92, band),
             shone_on(right, down, 150, 0.015 * grain, 0.25, 0.008, band)]
    rgba = np.asarray(Image.open(EXAMPLES / "astronaut-cutout.webp").convert("RGBA"))
    alpha = rgba[..., 3].astype(np.float32) / 255
    window = np.where(x % 128 < 3, 0.3, 0.9)[..., None]
    light = (0.35 + 0.9 * x / 512)[..., None] * (1.2, 0.9, 0.65)
    color, a = decode(rgba[..., :3]), alpha[..., None]
    cases.append((encode(a * color + (1 - a) * window), encode(a * color * light + (1 - a) * (0.05, 0.04, 0.06)), alpha,
                  np.s_[330:410, 120:230]))
    return [Case(original, degrade(truth, alpha, number), truth, alpha, box)
            for number, (original, truth, alpha, box) in enumerate(cases)]


def shone_on(right: NDArray[Any], down: NDArray[Any], radius: float, paint: NDArray[Any], gloss: NDArray[Any] | float,
             wall: float, box: tuple[slice, slice],
             ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], tuple[slice, slice]]:
    """A round body before a grey wall under a white lamp from the left and a warm one from the right, and its alpha.

    right, down: the surface's slopes, of which the body is where their length is under 1.
    """
    off = np.hypot(right, down)
    shrink = np.minimum(1, 0.999 / np.maximum(off, 1e-6))
    normal = np.stack([right * shrink, down * shrink, np.sqrt(1 - (off * shrink) ** 2)], -1)
    alpha = np.clip((1 - off) * radius + 0.5, 0, 1).astype(np.float32)
    pictures = []
    for toward, color in (((-1, -0.4, 0.7), (1, 1, 1)), ((1, 0.1, 0.7), (1.15, 0.9, 0.65))):
        lamp = np.array(toward) / np.linalg.norm(toward)
        half = lamp + np.array([0, 0, 1])
        shine = gloss * (normal @ half / np.linalg.norm(half)).clip(0) ** 70
        body = (paint * (0.25 + normal @ lamp).clip(0.25)[..., None] + shine[..., None]) * color
        a = alpha[..., None]
        pictures.append(encode(a * body + (1 - a) * wall * np.array(color)))
    return pictures[0], pictures[1], alpha, box


def print_on(paint: NDArray[Any], middle: Sequence[int], scale: int) -> tuple[NDArray[Any], tuple[slice, slice]]:
    """`paint` (linear, [H, W, 3]) with a label of small print about `middle` (row, column); and where it is."""
    font = ImageFont.load_default()
    label = Image.new("L", (60, 11 * len(PRINT) + 4), 255)
    draw = ImageDraw.Draw(label)
    for line, text in enumerate(PRINT):
        draw.text((3, 2 + 11 * line), text, fill=20, font=font)
    ink = np.asarray(label.resize((label.width * scale, label.height * scale), Image.Resampling.BICUBIC)) / 255
    top = min(max(0, middle[0] - ink.shape[0] // 2), paint.shape[0] - ink.shape[0])
    left = min(max(0, middle[1] - ink.shape[1] // 2), paint.shape[1] - ink.shape[1])
    box = np.s_[top:top + ink.shape[0], left:left + ink.shape[1]]
    painted = paint.astype(np.float32).copy()
    cream, red = np.array([0.7, 0.66, 0.52]), np.array([0.45, 0.04, 0.05])
    painted[box] = red + (cream - red) * ink[..., None]
    return painted, box


def degrade(truth: NDArray[Any], alpha: NDArray[Any], seed: int, tint: bool = False) -> NDArray[Any]:
    """What a diffusion model does to a picture: the subject's colours shift, fine detail melts, contrast changes.

    Colours turn and fade while grey stays grey; `tint`: the whole subject takes a cast as well.
    """
    generator = np.random.default_rng(1000 + seed)
    mixing = np.eye(3) + generator.uniform(-0.25, 0.25, (3, 3))
    mixing /= mixing @ np.ones((3, 1))
    if tint:
        cast = generator.uniform(0.8, 1.25, (3, 1))
        mixing *= cast / (LUMINANCE @ cast)  # the exposure stays
    shifted = decode(truth) @ mixing.T
    picture = np.where(alpha[..., None] > 0, shifted * alpha[..., None] + decode(truth) * (1 - alpha[..., None]),
                       decode(truth)).clip(0, 1)
    sigma = 2.0 * np.sqrt(alpha.size) / 512
    codes = gaussian_filter(linear_to_srgb(picture), (sigma, sigma, 0))
    middle, contrast = codes.mean(), generator.uniform(0.85, 1.15)
    return np.rint(255 * (middle + contrast * (codes - middle)).clip(0, 1)).astype(np.uint8)


def decode(codes: NDArray[Any]) -> NDArray[Any]:
    """8-bit sRGB as linear light."""
    return srgb_to_linear(codes / 255)


def encode(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear light as 8-bit sRGB."""
    return np.rint(255 * linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)


# --- measures -----------------------------------------------------------------------------------------------------


def score(picture: NDArray[Any], case: Case) -> Scores:
    """A picture against the case's truth."""
    solid = case.alpha > 0.95
    return Scores(color_error(picture, case.truth)[solid].mean(), legibility(picture, case), psnr(picture, case, solid),
                  halo(picture, case))


def color_error(picture: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """CIEDE2000 [H, W] once each pixel has the truth's luminance."""
    linear, true = decode(picture), decode(truth)
    linear = linear * ((true @ LUMINANCE + 1e-3) / (linear @ LUMINANCE + 1e-3))[..., None]
    return deltaE_ciede2000(rgb2lab(linear_to_srgb(linear.clip(0, 1))), rgb2lab(truth))


def legibility(picture: NDArray[Any], case: Case) -> float:
    """Correlation -1..1 of the print's edges with the truth's: horizontal and vertical slopes of luminance."""
    slopes = []
    for pixels in (picture, case.truth):
        grey = (pixels[case.label] / 255.0) @ LUMINANCE
        slopes.append(np.stack([sobel(grey, axis) for axis in (0, 1)])[:, 2:-2, 2:-2].ravel())
    return float(np.corrcoef(*slopes)[0, 1])


def psnr(picture: NDArray[Any], case: Case, where: NDArray[Any]) -> float:
    """Peak signal to noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.square(picture[where].astype(float) - case.truth[where]).mean()))


def halo(picture: NDArray[Any], case: Case) -> float:
    """Width of the rim about the subject's edge whose error stands out from what lies beside it, on either side."""
    inside = case.alpha > 0.5
    if inside.all():
        return float("nan")
    unit = 512 / np.sqrt(inside.size)
    error = np.abs((picture.astype(float) - case.truth) @ LUMINANCE)
    width = 0.0
    for side in (inside, ~inside):
        depth = distance_transform_edt(side) * unit
        profile = np.array([error[side & (depth > d) & (depth <= d + unit)].mean() for d in np.arange(0, REACH, unit)])
        above = profile - np.median(profile[len(profile) // 2:])
        width += unit * (above / HALO - 0.5).clip(0, 1).sum()
    return width


# --- harmonising --------------------------------------------------------------------------------------------------


def harmonise_table(count: int) -> str:
    """Bodies that keep their old light, and take on more and more of the new wall's colours."""
    figures: dict[float, list[tuple[float, float]]] = {}
    for number in range(count):
        one = on_stage(number)
        original, truth, wall = encode(one.before), encode(one.after), encode(one.wall)
        case = Case(original, original, truth, one.alpha, one.label)
        solid = one.alpha > 0.95
        for amount in (0.0, 0.25, 0.5, 0.75, 1.0):
            picture = harmonise(foreground_color(original, one.alpha), one.alpha, wall, amount)
            figures.setdefault(amount, []).append(
                (psnr(picture, case, solid), color_error(picture, truth)[solid].mean()))
    rows = ["| harmonise | PSNR | colour error | better than pasted: PSNR, colour |", "| --- | --- | --- | --- |"]
    pasted = np.array(figures[0.0])
    for amount, values in figures.items():
        ratio, color = np.mean(values, axis=0)
        wins = ((np.array(values) - pasted) * (1, -1) > 0).sum(axis=0)
        name = f"{amount:g}" if amount else "0 (pasted)"
        rows.append(f"| {name} | {ratio:.1f} dB | {color:.1f} | {wins[0]}, {wins[1]} of {count} |")
    return "\n".join(rows)


# --- speed --------------------------------------------------------------------------------------------------------


def speed_table(side: int = 1024, rounds: int = 7) -> str:
    """The best of some rounds, on the photo with the most soft pixels."""
    cutout = np.asarray(Image.open(EXAMPLES / "astronaut-cutout.webp").convert("RGBA").resize((side, side)))
    original, alpha = np.ascontiguousarray(cutout[..., :3]), cutout[..., 3].astype(np.float32) / 255
    result = degrade(original, alpha, 0)
    works: dict[str, Callable[[], object]] = {
        "colour": lambda: preserve(result, original, alpha, color=1, detail=0, detail_radius=RADIUS),
        "detail": lambda: preserve(result, original, alpha, color=0, detail=1, detail_radius=RADIUS),
        "colour and detail": lambda: preserve(result, original, alpha, color=1, detail=1, detail_radius=RADIUS),
        "background": lambda: restore_background(result, original, alpha),
        "background, tinted": lambda: restore_background(result, original, alpha, tint=0.5),
        "all of it": lambda: restore_background(
            preserve(result, original, alpha, color=1, detail=1, detail_radius=RADIUS), original, alpha, tint=0.5),
    }
    rows = ["| what | time | processor time |", "| --- | --- | --- |"]
    for name, work in works.items():
        spent = []
        for _ in range(rounds):
            clocks = time.perf_counter(), time.process_time()
            work()
            spent.append((time.perf_counter() - clocks[0], time.process_time() - clocks[1]))
        wall, own = (1e9 * min(column) / side**2 for column in zip(*spent, strict=True))
        rows.append(f"| {name} | {wall:.0f} ms/MP | {own:.0f} ms/MP |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
