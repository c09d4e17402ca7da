#!/usr/bin/env python3
"""What a relit job costs more than the same job without, in a real WebUI on the CPU: time, hook time, memory.

    python benchmarks/overhead.py --dir FORGE [--python PATH] [--rounds 3] [--jobs 5]
    python benchmarks/overhead.py --dir FORGE --memory --storage float16
    python benchmarks/overhead.py --host a1111 --dir A1111 --models FORGE/models

Starts the host with the live tests' random models and probe, and prints a Markdown table. Jobs run in blocks in turns
(off, on, LoRA, off, ...): switching makes Forge merge and un-merge the weights, which a person pays once, so each
block's first job warms up and does not count. All run the same number of UNet steps. The LoRA changes as many weights
as IC-Light does: what it costs is the price of any merged weights in that host, not ours. Only Forge can make the
models; other hosts take those of a Forge, where `--keep` left them.

For the times glibc keeps the memory that a job frees. It otherwise gives large buffers back to the system and faults
them in again at every step, or does not, depending on what else lies on the heap: with merged weights more often.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live.client import HIRES, Forge, base64_of, subject
from live.reference import offsets_file
from live.server import ON_THE_CPU, Server

MIB = 1 << 20
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_MMAP_THRESHOLD_": "8000000000"}
"""for glibc"""
KINDS = ("off", "on", "LoRA")
FULL_LORA = "iclight-live-full-lora"
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hires x1.5": {**HIRES, "hr_scale": 1.5, "hr_upscaler": "Latent", "hr_second_pass_steps": 0},
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=list(ON_THE_CPU), default="forge", help="which WebUI it is (default: forge)")
    parser.add_argument("--dir", type=Path, required=True, help="its checkout")
    parser.add_argument("--models", type=Path, help="a Forge's models folder with the random models, for other hosts")
    parser.add_argument("--keep", action="store_true", help="keep the random models")
    parser.add_argument("--python", type=Path, help="its Python (default: the one in its venv folder)")
    parser.add_argument("--port", type=int, default=7999)
    parser.add_argument("--rounds", type=int, default=3, help="on-off pairs of blocks")
    parser.add_argument("--jobs", type=int, default=5, help="counted jobs in a block")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--storage", default="", help="keep the UNet in this dtype, as a GPU does in float16")
    parser.add_argument("--default-malloc", action="store_true",
                        help="let glibc give memory back as it likes, as with --memory")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    arguments = parser.parse_args()
    environment = {} if arguments.default_malloc or arguments.memory else KEEP_MEMORY
    server = Server(arguments.dir, arguments.python, arguments.port, host=arguments.host, environment=environment)
    if arguments.models:
        made = server.link_models(arguments.models)
    else:
        made = server.make_models(["sd15", "offsets", "full-lora"])
    try:
        with server:
            forge = Forge(server.url)
            forge.arm(record=False)
            if arguments.storage:
                forge.call(f"/probe/storage?dtype={arguments.storage}", {})
            if arguments.memory:
                print(memory_table(forge, arguments, offsets_file(server.forge, "fc").stat().st_size))
            else:
                print_time_table(forge, arguments)
    finally:
        for path in [] if arguments.keep else made:
            path.unlink()
    return 0


class Took(NamedTuple):
    """Seconds of one whole job."""

    clock: float
    """from the request to the answer"""
    processor: float
    """of all the server's threads; what else the machine does hardly shows in it"""


def run(forge: Forge, kind: str, arguments: argparse.Namespace, job: dict[str, Any]) -> Took:
    """Run a job with the panel on, off, or off and a LoRA in the prompt."""
    settings = {"enabled": True, "foreground": base64_of(subject(arguments.size, arguments.size))}
    if kind == "LoRA":
        job = {**job, "prompt": f"a cat <lora:{FULL_LORA}:1>"}
    busy = forge.call("/probe/seconds")[1]["seconds"]
    started = time.perf_counter()
    answer = forge.txt2img(settings if kind == "on" else None, **{
        "width": arguments.size, "height": arguments.size, "steps": arguments.steps, **job})
    clock = time.perf_counter() - started
    assert answer.status == 200, answer.sentence
    return Took(clock, forge.call("/probe/seconds")[1]["seconds"] - busy)


def print_time_table(forge: Forge, arguments: argparse.Namespace) -> None:
    """Median seconds of a job of each kind, and what the hooks took."""
    print("| job | off | on | LoRA | on / off | LoRA / off | off, processor | on, processor | on / off "
          "| all hooks of a job, at most | one hook, at most |\n" + "| --- " * 11 + "|", flush=True)
    for name, job in JOBS.items():
        took: dict[str, list[Took]] = {kind: [] for kind in KINDS}
        hooks: list[list[float]] = []
        for _ in range(arguments.rounds):
            for kind in KINDS:
                run(forge, kind, arguments, job)
                for _ in range(arguments.jobs):
                    forge.arm(record=False)
                    took[kind].append(run(forge, kind, arguments, job))
                    print(f"{name}, {kind}: {took[kind][-1]}", file=sys.stderr)
                    if kind == "on":
                        hooks.append([1000 * seconds for calls in forge.seen().hooks.values() for seconds in calls])
        clock = {kind: statistics.median(one.clock for one in took[kind]) for kind in KINDS}
        processor = {kind: statistics.median(one.processor for one in took[kind]) for kind in KINDS}
        print(f"| {name} | {clock['off']:.2f} s | {clock['on']:.2f} s | {clock['LoRA']:.2f} s "
              f"| {clock['on'] / clock['off']:.3f} | {clock['LoRA'] / clock['off']:.3f} | {processor['off']:.2f} s "
              f"| {processor['on']:.2f} s | {processor['on'] / processor['off']:.3f} "
              f"| {max(map(sum, hooks)):.1f} ms | {max(map(max, hooks)):.1f} ms |", flush=True)
    print(f"\n{arguments.rounds * arguments.jobs} jobs of each kind.\n")


def memory_table(forge: Forge, arguments: argparse.Namespace, offsets: int) -> str:
    """What the process needs more with the panel on, and with the LoRA: at its highest, and afterwards by kind."""
    used = {}
    for kind in KINDS:
        run(forge, kind, arguments, {})
        used[kind] = peak_of(forge, kind, arguments)
    parts = {"the process's own": "anonymous",
             "mapped from files: the system takes it back when it needs it": "mapped",
             "both, at its highest during a job": "peak"}
    lines = ["| more than with both off | IC-Light, MiB | of the offsets' file | LoRA, MiB |", "| --- " * 4 + "|",
             f"| the file | {offsets / MIB:.0f} | 1.00 | {offsets / MIB:.0f} |"]
    for name, part in parts.items():
        on, lora = (used[kind][part] - used["off"][part] for kind in ("on", "LoRA"))
        lines.append(f"| {name} | {on / MIB:.0f} | {on / offsets:.2f} | {lora / MIB:.0f} |")
    dtype = forge.call("/probe/state")[1]["dtype"].removeprefix("torch.")
    return "\n".join(lines) + f"\n\nThe UNet is stored as {dtype}.\n"


def peak_of(forge: Forge, kind: str, arguments: argparse.Namespace) -> dict[str, int]:
    """Memory in bytes: `peak` during a job, the rest after it."""
    forge.call("/probe/memory/reset", {})
    run(forge, kind, arguments, {})
    found: dict[str, int] = forge.call("/probe/memory")[1]
    return found


if __name__ == "__main__":
    sys.exit(main())
