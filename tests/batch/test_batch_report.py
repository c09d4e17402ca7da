"""What became of each picture, and who works on which: across processes and their deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib_iclight.batch.claims import FILE, Claims
from lib_iclight.batch.plan import Shard
from lib_iclight.batch.report import FAILED, MADE, THERE, Report, Row, Tally, read_report
from lib_iclight.errors import BatchError

KEYS = [f"{number:032x}" for number in (2**120, 2**125, 2**127)]
HOLD = """
import sys
from pathlib import Path
from lib_iclight.batch.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(*(claims.claim(key) for key in sys.argv[2:]), flush=True)
sys.stdin.read()
"""


def holder(folder: Path, *keys: str) -> subprocess.Popen[str]:
    """Another process that claims the keys, once it has them."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *keys], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["True"] * len(keys)
    return process


def test_a_claim_keeps_others_away_until_its_process_dies(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    process = holder(tmp_path, *KEYS[:2])
    try:
        assert [claims.claim(key) for key in KEYS] == [False, False, True]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [claims.claim(key) for key in KEYS] == [True, True, True]
    claims.release(KEYS[0])
    again = holder(tmp_path, KEYS[0])
    assert not claims.claim(KEYS[0])
    again.communicate()
    claims.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "nothing is left of a claim"


def test_claims_of_one_place_are_given_back_one_by_one(tmp_path: Path) -> None:
    alike = [f"{1:07x}{tail * 25}" for tail in "ab"]
    claims = Claims(tmp_path)
    assert all(claims.claim(key) for key in alike)
    claims.release(alike[0])
    claims.release("f" * 32)
    process = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path), alike[0]], input="", text=True,
                             capture_output=True, check=True)
    assert process.stdout.split() == ["False"]
    claims.close()


def test_a_disk_without_locks_grants_all_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("lib_iclight.batch.claims._lock", none)
    claims = Claims(tmp_path)
    assert claims.claim(KEYS[0]) and not claims.locks
    claims.release(KEYS[0])


def test_rows_are_lines_that_other_programs_read(tmp_path: Path) -> None:
    report = Report(tmp_path / "new")
    report.add(Row("a.png", MADE, "a-0.png", 1.5, None, KEYS[0], ("Watch out.",)))
    report.add(Row(os.fsdecode(b"\xff.png"), FAILED, sentence="the picture is damaged."))
    report.close()
    lines = (tmp_path / "new" / "report.jsonl").read_text("ascii").splitlines()
    assert json.loads(lines[0]) == {"input": "a.png", "output": "a-0.png", "seconds": 1.5, "sentence": None,
                                    "state": "made", "key": KEYS[0], "warnings": ["Watch out."]}
    assert json.loads(lines[1]) == {"input": "\udcff.png", "output": None, "seconds": None, "state": "failed",
                                    "sentence": "the picture is damaged."}


def test_a_picture_that_is_there_is_told_once(tmp_path: Path) -> None:
    first, second = Report(tmp_path), Report(tmp_path)
    first.add(Row("a.png", MADE, "a-0.png", 1.0, key=KEYS[0]))
    for report in (second, first, second):
        report.add(Row("a.png", THERE, "a-0.png", key=KEYS[0]))
        report.add(Row("b.png", THERE, "b-0.png", key=KEYS[1]))
    third = Report(tmp_path)
    third.add(Row("b.png", THERE, "b-0.png", key=KEYS[1]))
    assert [(row["input"], row["state"]) for row in read_report(third.path)] == [("a.png", MADE), ("b.png", THERE)]


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "report.jsonl").write_bytes(b'{"input": "a.png", "state": "made", "key": "00\n[1]\n{"inp')
    report = Report(tmp_path)
    report.add(Row("b.png", MADE, "b-0.png", 1.0, key=KEYS[0]))
    assert [row["input"] for row in read_report(report.path)] == ["b.png"]


def test_a_shard_has_its_own_report(tmp_path: Path) -> None:
    assert Report(tmp_path, Shard(2, 3)).path.name == "report-2-of-3.jsonl"
    assert Report(tmp_path, Shard()).path.name == "report.jsonl"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for kind in (Report, Claims):
        with pytest.raises(BatchError, match="another output folder"):
            kind(tmp_path / "file")


def test_the_sentence_in_the_end() -> None:
    tally = Tally(10)
    assert tally.sentence() == "0 made, 10 left"
    for state in (MADE, MADE, THERE, FAILED):
        tally.count(Row("a.png", state, warnings=("Watch out.",)))
    assert tally.sentence() == "2 made, 1 there already, 1 failed, 6 left"
    assert (tally.done, tally.warned) == (4, {"Watch out."})
