#!/usr/bin/env python3
"""The standalone host on a GPU: one command, under six minutes, with random weights that are made on the spot.

    python benchmarks/gpu.py [--device cuda] [--size full] [--steps 25] [--width 512] [--height 640] [--only NAME ...]

Parity of half precision with float32, time and memory of the reference demo's own pipeline and of ours in every form,
and the parts that follow a relight. Writes a table for benchmarks/README.md to standard output. On a CPU, with
`--device cpu --size small --width 64 --height 64 --steps 2`, it shows that it works, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from random_sd15 import NEGATIVE, PROMPT, Demo, RandomModel, make, subject

from lib_iclight import preserve
from lib_iclight.folders import Folders
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone import host as hosts
from lib_iclight.hosts.standalone.host import Options, Standalone
from lib_iclight.hosts.standalone.memory import clear, means
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutter
from lib_iclight.settings import Settings

CFG, SEED, HIRES = 2.0, 5, 1.5
ROUNDS = 3
"""pictures that a time is the median of; one before them is not counted"""
GB = 1e9
Part = Callable[["Kit"], Iterator[str]]


class Kit:
    """What the parts share."""

    def __init__(self, options: argparse.Namespace, model: RandomModel) -> None:
        self.device = torch.device(options.device)
        self.model = model
        self.steps, self.width, self.height = options.steps, options.width, options.height
        self.offsets = model.offsets("fc")
        self.demo_time = 0.0
        self.demo_dtypes = (torch.float32,) * 2 if self.device.type == "cpu" else (torch.float16, torch.bfloat16)
        """of the demo's UNet and of its VAE"""

    def host(self, memory: str = "high", compile: bool = False, **changed: Any) -> Standalone:
        """A new host; `changed` are other means than it would choose."""
        def chosen(device: torch.device, memory: str, weights: int = 0) -> Any:
            return dataclasses.replace(means(device, memory, weights), **changed)

        with mock.patch.object(hosts, "means", chosen):
            host = Standalone(self.model, device=self.device, options=Options(memory=memory, compile=compile),
                              folders=Folders((), ()))
        host.unet.use(self.offsets)
        return host

    def generation(self, turn: int = 0, **changed: Any) -> Generation:
        """The picture that everything is measured with."""
        values: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "width": self.width,
                                  "height": self.height, "steps": self.steps, "cfg": CFG, "seed": SEED + turn,
                                  "hires_scale": HIRES}
        return Generation(**values | changed)

    def relight(self, host: Standalone, turn: int = 0, **changed: Any) -> Any:
        """One job, nothing of it cached."""
        settings = Settings(mode="fc", foreground=subject(), matting="none", light="left")
        job = Relight(settings, cutter=Cutter([]), latents=LatentCache())
        return host.relight(job, self.generation(turn, **changed), self.offsets)

    def measured(self, run: Callable[[int], Any], rounds: int = ROUNDS) -> tuple[float, float]:
        """Seconds, and the most memory in GB: of the GPU, or on a CPU of nothing."""
        self.wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        times = []
        for turn in range(rounds + 1):
            start = time.perf_counter()
            run(turn)
            self.wait()
            times.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_reserved(self.device) / GB if self.device.type == "cuda" else float("nan")
        return statistics.median(times[1:]), peak

    def wait(self) -> None:
        """Until the GPU has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def row(self, what: str, seconds: float, peak: float, first: float = float("nan")) -> str:
        """One line of the table of times."""
        return (f"| {what} | {seconds:.2f} s | {self.demo_time / seconds:.2f} | {peak:.2f} GB | "
                f"{'' if first != first else f'{first:.0f} s'} |")


def parity(kit: Kit) -> Iterator[str]:
    """Final latents in half precision against the demo's pipeline in float32, all from one seed."""
    yield "\n| final latent, against the demo in float32 | relative error |\n| --- | --- |"
    wanted = demo_latent(kit, torch.float32, torch.float32)

    def told(what: str, found: torch.Tensor) -> str:
        return f"| {what} | {float((found - wanted).norm() / wanted.norm()):.5f} |"

    yield told("the demo as it is (fp16, VAE in bf16)", demo_latent(kit, *kit.demo_dtypes))
    for memory in ("high", "low", "fp8"):
        host = kit.host(memory)
        with watched(host) as latents:
            kit.relight(host)
        yield told(f"ours, {memory}", latents[-1])
        del host
        clear(kit.device)


def demo_latent(kit: Kit, dtype: torch.dtype, vae_dtype: torch.dtype) -> torch.Tensor:
    """The final latent of the demo's pipeline, float32 on the CPU."""
    demo = Demo(kit.model, kit.device, dtype, vae_dtype)
    demo.relight(subject(), kit.width, kit.height, kit.steps, CFG, SEED, HIRES)
    found: torch.Tensor = demo.latent
    del demo
    clear(kit.device)
    return found


def demo_time(kit: Kit) -> tuple[float, float]:
    """Seconds and memory of the demo's pipeline, see `Kit.measured`."""
    demo = Demo(kit.model, kit.device, *kit.demo_dtypes)

    def run(turn: int) -> None:
        demo.relight(subject(), kit.width, kit.height, kit.steps, CFG, SEED + turn, HIRES)

    return kit.measured(run)


@contextlib.contextmanager
def watched(host: Standalone) -> Iterator[list[torch.Tensor]]:
    """The latents that are decoded inside, float32 on the CPU."""
    found: list[torch.Tensor] = []
    decode = host.vae.decode

    def watching(latent: torch.Tensor) -> Any:
        found.append(latent.float().cpu())
        return decode(latent)

    with mock.patch.object(host.vae, "decode", watching):
        yield found


def times(kit: Kit) -> Iterator[str]:
    """Seconds a picture, pass and hires pass, and memory."""
    cpu = kit.device.type == "cpu"
    kit.demo_time, peak = demo_time(kit)
    clear(kit.device)
    yield "\n| a picture | time | times the demo's speed | most memory | first picture |"
    yield "| --- | --- | --- | --- | --- |"
    yield kit.row("the reference demo's pipeline", kit.demo_time, peak)
    forms: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("ours, plain", {"channels_last": False, "half_vae": False}, {}),
        ("ours, VAE in half precision", {"channels_last": False}, {}),
        ("ours, as it is: channels last too", {}, {}),
        ("ours, batch of 4, each", {}, {"batch": 4}),
        ("ours, guidance for half of the steps", {}, {"guidance_end": 0.5}),
        ("ours, LCM with 6 steps at cfg 1", {}, {"sampler": "LCM", "steps": min(6, kit.steps), "cfg": 1.0}),
        ("ours, low", {"memory": "low"}, {}),
        ("ours, fp8", {"memory": "fp8"}, {}),
    ]
    for what, changed, asked in forms:
        memory = changed.pop("memory", "high")
        if cpu:
            changed.pop("half_vae", None)
        host = kit.host(memory, **changed)
        count = asked.get("batch", 1)
        seconds, peak = kit.measured(partial(kit.relight, host, **asked))
        yield kit.row(what, seconds / count, peak)
        del host
        clear(kit.device)


def compiled(kit: Kit) -> Iterator[str]:
    """The same with torch.compile."""
    if kit.device.type == "cpu":
        yield "| ours, compiled | not on a CPU | | | |"
        return
    host = kit.host(compile=True)
    start = time.perf_counter()
    kit.relight(host)
    kit.wait()
    first = time.perf_counter() - start
    seconds, peak = kit.measured(lambda turn: kit.relight(host, turn))
    yield kit.row("ours, compiled", seconds, peak, first)


def after(kit: Kit) -> Iterator[str]:
    """What follows a relight, on the processor."""
    side = 1024 if kit.width > 64 else 128
    result, original = subject(side), subject(side)[::-1].copy()
    alpha = np.linspace(0, 1, side * side, dtype=np.float32).reshape(side, side)
    spent = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        preserve.preserve(result, original, alpha, color=1.0, detail=1.0, detail_radius=4.0)
        spent.append(time.perf_counter() - start)
    yield f"\nPreserving colour and detail: {statistics.median(spent[1:]) * 1e9 / side**2:.0f} ms per megapixel."


PARTS: dict[str, Part] = {"parity": parity, "times": times, "compiled": compiled, "after": after}


def main(argv: list[str] | None = None) -> int:
    """Run the parts and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="full", choices=("full", "small"))
    parser.add_argument("--models", type=Path, help="where the weights are made, or lie already")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=640)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU, which proves nothing"
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = make(options.models or Path(folder), options.size)
        print(f"{card}, torch {torch.__version__}; {options.width} x {options.height}, hires x {HIRES:g}, "
              f"{options.steps} steps, cfg {CFG:g}; weights made in {time.perf_counter() - begun:.0f} s", flush=True)
        kit = Kit(options, model)
        for name in options.only:
            for line in PARTS[name](kit):
                print(line, flush=True)
    print(f"\nall of it: {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
