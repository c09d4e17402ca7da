"""run.py hands over to each command's own program."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from live.server import ON_THE_CPU  # a module that imports nothing but the standard library

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """run.py, which installs nothing and notes in `started` what it would start."""
    spec = importlib.util.spec_from_file_location("iclight_run", ROOT / "run.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    started: Any = []
    module.started = started
    monkeypatch.setattr(module, "set_up", lambda requirements: Path(f"python-with-{requirements}"))
    monkeypatch.setattr(module, "_run", lambda *command: started.append(command) or 0)
    return module


@pytest.mark.parametrize(("line", "started"), [
    ("live --host neo-2025 --dir DIR -k parity -x", "dev -m tests.live --host neo-2025 --dir DIR -k parity -x"),
    ("live --help", "dev -m tests.live --help"),
    ("studio --port 7 --help", "studio -m lib_iclight.studio --port 7 --help"),
    ("demo --out DIR", "base -m lib_iclight.demo --out DIR"),
    ("doctor --checkpoint FILE --help", "base -m lib_iclight doctor --checkpoint FILE --help"),
])
def test_arguments_reach_the_program(run: Any, monkeypatch: pytest.MonkeyPatch, line: str, started: str) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *line.split()])
    assert run.main() == 0
    requirements, *command = started.split()
    assert [(str(python), *rest) for python, *rest in run.started] == [
        (f"python-with-{requirements}.txt", *command)]


@pytest.mark.parametrize(("given", "mkdocs"), [("", ["serve"]), ("build --strict", ["build", "--strict"])])
def test_the_manual_is_written_before_it_is_built(run: Any, monkeypatch: pytest.MonkeyPatch, given: str,
                                                  mkdocs: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "docs", *given.split()])
    assert run.main() == 0
    assert [list(rest) for _, *rest in run.started] == [["-m", "docs.generate"], ["-m", "mkdocs", *mkdocs]]


@pytest.mark.parametrize("arguments", ["", "tests/test_run.py -q"])
def test_the_tests_come_last_after_the_browser(run: Any, monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    """pytest's closing line is the last there is. Arguments are pytest's, and then it is all that is run."""
    monkeypatch.setattr(sys, "argv", ["run.py", "test", *arguments.split()])
    assert run.main() == 0
    *checks, browser, tests = [[str(part) for part in command] for command in run.started]
    assert tests == ["python-with-dev.txt", "-m", "pytest",
                     *(arguments.split() or ["-n", "auto", "--dist", "loadfile"])]
    assert browser == ["python-with-dev.txt", str(ROOT / "tests" / "browser" / "chromium.py")]
    assert [Path(check[0]).stem for check in checks] == ([] if arguments else ["ruff", "mypy", "oxlint"])


def test_a_failed_check_is_named_and_ends_it(run: Any, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "test"])
    monkeypatch.setattr(run, "_run", lambda program, *arguments: int("oxlint" in program.name))
    assert run.main() == 1
    assert "oxlint failed" in capsys.readouterr().err


def test_the_live_cases_know_every_host_they_have_flags_for() -> None:
    said = subprocess.run([sys.executable, "-m", "tests.live", "--help"], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout
    assert "{" + ",".join(ON_THE_CPU) + "}" in said.replace("\n", "").replace(" ", "")
    assert {"forge", "neo", "neo-2025", "reforge", "classic", "a1111"} <= set(ON_THE_CPU)
