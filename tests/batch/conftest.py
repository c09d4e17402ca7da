"""Where the tests of batches have their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder for pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the results go; not there yet."""
    return tmp_path / "out"
