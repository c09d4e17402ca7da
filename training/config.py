"""Every hyper-parameter of the pocket model. A stage's result depends on these and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SIZE = 128
"""pixels"""
SEED = 20250101

SCENES = 2400
"""training scenes; each is rendered under lamps a, b, a + b and c"""
SCENES_PER_SHARD = 20
VAE_SCENES = 1400
"""the VAE learns from the first so many, so that it can start before all are rendered"""

VAE: dict[str, Any] = {
    "block_out_channels": (24, 48, 64, 96), "layers_per_block": 1, "norm_num_groups": 1, "sample_size": SIZE,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "mid_block_add_attention": False,
}
UNET: dict[str, Any] = {
    "sample_size": SIZE // 8, "block_out_channels": (64, 96, 128), "layers_per_block": 1, "norm_num_groups": 16,
    "cross_attention_dim": 64, "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2,
    "projection_dim": 64,
}


@dataclass(frozen=True)
class Stage:
    """One training stage. It ends after `steps`, or can be ended earlier: the rate falls over the last `cooldown`."""

    steps: int
    batch: int
    rate: float
    warmup: int = 100
    cooldown: int = 3000
    average: float = 0.998
    """decay of the moving average of the weights, which is what gets saved"""
    initial: str | None = None
    """the stage whose weights it starts from"""


STAGES = {
    "vae": Stage(steps=3000, batch=8, rate=1e-3, cooldown=500, average=0.99),
    "decoder": Stage(steps=3000, batch=8, rate=8e-4, cooldown=500, average=0.99, initial="vae"),
    "text": Stage(steps=600, batch=64, rate=2e-3, warmup=50, cooldown=400, average=0.98),
    "base": Stage(steps=12000, batch=16, rate=8e-4, cooldown=500),
    "fbc": Stage(steps=10000, batch=16, rate=8e-4, cooldown=1500, initial="base"),
    "fc-begin": Stage(steps=10000, batch=16, rate=8e-4, cooldown=100, initial="base"),
    # The end of fc's training, alike but for the consistency loss; "fc" is the one that is exported.
    "fc": Stage(steps=600, batch=16, rate=8e-4, cooldown=600, initial="fc-begin"),
    "fc-without-consistency": Stage(steps=600, batch=16, rate=8e-4, cooldown=600, initial="fc-begin"),
}
CROP = 64
"""pixels of the crops that the VAE learns from"""
KL_WEIGHT = 1e-6
INITIAL_LOG_VARIANCE = -9.0
"""of the VAE's posterior: it begins as an autoencoder, nearly without noise"""
GRADIENT_WEIGHT = 0.5
"""of the L1 loss of the pictures' derivatives, beside the L1 loss of the pictures"""

WEIGHT_LIMIT = 30.0
"""of the loss at high noise"""
FAST, FAST_FACTOR = ("attn2", "conv_in"), 2.0
"""where the conditions come in: these weights learn so many times faster"""
CAPTION_DROP = 0.2
CONSISTENCY_WEIGHT = 0.1
"""of the light-transport consistency loss; the paper's weight beside its relighting loss"""
CONSISTENCY_EVERY = 3
"""steps; the loss costs three predictions"""
MERGER_WIDTH = 128
MERGER_LAYERS = 5
MERGER_STEPS = 300
LATENT_STD = 1.0
"""standard deviation of the scaled latents"""
