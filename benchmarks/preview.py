#!/usr/bin/env python3
"""The sketch of a light against the truth, the light of backgrounds, and what both cost.

    python benchmarks/preview.py [--subjects 64] [--walls 200] [--start | --behind | --front | --speed]
                                 [--model DIR] [--pictures DIR]

Prints Markdown tables. Bodies of the light stage that no training saw, photographed under one lamp and looked at under
another, from another side and half of the time of another colour. The spec that the sketch is given has a directional
light from the lamp's side in the lamp's colour, and a dim ambient. Pictures are compared over the subject after one
gain each that gives them the truth's mean luminance, for a spec does not say how far a lamp is.

- true normals: `shape_from_normals` of the bodies' own; a stage's normals: of a light stage that the pocket model makes
  of the photo (four sides, fbc); nothing: `shape_of` the photo and its alpha; unlit: the photo.
- direction right: what the picture's luminance, divided by the body's paint, gains across the subject points to within
  90 degrees (and 45) of the lamp's side.

`--start` compares ways to begin a relight by the pocket model (fc): from the light map, from the light map with the
foreground over it, and from the sketch over the light map. `--behind` does so in fbc before a wall of another lamp:
from noise, from the light drawn over the background, and from the sketch over that. `--front`: how far that model
follows the presets for light from the camera. `--speed` times the sketch.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.lights import Directional, LightSpec, Point, light_map, linear_color
from lib_iclight.preview import Shape, Sketcher, light_of, shape_from_normals, shape_of, sketch
from lib_iclight.session import Session
from lib_iclight.stage import FOUR, from_pictures, normals, to_colors
from training import light_stage as stage
from training import renderer
from training.measures import chroma_error, gradients, psnr

SEED = 51_000_000
BATCH = 16
SIZE = 256
LUMINANCE = torch.tensor(renderer.LUMINANCE)
AMBIENT = "#202020"
HEAD = ("| {} | PSNR | direction within 90° | within 45° | chroma error | closer than light |\n"
        "| --- | --- | --- | --- | --- | --- |")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=64, help="a multiple of 16")
    parser.add_argument("--walls", type=int, default=200)
    parser.add_argument("--start", action="store_true", help="compare starts of the pocket model instead")
    parser.add_argument("--behind", action="store_true", help="the same before a background picture")
    parser.add_argument("--front", action="store_true", help="light from the camera, relit")
    parser.add_argument("--model", type=Path, help="of these; the pocket model that comes with the extension")
    parser.add_argument("--speed", action="store_true", help="measure the time instead")
    parser.add_argument("--pictures", type=Path, help="where pictures of the bodies go, side by side")
    arguments = parser.parse_args()
    if arguments.speed:
        print(speed_table())
    elif arguments.start:
        print(start_table(arguments.subjects, arguments.model))
    elif arguments.front:
        print(front_table(arguments.subjects, arguments.model))
    elif arguments.behind:
        print(background_table(arguments.subjects, arguments.model))
    else:
        print(sketch_table(arguments.subjects, arguments.model, arguments.pictures))
        print()
        print(walls_table(arguments.walls))
    return 0


class Case:
    """A batch of bodies: photographed under one lamp, wanted under another."""

    def __init__(self, batch: int, size: int = SIZE) -> None:
        generator = torch.Generator().manual_seed(SEED + batch)
        self.scenes = stage.random_scenes(BATCH, size, generator)
        own, self.new = (stage.random_lighting(self.scenes, generator) for _ in range(2))
        self.photos = codes(own.picture(self.scenes))
        self.truth = self.new.picture(self.scenes).clamp(0, 1)
        self.azimuth = torch.atan2(self.new.lamp.position[:, 1], self.new.lamp.position[:, 0])
        self.alpha = self.scenes.alpha
        self.specs = [LightSpec(AMBIENT, (Directional(math.degrees(angle), hexadecimal(color)),))
                      for angle, color in zip(self.azimuth.tolist(), self.new.lamp.color.numpy(), strict=True)]

    def shapes(self, kind: str, maps: Sequence[NDArray[np.uint8]] = ()) -> list[Shape]:
        """The bodies' shapes: "true normals", "nothing", or those of normal maps."""
        if maps:
            return [shape_from_normals(one, "opengl", rgb=photo, alpha=alpha)
                    for one, photo, alpha in zip(maps, self.photos, self.alpha[:, 0].numpy(), strict=True)]
        made = []
        for photo, alpha, normal in zip(self.photos, self.alpha[:, 0].numpy(), self.scenes.normal, strict=True):
            if kind == "nothing":
                made.append(shape_of(photo, alpha))
            else:
                there = np.where(alpha[..., None] > 0.01, normal.permute(1, 2, 0).numpy(), [0, 0, 1])
                made.append(shape_from_normals(np.rint(there * 127.5 + 127.5).astype(np.uint8), "opengl", rgb=photo,
                                               alpha=alpha))
        return made

    def stage_normals(self, session: Session, size: int, seed: int) -> list[NDArray[np.uint8]]:
        """Normal maps of the light stages that a model makes of the photos, uint8 [size, size, 3] each."""
        from training.evaluate import relit

        masks = np.rint(255 * self.alpha.permute(0, 2, 3, 1).numpy()).astype(np.uint8)
        small = np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BOX))
                          for one in np.concatenate([np.stack(self.photos), masks], axis=-1)])
        prompts = [f"{caption}, best quality" for caption in self.scenes.captions]
        sides = np.stack([relit(session, small, prompts, seed, "fbc", light=lamp.name).permute(0, 2, 3, 1).numpy()
                          for lamp in FOUR[:4]], axis=1)
        found = [normals(from_pictures(FOUR[:4], pictures, one[..., 3] / np.float32(255)))
                 for pictures, one in zip(sides, small, strict=True)]
        return [np.asarray(to_colors(one), np.uint8) for one in found]

    def relit(self, session: Session, seed: int, mode: str = "fc", **pictures: object) -> torch.Tensor:
        """Relit by a model, linear [N, 3, H, W]; see `training.evaluate.relit`."""
        from training.evaluate import relit

        masks = np.rint(255 * self.alpha.permute(0, 2, 3, 1).numpy()).astype(np.uint8)
        foregrounds = np.concatenate([np.stack(self.photos), masks], axis=-1)
        prompts = [f"{caption}, best quality" for caption in self.scenes.captions]
        return relit(session, foregrounds, prompts, seed, mode, **pictures)

    def sketches(self, kind: str, maps: Sequence[NDArray[np.uint8]] = ()) -> torch.Tensor:
        """Linear [N, 3, H, W]; see `shapes`."""
        return linear(np.stack([sketch(photo, alpha, shape, spec) for photo, alpha, shape, spec in zip(
            self.photos, self.alpha[:, 0].numpy(), self.shapes(kind, maps), self.specs, strict=True)]))

    def exposed(self, pictures: torch.Tensor) -> torch.Tensor:
        """With the truth's mean luminance over the subject."""
        gain = (((self.truth * self.alpha).sum((2, 3)) @ LUMINANCE)
                / ((pictures * self.alpha).sum((2, 3)) @ LUMINANCE))
        return (pictures * gain[:, None, None, None]).clamp(0, 1)

    def off_by(self, pictures: torch.Tensor) -> torch.Tensor:
        """Degrees between where the light seems to come from and where it does, [N]."""
        slope = gradients(pictures, self.scenes)
        angle = torch.atan2(slope[:, 1], slope[:, 0]) - self.azimuth
        return torch.rad2deg(torch.atan2(angle.sin(), angle.cos()).abs())


def figures(case: Case, pictures: torch.Tensor) -> NDArray[Any]:
    """PSNR, direction within 90 and 45 degrees, chroma error: [4, N]."""
    off, seen = case.off_by(pictures), case.exposed(pictures)
    return np.stack([psnr(seen, case.truth, case.alpha).numpy(), (off < 90).numpy(), (off < 45).numpy(),
                     chroma_error(seen, case.truth, case.alpha).numpy()])


def rows(measured: dict[str, list[NDArray[Any]]], against: str) -> list[str]:
    """One line of a table for each way; how many are closer to the truth than `against`."""
    base = np.concatenate(measured[against], axis=1)[0]
    lines = []
    for name, parts in measured.items():
        ratio, half, quarter, chroma = np.concatenate(parts, axis=1)
        won = f"{(ratio > base).sum()} of {len(base)}" if name != against else ""
        lines.append(f"| {name} | {ratio.mean():.1f} dB | {100 * half.mean():.0f} % | {100 * quarter.mean():.0f} % | "
                     f"{chroma.mean():.1f} | {won} |")
    return lines


def sketch_table(subjects: int, model: Path | None, folder: Path | None) -> str:
    """The sketch against the truth."""
    from lib_iclight.hosts.standalone.pocket import FOLDER
    from training.evaluate import side

    session, size = session_of(model or FOLDER), side(model or FOLDER)
    measured: dict[str, list[NDArray[Any]]] = {}
    for batch in range(subjects // BATCH):
        case = Case(batch)
        ways = {"unlit photo": linear(np.stack(case.photos))}
        ways["sketch, true normals"] = case.sketches("true normals")
        ways["sketch, a stage's normals"] = case.sketches("stage", case.stage_normals(session, size, batch))
        ways["sketch, nothing"] = case.sketches("nothing")
        ways["photo times light map"] = torch.stack([
            photo * linear(drawn_map(spec, SIZE, SIZE)[None])[0]
            for photo, spec in zip(ways["unlit photo"], case.specs, strict=True)])
        for name, pictures in ways.items():
            measured.setdefault(name, []).append(figures(case, pictures))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            shown = [ways["unlit photo"], case.truth, *(case.exposed(one) for one in list(ways.values())[1:])]
            for start in range(0, BATCH, 8):
                grid = torch.cat([torch.cat(list(one[start:start + 8]), 1) for one in shown], 2)
                Image.fromarray(codes(grid[None])[0]).save(folder / f"bodies-{batch}-{start}.png")
    return "\n".join(["| | PSNR | direction within 90° | within 45° | chroma error | closer than the unlit photo |",
                      "| --- | --- | --- | --- | --- | --- |", *rows(measured, "unlit photo")])


def walls_table(count: int) -> str:
    """The light of rendered walls."""
    off, colors, clear, unclear = [], [], [], 0
    for batch in range(math.ceil(count / BATCH)):
        case = Case(batch)
        walls = codes(case.new.backdrop(case.scenes))
        for wall, angle, color in list(zip(walls, case.azimuth.tolist(), case.new.lamp.color.numpy(),
                                           strict=True))[:count - batch * BATCH]:
            found = light_of(wall)
            if found.angle is None:
                unclear += 1
                continue
            off.append(abs((found.angle - math.degrees(angle) + 180) % 360 - 180))
            clear.append(found.clarity)
            seen = linear_color(found.spec.lights[0].color)
            cosine = seen @ color / np.linalg.norm(seen) / np.linalg.norm(color)
            colors.append(math.degrees(math.acos(min(1.0, cosine))))
    return "\n".join([
        "| walls | no clear direction | azimuth error, median (95 %, worst) | R², median (least) | colour error |",
        "| --- | --- | --- | --- | --- |",
        f"| {count} | {unclear} | {np.median(off):.1f}° ({np.percentile(off, 95):.1f}°, {max(off):.1f}°) | "
        f"{np.median(clear):.2f} ({min(clear):.2f}) | {np.median(colors):.1f}° |"])


def start_table(subjects: int, model: Path | None) -> str:
    """Starts of a relight in fc, each with the same seed and the same words."""
    from lib_iclight.hosts.standalone.pocket import FOLDER
    from training.evaluate import side

    session, size = session_of(model or FOLDER), side(model or FOLDER)
    measured: dict[str, list[NDArray[Any]]] = {}
    for batch in range(subjects // BATCH):
        case = Case(batch, size)
        maps = [drawn_map(spec, size, size) for spec in case.specs]
        shapes = case.shapes("nothing")
        # What `start` makes of them, given as the light map that a relight starts from.
        starts: dict[str, list[NDArray[Any]]] = {"light": maps, "light+foreground": [], "sketch": []}
        for photo, alpha, shape, spec, drawn in zip(case.photos, case.alpha[:, 0].numpy(), shapes, case.specs, maps,
                                                    strict=True):
            there = alpha[..., None]
            starts["light+foreground"].append(np.rint(photo * there + drawn * (1 - there)).astype(np.uint8))
            starts["sketch"].append(sketch(photo, alpha, shape, spec, drawn))
        for name, pictures in starts.items():
            made = case.relit(session, batch, light_map=np.stack(pictures))
            measured.setdefault(name, []).append(figures(case, made))
        measured.setdefault("(the sketch itself)", []).append(figures(case, case.sketches("nothing")))
    return "\n".join([HEAD.format("start"), *rows(measured, "light")])


def background_table(subjects: int, model: Path | None) -> str:
    """Starts of a relight in fbc before a wall that lies under a lamp of its own, or under the wanted one."""
    from lib_iclight.hosts.standalone.pocket import FOLDER
    from training.evaluate import side

    session, size = session_of(model or FOLDER), side(model or FOLDER)
    tables = []
    for title, own in (("a wall under another lamp", True), ("a wall under that lamp", False)):
        measured: dict[str, list[NDArray[Any]]] = {}
        for batch in range(subjects // BATCH):
            case = Case(batch, size)
            generator = torch.Generator().manual_seed(SEED + 1000 + batch)
            other = stage.random_lighting(case.scenes, generator) if own else case.new
            walls = codes(other.backdrop(case.scenes))
            starts: dict[str, list[NDArray[Any]]] = {"light over the background": [], "sketch over that": []}
            for photo, alpha, shape, spec, wall in zip(case.photos, case.alpha[:, 0].numpy(), case.shapes("nothing"),
                                                       case.specs, walls, strict=True):
                lit = lit_background(wall, spec)
                starts["light over the background"].append(lit)
                starts["sketch over that"].append(sketch(photo, alpha, shape, spec, lit))
            ways = {"noise": case.relit(session, batch, "fbc", background=np.stack(walls))}
            for name, pictures in starts.items():
                ways[name] = case.relit(session, batch, "fbc", background=np.stack(walls), start="light",
                                        light_map=np.stack(pictures))
            for name, made in ways.items():
                measured.setdefault(name, []).append(figures(case, made))
        tables.append("\n".join([HEAD.format(f"start before {title}").replace("light |", "noise |"),
                                 *rows(measured, "noise")]))
    return "\n\n".join(tables)


def front_table(subjects: int, model: Path | None) -> str:
    """How much brighter bodies are where they face the camera than where they turn away, in stops, by the light.

    Of luminance divided by the body's paint: mean log2 where the normal's z is above 0.85, less that where it is under
    0.5. Beside the rendered truth: a lamp at the camera, and one at the left.
    """
    from lib_iclight.hosts.standalone.pocket import FOLDER
    from training.evaluate import side

    session, size = session_of(model or FOLDER), side(model or FOLDER)
    measured: dict[str, list[NDArray[Any]]] = {}
    for batch in range(subjects // BATCH):
        case = Case(batch, size)
        ways = {name: rendered_from(case, angle, high) for name, angle, high in (
            ("a lamp at the camera, rendered", 0.0, 0.48 * math.pi), ("a lamp at the left, rendered", math.pi, 0.2))}
        ways["sketch, front"] = linear(np.stack([sketch(photo, alpha, shape, "front") for photo, alpha, shape in zip(
            case.photos, case.alpha[:, 0].numpy(), case.shapes("nothing"), strict=True)]))
        for mode in ("fc", "fbc"):
            for light in ("ambient", "front", "ring", "left"):
                ways[f"{mode}, {light}"] = case.relit(session, batch, mode, light=light)
        for name, pictures in ways.items():
            measured.setdefault(name, []).append(frontality(case, pictures))
    lines = ["| light | stops brighter where it faces the camera | brighter there |", "| --- | --- | --- |"]
    for name, parts in measured.items():
        stops = np.concatenate(parts)
        lines.append(f"| {name} | {stops.mean():+.2f} | {(stops > 0).sum()} of {len(stops)} |")
    return "\n".join(lines)


def rendered_from(case: Case, azimuth: float, elevation: float) -> torch.Tensor:
    """The bodies under a white lamp, linear [N, 3, H, W]; radians from the right and towards the camera."""
    def full(value: float) -> torch.Tensor:
        return torch.full((BATCH,), value)

    return stage.lighting(case.scenes, full(azimuth), full(elevation), full(1.5), torch.zeros(BATCH, dtype=torch.long),
                          full(0.17)).picture(case.scenes).clamp(0, 1)


def frontality(case: Case, pictures: torch.Tensor) -> NDArray[Any]:
    """See `front_table`, [N]."""
    shading = renderer.luminance(pictures) / renderer.luminance(case.scenes.albedo).clamp(min=0.01)
    stops = shading.clamp(min=1e-3).log2()[:, 0]
    inside, facing = case.alpha[:, 0] > 0.98, case.scenes.normal[:, 2]
    return np.array([float(one[there & (z > 0.85)].mean() - one[there & (z < 0.5)].mean())
                     for one, there, z in zip(stops, inside, facing, strict=True)])


def drawn_map(spec: LightSpec, width: int, height: int) -> NDArray[np.uint8]:
    """The light map of a light that is one."""
    drawn = light_map(spec, width, height)
    assert drawn is not None
    return drawn


def lit_background(wall: NDArray[Any], spec: LightSpec) -> NDArray[Any]:
    """uint8 [H, W, 3]: a background times a light in linear light, its mean brightness kept."""
    light = srgb_to_linear(drawn_map(spec, wall.shape[1], wall.shape[0]) / 255)
    light /= light.mean()
    return np.asarray(np.rint(255 * linear_to_srgb((srgb_to_linear(wall / 255) * light).clip(0, 1))), np.uint8)


def session_of(model: Path) -> Session:
    """A session over an exported model."""
    from training.evaluate import Exported

    return Session(lambda: Exported(model), device="cpu")


def speed_table(rounds: int = 9, specs: int = 50) -> str:
    """Medians at 1024 pixels, on the cut-out of the examples: preparing, and a light, each time another one."""
    cutout = Image.open(Path(__file__).resolve().parent.parent / "examples" / "astronaut-cutout.webp").convert("RGBA")
    pixels = np.asarray(cutout.resize((1024, 1024)))
    rgb, alpha = np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].astype(np.float32) / 255
    lines = ["| what, 1024 x 1024 | first | median | slowest | processor time, median |",
             "| --- | --- | --- | --- | --- |"]

    def timed(name: str, works: Sequence[Callable[[], object]]) -> None:
        spent = []
        for work in works:
            clocks = time.perf_counter(), time.process_time()
            work()
            spent.append((1000 * (time.perf_counter() - clocks[0]), 1000 * (time.process_time() - clocks[1])))
        wall, own = zip(*spent, strict=True)
        lines.append(f"| {name} | {wall[0]:.0f} ms | {np.median(wall[1:]):.0f} ms | {max(wall[1:]):.0f} ms | "
                     f"{np.median(own[1:]):.0f} ms |")

    timed("shape of colours and outline", [lambda: shape_of(rgb, alpha)] * rounds)
    shape = shape_of(rgb, alpha)
    mapped = np.asarray(Image.fromarray(np.rint(shape.normals * 127.5 + 127.5).astype(np.uint8)).resize((1024, 1024)))
    timed("making it ready", [lambda: Sketcher(rgb, alpha, shape)] * rounds)
    random, ready = np.random.default_rng(0), Sketcher(rgb, alpha, shape)
    for count in (1, 2, 5):
        timed(f"a light of {count}", [partial(ready.under, random_spec(random, count)) for _ in range(specs)])
    timed("all at once, a light of 1", [partial(sketch, rgb, alpha, shape, random_spec(random, 1))
                                        for _ in range(rounds)])
    timed("shape of a normal map", [lambda: shape_from_normals(mapped, rgb=rgb, alpha=alpha)] * rounds)
    whole = shape_from_normals(mapped, rgb=rgb, alpha=alpha)
    ready = Sketcher(rgb, alpha, whole)
    timed("a light of 1, on that", [partial(ready.under, random_spec(random, 1)) for _ in range(specs)])
    timed("light of a background", [lambda: light_of(rgb, alpha)] * rounds)
    return "\n".join(lines)


def random_spec(random: np.random.Generator, count: int) -> LightSpec:
    """Side lights and lamps in any colours."""
    def color() -> str:
        return "#" + random.integers(0, 256, 3, np.uint8).tobytes().hex()

    return LightSpec(AMBIENT, tuple(
        Directional(float(random.uniform(0, 360)), color()) if random.random() < 0.5
        else Point(float(random.random()), float(random.random()), float(random.uniform(0.3, 1.5)), color())
        for _ in range(count)))


def codes(pictures: torch.Tensor) -> list[NDArray[Any]]:
    """Linear [N, 3, H, W] as uint8 sRGB [H, W, 3] each."""
    made = (renderer.to_srgb(pictures) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [np.ascontiguousarray(one) for one in made.numpy()]


def linear(pictures: NDArray[Any]) -> torch.Tensor:
    """uint8 sRGB [N, H, W, 3] as linear [N, 3, H, W]."""
    return torch.from_numpy(srgb_to_linear(pictures / 255)).permute(0, 3, 1, 2)


def hexadecimal(color: NDArray[Any]) -> str:
    """A linear colour, its largest component made 1, as "#rrggbb"."""
    encoded = renderer.to_srgb(torch.from_numpy(color / color.max())) * 255
    return "#" + "".join(f"{int(code):02x}" for code in encoded.round())


if __name__ == "__main__":
    sys.exit(main())
