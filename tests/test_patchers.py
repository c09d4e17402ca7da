"""The adapters for reForge, Forge Classic and Forge Neo in a double: what reaches the UNet, how often they merge."""

from __future__ import annotations

import copy
import importlib
import sys
import uuid
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_modules import put_modules

from lib_iclight.errors import CheckpointError, HostError


class Cond:
    def __init__(self, cond: torch.Tensor) -> None:
        self.cond = cond


class Patcher:
    """A UNet patcher as these hosts have it. Clones share the model and deep-copy the options."""

    has_uuid = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.patches: dict[str, list[Any]] = {}
        self.object_patches: dict[str, Any] = {}
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.controlnet_linked_list: Any = None
        if self.has_uuid:
            self.patches_uuid = uuid.uuid4()

    def clone(self) -> Any:
        twin = copy.copy(self)
        twin.patches = {key: patches[:] for key, patches in self.patches.items()}
        twin.object_patches = self.object_patches.copy()
        twin.model_options = copy.deepcopy(self.model_options)
        return twin

    def add_patches(self, patches: dict[str, Any], strength_patch: float = 1.0, strength_model: float = 1.0) -> None:
        for key, patch in patches.items():
            self.patches[key] = [*self.patches.get(key, []), (strength_patch, patch, strength_model)]
        if self.has_uuid:
            self.patches_uuid = uuid.uuid4()

    def add_conditioning_modifier(self, modifier: Any) -> None:
        self.model_options.setdefault("conditioning_modifiers", []).append(modifier)


class ReforgePatcher(Patcher):
    has_uuid = True


class NeoPatcher(ReforgePatcher):
    def add_patches(self, patches: dict[str, Any], strength_patch: float = 1.0, strength_model: float = 1.0, *,
                    filename: str | None = None, online_mode: bool | None = None) -> None:
        super().add_patches(patches, strength_patch, strength_model)


class WebUI:
    """Loads what is sampled with, and counts how often weights had to be merged."""

    def __init__(self, patcher: type[Patcher]) -> None:
        first = SimpleNamespace(weight=torch.zeros(320, 4, 3, 3))
        config = SimpleNamespace(unet_config={"in_channels": 4, "context_dim": 768})
        model = SimpleNamespace(diffusion_model=SimpleNamespace(input_blocks=[[first]]), model_config=config,
                                process_latent_in=lambda latent: latent * 0.5)
        self.original = patcher(model)
        self.sd_model = SimpleNamespace(is_sd1=True, model_config=config,
                                        forge_objects=SimpleNamespace(unet=self.original, vae=Vae()))
        self.loaded: Any = None
        self.merges = 0
        self.short_of_memory = False

    def load(self) -> None:
        """Merge, unless this very clone (Classic) or one with the same id (the others) is merged already."""
        unet = self.sd_model.forge_objects.unet
        now = unet.patches_uuid if unet.has_uuid else unet
        if now is not self.loaded and now != self.loaded:
            self.merges += bool(unet.patches)
            self.loaded = now
        inputs = 4
        for _, (_, (weight, options)), _ in unet.patches.get("diffusion_model.input_blocks.0.0.weight", []):
            assert options == {"pad_weight": True}
            inputs = max(inputs, weight.shape[1])
        first = unet.model.diffusion_model.input_blocks[0][0]
        if self.short_of_memory:  # then a layer's patches are added as it runs
            first.weight_function = [lambda weight: torch.zeros(320, inputs, 3, 3)]
        else:
            first.weight = torch.zeros(320, inputs, 3, 3)

    def sample(self, x: torch.Tensor, uncond: bool = True, load: bool = True) -> list[torch.Tensor | None]:
        """One step through the modifiers; the concat conditioning of each part."""
        if load:
            self.load()
        parts: list[Any] = [[{"model_conds": {}}], [{"model_conds": {}}] if uncond else None]
        unet = self.sd_model.forge_objects.unet
        for modifier in unet.model_options.get("conditioning_modifiers", []):
            _, _, _, parts[1], parts[0], *_ = modifier(unet.model, x, None, parts[1], parts[0], 1.0, {}, 0)
        found = [part["model_conds"].get("c_concat") for part in [*parts[0], *(parts[1] or [])]]
        return [None if one is None else one.cond for one in found]

    def job(self, host: Any, kind: str | None = "fc", concat: torch.Tensor | None = None,
            before: Any = lambda unet: unet) -> list[torch.Tensor | None]:
        """One job: the host resets, other extensions run `before`, IC-Light applies, the host samples."""
        self.sd_model.forge_objects.unet = before(self.original)
        concat = torch.ones(1, 4, 8, 8) if concat is None else concat
        if kind is not None:
            self.applied = host.apply(SimpleNamespace(sd_model=self.sd_model), offsets(kind), concat)
        return self.sample(torch.zeros(2, 4, 8, 8))


class Vae:
    vae_dtype = torch.float32

    def __init__(self) -> None:
        layer = SimpleNamespace(weight=torch.zeros(2))
        pool = torch.nn.functional.avg_pool2d
        spread = SimpleNamespace(weight=torch.zeros(2))
        self.patcher = object()
        encode = _Callable(lambda pixels: pool(pixels, 8), conv_in=layer, conv_out=layer)
        moments = _Callable(lambda means: torch.cat([means, means[:, :1], torch.full_like(means, 1e9),
                                                     means[:, :1]], dim=1), **vars(spread))
        self.first_stage_model: Any = SimpleNamespace(encoder=encode, quant_conv=moments,
                                                      process_in=lambda latent: latent * 0.5)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.first_stage_model.encode(2 * pixels.movedim(-1, 1) - 1)
        return result


class _Callable(SimpleNamespace):
    def __init__(self, function: Any, **members: Any) -> None:
        super().__init__(**members)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def offsets(kind: str) -> Any:
    inputs = 12 if kind == "fbc" else 8
    return SimpleNamespace(name=f"iclight-{kind}", tensors={
        "input_blocks.0.0.weight": torch.zeros(320, inputs, 3, 3), "out.2.bias": torch.zeros(4)})


@pytest.fixture(params=[("ldm", Patcher), ("ldm", ReforgePatcher), ("forge", NeoPatcher)],
                ids=["classic", "reforge", "neo"])
def kind_of_host(request: pytest.FixtureRequest) -> Any:
    """An adapter, and the UNet patcher of its host."""
    return request.param


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, kind_of_host: tuple[str, type[Patcher]]) -> Any:
    adapter, _ = kind_of_host
    fakes: dict[str, dict[str, Any]] = {
        "ldm_patched": {}, "ldm_patched.modules": {"__path__": []},
        "ldm_patched.modules.model_management": {"VAE_ALWAYS_TILED": False},
        "ldm_patched.modules.conds": {"CONDNoiseShape": Cond},
        "backend": {}, "backend.memory_management": {"VAE_ALWAYS_TILED": False},
        "backend.sampling": {}, "backend.sampling.condition": {"ConditionNoiseShape": Cond}}
    put_modules(monkeypatch, fakes)
    monkeypatch.delitem(sys.modules, f"lib_iclight.hosts.webui.{adapter}", raising=False)
    module = importlib.import_module(f"lib_iclight.hosts.webui.{adapter}")
    return getattr(module, f"{adapter.title()}Host")("a host")


@pytest.fixture
def webui(kind_of_host: tuple[str, type[Patcher]]) -> WebUI:
    return WebUI(kind_of_host[1])


def test_concat_and_offsets_reach_every_part(host: Any, webui: WebUI) -> None:
    concats = webui.job(host)
    assert len(concats) == 2
    for concat in concats:
        assert concat is not None
        assert torch.equal(concat, torch.ones(2, 4, 8, 8))
    webui.sample(torch.zeros(2, 4, 8, 8), uncond=False)  # a step without the negative prompt
    assert webui.applied.steps == 2
    patches = webui.sd_model.forge_objects.unet.patches
    assert set(patches) == {"diffusion_model.input_blocks.0.0.weight", "diffusion_model.out.2.bias"}


def test_nothing_is_left_on_the_hosts_own_unet(host: Any, webui: WebUI) -> None:
    webui.job(host)
    assert webui.original.patches == {}
    assert webui.original.model_options == {"transformer_options": {}}
    assert webui.job(host, None) == [None, None]


def test_merged_once_for_jobs_alike(host: Any, webui: WebUI) -> None:
    for value in (1.0, 2.0, 3.0):
        concats = webui.job(host, concat=torch.full((1, 4, 8, 8), value))
        assert all(torch.equal(concat, torch.full((2, 4, 8, 8), value)) for concat in concats if concat is not None)
        assert webui.applied.steps == 1, "only this job's modifier runs"
    assert webui.merges == 1


def test_another_extensions_clone_costs_no_merge(host: Any, webui: WebUI) -> None:
    def with_control(unet: Any) -> Any:
        clone = unet.clone()
        clone.controlnet_linked_list = object()
        clone.model_options["theirs"] = 1
        return clone

    webui.job(host)
    webui.job(host, before=with_control)
    unet = webui.sd_model.forge_objects.unet
    assert unet.controlnet_linked_list is not None
    assert unet.model_options["theirs"] == 1
    webui.job(host)
    unet = webui.sd_model.forge_objects.unet
    assert unet.controlnet_linked_list is None
    assert "theirs" not in unet.model_options
    assert webui.merges == 1


def test_other_weights_are_merged_anew(host: Any, webui: WebUI) -> None:
    webui.job(host)
    webui.job(host, "fbc", torch.ones(1, 8, 8, 8))
    assert webui.merges == 2

    def with_lora(unet: Any) -> Any:
        clone = unet.clone()
        clone.add_patches({"diffusion_model.out.2.bias": ("diff", (torch.ones(4), {"pad_weight": True}))})
        return clone

    webui.job(host, "fbc", torch.ones(1, 8, 8, 8), before=with_lora)
    unet = webui.sd_model.forge_objects.unet
    assert len(unet.patches["diffusion_model.out.2.bias"]) == 2
    webui.job(host, "fbc", torch.ones(1, 8, 8, 8))
    assert len(webui.sd_model.forge_objects.unet.patches["diffusion_model.out.2.bias"]) == 1
    assert webui.merges == 4


def test_release_lets_the_clone_go(host: Any, webui: WebUI) -> None:
    webui.job(host)
    first = webui.sd_model.forge_objects.unet
    host.release()
    webui.job(host)
    assert webui.sd_model.forge_objects.unet is not first


@pytest.mark.parametrize(("concat", "word"), [(torch.ones(1, 4, 8, 9), "8x8.*9x8"), (torch.ones(1, 8, 8, 8), "12")])
def test_what_does_not_fit_is_refused(host: Any, webui: WebUI, concat: torch.Tensor, word: str) -> None:
    with pytest.raises(HostError, match=word):
        webui.job(host, concat=concat)


def test_a_host_short_of_memory_patches_layers_as_they_run(host: Any, webui: WebUI) -> None:
    webui.short_of_memory = True
    webui.job(host)
    assert webui.applied.steps == 1
    webui.sd_model.forge_objects.unet.model.diffusion_model.input_blocks[0][0].weight_function = []
    with pytest.raises(HostError, match="takes 4 channels"):
        webui.sample(torch.zeros(2, 4, 8, 8), load=False)


def test_encoder_gives_the_scaled_mode_with_the_same_patcher(host: Any, webui: WebUI) -> None:
    vae = webui.sd_model.forge_objects.vae
    own = vae.first_stage_model
    latent = host.encoder(webui.sd_model).encode(np.full((16, 24, 3), 200, np.uint8))
    assert latent.shape == (1, 4, 2, 3)
    assert torch.allclose(latent, torch.tensor((200 / 127 - 1) * 0.5))
    assert vae.first_stage_model is own


def test_inpainting_checkpoints_are_refused(host: Any, webui: WebUI) -> None:
    host.check_checkpoint(webui.sd_model)
    webui.original.model.model_config.unet_config["in_channels"] = 9
    with pytest.raises(CheckpointError, match="inpainting"):
        host.check_checkpoint(webui.sd_model)


@pytest.mark.parametrize("kind_of_host", [("ldm", Patcher), ("ldm", ReforgePatcher)], ids=["classic", "reforge"])
def test_sd2_checkpoints_are_refused_though_the_host_calls_them_sd1(host: Any, webui: WebUI) -> None:
    webui.original.model.model_config.unet_config["context_dim"] = 1024
    with pytest.raises(CheckpointError, match="an SD 2 checkpoint"):
        host.check_checkpoint(webui.sd_model)
