"""Measure a model on subjects that it has not seen: python -m training.evaluate [--work FOLDER | --model FOLDER]

Without either it is the model in lib_iclight/pocket. Prints the table and writes it between the marks of the model
card, if the model has one. `--work` is training's folder: what it has published is exported to a temporary folder
first, with the fc that was trained without the consistency loss beside it. `--products` takes the better subjects.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from lib_iclight.hosts.standalone.pocket import BEST, FOLDER, Pocket
from lib_iclight.session import Session
from lib_iclight.settings import Settings
from lib_iclight.weights import Offsets

from . import config, measures
from .captions import UNWANTED
from .export import export
from .light_stage import Lighting, random_lighting, random_scenes
from .nets import VAE
from .renderer import Scenes, to_linear, to_srgb
from .subjects import product_scenes
from .tables import Figures, table

SEED = config.SEED + 77
"""of the subjects; training draws its own from other seeds"""
BATCH = 16
AXES = {"left": (0, -1), "right": (0, 1), "top": (1, 1), "bottom": (1, -1)}
"""preset -> (axis: 0 = x, 1 = y; the brightness gradient's sign along it)"""
SEEDS = 8
"""for the drift of colours"""
BEGIN, END = "<!-- figures: written by training/evaluate.py -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Exported(Pocket):
    """A model in any folder, with `other` fc offsets from that file if there is one."""

    other: Path | None = None

    def offsets(self, kind: str) -> Offsets:
        """See `Pocket.offsets`."""
        if self.other and kind == "fc":
            return Offsets(f"other-{self.other}", kind, load_file(self.other))
        return super().offsets(kind)


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


def relit(session: Session, foregrounds: NDArray[Any], prompts: list[str], seed: int, mode: str = "fc",
          **pictures: Any) -> Tensor:
    """All subjects relit, linear RGB [N, 3, H, W]: the one place that asks the model for something.

    foregrounds: uint8 [N, H, W, 4]; pictures: settings, of which arrays with N rows are one for each subject.
    """
    made = []
    for index, (foreground, prompt) in enumerate(zip(foregrounds, prompts, strict=True)):
        own = {key: value[index] if isinstance(value, np.ndarray) else value for key, value in pictures.items()}
        generation = session.suited({"prompt": prompt, "negative_prompt": UNWANTED, "width": foreground.shape[1],
                                     "height": foreground.shape[0], "seed": seed + 1000 * index}, mode)
        settings = Settings(enabled=True, mode=mode, foreground=foreground, **own)
        made.append(np.asarray(session.relight(settings, generation).pictures[0]))
    return to_linear(torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float() / 255)


def pixels(linear: Tensor) -> NDArray[Any]:
    """Linear RGB [N, 3, H, W] -> uint8 sRGB [N, H, W, 3]."""
    return (to_srgb(linear) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def through_vae(model: Path, linear: Tensor) -> Tensor:
    """Linear RGB [N, 3, H, W], encoded and decoded as the standalone host does."""
    from diffusers import AutoencoderKL

    loaded = AutoencoderKL.from_pretrained(str(model / "vae"), torch_dtype=torch.float32).eval()
    vae = VAE(loaded.config)
    vae.load_state_dict(loaded.state_dict())
    inputs = torch.from_numpy(pixels(linear)).permute(0, 3, 1, 2).float() / 127 - 1
    made = torch.cat([vae.decode(vae.encode(one)[0]) for one in inputs.split(1)])
    return to_linear((made * 127.5 + 127.5).clamp(0, 255).floor() / 255)


def side(model: Path) -> int:
    """Pixels of the pictures that a model was trained on."""
    return int(json.loads((model / "vae" / "config.json").read_text("utf-8"))["sample_size"])


def measure(model: Path, others: dict[str, Path], subjects: Subjects, seed: int, drifting: bool) -> Figures:
    """One batch's figures. drifting: also how colours stray with the seed, which takes eight relights each."""
    figures = Figures()
    session = Session(lambda: Exported(model), device="cpu")
    scenes, (a, b, own) = subjects.scenes, subjects.lamps
    alpha = scenes.alpha
    lit = subjects.picture(own)
    mask = (alpha * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    foregrounds = np.concatenate([pixels(lit), mask], -1)
    prompts = [f"{name}, best quality" for name in scenes.captions]
    ask = functools.partial(relit, session, foregrounds, prompts, seed)

    for preset, (axis, sign) in AXES.items():
        figures.add(f"light {preset}", (measures.gradients(ask(light=preset), scenes)[:, axis] * sign > 0).float())
    free = ask()
    for axis, name in enumerate(("right", "top")):
        figures.add(f"no light {name}", (measures.gradients(free, scenes)[:, axis] > 0).float())
    for name, sign in (("warm sunset light", 1), ("cold blue light", -1)):
        tinted = relit(session, foregrounds, [f"{caption}, {name}, best quality" for caption in scenes.captions], seed)
        figures.add(name, ((measures.warmth(tinted, alpha) - measures.warmth(free, alpha)) * sign > 0).float())

    truth, wall = subjects.picture(a), subjects.wall(a)
    walls = [pixels(subjects.wall(*lamps)) for lamps in ((a,), (b,), (a, b))]
    backed = [ask("fbc", background=one) for one in walls]
    transferred = measures.color_transfer(lit, alpha, wall)
    candidates = {"fbc": backed[0], "pasted": torch.lerp(wall, lit, alpha),
                  "colour transfer": torch.lerp(wall, transferred, alpha), "VAE alone": through_vae(model, truth)}
    for name, picture in candidates.items():
        figures.add(f"{name} psnr", measures.psnr(picture, truth, alpha))
        figures.add(f"{name} psnr whole", measures.psnr(picture, truth, torch.ones_like(alpha)))
        figures.add(f"{name} ssim", measures.ssim(picture, truth, alpha))
        figures.add(f"{name} chroma", measures.chroma_error(picture, truth, alpha))
    for name in ("fbc", "VAE alone"):
        for kind, energy in zip(("made", "true"), measures.mottling(candidates[name], truth, alpha), strict=True):
            figures.add(f"{name} energy {kind}", energy)

    under_a, under_b, under_both = backed
    figures.add("consistency FBC", measures.consistency_error(under_a, under_b, under_both, alpha))
    figures.add("mixtures", measures.mixture_error(under_a, under_b, under_both, alpha))
    left, right, top, bottom = (ask("fbc", light=preset) for preset in ("left", "right", "top", "bottom"))
    figures.add("normals", measures.normal_error(measures.normals(left, right, top, bottom, alpha), scenes))
    for name, other in {"with": None, **others}.items():
        asked = session if other is None else \
            Session(functools.partial(Exported, model, other=other), device="cpu")
        under_a, under_b, under_both = (relit(asked, foregrounds, prompts, seed, light_map=one) for one in walls)
        figures.add(f"consistency FC, {name}", measures.consistency_error(under_a, under_b, under_both, alpha))
    if drifting:
        for mode, settings in (("fc", {"light": "left"}), ("fbc", {"background": walls[0]})):
            seeds = [relit(session, foregrounds, prompts, seed + 1 + k, mode, **settings) for k in range(SEEDS)]
            figures.add(f"drift {mode}", measures.drift(torch.stack(seeds), alpha))
    return figures


def measure_batch(batch: int, *, model: Path, others: dict[str, Path], products: bool) -> dict[str, list[float]]:
    """The figures of the batch of that number; one thread, so that several processes can do a batch each."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED + batch)
    scenes = (product_scenes if products else random_scenes)(BATCH, side(model), generator)
    a, b, own = (random_lighting(scenes, generator) for _ in range(3))
    return measure(model, others, Subjects(scenes, (a, b, own)), batch, drifting=batch == 0).values


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--work", type=Path, help="training's folder, or what it has published")
    parser.add_argument("--model", type=Path, default=FOLDER, help="an exported model")
    parser.add_argument("--precision", choices=("fp8", "fp16"), default="fp8", help="of what --work exports")
    parser.add_argument("--products", action="store_true", help="the better subjects, not the benchmark's")
    parser.add_argument("--subjects", type=int, default=128, help=f"a multiple of {BATCH}")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where each subject's values go")
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        model, others = args.model, {}
        if args.work:
            model = Path(folder)
            others = {"without": export(args.work, model, args.precision)}
        work = functools.partial(measure_batch, model=model, others=others, products=args.products)
        batches = range(args.subjects // BATCH)
        with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
            for values in tqdm(pool.imap(work, batches), total=len(batches), desc="batches"):
                figures.extend(values)
    choices = ", ".join(f"{best['sampler']}, {best['steps']} steps, CFG {best['cfg']:g} in {mode.upper()}"
                        for mode, best in BEST.items() if mode != "fcon")
    sampling = f"{choices}, light denoise 0.9"
    text = table(figures, args.subjects, sampling)
    print(text)  # noqa: T201
    if args.json:
        args.json.write_text(json.dumps(figures.values))
    card = args.model / "README.md"
    if not args.work and not args.products and card.is_file():
        before, rest = card.read_text("utf-8").split(BEGIN)
        card.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
