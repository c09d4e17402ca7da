"""A disk that is full in the middle of a job: a named error, nothing half-written, and the next job works.

The disk is a real one, filled, where this process may make one (Linux's user namespaces); elsewhere what flushes files
to it refuses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--width", "64", "--height", "64", "--steps", "1", "--seed", "5", "--device", "cpu", "--light", "left"]
MOUNT = 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"'
DRIVE = """
import contextlib, errno, io, json, os, sys
from pathlib import Path
from lib_iclight import cli

disk, real, words, room = Path(sys.argv[1]), sys.argv[2] == "real", json.loads(sys.argv[3]), int(sys.argv[4])
ballast, flush = disk / "ballast", os.fsync

def flush_or_refuse(file):
    if sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) > room:
        raise OSError(errno.ENOSPC, "No space left on device")
    flush(file)

def fill():
    if not real:
        os.fsync = flush_or_refuse
        return
    with contextlib.suppress(OSError), ballast.open("wb", 0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, max(0, ballast.stat().st_size - room))

def free():
    os.fsync = flush
    ballast.unlink(missing_ok=True)

def run():
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(words)
    files = {path.relative_to(disk).as_posix(): path.read_bytes().hex() for path in sorted(disk.rglob("*"))
             if path.is_file() and path != ballast}
    return [code, told.getvalue(), files]

fill()
full = run()
free()
print(json.dumps([full, run()]))
"""


class Run(NamedTuple):
    """What a command came to."""

    code: int
    told: str
    files: dict[str, str]
    """on the disk: hex by name"""


def can_mount(folder: Path) -> bool:
    """Whether a small disk can be made at the folder, for one process."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-Urm", "sh", "-c", MOUNT, "sh", str(folder), "true"], capture_output=True,
                          check=False).returncode == 0


def twice(tmp_path: Path, room: int, *words: str) -> tuple[Run, Run]:
    """The command while its disk has so many bytes left, and again when there is room."""
    disk = tmp_path / "disk"
    real = can_mount(disk)
    drive = [sys.executable, "-c", DRIVE, str(disk), "real" if real else "like", json.dumps(words), str(room)]
    if real:
        drive = ["unshare", "-Urm", "sh", "-c", MOUNT, "sh", str(disk), *drive]
    done = subprocess.run(drive, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "elsewhere"),
                               "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    full, after = json.loads(done.stdout)
    return Run(*full), Run(*after)


@pytest.fixture(autouse=True)
def places(tmp_path: Path) -> None:
    """A photo, a folder of three, the disk and another one for what is saved elsewhere."""
    for name in ("disk", "elsewhere", "photos"):
        (tmp_path / name).mkdir()
    for number, path in enumerate([tmp_path / "photo.png", *(tmp_path / "photos" / f"{n}.png" for n in range(3))]):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 40, 4), np.uint8)
        Image.fromarray(pixels).save(path)


def check_named(run: Run, kind: str) -> None:
    """It ended in one error of that name, about the disk, and left nothing half-written."""
    assert run.code == 2, run.told
    error = [line for line in run.told.strip().splitlines() if not line.startswith(("warning", "note"))][-1]
    assert kind in error and "Traceback" not in run.told
    assert "No space left" in error
    check_whole(run)


def check_whole(run: Run) -> None:
    """Every file is whole, and none is left of the writing."""
    assert not [name for name in run.files if ".part" in name or ".lock" in name]
    for name, data in run.files.items():
        if name.endswith(".png"):
            assert data.endswith(b"IEND".hex() + "ae426082"), name
        elif name.endswith(".json"):
            json.loads(bytes.fromhex(data))


def test_relight(tmp_path: Path) -> None:
    full, after = twice(tmp_path, 2048, "relight", str(tmp_path / "photo.png"), "-o",
                        str(tmp_path / "disk" / "out.png"), *QUICK)
    check_named(full, "ImageError")
    assert full.files == {}
    (saved,) = (tmp_path / "elsewhere").glob("*/out.png")
    assert f"saved as {saved}" in full.told
    assert after.code == 0 and list(after.files) == ["out.png"]


@pytest.mark.parametrize("batch", ["1", "2"])
def test_stage(tmp_path: Path, batch: str) -> None:
    """What was made before stays, and the next run goes on with it."""
    full, after = twice(tmp_path, 20_480, "stage", str(tmp_path / "photo.png"), "-o", str(tmp_path / "disk" / "set"),
                        *QUICK[:-2], "--rig", "4", "--cfg", "1", "--batch", batch)
    check_named(full, "StageError")
    assert after.code == 0, after.told
    check_whole(after)
    made = [name for name in full.files if name.endswith(".png")]
    assert len(made) < 5 * int(batch) and {name: after.files[name] for name in made} == {
        name: full.files[name] for name in made}
    assert sum(name.endswith(("left.png", "right.png", "top.png", "bottom.png", "ambient.png"))
               for name in after.files) == 5 * int(batch)


@pytest.mark.parametrize("stage", [[], ["--mode", "fbc", "--cfg", "1", "--stage", "4"]], ids=["pictures", "stages"])
def test_batch(tmp_path: Path, stage: list[str]) -> None:
    """It ends: every other picture would be made in vain. The next run makes what is missing."""
    full, after = twice(tmp_path, 20_480 if stage else 12_288, "batch", str(tmp_path / "photos"), "-o",
                        str(tmp_path / "disk" / "out"), *QUICK, *stage)
    check_named(full, "BatchError")
    assert after.code == 0, after.told
    check_whole(after)
    told = [json.loads(line) for line in bytes.fromhex(after.files["out/report.jsonl"]).splitlines()]
    assert sorted({row["input"] for row in told if row["state"] == "made"}) == ["0.png", "1.png", "2.png"]
    assert not [row for row in told if row["state"] == "failed"]
