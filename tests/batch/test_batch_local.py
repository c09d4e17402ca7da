"""`batch` in this process and in several: what is made, and what is left by deaths, stops and neighbours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.batch import local
from lib_iclight.batch.claims import Claims
from lib_iclight.batch.order import Order
from lib_iclight.batch.recipe import Recipe
from lib_iclight.batch.report import Report, Row, Tally, read_report
from lib_iclight.batch.worker import Worker
from lib_iclight.cli.batch import Bar
from lib_iclight.imaging import read_text
from lib_iclight.imaging.save import part_of
from lib_iclight.infotext import read
from lib_iclight.session import Session
from lib_iclight.stage import load

from .folders import BREAK, QUICK, fill, last, picture, results, spoil

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_thread", "offline")


def batch(photos: Path, out: Path, *flags: str) -> int:
    return cli.main(["batch", str(photos), "-o", str(out), "--recursive", *QUICK, *flags])


def command(photos: Path, out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "lib_iclight", "batch", str(photos), "-o", str(out), "--recursive", *QUICK, *flags]


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(path: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Until the file has so many lines."""
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def check_alone(photos: Path, out: Path, name: str, tmp_path: Path) -> None:
    """The result of that name is what `relight` makes of it: the same pixels, and the same infotext but for the key."""
    alone = tmp_path / "alone.png"
    assert cli.main(["relight", str(photos / name), "-o", str(alone), "--seed", "0", *QUICK]) == 0
    row = last(out)[name]
    with Image.open(out / row["output"]) as made, Image.open(alone) as single:
        assert (made.mode, made.size, made.tobytes()) == (single.mode, single.size, single.tobytes())
    values = read(read_text(out / row["output"]))
    assert values.pop("IC-Light batch") == row["key"]
    assert values == read(read_text(alone))


def test_a_folder_with_broken_files(photos: Path, out: Path, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = fill(photos, 6), spoil(photos / "bad")
    (photos / "notes.txt").write_text("no picture", encoding="ascii")
    assert batch(photos, out) == 3
    said = capsys.readouterr()
    assert "6 made, 10 failed" in said.out and "1 file without a picture's ending" in said.err
    assert all(f"failed: bad/{name}: " in said.err for name in bad)
    assert "this is the pocket model" in said.err and "pocket" not in said.out
    rows = last(out)
    assert set(rows) == {*good, *(f"bad/{name}" for name in bad)}
    assert all(rows[name]["state"] == "made" and rows[name]["seconds"] > 0 for name in good)
    for name in bad:
        row = rows[f"bad/{name}"]
        assert row["state"] == "failed" and row["output"] is None and row["sentence"].endswith("."), row
    assert len({rows[f"bad/{name}"]["sentence"] for name in bad}) >= len(BREAK) - 2, "they say what is wrong"
    assert results(out) == sorted(rows[name]["output"] for name in good)
    for name in good[:1] + good[4:5]:
        check_alone(photos, out, name, tmp_path)


def test_a_second_run_does_what_is_missing_or_changed(photos: Path, out: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    names = fill(photos, 4)
    assert batch(photos, out) == 0
    first = {path: (out / path).stat().st_mtime_ns for path in results(out)}
    rows = last(out)
    (out / rows[names[1]]["output"]).unlink()
    picture(99).save(photos / names[2])
    fill(photos, 1, start=7)
    capsys.readouterr()
    assert batch(photos, out) == 0
    assert "3 made, 2 there already;" in capsys.readouterr().out
    second = {path: (out / path).stat().st_mtime_ns for path in results(out)}
    assert set(second) - set(first) == {last(out)[names[2]]["output"], last(out)["photo-007.png"]["output"]}
    assert {path for path in first if second[path] == first[path]} == {
        rows[name]["output"] for name in (names[0], names[2], names[3])}
    assert len((out / "report.jsonl").read_text().splitlines()) == 4 + 3, "what is there is not told again"
    assert batch(photos, out, "--seed", "5") == 0, "other settings are other pictures, beside the first"
    assert len(results(out)) == len(second) + 5


def test_kill_loses_at_most_the_picture_in_work(photos: Path, out: Path, tmp_path: Path) -> None:
    good, bad = fill(photos, 24), spoil(photos)
    for lines in (4, 9, 15):
        process = start(command(photos, out))
        wait_for(out / "report.jsonl", lines, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = results(out)
        assert len(before) >= lines and not [name for name in before if ".part" in name and (out / name).stat().st_size
                                             and not name.rpartition("/")[2].startswith(".")]
        for name in before:
            if ".part" not in name:
                Image.open(out / name).load()
    assert batch(photos, out) == 3
    rows = last(out)
    assert set(rows) == {*good, *bad}
    assert sorted(rows[name]["output"] for name in good) == results(out), "each once, and no .part left"
    made = [row["key"] for row in read_report(out / "report.jsonl") if row["state"] == "made"]
    assert len(made) == len(set(made)), "none was made twice"
    for name in good[:2]:
        check_alone(photos, out, name, tmp_path)


@pytest.mark.parametrize("stage", [[], ["--mode", "fbc", "--cfg", "1", "--stage", "4"]], ids=["picture", "stage"])
def test_what_a_killed_process_left_is_cleared_away(photos: Path, out: Path, stage: list[str]) -> None:
    name, = fill(photos, 1)
    assert batch(photos, out, *stage) == 0
    made = out / last(out)[name]["output"]
    missing = made / "batch.json" if stage else made
    missing.unlink()
    whole = results(out)
    for folder in {out, missing.parent}:
        (folder / ".0123456789ab.part").write_bytes(b"half of a picture")
    with part_of(out / "other.png") as alive:
        assert batch(photos, out, *stage) == 0
        assert results(out) == sorted({*whole, missing.relative_to(out).as_posix(), alive.name}), "and no other's"


def test_interrupted_it_ends_after_the_picture_in_work(photos: Path, out: Path) -> None:
    fill(photos, 30)
    process = start(command(photos, out))
    wait_for(out / "report.jsonl", 3, process)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=900)
    assert process.returncode == 130, errors
    assert "ends after the picture in work" in errors and " left; " in said and "Traceback" not in errors
    rows = last(out)
    assert 3 <= len(rows) < 30 and sorted(row["output"] for row in rows.values()) == results(out)


@pytest.mark.parametrize("flags", [([], []), (["--shard", "1/2"], ["--shard", "2/2"])], ids=["same", "shards"])
def test_two_processes_on_one_folder(photos: Path, out: Path, flags: tuple[list[str], list[str]]) -> None:
    good, bad = fill(photos, 24), spoil(photos)
    processes = [start(command(photos, out, *more)) for more in flags]
    for process in processes:
        _, errors = process.communicate(timeout=1800)
        assert process.returncode == 3, errors
    rows = last(out)
    assert set(rows) == {*good, *bad}
    assert sorted(rows[name]["output"] for name in good) == results(out)
    made = [row["key"] for path in out.glob("report*.jsonl") for row in read_report(path) if row["state"] == "made"]
    assert sorted(made) == sorted(rows[name]["key"] for name in good), "no picture twice, none lost"


def test_a_stage_for_each_picture_goes_on_where_it_was(photos: Path, out: Path) -> None:
    names = fill(photos, 2)
    assert batch(photos, out, "--mode", "fbc", "--cfg", "1", "--stage", "4", "--outputs", "mask,normals") == 0
    folders = [out / last(out)[name]["output"] for name in names]
    assert [stage.names for stage in map(load, folders)] == [("left", "right", "bottom", "top", "ambient")] * 2
    assert {"batch.json", "mask.png", "normals.png"} <= {path.name for path in folders[0].iterdir()}
    before = {path: path.stat().st_mtime_ns for path in folders[0].glob("*.png")}
    (folders[0] / "top.png").unlink()
    assert batch(photos, out, "--mode", "fbc", "--cfg", "1", "--stage", "4", "--outputs", "mask,normals") == 0
    after = {path: path.stat().st_mtime_ns for path in folders[0].glob("*.png")}
    assert after.keys() == before.keys()
    assert after[folders[0] / "left.png"] == before[folders[0] / "left.png"], "only what is missing"


def test_several_pictures_and_extras_of_each(photos: Path, out: Path) -> None:
    name, = fill(photos, 1)
    flags = ["--batch", "2", "--outputs", "cutout,raw,lightmap", "--format", "jpg"]
    assert batch(photos, out, *flags) == 0
    stem = last(out)[name]["output"].removesuffix("-1.jpg")
    assert results(out) == sorted(f"{stem}-{rest}" for rest in (
        "1.jpg", "2.jpg", "1-raw.jpg", "2-raw.jpg", "cutout.png", "lightmap.jpg"))
    (out / f"{stem}-cutout.png").unlink()
    assert batch(photos, out, *flags) == 0
    assert len(results(out)) == 6, "a picture is done when all that it becomes is there"


def test_settings_rules_and_flags(photos: Path, out: Path, tmp_path: Path) -> None:
    names = fill(photos, 3)
    (tmp_path / "s.json").write_text(json.dumps({"light": "top", "prompt": "a vase", "steps": 2}), encoding="utf-8")
    (tmp_path / "r.csv").write_text(f"file,light,seed\n{names[1]},right,9\n", encoding="utf-8")
    assert cli.main(["batch", str(photos), "-o", str(out), "--settings", str(tmp_path / "s.json"), "--rules",
                     str(tmp_path / "r.csv"), "--steps", "1", "--width", "64", "--height", "64"]) == 0
    told = [read(read_text(out / last(out)[name]["output"])) for name in names]
    assert [(one["IC-Light light"], one["Seed"]) for one in told] == [("top", "0"), ("right", "9"), ("top", "0")]
    assert {(one["Prompt"], one["Steps"]) for one in told} == {("a vase", "1")}, "a flag that is given counts"


def test_a_seed_for_each_file(photos: Path, out: Path) -> None:
    fill(photos, 2)
    assert batch(photos, out, "--seed-per-file") == 0
    seeds = {name: read(read_text(out / row["output"]))["Seed"] for name, row in last(out).items()}
    assert len(set(seeds.values())) == 2
    fill(photos, 2, start=2)
    assert batch(photos, out, "--seed-per-file") == 0
    assert {name: read(read_text(out / row["output"]))["Seed"] for name, row in last(out).items()}.items() >= \
        seeds.items()


@pytest.mark.parametrize(("flags", "told"), [
    (["--seed", "-1"], "a seed that it can be gone on with"), (["--shard", "3/2"], "such as 1/4"),
    (["--light", "lefd"], "lefd"), (["--mode", "fbc", "--light", "none"], "there is none"),
    (["--format", "exr"], "not written as .exr"), (["--pattern", "*.cr2"], "no picture in"),
    (["--payload", "x.json"], "--payload is for --webui"), (["--actors", "2"], "--actors is for --ray"),
    (["--webui", "http://127.0.0.1:9", "--ray", "local"], "two ways"),
    (["--webui", "http://127.0.0.1:9"], "--device is for relighting here"),
    (["--checkpoint", "none.safetensors"], "no checkpoint none"), (["--settings", "none.json"], "cannot be read"),
    (["--mask", "none.png"], "cannot be read"), (["--stage", "5"], "stage must be one of")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_line_and_no_file(photos: Path, out: Path, capsys: pytest.CaptureFixture[str],
                                           flags: list[str], told: str) -> None:
    fill(photos, 1)
    assert batch(photos, out, *flags) == 2
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if "is given twice" not in line]
    assert len(lines) == 1 and told in lines[0]
    assert not out.exists() or results(out) == []


def test_a_file_in_the_folders_place_is_named(photos: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(photos, 1)
    out.write_text("mine", encoding="ascii")
    assert batch(photos, out) == 2
    assert f"{out} is a file, and -o is the folder" in capsys.readouterr().err
    assert out.read_text(encoding="ascii") == "mine"


def test_a_full_disk_ends_the_batch(photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    names = fill(photos, 3)
    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr("lib_iclight.batch.worker.write_whole", full)
    assert batch(photos, out) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(last(out)) == names[:1] and len(results(out)) == 1
    monkeypatch.undo()
    assert batch(photos, out) == 0 and len(results(out)) == 3


# --- the runner by itself -----------------------------------------------------------------------------------------


class Slow(Session):
    """Notes what runs in which thread, and when."""

    def __init__(self) -> None:
        opened = Session.open(device="cpu")
        self.__dict__.update(opened.__dict__)
        self.events: list[tuple[str, str]] = []
        self.sampling = threading.Event()

    def job(self, *args: Any, **kwargs: Any) -> Any:
        made = super().job(*args, **kwargs)
        if self.events:  # on a busy machine the next ones may be made before the first begins to be sampled
            self.sampling.wait(300)
        self.events.append(("job", threading.current_thread().name))
        return made

    def relight(self, *args: Any, **kwargs: Any) -> Any:
        assert kwargs["job"] is not None
        self.events.append(("relight", threading.current_thread().name))
        self.sampling.set()
        if len([one for one, _ in self.events if one == "relight"]) == 1:
            until = time.monotonic() + 300
            while sum(one == "job" for one, _ in self.events) < 1 + local.AHEAD and time.monotonic() < until:
                time.sleep(0.01)
        return super().relight(*args, **kwargs)


def order(photos: Path, out: Path) -> Order:
    return Order(photos, out, Recipe({"width": 64, "height": 64, "steps": 1, "light": "left"}))


def test_cut_outs_are_made_while_another_picture_is_sampled(photos: Path, out: Path) -> None:
    names = fill(photos, 5)
    session = Slow()
    worker = Worker(order(photos, out), Claims(out), session)
    tally = local.run(worker, names, Report(out))
    assert (tally.made, tally.failed) == (5, 0)
    first = [one for one, _ in session.events].index("relight")
    jobs = [one for one, _ in session.events[first + 1:]][:local.AHEAD]
    assert jobs == ["job"] * local.AHEAD, "two are ready before the first is sampled"
    assert {thread for one, thread in session.events if one == "job"} == {"batch-ahead"}
    assert {thread for one, thread in session.events if one == "relight"} == {threading.current_thread().name}


def test_a_stop_gives_claims_back_and_the_listener_hears_all(photos: Path, out: Path) -> None:
    names = fill(photos, 6)
    claims, stop, heard = Claims(out), threading.Event(), []

    def listen(tally: Tally, row: Row | None) -> None:
        heard.append((tally.done, tally.total, row.input if row else None))
        if tally.done == 2:
            stop.set()

    tally = local.run(Worker(order(photos, out), claims), names, Report(out), stop=stop, listen=listen)
    assert heard == [(0, 6, None), (1, 6, names[0]), (2, 6, names[1])]
    assert tally.sentence() == "2 made, 4 left" and not claims._held


def test_what_fails_in_a_strange_way_is_told_by_its_kind(photos: Path, out: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(photos, 2)
    session = Session.open(device="cpu")
    monkeypatch.setattr(session, "relight", lambda *args, **kwargs: np.zeros(3)[5])
    tally = local.run(Worker(order(photos, out), Claims(out), session), names, Report(out))
    assert (tally.made, tally.failed) == (0, 2)
    assert all(row["sentence"].startswith("IndexError: ") for row in last(out).values())


def test_the_bar_counts_what_was_there_yet_not_in_its_rate(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    totals = []
    for there, made in ((1, 0), (2, 0), (2, 1)):
        bar.listen(Tally(4, made=made, there=there), None)
        shown = bar._shown()
        totals.append((shown.n, shown.total))
    assert totals == [(1, 4), (2, 4), (3, 4)]
    told = shown.format_dict
    assert told["rate"] is None and told["n"] - told["initial"] == 1
    bar.close()
    assert "there=2" in capsys.readouterr().err
