"""Some forty of the faults of `benchmarks/faults.py`: after each, all is as if it had not been."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_cases import ERRORS, STOPS, WORLDS, Watch, campaign, faults_of

pytestmark = pytest.mark.usefixtures("one_thread", "offline")
NAMES = ("forge, fc, hires", "neo, img2img, from noise", "a1111, fbc, two batches",
         "a1111 with a LoRA, img2img, inpainting", "standalone, fbc")


@pytest.mark.parametrize("name", NAMES)
def test_after_a_fault_all_is_as_before(name: str, tmp_path: Path) -> None:
    results = campaign([name], 4 if name.startswith("standalone") else 9, tmp_path)
    assert {str(fault): ended for fault, ended in results.items() if ended.startswith("FAILED")} == {}
    assert len(results) >= 4 and "raised" in results.values()


def test_the_faults_are_of_all_kinds_and_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = WORLDS["forge, fc, hires"](tmp_path, monkeypatch)
    faults = faults_of(world, 1000)
    assert {fault.error for fault in faults} == {*ERRORS, *STOPS}
    assert {fault.number for fault in faults if fault.error in STOPS} == set(range(4))  # two passes of two steps
    assert faults == faults_of(world, 1000)
    places = {fault.site for fault in faults}
    assert {f"call webui/run.py:{name}" for name in ("check", "prepare", "before_sampling", "finish", "end")} <= places
    assert {"call job.py:concat", "call hosts/webui/forge.py:apply", "call the host:encode"} <= places


def test_what_must_not_be_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ends otherwise than undisturbed, and says nothing."""
    world = WORLDS["forge, fc, hires"](tmp_path, monkeypatch)
    monkeypatch.setattr("lib_iclight.webui.run.Run.fail", lambda *args: None)
    [number] = [index for index, site in enumerate(world.sites()["call"]) if site.endswith("run.py:end")]
    with pytest.raises(AssertionError, match="nobody was told"):
        world.run(Watch(number, "no memory"), "call")
