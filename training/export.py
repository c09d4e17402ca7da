"""Write what was trained as the pocket model: python -m training.export --work FOLDER [--out FOLDER]

FOLDER is training's, or what it has published. Diffusers folders and IC-Light offsets (trained weight - base weight,
diffusers' keys). The offsets are taken from the rounded base, so that its rounding costs nothing.

fp8: the large matrices of the UNet, of the offsets and of the text encoder are stored in eight bits, each tensor in the
form that is nearer to it (e4m3 or e5m2). The VAE and all else stay fp16.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from lib_iclight.hosts.standalone.pocket import FOLDER

CURVES = Path(__file__).resolve().parent / "curves"
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
LARGE = 4_000
"""numbers in a tensor from which on it is worth to store them in eight bits"""
MODES = ("fc", "fbc", "fcon")


def export(work: Path, out: Path, precision: str = "fp8") -> Path:
    """Write the model to `out`; returns the file with the offsets of fc that was trained without the consistency loss.

    These are written beside what was published, not into the model.
    """
    work = work / "published" if (work / "published").is_dir() else work
    manifest = json.loads((work / "manifest.json").read_text("utf-8"))
    weights: dict[str, Tensor] = {}
    for path in sorted(work.glob("*.safetensors")):
        if path.name in manifest["files"]:
            weights.update(load_file(path))

    def part(prefix: str) -> dict[str, Tensor]:
        found = {key.removeprefix(f"{prefix}."): value.float() for key, value in weights.items()
                 if key.startswith(f"{prefix}.")}
        if not found:
            raise SystemExit(f"{work} has no {prefix} yet. Train that stage first.")
        return found

    configuration = manifest["vae"] | {"sample_size": manifest["size"], "scaling_factor": manifest["scale"]}
    vae = AutoencoderKL(**configuration)
    vae.load_state_dict(part("decoder"))
    unet = UNet2DConditionModel(**manifest["unet"] | {"sample_size": manifest["size"] // 8})
    text_encoder = CLIPTextModel(CLIPTextConfig(**manifest["text_encoder"]))
    text_encoder.load_state_dict(part("text.encoder"))
    base = part("base")
    unet.load_state_dict(base)
    unet.register_to_config(_name_or_path="pocket")
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        model.half().save_pretrained(out / name)
    DDPMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                  beta_schedule="scaled_linear", prediction_type="v_prediction").save_pretrained(out / "scheduler")
    stored = {key: _small(value, precision) for key, value in base.items()}
    _write(stored, out / "unet" / "diffusion_pytorch_model.safetensors")
    words = text_encoder.state_dict()
    _write({key: _small(value.float(), precision) for key, value in words.items()},
           out / "text_encoder" / "model.safetensors")
    (out / "ic-light").mkdir(exist_ok=True)
    comparison = work / "fc-without-offsets.safetensors"
    for mode in (*MODES, "fc-without"):
        if mode == "fc-without" or mode in manifest["stages"]:
            path = comparison if mode == "fc-without" else out / "ic-light" / f"{mode}-offsets.safetensors"
            _write(offsets(part(mode), stored, precision), path)
    return comparison


def offsets(trained: dict[str, Tensor], base: dict[str, Tensor], precision: str = "fp16") -> dict[str, Tensor]:
    """Trained - base, as it is stored; the base's first convolution counts as zero for the new inputs."""
    found = {}
    for key, value in trained.items():
        difference, own = value.float().clone(), base[key].float()
        difference[tuple(slice(size) for size in own.shape)] -= own
        found[key] = _small(difference, precision)
    return found


def _small(value: Tensor, precision: str) -> Tensor:
    """A tensor in fp16, or, if it is a large matrix or kernel and `precision` is fp8, in the nearer eight-bit form."""
    if precision == "fp16" or value.ndim < 2 or value.numel() < LARGE:
        return value.half()
    forms = [value.to(form) for form in EIGHT_BITS]
    return min(forms, key=lambda form: float((form.float() - value).square().sum()))


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, {"format": "pt"})


def draw_curves(manifest: dict[str, Any], folder: Path) -> None:
    """Each stage's loss curve as a PNG, each term by itself."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for stage, record in manifest["stages"].items():
        figure, axes = pyplot.subplots(figsize=(6, 3.5))
        for key in sorted({key for row in record["curve"] for key in row} - {"step"}):
            points = [(row["step"], row[key]) for row in record["curve"] if key in row]
            axes.semilogy(*zip(*points, strict=True), label=key)
        axes.set(xlabel="step", ylabel="loss", title=stage)
        axes.legend()
        figure.tight_layout()
        figure.savefig(folder / f"{stage}.png")
        pyplot.close(figure)


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="training's folder, or what it has published")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--precision", choices=("fp8", "fp16"), default="fp8")
    parser.add_argument("--curves", type=Path, help=f"draw the loss curves into this folder ({CURVES.name})")
    args = parser.parse_args()
    for old in ("unet", "vae", "text_encoder", "scheduler", "ic-light"):
        shutil.rmtree(args.out / old, ignore_errors=True)
    args.out.mkdir(parents=True, exist_ok=True)
    export(args.work, args.out, args.precision)
    if args.curves:
        published = args.work / "published" if (args.work / "published").is_dir() else args.work
        draw_curves(json.loads((published / "manifest.json").read_text("utf-8")), args.curves)


if __name__ == "__main__":
    main()
