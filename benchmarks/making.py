#!/usr/bin/env python3
"""What making a light stage costs, in single relights: at most n + 0.2 for n lights.

    python benchmarks/making.py [--steps 15] [--rounds 3]

Single relights and stages of the pocket model (FBC, 256 x 256) take turns in one run; the figure is the ratio of the
medians of their processor time. Each has a photo of its own, so that nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from lib_iclight.demo import FOREGROUND
from lib_iclight.session import Session
from lib_iclight.settings import STAGES, Settings


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    session = Session.open(device="cpu")
    picture = np.asarray(Image.open(FOREGROUND).convert("RGBA"))
    generation = session.suited({"steps": options.steps}, "fbc")
    times: dict[str, list[float]] = {"off": [], **{name: [] for name in STAGES if name != "off"}}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds + 1):
            for kind, measured in times.items():
                photos = [picture.copy() for _ in range(3 if kind == "off" else 1)]  # one is too short to be measured
                for number, photo in enumerate(photos):
                    photo[40, 40, :3] = turn, number, ord(kind[0])
                start = time.process_time()
                for photo in photos:
                    if kind == "off":
                        session.relight(Settings(mode="fbc", foreground=photo, light="left"), generation)
                    else:
                        session.stage(Settings(mode="fbc", foreground=photo), generation,
                                      Path(folder) / f"{turn}-{kind}", kind)
                if turn:  # the first loads the model
                    measured.append((time.process_time() - start) / len(photos))
    single = statistics.median(times["off"])
    print("| made | lights n | in single relights | at most |\n| --- | --- | --- | --- |")
    for kind in list(times)[1:]:
        lights = len(STAGES[kind])
        print(f"| stage {kind} | {lights} | {statistics.median(times[kind]) / single:.2f} | {lights + 0.2:.1f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
