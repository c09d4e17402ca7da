"""A quick look at a model while it trains: a few figures and a sheet. The figures that count are evaluate's."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from . import config, text, vae
from .captions import UNWANTED, Tokenizer
from .diffusion import make_unet, sample
from .latents import encode
from .light_stage import Lighting, random_lighting, random_scenes
from .measures import gradients, psnr
from .nets import VAE, TextEncoder
from .pool import on_grey
from .renderer import Scenes, to_linear, to_srgb
from .run import Run
from .subjects import product_scenes

SUBJECTS = {"cuda": 64, "cpu": 4}
SEED = config.SEED + 77
"""the benchmark's subjects are none that are trained on"""


@torch.no_grad()
def look(run: Run) -> None:
    """Figures of what there is so far go into the manifest, pictures of both kinds of subjects into sheet.png."""
    model, encoder = vae.load(run).eval(), text.load(run)
    figures, rows = {}, []
    for name, make in (("benchmark", random_scenes), ("products", product_scenes)):
        generator = torch.Generator(run.device).manual_seed(SEED)
        scenes = make(SUBJECTS[run.device.type], run.size, generator)
        lamps = [random_lighting(scenes, generator) for _ in range(2)]
        found, pictures = _looked(run, model, encoder, scenes, lamps)
        figures[name] = {key: round(value, 2) for key, value in found.items()}
        rows += [torch.cat(list(one[:4]), 2) for one in pictures]
    sheet = (torch.cat(rows, 1).movedim(0, -1) * 255).round().to(torch.uint8).cpu().numpy()
    part = run.out / "sheet.png.part"
    Image.fromarray(sheet).save(part, format="png")
    part.replace(run.out / "sheet.png")
    run.manifest["figures"] = figures
    run.write_manifest()


def _looked(run: Run, model: VAE, encoder: TextEncoder, scenes: Scenes,
            lamps: list[Lighting]) -> tuple[dict[str, float], list[Tensor]]:
    """Figures, and sRGB pictures [N, 3, H, W]: input, truth, the VAE's truth, fbc, fc lit from the left and right."""
    scale, count = run.manifest["scale"], len(scenes.captions)

    def coded(linear: Tensor, alpha: Tensor | None = None) -> Tensor:
        pixels = (to_srgb(linear) * 255).round().to(torch.uint8)
        if alpha is not None:
            pixels = on_grey(pixels, (alpha * 255).round().to(torch.uint8))
        return encode(model, pixels).float() * scale

    def decoded(latent: Tensor) -> Tensor:
        with run.autocast():
            return torch.cat([(model.decode(one / scale) / 2 + 0.5).clamp(0, 1) for one in latent.split(16)])

    own, truth = (lamp.picture(scenes) for lamp in lamps)
    again = decoded(coded(truth))
    figures = {"VAE alone, dB": float(psnr(to_linear(again), truth, scenes.alpha).mean())}
    pictures = [to_srgb(own), to_srgb(truth), again]
    tokens = Tokenizer()([f"{name}, best quality" for name in scenes.captions] + [UNWANTED])
    context, unwanted = encoder(tokens.long().to(run.device)).split([count, 1])
    unwanted = unwanted.expand_as(context)
    foreground, wall = coded(own, scenes.alpha), coded(lamps[1].backdrop(scenes))
    if run.weights("fbc"):
        unet = make_unet(run, "fbc").eval()
        with run.autocast():
            made = sample(unet, torch.cat([foreground, wall], 1), context, unwanted, run.generator(9))
        pictures.append(decoded(made))
        figures["fbc, dB"] = float(psnr(to_linear(pictures[-1]), truth, scenes.alpha).mean())
    stage = next((name for name in ("fc", "fc-begin") if run.weights(name)), None)
    if stage:
        unet, slopes = make_unet(run, stage).eval(), []
        ramp = torch.linspace(1, 0, run.size, device=run.device).expand(count, 3, run.size, run.size)
        for light in (ramp, ramp.flip(-1)):
            start = coded(to_linear(light))
            with run.autocast():
                made = sample(unet, foreground, context, unwanted, run.generator(9), start=start)
            pictures.append(decoded(made))
            slopes.append(gradients(to_linear(pictures[-1]), scenes)[:, 0])
        figures["fc, % lit from the side they should be"] = 50 * float((slopes[0] < 0).float().mean()
                                                                        + (slopes[1] > 0).float().mean())
    return figures, pictures
