"""How models run on a device: in what precision, where they lie when they are not needed, and what is tried when memory
runs out."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import HostError, SettingsError, shown

MEMORIES = ("auto", "high", "low", "fp8")
"""auto: by the memory that is free; high: everything stays on the device; low: what is not in use lies in main
memory, on a CPU the UNet's weights in half precision, and the VAE works in tiles; fp8: low, with the UNet's weights in
8 bits"""

ROOM = {"cpu": 1.5, "gpu": 3.5}
"""What `high` takes at most, in times the UNet's weights: on a CPU 5.2 GB, on a GPU 6 GB (a hires pass of 768 x 960)"""
LEAN = ("Little memory was free, so memory was low for this, which changes pictures by shades. Set memory to high "
        "for the exact ones.")
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cudnn_status_alloc_failed",
          "cublas_status_alloc_failed")
"""in messages of torch, for CUDA, MPS and CPUs (c10/core/CPUAllocator, "DefaultCPUAllocator: not enough memory" on
Windows)"""


@dataclass(frozen=True, kw_only=True)
class Means:
    """How the models of one host run."""

    device: torch.device
    compute: torch.dtype
    """of the UNet and the text encoder while they work"""
    storage: torch.dtype
    """of the UNet's large weights between their uses"""
    moves: bool = False
    """whether a model lies in main memory while others work on the device"""
    tiles: bool = False
    """whether the VAE takes a large picture in tiles"""
    together: int = 1
    """pictures of a batch in one call of the UNet, at most"""
    channels_last: bool = False
    half_vae: bool = False
    """whether the VAE is tried in half precision first"""
    told: str = ""
    """what a person should know of it, as a sentence"""


def compute_dtype(device: torch.device) -> torch.dtype:
    """What the UNet and the text encoder work in."""
    return torch.float32 if device.type == "cpu" else torch.float16


def means(device: torch.device, memory: str, weights: int = 0) -> Means:
    """How models run on the device. memory: one of `MEMORIES`; weights: bytes of the UNet's, in `compute_dtype`.

    Raises SettingsError for an unknown memory, HostError for one that the device cannot do.
    """
    check_memory(memory)
    if memory == "fp8" and device.type not in ("cpu", "cuda"):
        raise HostError(f"there are no numbers of 8 bits on {device.type}. Use `--memory low`.")
    told = ""
    if memory == "auto":
        free, need = free_bytes(device), weights * ROOM["cpu" if device.type == "cpu" else "gpu"]
        memory = "low" if free is not None and free < need else "high"
        told = LEAN if memory == "low" else ""
    lean, compute = memory != "high", compute_dtype(device)
    if device.type == "cpu":
        storage = {"high": torch.float32, "low": torch.float16, "fp8": torch.float8_e4m3fn}[memory]
        # One after the other: a CPU is no faster with several at once, and each is bit for bit the one made alone.
        return Means(device=device, compute=compute, storage=storage, tiles=lean, told=told)
    return Means(device=device, compute=compute, tiles=lean, told=told,
                 storage=torch.float8_e4m3fn if memory == "fp8" else torch.float16,
                 moves=lean and device.type == "cuda",  # the memory of other GPUs (MPS) is the main memory
                 together=1 if lean else 4, channels_last=device.type == "cuda", half_vae=device.type == "cuda")


def check_memory(memory: object) -> None:
    """Raise SettingsError for what is none of `MEMORIES`."""
    if memory not in MEMORIES:
        raise SettingsError(f"memory must be one of {', '.join(MEMORIES)}, not {shown(memory)}.")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on the device; None where nobody tells."""
    try:
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            # What torch holds unused is free to us too.
            return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        import psutil  # comes with accelerate

        return int(psutil.virtual_memory().available)
    except (ImportError, RuntimeError, OSError):
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Says the error that there is no memory left, on whatever device? torch has a class of its own for CUDA only."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).casefold() for sign in _SIGNS)


@contextmanager
def named_out_of_memory(device: torch.device) -> Iterator[None]:
    """What runs out of memory inside raises HostError."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        clear(device)
        raise out_of_memory(device) from error


def out_of_memory(device: torch.device) -> HostError:
    """The error that tells a person."""
    where = "this computer" if device.type == "cpu" else "the GPU"
    other = "" if device.type == "cpu" else ", or `--device cpu`"
    return HostError(f"{where} ran out of memory. Choose a smaller width, height or hires scale, `--memory low` or "
                     f"`--memory fp8`{other}.")


def clear(device: torch.device) -> None:
    """Give what is no longer used back to the device, main memory to the system (where the C library is glibc)."""
    gc.collect()
    if device.type == "cpu":
        with suppress(AttributeError, OSError, TypeError):  # of macOS, of musl, of Windows
            ctypes.CDLL(None).malloc_trim(0)
    elif device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class Guest:
    """A model that lies in main memory and is copied to the device for as long as it works there.

    What is on the device is dropped afterwards, not copied back: weights do not change while they work.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._device = device

    @contextmanager
    def here(self) -> Iterator[None]:
        """The model on the device inside."""
        parts = [*self._model.parameters(), *self._model.buffers()]
        homes = [part.data for part in parts]
        try:
            with torch.inference_mode(False), torch.no_grad():  # torch gives a parameter no data of inference mode
                for part, home in zip(parts, homes, strict=True):
                    part.data = home.to(self._device, non_blocking=True)
            yield
        finally:
            for part, home in zip(parts, homes, strict=True):
                part.data = home
            clear(self._device)
