"""Memory of the standalone host: weights left in their files, kept small or away, and what is done when memory ends."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import Miniature
from safetensors.torch import save_file
from test_standalone import make_job

from lib_iclight.errors import HostError, SettingsError, WeightsError
from lib_iclight.folders import Folders
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone import memory
from lib_iclight.hosts.standalone.host import Options, Standalone
from lib_iclight.hosts.standalone.loras import NO_LORAS, Lora
from lib_iclight.hosts.standalone.memory import LEAN, Guest, free_bytes, is_out_of_memory, means, named_out_of_memory
from lib_iclight.hosts.standalone.storage import Shrunk
from lib_iclight.hosts.standalone.vae import TILED
from lib_iclight.weights.stored import Renamed, Stored, let_go, shape_of

CHECKPOINT = Miniature()
CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
GB = 2**30
pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2}


# --- tensors that stay in their file ------------------------------------------------------------------------------


def test_stored_tensors_are_the_files(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4).half()}
    save_file(tensors, tmp_path / "x.safetensors")
    stored = Stored(tmp_path / "x.safetensors")
    assert dict(stored).keys() == tensors.keys() and len(stored) == 2
    assert all(torch.equal(stored[key], tensor) and stored[key].dtype == tensor.dtype
               for key, tensor in tensors.items())
    assert (stored.shape("a"), shape_of(stored, "b"), shape_of(tensors, "a")) == ((2, 3), (4,), (2, 3))
    renamed = Renamed(stored, {"c": "a"})
    assert list(renamed) == ["c"] and torch.equal(renamed["c"], tensors["a"]) and shape_of(renamed, "c") == (2, 3)
    for absent in (stored, renamed):
        with pytest.raises(KeyError):
            absent["nowhere"]
        with pytest.raises(KeyError):
            shape_of(absent, "nowhere")


def test_a_stored_file_that_was_replaced_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    stored = Renamed(Stored(path), {"a": "a"})
    assert stored["a"].sum() == 0
    let_go(stored)
    save_file({"a": torch.ones(3)}, tmp_path / "y.safetensors")
    os.replace(tmp_path / "y.safetensors", path)
    with pytest.raises(WeightsError, match=r"x\.safetensors was replaced"):
        stored["a"]
    path.unlink()
    with pytest.raises(WeightsError, match="is gone"):
        stored["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_passes_through_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    side, count = 2**20, 32
    save_file({str(number): torch.full((side,), float(number)) for number in range(count)}, tmp_path / "x.safetensors")
    monkeypatch.setattr("lib_iclight.weights.stored.TURNOVER", 4 * 4 * side)
    stored = Stored(tmp_path / "x.safetensors")
    assert float(stored["0"].sum()) == 0
    before, most = resident(), 0
    for number in range(count):
        assert float(stored[str(number)].sum()) == number * side
        most = max(most, resident() - before)
    assert most < 4 * side * count / 2


# --- the plan -----------------------------------------------------------------------------------------------------


def test_means_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    high, low, least = (means(CPU, name) for name in ("high", "low", "fp8"))
    assert (high.compute, high.storage, high.tiles, high.together) == (torch.float32, torch.float32, False, 1)
    assert (low.compute, low.storage, low.tiles, low.moves) == (torch.float32, torch.float16, True, False)
    assert least == dataclasses.replace(low, storage=torch.float8_e4m3fn)
    gpu_high, gpu_low = means(CUDA, "high"), means(CUDA, "low")
    assert (gpu_high.compute, gpu_high.storage, gpu_high.moves, gpu_high.tiles) == (torch.float16,) * 2 + (False,) * 2
    assert gpu_high.together > 1 and gpu_high.half_vae and gpu_high.channels_last
    assert gpu_low.moves and gpu_low.tiles and gpu_low.together == 1
    assert not means(MPS, "low").moves and means(MPS, "low").tiles
    for device, weights in ((CPU, 3.4e9), (CUDA, 1.7e9)):
        for free, expected in ((7 * GB, high), (4 * GB, dataclasses.replace(low, told=LEAN)), (None, high)):
            monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
            expected = dataclasses.replace(means(device, "low" if expected.told else "high"), told=expected.told)
            assert means(device, "auto", int(weights)) == expected
        monkeypatch.setattr(memory, "free_bytes", lambda device: 10**6)
        assert means(device, "auto", 10**5) == means(device, "high"), "small models need little"
    monkeypatch.undo()
    assert (free_bytes(CPU) or 0) > 0


def test_memories_that_cannot_be_meant() -> None:
    for name in ("medium", "", None, 3):
        with pytest.raises(SettingsError, match="memory must be one of"):
            Options(memory=name)  # type: ignore[arg-type]
    with pytest.raises(HostError, match="8 bits on mps"):
        means(MPS, "fp8")
    with pytest.raises(SettingsError, match="compile needs"):
        Standalone(CHECKPOINT, device=CPU, options=Options(memory="low", compile=True))


# --- small weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("storage", "error"), [(torch.float16, 1e-3), (torch.float8_e4m3fn, 0.07)])
def test_shrunk_weights_are_whole_while_their_layer_works(storage: torch.dtype, error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GroupNorm(4, 16), torch.nn.Linear(16, 16))
    values = {key: torch.randn(weight.shape, generator=generator) * 1000 for key, weight in model.named_parameters()}
    model.load_state_dict(values)
    given = torch.randn(2, 16, generator=generator)
    expected = model(given)
    shrunk = Shrunk(model, storage, torch.float32)
    for key in values:
        if key in shrunk:
            shrunk.write(key, values[key])
            assert (shrunk.whole(key) - values[key]).abs().max() <= error * values[key].abs().max()
    assert ("0.weight" in shrunk, "1.weight" in shrunk, "0.bias" in shrunk) == (True, False, False)
    with torch.inference_mode():
        found = model(given)
    assert model[0].weight.dtype == storage and model[2].weight.dtype == storage
    assert (found - expected).norm() / expected.norm() < error


def test_shrunk_weights_are_small_again_after_an_error() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    shrunk = Shrunk(model, torch.float16, torch.float32)
    shrunk.write("0.weight", torch.ones(4, 4))
    with pytest.raises(RuntimeError):
        model(torch.ones(2, 5))
    assert model[0].weight.dtype == torch.float16
    assert model(torch.ones(2, 4)).shape == (2, 4)


@dataclasses.dataclass(frozen=True)
class Rounded(Miniature):
    """The miniature as a file in `file` would give it, worked with in float32."""

    file: torch.dtype = torch.float16

    def load(self, dtype: torch.dtype = torch.float32) -> Any:
        models = super().load(dtype)
        for model in (models.vae, models.text_encoder):
            model.load_state_dict({key: value.to(self.file).to(value) for key, value in model.state_dict().items()})
        return models


def large(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [layer for layer in model.modules()
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Embedding)]


def bits(model: torch.nn.Module) -> set[torch.dtype]:
    """The dtypes of the model's large weights as they are kept."""
    return {layer.weight.dtype for layer in large(model)}  # type: ignore[misc]


@pytest.mark.parametrize("file", [torch.float16, torch.bfloat16, torch.float32])
def test_what_a_file_has_in_half_precision_is_kept_so_and_works_bit_for_bit(
        file: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Rounded(file=file)
    host = Standalone(checkpoint, device=CPU)
    for module in ("text", "vae"):
        monkeypatch.setattr(f"lib_iclight.hosts.standalone.{module}.exact", lambda *args: None)
    whole = Standalone(checkpoint, device=CPU)
    assert (bits(whole.vae._whole), bits(whole.text.model)) == ({torch.float32}, {torch.float32})
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(1, 4, 8, 12, generator=generator)
    pixels = torch.randint(256, (64, 96, 3), generator=generator).numpy().astype(np.uint8)
    for _ in range(2):
        for model in (host.vae._whole, host.text.model):  # fp16 holds small tensors of a bf16 file too
            assert file in bits(model) <= ({torch.float16, file} if file != torch.float32 else {file})
        assert all(torch.equal(*pair) for pair in zip(host.contexts("a (red:1.3) cat", "dog"),
                                                      whole.contexts("a (red:1.3) cat", "dog"), strict=True))
        assert torch.equal(host.vae.encode(pixels), whole.vae.encode(pixels))
        assert host.vae.decode(latent).tobytes() == whole.vae.decode(latent).tobytes()
        host.text._kept.clear()
    assert host.vae.key == whole.vae.key, "latents that are kept fit both"
    stored = [sum(layer.weight.nbytes for layer in large(one.vae._whole)) for one in (host, whole)]  # type: ignore[misc]
    assert stored[0] * 4 == stored[1] * file.itemsize


def test_half_weights_are_half_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Standalone(Rounded(), device=CPU)
    expected = host.contexts("a cat", "")[0]
    latent = torch.zeros(1, 4, 8, 8)
    decoded = host.vae.decode(latent).tobytes()
    with torch.inference_mode():
        with pytest.raises(RuntimeError):
            host.vae._whole.decoder.conv_in(torch.zeros(1, 5, 8, 8))
        with pytest.raises(RuntimeError):
            host.text.model.text_model.encoder.layers[0].mlp.fc1(torch.zeros(1, 5))
    assert (bits(host.vae._whole), bits(host.text.model)) == ({torch.float16}, {torch.float16})
    host.text._kept.clear()
    assert torch.equal(host.contexts("a cat", "")[0], expected)
    assert host.vae.decode(latent).tobytes() == decoded


@pytest.mark.parametrize("memory", ["high", "low", "fp8"])
def test_models_that_are_loaded_in_inference_mode_work_alike(memory: str) -> None:
    expected = Standalone(Rounded(), device=CPU, options=Options(memory=memory))
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    concat = torch.zeros(1, 4, 8, 8)
    with torch.inference_mode():  # as the doctor's comparison is
        host = Standalone(Rounded(), device=CPU, options=Options(memory=memory))
        contexts = host.contexts("a cat", "dog")
        assert all(torch.equal(*pair) for pair in zip(contexts, expected.contexts("a cat", "dog"), strict=True))
        assert host.vae.decode(latent).tobytes() == expected.vae.decode(latent).tobytes()
        for one in (host, expected):
            one.unet.use(CHECKPOINT.offsets("fc"))
        step = torch.tensor([500])
        assert torch.equal(host.predict(latent, step, contexts, concat, 2.0),
                           expected.predict(latent, step, contexts, concat, 2.0))


def test_a_lora_and_a_textual_inversion_on_half_weights_are_exact(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    modules = ("text_model_encoder_layers_0_self_attn_q_proj", "text_model_embeddings_token_embedding")
    outputs = {modules[0]: 24, modules[1]: 49408}
    save_file({f"lora_te_{module}.lora_{end}.weight": torch.randn(shape, generator=generator) * 0.3
               for module in modules for end, shape in (("up", (outputs[module], 2)), ("down", (2, 24)))},
              tmp_path / "style.safetensors")
    save_file({"emb_params": torch.randn(2, 24, generator=generator)}, tmp_path / "mycat.safetensors")
    folders, lora = Folders((), (), (), (tmp_path,)), Lora(tmp_path / "style.safetensors", 0.7)
    host = Standalone(Rounded(), device=CPU, folders=folders)
    with monkeypatch.context() as patch:
        patch.setattr("lib_iclight.hosts.standalone.text.exact", lambda *args: None)
        whole = Standalone(Rounded(), device=CPU, folders=folders)
    loras = host._loras_of([lora])
    layer, table = (host.text.model.get_submodule(name) for name in (
        "text_model.encoder.layers.0.self_attn.q_proj", "text_model.embeddings.token_embedding"))
    seen = []
    for turn in (NO_LORAS, loras, NO_LORAS, loras):
        for one in (host, whole):
            one.text.use(turn)
        found, expected = (one.text.encode("a mycat, warm") for one in (host, whole))
        assert torch.equal(found, expected)
        assert {layer.weight.dtype, table.weight.dtype} == {torch.float32 if turn is loras else torch.float16}
        seen.append(found)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3]) and not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(("name", "most"), [("low", 2.0), ("fp8", 40.0)])
def test_lean_memory_gives_the_same_picture_but_for_shades(name: str, most: float) -> None:
    offsets, generation = CHECKPOINT.offsets("fc"), Generation(**SMALL, hires_scale=2.0, seed=3)
    whole = Standalone(CHECKPOINT, device=CPU).relight(make_job(light="left"), generation, offsets)
    host = Standalone(CHECKPOINT, device=CPU, options=Options(memory=name))
    lean = host.relight(make_job(light="left"), generation, offsets)
    difference = np.abs(np.asarray(lean.pictures[0].picture, float) - np.asarray(whole.pictures[0].picture, float))
    assert 0 < difference.mean() < most
    stored = {weight.dtype for weight in host.unet.model.parameters()}
    assert stored == {torch.float32, means(CPU, name).storage}
    again = host.relight(make_job(light="left"), generation, offsets)
    assert again.pictures[0].picture.tobytes() == lean.pictures[0].picture.tobytes()


def test_weights_are_told_as_they_work() -> None:
    whole, lean = (Standalone(CHECKPOINT, device=CPU, options=Options(memory=name)) for name in ("high", "low"))
    for host in (whole, lean):
        host.unet.use(CHECKPOINT.offsets("fbc"))
    expected, found = dict(whole.unet.weights()), dict(lean.unet.weights())
    assert expected.keys() == found.keys()
    assert all((expected[key] - found[key]).abs().max() < 1e-3 for key in expected)


# --- models that are away -----------------------------------------------------------------------------------------


def test_a_guest_is_here_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "clear", lambda device: None)
    model = torch.nn.Linear(2, 2)
    homes = [weight.data_ptr() for weight in model.parameters()]
    there: Any = torch.float64  # to a tensor, another dtype is as much another place as a GPU is
    with torch.inference_mode():
        with Guest(model, there).here():
            assert {weight.dtype for weight in model.parameters()} == {torch.float64}
        with pytest.raises(KeyboardInterrupt), Guest(model, there).here():
            raise KeyboardInterrupt
    assert [weight.data_ptr() for weight in model.parameters()] == homes


def test_models_that_move_give_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU with little memory, but the device is the CPU itself."""
    offsets, generation = CHECKPOINT.offsets("fc"), Generation(**SMALL, hires_scale=2.0)
    expected = Standalone(CHECKPOINT, device=CPU).relight(make_job(), generation, offsets)
    moving = dataclasses.replace(means(CPU, "high"), moves=True)
    monkeypatch.setattr("lib_iclight.hosts.standalone.host.means", lambda *args: moving)
    found = Standalone(CHECKPOINT, device=CPU).relight(make_job(), generation, offsets)
    assert found.pictures[0].picture.tobytes() == expected.pictures[0].picture.tobytes()


# --- when memory ends ---------------------------------------------------------------------------------------------

OUT = [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
       RuntimeError("MPS backend out of memory (MPS allocated: 5.44 GB)"),
       RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                    "tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"),
       RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")]


@pytest.mark.parametrize("error", OUT, ids=lambda error: str(error)[:20])
def test_the_end_of_memory_is_known_on_every_device_and_named(error: Exception) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(HostError, match="this computer ran out of memory.*--memory low"), named_out_of_memory(CPU):
        raise error


def test_other_errors_are_not_taken_for_it() -> None:
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory"), KeyboardInterrupt("out of memory")):
        assert not is_out_of_memory(error)
        with pytest.raises(type(error)), named_out_of_memory(CPU):
            raise error


def greedy(host: Standalone, most: int) -> list[int]:
    """Let the host's UNet take `most` pictures in a call and no more; returns the list of calls' sizes to be."""
    calls: list[int] = []
    forward = host.unet.forward

    def limited(sample: torch.Tensor, *args: Any, **named: Any) -> Any:
        calls.append(len(sample))
        if len(sample) > 2 * most:  # both halves of the guidance
            raise RuntimeError("MPS backend out of memory")
        return forward(sample, *args, **named)

    host.unet.forward = limited
    return calls


@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE Karras", "Euler a", "DDIM", "TCD"])
def test_a_batch_that_does_not_fit_is_split(monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    together = dataclasses.replace(means(CPU, "high"), together=8)
    offsets, generation = CHECKPOINT.offsets("fc"), Generation(**SMALL, batch=5, seed=7, sampler=sampler)
    alone = Standalone(CHECKPOINT, device=CPU).relight(make_job(light="left"), generation, offsets)
    monkeypatch.setattr("lib_iclight.hosts.standalone.host.means", lambda *args: together)
    host = Standalone(CHECKPOINT, device=CPU)
    for most, sizes in ((8, [10]), (2, [10, 4, 2])):
        calls = greedy(host, most)
        heard: list[Any] = []
        found = host.relight(make_job(light="left"), generation, offsets,
                             lambda what, done, total, heard=heard: heard.append((what, done, total)))
        assert list(dict.fromkeys(calls)) == sizes
        assert heard[-1] == ("sampling", 10, 10)
        assert [relit.seed for relit in found.pictures] == [7, 8, 9, 10, 11]
        for one, other in zip(found.pictures, alone.pictures, strict=True):
            assert np.abs(np.asarray(one.picture, int) - np.asarray(other.picture, int)).max() <= 1


def test_one_picture_that_does_not_fit_is_told_and_the_next_job_works() -> None:
    host, offsets, generation = Standalone(CHECKPOINT, device=CPU), CHECKPOINT.offsets("fc"), Generation(**SMALL)
    expected = host.relight(make_job(), generation, offsets).pictures[0].picture.tobytes()
    forward = host.unet.forward
    greedy(host, 0)
    with pytest.raises(HostError, match="ran out of memory"):
        host.relight(make_job(), generation, offsets)
    host.unet.forward = forward
    assert host.relight(make_job(), generation, offsets).pictures[0].picture.tobytes() == expected


def test_a_picture_too_large_for_the_vae_is_taken_in_tiles_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host, offsets, generation = Standalone(CHECKPOINT, device=CPU), CHECKPOINT.offsets("fc"), Generation(**SMALL)
    first = host.relight(make_job(), generation, offsets)
    model = host.vae._whole
    decode = model.decode

    def short(latent: torch.Tensor, *args: Any, **named: Any) -> Any:
        if not model.use_tiling:
            raise MemoryError
        return decode(latent, *args, **named)

    monkeypatch.setattr(model, "decode", short)
    found = host.relight(make_job(), generation, offsets)
    assert found.told == (TILED,) and not first.told
    assert found.pictures[0].picture.tobytes() == first.pictures[0].picture.tobytes(), "one tile holds it"
    monkeypatch.undo()
    assert not host.relight(make_job(), generation, offsets).told


def test_a_vae_that_overflows_in_half_precision_goes_on_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    half = dataclasses.replace(means(CPU, "high"), half_vae=True)
    whole = Standalone(CHECKPOINT, device=CPU)
    monkeypatch.setattr("lib_iclight.hosts.standalone.host.means", lambda *args: half)
    host = Standalone(CHECKPOINT, device=CPU)
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected, found = np.asarray(whole.vae.decode(latent), int), np.asarray(host.vae.decode(latent), int)
    assert 0 < np.abs(found - expected).max() <= 3 and not host.vae._overflows
    assert host.encoder.key != whole.encoder.key
    with torch.no_grad():
        host.vae._half.decoder.conv_in.weight.fill_(60000.0)  # type: ignore[union-attr]
    assert np.array_equal(np.asarray(host.vae.decode(latent), int), expected) and host.vae._overflows
    assert np.array_equal(np.asarray(host.vae.decode(latent), int), expected)


# --- torch.compile ------------------------------------------------------------------------------------------------


def test_a_compiled_unet_gives_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def compile_of(model: Any) -> Any:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_of)
    offsets, generation = CHECKPOINT.offsets("fc"), Generation(**SMALL)
    plain = Standalone(CHECKPOINT, device=CPU).relight(make_job(), generation, offsets)
    host = Standalone(CHECKPOINT, device=CPU, options=Options(memory="high", compile=True))
    assert host.relight(make_job(), generation, offsets).pictures[0].picture.tobytes() == \
        plain.pictures[0].picture.tobytes()
    assert compiled == [host.unet.model]


def test_a_compiler_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def fail(*args: Any, **named: Any) -> Any:
        raise TorchDynamoException("InvalidCxxCompiler: no working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda model: fail)
    host = Standalone(CHECKPOINT, device=CPU, options=Options(memory="high", compile=True))
    with pytest.raises(HostError, match="no C\\+\\+ compiler.*Leave --compile out"):
        host.relight(make_job(), Generation(**SMALL), CHECKPOINT.offsets("fc"))
