"""IC-Light's offsets as tensors of the file: nothing is copied, up-cast or moved to a device here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .. import files
from ..cache import LRU
from ..errors import WeightsError
from .identify import WeightsFile, identify, read_header
from .keys import Layout, rename
from .stored import Renamed, Stored

SAMPLE = 64
"""Bytes of each tensor that the name of offsets is made from."""


@dataclass(frozen=True, eq=False)
class Offsets:
    """What is added to a UNet's weights, W' = W + tensors[key]; the first convolution has 8 or 12 inputs, not 4.

    name: `iclight-{kind}-{12 hex digits}`, the same for the same content wherever it lies, another for another;
    tensors: CPU tensors in the file's dtype, backed by the file or `Stored` in it. Read them, never write them.
    """

    name: str
    kind: str
    tensors: Mapping[str, torch.Tensor]


def load_offsets(file: WeightsFile, layout: Layout, stored: bool = False) -> Offsets:
    """Map the file's tensors, keyed in `layout` without any prefix. Raises WeightsError.

    stored: leave them in the file, each to be read when it is asked for.

    The digits of the name are a SHA-256 over the header, the file's size and the first bytes of every tensor: to
    hash 1.7 GB would take seconds at each start, and no two trainings agree in 686 such places.
    """
    from safetensors import SafetensorError, safe_open  # type: ignore[attr-defined]  # its stub is incomplete

    now = identify(file.path)  # the file may have been replaced since it was found
    if now.inputs != file.inputs:
        raise WeightsError(f"{file.name} has just been replaced by another file. Run the job again.")
    header = read_header(file.path)
    digest = hashlib.sha256(header.raw + header.size.to_bytes(8, "little"))
    tensors: dict[str, torch.Tensor] = {}
    names = {}
    try:
        with files.as_text(file.path) as source, \
                safe_open(source, framework="pt", device="cpu") as mapped:  # type: ignore[attr-defined,no-untyped-call]
            for key in header.entries:
                tensor = mapped.get_tensor(key)
                digest.update(tensor.flatten()[:SAMPLE // tensor.element_size()].view(torch.uint8).numpy().tobytes())
                name = rename(key.removeprefix(now.prefix), now.layout, layout)
                names[name] = key
                if not stored:
                    tensors[name] = tensor
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{file.name} cannot be read ({files.reason(error)}). Look at the file.",
                           path=file.path) from error
    return Offsets(f"iclight-{file.kind}-{digest.hexdigest()[:12]}", file.kind,
                   Renamed(Stored(file.path), names) if stored else tensors)


class OffsetCache:
    """The last few offsets that were used, so that the next job need not open the file again.

    A file that has been replaced is noticed by its place on the disk, size and times, and mapped anew.
    What is kept are mappings: memory that the system may take back.
    """

    def __init__(self, capacity: int = 2) -> None:
        self._kept: LRU[Offsets] = LRU(capacity)

    def get(self, file: WeightsFile, layout: Layout, stored: bool = False) -> Offsets:
        """The file's offsets, keyed in `layout`; see `load_offsets`. Raises WeightsError."""
        state = files.state(file.path)
        if state is None:
            raise WeightsError(f"{file.name} is gone from {files.place(file.path.parent)}. Put it back and run the job "
                               "again.", path=file.path)
        return self._kept.get((file.path, state, file.kind, layout, stored), lambda: load_offsets(file, layout, stored))
