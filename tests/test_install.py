"""install.py with pip stubbed: what pip is asked for, that nothing is moved, and that nothing is ever raised."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

INSTALL = Path(__file__).resolve().parent.parent / "install.py"


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("iclight_install", INSTALL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def pip(calls: list[tuple[list[str], str]], code: int = 0, said: str = "") -> Callable[..., Any]:
    """A stand-in for subprocess.run that reads the constraints, as pip would while it runs."""
    def run(command: list[str], **options: Any) -> Any:
        constraints = Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8")
        calls.append((command, constraints))
        return SimpleNamespace(returncode=code, stderr=said)

    return run


def test_every_installed_package_is_a_constraint(script: Any, missing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], str]] = []
    monkeypatch.setattr(subprocess, "run", pip(calls))
    script.main()
    [(command, constraints)] = calls
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert [word for word in command[4:] if not word.startswith("-")][:1] == ["onnxruntime<1.27"]
    assert not {"--upgrade", "-U", "--force-reinstall", "--no-deps"} & set(command)
    lines = constraints.splitlines()
    for name in ("numpy", "pillow", "pytest", "pip"):
        wanted = f"{name}=={importlib.metadata.version(name)}"
        assert wanted in [line.lower() for line in lines]
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*==\S+", line) for line in lines)
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(set(names)) == len(names)
    assert not Path(command[command.index("--constraint") + 1]).exists()


def test_left_overs_of_broken_installations_do_not_reach_pip(script: Any, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name, version in (("a-1.0", "a", "1.0"), ("~b-2.0", "-b", "2.0"), ("a-0.9", "A", "0.9")):
        made = tmp_path / ("1" if version == "1.0" else "2") / f"{folder}.dist-info"
        made.mkdir(parents=True)
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (tmp_path / "2" / "empty-1.dist-info").mkdir()
    (tmp_path / "2" / "empty-1.dist-info" / "METADATA").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "1"), str(tmp_path / "2")])
    assert script.installed() == ["a==1.0"]


def test_nothing_is_done_when_it_is_there(script: Any, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: pytest.fail("pip was called"))
    script.main()
    assert capsys.readouterr().out == ""


def raising(error: Exception) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize("run", [
    pip([], 1, "WARNING: retrying\nERROR: No matching distribution found for onnxruntime<1.27\n"), pip([], 2),
    raising(FileNotFoundError("no python")), raising(PermissionError("read-only")), raising(ValueError("odd"))],
    ids=["no network", "pip says nothing", "no pip", "no rights", "anything"])
def test_a_failure_is_one_line_that_says_what_to_do(script: Any, missing: None, run: Callable[..., Any],
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(subprocess, "run", run)
    script.main()
    said = capsys.readouterr().out.splitlines()[-1]
    assert "Everything but automatic cut-outs works" in said
    assert f'{sys.executable} -m pip install "onnxruntime<1.27"' in said


def test_unreadable_metadata_stops_nothing(script: Any, missing: None, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.metadata, "distributions", raising(OSError("damaged")))
    script.main()
    assert "damaged" in capsys.readouterr().out
