"""A missing browser cannot hide: what is found, what its lack means, and when it is installed."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from . import chromium


def only(*names: str) -> Any:
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(("environment", "there", "found"), [
    ({}, (), None),
    ({}, ("google-chrome",), "/usr/bin/google-chrome"),
    ({}, ("google-chrome", "chromium"), "/usr/bin/chromium"),
    ({"CHROMIUM": ""}, ("chromium",), "/usr/bin/chromium"),
    ({"CHROMIUM": "/opt/mine"}, ("chromium",), "/opt/mine"),
    ({"CHROMIUM": "/opt/mine"}, (), "/opt/mine"),  # that it does not start is then an error, no skip
])
def test_find(environment: dict[str, str], there: tuple[str, ...], found: str | None) -> None:
    assert chromium.find(environment, only(*there)) == found


@pytest.mark.parametrize("value", ["true", "1", "True", "yes", "woodpecker"])
def test_in_ci_a_lack_fails(value: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="no Chromium here, and with CI set"):
        chromium.without("no Chromium here", {"CI": value})


@pytest.mark.parametrize("environment", [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}])
def test_elsewhere_it_skips_and_says_why(environment: dict[str, str]) -> None:
    with pytest.raises(pytest.skip.Exception, match="no Chromium here"):
        chromium.without("no Chromium here", environment)


class Machine:
    """Takes down what apt-get is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *programs: str, root: bool, fails: str = "") -> None:
        self.asked: list[list[str]] = []
        self.fails = fails
        monkeypatch.delenv("CHROMIUM", raising=False)
        monkeypatch.setattr(chromium, "find", lambda: only(*programs)("chromium"))
        monkeypatch.setattr(shutil, "which", only(*programs))
        monkeypatch.setattr(chromium, "_is_root", lambda: root)
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], **options: Any) -> Any:
        assert options["env"]["DEBIAN_FRONTEND"] == "noninteractive"
        self.asked.append(command)
        return SimpleNamespace(returncode=100 if self.fails in command else 0)


def test_root_gets_one_after_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get", root=True)
    chromium.provide()
    update, install = machine.asked
    assert update == ["apt-get", "-qq", "update"]
    assert install[:3] == ["apt-get", "-qq", "install"] and "--yes" in install and "chromium" in install


@pytest.mark.parametrize(("programs", "root", "said"), [
    (("apt-get", "chromium"), True, ""),
    (("apt-get",), False, "There is no Chromium"),
    ((), True, "There is no Chromium"),
])
def test_nothing_is_installed_otherwise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                        programs: tuple[str, ...], root: bool, said: str) -> None:
    machine = Machine(monkeypatch, *programs, root=root)
    chromium.provide()
    assert machine.asked == []
    printed = capsys.readouterr().out
    assert said in printed and bool(said) == bool(printed)


def test_a_failed_install_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(monkeypatch, "apt-get", root=True, fails="update")
    chromium.provide()
    assert len(machine.asked) == 1
    assert "apt-get update failed" in capsys.readouterr().out
