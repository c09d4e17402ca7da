"""The A1111 adapter in a double of the host: what the UNet computes with, and that it is itself again afterwards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fake_a1111 as fake
import numpy as np
import pytest
import torch

from lib_iclight.errors import CheckpointError, HostError
from lib_iclight.hosts.webui import replacing


@pytest.fixture
def sd_model() -> fake.SdModel:
    return fake.SdModel()


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch, sd_model: fake.SdModel) -> fake.Networks:
    return fake.install(monkeypatch, sd_model)


@pytest.fixture
def host(networks: fake.Networks) -> Any:
    return importlib.import_module("lib_iclight.hosts.webui.a1111").A1111Host("A1111")


def offsets(sd_model: fake.SdModel, seed: int = 1, channels: int = 8) -> Any:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, parameter in sd_model.unet.named_parameters():
        shape = list(parameter.shape)
        if name == "input_blocks.0.0.weight":
            shape[1] = channels
        tensors[name] = torch.randn(shape, generator=generator).half()
    return SimpleNamespace(name=f"iclight-{seed}", tensors=tensors)


CONCAT = torch.arange(2 * 4 * 5 * 5, dtype=torch.float32).reshape(2, 4, 5, 5) / 100
X = torch.linspace(-1, 1, 2 * 4 * 5 * 5).reshape(2, 4, 5, 5)


def relit(host: Any, sd_model: fake.SdModel, given: Any, concat: torch.Tensor = CONCAT,
          at_step: Callable[[int], None] = lambda step: None, **options: Any) -> Any:
    """Run one relit pass; what the adapter noted."""
    sampler = fake.Sampler(sd_model)
    sampler.at_step = at_step
    vars(sampler).update(options)
    p = SimpleNamespace(sd_model=sd_model, sampler=sampler)
    applied = host.apply(p, given, concat)
    sd_model.unet.seen.clear()
    p.sampler.sample(p, X, None, None, image_conditioning=torch.zeros(2, 5, 1, 1))
    return applied


def expected(sd_model: fake.SdModel, given: Any, concat: torch.Tensor = CONCAT, lora: float = 0.0) -> torch.Tensor:
    """What a UNet with W + lora + offset makes of latent and conditioning, worked out with torch's functions."""
    total = {}
    for name, parameter in sd_model.unet.named_parameters():
        added = given.tensors[name].float()
        total[name] = added.clone()
        total[name][tuple(slice(size) for size in parameter.shape)] += parameter + (lora if "bias" not in name else 0)
    functional = torch.nn.functional
    hidden = functional.conv2d(torch.cat([X, concat], 1), total["input_blocks.0.0.weight"],
                               total["input_blocks.0.0.bias"], padding=1)
    hidden = functional.group_norm(hidden, 2, total["out.0.weight"], total["out.0.bias"])
    return functional.conv2d(hidden, total["out.1.weight"], total["out.1.bias"], padding=1)


def test_the_unet_computes_with_offsets_and_conditioning(host: Any, sd_model: fake.SdModel) -> None:
    given = offsets(sd_model)
    wanted, before = expected(sd_model, given), sd_model.hash()
    applied = relit(host, sd_model, given)
    assert applied.steps == 2
    for output in sd_model.unet.seen:
        assert torch.allclose(output, torch.cat([wanted, wanted]), atol=1e-4)
    assert sd_model.hash() == before


def test_background_mode_has_twelve_inputs(host: Any, sd_model: fake.SdModel) -> None:
    given, concat = offsets(sd_model, channels=12), torch.cat([CONCAT, -CONCAT], 1)
    wanted = expected(sd_model, given, concat)
    relit(host, sd_model, given, concat)
    assert torch.allclose(sd_model.unet.seen[0][:2], wanted, atol=1e-4)


def test_a_step_without_the_negative_prompt(host: Any, sd_model: fake.SdModel) -> None:
    given = offsets(sd_model)
    wanted = expected(sd_model, given)
    relit(host, sd_model, given, skip_negative_at=1)
    assert torch.allclose(sd_model.unet.seen[1], wanted, atol=1e-4)


def test_a_call_with_nothing_in_mid_step(host: Any, sd_model: fake.SdModel) -> None:
    """As the ControlNet extension makes it with --medvram."""
    def call(*_: Any) -> None:
        with pytest.raises(TypeError):
            sd_model.model()

    sd_model.unet.register_forward_pre_hook(call)
    given = offsets(sd_model)
    wanted = expected(sd_model, given)
    assert relit(host, sd_model, given).steps == 2
    assert torch.allclose(sd_model.unet.seen[0], torch.cat([wanted, wanted]), atol=1e-4)


@pytest.mark.parametrize("plenty", [True, False])
def test_loras_in_all_orders(host: Any, sd_model: fake.SdModel, networks: fake.Networks, plenty: bool,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran before, each state of LoRAs has the hash that it has without IC-Light."""
    monkeypatch.setattr(sys.modules["lib_iclight.hosts.webui.a1111.weights"], "_memory_abounds", lambda unet: plenty)
    states: list[dict[str, float]] = [{}, {"a": 0.5}, {"a": 1.0}, {"a": 0.5, "b": 2.0}]

    def plain() -> str:
        fake.Sampler(sd_model).sample(None, X, None, None, image_conditioning=torch.zeros(2, 5, 1, 1))
        return str(sd_model.hash())

    hashes = []
    for state in states:
        networks.choose(**state)
        hashes.append(plain())
    assert len(set(hashes)) == len(states)
    networks.choose()
    plain()
    wanted = {lora: expected(sd_model, offsets(sd_model), lora=lora) for lora in (0.0, 0.5, 1.0, 2.5)}
    for first in range(len(states)):
        for second in range(len(states)):
            for kind in (1, 2):
                networks.choose(**states[first])
                relit(host, sd_model, offsets(sd_model, kind))
                if kind == 1:
                    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted[sum(states[first].values())], atol=1e-4)
                assert sd_model.hash() == hashes[first]
                networks.choose(**states[second])
                assert plain() == hashes[second]


def test_functional_loras_leave_the_weights_alone(host: Any, sd_model: fake.SdModel, networks: fake.Networks) -> None:
    before, wanted = sd_model.hash(), expected(sd_model, offsets(sd_model))
    networks.choose(a=1.0)
    fake.Sampler(sd_model).sample(None, X, None, None, image_conditioning=torch.zeros(2, 5, 1, 1))
    assert sd_model.hash() != before
    sd_model.opts.lora_functional = True
    relit(host, sd_model, offsets(sd_model))
    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted, atol=1e-4)
    assert sd_model.hash() == before


def test_a_lora_that_changes_between_steps(host: Any, sd_model: fake.SdModel, networks: fake.Networks) -> None:
    given = offsets(sd_model)
    wanted = [expected(sd_model, given, lora=lora) for lora in (1.0, 3.0)]
    networks.choose(a=1.0)
    relit(host, sd_model, given, at_step=lambda step: networks.choose(a=1.0 if step == 0 else 3.0))
    for output, one in zip(sd_model.unet.seen, wanted, strict=True):
        assert torch.allclose(output[:2], one, atol=1e-4)
    after = sd_model.hash()
    relit(host, sd_model, given)  # with what was kept of the last step
    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted[1], atol=1e-4)
    assert sd_model.hash() == after


def test_the_second_job_merges_nothing(host: Any, sd_model: fake.SdModel, networks: fake.Networks,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["lib_iclight.hosts.webui.a1111.weights"]
    monkeypatch.setattr(module, "_memory_abounds", lambda unet: True)
    summed: Any = []
    original = module._sum
    monkeypatch.setattr(module, "_sum", lambda *args: summed.append(args) or original(*args))
    for _ in range(3):
        relit(host, sd_model, offsets(sd_model))
    assert len(summed) == len(offsets(sd_model).tensors)
    relit(host, sd_model, offsets(sd_model, 2))
    assert len(summed) == 2 * len(offsets(sd_model).tensors)
    host.release()
    relit(host, sd_model, offsets(sd_model, 2))
    assert len(summed) == 3 * len(offsets(sd_model).tensors)


@pytest.mark.parametrize("write", [
    lambda weight: weight.copy_(weight + 1),  # as a new checkpoint is loaded
    lambda weight: weight.data.add_(1),  # behind torch's back
    lambda weight: setattr(weight, "data", weight.data + 1),
])
def test_weights_that_changed_between_jobs_are_noticed(host: Any, sd_model: fake.SdModel,
                                                       write: Callable[[Any], Any]) -> None:
    given = offsets(sd_model)
    relit(host, sd_model, given)
    with torch.no_grad():
        write(sd_model.unet.out[1].weight)
    before, wanted = sd_model.hash(), expected(sd_model, given)
    relit(host, sd_model, given)
    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted, atol=1e-4)
    assert sd_model.hash() == before


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_restored_after_an_error(host: Any, sd_model: fake.SdModel, step: int, error: type[BaseException]) -> None:
    before = sd_model.hash()

    def fail(now: int) -> None:
        if now == step:
            raise error

    with pytest.raises(error):
        relit(host, sd_model, offsets(sd_model), at_step=fail)
    assert sd_model.hash() == before
    assert not sd_model.model._forward_pre_hooks
    assert not sd_model.unet.input_blocks[0][0]._forward_pre_hooks


@pytest.mark.parametrize("plenty", [True, False])
@pytest.mark.parametrize("step", [0, 1])
def test_after_an_interrupt_the_weights_are_as_before(host: Any, sd_model: fake.SdModel, step: int, plenty: bool,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next job computes what it would have, with what was kept of the stopped one or without."""
    monkeypatch.setattr(sys.modules["lib_iclight.hosts.webui.a1111.weights"], "_memory_abounds", lambda unet: plenty)
    before, given = sd_model.hash(), offsets(sd_model)
    wanted = expected(sd_model, given)

    def interrupt(now: int) -> None:
        if now == step:
            raise fake.InterruptedException

    assert relit(host, sd_model, given, at_step=interrupt).steps == step
    assert sd_model.hash() == before
    assert not sd_model.model._forward_pre_hooks
    assert not sd_model.unet.input_blocks[0][0]._forward_pre_hooks
    assert relit(host, sd_model, given).steps == 2
    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted, atol=1e-4)
    assert sd_model.hash() == before


def test_one_sampler_for_several_batches(host: Any, sd_model: fake.SdModel) -> None:
    """In img2img the host makes it once: each batch has its own conditioning, and the wrappers do not pile up."""
    given, before = offsets(sd_model), sd_model.hash()
    p = SimpleNamespace(sd_model=sd_model, sampler=fake.Sampler(sd_model))
    for concat in (CONCAT, -CONCAT, 2 * CONCAT):
        wanted = expected(sd_model, given, concat)
        applied = host.apply(p, given, concat)
        sd_model.unet.seen.clear()
        p.sampler.sample_img2img(p, X, torch.zeros_like(X), None, None, image_conditioning=None)
        assert applied.steps == 2
        assert torch.allclose(sd_model.unet.seen[-1][:2], wanted, atol=1e-4)
        assert sd_model.hash() == before
    for name in ("sample", "sample_img2img"):
        replacing.restore(p.sampler, name)
    assert not {"sample", "sample_img2img"} & set(vars(p.sampler))


def test_restored_when_merging_itself_fails(host: Any, sd_model: fake.SdModel,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    module, before, calls = sys.modules["lib_iclight.hosts.webui.a1111.weights"], sd_model.hash(), []
    given, original = offsets(sd_model), module._sum
    wanted = expected(sd_model, given)

    def out_of_memory(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return original(*args)

    monkeypatch.setattr(module, "_sum", out_of_memory)
    with pytest.raises(MemoryError):
        relit(host, sd_model, given)
    assert sd_model.hash() == before
    relit(host, sd_model, given)  # nothing half-merged was kept
    assert torch.allclose(sd_model.unet.seen[-1][:2], wanted, atol=1e-4)


def test_restored_when_keeping_fails(host: Any, sd_model: fake.SdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    module, before = sys.modules["lib_iclight.hosts.webui.a1111.weights"], sd_model.hash()
    monkeypatch.setattr(module, "_memory_abounds", lambda unet: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        relit(host, sd_model, offsets(sd_model))
    assert sd_model.hash() == before


def test_restored_though_the_gpu_has_no_room_for_one(host: Any, sd_model: fake.SdModel,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    module, before = sys.modules["lib_iclight.hosts.webui.a1111.weights"], sd_model.hash()
    leave, to, calls = module._leave, torch.Tensor.to, []

    def full(tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return to(tensor, *args, **options)

    def leaving(*args: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "to", full)
            leave(*args)

    monkeypatch.setattr(module, "_leave", leaving)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="no room"):
        relit(host, sd_model, offsets(sd_model))
    assert len(calls) == len(list(sd_model.unet.parameters()))
    assert sd_model.hash() == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_other_storage_is_restored_bit_by_bit(networks: fake.Networks, host: Any, dtype: torch.dtype) -> None:
    sd_model = fake.SdModel(dtype)
    before, given = sd_model.hash(), offsets(sd_model)
    weights = sys.modules["lib_iclight.hosts.webui.a1111.weights"].Weights()
    original = sd_model.unet.out[1].weight.detach().float()
    networks.choose()
    for _ in range(2):  # merged anew, and kept
        with weights.merged(sd_model.unet, given):
            merged = sd_model.unet.out[1].weight
            assert merged.dtype == dtype
            assert torch.equal(merged.float(), (original + given.tensors["out.1.weight"].float()).to(dtype).float())
        assert sd_model.hash() == before


def test_called_twice_for_one_pass_it_does_the_same(host: Any, sd_model: fake.SdModel) -> None:
    p = SimpleNamespace(sd_model=sd_model, sampler=fake.Sampler(sd_model))
    host.apply(p, offsets(sd_model), CONCAT)
    applied = host.apply(p, offsets(sd_model), CONCAT)
    p.sampler.sample_img2img(p, X, X, None, None, image_conditioning=None)
    assert applied.steps == 2


@pytest.mark.parametrize(("concat", "word"), [(CONCAT[..., :3], "5x5.*3x5"), (torch.cat([CONCAT] * 2, 1), "channels")])
def test_what_does_not_fit_is_refused(host: Any, sd_model: fake.SdModel, concat: torch.Tensor, word: str) -> None:
    before = sd_model.hash()
    with pytest.raises(HostError, match=word):
        relit(host, sd_model, offsets(sd_model), concat)
    assert sd_model.hash() == before


def test_another_unet_is_refused(host: Any, sd_model: fake.SdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["modules.sd_unet"], "current_unet", object())
    with pytest.raises(HostError, match="SD Unet"):
        relit(host, sd_model, offsets(sd_model))


def test_conditioning_that_gets_lost_is_noticed(host: Any, sd_model: fake.SdModel) -> None:
    before = sd_model.hash()
    with pytest.raises(HostError, match="conditioning was lost"):
        relit(host, sd_model, offsets(sd_model), at_step=lambda step: sd_model.unet(X))
    assert sd_model.hash() == before


def test_without_the_lora_extension(host: Any, sd_model: fake.SdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "networks")
    assert relit(host, sd_model, offsets(sd_model)).steps == 2


def test_encoder_gives_the_scaled_mode(host: Any, sd_model: fake.SdModel) -> None:
    latent = host.encoder(sd_model).encode(np.full((16, 24, 3), 200, np.uint8))
    assert latent.shape == (1, 4, 2, 3)
    assert torch.allclose(latent, torch.tensor((200 / 127 - 1) * 0.5))


def test_a_vae_that_makes_nan_is_named(host: Any, sd_model: fake.SdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sd_model, "scale_factor", float("nan"))
    with pytest.raises(HostError, match="no-half-vae"):
        host.encoder(sd_model).encode(np.zeros((8, 8, 3), np.uint8))


def test_inpainting_checkpoints_are_refused(host: Any, sd_model: fake.SdModel) -> None:
    host.check_checkpoint(sd_model)
    sd_model.unet.input_blocks[0][0].weight.data = torch.zeros(6, 9, 3, 3)
    with pytest.raises(CheckpointError, match="inpainting"):
        host.check_checkpoint(sd_model)
