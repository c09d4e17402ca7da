#!/usr/bin/env python3
"""What the extension does to a WebUI whose user leaves its panel closed: nothing to pictures, how much to the start.

    python benchmarks/closed.py --host forge|reforge|classic|a1111 --dir DIR [--python PATH] [--models DIR] [--starts 3]

Starts the host with the extension disabled in its settings and with it enabled, in turns and without a model, and
compares the medians. Then makes the same seeded pictures both ways, with the random models of the live tests (see
`python -m tests.live --help`: they must be there, or in the Forge of `--models`). These must be equal to the last bit,
else the exit code is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live.client import HIRES, Forge, base64_of, subject
from live.server import EXTENSION, ON_THE_CPU, PROBE, Server

NO_MODEL = ("--ui-debug-mode",)
PICTURE = base64_of(subject()[..., :3].copy())
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "txt2img": ("txt2img", {"steps": 2}),
    "txt2img with hires": ("txt2img", {**HIRES, "hr_scale": 1.5, "hr_upscaler": "Latent"}),
    "img2img": ("img2img", {"steps": 4, "denoising_strength": 0.6, "init_images": [PICTURE]}),
}


def main() -> int:
    """Measure, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=list(ON_THE_CPU), default="forge", help="which WebUI it is (default: forge)")
    parser.add_argument("--dir", type=Path, required=True, help="its checkout")
    parser.add_argument("--python", type=Path, help="its Python (default: the one in its venv folder)")
    parser.add_argument("--models", type=Path, help="a Forge's models folder with the random models")
    parser.add_argument("--port", type=int, default=7999)
    parser.add_argument("--starts", type=int, default=3)
    arguments = parser.parse_args()

    def server(on: bool, flags: tuple[str, ...] = ()) -> Server:
        disabled = [PROBE] if on else [PROBE, EXTENSION]
        return Server(arguments.dir, arguments.python, arguments.port, flags, arguments.host,
                      settings={"disabled_extensions": disabled})

    starts: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(arguments.starts):
        for on in ((False, True), (True, False))[turn % 2]:
            with server(on, NO_MODEL) as running:
                starts[on].append(running.startup_seconds())
    without, with_ = (statistics.median(starts[on]) for on in (False, True))
    print("| what | without | with | with / without |\n| --- | --- | --- | --- |")
    print(f"| {arguments.host}'s start, median of {arguments.starts} | {without:.2f} s | {with_:.2f} s | "
          f"{with_ / without:.3f} |", flush=True)

    made = {}
    linked = server(True).link_models(arguments.models) if arguments.models else []
    try:
        for on in (False, True):
            with server(on) as running:
                forge = Forge(running.url)
                assert bool(forge.scripts("ic-light")) == on
                made[on] = {name: forge.job(tab, None, **job) for name, (tab, job) in JOBS.items()}
    finally:
        for path in linked:
            path.unlink()
    different = 0
    for name in JOBS:
        off, on_ = made[False][name], made[True][name]
        assert off.status == on_.status == 200, (off.sentence, on_.sentence)
        same = off.infotexts == on_.infotexts and all(
            (a == b).all() for a, b in zip(off.pictures, on_.pictures, strict=True))
        print(f"{name}: {len(off.pictures)} picture and its infotext are {'the same' if same else 'DIFFERENT'}")
        different += not same
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
