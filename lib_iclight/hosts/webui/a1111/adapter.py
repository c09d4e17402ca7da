"""The adapter itself: A1111's sampler of one pass is wrapped, so that it samples with IC-Light in the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from modules import devices, sd_unet, shared
from numpy.typing import NDArray

from .... import imaging
from ....errors import HostError
from ....job import Encoder
from ....weights import Layout, Offsets
from ...base import Applied, fingerprint, require_sd1
from .. import replacing
from .conditioning import conditioned
from .weights import Weights


class A1111Host:
    """See `hosts.base.Host`."""

    adapter = "a1111"
    layout: Layout = "ldm"

    def __init__(self, name: str) -> None:
        self.name = name
        self._weights = Weights()

    def check_checkpoint(self, sd_model: Any) -> None:
        """See `Host.check_checkpoint`."""
        is_sd1 = getattr(sd_model, "is_sd1", False)
        require_sd1(sd_model, sd_model.model.diffusion_model.input_blocks[0][0].weight.shape[1] if is_sd1 else 4)

    def encoder(self, sd_model: Any) -> Encoder:
        """The VAE in use, encoding as the host's img2img does, except for the mode."""
        first_stage = sd_model.first_stage_model

        def encode(pixels: NDArray[np.uint8]) -> torch.Tensor:
            image = torch.from_numpy(imaging.to_vae(pixels)).movedim(-1, 0)[None].contiguous()
            first_stage.to(devices.dtype_vae)
            posterior = sd_model.encode_first_stage(image.to(shared.device, dtype=devices.dtype_vae))
            latent: torch.Tensor = (sd_model.scale_factor * posterior.mode()).float().cpu()
            if not torch.isfinite(latent).all():
                raise HostError("the VAE made NaN of a picture, as some do in half precision. "
                                "Start the WebUI with --no-half-vae, or choose another VAE.")
            return latent

        return Encoder(f"a1111-{fingerprint(first_stage)}-{devices.dtype_vae}", encode)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """See `Host.apply`. What is changed are the two methods of `p.sampler`.

        A1111 makes that object anew for each pass of txt2img, and once for all iterations of img2img.
        """
        if sd_unet.current_unet is not None:
            raise HostError("another UNet (for example of TensorRT) stands in for the checkpoint's own, and IC-Light "
                            "cannot change it. Set SD Unet to None in the settings.")
        applied = Applied()
        model = p.sd_model.model
        for name in ("sample", "sample_img2img"):
            replacing.replace(p.sampler, name, self._relit(replacing.original(p.sampler, name), model, offsets, concat,
                                                           applied))
        return applied

    def release(self) -> None:
        """See `Host.release`."""
        self._weights.forget()

    def _relit(self, original: Callable[..., Any], model: Any, offsets: Offsets, concat: torch.Tensor,
               applied: Applied) -> Callable[..., Any]:
        """A sampler's method that samples with IC-Light in the model."""
        def sample(p: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            kwargs["image_conditioning"] = concat.expand(x.shape[0], -1, -1, -1).to(x)
            with (self._weights.merged(model.diffusion_model, offsets) as renew,
                  conditioned(model, renew, applied)):
                return original(p, x, *args, **kwargs)

        return sample
