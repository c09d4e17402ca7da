"""The benchmarks that need a GPU or large weights, at a small size: they run, and say what they should."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SMALL = ["--device", "cpu", "--size", "small", "--width", "64", "--height", "64", "--steps", "5"]
pytestmark = pytest.mark.usefixtures("one_thread")


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpu_kit_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    kit = load("gpu", monkeypatch)
    monkeypatch.setattr(kit, "ROUNDS", 1)
    assert kit.main([*SMALL, "--models", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    errors = {what: float(error) for what, error in re.findall(r"^\| (ours, \w+) \| ([\d.]+) \|$", said, re.MULTILINE)}
    assert errors["ours, high"] < 1e-4 < errors["ours, fp8"]
    assert errors["ours, low"] < 0.05
    assert len(re.findall(r"^\| (ours|the reference).* s \| [\d.]+ \| nan GB", said, re.MULTILINE)) == 9
    assert "not on a CPU" in said and "ms per megapixel" in said


def test_the_demos_pipeline_makes_our_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    random_sd15, standalone = load("random_sd15", monkeypatch), load("standalone", monkeypatch)
    from lib_iclight.folders import Folders
    from lib_iclight.generation import Generation
    from lib_iclight.session import Session
    from lib_iclight.settings import Settings

    model, picture = random_sd15.make(tmp_path, "small"), random_sd15.subject()
    demo = random_sd15.Demo(model, torch.device("cpu"), torch.float32, torch.float32)
    theirs = demo.relight(picture, 64, 128, 5, 2.0, 5, standalone.HIRES)
    session = Session(lambda: model, folders=Folders((), ()), device="cpu")
    ours = session.relight(
        Settings(mode="fc", foreground=picture, matting="none", light="left"),
        Generation(prompt=random_sd15.PROMPT, negative_prompt=random_sd15.NEGATIVE, width=64, height=128, steps=5,
                   cfg=2.0, seed=5, hires_scale=standalone.HIRES)).pictures[0]
    assert np.asarray(ours).shape == theirs.shape == (192, 128, 3)
    assert np.abs(np.asarray(ours).astype(int) - theirs.astype(int)).max() <= 1
