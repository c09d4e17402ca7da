"""Pictures of every format and weights files, cut and bent."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib_iclight.hosts.standalone.checkpoint import open_checkpoint
from lib_iclight.hosts.standalone.loras import Lora, load_loras
from lib_iclight.imaging import load_image
from lib_iclight.weights import find_weights, identify

from .campaign import cases, holds


def written(form: str) -> bytes | None:
    """A small picture in a format of Pillow's, in the first mode that it takes; None if it cannot be written."""
    for mode in ("RGBA", "RGB", "P", "L", "1", "F"):
        file = io.BytesIO()
        try:
            Image.linear_gradient("L").resize((40, 36)).convert(mode).save(file, form)
        except Exception:  # formats refuse modes in their own ways
            continue
        return file.getvalue()
    return None


Image.init()
FORMATS = {form: content for form in sorted(set(Image.SAVE) & set(Image.OPEN)) if (content := written(form))}
BENDS = st.lists(st.tuples(st.sampled_from(["set", "cut", "drop", "insert", "fill"]), st.integers(0, 2**16),
                           st.integers(0, 255), st.integers(1, 64)), max_size=6)


def bent(content: bytes, bends: list[tuple[str, int, int, int]], head: int = 0) -> bytes:
    """Bytes set, cut off, dropped, put in; places are taken round the content's length or, `head`, its beginning."""
    data = bytearray(content)
    for how, place, value, count in bends:
        at = place % max(min(len(data), head or len(data)), 1)
        if how == "set":
            data[at:at + 1] = bytes([value])
        elif how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at:at + count]
        else:
            data[at:at + (count if how == "fill" else 0)] = bytes([value]) * count
    return bytes(data)


@pytest.mark.parametrize("form", FORMATS)
@cases(25)
@given(bends=BENDS, head=st.sampled_from([0, 32, 200]))
def test_pictures(form: str, bends: Any, head: int) -> None:
    def take() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged metadata and large pictures
            image = load_image(bent(FORMATS[form], bends, head))
        assert image.mode in ("RGB", "RGBA")

    holds(take)


ENTRY = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}
NAMES = st.sampled_from(["conv_in.weight", "input_blocks.0.0.weight", "model.diffusion_model.input_blocks.0.0.weight",
                         "lora_unet_a.lora_up.weight", "lora_unet_a.lora_down.weight", "lora_unet_a.alpha",
                         "__metadata__"]) | st.text(max_size=5)
ODD_SIDES: list[object] = [2**31, 2**63, 10**500, 1.5, None, True, "2", []]
SIDES = st.integers(-1, 5) | st.sampled_from(ODD_SIDES)
TENSORS = st.fixed_dictionaries({}, optional={
    "dtype": st.sampled_from(["F16", "F32", "I8", "X", None, 5]), "shape": st.lists(SIDES, max_size=10) | SIDES,
    "data_offsets": st.lists(SIDES | st.just(8), max_size=3) | SIDES}) | st.just(ENTRY) | st.none()


@cases(150)
@given(header=st.dictionaries(NAMES, TENSORS, max_size=4), bends=BENDS, head=st.sampled_from([0, 12]),
       tail=st.integers(0, 40))
def test_weights_files(tmp_path_factory: Any, header: Any, bends: Any, head: int, tail: int) -> None:
    raw = json.dumps(header).encode()
    folder = tmp_path_factory.mktemp("fuzz")
    path: Path = folder / "a.safetensors"
    path.write_bytes(bent(len(raw).to_bytes(8, "little") + raw + b"\0" * tail, bends, head))
    for look in (identify, open_checkpoint, lambda path: load_loras([Lora(path)], {}, {})):
        holds(lambda look=look: look(path))
    assert find_weights([folder]) == []
    assert [file.name for file in folder.iterdir()] == ["a.safetensors"]
    path.unlink()
    folder.rmdir()
