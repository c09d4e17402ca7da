"""Every hyper-parameter of the pocket model. A stage's result depends on these, on the budget and on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIZE = 256
"""pixels of a picture, each way"""
SEED = 20250101

# --- the networks: together at most 30 MB in the repository ------------------------------------------------------

VAE: dict[str, Any] = {
    "block_out_channels": (24, 48, 96, 128), "layers_per_block": 1, "norm_num_groups": 1, "sample_size": SIZE,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "mid_block_add_attention": False,
}
UNET: dict[str, Any] = {
    "sample_size": SIZE // 8, "block_out_channels": (64, 96, 128), "layers_per_block": 1, "norm_num_groups": 16,
    "cross_attention_dim": 48, "attention_head_dim": (2, 3, 4),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
}
TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2, "projection_dim": 48,
}

# --- the data ----------------------------------------------------------------------------------------------------

PRODUCTS_EVERY = 3
"""every so many-th chunk of scenes has the better subjects, the others those of the benchmark; 0: none has"""


@dataclass(frozen=True)
class Device:
    """What depends on the kind of device alone."""

    chunk: int
    """scenes that are rendered at once"""
    vae_chunks: int
    """that the VAE learns from at a time"""
    vae_start: int
    """how many of them are there at its first step"""
    latent_chunks: int
    """at most; what there is of them when their share of the budget is over is what the UNets learn from"""
    half_chunks: int
    """at most; further ones, of half the size alone: they are cheap, and a long training learns few scenes by heart"""
    fresh_every: int
    """steps of the VAE after which a chunk is added"""
    renew: bool
    """go on to add chunks when all are there, each in place of the oldest"""
    keep: bool
    """write rendered chunks and latents to the work folder, for resuming where rendering is slow"""
    save_every: float
    """seconds between checkpoints"""
    crop: int
    """pixels of the crops that the VAE learns from first; its decoder later gets whole pictures"""


DEVICES: Mapping[str, Device] = {
    "cuda": Device(chunk=256, vae_chunks=16, vae_start=16, latent_chunks=64, half_chunks=0, fresh_every=10, renew=True,
                   keep=False, save_every=20, crop=128),
    "cpu": Device(chunk=8, vae_chunks=180, vae_start=2, latent_chunks=512, half_chunks=1024, fresh_every=25,
                  renew=False, keep=True, save_every=120, crop=96),
}


# --- the stages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One training stage: for its share of the budget, then it is done.

    The shares and those of the latents leave 3 % for all else.
    """

    share: float
    batches: Mapping[str, int]
    """by the kind of device, for pictures of SIZE; see `Run.batch`"""
    rates: Mapping[str, float]
    """the highest learning rate, by the kind of device"""
    warmup: int = 100
    """steps"""
    cooldown: float = 0.4
    """over this last part of the stage the rate falls to 0"""
    average: float = 0.998
    """decay of the moving average of the weights, which is what gets published"""
    initial: str | None = None
    """the stage whose weights it starts from"""
    half: float = 0.0
    """the share of its steps that learn from pictures of half the size, four times as many at once"""
    muon: bool = False
    """whether Muon trains the network's matrices; else AdamW does, as it does all else"""
    high_from: int = 800
    high_share: float = 0.6
    """timesteps from there on are drawn so much more often: light and colours are settled there"""
    means: float = 0.0
    """weight of the squared error of the subject's mean: its colour follows from caption and pictures together, which
    is slow to be learnt from the loss of all pixels"""
    like: str | None = None
    """the stage whose number of steps it runs, instead of a share"""

    def halves(self, step: int) -> bool:
        """Whether this step is one of the share that learns from pictures of half the size; they are spread evenly."""
        return int((step + 1) * self.half) > int(step * self.half)


_UNET: dict[str, Any] = {"batches": {"cuda": 128, "cpu": 12}, "rates": {"cuda": 1.5e-3, "cpu": 1e-3}, "muon": True}
STAGES: Mapping[str, Stage] = {
    "vae": Stage(0.18, {"cuda": 96, "cpu": 4}, {"cuda": 1.5e-3, "cpu": 2e-3}, average=0.995, half=0.25),
    "decoder": Stage(0.05, {"cuda": 16, "cpu": 3}, {"cuda": 7e-4, "cpu": 4e-4}, cooldown=0.7, average=0.995,
                     initial="vae"),
    "text": Stage(0.02, {"cuda": 256, "cpu": 64}, {"cuda": 2e-3, "cpu": 2e-3}, warmup=50, cooldown=0.6, average=0.98),
    "base": Stage(0.06, **_UNET, half=1.0),
    "fbc-begin": Stage(0.20, **_UNET, cooldown=0.1, half=0.6, initial="base", high_from=960, high_share=0.8, means=0.5),
    "fc-begin": Stage(0.07, **_UNET, cooldown=0.1, half=1.0, initial="fbc-begin"),
    "fbc": Stage(0.15, **_UNET, cooldown=0.8, half=0.3, initial="fbc-begin", high_from=960, means=0.4),
    # The end of fc's training, alike but for the consistency loss; "fc" is the one that is exported.
    "fc": Stage(0.05, **_UNET, cooldown=1.0, half=0.2, initial="fc-begin"),
    "fc-without": Stage(0.05, **_UNET, cooldown=1.0, half=0.2, initial="fc-begin", like="fc"),
    "fcon": Stage(0.02, **_UNET, cooldown=1.0, half=0.2, initial="fc"),
}
LATENTS_SHARE, HALF_LATENTS_SHARE = 0.09, 0.03
"""of the budget, to render and encode what the UNets learn from: at both sizes, and further scenes at half the size"""
PARTS: Mapping[str, str] = {
    "vae": "coders", "decoder": "coders", "text": "coders", "base": "base", "fbc-begin": "fbc",
    "fbc": "fbc", "fc": "fc", "fc-begin": "fc-without", "fc-without": "fc-without", "fcon": "fcon"}
"""stage -> the file that it is published in; with the manifest and the sheet they are eight files"""
INPUTS: Mapping[str, int] = {"base": 4, "fbc-begin": 12, "fbc": 12}
"""of a stage's UNet, where they are not fc's 8"""

# --- losses ------------------------------------------------------------------------------------------------------

KL_WEIGHT = 1e-6
INITIAL_LOG_VARIANCE = -9.0
"""of the VAE's posterior: it begins as an autoencoder, nearly without noise"""
EDGE_WEIGHT = 0.5
"""of the L1 loss of the pictures' derivatives, beside the L1 loss of the pictures"""
PERCEPTUAL_WEIGHT = 0.1
SUBJECT_WEIGHT = 2.0
"""how much more the VAE's losses count over the subject"""
LATENT_NOISE = 0.1
"""of a latent's standard deviation: the decoder learns to overlook that much of a UNet's inexactness"""
MIN_SNR = 5.0
LATENT_WEIGHTS = (1.2, 1.5, 0.9, 0.4)
"""of the latent's channels in the UNets' loss. The first three begin as colours, and their errors cost 3 to 30 times as
much of a decoded picture as the last one's"""
EVEN_SIZES = (1, 2, 4, 8)
"""latent pixels, each way, over which errors are averaged to count again: an even error costs a picture four times as
much as a fine one"""
FAST: Mapping[str, float] = {"attn2": 4.0, "conv_in": 2.0}
"""where the conditions come in: these weights learn so many times faster"""
OUTER = ("conv_in", "conv_out", "time_embedding")
"""matrices at a network's ends, which are not Muon's"""
WHITE_NOISE: Mapping[str, float] = {"fbc-begin": 2.0, "fbc": 2.0}
FINE_NOISE: Mapping[str, float] = {"fc-begin": 1.0, "fc": 1.0, "fc-without": 1.0, "fcon": 1.0}
COARSE_NOISE: Mapping[str, Mapping[int, float]] = {
    "fbc-begin": {1: 1.5, 2: 1.5, 4: 1.5, 8: 1.5}, "fbc": {1: 1.5, 2: 1.5, 4: 1.5, 8: 1.5}, "fc": {1: 0.1},
    "fc-without": {1: 0.1}, "fcon": {1: 0.1}}
"""stage -> how strong the white noise is; how much more of it there is beside that, without what is even over half a
picture; cells across -> of noise that varies that slowly. 1 is IC-Light's offset noise. The colours that shine through
a sampler's noise are chance: UNets that learn with more noise than they will meet learn not to believe them. fbc knows
the light from the background; fc has to find its side in the coarsest of what is under the noise, and has no more there
but in the mean. There the picture is twice as loud as white noise, even at the last timestep: believed, noise would
decide the light's colour, and not the prompt"""
ALONE: Mapping[str, int] = {"fbc-begin": 960, "fbc": 960}
"""stage -> the timestep from which on nothing of the picture is under the noise, and the noise is a sampler's. SD 1.5's
schedule leaves a fifteenth of the picture at its end, for which a sampler's noise would be taken (Lin et al., 2024). fc
has no light but the noise's when none is given: without that its pictures are evenly lit"""
CONSISTENCY: Mapping[str, float] = {"fbc": 4.0, "fc": 0.3}
"""stage -> weight of the light-transport consistency loss. The paper has 0.1 in every step, ours counts in every other.
In fbc it is larger: fbc's pictures under single lights are what a light desk adds up"""
CONSISTENCY_EVERY = 2
"""steps; the loss costs three predictions"""
MERGER_WIDTH = 128
MERGER_LAYERS = 5
MERGER_STEPS = 300
LATENT_STD = 1.0
"""standard deviation of the scaled latents"""
