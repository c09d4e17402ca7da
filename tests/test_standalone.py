"""The standalone host against independent writings of the same: plain torch, and diffusers' own pipelines."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from miniature import Miniature
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from lib_iclight.errors import CheckpointError, HostError, SettingsError, WeightsError
from lib_iclight.frame import Frame
from lib_iclight.generation import SAMPLERS, Generation
from lib_iclight.hosts.standalone import checkpoint, samplers
from lib_iclight.hosts.standalone.checkpoint import Folder, open_checkpoint
from lib_iclight.hosts.standalone.host import Standalone, pick_device
from lib_iclight.hosts.standalone.loras import NO_LORAS, Lora, load_loras
from lib_iclight.hosts.standalone.memory import means
from lib_iclight.hosts.standalone.models import models_from_ldm
from lib_iclight.hosts.standalone.pocket import FOLDER, Pocket
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutter
from lib_iclight.settings import Settings
from lib_iclight.weights import Offsets
from lib_iclight.weights.header import read_header
from lib_iclight.weights.keys import TO_LDM, shapes

SIZE = 64
CHECKPOINT = Miniature()
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def host() -> Standalone:
    return Standalone(CHECKPOINT, device=CPU)


@pytest.fixture(scope="module")
def models() -> Any:
    """The same checkpoint, never touched by the host."""
    return CHECKPOINT.load()


def picture(seed: int = 0, size: int = SIZE) -> NDArray[Any]:
    """uint8 [size, size, 3]: smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def make_job(kind: type[Relight] = Relight, **settings: Any) -> Relight:
    values: dict[str, Any] = {"foreground": picture(), "matting": "none"} | settings
    return kind(Settings(**values), cutter=Cutter([]), latents=LatentCache())


def latent_of(models: Any, pixels: NDArray[Any]) -> torch.Tensor:
    """The reference's latent: v / 127 - 1, the posterior's mean, times 0.18215."""
    image = torch.tensor(pixels.astype(np.float64) / 127 - 1, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        result: torch.Tensor = models.vae.quant_conv(models.vae.encoder(image))[:, :4] * 0.18215
        return result


def merged_unet(models: Any, offsets: Offsets) -> Any:
    """A new UNet of 8 or 12 inputs with W' = W + offset, as the reference makes it."""
    from diffusers import UNet2DConditionModel

    inputs = offsets.tensors["conv_in.weight"].shape[1]
    unet = UNet2DConditionModel(**{**miniature.UNET, "in_channels": inputs})
    state = dict(models.unet.state_dict())
    first = torch.zeros(state["conv_in.weight"].shape[0], inputs, 3, 3)
    first[:, :4] = state["conv_in.weight"]
    state["conv_in.weight"] = first
    unet.load_state_dict({key: state[key] + offsets.tensors[key] for key in state}, strict=True)
    return unet.eval()


def reference_contexts(models: Any, positive: str, negative: str) -> tuple[torch.Tensor, torch.Tensor]:
    """For prompts of up to 75 tokens."""
    ids = models.tokenizer([positive, negative], padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = models.text_encoder(ids).last_hidden_state
    return hidden[:1], hidden[1:]


# --- the noise prediction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fc", "fbc"])
def test_noise_prediction_equals_the_reference_equations(host: Standalone, models: Any, mode: str) -> None:
    offsets = CHECKPOINT.offsets(mode)
    foreground, background = picture(1), picture(2)
    concat = make_job(mode=mode, foreground=foreground, background=background).concat(host.encoder, Frame(SIZE, SIZE))
    expected_concat = latent_of(models, foreground)
    if mode == "fbc":
        expected_concat = torch.cat([expected_concat, latent_of(models, background)], dim=1)
    assert (concat - expected_concat).abs().max() <= 1e-5

    generator = torch.Generator().manual_seed(5)
    latent = torch.randn(1, 4, 8, 8, generator=generator)
    timestep = torch.tensor(500)
    host.unet.use(offsets)
    contexts = host.contexts("a cat", "bad")
    with torch.no_grad():
        prediction = host.predict(latent, timestep, contexts, concat, 3.0)
        unet = merged_unet(models, offsets)
        joined = torch.cat([latent, expected_concat], dim=1)
        wanted, unwanted = (unet(joined, timestep, context).sample
                            for context in reference_contexts(models, "a cat", "bad"))
        expected = unwanted + 3.0 * (wanted - unwanted)
        plain = models.unet(latent, timestep, contexts[0]).sample
    assert (prediction - expected).abs().max() <= 1e-5
    assert (prediction - plain).abs().max() > 1e-2, "the offsets and the conditioning must count"


def test_without_guidance_only_the_prompt_counts(host: Standalone) -> None:
    host.unet.use(CHECKPOINT.offsets("fc"))
    latent, concat = torch.ones(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    contexts = host.contexts("a cat", "bad")
    with torch.no_grad():
        alone = host.predict(latent, torch.tensor(9), contexts, concat, 1)
        assert torch.equal(alone, host.unet(latent, torch.tensor(9), contexts[0], concat))


# --- whole jobs against diffusers' pipelines ----------------------------------------------------------------------


def reference_relight(models: Any, generation: Generation, concat: torch.Tensor, start: torch.Tensor | None,
                      strength: float, offsets: Offsets, generator: torch.Generator) -> torch.Tensor:
    """The latent that the reference demo gets: diffusers' pipelines around a UNet that is given the concat latent."""
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    unet = merged_unet(models, offsets)
    forward = unet.forward
    unet.forward = lambda sample, *args, **rest: forward(
        torch.cat([sample, concat.expand(len(sample), -1, -1, -1)], 1), *args, **rest)
    unet.register_to_config(in_channels=4)
    parts = {"vae": models.vae, "text_encoder": models.text_encoder, "tokenizer": models.tokenizer, "unet": unet,
             "scheduler": samplers.make_scheduler(generation.sampler), "safety_checker": None,
             "feature_extractor": None, "requires_safety_checker": False}
    positive, negative = reference_contexts(models, generation.prompt, generation.negative_prompt)
    common = {"prompt_embeds": positive, "negative_prompt_embeds": negative, "guidance_scale": generation.cfg,
              "generator": generator, "output_type": "latent", **({"eta": 0.3} if generation.sampler == "TCD" else {})}
    if start is None:
        pipe = StableDiffusionPipeline(**parts)
        pipe.set_progress_bar_config(disable=True)
        made: torch.Tensor = pipe(width=generation.width, height=generation.height,
                                  num_inference_steps=generation.steps, **common).images
        return made
    pipe = StableDiffusionImg2ImgPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    result: torch.Tensor = pipe(image=start, strength=strength, num_inference_steps=round(generation.steps / strength),
                                **common).images
    return result


def decoded(models: Any, latent: torch.Tensor) -> NDArray[Any]:
    with torch.no_grad():
        image = models.vae.decode(latent / 0.18215).sample[0]
    return np.asarray((image.permute(1, 2, 0).numpy() * 127.5 + 127.5).clip(0, 255).astype(np.uint8))


def assert_same_pixels(ours: Image.Image, theirs: NDArray[Any]) -> None:
    difference = np.abs(np.asarray(ours).astype(int) - theirs.astype(int))
    assert difference.max() <= 1, "float32 sums in another order may move a value over a rounding edge, not more"
    assert (difference != 0).mean() < 0.01


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_from_noise_equals_the_text_to_image_pipeline(host: Standalone, models: Any, sampler: str) -> None:
    generation = Generation(prompt="a cat", width=SIZE, height=SIZE, steps=4, seed=3, sampler=sampler)
    offsets = CHECKPOINT.offsets("fc")
    result = host.relight(make_job(), generation, offsets)
    latent = reference_relight(models, generation, latent_of(models, picture()), None, 1.0, offsets,
                               torch.Generator().manual_seed(3))
    assert_same_pixels(result.pictures[0].picture, decoded(models, latent))


@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE Karras", "Euler a", "Heun", "DDIM", "LCM", "TCD"])
def test_light_and_hires_pass_equal_the_image_to_image_pipeline(host: Standalone, models: Any, sampler: str) -> None:
    generation = Generation(prompt="a cat", width=SIZE, height=SIZE, steps=9, seed=4, sampler=sampler, hires_scale=1.5)
    offsets = CHECKPOINT.offsets("fc")
    # 64 x 1.5 = 96 lies between 64 and 128; Python rounds 1.5 to the even 2
    assert generation.hires_size == (128, 128)
    foreground = picture(6, 200)
    result = host.relight(make_job(light="left", foreground=foreground), generation, offsets)

    def fitted(size: int) -> NDArray[Any]:
        return np.asarray(Image.fromarray(foreground).resize((size, size), Image.Resampling.LANCZOS))

    gradient = np.tile(np.linspace(255, 0, SIZE), (SIZE, 1))
    light = latent_of(models, np.stack((gradient,) * 3, axis=-1).astype(np.uint8))
    generator = torch.Generator().manual_seed(4)
    latent = reference_relight(models, generation, latent_of(models, fitted(SIZE)), light, 0.9, offsets, generator)
    larger = np.asarray(Image.fromarray(decoded(models, latent)).resize((128, 128), Image.Resampling.LANCZOS))
    latent = reference_relight(models, generation, latent_of(models, fitted(128)), latent_of(models, larger), 0.5,
                               offsets, generator)
    assert result.pictures[0].picture.size == (128, 128)
    assert_same_pixels(result.pictures[0].picture, decoded(models, latent))


# --- steps, seeds, sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("start", [None, torch.zeros(1, 4, 8, 8)])
def test_a_single_step_begins_at_the_noisiest_timestep(sampler: str, start: torch.Tensor | None) -> None:
    begun: list[float] = []

    def predict(latent: torch.Tensor, timestep: torch.Tensor, share: float) -> torch.Tensor:
        begun.append(float(timestep))
        return latent

    made = samplers.denoise(predict, sampler, start=start, shape=(4, 8, 8), steps=1, strength=1.0,
                            generators=[torch.Generator().manual_seed(1)], on_step=lambda: None)
    assert begun == [pytest.approx(999, abs=1)]
    assert made.std() < 1, "all noise was taken away"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.05, 0.33, 0.5, 0.9, 0.95, 1.0])
def test_so_many_steps_are_run_whatever_the_strength(sampler: str, strength: float) -> None:
    most = SAMPLERS[sampler].most_steps or 1000
    steps, calls, reports = min(7, int(most * strength)), 0, 0

    def predict(latent: torch.Tensor, timestep: torch.Tensor, share: float) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return latent * 0.1

    def on_step() -> None:
        nonlocal reports
        reports += 1

    latent = samplers.denoise(predict, sampler, start=torch.zeros(1, 4, 8, 8), shape=(4, 8, 8), steps=steps,
                              strength=strength, generators=[torch.Generator().manual_seed(0)], on_step=on_step)
    assert calls == (2 * steps - 1 if sampler == "Heun" else steps)
    assert reports == steps
    assert latent.isfinite().all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_is_enough(sampler: str) -> None:
    latent = samplers.denoise(lambda x, t, share: x * 0, sampler, start=None, shape=(4, 8, 8), steps=1, strength=1,
                              generators=[torch.Generator().manual_seed(0)], on_step=lambda: None)
    assert latent.isfinite().all()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_perfect_prediction_gives_the_picture_back(sampler: str, prediction: str) -> None:
    """If the noise is predicted exactly, by SD 1.x's own noise schedule, sampling must end at the clean latent."""
    clean = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000)**2, 0)
    assert torch.allclose(samplers.make_scheduler(sampler).alphas_cumprod, alphas, rtol=1e-4)

    def predict(latent: torch.Tensor, timestep: torch.Tensor, share: float) -> torch.Tensor:
        t = float(timestep)
        alpha = torch.exp(torch.lerp(alphas[int(t)].log(), alphas[min(int(t) + 1, 999)].log(), t - int(t)))
        noise = (latent - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return noise if prediction == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean

    latent = samplers.denoise(predict, sampler, start=None, shape=(4, 8, 8), steps=20, strength=1,
                              generators=[torch.Generator().manual_seed(1)], on_step=lambda: None,
                              prediction=prediction)
    # DDIM stops at the schedule's first step, where a noise of 0.029 is left.
    assert (latent - clean).abs().mean() < 0.03


def test_a_picture_in_a_batch_is_the_one_that_its_seed_gives_alone(host: Standalone) -> None:
    job, offsets = make_job(light="top"), CHECKPOINT.offsets("fc")
    values: dict[str, Any] = {"width": SIZE, "height": SIZE, "steps": 2, "hires_scale": 2.0}
    batch = host.relight(job, Generation(seed=10, batch=3, **values), offsets)
    assert [relit.seed for relit in batch.pictures] == [10, 11, 12]
    for relit in batch.pictures:
        alone = host.relight(job, Generation(seed=relit.seed, **values), offsets).pictures[0]
        assert alone.picture.tobytes() == relit.picture.tobytes()
    assert batch.pictures[0].picture.tobytes() != batch.pictures[1].picture.tobytes()


def test_the_global_random_state_neither_counts_nor_changes(host: Standalone) -> None:
    job, offsets = make_job(), CHECKPOINT.offsets("fc")
    generation = Generation(width=SIZE, height=SIZE, steps=2)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = host.relight(job, generation, offsets).pictures[0].picture
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert host.relight(job, generation, offsets).pictures[0].picture.tobytes() == first.tobytes()


@pytest.mark.parametrize(("width", "height", "scale", "size"), [
    (512, 640, 1.5, (768, 960)), (512, 640, 1.3, (640, 832)), (72, 200, 2.0, (128, 384)), (64, 64, 1.01, (64, 64))])
def test_hires_size_is_rounded_to_64(width: int, height: int, scale: float, size: tuple[int, int]) -> None:
    assert Generation(width=width, height=height, hires_scale=scale).hires_size == size


def test_conditioning_is_made_anew_for_each_pass(host: Standalone) -> None:
    frames = []

    class Watched(Relight):
        def concat(self, encoder: Any, frame: Frame, batch: int = 1) -> torch.Tensor:
            frames.append(frame)
            return super().concat(encoder, frame, batch)

    result = host.relight(make_job(Watched), Generation(width=72, height=104, steps=1, hires_scale=2.0),
                          CHECKPOINT.offsets("fc"))
    assert frames == [Frame(72, 104), Frame(128, 192)]
    assert result.frame == Frame(128, 192)
    assert result.pictures[0].picture.size == (128, 192)


def test_raw_is_the_picture_before_it_is_finished(host: Standalone) -> None:
    transparent = np.dstack([picture(), np.zeros((SIZE, SIZE), np.uint8)])
    transparent[20:40, 20:40, 3] = 255
    job = make_job(foreground=transparent, matting="auto", preserve_color=1.0)
    relit = host.relight(job, Generation(width=SIZE, height=SIZE, steps=1), CHECKPOINT.offsets("fc")).pictures[0]
    raw, finished = np.asarray(relit.raw), np.asarray(relit.picture)
    assert np.array_equal(finished[:10], raw[:10]), "no subject there"
    assert not np.array_equal(finished[25:35, 25:35], raw[25:35, 25:35])


def test_progress_reaches_its_end(host: Standalone) -> None:
    heard: list[tuple[str, int, int]] = []
    host.relight(make_job(), Generation(width=SIZE, height=SIZE, steps=2, batch=2, hires_scale=2.0),
                 CHECKPOINT.offsets("fc"), lambda *report: heard.append(report))
    assert [report for report in heard if report[0] == "sampling"] == [("sampling", n, 8) for n in range(1, 9)]


@pytest.mark.parametrize("sampler", ["LCM", "TCD"])
def test_more_steps_than_a_sampler_can_schedule_are_refused_before_any(host: Standalone, sampler: str) -> None:
    offsets = CHECKPOINT.offsets("fc")
    for steps, light, scale in ((51, "none", 1.0), (46, "left", 1.0), (26, "none", 2.0)):
        generation = Generation(width=SIZE, height=SIZE, sampler=sampler, steps=steps, hires_scale=scale)
        with pytest.raises(SettingsError, match=f"{sampler} has at most 50 steps"):
            host.relight(make_job(light=light), generation, offsets,
                         lambda *report: pytest.fail("it had begun"))


def test_guidance_ends_after_a_share_of_the_steps(host: Standalone, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = CHECKPOINT.offsets("fc")
    sizes: list[int] = []
    forward = host.unet.forward

    def counted(sample: torch.Tensor, *args: Any, **named: Any) -> Any:
        sizes.append(len(sample))
        return forward(sample, *args, **named)

    monkeypatch.setattr(host.unet, "forward", counted)
    pictures = {}
    for end, guided in ((1.0, 5), (0.6, 3), (0.5, 3), (0.0, 0)):
        sizes.clear()
        generation = Generation(width=SIZE, height=SIZE, steps=5, cfg=3.0, guidance_end=end)
        pictures[end] = host.relight(make_job(), generation, offsets).pictures[0].picture.tobytes()
        assert sizes == [2] * guided + [1] * (5 - guided)
    assert pictures[0.6] == pictures[0.5] != pictures[1.0]
    unguided = Generation(width=SIZE, height=SIZE, steps=5, cfg=1.0)
    assert host.relight(make_job(), unguided, offsets).pictures[0].picture.tobytes() == pictures[0.0]


# --- the UNet's weights -------------------------------------------------------------------------------------------


def assert_plain(host: Standalone, models: Any) -> None:
    state = host.unet.model.state_dict()
    assert list(state) == list(models.unet.state_dict())
    assert all(torch.equal(state[key], weight) for key, weight in models.unet.state_dict().items())


def test_offsets_leave_no_trace(models: Any) -> None:
    host = Standalone(CHECKPOINT, device=CPU)
    for kind, inputs in (("fc", 8), ("fbc", 12), ("fc", 8)):
        host.unet.use(CHECKPOINT.offsets(kind))
        assert host.unet.model.conv_in.weight.shape[1] == inputs
        expected = merged_unet(models, CHECKPOINT.offsets(kind)).state_dict()
        assert all(torch.equal(weight, expected[key]) for key, weight in host.unet.model.state_dict().items())
    host.unet.use(None)
    assert_plain(host, models)


def test_a_change_that_was_interrupted_is_made_again(models: Any) -> None:
    class Interrupting(dict[str, torch.Tensor]):
        def __getitem__(self, key: str) -> torch.Tensor:
            if key == "mid_block.resnets.0.conv1.weight":
                raise KeyboardInterrupt
            return super().__getitem__(key)

    host = Standalone(CHECKPOINT, device=CPU)
    offsets = CHECKPOINT.offsets("fc")
    with pytest.raises(KeyboardInterrupt):
        host.unet.use(Offsets(offsets.name, "fc", Interrupting(offsets.tensors)))
    host.unet.use(None)
    assert_plain(host, models)


@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_offsets_that_do_not_fit_change_nothing(models: Any, fault: str) -> None:
    host = Standalone(CHECKPOINT, device=CPU)
    tensors = dict(CHECKPOINT.offsets("fc").tensors)
    key = "up_blocks.3.resnets.0.conv1.weight"
    if fault == "missing":
        del tensors[key]
    else:
        tensors[key] = tensors[key][:, :3]
    with pytest.raises(WeightsError, match=re.escape(key)):
        host.unet.use(Offsets("broken", "fc", tensors))
    assert_plain(host, models)


def test_offsets_of_another_kind_are_refused(host: Standalone) -> None:
    with pytest.raises(WeightsError, match="12 inputs, mode fc needs 8"):
        host.relight(make_job(), Generation(), CHECKPOINT.offsets("fbc"))


def test_half_precision_weights_are_rounded_once(models: Any) -> None:
    from lib_iclight.hosts.standalone.unet import RelitUNet

    on_gpu = dataclasses.replace(means(CPU, "high"), compute=torch.float16, storage=torch.float16)
    half = CHECKPOINT.load(torch.float16).unet
    offsets = CHECKPOINT.offsets("fc")
    base = {key: weight.clone() for key, weight in half.state_dict().items()}
    RelitUNet(half, None, on_gpu).use(offsets)
    key = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(half.state_dict()[key], (base[key].float() + offsets.tensors[key]).half())


# --- LoRAs --------------------------------------------------------------------------------------------------------

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
SPELLINGS: dict[str, tuple[str, str, str, str]] = {
    "kohya": ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight",
              "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
              "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
              "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"),
    "kohya with ldm names": ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight",
                             "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
                             "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
                             "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"),
    "peft": (f"unet.{ATTENTION}.lora_B.weight", f"unet.{ATTENTION}.lora_A.weight",
             f"text_encoder.{TEXT}.lora_B.weight", f"text_encoder.{TEXT}.lora_A.weight"),
    "diffusers": (f"unet.{ATTENTION}.lora.up.weight", f"unet.{ATTENTION}.lora.down.weight",
                  f"text_encoder.{TEXT}.lora_linear_layer.up.weight",
                  f"text_encoder.{TEXT}.lora_linear_layer.down.weight"),
    "diffusers' processors": (f"unet.{ATTENTION.replace('to_q', 'processor.to_q_lora')}.up.weight",
                              f"unet.{ATTENTION.replace('to_q', 'processor.to_q_lora')}.down.weight",
                              f"text_encoder.{TEXT}.lora_linear_layer.up.weight",
                              f"text_encoder.{TEXT}.lora_linear_layer.down.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_is_added_under_any_spelling(tmp_path: Path, models: Any, spelling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(8, 2, generator=generator), torch.randn(2, 8, generator=generator)
    text_up, text_down = torch.randn(24, 2, generator=generator), torch.randn(2, 24, generator=generator)
    tensors = dict(zip(SPELLINGS[spelling], (up, down, text_up, text_down), strict=True))
    alpha = 2.0  # the rank, which is what files without an alpha mean
    if spelling.startswith("kohya"):
        alpha = 0.5
        tensors |= {key.removesuffix("lora_up.weight") + "alpha": torch.tensor(alpha)
                    for key in SPELLINGS[spelling] if key.endswith("lora_up.weight")}
    save_file(tensors, tmp_path / "style.safetensors")
    host = Standalone(CHECKPOINT, device=CPU, loras=[Lora(tmp_path / "style.safetensors", 0.7)] * 2)
    loras = host._loras_of(())
    host.unet.use(None, loras)
    host.text.use(loras)
    key = f"{ATTENTION}.weight"
    expected = models.unet.state_dict()[key] + 2 * 0.7 * alpha / 2 * (up @ down)
    assert torch.allclose(host.unet.model.state_dict()[key], expected, atol=1e-6)
    text = models.text_encoder.state_dict()[f"{TEXT}.weight"] + 2 * 0.7 * alpha / 2 * (text_up @ text_down)
    assert torch.allclose(host.text.model.state_dict()[f"{TEXT}.weight"], text, atol=1e-6)

    offsets = CHECKPOINT.offsets("fc")
    host.unet.use(offsets, loras)
    assert torch.allclose(host.unet.model.state_dict()[key], expected + offsets.tensors[key], atol=1e-6)
    host.unet.use(None, loras)
    assert torch.allclose(host.unet.model.state_dict()[key], expected, atol=1e-6)
    host.unet.use(None)
    host.text.use(NO_LORAS)
    assert_plain(host, models)
    assert all(torch.equal(host.text.model.state_dict()[name], weight)
               for name, weight in models.text_encoder.state_dict().items())


@pytest.mark.parametrize("tucker", [False, True])
def test_a_convolution_lora_is_the_chain_of_its_convolutions(tmp_path: Path, models: Any, tucker: bool) -> None:
    module = "down_blocks.0.resnets.0.conv1"
    name = "lora_unet_" + module.replace(".", "_")
    generator = torch.Generator().manual_seed(0)
    up = torch.randn(8, 3, 1, 1, generator=generator)
    mid = torch.randn(3, 3, 3, 3, generator=generator)
    down = torch.randn(3, 8, 1, 1, generator=generator) if tucker else torch.randn(3, 8, 3, 3, generator=generator)
    tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    if tucker:
        tensors[f"{name}.lora_mid.weight"] = mid
    save_file(tensors, tmp_path / "style.safetensors")
    unet, _ = load_loras([Lora(tmp_path / "style.safetensors")], models.unet.state_dict(), {})
    delta = unet[f"{module}.weight"][0].of(torch.Size([8, 8, 3, 3]))
    image = torch.randn(1, 8, 6, 6, generator=generator)
    conv = torch.nn.functional.conv2d
    chain = conv(conv(conv(image, down), mid), up) if tucker else conv(conv(image, down), up)
    assert torch.allclose(conv(image, delta), chain, atol=1e-4)


def lora(**parts: torch.Tensor) -> dict[str, torch.Tensor]:
    """One module of rank 2, with some of its parts replaced."""
    parts = {"up": torch.zeros(8, 2), "down": torch.zeros(2, 8)} | parts
    name = "lora_unet_" + ATTENTION.replace(".", "_")
    return {f"{name}.alpha" if part == "alpha" else f"{name}.lora_{part}.weight": tensor
            for part, tensor in parts.items()}


@pytest.mark.parametrize(("tensors", "message"), [
    ({"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": torch.zeros(2, 2)}, "not a plain LoRA"),
    ({"lora_unet_nowhere.lora_up.weight": torch.zeros(2, 2), "lora_unet_nowhere.lora_down.weight": torch.zeros(2, 2)},
     "is not for SD 1.5: the checkpoint has no lora_unet_nowhere"),
    ({f"unet.{ATTENTION}.lora.up.weight": torch.zeros(9, 2), f"unet.{ATTENTION}.lora.down.weight": torch.zeros(2, 8)},
     "another shape"),
    ({f"unet.{ATTENTION}.lora.up.weight": torch.zeros(8, 2)}, "lacks one of its two halves"),
    (lora(alpha=torch.ones(2)), r"q.alpha has the shape \[2\]"),
    (lora(alpha=torch.ones(0)), r"q.alpha has the shape \[0\]"),
    (lora(alpha=torch.tensor(math.nan)), "holds values that are no numbers"),
    (lora(up=torch.full((8, 2), math.inf)), "holds values that are no numbers"),
    (lora(up=torch.zeros(8, 0), down=torch.zeros(0, 8)), r"has the shape \[8, 0\]|has the shape \[0, 8\]"),
    (lora(up=torch.zeros(()), down=torch.zeros(())), r"has the shape \[\]"),
    (lora(up=torch.zeros(16), down=torch.zeros(16)), r"has the shape \[16\]"),
    (lora(up=torch.zeros(8, 3)), "another shape"),
    (lora(up=torch.zeros(4, 2), down=torch.zeros(2, 16)), "another shape"),
    (lora(up=torch.zeros(300_000, 1), down=torch.zeros(1, 300_000)), "another shape"),
    (lora(mid=torch.zeros(2, 3, 1, 1)), "another shape"), (lora(mid=torch.zeros(2, 2)), "another shape"),
    (lora(mid=torch.zeros(3, 2, 1, 1)), "another shape"), (lora(mid=torch.zeros(2, 2, 300, 300)), "another shape"),
])
def test_loras_that_cannot_be_used(tmp_path: Path, models: Any, tensors: dict[str, torch.Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_loras([Lora(tmp_path / "style.safetensors")], models.unet.state_dict(), models.text_encoder.state_dict())


def test_lora_mistakes_seen_without_loading(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no LoRA"):
        Lora(tmp_path / "missing.safetensors")
    with pytest.raises(WeightsError, match="strength"):
        Lora(tmp_path / "missing.safetensors", math.nan)
    (tmp_path / "old.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(WeightsError, match="pickle"):
        Lora(tmp_path / "old.pt")


# --- checkpoints --------------------------------------------------------------------------------------------------

UNET_PREFIX = "model.diffusion_model."


def write_header(path: Path, tensors: Mapping[str, tuple[int, ...]]) -> Path:
    """A sound safetensors file of fp16 zeros that takes no room on the disk."""
    header, end = {}, 0
    for key, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    return path


def sd15_header() -> dict[str, tuple[int, ...]]:
    tensors = {UNET_PREFIX + key: shape for key, shape in shapes("ldm", 4).items()}
    return tensors | {"first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
                      "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
                      "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}


def test_a_checkpoint_is_known_by_its_header(tmp_path: Path) -> None:
    assert open_checkpoint(write_header(tmp_path / "dream.v1.safetensors", sd15_header())).name == "dream.v1"


def _without(*starts: str) -> Callable[[dict[str, tuple[int, ...]]], None]:
    def change(header: dict[str, tuple[int, ...]]) -> None:
        for key in [key for key in header if key.startswith(starts)]:
            del header[key]
    return change


CONTEXT_KEY = UNET_PREFIX + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(("change", "message"), [
    (lambda header: header.update({UNET_PREFIX + "label_emb.0.0.weight": (4, 4)}), "is an SDXL checkpoint"),
    (lambda header: header.update({CONTEXT_KEY: (320, 1024)}), "is an SD 2 checkpoint"),
    (lambda header: header.update({UNET_PREFIX + "input_blocks.0.0.weight": (320, 9, 3, 3)}), "is an inpainting"),
    (lambda header: header.update({UNET_PREFIX + "input_blocks.0.0.weight": (320, 8, 3, 3)}), "8 inputs instead of 4"),
    (lambda header: header.update({UNET_PREFIX + "out.2.bias": (8,)}), "out.2.bias is missing or has another shape"),
    (_without(UNET_PREFIX), "has no Stable Diffusion UNet"),
    (_without("first_stage_model."), "has no VAE"),
    (_without("cond_stage_model."), "has no CLIP text encoder"),
])
def test_other_checkpoints_are_refused_by_their_header(
        tmp_path: Path, change: Callable[[dict[str, tuple[int, ...]]], None], message: str) -> None:
    header = sd15_header()
    change(header)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(write_header(tmp_path / "other.safetensors", header))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    for name, content, message in (("model.ckpt", b"PK\x03\x04", "pickle"), ("model.txt", b"", "not a .safetensors"),
                                   ("model.safetensors", b"PK\x03\x04aaaaaaaa", "pickle"),
                                   ("short.safetensors", b"\x10\0\0\0\0\0\0\0{", "cut short")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        open_checkpoint(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="not a diffusers folder"):
        open_checkpoint(tmp_path)


def ldm_vae_key(key: str) -> str:
    """diffusers' key of a VAE tensor in ldm's layout."""
    for pattern, replacement in (
            (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
            (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
            (r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block"),
            (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample"),
            (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
            (r"mid_block\.attentions\.0", "mid.attn_1"), (r"group_norm", "norm"), (r"to_([qkv])\.", r"\1."),
            (r"to_out\.0", "proj_out"), (r"conv_norm_out", "norm_out"), (r"conv_shortcut", "nin_shortcut")):
        key = re.sub(pattern, replacement, key)
    return key


@pytest.mark.parametrize("oldest", [False, True])
def test_every_tensor_of_a_single_file_finds_its_place(models: Any, oldest: bool) -> None:
    state = {UNET_PREFIX + TO_LDM[key]: tensor for key, tensor in models.unet.state_dict().items()}
    for key, tensor in models.vae.state_dict().items():
        attention = "attentions" in key and tensor.ndim == 2
        state["first_stage_model." + ldm_vae_key(key)] = tensor[:, :, None, None] if attention else tensor
    for key, tensor in models.text_encoder.state_dict().items():
        state["cond_stage_model.transformer." + (key.removeprefix("text_model.") if oldest else key)] = tensor
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["model_ema.decay"] = torch.tensor(0.0)
    loaded = models_from_ldm(state, torch.float32, miniature.UNET, miniature.VAE, miniature.TEXT_ENCODER)
    for part in ("unet", "vae", "text_encoder"):
        expected, ours = getattr(models, part).state_dict(), getattr(loaded, part).state_dict()
        if part == "unet":
            assert loaded.unet_base is not None and all(weight.device.type == "meta" for weight in ours.values())
            ours = {key: loaded.unet_base[key] for key in ours}
        assert list(ours) == list(expected)
        assert all(torch.equal(ours[key], tensor) for key, tensor in expected.items()), part
    ids = torch.tensor([[49406, 320, 49407]])
    assert torch.equal(loaded.text_encoder(ids).last_hidden_state, models.text_encoder(ids).last_hidden_state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with SD 1.x's width of context, so that it is taken for SD 1.x."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    path = tmp_path_factory.mktemp("checkpoints") / "small"
    UNet2DConditionModel(**{**miniature.UNET, "cross_attention_dim": 768}).save_pretrained(path / "unet")
    AutoencoderKL(**miniature.VAE).save_pretrained(path / "vae", variant="fp16")
    CLIPTextModel(CLIPTextConfig(**{**miniature.TEXT_ENCODER, "hidden_size": 768, "vocab_size": 100,
                                    "num_hidden_layers": 1})).save_pretrained(path / "text_encoder")
    DDIMScheduler().save_pretrained(path / "scheduler")
    return path


def test_a_folder_is_loaded_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("nothing may come from the network"))
    checkpoint = open_checkpoint(folder)
    assert checkpoint.name == "small"
    loaded = checkpoint.load(torch.float16)
    assert (loaded.unet.dtype, loaded.text_encoder.dtype) == (torch.float16, torch.float16)
    assert loaded.vae.dtype == torch.float32
    assert not any(weight.requires_grad for weight in loaded.unet.parameters())
    assert len(loaded.tokenizer) == 49408


@pytest.mark.parametrize(("file", "change", "message"), [
    ("unet/config.json", {"cross_attention_dim": 1024}, "is an SD 2 checkpoint"),
    ("unet/config.json", {"cross_attention_dim": 2048, "addition_embed_type": "text_time"}, "is an SDXL checkpoint"),
    ("unet/config.json", {"in_channels": 9}, "is an inpainting checkpoint"),
    ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}, "predicts v_prediction"),
])
def test_other_folders_are_refused_by_their_configuration(
        folder: Path, file: str, change: dict[str, Any], message: str) -> None:
    path = folder / file
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | change))
    try:
        with pytest.raises(CheckpointError, match=message):
            Folder(folder)
    finally:
        path.write_text(before)


def test_a_folder_of_pickles_is_refused(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    try:
        with pytest.raises(CheckpointError, match="Pickles"):
            Folder(folder)
    finally:
        path.with_suffix(".bin").rename(path)


def spoilt(folder: Path, to: Path, file: str, content: bytes | None) -> Path:
    """A copy of the folder (its large files as links) with one file's content replaced, cut in half, or gone."""
    shutil.copytree(folder, to, copy_function=os.link)
    path = to / file
    before = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_bytes(before[:len(before) // 2] if content == b"half" else content)
    return to


UNSOUND = (b"half", b"", b"null", b"[]", b'"a"', b"\xff\xfe", b"[" * 10**5, b"{" + b" " * 10**6 + b"}",
           b'{"block_out_channels": [1000000000]}', b'{"layers_per_block": 1e300}',
           b'{"in_channels": ' + b"9" * 5000 + b"}")


@pytest.mark.parametrize(("file", "content"), [
    *((f"{part}/config.json", content) for part in ("unet", "vae", "text_encoder") for content in (None, *UNSOUND)),
    *(("scheduler/scheduler_config.json", content) for content in (None, b"half", b"[]")),
    *((f"{part}.safetensors", content) for part in ("unet/diffusion_pytorch_model", "text_encoder/model",
                                                    "vae/diffusion_pytorch_model.fp16")
      for content in (None, b"half", b"", b"\0" * 100, b"<html>")),
    *(("tokenizer/vocab.json", content) for content in (b"{}", b"null", b"half", b"\xff", b'{"a": 1000000000}')),
    ("unet/config.json", b'{"in_channels": 4, "cross_attention_dim": 768}'),
    ("unet/config.json", b'{"in_channels": 4, "cross_attention_dim": 768, "down_block_types": "x", "act_fn": 5}'),
    ("text_encoder/config.json", b'{"hidden_size": 7}'), ("vae/config.json", b'{"block_out_channels": [1, [2]]}'),
], ids=lambda value: value if isinstance(value, str) else "")
def test_half_copied_and_damaged_folders_are_named(
        folder: Path, tmp_path: Path, file: str, content: bytes | None) -> None:
    path = spoilt(folder, tmp_path / "half", file, content)
    with pytest.raises(CheckpointError, match=r"^half[ /]") as caught:
        open_checkpoint(path).load(torch.float16)
    assert str(tmp_path) not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("part", "change"), [
    ("unet", {"layers_per_block": 1_000_000}), ("unet", {"block_out_channels": [32] * 1000}),
    ("unet", {"layers_per_block": [2, 2, 2, 50_000]}), ("vae", {"layers_per_block": 50_000}),
    ("text_encoder", {"num_hidden_layers": 50_000}), ("text_encoder", {"vocab_size": 10**12}),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else None)
def test_a_model_that_would_take_hours_to_build_is_refused(
        folder: Path, tmp_path: Path, part: str, change: dict[str, Any]) -> None:
    """Nothing but that one value is wrong."""
    whole = json.loads((folder / part / "config.json").read_text())
    path = spoilt(folder, tmp_path / "absurd", f"{part}/config.json", json.dumps(whole | change).encode())
    with pytest.raises(CheckpointError, match=f"^absurd is not an SD 1.5 checkpoint: {part}/config.json is damaged"):
        open_checkpoint(path).load(torch.float16)


def test_a_checkpoint_is_judged_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_header(tmp_path / "a.safetensors", sd15_header())
    reads: Any = []
    genuine = read_header
    monkeypatch.setattr(checkpoint, "read_header", lambda path: reads.append(path) or genuine(path))
    for _ in range(3):
        open_checkpoint(path)
    assert len(reads) == 1
    path.write_bytes(b"<html>")
    for _ in range(3):
        with pytest.raises(CheckpointError, match=r"^a\.safetensors is not a sound"):
            open_checkpoint(path)
    assert len(reads) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_checkpoints_and_loras_whose_names_are_no_text(folder: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(b"\xff")
    single = open_checkpoint(write_header(tmp_path / f"{strange}.safetensors", sd15_header()))
    assert single.name == "%ff"
    with pytest.raises(CheckpointError, match=r"^%ff\.safetensors is not a whole"):
        single.load(torch.float16)
    save_file(lora(), tmp_path / "a.safetensors")
    os.rename(tmp_path / "a.safetensors", tmp_path / f"{strange} lora.safetensors")
    assert list(load_loras([Lora(tmp_path / f"{strange} lora.safetensors")], {f"{ATTENTION}.weight": torch.zeros(8, 8)},
                           {})[0]) == [f"{ATTENTION}.weight"]


# --- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "message"), [
    ({"width": 500}, "width must be a multiple of 8"), ({"height": 8}, "height must be a whole number from 64"),
    ({"width": 512.0}, "width must be a whole number"), ({"steps": 0}, "steps"), ({"steps": True}, "steps"),
    ({"seed": -1}, "seed"), ({"batch": 0}, "batch"), ({"cfg": math.nan}, "cfg"), ({"cfg": 0.5}, "cfg"),
    ({"hires_scale": 0.5}, "hires_scale"), ({"hires_denoise": 0}, "hires_denoise"), ({"sampler": "Euler A"}, "sampler"),
    ({"prompt": None}, "prompt"), ({"guidance_end": 1.5}, "guidance_end"), ({"guidance_end": -0.1}, "guidance_end"),
    ({"prompt_syntax": "a1111"}, "prompt_syntax"), ({"prompt_syntax": []}, "prompt_syntax"),
])
def test_generations_that_cannot_be_meant(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Generation(**values)


def test_an_overflow_is_named(host: Standalone) -> None:
    with pytest.raises(HostError, match="half precision"):
        host.vae.decode(torch.full((1, 4, 8, 8), math.nan))


def test_devices() -> None:
    assert pick_device("cpu") == CPU
    for name in ("cuda:99", "tpu", ""):
        with pytest.raises(HostError, match="there is no device"):
            pick_device(name)
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_a_load_that_fails_leaves_torchs_default_dtype(tmp_path: Path) -> None:
    """transformers changes it while it loads; left at half, every model of the process would break."""
    folder = tmp_path / "damaged"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*-offsets.safetensors"))
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"vocab_size": "x"}))
    with pytest.raises(CheckpointError):
        Pocket(folder).load(torch.float16)
    assert torch.get_default_dtype() == torch.float32
