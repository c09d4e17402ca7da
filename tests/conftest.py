"""Fixtures that several test files share."""

from __future__ import annotations

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
