#!/usr/bin/env python3
"""Folders of pictures with the pocket model: rate, memory, and what is left after kills.

    python benchmarks/batch.py rate [--pictures 60] [--commands 4]
    python benchmarks/batch.py memory [--pictures 1000]
    python benchmarks/batch.py kills [--pictures 180]

- rate: `batch` on a folder against a loop of `relight` commands, and against `Session.relight` called in a loop in the
  same process, with nothing read or written. The two of one process take turns in blocks, so that other work on the
  machine falls on both; wall and processor time are told.
- memory: the process's memory while it goes through a folder, one step a picture.
- kills: a folder of which 20 more files are broken in ten ways; the batch is killed with SIGKILL three times and run
  again; then every good picture has to be there once, with the pixels that `relight` gives it.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from batch.folders import fill, results, spoil
from PIL import Image

from lib_iclight.batch import local
from lib_iclight.batch.claims import Claims
from lib_iclight.batch.order import Order
from lib_iclight.batch.recipe import Recipe
from lib_iclight.batch.report import Report, Row, Tally, read_report
from lib_iclight.batch.worker import Worker

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--light", "left", "--device", "cpu"]
BLOCK = 10


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "memory", "kills"))
    parser.add_argument("--pictures", type=int, help="how many (default: 60, 1000, 180)")
    parser.add_argument("--commands", type=int, default=4, help="relight commands that are timed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.what == "rate":
            rate(Path(folder), args.pictures or 60, args.commands)
        elif args.what == "memory":
            memory(Path(folder), args.pictures or 1000)
        else:
            kills(Path(folder), args.pictures or 180)
    return 0


def rate(folder: Path, count: int, commands: int) -> None:
    """Print seconds a picture, and ratios."""
    photos = folder / "photos"
    photos.mkdir()
    names = fill(photos, count)
    order = Order(photos, folder / "out", Recipe({"light": "left"}))
    worker = Worker(order, Claims(order.out))
    report = Report(order.out)
    asked = [worker.asked(name) for name in names]
    worker.session.relight(asked[0].settings, asked[0].generation)  # loads the checkpoint
    walls: dict[str, list[float]] = {"session": [], "batch": []}
    works: dict[str, list[float]] = {"session": [], "batch": []}
    for start in range(0, count, BLOCK):
        block = asked[start:start + BLOCK]

        def by_session(block: list[object] = block) -> None:  # type: ignore[assignment]
            for one in block:
                worker.session.relight(one.settings, one.generation)  # type: ignore[attr-defined]

        def by_batch(block: list[str] = names[start:start + BLOCK]) -> None:
            assert local.run(worker, block, report).made == len(block)

        turns: list[tuple[str, Callable[[], None]]] = [("session", by_session), ("batch", by_batch)]
        for name, work in turns if start // BLOCK % 2 else turns[::-1]:
            worker.session.latents.clear()
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            walls[name].append((time.perf_counter() - wall) / len(block))
            works[name].append((time.process_time() - cpu) / len(block))
    print("| in one process | seconds a picture | processor seconds |\n| --- | --- | --- |")
    for name in walls:
        print(f"| {name} | {statistics.median(walls[name]):.3f} | {statistics.median(works[name]):.3f} |")
    print(f"\nbatch against the session's own rate: {sum(walls['session']) / sum(walls['batch']):.3f} (wall, all), "
          f"{statistics.median(a / b for a, b in zip(walls['session'], walls['batch'], strict=True)):.3f} (median of "
          f"blocks), {sum(works['session']) / sum(works['batch']):.3f} (processor time)\n")
    alone = [_command("relight", str(photos / name), "-o", str(folder / "one.png"), "--seed", "0")
             for name in names[:commands]]
    wall, cpu = _command("batch", str(photos), "-o", str(folder / "again"), "--recursive")
    print(f"a relight command: {statistics.median(one[0] for one in alone):.2f} s (processor "
          f"{statistics.median(one[1] for one in alone):.2f}); a batch command of {count}: {wall:.1f} s (processor "
          f"{cpu:.1f})\nbatch against a loop of commands: "
          f"{statistics.mean(one[0] for one in alone) * count / wall:.1f} times (wall), "
          f"{statistics.mean(one[1] for one in alone) * count / cpu:.1f} times (processor time)")


def memory(folder: Path, count: int) -> None:
    """Print the process's memory as it goes on."""
    photos = folder / "photos"
    photos.mkdir()
    names = fill(photos, count)
    order = Order(photos, folder / "out", Recipe({"light": "left", "steps": 1}))
    told: list[tuple[int, float]] = []

    def listen(tally: Tally, row: Row | None) -> None:
        if tally.done and tally.done % max(1, count // 10) == 0:
            told.append((tally.done, _resident()))

    local.run(Worker(order, Claims(order.out)), names, Report(order.out), listen=listen)
    print("| pictures | resident MiB |\n| --- | --- |")
    for done, size in told:
        print(f"| {done} | {size:.0f} |")
    early = max(size for done, size in told[:3])
    late = max(size for done, size in told[3:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nhighest {early:.0f} MiB up to picture {told[2][0]}, {late:.0f} MiB after it; peak {peak:.0f} MiB")


def kills(folder: Path, count: int) -> None:
    """Kill a batch three times, run it to its end, and look at what there is."""
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    good, bad = fill(photos, count), spoil(photos, 2)
    words = [sys.executable, "-m", "lib_iclight", "batch", str(photos), "-o", str(out), "--recursive", *FLAGS,
             "--steps", "2"]
    for share in (0.2, 0.45, 0.7):
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not (out / "report.jsonl").exists() or (out / "report.jsonl").read_bytes().count(b"\n") < share * count:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed with {len([name for name in results(out) if '.part' not in name])} results there", flush=True)
    code = subprocess.run(words, cwd=ROOT, stderr=subprocess.DEVNULL, check=False).returncode
    rows = list(read_report(out / "report.jsonl"))
    last = {row["input"]: row for row in rows}
    made = [row["key"] for row in rows if row["state"] == "made"]
    parts = [name for name in results(out) if ".part" in name]
    assert code == 3 and set(last) == {*good, *bad}
    assert sorted(last[name]["output"] for name in good) == results(out), "each once, nothing else"
    assert len(made) == len(set(made)) and not parts
    for name in good[::max(1, count // 5)]:
        subprocess.run([sys.executable, "-m", "lib_iclight", "relight", str(photos / name), "-o",
                        str(folder / "one.png"), "--seed", "0", *FLAGS, "--steps", "2"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with Image.open(folder / "one.png") as alone, Image.open(out / last[name]["output"]) as one:
            assert alone.tobytes() == one.tobytes(), name
    print(f"{len(good)} good pictures once each, {len(bad)} broken ones told, exit code {code}, "
          f"{len([row for row in rows if row['state'] == 'there'])} lines `there`, no .part")


def _command(*words: str) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "lib_iclight", *words, *FLAGS], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.perf_counter() - start,
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _resident() -> float:
    """MiB of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
