"""What the live cases share: the running Forge, the reference, and the checks that every relit job must pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from .client import SIZE, Answer, Forge, Pass, Seen, base64_of, scene
from .reference import Reference

NOT_THERE = {
    "a1111": {"test_another_extension_does_harm[harm0": "there is no patched UNet to drop",
              "test_relit_weights_differ": "no weights stay merged after a job",
              "test_unet_storage[float16": "the live cases start it with --no-half"},
    "neo": {"test_checkpoints[sd2": "it does not load SD 2 itself"},
    "neo-2025": {"test_checkpoints[sd2": "it does not load SD 2 itself"},
}
"""host -> cases that start with these do not apply to it, and why"""
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
    """Which host it is, a key of `server.ON_THE_CPU`."""
    return os.environ["ICLIGHT_LIVE_HOST"]


@pytest.fixture(autouse=True)
def where_it_belongs(request: pytest.FixtureRequest, host: str) -> None:
    """Skip a case about what this host has not."""
    for name, reason in NOT_THERE.get(host, {}).items():
        if request.node.name.startswith(name):
            pytest.skip(f"{host}: {reason}")


@pytest.fixture(scope="session")
def folder() -> Path:
    """The host's checkout."""
    return Path(os.environ["ICLIGHT_LIVE_FORGE"])


@pytest.fixture(scope="session")
def reference(folder: Path) -> Reference:
    """What should come out."""
    return Reference(folder)


def plain(forge: Forge) -> tuple[str, bytes]:
    """The UNet's hash after a job without IC-Light, and its picture. Hosts un-merge weights only for the next job."""
    forge.call("/probe/disarm", {})
    picture = forge.txt2img().pictures[0]
    return forge.unet_hash(), picture.tobytes()


@pytest.fixture(scope="session", autouse=True)
def fresh(forge: Forge) -> tuple[str, bytes]:
    """What `plain` gives right after the host's start."""
    return plain(forge)


def script_name(forge: Forge, host: str, title: str) -> str:
    """The host's name of its txt2img script whose title begins with `title`; skips the case where it has none."""
    names = forge.scripts(title)
    if not names:
        pytest.skip(f"{host} has no {title}")
    return next(iter(names))


def control_unit(forge: Forge) -> dict[str, Any]:
    """A ControlNet unit with the random model."""
    _, models = forge.call("/controlnet/model_list")
    model = next(name for name in models["model_list"] if name.startswith("iclight-live"))
    return {"enabled": True, "image": base64_of(scene()), "model": model, "weight": 1.0,
            "processor_res": SIZE, "resize_mode": "Crop and Resize", "control_mode": "Balanced", "guidance_start": 0,
            "guidance_end": 1, "pixel_perfect": False}


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
