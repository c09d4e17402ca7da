"""Weights files, whole and broken. Full-size ones are sparse: a true header, then a hole where the tensors would be."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from lib_iclight.errors import DownloadError, WeightsError
from lib_iclight.settings import Settings
from lib_iclight.weights import (
    OFFICIAL,
    OffsetCache,
    WeightsFile,
    find_weights,
    hashed,
    identify,
    library,
    resolve,
    weight_names,
)
from lib_iclight.weights.identify import read_header
from lib_iclight.weights.keys import TO_DIFFUSERS, Layout, shapes

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1}
Shapes = Mapping[str, tuple[int, ...]]


def write(path: Path, tensors: Shapes, dtype: str = "F16", dtypes: Mapping[str, str] = {}, longer: int = 0,
          **metadata: str) -> Path:
    """A safetensors file whose tensors are all zero and take no room on the disk."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in tensors.items():
        begin, of = end, dtypes.get(name, dtype)
        end += math.prod(shape) * BYTES[of]
        header[name] = {"dtype": of, "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end + longer)
    return path


def iclight(path: Path, inputs: int = 8, layout: Layout = "diffusers", prefix: str = "", **how: object) -> Path:
    return write(path, {prefix + name: shape for name, shape in shapes(layout, inputs).items()},
                 **how)  # type: ignore[arg-type]


# identify

@pytest.mark.parametrize(("inputs", "kind"), [(8, "fc"), (12, "fbc")])
@pytest.mark.parametrize(("layout", "prefix"), [
    ("diffusers", ""), ("ldm", ""), ("ldm", "diffusion_model."), ("ldm", "model.diffusion_model.")])
def test_both_kinds_and_layouts(tmp_path: Path, inputs: int, kind: str, layout: Layout, prefix: str) -> None:
    path = iclight(tmp_path / "light.safetensors", inputs, layout, prefix, note="made by a test")
    assert identify(path) == WeightsFile(path, "light.safetensors", kind, inputs, layout, prefix, "fp16",
                                         path.stat().st_size)


@pytest.mark.parametrize(("dtype", "shown"), [
    ("F32", "fp32"), ("F16", "fp16"), ("BF16", "bf16"), ("F8_E4M3", "fp8_e4m3"), ("F8_E5M2", "fp8_e5m2")])
def test_dtypes(tmp_path: Path, dtype: str, shown: str) -> None:
    assert identify(iclight(tmp_path / "a.safetensors", dtype=dtype)).dtype == shown


def test_a_mixture_of_dtypes_is_named_by_its_share(tmp_path: Path) -> None:
    path = iclight(tmp_path / "a.safetensors", dtype="F8_E4M3", dtypes={"conv_in.weight": "F16"})
    assert identify(path).dtype == "fp8_e4m3+fp16"


@pytest.mark.parametrize(("name", "inputs", "kind"), [
    ("iclight_sd15_fcon.safetensors", 8, "fcon"), ("My-FCON-fp8.SafeTensors", 8, "fcon"),
    ("falcon.safetensors", 8, "fc"), ("fcon_or_so.safetensors", 12, "fbc")])
def test_fcon_is_told_by_the_name(tmp_path: Path, name: str, inputs: int, kind: str) -> None:
    assert identify(iclight(tmp_path / name, inputs)).kind == kind


def test_only_the_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = iclight(tmp_path / "a.safetensors")
    amounts = []

    class Spy(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            amounts.append(size or -1)
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda self, mode: Spy(self))
    identify(path)
    assert min(amounts) > 0
    assert sum(amounts) < 200_000


def test_headers_of_the_reference_writer(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {"a": torch.ones(2, 3, dtype=torch.bfloat16), "b": torch.ones(5), "c": torch.ones(()),
               "d": torch.ones(7, dtype=torch.uint8), "e": torch.ones(0, 4)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "a.safetensors")
    assert header.entries == {"a": ("BF16", (2, 3)), "b": ("F32", (5,)), "c": ("F32", ()), "d": ("U8", (7,)),
                              "e": ("F32", (0, 4))}
    assert header.size == (tmp_path / "a.safetensors").stat().st_size


def without(tensors: Shapes, name: str) -> Shapes:
    return {key: shape for key, shape in tensors.items() if key != name}


WHOLE = shapes("diffusers", 8)
SDXL = {"label_emb.0.0.weight": (1280, 2816), "input_blocks.0.0.weight": (320, 4, 3, 3)}
REFUSED: dict[str, tuple[Shapes, str]] = {
    "missing": (without(WHOLE, "mid_block.resnets.1.norm1.bias"), "the key mid_block.resnets.1.norm1.bias missing"),
    "some missing": ({"conv_in.weight": (320, 8, 3, 3)}, "685 keys (first: time_embedding.linear_1.weight) missing"),
    "extra": (WHOLE | {"spare.weight": (1,)}, "the key spare.weight unknown"),
    "shape": (WHOLE | {"conv_out.weight": (4, 320, 1, 1)},
              "the key conv_out.weight of the wrong shape, [4, 320, 1, 1] instead of [4, 320, 3, 3]"),
    "mixed prefixes": (shapes("ldm", 8) | {"diffusion_model.out.2.bias": (4,)},
                       "the key diffusion_model.out.2.bias unknown"),
    "plain UNet": (shapes("ldm", 4), "is a plain UNet (4 inputs)"),
    "inpainting UNet": (shapes("diffusers", 9), "is an inpainting UNet (9 inputs)"),
    "odd UNet": (WHOLE | {"conv_in.weight": (320, 8)}, "a first convolution of shape [320, 8]"),
    "checkpoint": ({"model.diffusion_model." + name: shape for name, shape in shapes("ldm", 4).items()}
                   | {"first_stage_model.quant_conv.bias": (8,)}, "is a full checkpoint"),
    "LoRA, kohya": ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320)}, "is a LoRA"),
    "LoRA, diffusers": ({"unet.down_blocks.0.attentions.0.proj_in.lora.down.weight": (4, 320)}, "is a LoRA"),
    "SDXL": (SDXL, "There are no public IC-Light weights for SDXL"),
    "Flux": ({"double_blocks.0.img_attn.proj.bias": (3072,)}, "is a Flux or SD 3 model"),
    "ControlNet": ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "is a ControlNet"),
    "VAE": ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "is a VAE"),
    "something": ({"linear.weight": (4, 4)}, "has no UNet of SD 1.5 in it"),
    "nothing": ({}, "has no UNet of SD 1.5 in it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_iclight_is_refused_by_name(tmp_path: Path, case: str) -> None:
    tensors, reason = REFUSED[case]
    with pytest.raises(WeightsError) as caught:
        identify(write(tmp_path / "a.safetensors", tensors))
    assert str(caught.value).startswith("a.safetensors ")
    assert reason in str(caught.value)


def test_all_faults_are_counted(tmp_path: Path) -> None:
    tensors = dict(shapes("ldm", 12)) | {"out.2.bias": (5,), "x": (1,), "y": (1,)}
    del tensors["out.0.bias"]
    with pytest.raises(WeightsError, match=r"the key out\.0\.bias missing; 2 keys \(first: x\) unknown; "
                                           r"the key out\.2\.bias of the wrong shape, \[5\] instead of \[4\]"):
        identify(write(tmp_path / "a.safetensors", tensors))


def test_a_dtype_that_cannot_be_added_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"keeps the key conv_in\.weight as I8"):
        identify(iclight(tmp_path / "a.safetensors", dtypes={"conv_in.weight": "I8"}))


def test_a_file_that_is_cut_short_or_too_long(tmp_path: Path) -> None:
    whole = iclight(tmp_path / "a.safetensors").stat().st_size
    for size in (whole - 1, 50_000):
        os.truncate(tmp_path / "a.safetensors", size)
        with pytest.raises(WeightsError, match=f"cut short: {size} of "):
            identify(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=f"damaged: {whole + 7} bytes, but its header speaks of {whole}"):
        identify(iclight(tmp_path / "a.safetensors", longer=7))


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["a.ckpt", "a.PT", "a.pth", "a.bin", "renamed.safetensors"])
@pytest.mark.parametrize("form", ["zip", 2, 3, 4, 5])
def test_pickles_are_refused_unread(tmp_path: Path, name: str, form: str | int) -> None:
    path = tmp_path / name
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"), protocol=form if isinstance(form, int) else 2)
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", bomb)
    else:
        path.write_bytes(bomb)
    with pytest.raises(WeightsError, match="Pickles can run code"):
        identify(path)
    assert not (tmp_path / "exploded").exists()


def test_a_header_length_that_begins_like_a_pickle(tmp_path: Path) -> None:
    """0x80 0x04 is the start of a pickle, and of a safetensors file with a header of 0x...0480 bytes."""
    path = tmp_path / "a.safetensors"
    header = b'{"linear.weight":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'.ljust(0x0480)
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    assert path.read_bytes()[:2] == b"\x80\x04"
    with pytest.raises(WeightsError, match="has no UNet"):
        identify(path)


def raw(path: Path, header: bytes, size: int | None = None, length: int | None = None) -> Path:
    """A file with that header, its length as it is or as said, and a hole after it up to `size` bytes."""
    with path.open("wb") as file:
        file.write((len(header) if length is None else length).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) if size is None else size)
    return path


NINES = b"9" * 10**6
NEST = b"[" * 10**6
ENTRY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'


def one(tensor: bytes, size: int) -> tuple[bytes, int, None]:
    """A file that is sound but for what its header says of its one tensor, of `size` bytes."""
    header = b'{"a":' + tensor + b"}"
    return header, 8 + len(header) + size, None


HOSTILE = {
    "no length": (b"{}", 3 * 10**9, 0),
    "a length of one": (b"{}", 10**6, 1),
    "a side of a million digits": (b'{"a":{"dtype":"F32","shape":[' + NINES + b'],"data_offsets":[0,4]}}', None, None),
    "a place of a million digits": (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,' + NINES + b']}}', None, None),
    "a side of 300 digits": one(b'{"dtype":"X","shape":[1' + b"0" * 300 + b'],"data_offsets":[0,4]}', 4),
    "a side above what is believed": one(b'{"dtype":"X","shape":[1099511627777],"data_offsets":[0,4]}', 4),
    "a side below nothing": one(b'{"dtype":"X","shape":[-1],"data_offsets":[0,4]}', 4),
    "a side that is no whole number": one(b'{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}', 4),
    "a truth for a side": one(b'{"dtype":"F32","shape":[true],"data_offsets":[0,4]}', 4),
    "four hundred sides": one(b'{"dtype":"F32","shape":[' + b"1," * 400 + b'1],"data_offsets":[0,4]}', 4),
    "nine sides": one(b'{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}', 4),
    "another size than its sides make": one(b'{"dtype":"F32","shape":[2],"data_offsets":[0,4]}', 4),
    "a nest": (b'{"a":' + NEST + b"}", None, None),
    "a nest in the metadata": (b'{"__metadata__":{"a":' + NEST + b"}}", None, None),
    "a long name": (b'{"' + b"a" * 10**6 + b'":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', None, None),
    "twice the same": (b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],'
                       b'"data_offsets":[4,8]}}', 150, None),
    "something after it": (b"{} {}", None, None),
    "no comma": (b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]} "b":1}', None, None),
    "an end before its beginning": (b'{"a":{"dtype":"X","shape":[],"data_offsets":[0,5]},"b":{"dtype":"X","shape":[],'
                                    b'"data_offsets":[5,0]}}', None, None),
    "many names": (b"{" + b",".join(b'"%d":' % number + ENTRY for number in range(10_001)) + b"}", None, None),
    "a name again and again": (b"{" + (b'"aaaa":' + ENTRY + b",") * 9_000 + b'"b":0}', None, None),
    "much metadata": (b'{"__metadata__":{' + b'"a":"b",' * 200_000 + b'"a":"b"}}', None, None),
    "a header that is too long": (b"{" + b" " * 30_000_000 + b"}", None, None),
    "a header of a hole": (b"{", 20_000_100, 20_000_000),
    "no UTF-8": (b'{"\xff\xfe":{}}', None, None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_refused_by_name_and_with_little_work(
        tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is counted: how much is read, and how long the pieces are that JSON's decoder is given."""
    path = raw(tmp_path / "foreign.safetensors", *HOSTILE[case])
    amounts: Any = []
    pieces: Any = []

    class Spy(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            amounts.append(size if size is not None and size >= 0 else 10**12)
            return super().read(size)

    genuine = json.JSONDecoder.raw_decode
    monkeypatch.setattr(Path, "open", lambda self, mode: Spy(self))
    monkeypatch.setattr(json.JSONDecoder, "raw_decode",
                        lambda self, text, at=0: pieces.append(len(text)) or genuine(self, text, at))
    with pytest.raises(WeightsError, match=r"^foreign\.safetensors ") as caught:
        read_header(path)
    assert len(str(caught.value)) < 300
    assert sum(amounts) <= 25_000_100
    assert max(pieces, default=0) <= 1000 and len(pieces) < 100


def test_long_metadata_is_no_fault(tmp_path: Path) -> None:
    tags = json.dumps({f"tag {i}": [i, "\\\""] for i in range(50_000)})
    path = write(tmp_path / "a.safetensors", {"a": (2,)}, tags=tags, more="é{}[],:")
    assert read_header(path).entries == {"a": ("F16", (2,))}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(WeightsError, match="no file"):
        read_header(tmp_path / "pipe.safetensors")
    assert find_weights([tmp_path]) == []


def test_files_are_judged_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = iclight(tmp_path / "a.safetensors"), raw(tmp_path / "b.safetensors", b"{")
    opened: Any = []
    genuine = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *how: opened.append(self.name) or genuine(self, *how))
    for _ in range(3):
        assert [file.name for file in find_weights([tmp_path])] == ["a.safetensors"]
    assert sorted(opened) == ["a.safetensors", "b.safetensors"]
    before = good.stat()
    iclight(good, 12)
    os.utime(good, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copy(good, bad)
    assert [file.kind for file in find_weights([tmp_path])] == ["fbc", "fbc"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("name", [
    b"\xff\xfe.safetensors", b"\xc4\xe3 fcon.safetensors", b"a\nb.safetensors", b"a:b\\c.safetensors",
    b"\x1b[31m.safetensors", "光.safetensors".encode(), b"100%ff.safetensors"])
def test_a_name_that_is_no_text_is_shown_sent_and_found_again(tmp_path: Path, name: bytes) -> None:
    path = iclight(tmp_path / os.fsdecode(name))
    file, = find_weights([tmp_path])
    assert json.dumps(file.name, ensure_ascii=False).encode("utf-8") and file.name.isprintable()
    assert weight_names(tmp_path) == [file.name]
    assert Settings(weights=file.name).weights == file.name
    found = resolve("fc", file.name, [tmp_path])
    assert found.path == path and found == file
    assert len(OffsetCache().get(found, "ldm").tensors) == 686
    with pytest.raises(WeightsError) as caught:
        resolve("fbc", file.name, [tmp_path])
    assert file.name in str(caught.value)
    with pytest.raises(WeightsError) as caught:
        resolve("fc", "another", [tmp_path])
    assert f"There are: {file.name}." in str(caught.value)


def tensor(begin: int = 0, end: int = 4, dtype: object = "F32", shape: object = (1,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("header", [
    b"{", b"{]", b'{"a": 1}', b'{"a": {}}', b"{" + b"\xff" * 20, b"{" + b'"a":{' * 100_000,
    *(json.dumps({"a": bad}).encode() for bad in (
        tensor(end=8), tensor(begin=-4), tensor(shape=[-1, -1]), tensor(shape=[1.0]), tensor(shape=None),
        tensor(begin=4, end=8), tensor(dtype=None, end=-1))),
    json.dumps({"a": tensor(), "b": tensor()}).encode(),
], ids=lambda header: ascii(header[:40]))
def test_headers_that_make_no_sense(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(WeightsError, match="not a sound safetensors file"):
        identify(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"", b"{", b"<html>not found</html>", b"\xff" * 8 + b"{}",
                                     (10**9).to_bytes(8, "little") + b"{}"])
def test_files_without_a_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not a sound safetensors file"):
        identify(tmp_path / "a.safetensors")


def test_other_endings_missing_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    for name, reason in (("a.gguf", "is not a .safetensors file"), ("none.safetensors", "cannot be read"),
                         ("folder.safetensors", "cannot be read")):
        with pytest.raises(WeightsError, match=reason):
            identify(tmp_path / name)


# find_weights and resolve

def test_files_are_found_below_the_folders_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "unet", tmp_path / "ic-light"
    iclight(first / "z" / "deep" / "one.safetensors", 12)
    iclight(first / "b.safetensors")
    iclight(first / "a.SAFETENSORS", layout="ldm")
    iclight(second / "iclight_sd15_fc.safetensors")
    write(first / "lora.safetensors", {"lora_down.weight": (4, 4)})
    (first / "c.ckpt").write_bytes(b"\x80\x02")
    (second / "d.safetensors").mkdir()
    found = find_weights([tmp_path / "missing", first, second, first / "z"])
    assert [file.path.relative_to(tmp_path).as_posix() for file in found] == [
        "unet/a.SAFETENSORS", "unet/b.safetensors", "unet/z/deep/one.safetensors",
        "ic-light/iclight_sd15_fc.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "ic-light", tmp_path / "elsewhere"
    folder.mkdir()
    iclight(elsewhere / "linked.safetensors")
    (folder / "other").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(folder)
    (folder / "file.safetensors").symlink_to(elsewhere / "linked.safetensors")
    (folder / "broken.safetensors").symlink_to(tmp_path / "nothing")
    assert [file.name for file in find_weights([folder])] == ["file.safetensors", "linked.safetensors"]
    assert resolve("fc", "file.safetensors", [folder]).path == folder / "file.safetensors"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def test_auto_takes_the_official_file_first(tmp_path: Path, no_network: None) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    iclight(first / "another.safetensors")
    iclight(first / "fcon.safetensors")
    assert resolve("fc", "auto", [first, second]).name == "another.safetensors"
    iclight(second / "sub" / "iclight_sd15_fc.safetensors")
    assert resolve("fc", "auto", [first, second]).path == second / "sub" / "iclight_sd15_fc.safetensors"
    assert resolve("fcon", "auto", [first, second]).name == "fcon.safetensors"


def test_auto_refuses_a_broken_official_file(tmp_path: Path, no_network: None) -> None:
    iclight(tmp_path / "good.safetensors")
    os.truncate(iclight(tmp_path / "iclight_sd15_fc.safetensors"), 60_000)
    with pytest.raises(WeightsError, match="iclight_sd15_fc.safetensors is cut short"):
        resolve("fc", "auto", [tmp_path])


def test_auto_refuses_an_official_name_with_another_kind_in_it(tmp_path: Path, no_network: None) -> None:
    iclight(tmp_path / "iclight_sd15_fc.safetensors", 12)
    with pytest.raises(WeightsError, match=r"is for mode fbc \(12 inputs\), not for fc"):
        resolve("fc", "auto", [tmp_path])


def test_a_named_file(tmp_path: Path) -> None:
    iclight(tmp_path / "deep" / "My Light.safetensors")
    iclight(tmp_path / "x" / "LIGHT.safetensors", 12)
    iclight(tmp_path / "y" / "light.safetensors", 12)
    folders = [tmp_path]
    assert resolve("fc", "My Light.safetensors", folders).kind == "fc"
    assert resolve("fcon", "My Light.safetensors", folders).kind == "fc"
    assert resolve("fc", "my light.SAFETENSORS", folders).name == "My Light.safetensors"
    assert resolve("fbc", "light.safetensors", folders).name == "light.safetensors"
    assert resolve("fbc", "LIGHT.safetensors", folders).name == "LIGHT.safetensors"


@pytest.mark.parametrize(("mode", "inputs", "modes"), [
    ("fbc", 8, "fc or fcon"), ("fc", 12, "fbc"), ("fcon", 12, "fbc")])
def test_a_named_file_must_fit_the_mode(tmp_path: Path, mode: str, inputs: int, modes: str) -> None:
    iclight(tmp_path / "a.safetensors", inputs)
    with pytest.raises(WeightsError, match=f"is for mode {modes} .* not for {mode}. Choose mode {modes}"):
        resolve(mode, "a.safetensors", [tmp_path])


def test_an_unknown_name_lists_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There are none at all"):
        resolve("fc", "a.safetensors", [tmp_path])
    iclight(tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="There are: b.safetensors"):
        resolve("fc", "a.safetensors", [tmp_path])


def test_a_named_file_that_is_something_else_says_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {"lora_down.weight": (4, 4)})
    (tmp_path / "b.ckpt").write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match="a.safetensors is a LoRA"):
        resolve("fc", "a.safetensors", [tmp_path])
    with pytest.raises(WeightsError, match="b.ckpt is a pickle"):
        resolve("fc", "b.ckpt", [tmp_path])


@pytest.mark.parametrize("name", ["../a.safetensors", "sub/a.safetensors", "sub\\a.safetensors", "..", ".", "",
                                  "a\0.safetensors", "{folder}/a.safetensors"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / "in", tmp_path / "in" / "sub"):
        iclight(folder / "a.safetensors")
    with pytest.raises(WeightsError, match="never a path"):
        resolve("fc", name.format(folder=tmp_path), [tmp_path / "in"])


def test_offline_names_the_file_its_address_and_the_folder(tmp_path: Path, no_network: None) -> None:
    folder = tmp_path / "models" / "ic-light"
    with pytest.raises(DownloadError) as caught:
        resolve("fbc", "auto", [folder, tmp_path])
    for part in ("iclight_sd15_fbc.safetensors is missing", "models/ic-light", "HF_HUB_OFFLINE",
                 "https://huggingface.co/lllyasviel/ic-light/resolve/9cad1878695f546a7fb9eaca14e2a89131ba5ffe/"
                 "iclight_sd15_fbc.safetensors"):
        assert part in str(caught.value)
    assert not folder.exists()


def test_offline_tells_why_the_files_there_were_not_taken(tmp_path: Path, no_network: None) -> None:
    write(tmp_path / "a.safetensors", {"lora_down.weight": (4, 4)})
    (tmp_path / "b.pt").write_bytes(b"PK")
    (tmp_path / "put weights here.txt").touch()
    iclight(tmp_path / "c.safetensors", 12)
    with pytest.raises(DownloadError, match=r"Not usable there: a.safetensors is a LoRA.*b.pt is a pickle") as caught:
        resolve("fc", "auto", [tmp_path])
    assert "put weights here" not in str(caught.value)


def test_a_missing_official_file_is_downloaded_into_the_first_folder(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(url: str, target: Path, *, sha256: str, limit: int, progress: object) -> None:
        asked.append((url, sha256))
        iclight(target, 12)

    monkeypatch.setattr(library, "download", fake)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    file = resolve("fbc", "auto", [tmp_path / "new", tmp_path])
    assert (file.path, file.kind) == (tmp_path / "new" / "iclight_sd15_fbc.safetensors", "fbc")
    assert asked == [("https://mirror.example/hub/lllyasviel/ic-light/resolve/"
                      "9cad1878695f546a7fb9eaca14e2a89131ba5ffe/iclight_sd15_fbc.safetensors",
                      "bb8ccedaa4944b16cfa8356afcbc2c2174cc4c4af57de19124ae0cddd0d96947")]


def test_the_hash_of_an_official_file_tells_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = identify(iclight(tmp_path / "a.safetensors", dtype="F8_E5M2"))
    monkeypatch.setattr(library, "file_digest", lambda path, algorithm, progress: OFFICIAL["fcon"].sha256)
    assert (hashed(file).kind, hashed(file).sha256) == ("fcon", OFFICIAL["fcon"].sha256)
    monkeypatch.setattr(library, "file_digest", lambda path, algorithm, progress: "00")
    assert (hashed(file).kind, hashed(file).sha256) == ("fc", "00")


# Offsets and their cache

def scribble(path: Path, tensor: int, value: bytes = b"\x00\x3c") -> None:
    """Write `value` (1.0 in fp16) at the start of the given tensor of the file."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        file.seek(8 + length + list(header.values())[tensor]["data_offsets"][0])
        file.write(value)


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tensors_are_mapped_and_not_copied(tmp_path: Path) -> None:
    path = iclight(tmp_path / "a.safetensors")
    file, cache = identify(path), OffsetCache()
    cache.get(identify(iclight(tmp_path / "warm-up.safetensors", 12)), "ldm")
    before = resident()
    offsets = cache.get(file, "ldm")
    assert resident() - before < 100e6 < file.size
    assert str(path) in Path("/proc/self/maps").read_text()
    assert sum(tensor.nbytes for tensor in offsets.tensors.values()) > 1.7e9


@pytest.mark.parametrize("inputs", [8, 12])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_tensors_are_renamed_to_the_layout_that_is_asked_for(tmp_path: Path, inputs: int, prefix: str) -> None:
    path = iclight(tmp_path / "a.safetensors", inputs, "ldm", prefix)
    scribble(path, list(shapes("ldm", inputs)).index("middle_block.0.in_layers.0.weight"))
    for layout in ("ldm", "diffusers"):
        tensors = OffsetCache().get(identify(path), layout).tensors
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes(layout, inputs)
        marked = "middle_block.0.in_layers.0.weight"
        marked = marked if layout == "ldm" else TO_DIFFUSERS[marked]
        assert tensors[marked].dtype == torch.float16
        assert tensors[marked][:2].tolist() == [1.0, 0.0]


def test_eight_bit_tensors_stay_so(tmp_path: Path) -> None:
    path = iclight(tmp_path / "a.safetensors", dtype="F8_E4M3", dtypes={"conv_in.weight": "F16"})
    tensors = OffsetCache().get(identify(path), "diffusers").tensors
    assert tensors["conv_out.weight"].dtype == torch.float8_e4m3fn
    assert tensors["conv_in.weight"].dtype == torch.float16


def test_the_name_stands_for_the_content(tmp_path: Path) -> None:
    path = iclight(tmp_path / "a.safetensors")

    def name(path: Path) -> str:
        return OffsetCache().get(identify(path), "ldm").name

    first = name(path)
    assert first.startswith("iclight-fc-") and len(first) == len("iclight-fc-") + 12
    assert name(path.rename(tmp_path / "b.safetensors")) == first
    assert name(iclight(tmp_path / "fcon.safetensors")) == first.replace("-fc-", "-fcon-")
    names = {first, name(iclight(tmp_path / "c.safetensors", 12)),
             name(iclight(tmp_path / "d.safetensors", dtype="BF16"))}
    for tensor in (0, 300, 685):
        scribble(iclight(tmp_path / "e.safetensors"), tensor)
        names.add(name(tmp_path / "e.safetensors"))
    assert len(names) == 6


def test_the_cache_returns_the_same_offsets_until_they_are_too_many(tmp_path: Path) -> None:
    files = [identify(iclight(tmp_path / f"{i}.safetensors")) for i in range(3)]
    cache = OffsetCache(capacity=2)
    zero, one = cache.get(files[0], "ldm"), cache.get(files[1], "ldm")
    assert cache.get(files[0], "ldm") is zero
    cache.get(files[2], "ldm")  # pushes out 1, which was used longest ago
    assert cache.get(files[0], "ldm") is zero
    assert cache.get(files[1], "ldm") is not one
    assert cache.get(files[1], "diffusers") is not cache.get(files[1], "ldm")


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be replaced there")
def test_a_replaced_file_is_noticed_though_size_and_date_are_the_same(tmp_path: Path) -> None:
    path, other = iclight(tmp_path / "a.safetensors"), iclight(tmp_path / "b.safetensors")
    scribble(other, 0)
    shutil.copystat(path, other)
    cache = OffsetCache()
    old = cache.get(identify(path), "ldm")
    os.replace(other, path)
    new = cache.get(identify(path), "ldm")
    assert new.name != old.name
    assert new.tensors["time_embed.0.weight"][0, 0] == 1.0
    assert old.tensors["time_embed.0.weight"][0, 0] == 0.0


def test_a_file_that_changes_its_kind_or_goes_after_it_was_found(tmp_path: Path) -> None:
    file = identify(iclight(tmp_path / "a.safetensors"))
    iclight(tmp_path / "a.safetensors", 12)
    with pytest.raises(WeightsError, match="just been replaced"):
        OffsetCache().get(file, "ldm")
    file.path.unlink()
    with pytest.raises(WeightsError, match="is gone from"):
        OffsetCache().get(file, "ldm")
