#!/usr/bin/env python3
"""The standalone host on a CPU against the reference demo's pipeline, and its memory against another state's.

    python benchmarks/standalone.py [--against CHECKOUT] [--models FOLDER] [--rounds 5] [--steps 5] [--memory high]

Random weights in SD 1.5's full size (4.4 GB are made in FOLDER), one fc picture of 256 x 320 with light from the left
and a hires pass of 384 x 512. Ours and the demo each have a process of their own and take turns; the figures are
medians. (The demo rounds its steps; of 2 or 4 it would run one
less.) Memory is the most that a process ever held. CHECKOUT: another checkout of this repository, whose library is
measured too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, CFG, SEED, HIRES = 256, 320, 2.0, 5, 1.5


class Worker:
    """A process that holds one of the two and makes a picture when it is told to."""

    def __init__(self, name: str, options: argparse.Namespace, library: Path = ROOT) -> None:
        command = [sys.executable, __file__, "--worker", name, "--library", str(library)]
        for flag in ("models", "steps", "memory", "size"):
            command += [f"--{flag}", str(getattr(options, flag))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loading = float(self._answer()["seconds"])

    def picture(self, turn: int) -> dict[str, Any]:
        """Seconds, peak memory in GB so far, and the picture's file."""
        assert self._process.stdin is not None
        print(turn, file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker died")
        answer: dict[str, Any] = json.loads(line)
        return answer


def work(options: argparse.Namespace) -> int:
    """A worker's life."""
    sys.path[:0] = [str(options.library), str(ROOT / "benchmarks")]
    import resource

    start = time.perf_counter()
    import numpy as np
    import torch
    from random_sd15 import NEGATIVE, PROMPT, Demo, make, subject

    model, picture = make(options.models, options.size), subject()
    if options.worker == "demo":
        demo = Demo(model, torch.device("cpu"), torch.float32, torch.float32)
    else:
        from lib_iclight.folders import Folders
        from lib_iclight.generation import Generation
        from lib_iclight.progress import silent
        from lib_iclight.session import Session
        from lib_iclight.settings import Settings

        more: dict[str, Any] = {}
        if options.memory != "old":
            from lib_iclight.hosts.standalone.host import Options
            more["options"] = Options(memory=options.memory)
        session = Session(lambda: model, folders=Folders.under(options.models), device="cpu", **more)
        settings = Settings(enabled=True, mode="fc", foreground=picture, matting="none", light="left")
        host = session._loaded(silent)
        host.unet.use(model.offsets("fc"))
    print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    for line in sys.stdin:
        turn = int(line)
        start = time.perf_counter()
        if options.worker == "demo":
            made = demo.relight(picture, WIDTH, HEIGHT, options.steps, CFG, SEED + turn, HIRES)
        else:
            session.latents.clear()
            generation = Generation(prompt=PROMPT, negative_prompt=NEGATIVE, width=WIDTH, height=HEIGHT, cfg=CFG,
                                    steps=options.steps, seed=SEED + turn, hires_scale=HIRES)
            made = np.asarray(session.relight(settings, generation).pictures[0])
        seconds = time.perf_counter() - start
        file = f"{tempfile.gettempdir()}/iclight-standalone-{options.worker}-{options.memory}.npy"
        np.save(file, made)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps({"seconds": seconds, "peak": peak, "file": file}), flush=True)
    return 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "iclight-random-sd15")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--memory", default="high")
    parser.add_argument("--size", default="full", choices=("full", "small"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    sys.path.insert(0, str(ROOT))
    import numpy as np
    from random_sd15 import make

    make(options.models, options.size)
    demo = Worker("demo", options)
    ours = Worker("ours", options)
    rounds = []
    for turn in range(options.rounds + 1):
        theirs, own = demo.picture(turn), ours.picture(turn)
        difference = np.abs(np.load(theirs["file"]).astype(int) - np.load(own["file"]).astype(int))
        if turn:  # the first is slower in both
            rounds.append((theirs["seconds"], own["seconds"]))
        print(f"round {turn}: demo {theirs['seconds']:.1f} s, ours {own['seconds']:.1f} s, "
              f"pictures differ by {difference.max()} of 255 at most, {difference.mean():.4f} on average", flush=True)
    demo.end()
    ours.end()
    print("\n| | demo | ours | ours / demo |\n| --- | --- | --- | --- |")
    for what, pair in (("a picture", [statistics.median(times) for times in zip(*rounds, strict=True)]),
                       ("from nothing to the first step", [demo.loading, ours.loading])):
        print(f"| {what} | {pair[0]:.1f} s | {pair[1]:.1f} s | {pair[1] / pair[0]:.3f} |")
    print(f"| median of each round's ratio | | | {statistics.median(own / their for their, own in rounds):.3f} |")
    print(f"| most memory | {theirs['peak']:.2f} GB | {own['peak']:.2f} GB | {own['peak'] / theirs['peak']:.2f} |")
    if options.against:
        options.memory = "old"
        other = Worker("ours", options, options.against)
        before = other.picture(0)
        other.end()
        print(f"| most memory, against {options.against.name} | {before['peak']:.2f} GB | {own['peak']:.2f} GB | "
              f"{own['peak'] / before['peak']:.2f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
