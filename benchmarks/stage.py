#!/usr/bin/env python3
"""The light stage against truth: normals, mixtures, albedo, depth, and what mixing costs.

    python benchmarks/stage.py [--subjects 64] [--only rendered|relit|dome|speed] [--keep DIR]

Prints Markdown tables. The bodies are the training renderer's, none of which training saw, so their normals, albedo and
depth are known.

- rendered: one lamp at a time from four sides, true light transport, rounded to 8 bits as a file would be;
- relit: sets made by the pocket model (256 x 256, FBC, one seed a batch) over drawn lights, as the stage makes them,
  and over walls under two lamps for the mixtures;
- dome: 24 lamps with true directions, for `lambert`;
- speed: mixing nine pictures of 1024 x 1024.

Errors of normals are mean angles over what is wholly subject; those of mixtures are |mixture - joint| / |joint| over
the subject in linear light, plain and with the one factor that makes them least.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.hosts.standalone.pocket import SIDE
from lib_iclight.lights import Directional, LightSpec, Point
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    Direction,
    Lamp,
    Stage,
    albedo,
    depth,
    from_pictures,
    lambert,
    mix,
    mix_codes,
    pairs,
    reference,
    weights_of,
)
from lib_iclight.stage.files import to_codes

if TYPE_CHECKING:
    from torch import Tensor

    from training.light_stage import Lighting

BATCH, SIZE, SEED = 16, SIDE, 20250101 + 77
SIDES = {"left": 180.0, "right": 0.0, "bottom": 270.0, "top": 90.0}
ELEVATION, DISTANCE, EXPOSURE = 0.2, 1.5, 0.17
"""of the rendered lamps: radians to the camera, half widths of the picture, mean luminance of the wall"""
DOME = ((25.0, 12), (50.0, 8), (75.0, 4))
"""elevation in degrees and number of lamps of each ring"""
DRAWN = {"drawn, left + top": LightSpec(lights=(Directional(180), Directional(90))),
         "drawn, the corner top-left": LightSpec(lights=(Directional(135),)),
         "drawn, a lamp": LightSpec(lights=(Point(0.0, 0.4, 1.2),))}
"""lights that a mixture of the sides has to stand for, beside a relight under them"""
GAINS = np.geomspace(0.25, 4.0, 200)

Scores = dict[str, list[float]]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=64, help=f"a multiple of {BATCH}")
    parser.add_argument("--only", choices=("rendered", "relit", "dome", "speed"))
    parser.add_argument("--keep", type=Path, help="keep the relit pictures of each batch here, or use those there")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "rendered": lambda: print_scores("rendered", each_batch(arguments.subjects, rendered)),
        "relit": lambda: print_scores("relit", each_batch(arguments.subjects, lambda n: relit(n, arguments.keep))),
        "dome": lambda: print_scores("dome", each_batch(arguments.subjects, dome)),
        "speed": speed}
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()
    return 0


def each_batch(subjects: int, measure: Callable[[int], Scores]) -> Scores:
    """The scores of all batches together."""
    scores: Scores = {}
    for batch in range(subjects // BATCH):
        for name, values in measure(batch).items():
            scores.setdefault(name, []).extend(values)
    return scores


def print_scores(title: str, scores: Scores) -> None:
    """A table of means and spread."""
    count = max(len(values) for values in scores.values())
    print(f"\n| {title} ({count} subjects) | mean | median | worst |\n| --- | --- | --- | --- |")
    for name, values in scores.items():
        print(f"| {name} | {np.mean(values):.3f} | {np.median(values):.3f} | {np.max(values):.3f} |")


# --- sets ---------------------------------------------------------------------------------------------------------


class Subjects:
    """A batch of bodies: `scenes` of the training renderer, alpha [N, H, W] and normals [N, H, W, 3]."""

    def __init__(self, batch: int) -> None:
        import torch

        from training.light_stage import random_lighting, random_scenes

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        generator = torch.Generator().manual_seed(SEED + batch)
        self.scenes = random_scenes(BATCH, SIZE, generator)
        self.a, self.b, self.own = (random_lighting(self.scenes, generator) for _ in range(3))
        self.alpha = self.scenes.alpha.numpy()[:, 0]
        self.normal = pixels(self.scenes.normal)

    def lamp(self, degrees: float) -> Lighting:
        """The same white lamp for all, from the side at that angle, with a little fill."""
        import torch

        from training.light_stage import lighting

        def full(value: float) -> torch.Tensor:
            return torch.full((BATCH,), value)

        return lighting(self.scenes, full(math.radians(degrees)), full(ELEVATION), full(DISTANCE),
                        torch.zeros(BATCH, dtype=torch.long), full(EXPOSURE))


def pixels(tensor: Tensor) -> NDArray[Any]:
    """[N, C, H, W] as float32 [N, H, W, C]."""
    return np.ascontiguousarray(tensor.numpy().transpose(0, 2, 3, 1), np.float32)


def rounded(linear: NDArray[Any], steps: int = 255) -> NDArray[Any]:
    """Linear light as it comes back from a file of 8 bits (or `steps`)."""
    return srgb_to_linear(np.rint(linear_to_srgb(linear.clip(0, 1)) * steps) / steps)


def rendered(batch: int) -> Scores:
    """Sets of true light transport."""
    subjects = Subjects(batch)
    lamps = {name: pixels(subjects.lamp(angle).picture(subjects.scenes)) for name, angle in SIDES.items()}
    paint, high = pixels(subjects.scenes.albedo), pixels(subjects.scenes.depth)[..., 0]
    scores: Scores = {}
    random = np.random.default_rng(batch)
    for number in range(BATCH):
        pictures = np.stack([picture[number] for picture in lamps.values()])
        alpha = subjects.alpha[number]
        stage = from_pictures(FOUR[:4], rounded(pictures), alpha)
        score_shape(scores, stage, subjects.normal[number], paint[number], high[number])
        # The joint rendering of all four and pictures of 16 bits, both exposed so that nothing clips.
        weights = random.uniform(0, 1, (4, 3)).astype(np.float32)
        joint = np.einsum("lc,lhwc->hwc", weights, pictures)
        scale = np.float32(0.98 / max(joint.max(), pictures.max()))
        whole = from_pictures(FOUR[:4], rounded(pictures * scale, 65535), alpha)
        made = mix_codes(whole, weights, 0.0)
        difference = np.abs(made.astype(int) - to_codes(joint * scale).astype(int)).max()
        add(scores, "mix against the joint rendering, largest difference of 255", float(difference))
    return scores


def relit(batch: int, keep: Path | None) -> Scores:
    """Sets made by the pocket model."""
    subjects = Subjects(batch)
    made = relights(batch, subjects, keep)
    paint, high = pixels(subjects.scenes.albedo), pixels(subjects.scenes.depth)[..., 0]
    scores: Scores = {}
    for number in range(BATCH):
        one = {name: picture[number] for name, picture in made.items()}
        alpha = subjects.alpha[number]
        stage = from_pictures(FOUR, np.stack([one[name] for name in (*SIDES, "ambient")]), alpha)
        score_shape(scores, stage, subjects.normal[number], paint[number], high[number])
        walls = from_pictures([Lamp("a", Direction(1, 0, 0)), Lamp("b", Direction(0, 1, 0))],
                              np.stack([one["wall a"], one["wall b"]]), alpha)
        both = mix(walls, np.ones((2, 3)), 0.0)
        score_mix(scores, "walls, a + b", both, one["wall both"], alpha)
        score_mix(scores, "walls, a alone", walls.picture(0), one["wall both"], alpha)
        for name, spec in DRAWN.items():
            mixed = mix(stage, weights_of(spec, FOUR), 0.0)
            score_mix(scores, name, mixed, one[name], alpha)
    return scores


def relights(batch: int, subjects: Subjects, keep: Path | None) -> dict[str, NDArray[Any]]:
    """The pocket model's FBC relights of a batch, linear [N, H, W, 3], by name."""
    file = keep and keep / f"relit-{batch}.npz"
    if file and file.is_file():
        return dict(np.load(file))
    from lib_iclight.hosts.standalone.pocket import Pocket
    from lib_iclight.session import Session
    from training.evaluate import Subjects as Lit
    from training.evaluate import pixels as codes
    from training.evaluate import relit as relit_all

    session = Session(Pocket, device="cpu")
    lit = Lit(subjects.scenes, (subjects.a, subjects.b, subjects.own))
    masks = np.rint(subjects.alpha[..., None] * 255).astype(np.uint8)
    foregrounds = np.concatenate([codes(lit.picture(subjects.own)), masks], axis=-1)
    prompts = [f"{name}, best quality" for name in subjects.scenes.captions]
    behind: dict[str, dict[str, Any]] = {name: {"light": name} for name in (*SIDES, "ambient")}
    behind |= {name: {"light": spec} for name, spec in DRAWN.items()}
    for name, lamps in (("wall a", (lit.lamps[0],)), ("wall b", (lit.lamps[1],)), ("wall both", lit.lamps[:2])):
        behind[name] = {"background": codes(lit.wall(*lamps))}
    made = {name: pixels(relit_all(session, foregrounds, prompts, batch, "fbc", **one))
            for name, one in behind.items()}
    if file and keep:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez(file, **made)
    return made


def dome(batch: int) -> Scores:
    """24 lamps far away on a dome, pictures of 16 bits."""
    import torch

    from training.renderer import Directional as Far
    from training.renderer import render

    subjects = Subjects(batch)
    toward = [(math.cos(turn) * math.cos(high), math.sin(turn) * math.cos(high), math.sin(high))
              for ring, (elevation, count) in enumerate(DOME) for high in [math.radians(elevation)]
              for turn in (2 * math.pi * (k + 0.5 * (ring % 2)) / count for k in range(count))]
    lamps = [Lamp(str(k), Direction(*one)) for k, one in enumerate(toward)]
    pictures = [pixels(render(subjects.scenes, Far(torch.tensor([one]).expand(BATCH, 3), torch.full((BATCH, 3), 1.6))))
                for one in toward]
    paint, high = pixels(subjects.scenes.albedo), pixels(subjects.scenes.depth)[..., 0]
    scores: Scores = {}
    for number, caption in enumerate(subjects.scenes.captions):
        stage = from_pictures(lamps, rounded(np.stack([picture[number] for picture in pictures]), 65535),
                              subjects.alpha[number])
        normal, _ = lambert(stage)
        wrong = angle(normal, subjects.normal[number], stage.subject)
        add(scores, "lambert, degrees", wrong)
        add(scores, f"lambert, {'matte' if 'matte' in caption else 'satin and glossy'} only, degrees", wrong)
        score_albedo(scores, "albedo", albedo(stage, normal), paint[number], stage.subject)
        score_depth(scores, "depth", depth(stage, normal), high[number], stage.subject)
    return scores


def speed() -> None:
    """The time of one mixture, medians; with automatic exposure and its one pass over a sample of the set."""
    random = np.random.default_rng(0)
    print("\n| mixing nine pictures of 1024 x 1024 | first | again, median of 15 | least |\n| --- | --- | --- | --- |")
    stage = from_pictures(EIGHT, random.random((9, 1024, 1024, 3), np.float32))
    for name, exposure in (("fixed exposure", 0.0), ("automatic exposure", "auto")):
        times = []
        for _ in range(16):
            weights = random.random((9, 3), np.float32)
            start = time.perf_counter()
            mix_codes(stage, weights, exposure)
            times.append(1000 * (time.perf_counter() - start))
        print(f"| {name} | {times[0]:.0f} ms | {np.median(times[1:]):.0f} ms | {min(times):.0f} ms |")


# --- measures -----------------------------------------------------------------------------------------------------


def add(scores: Scores, name: str, value: float) -> None:
    """Append one value."""
    scores.setdefault(name, []).append(value)


def angle(normal: NDArray[Any], truth: NDArray[Any], alpha: NDArray[Any]) -> float:
    """Mean angle in degrees over what is wholly subject."""
    length = np.maximum(np.linalg.norm(normal, axis=2), 1e-9)
    cosine = (normal * truth).sum(axis=2) / length
    return float(np.degrees(np.arccos(cosine.clip(-1, 1)))[alpha > 0.95].mean())


def score_shape(scores: Scores, stage: Stage, normal: NDArray[Any], paint: NDArray[Any], high: NDArray[Any]) -> None:
    """Normals of each method, albedo and depth of the default one, and both with the true normals."""
    alpha = stage.subject
    flat = np.broadcast_to(np.array([0, 0, 1], np.float32), normal.shape)
    found = {"flat": flat, "reference, sigma 10": reference(stage), "reference, sigma 1": reference(stage, 1.0),
             "pairs (ours)": pairs(stage)}
    for name, one in found.items():
        add(scores, f"normals, {name}, degrees", angle(one, normal, alpha))
    mean = np.mean([stage.picture(k) for k in range(len(stage.lamps))], axis=0)
    score_albedo(scores, "albedo, the set's mean as it is", mean, paint, alpha)
    score_albedo(scores, "albedo, ours", albedo(stage, found["pairs (ours)"]), paint, alpha)
    score_albedo(scores, "albedo, with the true normals", albedo(stage, normal), paint, alpha)
    add(scores, "depth, flat", depth_error(np.zeros_like(high), high, alpha))
    score_depth(scores, "depth, ours", depth(stage, found["pairs (ours)"]), high, alpha)
    score_depth(scores, "depth, with the true normals", depth(stage, normal), high, alpha)


def score_albedo(scores: Scores, name: str, found: NDArray[Any], truth: NDArray[Any], alpha: NDArray[Any]) -> None:
    """Relative error of linear albedo with the best factor."""
    add(scores, f"{name}, relative error", relative(found, truth, alpha)[1])


def score_depth(scores: Scores, name: str, found: NDArray[Any], truth: NDArray[Any], alpha: NDArray[Any]) -> None:
    """Error of depth as it is: a shorter side is 2 of the renderer's units."""
    add(scores, name, depth_error(2 * found, truth, alpha))


def depth_error(found: NDArray[Any], truth: NDArray[Any], alpha: NDArray[Any]) -> float:
    """Root mean square of the difference over that of the truth, both without their means."""
    solid = alpha > 0.95
    off, real = (found - truth)[solid], truth[solid]
    return float(off.std() / real.std())


def score_mix(scores: Scores, name: str, mixture: NDArray[Any], joint: NDArray[Any], alpha: NDArray[Any]) -> None:
    """Error of a mixture, plain and with the best factor."""
    errors = {gain: relative((gain * mixture).clip(0, 1), joint, alpha)[0] for gain in (1.0, *GAINS)}
    add(scores, f"{name}, relative error", errors[1.0])
    add(scores, f"{name}, with the best factor", min(errors.values()))


def relative(found: NDArray[Any], truth: NDArray[Any], alpha: NDArray[Any]) -> tuple[float, float]:
    """|found - truth| / |truth| over the subject, and the same with the factor of `found` that makes it least."""
    weight = alpha[..., None]
    size = math.sqrt(float((weight * truth**2).sum()))
    factor = float((weight * found * truth).sum() / max((weight * found**2).sum(), 1e-12))
    errors = [math.sqrt(float((weight * (gain * found - truth) ** 2).sum())) / size for gain in (1.0, factor)]
    return errors[0], errors[1]


if __name__ == "__main__":
    raise SystemExit(main())
