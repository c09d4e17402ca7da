"""Talks to Forge's API and to the probe inside it."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

SIZE = 128
JOB = {"prompt": "a cat", "negative_prompt": "bad", "steps": 1, "width": SIZE, "height": SIZE, "cfg_scale": 2.0,
       "seed": 1, "sampler_name": "Euler", "scheduler": "Karras", "save_images": False,
       "override_settings_restore_afterwards": False}
HIRES = {"enable_hr": True, "hr_additional_modules": ["Use same choices"], "hr_cfg": 2.0, "denoising_strength": 0.6,
         "hr_second_pass_steps": 1}


@dataclass(frozen=True)
class Answer:
    """What Forge answered to a job. A refused one has no pictures, but a sentence."""

    status: int
    pictures: list[NDArray[Any]]
    infotexts: list[str]
    sentence: str
    warnings: list[str] = field(default_factory=list)
    """what the API's info says under "IC-Light warnings"; empty without that key"""


@dataclass(frozen=True)
class Pass:
    """One sampling pass as the UNet saw it; tensors are those of its first call, on the CPU."""

    hires: bool
    channels: list[int]
    """inputs of every call, in order"""
    noise: torch.Tensor
    x: torch.Tensor
    timesteps: torch.Tensor
    sigma: float
    context: torch.Tensor
    output: torch.Tensor
    first_conv: tuple[int, ...]

    @property
    def concat(self) -> torch.Tensor:
        """What lies beside the noisy latent, [batch, 0, 4 or 8, h, w]."""
        return self.x[:, 4:]

    @property
    def start(self) -> torch.Tensor:
        """The latent that noise was added to, [images, 4, h, w], worked out from the first call's input."""
        noisy = self.x[:self.noise.shape[0], :4] * (self.sigma**2 + 1) ** 0.5
        return noisy - self.sigma * self.noise


@dataclass(frozen=True)
class Seen:
    """What the probe saw since it was armed."""

    passes: list[Pass]
    hooks: dict[str, list[float]]
    """seconds of each call of each of the extension's hooks"""


class Forge:
    """A running Forge."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """HTTP status and JSON answer. A body makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=900) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def job(self, tab: str, iclight: dict[str, Any] | None, scripts: dict[str, list[Any]] | None = None,
            **changes: Any) -> Answer:
        """Run a job; `iclight`: the extension's one object, None: it is not mentioned at all."""
        if "hr_upscaler" in changes and self.resizes_plainly:
            changes["hr_upscaler"] = "None"
        always = {name: {"args": args} for name, args in (scripts or {}).items()}
        if iclight is not None:
            always["IC-Light"] = {"args": [iclight]}
        status, answer = self.call(f"/sdapi/v1/{tab}", {**JOB, "alwayson_scripts": always, **changes})
        if status != 200:
            detail = answer.get("detail") or answer.get("errors")
            return Answer(status, [], [], detail if isinstance(detail, str) else json.dumps(detail))
        pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in answer["images"]]
        info = json.loads(answer["info"])
        return Answer(status, pictures, info["infotexts"], "",
                      info["extra_generation_params"].get("IC-Light warnings", []))

    def txt2img(self, iclight: dict[str, Any] | None = None, **changes: Any) -> Answer:
        """A txt2img job."""
        return self.job("txt2img", iclight, **changes)

    def img2img(self, iclight: dict[str, Any] | None = None, **changes: Any) -> Answer:
        """An img2img job."""
        return self.job("img2img", iclight, **{"denoising_strength": 0.9, **changes})

    @cached_property
    def resizes_plainly(self) -> bool:
        """Whether hires fix has no upscalers for latents and none by formula (Neo): only those that come as files."""
        return not self.call("/sdapi/v1/latent-upscale-modes")[1]

    def scripts(self, title: str) -> dict[str, list[dict[str, Any]]]:
        """The names of txt2img's scripts that begin with `title`, in any case, and what is known of their arguments."""
        _, scripts = self.call("/sdapi/v1/script-info")
        return {script["name"]: script["args"] for script in scripts
                if script["name"].startswith(title.lower()) and not script["is_img2img"]}

    @contextmanager
    def settings(self, **values: Any) -> Iterator[dict[str, Any]]:
        """`values` as a job's override_settings; puts back what was set. Hosts do so only for what is in their file."""
        _, before = self.call("/sdapi/v1/options")
        try:
            yield {"override_settings": values}
        finally:
            self.call("/sdapi/v1/options", {name: before[name] for name in values})

    def arm(self, **options: Any) -> None:
        """Let the probe watch the coming job, and do what it is asked to."""
        status, answer = self.call("/probe/arm", options)
        assert status == 200, answer

    def seen(self) -> Seen:
        """What the probe saw; it stops watching. No passes where it was armed with record=False."""
        _, answer = self.call("/probe/records")
        path = Path(answer["path"])
        passes = [Pass(**record) for record in torch.load(path) if "x" in record]
        path.unlink()
        return Seen(passes, answer["hooks"])

    def unet_hash(self) -> str:
        """A hash over the UNet's weights as they are now."""
        return str(self.call("/probe/state")[1]["hash"])


def base64_of(picture: Image.Image | NDArray[Any]) -> str:
    """A picture as base64 PNG."""
    buffer = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def subject(width: int = 160, height: int = 200, seed: int = 0) -> NDArray[Any]:
    """A colourful disc with a soft edge on nothing: uint8 [height, width, 4]."""
    y, x = np.mgrid[:height, :width]
    rgb = np.dstack([x * 255 // width, y * 255 // height, (x * (seed + 1) + y) % 256])
    distance = np.hypot(x - width / 2, y - height / 2) / (min(width, height) / 2)
    return np.dstack([rgb, 255 * np.clip(4 - 4 * distance, 0, 1)]).astype(np.uint8)


def scene(width: int = 200, height: int = 150) -> NDArray[Any]:
    """A background: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([128 + 120 * np.sin(x / 17), 128 + 120 * np.cos(y / 9), x * 0 + 60]).astype(np.uint8)
