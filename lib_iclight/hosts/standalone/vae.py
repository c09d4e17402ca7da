"""Pictures to latents and back: the VAE, in the precision and the room that there is."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from ... import imaging
from ...cache import content_key
from ...errors import HostError
from ...frame import Pixels
from .memory import Guest, Means, clear, is_out_of_memory
from .storage import exact

log = logging.getLogger("iclight")

TILED = "Memory ran out, so the VAE took the picture in tiles; that changes it by a shade here and there."
_TILE = 512
"""pixels of a tile's side; neighbours overlap by a quarter"""


class VAE:
    """A checkpoint's VAE on its device.

    Half precision is tried where the means ask for it, and what overflows there is done again in float32: some VAEs
    overflow always, some only in a few pictures.
    """

    def __init__(self, model: Any, means: Means) -> None:
        """model: in float32, on the CPU."""
        samples = [tensor.flatten()[:64].numpy() for tensor in model.state_dict().values()]
        precision = "-half" if means.half_vae else ""
        self.key = f"standalone-{content_key(*samples)}{precision}{'-tiled' if means.tiles else ''}"
        self.told: list[str] = []
        """what a person should know of the last pictures, in sentences"""
        self._scaling = float(model.config.scaling_factor)
        self._means = means
        self._whole = model
        self._half = copy.deepcopy(model).half() if means.half_vae else None
        if not means.moves:
            if self._half is not None:
                self._half.to(means.device)
            else:
                self._whole.to(means.device)
        if means.device.type == "cpu":  # whose memory also holds the picture that is decoded
            exact(model, torch.float32)
        self._overflows = False
        for one in (self._whole, self._half):
            if one is None:
                continue
            one.tile_sample_min_size, one.tile_latent_min_size = _TILE, _TILE // 8

    def encode(self, pixels: Pixels) -> torch.Tensor:
        """See `job.Encoder.encode`."""
        image = torch.from_numpy(imaging.to_vae(pixels)).movedim(-1, 0)[None]

        def run(model: Any, dtype: torch.dtype) -> torch.Tensor:
            latent: torch.Tensor = model.encode(image.to(self._means.device, dtype)).latent_dist.mode()
            return latent.float() * self._scaling

        return self._tried(run).cpu()

    def decode(self, latent: torch.Tensor) -> Image.Image:
        """A clean latent, float32 [1, 4, h, w], as an RGB picture. Raises HostError for what is no picture."""
        if not latent.isfinite().all():
            raise HostError("the sampling left the range of numbers: the checkpoint or a LoRA overflows in half "
                            "precision, or cfg is too high. Try `--device cpu`, or a lower cfg.")

        def run(model: Any, dtype: torch.dtype) -> torch.Tensor:
            decoded: torch.Tensor = model.decode(latent.to(self._means.device, dtype) / self._scaling).sample[0]
            return decoded.float()

        values = (self._tried(run).movedim(0, -1) * 127.5 + 127.5).clip(0, 255)
        return Image.fromarray(values.cpu().numpy().astype(np.uint8))

    def _tried(self, run: Callable[[Any, torch.dtype], torch.Tensor]) -> torch.Tensor:
        """What `run` gives with the model, whole or in tiles, in half precision if that stays finite."""
        if self._half is not None and not self._overflows:
            found = self._fitted(run, self._half, torch.float16)
            if found.isfinite().all():
                return found
            log.info("the VAE overflows in half precision and goes on in float32")
            self._overflows = True
        return self._fitted(run, self._whole, torch.float32)

    def _fitted(self, run: Callable[[Any, torch.dtype], torch.Tensor], model: Any, dtype: torch.dtype) -> torch.Tensor:
        with torch.inference_mode():
            found = self._attempt(run, model, dtype, self._means.tiles)
            if found is None:
                clear(self._means.device)
                if TILED not in self.told:
                    self.told.append(TILED)
                found = self._attempt(run, model, dtype, True)
        assert found is not None, "an attempt in tiles gives a picture or raises"
        return found

    def _attempt(self, run: Callable[[Any, torch.dtype], torch.Tensor], model: Any, dtype: torch.dtype,
                 tiles: bool) -> torch.Tensor | None:
        """None when memory ran out and tiles are still to be tried."""
        model.enable_tiling(tiles)
        try:
            with self._here(model):
                return run(model, dtype)
        except Exception as error:
            if tiles or not is_out_of_memory(error):
                raise
            return None

    @contextlib.contextmanager
    def _here(self, model: Any) -> Iterator[None]:
        lies_there = next(model.parameters()).device.type == self._means.device.type
        with contextlib.nullcontext() if lies_there else Guest(model, self._means.device).here():
            yield
