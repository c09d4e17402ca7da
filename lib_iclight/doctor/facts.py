"""What there is: versions, host, device, folders and the files in them. No folder is told by its whole path."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from .. import __version__, files
from ..errors import WeightsError
from ..folders import Folders
from ..matting import MODELS, is_as_released, located, model_names
from ..progress import Progress
from ..weights import OFFICIAL, WeightsFile, hashed, identify, published
from ..weights.identify import PICKLES
from .report import Line, tried

PACKAGES = ("torch", "numpy", "Pillow", "safetensors", "diffusers", "transformers", "accelerate", "huggingface-hub",
            "onnxruntime", "onnxruntime-gpu", "gradio", "fastapi", "scipy", "scikit-image", "protobuf")
OURS = "iclight"
"""how the names of IC-Light's files begin"""


def installation(host: str, adapter: str) -> Iterator[Line]:
    """Versions, and where the program runs."""
    yield Line("IC-Light", f"{__version__}, Python {platform.python_version()}, {platform.system()} "
               f"{platform.release()} {platform.machine()}")
    yield Line("host", f"{host}, adapter {adapter}")
    yield Line("packages", ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))))


def device(name: str) -> Iterator[Line]:
    """The device that a relight would take, and free memory. name: as `--device` has it."""
    from ..hosts.standalone.host import pick_device

    chosen = pick_device(name)
    told = [str(chosen)]
    if chosen.type == "cuda":
        free, whole = torch.cuda.mem_get_info(chosen)
        told += [torch.cuda.get_device_name(chosen), f"{_gib(free)} of {_gib(whole)} free"]
    told.append(f"{os.cpu_count()} processors")
    memory = _free_memory()
    told.append(f"main memory {_gib(memory)} free" if memory is not None else "free main memory unknown")
    yield Line("device", ", ".join(told))


def folders(where: Folders) -> Iterator[Line]:
    """Which folders are searched, and which of them are there."""
    for kind, paths in (("weights", where.weights), ("cut-outs", where.matting)):
        told = [files.place(path) + ("" if files.is_dir(path) else " (not there)") for path in paths]
        yield Line("folders", f"{kind} in {', '.join(told) or 'no folder'}")


def weights(where: Folders, progress: Progress) -> Iterator[Line]:
    """Every IC-Light file, and every file in IC-Light's own folder; reads all of them."""
    found = False
    for number, folder in enumerate(where.weights):
        others = 0
        for path in files.walk([folder]):
            if path.suffix.casefold() not in (".safetensors", *PICKLES):
                continue
            # In the folder for any UNets, most are none of IC-Light's.
            if number and not path.name.casefold().startswith(OURS) and not _is_ours(path):
                others += 1
                continue
            found = True
            yield from tried("weights", lambda path=path: _weights(path, progress))  # type: ignore[misc]
        if others:
            yield Line("weights", f"{files.place(folder)}: {others} files of other models passed over")
    if not found:
        yield Line("weights", "none here yet: they are downloaded when a job first needs them")


def cutouts(where: Folders) -> Iterator[Line]:
    """Every cut-out model that is here; reads all of them."""
    here = [(name, path) for name in model_names(where.matting) if (path := located(name, where.matting)) is not None]
    for name, path in here:
        size = (files.state(path) or (0, 0, 0, 0, 0))[2]
        told = f"{name}, {size / 1e6:.0f} MB"
        if name not in MODELS:
            yield Line("cut-out", f"{told}, a model of your own")
        elif is_as_released(MODELS[name], path):
            yield Line("cut-out", f"{told}, as released", True)
        else:
            yield Line("cut-out", f"{told}, is not the file that was released under that name. Delete it to have it "
                       "downloaded anew, or give a model of your own another name.", False)
    if not here:
        yield Line("cut-out", "no model here yet: one is downloaded when a job first needs it")


def _weights(path: Path, progress: Progress) -> Line:
    file = hashed(identify(path), progress)
    official = published(file.sha256)
    told = f"{file.name}, {file.kind}, {file.layout}, {file.dtype}, {file.size / 1e6:.0f} MB, sha256 {file.sha256}"
    if official is not None:
        return Line("weights", f"{told}, the published {official.name}", True)
    if file.name in {known.name for known in OFFICIAL.values()} and (file.layout, file.dtype) == ("diffusers", "fp16"):
        return Line("weights", f"{told}: has the name of a published file and another content. Delete it to have it "
                    "downloaded anew, or give it another name.", False)
    return Line("weights", f"{told}, not a published file")


def _is_ours(path: Path) -> WeightsFile | None:
    try:
        return identify(path)
    except WeightsError:
        return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _free_memory() -> int | None:
    """Bytes of main memory that a program could still have; None where nothing tells."""
    if importlib.util.find_spec("psutil") is not None:
        import psutil

        return int(psutil.virtual_memory().available)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows; a system without that name
        return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
