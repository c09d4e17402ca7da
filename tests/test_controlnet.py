"""ControlNets without a WebUI, against diffusers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from miniature import Miniature
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from test_standalone import latent_of, make_job, merged_unet, picture, reference_contexts

from lib_iclight.errors import ImageError, SettingsError, WeightsError
from lib_iclight.frame import Frame
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone import samplers
from lib_iclight.hosts.standalone.controlnet import Control, load_controlnet
from lib_iclight.hosts.standalone.host import Standalone

SIZE = 64
CHECKPOINT = Miniature()
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ControlNets in diffusers' form, whose last convolutions are not zero as a new one's are."""
    from diffusers import ControlNetModel

    path = tmp_path_factory.mktemp("controlnets")
    given = {key: value for key, value in miniature.UNET.items() if key != "sample_size"}
    for seed, name in enumerate(("edges", "depth")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = ControlNetModel(**given, conditioning_embedding_out_channels=(4, 4, 8, 8))
            for weight in net.parameters():
                if not weight.any():
                    torch.nn.init.normal_(weight, std=0.2)
        net.save_pretrained(path / name)
    return path


@pytest.fixture(scope="module")
def models() -> Any:
    return CHECKPOINT.load()


def reference(models: Any, nets: list[Any], maps: list[NDArray[Any]], strengths: list[float], generation: Generation,
              concat: torch.Tensor) -> torch.Tensor:
    """The latent of diffusers' ControlNet pipeline around a UNet that is given the concat latent."""
    from diffusers import StableDiffusionControlNetPipeline

    unet = merged_unet(models, CHECKPOINT.offsets("fc"))
    forward = unet.forward
    unet.forward = lambda sample, *args, **rest: forward(
        torch.cat([sample, concat.expand(len(sample), -1, -1, -1)], 1), *args, **rest)
    unet.register_to_config(in_channels=4)
    pipe = StableDiffusionControlNetPipeline(
        vae=models.vae, text_encoder=models.text_encoder, tokenizer=models.tokenizer, unet=unet, controlnet=nets,
        scheduler=samplers.make_scheduler(generation.sampler), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    positive, negative = reference_contexts(models, generation.prompt, generation.negative_prompt)
    made: torch.Tensor = pipe(
        image=[Image.fromarray(pixels) for pixels in maps], prompt_embeds=positive, negative_prompt_embeds=negative,
        width=generation.width, height=generation.height, num_inference_steps=generation.steps,
        guidance_scale=generation.cfg, controlnet_conditioning_scale=strengths, output_type="latent",
        generator=torch.Generator().manual_seed(generation.seed)).images
    return made


@pytest.mark.parametrize("names", [["edges"], ["edges", "depth"]])
def test_the_latent_equals_diffusers_pipeline(folder: Path, models: Any, names: list[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    generation = Generation(prompt="a cat", width=SIZE, height=SIZE, steps=4, seed=3, cfg=3.0)
    maps, strengths = [picture(10 + number) for number in range(len(names))], [0.8, 0.5][:len(names)]
    nets = [load_controlnet(folder / name, torch.float32) for name in names]
    expected = reference(models, nets, maps, strengths, generation, latent_of(models, picture()))
    host = Standalone(CHECKPOINT, device=CPU)
    latents: list[torch.Tensor] = []
    decode = host.vae.decode

    def listening(latent: torch.Tensor) -> Any:
        latents.append(latent)
        return decode(latent)

    monkeypatch.setattr(host.vae, "decode", listening)
    controls = [Control(folder / name, pixels, strength)
                for name, pixels, strength in zip(names, maps, strengths, strict=True)]
    host.relight(make_job(), generation, CHECKPOINT.offsets("fc"), controls=controls)
    assert (latents[0] - expected).abs().max() <= 1e-5 * expected.abs().max()
    host.relight(make_job(), generation, CHECKPOINT.offsets("fc"))
    assert (latents[1] - expected).abs().max() > 1e-2, "it must count, and for its own job only"


def test_a_control_lies_as_the_foreground_does_in_every_pass(folder: Path) -> None:
    wide = np.full((32, 64, 3), 255, np.uint8)
    control = Control(folder / "edges", wide)
    whole = control.laid(make_job(), Frame(64, 64))
    assert whole.shape == (1, 3, 64, 64) and float(whole.min()) == 1.0
    inside = control.laid(make_job(fit="contain", foreground=wide), Frame(64, 64))
    assert float(inside[0, :, 16:48].min()) == 1.0 and float(inside[0, :, :16].max()) == 0.0
    assert control.laid(make_job(), Frame(128, 64)).shape == (1, 3, 64, 128)


def test_a_control_acts_in_the_hires_pass_and_in_batches_alike(folder: Path) -> None:
    host, offsets = Standalone(CHECKPOINT, device=CPU), CHECKPOINT.offsets("fc")
    values: dict[str, Any] = {"width": SIZE, "height": SIZE, "steps": 2, "hires_scale": 2.0}
    controls = [Control(folder / "edges", picture(3), 1.5)]
    batch = host.relight(make_job(), Generation(batch=2, **values), offsets, controls=controls)
    alone = host.relight(make_job(), Generation(seed=1, **values), offsets, controls=controls)
    assert batch.pictures[1].picture.tobytes() == alone.pictures[0].picture.tobytes()
    none = host.relight(make_job(), Generation(seed=1, **values), offsets, controls=[Control(folder / "edges",
                                                                                             picture(3), 0.0)])
    assert none.pictures[0].picture.tobytes() == \
        host.relight(make_job(), Generation(seed=1, **values), offsets).pictures[0].picture.tobytes()


def test_what_is_no_controlnet_is_named(folder: Path, tmp_path: Path) -> None:
    file = folder / "edges" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(WeightsError, match="there is no ControlNet gone"):
        Control(tmp_path / "gone.safetensors", picture())
    with pytest.raises(WeightsError, match="strength"):
        Control(file, picture(), float("nan"))
    with pytest.raises(ImageError):
        Control(folder / "edges", b"no picture")
    with pytest.raises(ImageError, match="no picture"):
        Control(folder / "edges", None)
    with pytest.raises(WeightsError, match="not for SD 1.5"):
        Control(file, picture())  # the miniature's, 24 wide
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not a ControlNet that can be used"):
        Control(tmp_path / "other.safetensors", picture())
    damaged = {key: value for key, value in load_file(file).items() if "mid_block" not in key}
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_bytes((folder / "edges" / "config.json").read_bytes())
    save_file(damaged, tmp_path / "damaged" / "diffusion_pytorch_model.safetensors")
    host = Standalone(CHECKPOINT, device=CPU)
    with pytest.raises(WeightsError, match="damaged cannot be loaded"):
        host.relight(make_job(), Generation(width=SIZE, height=SIZE, steps=1), CHECKPOINT.offsets("fc"),
                     controls=[Control(tmp_path / "damaged", picture())])
    host.relight(make_job(), Generation(width=SIZE, height=SIZE, steps=1), CHECKPOINT.offsets("fc"))


def test_the_flags_parts(tmp_path: Path) -> None:
    from lib_iclight.cli.options import control_parts

    file = tmp_path / "a:b.safetensors"
    file.touch()
    for text, parts in (("n.safetensors:p.png:0.5", (Path("n.safetensors"), Path("p.png"), 0.5)),
                        ("n.safetensors:p.png", (Path("n.safetensors"), Path("p.png"), 1.0)),
                        (f"{file}:p.png:2", (file, Path("p.png"), 2.0))):
        assert control_parts(text) == parts
    for text in ("n.safetensors", "", "n.safetensors:0.5"):
        with pytest.raises(SettingsError, match="FILE:PICTURE:STRENGTH"):
            control_parts(text)
