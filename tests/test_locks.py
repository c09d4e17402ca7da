"""Lock files: one holder at a time, in whatever thread or process, and none that a dead one keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib_iclight import locks

ROOT = Path(__file__).resolve().parent.parent
HOLD = "import sys, pathlib; from lib_iclight import locks; held = locks.claim(pathlib.Path(sys.argv[1])); " \
       "print(held is not None, flush=True); sys.stdin.read()"


def test_one_holds_it_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    held = locks.claim(path)
    assert held is not None and locks.claim(path) is None
    locks.release(held, path)
    assert not path.exists()
    again = locks.claim(path)
    assert again is not None
    locks.release(again, path)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        assert locks.claim(path) is None
        other.kill()
        other.wait()
        assert path.exists(), "it had no time to remove it"
        held = locks.claim(path)
        assert held is not None
        locks.release(held, path)
    assert not path.exists()


def test_a_lock_that_was_put_in_its_place_stays(tmp_path: Path) -> None:
    """A holder whose file somebody has removed meanwhile does not remove the next holder's."""
    path = tmp_path / "a.lock"
    first = locks.claim(path)
    path.unlink()
    second = locks.claim(path)
    assert first is not None and second is not None
    locks.release(first, path)
    assert path.exists() and locks.claim(path) is None
    locks.release(second, path)
