#!/usr/bin/env python3
"""What many machines make of many pictures, with dummies in a relight's place.

    python benchmarks/scale.py simulate [--pictures 100000] [--workers 64] [--seconds 2.0]
    python benchmarks/scale.py run [--pictures 5000] [--workers 4] [--kills 6]

- simulate: virtual time. Workers take blocks of pictures, as `batch --ray` gives them out, or fixed shards, as
  `--shard` does. A share of the workers is slow, every picture may take several times as long as usual, and workers are
  killed at a rate: what one was at is made again, by another (blocks) or by itself once it is started anew (shards).
- run: the real thing but for the relight: processes share a folder, read, hash, claim, write and report as `batch`
  does, and are killed and started anew at random. Afterwards every picture is there once.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

RESTART = 60.0
"""seconds until a worker that was killed is there again, with its checkpoint loaded"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulate", "run", "worker"))
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relight")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "simulate":
        simulate(args.pictures or 100_000, args.workers or 64, args.seconds, args.seed)
    elif args.what == "worker":
        worker(args.folder)
    else:
        run(args.pictures or 5000, args.workers or 4, args.kills, args.seed)
    return 0


def simulate(pictures: int, workers: int, seconds: float, seed: int) -> None:
    """Print how long it takes, in parts of what it would take without any loss."""
    ideal = pictures * seconds / workers
    print(f"{pictures} pictures of {seconds:g} s, {workers} workers: {ideal / 3600:.2f} h without any loss\n\n"
          "| who gives out | slow workers (half as fast) | stragglers (10 times as long) | a worker is killed every | "
          "takes | made twice |\n| --- | --- | --- | --- | --- | --- |")
    for slow, stragglers, life in ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 3600.0),
                                   (0.1, 0.01, 3600.0)):
        for name, block in (("shards", 0), ("blocks of 8", 8), ("blocks of 256", 256)):
            took, twice = _simulated(pictures, workers, seconds, slow, stragglers, life, block, random.Random(seed))
            print(f"| {name} | {slow:.0%} | {stragglers:.0%} | {f'{life / 3600:g} h' if life else 'never'} | "
                  f"{took / ideal:.3f} | {twice / pictures:.3%} |")


def _simulated(pictures: int, workers: int, seconds: float, slow: float, stragglers: float, life: float, block: int,
               chance: random.Random) -> tuple[float, int]:
    """(seconds until all is done, pictures that were made in vain). life: mean seconds until a worker is killed."""
    speed = [2.0 if number < slow * workers else 1.0 for number in range(workers)]
    chance.shuffle(speed)
    dies = [chance.expovariate(1 / life) if life else float("inf") for _ in range(workers)]
    shares = [len(range(number, pictures, workers)) for number in range(workers)]
    left, again, twice, end = (0 if not block else pictures), 0, 0, 0.0
    free = [(0.0, number) for number in range(workers)]
    while free:
        now, number = heapq.heappop(free)
        if block:
            todo = min(block, left)
            left -= todo
        else:
            todo, shares[number] = min(8, shares[number]), shares[number] - min(8, shares[number])
        if not todo:
            continue
        for done in range(todo):
            takes = seconds * speed[number] * (10.0 if chance.random() < stragglers else 1.0)
            if now + takes > dies[number]:  # the picture in work is lost, what was written is there
                twice += 1
                again += 1
                if block:
                    left += todo - done
                else:
                    shares[number] += todo - done
                now = dies[number] + RESTART
                dies[number] = now + chance.expovariate(1 / life)
                break
            now += takes
        end = max(end, now)
        heapq.heappush(free, (now, number))
    return end, twice


def run(pictures: int, workers: int, kills: int, seed: int) -> None:
    """Share a folder between processes, kill some, and look at what there is."""
    from batch.folders import results

    from lib_iclight.batch.report import read_report

    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        start = time.perf_counter()
        _fill(folder / "photos", pictures)
        print(f"{pictures} pictures written in {time.perf_counter() - start:.1f} s", flush=True)
        words = [sys.executable, __file__, "worker", str(folder)]
        start = time.perf_counter()
        processes = [subprocess.Popen(words) for _ in range(workers)]
        killed = 0
        report = folder / "out" / "report.jsonl"
        while any(process.poll() is None for process in processes):
            done = report.read_bytes().count(b"\n") if report.exists() else 0
            if killed < kills and done > (killed + 1) * pictures / (kills + 1):
                number = chance.randrange(workers)
                processes[number].send_signal(signal.SIGKILL)
                processes[number].wait()
                processes[number] = subprocess.Popen(words)
                killed += 1
            time.sleep(0.2)
        took = time.perf_counter() - start
        rows = list(read_report(report))
        outputs = results(folder / "out")
        keys = [row["key"] for row in rows if row["state"] == "made"]
        assert len(outputs) == pictures and not [name for name in outputs if ".part" in name]
        assert len({row["input"] for row in rows}) == pictures
        print(f"{workers} workers, {killed} killed: {took:.1f} s, {1000 * workers * took / pictures:.2f} ms of a "
              f"worker for each picture beside its relight; made twice: "
              f"{len(keys) - len(set(keys))}; report: {len(rows)} lines")
        start = time.perf_counter()
        subprocess.run(words, check=True)
        print(f"run again, nothing to do: {time.perf_counter() - start:.1f} s")


def worker(folder: Path) -> None:
    """One process at a folder, with a dummy in the session's place."""
    from PIL import Image

    from lib_iclight.batch import listing, local
    from lib_iclight.batch.claims import Claims
    from lib_iclight.batch.order import Order
    from lib_iclight.batch.recipe import Recipe
    from lib_iclight.batch.report import Report
    from lib_iclight.batch.worker import Worker
    from lib_iclight.generation import suited
    from lib_iclight.made import Finished, Relighting

    picture = Image.new("RGB", (16, 16), "orange")
    dummy: Any = SimpleNamespace(
        suited=suited, offsets=lambda settings, progress: SimpleNamespace(name="dummy"), job=lambda *args: args,
        relight=lambda *args, **more: Relighting((Finished("result", 1, picture, "Steps: 1"),), ()))
    order = Order(folder / "photos", folder / "out", Recipe({"light": "left"}))
    names = list(listing.pictures(order.source, order.out, recursive=True).names)
    turn = os.getpid() % len(names)  # each begins elsewhere, so that they seldom meet
    made, start = Worker(order, Claims(order.out), dummy), time.process_time()
    tally = local.run(made, names[turn:] + names[:turn], Report(order.out))
    took = 1000 * (time.process_time() - start) / len(names)
    print(f"a worker: {tally.sentence()}; {took:.2f} ms of processor for each picture", flush=True)


def _fill(folder: Path, count: int) -> None:
    """Small pictures of different colours, a thousand to a folder."""
    from PIL import Image

    for number in range(count):
        path = folder / f"{number // 1000:04}" / f"{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, number // 65536 % 256)).save(path)


if __name__ == "__main__":
    sys.exit(main())
