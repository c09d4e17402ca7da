"""What a weights file is, told from its header alone: IC-Light's offsets, or exactly why not."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .. import files
from ..errors import WeightsError
from .header import PICKLES, Entry, Header, read_header
from .keys import FIRST_CONVOLUTION, PREFIXES, Layout, shapes

__all__ = ["KINDS", "PICKLES", "Entry", "Header", "WeightsFile", "identify", "read_header"]

KINDS: Mapping[int, tuple[str, ...]] = {8: ("fc", "fcon"), 12: ("fbc",)}
"""Inputs of the first convolution -> kinds of IC-Light weights that have them."""

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


def identify(path: Path) -> WeightsFile:
    """What the file is, from its header. `fcon` is told from `fc` by the file's name, the only sign in sight.

    What was found of the last few hundred files is remembered until they change. `name` can be shown and sent, whatever
    bytes it has on the disk (see `files.shown_name`).
    Raises WeightsError for everything but whole IC-Light weights of SD 1.5; a pickle is never unpickled.
    """
    found = _judged(path, files.state(path))
    if isinstance(found, str):
        raise WeightsError(found, path=path)
    return found


@lru_cache(maxsize=512)
def _judged(path: Path, state: files.State | None) -> WeightsFile | str:
    """What the file is, or why it is none of ours; `state` is what tells that it is still the same."""
    try:
        return _identify(path)
    except WeightsError as error:
        return str(error)


def _identify(path: Path) -> WeightsFile:
    header = read_header(path)
    entries, name = header.entries, files.shown_name(path)
    found = _find_first_convolution(entries)
    if found is None:
        raise _refusal(name, entries, "has no UNet of SD 1.5 in it")
    layout, prefix, shape = found
    inputs = shape[1] if len(shape) == 4 else 0
    if inputs not in KINDS:
        raise _refusal(name, entries, {
            4: "is a plain UNet (4 inputs), not IC-Light's offsets",
            9: "is an inpainting UNet (9 inputs), not IC-Light's offsets",
        }.get(inputs, f"has a first convolution of shape {list(shape)} where IC-Light has 8 or 12 inputs"))
    faults = _faults(entries, {prefix + key: shape for key, shape in shapes(layout, inputs).items()})
    if faults:
        raise _refusal(name, entries, f"is not IC-Light's weights for SD 1.5: {faults}")
    strange = [key for key, entry in entries.items() if entry.dtype not in _DTYPES]
    if strange:
        raise WeightsError(f"{name} keeps {_count(strange)} as {entries[strange[0]].dtype}; usable are "
                           f"{', '.join(_DTYPES)}. Use the official file or convert it to fp16.")
    kind = "fcon" if inputs == 8 and "fcon" in path.stem.casefold() else KINDS[inputs][0]
    return WeightsFile(path, name, kind, inputs, layout, prefix, _dtype(entries.values()), header.size)


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


def _refusal(file: str, entries: Iterable[str], reason: str) -> WeightsError:
    """The error for a sound file that is something else: says what it is where the keys tell, else `reason`."""
    for sign, what in _OTHERS:
        for name in entries:
            if re.search(sign, name):
                return WeightsError(f"{file} is {what} (it has the key {name}).")
    return WeightsError(f"{file} {reason}. Use the official IC-Light file.")


def _count(names: list[str]) -> str:
    return f"the key {names[0]}" if len(names) == 1 else f"{len(names)} keys (first: {names[0]})"


def _dtype(entries: Iterable[Entry]) -> str:
    values: Counter[str] = Counter()
    for entry in entries:
        values[_DTYPES[entry.dtype]] += math.prod(entry.shape)
    return "+".join(dtype for dtype, _ in values.most_common())
