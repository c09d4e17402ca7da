"""What a weights file is, told from its header alone: IC-Light's offsets, or exactly why not.

A safetensors file begins with the length of its header (8 bytes, little-endian), then the header: JSON that gives
each tensor's dtype, shape and place. No tensor is read here, so that a 1.7 GB file takes milliseconds.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import WeightsError
from .keys import FIRST_CONVOLUTION, PREFIXES, Layout, shapes

HEADER_LIMIT = 100_000_000
"""Bytes; the format's own limit for a header."""

KINDS: Mapping[int, tuple[str, ...]] = {8: ("fc", "fcon"), 12: ("fbc",)}
"""Inputs of the first convolution -> kinds of IC-Light weights that have them."""

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")

_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64,
         "F8_E4M3": 8, "F8_E5M2": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64}
_DTYPES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2"}

_OTHERS = (  # a sign in some key's name, what such a file is and what to do with it
    (r"lora_|\.lora\.|\.alpha$|hada_w|lokr_w", "a LoRA. Move it to the folder for LoRAs"),
    (r"control_model\.|zero_convs|controlnet_|input_hint_block", "a ControlNet. Move it to the folder for ControlNets"),
    (r"double_blocks|joint_blocks|single_transformer_blocks",
     "a Flux or SD 3 model. There are no public IC-Light weights for those"),
    (r"label_emb|add_embedding|^conditioner\.", "an SDXL model. There are no public IC-Light weights for SDXL"),
    (r"^first_stage_model\.|^cond_stage_model\.|^model_ema\.",
     "a full checkpoint. Move it to the folder for checkpoints"),
    (r"^(encoder|decoder)\.(conv_in|down|up)", "a VAE. Move it to the folder for VAEs"),
)


@dataclass(frozen=True)
class WeightsFile:
    """An IC-Light weights file, checked by its header: every tensor of the UNet is there, in the right shape.

    kind: `fc`, `fcon` or `fbc`; inputs: channels of the first convolution, 8 or 12; layout: how its keys are named;
    dtype: `fp16`, or several joined by `+`, the one with most values first; size: bytes;
    sha256: hex digest, if it was asked for (`library.hashed`).
    """

    path: Path
    name: str
    kind: str
    inputs: int
    layout: Layout
    prefix: str
    dtype: str
    size: int
    sha256: str | None = None


class Entry(NamedTuple):
    """What the header says of one tensor; `dtype` is the format's name, such as `F16`."""

    dtype: str
    shape: tuple[int, ...]


class Header(NamedTuple):
    """A safetensors file's header: its bytes, what it says, and the whole file's size in bytes."""

    raw: bytes
    entries: dict[str, Entry]
    size: int


def identify(path: Path) -> WeightsFile:
    """What the file is, from its header. `fcon` is told from `fc` by the file's name, the only sign in sight.

    Raises WeightsError for everything but whole IC-Light weights of SD 1.5; a pickle is never unpickled.
    """
    header = read_header(path)
    entries = header.entries
    found = _find_first_convolution(entries)
    if found is None:
        raise _refusal(path, entries, "has no UNet of SD 1.5 in it")
    layout, prefix, shape = found
    inputs = shape[1] if len(shape) == 4 else 0
    if inputs not in KINDS:
        raise _refusal(path, entries, {
            4: "is a plain UNet (4 inputs), not IC-Light's offsets",
            9: "is an inpainting UNet (9 inputs), not IC-Light's offsets",
        }.get(inputs, f"has a first convolution of shape {list(shape)} where IC-Light has 8 or 12 inputs"))
    faults = _faults(entries, {prefix + name: shape for name, shape in shapes(layout, inputs).items()})
    if faults:
        raise _refusal(path, entries, f"is not IC-Light's weights for SD 1.5: {faults}")
    strange = [name for name, entry in entries.items() if entry.dtype not in _DTYPES]
    if strange:
        raise WeightsError(f"{path.name} keeps {_count(strange)} as {entries[strange[0]].dtype}; usable are "
                           f"{', '.join(_DTYPES)}. Use the official file or convert it to fp16.")
    kind = "fcon" if inputs == 8 and "fcon" in path.stem.casefold() else KINDS[inputs][0]
    return WeightsFile(path, path.name, kind, inputs, layout, prefix, _dtype(entries.values()), header.size)


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size. Raises WeightsError; reads no tensor."""
    name = path.name
    suffix = path.suffix.casefold()
    if suffix in PICKLES:
        raise _pickle(name)
    if suffix != ".safetensors":
        raise WeightsError(f"{name} is not a .safetensors file. Use IC-Light's weights as .safetensors.")
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            # A pickle's first bytes can be read as a length too, but then no "{" follows.
            if size < 9 or start[8:] != b"{" or length > HEADER_LIMIT:
                raise _pickle(name) if _looks_pickled(start) else _not_safetensors(name)
            raw = start[8:] + file.read(length - 1)
    except OSError as error:
        raise WeightsError(f"{name} cannot be read ({error.strerror or error}). Look at {path}.") from error
    if len(raw) < length:
        raise _truncated(name, size, 8 + length)
    try:
        entries, end = _parse(json.loads(raw))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_safetensors(name) from error
    whole = 8 + length + end
    if size < whole:
        raise _truncated(name, size, whole)
    if size > whole:
        raise WeightsError(f"{name} is damaged: {size} bytes, but its header speaks of {whole}. "
                           "Delete it and download it again.")
    return Header(raw, entries, size)


def _parse(header: Any) -> tuple[dict[str, Entry], int]:
    """Header JSON -> what it says of each tensor, and where the last one ends. Tensors must lie end to end."""
    entries, places = {}, []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        dtype, shape, (begin, end) = tensor["dtype"], tuple(tensor["shape"]), tensor["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(name)
        if dtype in _BITS and (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
            raise ValueError(name)
        entries[name] = Entry(str(dtype), shape)
        places.append((begin, end))
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise ValueError("the tensors overlap or leave gaps")
        reached = end
    return entries, reached


def _find_first_convolution(entries: Mapping[str, Entry]) -> tuple[Layout, str, tuple[int, ...]] | None:
    """Layout, prefix of the keys, and shape of the first convolution; None when there is none."""
    for layout, name in FIRST_CONVOLUTION.items():
        for prefix in PREFIXES:
            if prefix + name in entries:
                return layout, prefix, entries[prefix + name].shape
    return None


def _faults(entries: Mapping[str, Entry], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Missing, unknown and wrongly shaped keys, counted, with the first of each named; empty when all is well."""
    missing = [name for name in expected if name not in entries]
    extra = [name for name in entries if name not in expected]
    wrong = [name for name in expected if name in entries and entries[name].shape != expected[name]]
    faults = []
    if missing:
        faults.append(f"{_count(missing)} missing")
    if extra:
        faults.append(f"{_count(extra)} unknown")
    if wrong:
        first = wrong[0]
        faults.append(f"{_count(wrong)} of the wrong shape, {list(entries[first].shape)} "
                      f"instead of {list(expected[first])}")
    return "; ".join(faults)


def _refusal(path: Path, entries: Iterable[str], reason: str) -> WeightsError:
    """The error for a sound file that is something else: says what it is where the keys tell, else `reason`."""
    for sign, what in _OTHERS:
        for name in entries:
            if re.search(sign, name):
                return WeightsError(f"{path.name} is {what} (it has the key {name}).")
    return WeightsError(f"{path.name} {reason}. Use the official IC-Light file.")


def _count(names: list[str]) -> str:
    return f"the key {names[0]}" if len(names) == 1 else f"{len(names)} keys (first: {names[0]})"


def _dtype(entries: Iterable[Entry]) -> str:
    values: Counter[str] = Counter()
    for entry in entries:
        values[_DTYPES[entry.dtype]] += math.prod(entry.shape)
    return "+".join(dtype for dtype, _ in values.most_common())


def _looks_pickled(start: bytes) -> bool:
    """Do the first bytes look like torch's zip archive, or a pickle of protocol 2 or later?"""
    return start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"))


def _pickle(name: str) -> WeightsError:
    return WeightsError(f"{name} is a pickle. Pickles can run code when they are opened, so it was not read. "
                        "Convert it to safetensors, or use the official IC-Light file.")


def _not_safetensors(name: str) -> WeightsError:
    return WeightsError(f"{name} is not a sound safetensors file. Delete it and download it again.")


def _truncated(name: str, size: int, whole: int) -> WeightsError:
    return WeightsError(f"{name} is cut short: {size} of {whole} bytes. Delete it and download it again.")
