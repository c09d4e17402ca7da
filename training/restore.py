"""Go on from the pocket model as it is: python -m training.restore --work FOLDER [--model FOLDER]

The inverse of `export`: writes into FOLDER/published (or --out) what a training run would have published, so that
`python -m training.train` with the same folder begins with those weights: fbc-begin and fc-begin learn on and all
after them; VAE, text encoder and base stay. Optimizers begin anew, and what fp8 rounded stays rounded.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from lib_iclight.hosts.standalone.pocket import FOLDER, Pocket

from . import config
from .run import Run

ENDED: dict[str, Any] = {"step": 0, "seconds": 1e9, "ended": True, "speed": 1.0, "curve": []}
"""the record of a stage that is not to be trained again, whatever the budget"""
BEGUN: dict[str, Any] = ENDED | {"seconds": 0.0, "ended": False}


def restore(model: Path, run: Run) -> None:
    """Publish an exported model's weights as those of its stages. Raises SystemExit if it is of other sizes."""
    def weights(part: str, file: str = "diffusion_pytorch_model.safetensors") -> dict[str, Tensor]:
        return {key: value.float() for key, value in load_file(model / part / file).items()}

    wanted = {"unet": config.UNET, "vae": config.VAE, "text_encoder": config.TEXT_ENCODER}
    written = {part: json.loads((model / part / "config.json").read_text("utf-8")) for part in wanted}
    for part, sizes in wanted.items():
        for name, size in sizes.items():
            found = written[part][name]
            if name != "sample_size" and found != (list(size) if isinstance(size, tuple) else size):
                raise SystemExit(f"{model / part} has {name} {found}, config.py {size}. Make them alike first.")
    if Pocket(model).prediction != "v_prediction":
        raise SystemExit(f"{model} predicts noise; training's UNets predict velocities. Train anew.")
    run.manifest["scale"] = written["vae"]["scaling_factor"]
    base = weights("unet")
    words = {f"encoder.{key}": value for key, value in weights("text_encoder", "model.safetensors").items()}
    run.publish("decoder", weights("vae"), ENDED)
    run.publish("text", words, ENDED)
    run.publish("base", base, ENDED)
    for mode in ("fbc", "fc"):  # the stages after these begin with their weights
        run.publish(f"{mode}-begin", _merged(base, weights("ic-light", f"{mode}-offsets.safetensors")), BEGUN)


def _merged(base: dict[str, Tensor], offsets: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the offsets stand for: base + offset; for the new inputs the base's count as zero."""
    found = {}
    for key, offset in offsets.items():
        found[key] = offset.clone()
        found[key][tuple(slice(size) for size in base[key].shape)] += base[key]
    return found


def main() -> None:
    """Restore from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.restore", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder that training is to have")
    parser.add_argument("--out", type=Path, help="its folder for what came of it (default: WORK/published)")
    parser.add_argument("--model", type=Path, default=FOLDER, help="an exported model (default: the pocket model)")
    args = parser.parse_args()
    out = args.out or args.work / "published"
    if (out / "manifest.json").exists():
        raise SystemExit(f"{out} has a run already. Choose another folder.")
    restore(args.model, Run(args.work, out, torch.device("cpu"), budget=0.0))


if __name__ == "__main__":
    main()
