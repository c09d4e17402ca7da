"""ControlNets beside the UNet: each adds to what passes through it, as a picture says.

Zhang, Rao, Agrawala, "Adding Conditional Control to Text-to-Image Diffusion Models", ICCV 2023. The picture is what a
ControlNet was trained to see (edges, depth, a pose); none is made here.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import files, imaging
from ...cache import content_key
from ...errors import ImageError, WeightsError
from ...frame import Frame, fit
from ...job import Relight
from ...weights.header import read_header
from ...weights.keys import CONTEXT
from ...weights.stored import Stored
from .memory import Guest, Means

CONFIG: Mapping[str, Any] = MappingProxyType({"cross_attention_dim": CONTEXT})
"""of SD 1.5's ControlNets, where it differs from the defaults of diffusers' class"""
_PREFIX = "control_model."
_SIGNS = ("zero_convs.0.0.weight", "controlnet_cond_embedding.conv_in.weight")
"""what every ControlNet has, in its own layout and in diffusers'"""
_CONTEXTS = ("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
             "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight")


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet, its picture and how strongly it counts.

    path: a .safetensors file in its own or diffusers' layout, or a diffusers folder. picture: in any form that
    `imaging.load_image` takes. Raises WeightsError and ImageError; only headers and the picture are read.
    """

    path: Path
    picture: object
    strength: float = 1.0
    pixels: NDArray[np.uint8] = field(init=False)
    """uint8 sRGB [H, W, 3]"""

    def __post_init__(self) -> None:
        name = files.shown_name(self.path)
        if not math.isfinite(self.strength):
            raise WeightsError(f"the strength of the ControlNet {name} must be a number, not {self.strength}.")
        if not files.exists(self.path):
            raise WeightsError(f"there is no ControlNet {name}. Check the file's name.", path=self.path)
        entries = read_header(_file_of(self.path)).entries
        shapes = {key.removeprefix(_PREFIX): entry.shape for key, entry in entries.items()}
        if not any(sign in shapes for sign in _SIGNS):
            raise WeightsError(f"{name} is not a ControlNet that can be used here. Use one for SD 1.5, as "
                               ".safetensors; T2I adapters and control LoRAs are not known here.", path=self.path)
        context = next((shapes[key][-1] for key in _CONTEXTS if key in shapes), 0)
        if context and context != CONTEXT and not files.is_dir(self.path):
            raise WeightsError(f"the ControlNet {name} is not for SD 1.5. Use one that is.", path=self.path)
        pixels = imaging.load_plain(self.picture, f"picture for {name}")
        if pixels is None:
            raise ImageError(f"the ControlNet {name} has no picture. Give one.")
        object.__setattr__(self, "pixels", pixels)

    @property
    def name(self) -> str:
        """The file's name without its extension, as it can be shown."""
        return files.shown_name(self.path.with_suffix(""))

    @property
    def about(self) -> str:
        """Names the ControlNet, its picture's content and its strength."""
        return f"{self.name} {self.strength:g} {content_key(self.pixels)}"

    def laid(self, job: Relight, frame: Frame) -> torch.Tensor:
        """The picture as a pass sees it, float32 [1, 3, height, width] in 0..1; it lies as the foreground does."""
        if job.settings.fit == "contain":  # of a map of edges or depths, nothing is around
            placed = np.zeros((frame.height, frame.width, 3), np.uint8)
            left, top, right, bottom = imaging.contained((self.pixels.shape[1], self.pixels.shape[0]), frame.width,
                                                         frame.height)
            placed[top:bottom, left:right] = imaging.stretch(self.pixels, right - left, bottom - top)
        else:
            placed = frame.place(self.pixels, fit)
        return torch.from_numpy(placed.astype(np.float32) / 255).movedim(-1, 0)[None]


class ControlNets:
    """The ControlNets that were last used, loaded."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._kept: dict[tuple[object, ...], Any] = {}

    def ready(self, controls: Sequence[Control]) -> Ready | None:
        """The ControlNets for a job; None without any. Those of the job before that are not among them are let go."""
        keys = [(control.path, files.state(_file_of(control.path))) for control in controls]
        self._kept = {key: net for key, net in self._kept.items() if key in keys}
        for key, control in zip(keys, controls, strict=True):
            if key not in self._kept:
                net = load_controlnet(control.path, self._means.compute)
                self._kept[key] = net if self._means.moves else net.to(self._means.device)
        nets = [self._kept[key] for key in keys]
        return Ready(self._means, list(zip(controls, nets, strict=True))) if controls else None


@dataclass
class Ready:
    """A job's ControlNets, and in each of its passes their pictures as they lie there."""

    means: Means
    nets: list[tuple[Control, Any]]
    pictures: list[torch.Tensor] = field(default_factory=list)

    def lay(self, job: Relight, frame: Frame) -> None:
        """Make the pictures ready for a pass."""
        self.pictures = [control.laid(job, frame).to(self.means.device, self.means.compute) for control, _ in self.nets]

    def here(self) -> contextlib.AbstractContextManager[object]:
        """The ControlNets on the device inside, where they do not stay there."""
        stack = contextlib.ExitStack()
        if self.means.moves:
            for net in {id(net): net for _, net in self.nets}.values():
                stack.enter_context(Guest(net, self.means.device).here())
        return stack

    def residuals(self, latent: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> dict[str, Any]:
        """What they add to the UNet, by the names of diffusers' UNet.

        latent: float32 [B, 4, h, w], without IC-Light's conditioning; context: [B, tokens, width].
        """
        dtype = self.means.compute
        sample, context = latent.to(self.means.device, dtype), context.to(self.means.device, dtype)
        down: list[torch.Tensor] = []
        middle: torch.Tensor | None = None
        for (control, net), picture in zip(self.nets, self.pictures, strict=True):
            own, own_middle = net(sample, timestep.to(sample.device), encoder_hidden_states=context,
                                  controlnet_cond=picture.expand(len(sample), -1, -1, -1),
                                  conditioning_scale=control.strength, return_dict=False)
            down = [one + more for one, more in zip(down, own, strict=True)] if down else list(own)
            middle = own_middle if middle is None else middle + own_middle
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def load_controlnet(path: Path, dtype: torch.dtype) -> Any:
    """A new diffusers ControlNet on the CPU. Raises WeightsError."""
    from accelerate import init_empty_weights  # type: ignore[import-untyped]
    from diffusers import ControlNetModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    name = files.shown_name(path)
    try:
        config = json.loads(files.content(path / "config.json")) if files.is_dir(path) else dict(CONFIG)
        with init_empty_weights():
            net = ControlNetModel.from_config(config)
        tensors: Any = Stored(_file_of(path))
        if _SIGNS[1] not in tensors:
            own = {key.removeprefix(_PREFIX): tensors[key] for key in tensors}
            tensors = convert_controlnet_checkpoint(own, {**net.config})
        net.load_state_dict({key: tensors[key].to(dtype, copy=True) for key in tensors}, strict=True, assign=True)
    except WeightsError:
        raise
    except Exception as error:  # of damaged files and other kinds of nets, diffusers raises what it comes upon
        raise WeightsError(f"the ControlNet {name} cannot be loaded. Use one for SD 1.5, and a sound copy of it.",
                           path=path) from error
    return net.eval().requires_grad_(False)


def _file_of(path: Path) -> Path:
    """The file with the weights: the path itself, or the one in a diffusers folder."""
    if not files.is_dir(path):
        return path
    found = files.listed(path, "diffusion_pytorch_model*.safetensors")
    return found[0] if found else path / "diffusion_pytorch_model.safetensors"
