"""Measure the pocket model on subjects that it has not seen: python -m training.evaluate [--compare NAME=FILE ...]

Prints the table and writes it between the marks of the model card. `--compare` adds the consistency error of other fc
offsets, such as those that were trained without the consistency loss.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor
from tqdm import tqdm

from lib_iclight.hosts.standalone.host import Standalone
from lib_iclight.hosts.standalone.pocket import FOLDER, Pocket
from lib_iclight.hosts.standalone.samplers import denoise
from lib_iclight.lights import light_map
from lib_iclight.weights import Offsets

from . import config
from .data import UNWANTED, on_grey
from .light_stage import Lighting, Scenes, luminance, random_lighting, random_scenes, to_linear, to_srgb

SEED = config.SEED + 77
"""of the subjects; training draws its own from other seeds"""
BATCH = 16
STEPS, CFG = 15, 2.0
OWN = "with the consistency loss (the model)"
AXES = {"left": (0, -1), "right": (0, 1), "top": (1, 1), "bottom": (1, -1)}
"""preset -> (axis: 0 = x, 1 = y; the brightness gradient's sign along it)"""
BEGIN, END = "<!-- figures: written by training/evaluate.py -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Subjects:
    """One batch of unseen subjects. Pictures are linear RGB [N, 3, H, W], clipped to 0..1 as a file would be."""

    scenes: Scenes
    lamps: tuple[Lighting, Lighting, Lighting]
    """a, b and the one of the input picture"""

    def picture(self, *lamps: Lighting) -> Tensor:
        """Under these lamps together."""
        return torch.stack([lamp.picture(self.scenes) for lamp in lamps]).sum(0).clamp(0, 1)

    def wall(self, *lamps: Lighting) -> Tensor:
        """The wall without the body under these lamps together."""
        return torch.stack([lamp.backdrop(self.scenes) for lamp in lamps]).sum(0).clamp(0, 1)


class Relighter:
    """The pocket model in batches: the standalone host's own UNet, prompts and sampler."""

    def __init__(self, path: Path) -> None:
        self.pocket = Pocket(path)
        self.host = Standalone(self.pocket, device=torch.device("cpu"))

    def encode(self, pixels: np.ndarray) -> Tensor:
        """uint8 [N, 3, H, W] -> latents [N, 4, h, w]."""
        return torch.cat([self.host.encoder.encode(picture) for picture in pixels.transpose(0, 2, 3, 1)])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, 4, h, w] -> linear RGB [N, 3, H, W], rounded as a file would be."""
        with torch.inference_mode():
            pictures = [np.asarray(self.host._decode(latent[None])) for latent in latents]
        return to_linear(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255)

    def relight(self, offsets: Offsets, foreground: Tensor, prompts: Sequence[str], *, seed: int,
                background: Tensor | None = None, start: Tensor | None = None) -> Tensor:
        """Linear RGB [N, 3, H, W]. foreground, background and start: latents [N, 4, h, w]; start is the initial one."""
        host = self.host
        host.unet.use(offsets)
        concat = foreground if background is None else torch.cat([foreground, background], 1)
        context = torch.cat([host.contexts(prompt, UNWANTED)[0] for prompt in prompts])
        unwanted = host.contexts("", UNWANTED)[1].expand_as(context)

        def predict(latent: Tensor, timestep: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                both = host.unet(torch.cat([latent, latent]), timestep, torch.cat([context, unwanted]),
                                 torch.cat([concat, concat]))
            wanted, other = both.chunk(2)
            return other + CFG * (wanted - other)

        with torch.inference_mode():
            latent = denoise(predict, "DPM++ 2M SDE Karras", start=start, shape=foreground.shape, steps=STEPS,
                             strength=0.9, generator=torch.Generator().manual_seed(seed), on_step=lambda: None)
        return self.decode(latent)


def pixels(linear: Tensor) -> np.ndarray:
    """Linear RGB [N, 3, H, W] -> uint8 sRGB."""
    return (to_srgb(linear) * 255).round().to(torch.uint8).numpy()


def gradients(picture: Tensor, scenes: Scenes) -> Tensor:
    """The slope of (luminance / albedo's luminance) over the subject along x and y, [N, 2]; least squares."""
    shading = luminance(picture) / luminance(scenes.albedo).clamp(min=0.01)
    side = shading.shape[-1]
    along = (torch.arange(side) + 0.5) * 2 / side - 1
    slopes = []
    for values, inside in zip(shading[:, 0], scenes.alpha[:, 0] > 0.98, strict=True):
        x, y = along.expand(side, side)[inside], -along[:, None].expand(side, side)[inside]
        design = torch.stack([x, y, torch.ones_like(x)], 1)
        slopes.append(torch.linalg.lstsq(design, values[inside][:, None]).solution[:2, 0])
    return torch.stack(slopes)


def warmth(picture: Tensor, alpha: Tensor) -> Tensor:
    """log(red / blue) of the subject's mean linear colour, [N]."""
    mean = _subject_mean(picture, alpha).clamp(min=1e-4)
    return (mean[:, 0] / mean[:, 2]).log()


def _subject_mean(picture: Tensor, alpha: Tensor) -> Tensor:
    return (picture * alpha).sum((2, 3)) / alpha.sum((2, 3))


def psnr(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """In dB of sRGB, [N]; weight [N, 1, H, W]."""
    error = ((to_srgb(picture) - to_srgb(truth)).square() * weight).sum((1, 2, 3)) / (3 * weight.sum((1, 2, 3)))
    return -10 * error.clamp(min=1e-9).log10()


def ssim(picture: Tensor, truth: Tensor, alpha: Tensor) -> Tensor:
    """Mean structural similarity over the subject, of sRGB, [N]."""
    values = []
    for one, other, mask in zip(to_srgb(picture), to_srgb(truth), alpha[:, 0], strict=True):
        full = structural_similarity(one.numpy(), other.numpy(), channel_axis=0, data_range=1.0, full=True)[1]
        values.append(float((torch.from_numpy(full).mean(0) * mask).sum() / mask.sum()))
    return torch.tensor(values)


def chroma_error(picture: Tensor, truth: Tensor, alpha: Tensor) -> Tensor:
    """Mean distance in the a, b plane of CIELAB over the subject, [N]."""
    lab, expected = (rgb2lab(to_srgb(one).permute(0, 2, 3, 1).numpy())[..., 1:] for one in (picture, truth))
    distance = torch.from_numpy(np.linalg.norm(lab - expected, axis=-1))
    return (distance * alpha[:, 0]).sum((1, 2)) / alpha.sum((1, 2, 3))


def color_transfer(foreground: Tensor, alpha: Tensor, backdrop: Tensor) -> Tensor:
    """The baseline: the subject's mean and covariance made the backdrop's, in linear light, [N, 3, H, W].

    By the symmetric optimal transport map between two normal distributions (Pitie and Kokaram, 2007).
    """
    made = []
    for picture, mask, wall in zip(foreground, alpha, backdrop, strict=True):
        own, other = picture[:, mask[0] > 0.98].double(), wall.flatten(1).double()
        root = _power(torch.cov(own), 0.5)
        inverse = _power(torch.cov(own), -0.5)
        transport = inverse @ _power(root @ torch.cov(other) @ root, 0.5) @ inverse
        moved = transport @ (picture.flatten(1).double() - own.mean(1, keepdim=True)) + other.mean(1, keepdim=True)
        made.append(moved.reshape(picture.shape).float().clamp(0, 1))
    return torch.stack(made)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=1e-7) ** exponent) @ vectors.T


def consistency_error(under_a: Tensor, under_b: Tensor, under_both: Tensor, alpha: Tensor) -> Tensor:
    """||L(a) + L(b) - L(a + b)|| / ||L(a + b)|| over the subject in linear light, clipped as the pictures are, [N]."""
    difference = ((under_a + under_b).clamp(max=1) - under_both).square() * alpha
    return (difference.sum((1, 2, 3)) / (under_both.square() * alpha).sum((1, 2, 3))).sqrt()


class Figures:
    """Named lists of values, one per subject."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Append a batch, [N]."""
        self.extend({name: values.double().tolist()})

    def extend(self, values: Mapping[str, list[float]]) -> None:
        """Append another's values."""
        for name, more in values.items():
            self.values.setdefault(name, []).extend(more)

    def mean(self, name: str) -> float:
        """The mean over all subjects."""
        return float(np.mean(self.values[name]))


def measure(relighter: Relighter, subjects: Subjects, others: Mapping[str, Offsets], seed: int) -> Figures:
    """One batch's figures."""
    figures = Figures()
    scenes, (a, b, own) = subjects.scenes, subjects.lamps
    alpha, count, side = scenes.alpha, len(scenes.captions), config.SIZE
    fc, fbc = (relighter.pocket.offsets(kind) for kind in ("fc", "fbc"))
    lit = subjects.picture(own)
    foreground = relighter.encode(on_grey(pixels(lit), (alpha * 255).round().to(torch.uint8).numpy()))
    subject_only = [f"{name}, best quality" for name in scenes.captions]

    def relit(offsets: Offsets = fc, prompts: Sequence[str] = subject_only, background: Tensor | None = None,
              start: Tensor | None = None) -> Tensor:
        return relighter.relight(offsets, foreground, prompts, seed=seed, background=background, start=start)

    for preset, (axis, sign) in AXES.items():
        drawn = light_map(preset, side, side)
        assert drawn is not None
        start = relighter.encode(drawn.transpose(2, 0, 1)[None]).expand(count, -1, -1, -1)
        figures.add(f"light {preset}", (gradients(relit(start=start), scenes)[:, axis] * sign > 0).float())
    free = relit()
    for axis, name in enumerate(("right", "top")):
        figures.add(f"no light {name}", (gradients(free, scenes)[:, axis] > 0).float())

    for name, sign in (("warm sunset light", 1), ("cold blue light", -1)):
        tinted = relit(prompts=[f"{caption}, {name}, best quality" for caption in scenes.captions])
        figures.add(name, ((warmth(tinted, alpha) - warmth(free, alpha)) * sign > 0).float())

    truth, wall = subjects.picture(a), subjects.wall(a)
    walls = [relighter.encode(pixels(subjects.wall(*lamps))) for lamps in ((a,), (b,), (a, b))]
    backed = [relit(fbc, background=one) for one in walls]
    candidates = {"fbc": backed[0], "pasted": torch.lerp(wall, lit, alpha),
                  "colour transfer": torch.lerp(wall, color_transfer(lit, alpha, wall), alpha),
                  "VAE alone": relighter.decode(relighter.encode(pixels(truth)))}
    for name, picture in candidates.items():
        figures.add(f"{name} psnr", psnr(picture, truth, alpha))
        figures.add(f"{name} psnr whole", psnr(picture, truth, torch.ones_like(alpha)))
        figures.add(f"{name} ssim", ssim(picture, truth, alpha))
        figures.add(f"{name} chroma", chroma_error(picture, truth, alpha))

    figures.add("consistency FBC", consistency_error(*backed, alpha))
    for name, offsets in {OWN: fc, **others}.items():
        figures.add(f"consistency FC, {name}", consistency_error(*(relit(offsets, start=one) for one in walls), alpha))
    return figures


def measure_batch(batch: int, *, model: Path, compare: Sequence[str]) -> dict[str, list[float]]:
    """The figures of the batch of that number; one thread, so that several processes can do a batch each."""
    torch.set_num_threads(1)
    others = {name: Offsets(name, "fc", load_file(path)) for name, path in (text.split("=") for text in compare)}
    generator = torch.Generator().manual_seed(SEED + batch)
    scenes = random_scenes(BATCH, config.SIZE, generator)
    a, b, own = (random_lighting(scenes, generator) for _ in range(3))
    return measure(Relighter(model), Subjects(scenes, (a, b, own)), others, batch).values


def table(figures: Figures, count: int) -> str:
    """The figures as Markdown."""
    def percent(name: str) -> str:
        return f"{100 * figures.mean(name):.0f} %"

    bias = max(abs(figures.mean(f"no light {name}") - 0.5) for name in ("right", "top")) * 100
    lines = [
        f"On {count} subjects that it has not seen, fixed seeds, DPM++ 2M SDE Karras, {STEPS} steps, CFG {CFG:g}, "
        "light denoise 0.9. The consistency rows take the walls under a, b and both as initial latents (FC) or "
        "backgrounds (FBC).", "",
        "| what | measured | aim |", "| --- | --- | --- |",
        *(f"| FC, light {preset}: brighter on that side | {percent(f'light {preset}')} | 95 % |" for preset in AXES),
        f"| FC, no light: bias to a side (brighter right {percent('no light right')}, brighter on top "
        f"{percent('no light top')}) | {bias:.0f} points | at most 10 |",
        f"| FC, \"warm sunset light\": subject warmer than without | {percent('warm sunset light')} | 90 % |",
        f"| FC, \"cold blue light\": subject colder than without | {percent('cold blue light')} | 90 % |",
    ]
    gain = figures.mean("fbc psnr") - figures.mean("pasted psnr")
    lines += [f"| FBC: PSNR over the subject against pasting | {gain:+.1f} dB | +3 dB |"]
    lines += [f"| relative error of L(a) + L(b) against L(a + b), {name.removeprefix('consistency ')} | "
              f"{figures.mean(name):.3f} | |" for name in figures.values if name.startswith("consistency ")]
    own = np.array(figures.values[f"consistency FC, {OWN}"])
    for name in figures.values:
        if name.startswith("consistency FC, ") and not name.endswith(OWN):
            difference = np.array(figures.values[name]) - own
            lines.append(f"| the same, {name.removeprefix('consistency FC, ')} minus {OWN} | {difference.mean():+.3f}, "
                         f"standard error {difference.std() / math.sqrt(count):.3f}; more than 0 in "
                         f"{100 * (difference > 0).mean():.0f} % of the subjects | |")
    lines += ["",
              "Against the ground truth under the background's light, over the subject (PSNR of the whole picture in "
              "brackets; chroma error in CIELAB units). *VAE alone* is the ground truth, encoded and decoded: no "
              "result can be better.", "",
              "| | PSNR | SSIM | chroma error |", "| --- | --- | --- | --- |"]
    for name in ("fbc", "pasted", "colour transfer", "VAE alone"):
        lines.append(f"| {name} | {figures.mean(f'{name} psnr'):.1f} ({figures.mean(f'{name} psnr whole'):.1f}) dB | "
                     f"{figures.mean(f'{name} ssim'):.3f} | {figures.mean(f'{name} chroma'):.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--compare", action="append", default=[], metavar="NAME=FILE", help="other fc offsets")
    parser.add_argument("--model", type=Path, default=FOLDER)
    parser.add_argument("--subjects", type=int, default=128, help=f"a multiple of {BATCH}")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where each subject's values go")
    args = parser.parse_args()
    figures, batches = Figures(), range(args.subjects // BATCH)
    work = functools.partial(measure_batch, model=args.model, compare=args.compare)
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for values in tqdm(pool.imap(work, batches), total=len(batches), desc="batches"):
            figures.extend(values)
    text = table(figures, args.subjects)
    print(text)  # noqa: T201
    if args.json:
        args.json.write_text(json.dumps(figures.values))
    card = args.model / "README.md"
    if card.is_file():
        before, rest = card.read_text().split(BEGIN)
        card.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
