"""Train the pocket model: python -m training.train --budget 540 --device cuda --work FOLDER

One command trains everything, unattended, within about so many seconds, and goes on where it was when it is given
again: each stage (vae, decoder, text, base, fbc-begin, fc-begin, fbc, fc, fc-without, fcon) has a share of the budget.
Needs torch, safetensors, numpy, tqdm and Pillow only. FOLDER/published (or --out) has what came of it at any time:
eight files of at most 16 MB. They alone are enough to go on from: put them into the new folder's `published`.
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed

from . import config, diffusion, text, vae
from .latents import Latents
from .look import look
from .pool import PicturePool
from .run import Run


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; on the CPU up to 4 GB")
    parser.add_argument("--out", type=Path, help="folder for what came of it (default: WORK/published)")
    parser.add_argument("--budget", type=float, required=True, help="seconds for all stages together, on a CPU of its "
                        "own time; a larger one than before lets stages go on that no later one has taken over")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=config.SIZE, help="pixels of a picture, each way")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="compile the UNets: faster after a minute or two; "
                        "needs a C++ compiler")
    parser.add_argument("--until", choices=list(config.STAGES), help="stop after this stage")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torch.distributed.run has started us
        torch.distributed.init_process_group("gloo", timeout=timedelta(days=1))
    train(Run(args.work, args.out or args.work / "published", torch.device(args.device), args.budget, args.size,
              compiled=args.compile), args.until)


def train(run: Run, until: str | None = None) -> None:
    """All stages, each where it was, up to the stage `until`."""
    left = [name for name in config.STAGES if not run.done(name) and not run.taken_over(name)]
    order = list(config.STAGES)
    wanted = [name for name in left if until is None or order.index(name) <= order.index(until)]
    if {"vae", "decoder"} & set(wanted):
        pool = PicturePool(run.kind, run.size, run.device, run.data)
        for stage in ("vae", "decoder"):
            if stage in wanted:
                vae.train(run, stage, pool)
        del pool
    if not set(wanted) - {"vae", "decoder"} and (until in ("vae", "decoder") or not wanted):
        return
    latents = Latents(run, vae.load(run))
    if "text" in wanted:
        text.train(run, latents.captions)
    encoder = text.load(run)
    for stage in wanted:
        if stage not in ("vae", "decoder", "text"):
            diffusion.train(run, stage, latents, encoder)
        if stage in ("fbc", "fc", "fcon"):
            if not run.rank:
                look(run)
            run.wait()


if __name__ == "__main__":
    main()
