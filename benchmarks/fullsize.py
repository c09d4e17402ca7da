#!/usr/bin/env python3
"""What comes back at a photo's own size, against scaling the result up, with and without its detail, and the ratio.

    python benchmarks/fullsize.py [--subjects 6] [--half] [--only rendered|relit|speed] [--pictures DIR] [--cache DIR]
                                  [--first N] [--table FILE]

Prints Markdown tables. Bodies of the training's light stage that no training saw, with print and a fine texture on
them, are rendered at 2048 pixels under one lamp (the photo) and before another wall under another lamp (the truth). The
result that is brought back is made at 512 pixels, three ways:

- exact: the truth scaled down;
- model: with the faults that `benchmarks/preserve.py` simulates: colours turned, blurred, another contrast;
- relit: by the pocket model, from the photo and the truth's wall; it is measured against the same truth.

Every method has the true alpha at 2048 pixels, and knows the photo. Measured as in benchmarks/preserve.py, at 2048
pixels: PSNR on what is wholly subject, legibility (correlation of print's edges with the truth's), and halo, in pixels
of a 512 pixel picture. `--only speed` measures time and peak memory of bringing 24 and 100 megapixels back.

The default takes 6 subjects. All 32 at 2048 pixels, with the truth's two results and with the pocket model's:

    python benchmarks/fullsize.py --subjects 32 --cache DIR --table FILE.md

The table is written to FILE after every subject, over the one before, and printed in the end; what a run that was cut
off has measured stays. `--cache` keeps scenes, 29 MB each: rendering them is not done again. `--first 16` goes on with
the subject of that number. `--half` scales the scenes to 1024 pixels and the results to 256: the same proportions, a
quarter of the work. Needs scikit-image and scipy.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.preserve import Case, decode, degrade, encode, halo, legibility, print_on, psnr
from lib_iclight.frame import Frame
from lib_iclight.imaging import fit, fit_alpha
from lib_iclight.imaging.save import write_whole
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutter, foreground_color
from lib_iclight.preserve import preserve
from lib_iclight.settings import Settings

LARGE, LIT, SMALL = 2048, 768, 512
LEAST = 0.002
"""added before dividing, in linear light, by the ratio image too"""

Figures = dict[str, dict[str, list[tuple[float, float, float]]]]
"""PSNR, legibility and halo of every subject, by result and method"""


class Scene(NamedTuple):
    """uint8 sRGB [2048, 2048, 3], alpha [2048, 2048], and where there is print, large and small."""

    photo: NDArray[Any]
    truth: NDArray[Any]
    wall: NDArray[Any]
    alpha: NDArray[Any]
    labels: tuple[tuple[slice, slice], ...]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=6, help="bodies on the light stage (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one (default: %(default)s)")
    parser.add_argument("--table", type=Path, help="write the table here after every subject")
    parser.add_argument("--half", action="store_true", help="at half the size")
    parser.add_argument("--only", choices=("rendered", "relit", "speed"), help="a part of it")
    parser.add_argument("--pictures", type=Path, help="also write the pictures, side by side, to here")
    parser.add_argument("--cache", type=Path, help="keep rendered scenes here, for runs to come")
    arguments = parser.parse_args()
    if arguments.only == "speed":
        print(speed_table())
        return 0
    kinds = {"rendered": ("exact", "model"), "relit": ("relit",), None: ("exact", "model", "relit")}[arguments.only]
    figures: Figures = {kind: {} for kind in kinds}
    for number in range(arguments.first, arguments.first + arguments.subjects):
        begun = time.perf_counter()
        scene = scene_of(number, arguments.cache)
        if arguments.half:
            scene = halved(scene)
        for kind in kinds:
            result = RESULTS[kind](scene, number)
            row = [scene.photo, scene.truth]
            for method, apply in METHODS.items():
                picture = apply(scene, result)
                figures[kind].setdefault(method, []).append(score(picture, scene))
                row.append(picture)
            if arguments.pictures:
                arguments.pictures.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.hstack(row)).save(arguments.pictures / f"{number:02}-{kind}.jpg", quality=90)
        if arguments.table:
            write_whole(arguments.table, (table(figures) + "\n").encode())
        print(f"{number + 1 - arguments.first} of {arguments.subjects}, {time.perf_counter() - begun:.0f} s",
              file=sys.stderr)
    print(table(figures))
    return 0


def table(figures: Figures) -> str:
    """The means of all subjects so far, and how often ours is better."""
    rows = ["| result | method | PSNR | legibility | halo | ours better: PSNR, legibility, halo |",
            "| --- | --- | --- | --- | --- | --- |"]
    for kind, methods in figures.items():
        ours_all = np.array(methods["ours"])
        for method, values in methods.items():
            ratio, legible, rim = np.nanmean(values, axis=0)
            gain = (ours_all - np.array(values)) * (1, 1, -1)
            wins = ", ".join(f"{(column > 1e-6).sum()}-{(column < -1e-6).sum()}" for column in gain.T)
            rows.append(f"| {kind} ({len(values)}) | {method} | {ratio:.2f} dB | {legible:.3f} | {rim:.2f} px | "
                        f"{'' if method == 'ours' else wins} |")
    return "\n".join(rows)


# --- scenes -------------------------------------------------------------------------------------------------------


def scene_of(number: int, folder: Path | None) -> Scene:
    """A body with print and texture, under two lamps, before its own wall and another."""
    file = None if folder is None else folder / f"{number}.npz"
    if file is not None and file.exists():
        with np.load(file) as kept:
            labels = tuple((slice(*map(int, box[:2])), slice(*map(int, box[2:]))) for box in kept["labels"])
            return Scene(kept["photo"], kept["truth"], kept["wall"], kept["alpha"], labels)
    scene = rendered(number)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        boxes = [[rows.start, rows.stop, columns.start, columns.stop] for rows, columns in scene.labels]
        np.savez(file, photo=scene.photo, truth=scene.truth, wall=scene.wall, alpha=scene.alpha, labels=boxes)
    return scene


def rendered(number: int) -> Scene:
    """See `scene_of`. The light is rendered at 768 pixels, for it has nothing finer; paint and alpha at 2048."""
    import torch

    from training import light_stage as stage
    from training.renderer import backdrop, relit_body

    generator = torch.Generator().manual_seed(71_000_000 + number)
    with torch.inference_mode():
        scenes = stage.random_scenes(2, LIT, generator)
        lights = [stage.random_lighting(scenes, generator) for _ in range(2)]
        body = {name: getattr(scenes, name)[:1] for name in ("thickness", "normal", "alpha", "roughness", "gloss")}
        white = torch.ones_like(scenes.albedo[:1])
        fields = []
        for which in (0, 1):
            one = dataclasses.replace(scenes, wall=scenes.wall[which:which + 1], captions=scenes.captions[:1],
                                      albedo=white, **body)
            dull = dataclasses.replace(one, gloss=torch.zeros_like(one.gloss))
            lamp, fill = lights[which].lamp, lights[which].fill
            lamp = type(lamp)(lamp.position[which:which + 1], lamp.color[which:which + 1])
            fill = type(fill)(fill.harmonics[which:which + 1])
            lit, flat = relit_body(one, lamp), relit_body(dull, lamp)
            walls = [backdrop(one, lamp, shadow) + backdrop(one, fill, shadow) for shadow in (True, False)]
            fields.append([enlarged(field[0].numpy()) for field in (flat + relit_body(one, fill), lit - flat,
                                                                    *walls)])
        alpha = edge_of(enlarged(scenes.thickness[0].numpy())[..., 0])
        albedo = enlarged(scenes.albedo[0].numpy())
    middle = [int(c.mean()) for c in np.nonzero(alpha > 0.99)]
    paint, labels = painted(albedo, middle, number)
    share = alpha[..., None]
    photo, truth = (encode(share * (paint * diffuse + shine) + (1 - share) * wall)
                    for diffuse, shine, wall, _ in fields)
    return Scene(photo, truth, encode(fields[1][3]), alpha, labels)


def enlarged(planes: NDArray[Any]) -> NDArray[Any]:
    """[C, h, w] as [2048, 2048, C]."""
    return np.stack([np.asarray(Image.fromarray(plane).resize((LARGE, LARGE), Image.Resampling.BICUBIC))
                     for plane in planes], 2)


def edge_of(thickness: NDArray[Any]) -> NDArray[Any]:
    """The alpha of a body's thickness [H, W], as the light stage makes it."""
    down, right = np.gradient(thickness, 2 / LARGE)
    return np.asarray((thickness / np.hypot(down, right).clip(0.05) * LARGE / 2 + 0.5).clip(0, 1), np.float32)


def painted(paint: NDArray[Any], middle: list[int], number: int,
            ) -> tuple[NDArray[Any], tuple[tuple[slice, slice], ...]]:
    """`paint` with threads and grain as of cloth and wood, a large label and a small one."""
    generator = np.random.default_rng(number)
    y, x = np.mgrid[:LARGE, :LARGE].astype(np.float32)
    threads = np.sin(x * 2 * np.pi / 9.0) * np.sin(y * 2 * np.pi / 7.0)
    grain = gaussian_filter(generator.normal(size=(LARGE, LARGE)).astype(np.float32), (1.0, 6.0))
    paint = paint * (1 + 0.14 * threads + 0.12 * grain / grain.std())[..., None].clip(0.3, 1.7)
    paint, large = print_on(paint, (middle[0] - 90, middle[1]), 5)
    paint, small = print_on(paint, (middle[0] + 170, middle[1]), 3)
    return paint.clip(0.01, 0.9), (large, small)


def halved(scene: Scene) -> Scene:
    """A scene at half its size."""
    photo, truth, wall, alpha = (np.asarray(Image.fromarray(pixels).reduce(2)) for pixels in scene[:4])
    labels = tuple((slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2))
                   for rows, columns in scene.labels)
    return Scene(photo, truth, wall, alpha, labels)


def small(pixels: NDArray[Any]) -> NDArray[Any]:
    """As the frame has it."""
    side = len(pixels) * SMALL // LARGE
    return fit(pixels, side, side) if pixels.dtype == np.uint8 else fit_alpha(pixels, side, side)


def exact(scene: Scene, number: int) -> NDArray[Any]:
    """The truth at 512 pixels."""
    return small(scene.truth)


def model(scene: Scene, number: int) -> NDArray[Any]:
    """With a model's faults."""
    return degrade(small(scene.truth), small(scene.alpha), number)


def relit(scene: Scene, number: int) -> NDArray[Any]:
    """By the pocket model, scaled up from what it knows: 256 pixels."""
    session = pocket()
    mask = np.rint(small(scene.alpha) * 255).astype(np.uint8)
    settings = Settings(mode="fbc", foreground=small(scene.photo), mask=mask, background=small(scene.wall))
    generation = session.suited({"prompt": "", "seed": number}, "fbc")
    picture = session.relight(settings, generation).pictures[0]
    return np.asarray(picture.resize((len(small(scene.photo)),) * 2, Image.Resampling.LANCZOS))


@cache
def pocket() -> Any:
    """The pocket model, loaded once."""
    from lib_iclight.session import Session

    return Session.open()


RESULTS: dict[str, Callable[[Scene, int], NDArray[Any]]] = {"exact": exact, "model": model, "relit": relit}


# --- methods ------------------------------------------------------------------------------------------------------


def large(pixels: NDArray[Any]) -> NDArray[Any]:
    """Scaled up with Lanczos."""
    side = len(pixels) * LARGE // SMALL
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def with_detail(scene: Scene, result: NDArray[Any]) -> NDArray[Any]:
    """Scaled up, then preserving detail at full strength, as without a size of its own one would."""
    own = foreground_color(scene.photo, scene.alpha)
    return preserve(large(result), own, scene.alpha, color=0, detail=1, detail_radius=4.0)


def ratio(scene: Scene, result: NDArray[Any]) -> NDArray[Any]:
    """The photo times result / photo, divided at 512 pixels; what is not subject scaled up."""
    factor = (decode(result) + LEAST) / (decode(small(foreground_color(scene.photo, scene.alpha))) + LEAST)
    factor = np.stack([np.asarray(Image.fromarray(plane).resize(scene.alpha.shape, Image.Resampling.BICUBIC))
                       for plane in factor.transpose(2, 0, 1).astype(np.float32)], 2)
    lit = encode((decode(foreground_color(scene.photo, scene.alpha)) + LEAST) * factor - LEAST)
    alpha = scene.alpha[..., None]
    return np.asarray(np.rint(alpha * lit + (1 - alpha) * large(result)).astype(np.uint8))


def ours(scene: Scene, result: NDArray[Any]) -> NDArray[Any]:
    """Size original."""
    settings = Settings(foreground=scene.photo, mask=np.rint(scene.alpha * 255).astype(np.uint8), size="original")
    job = Relight(settings, cutter=Cutter([]), latents=LatentCache(), largest=(SMALL, SMALL))
    height, width = result.shape[:2]
    return job.bring_back(Image.fromarray(result), Frame(width, height)).codes


METHODS: dict[str, Callable[[Scene, NDArray[Any]], NDArray[Any]]] = {
    "Lanczos": lambda scene, result: large(result), "Lanczos + detail": with_detail, "ratio": ratio, "ours": ours}


def score(picture: NDArray[Any], scene: Scene) -> tuple[float, float, float]:
    """PSNR, legibility, halo."""
    case = Case(scene.photo, scene.photo, scene.truth, scene.alpha, scene.labels[0])
    legible = np.mean([legibility(picture, case._replace(label=box)) for box in scene.labels])
    # The halo on means of 2 x 2 pixels: it is told in pixels that are four wide.
    smaller = [np.asarray(Image.fromarray(pixels).reduce(2)) for pixels in (picture, scene.truth)]
    half = Case(smaller[1], smaller[1], smaller[1], np.asarray(Image.fromarray(scene.alpha).reduce(2)), case.label)
    return psnr(picture, case, scene.alpha > 0.95), float(legible), halo(smaller[0], half)


# --- speed --------------------------------------------------------------------------------------------------------


def speed_table() -> str:
    """Time of bringing large photos back, from the decoded result on, and the process's peak memory until then."""
    rows = ["| photo | decode | bring back | again | processor time, again | all of the process, peak |",
            "| --- | --- | --- | --- | --- | --- |"]
    for width, height in ((6000, 4000), (12300, 8200)):
        y, x = np.ogrid[:100, :100]
        tile = np.stack([128 + 60 * np.sin(x / (8 + 3 * c)) + 60 * np.sin(y / 11) for c in range(3)], 2)
        photo = np.tile(tile.astype(np.uint8), (height // 100, width // 100, 1))
        from_centre = np.hypot(np.linspace(-1, 1, 500)[:, None], np.linspace(-1, 1, 750))
        mask = Image.fromarray((from_centre < 0.7).astype(np.uint8) * 255)
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=92)
        del photo
        settings = Settings(foreground=file.getvalue(), mask=mask, size="original", fit="contain",
                            keep_background=True, mask_feather=4.0)
        job = Relight(settings, cutter=Cutter([]), latents=LatentCache(), largest=(768, 512))
        result = Image.fromarray(np.random.default_rng(0).integers(0, 255, (512, 768, 3), np.uint8))
        frame = Frame(768, 512)
        begun = time.perf_counter()
        assert job.full is not None
        job.full.photo(0)
        read = time.perf_counter()
        job.bring_back(result, frame)
        first, spent = time.perf_counter(), time.process_time()
        job.bring_back(result, frame).image()
        done, spent = time.perf_counter(), time.process_time() - spent
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append(f"| {width * height / 1e6:.0f} MP | {read - begun:.1f} s | {first - read:.1f} s | "
                    f"{done - first:.1f} s | {spent:.1f} s | {peak:.2f} GiB |")
        print(rows[-1], file=sys.stderr)
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
