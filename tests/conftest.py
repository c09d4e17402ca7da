"""Fixtures that several test files share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread: small networks are no faster with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No download is tried, and no cut-out model that this machine's user has is found."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))


class NamedOffsets:
    """Offsets that name their kind and carry only the first convolution."""

    def __init__(self, kind: str) -> None:
        self.name = f"iclight-{kind}-0123456789ab"
        inputs = 12 if kind == "fbc" else 8
        self.tensors = {"input_blocks.0.0.weight": torch.zeros(320, inputs, 3, 3)}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """IC-Light's script in a double of Forge, whose models folder is empty; weights need no file."""
    import fake_webui  # which imports gradio

    fake_webui.install(monkeypatch, tmp_path)
    module = fake_webui.load_script()
    session = module.SESSION
    monkeypatch.setattr(session, "resolve_weights", lambda settings, progress=None: settings.mode)
    monkeypatch.setattr(session, "map_offsets", lambda kind, layout: NamedOffsets(kind))
    made = module.ICLightScript()
    made.session = session
    return made


# --- how the cases of tests/fuzz ended ------------------------------------------------------------------------------

FUZZ = pytest.StashKey[Counter[str]]()
"""of a whole run: its own cases, and with `-n` those of the workers"""


def _cases_here() -> Counter[str]:
    """Of this process; of a run without any of them nothing is imported."""
    campaign = sys.modules.get("tests.fuzz.campaign") or sys.modules.get("fuzz.campaign")
    return Counter() if campaign is None else campaign.COUNTS


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist sends its figures on: what it writes to its terminal nobody sees."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(_cases_here())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """The controller of pytest-xdist takes them."""
    counts = node.config.stash.setdefault(FUZZ, Counter())
    counts.update(getattr(node, "workeroutput", {}).get("fuzz", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """`fuzz: 1234 cases, 345 normal, 889 named (LightError 700, ...), other 0`; all others have failed their test."""
    counts = config.stash.get(FUZZ, Counter()) + _cases_here()
    if total := sum(counts.values()):
        named = ", ".join(f"{name} {count}" for name, count in counts.most_common() if name not in ("normal", "other"))
        rest = counts["normal"] + counts["other"]
        terminalreporter.write_line(f"fuzz: {total} cases, {counts['normal']} normal, {total - rest} named "
                                    f"({named}), other {counts['other']}")
