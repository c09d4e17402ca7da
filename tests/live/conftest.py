"""What the live cases share: the running Forge, the reference, and the checks that every relit job must pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from .client import Answer, Forge, Pass, Seen
from .reference import Reference

FORGE_ONLY = ("test_with_a_built_in_extension", "test_all_guidances_at_once", "test_multidiffusion", "test_never_oom",
              "test_unet_storage", "test_xyz_plot")
"""cases that start with these are about Forge's own extensions or settings"""
NOT_A1111 = ("test_another_extension_does_harm[harm0", "test_relit_weights_differ")
"""nor are there in A1111 a UNet to drop, or weights that stay merged"""
CHANNELS = {"fc": 8, "fcon": 8, "fbc": 12}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hook_errors: hooks may report errors in Forge's log during this case")
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def forge() -> Forge:
    """The running host."""
    if "ICLIGHT_LIVE_URL" not in os.environ:
        pytest.exit("run these with `python -m tests.live --host NAME --dir DIR`", 4)
    return Forge(os.environ["ICLIGHT_LIVE_URL"])


@pytest.fixture(scope="session")
def host() -> str:
    """Which host it is: forge, reforge, classic, a1111."""
    return os.environ["ICLIGHT_LIVE_HOST"]


@pytest.fixture(autouse=True)
def where_it_belongs(request: pytest.FixtureRequest, host: str) -> None:
    """Skip a case about what this host has not."""
    name = request.node.name
    if (host != "forge" and name.startswith(FORGE_ONLY)) or (host == "a1111" and name.startswith(NOT_A1111)):
        pytest.skip(f"not in {host}")


@pytest.fixture(scope="session")
def folder() -> Path:
    """The host's checkout."""
    return Path(os.environ["ICLIGHT_LIVE_FORGE"])


@pytest.fixture(scope="session")
def reference(folder: Path) -> Reference:
    """What should come out."""
    return Reference(folder)


@pytest.fixture(autouse=True)
def hooks_ran(request: pytest.FixtureRequest, forge: Forge) -> Iterator[None]:
    """Hosts only log what goes wrong in a hook, so read its log after each case."""
    log = Path(os.environ["ICLIGHT_LIVE_LOG"])
    before = log.stat().st_size
    yield
    forge.call("/probe/disarm", {})
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(before)
        said = file.read()
    if not request.node.get_closest_marker("hook_errors"):
        assert "*** Error" not in said, said[said.index("*** Error"):][:3000]


def check_relit(answer: Answer, seen: Seen, kind: str, passes: int) -> list[Pass]:
    """The job went through, and the UNet had the offsets and the conditioning at every single call."""
    assert answer.status == 200, answer.sentence
    assert len(seen.passes) == passes
    for one in seen.passes:
        assert set(one.channels) == {CHANNELS[kind]}
        assert one.first_conv == (320, CHANNELS[kind], 3, 3)
    return seen.passes


def check_equal(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal within `tolerance` of the largest expected value."""
    expected = expected.expand_as(actual)
    error = float((actual - expected).abs().max() / expected.abs().max())
    assert error <= tolerance, f"off by {error:.2e} of the largest value"
