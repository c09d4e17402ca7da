"""Write what was trained as the pocket model: python -m training.export --work FOLDER [--out FOLDER]

Diffusers folders and IC-Light offsets (trained weight - base weight, diffusers' keys), all fp16. The offsets are taken
from the rounded base, so that base + offset is the trained weight. The loss curves go to training/curves.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from lib_iclight.hosts.standalone.pocket import FOLDER

from . import config
from .train import Latents, load_base, load_text_encoder, load_vae

CURVES = Path(__file__).resolve().parent / "curves"


def export(work: Path, out: Path) -> None:
    """Write the base model and the offsets of fc and fbc to `out`; those of the comparison stay in `work`."""
    unet, text_encoder = load_base(work), load_text_encoder(work)
    vae = load_vae(work, "cpu")
    vae.register_to_config(scaling_factor=Latents.scale_of(work))
    base = {key: tensor.half() for key, tensor in unet.state_dict().items()}
    unet.register_to_config(_name_or_path="pocket")
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        model.half().save_pretrained(out / name)
    DDPMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                  beta_schedule="scaled_linear").save_pretrained(out / "scheduler")
    (out / "ic-light").mkdir(exist_ok=True)
    for stage, folder in (("fc", out / "ic-light"), ("fbc", out / "ic-light"), ("fc-without-consistency", work)):
        path = work / f"{stage}.safetensors"
        if path.is_file():
            save_file(offsets(path, base), folder / f"{stage}-offsets.safetensors")


def offsets(path: Path, base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Trained - base, fp16; the base's first convolution counts as zero for the new inputs."""
    found = {}
    for key, trained in load_file(path).items():
        key = key.removeprefix("unet.")
        value = trained.clone()
        own = base[key].float()
        if value.shape != own.shape:
            value[:, :own.shape[1]] -= own
        else:
            value -= own
        found[key] = value.half().contiguous()
    return found


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="training's folder")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--curves", type=Path, default=CURVES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    export(args.work, args.out)
    args.curves.mkdir(parents=True, exist_ok=True)
    for stage in config.STAGES:
        curve = args.work / f"{stage}.png"
        if curve.is_file():
            shutil.copy(curve, args.curves)


if __name__ == "__main__":
    main()
