"""What a relight needs of whatever runs the diffusion.

A host adapter gives the job an `Encoder` (its VAE), adds the offsets and the concat conditioning to its UNet for one
sampling, and starts that sampling from the job's initial latent. How it does so is the host's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Encoder:
    """A host's VAE, as the job sees it.

    key: names the VAE by its content, so that latents can be cached across jobs and checkpoints.
    encode: uint8 sRGB [H, W, 3] (H, W multiples of 8) -> float32 [1, 4, H/8, W/8] on the CPU: the posterior's mode of
        `imaging.to_vae(pixels)` times the scaling factor.
    """

    key: str
    encode: Callable[[np.ndarray], torch.Tensor]
