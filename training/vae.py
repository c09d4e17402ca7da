"""The stages vae (both halves) and decoder (that alone, further, on whole pictures)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from . import config
from .nets import VAE, bias_of, channels_last
from .pool import PicturePool, halved
from .run import Run, fit

LATEST = ("decoder", "vae")
"""the stages that a VAE may be of, the best first"""


def make_vae() -> VAE:
    """A new VAE that begins as an average over 8 x 8 pixels and knows colours: from random weights it learns them late.

    Channels 0-2 carry RGB, 3-5 its negative and 6-7 constants, through shortcuts and samplers alone. The constants
    make the group norms nearly linear, and silu(x) - silu(-x) = x does the same for the last activation.
    """
    torch.manual_seed(config.SEED)
    vae = VAE(config.VAE)
    constant, carried = 2.0, 8
    with torch.no_grad():
        name: str
        module: Any
        for name, module in vae.named_modules():
            if name.endswith("conv2"):
                module.weight.zero_()
            elif name.endswith(("conv_shortcut", "samplers.0.conv")):
                weight = module.weight
                weight[:carried].zero_()
                taps = weight[range(carried), range(carried)]
                if "downsamplers" in name:
                    taps[:, :2, :2] = 0.25
                else:
                    taps[:, weight.shape[2] // 2, weight.shape[3] // 2] = 1
                weight[range(carried), range(carried)] = taps
                module.bias[:carried].zero_()
        for part in (vae.encoder, vae.decoder):
            part.conv_in.weight[:carried].zero_()
            bias_of(part.conv_in)[:carried] = torch.tensor([0.0] * 6 + [constant, -constant])
            part.conv_out.weight.zero_()
            bias_of(part.conv_out).zero_()
            part.conv_norm_out.weight[:6] = (2 * constant**2 / len(part.conv_norm_out.weight)) ** 0.5
            for color in range(3):
                part.conv_in.weight[color, color, 1, 1], part.conv_in.weight[color + 3, color, 1, 1] = 1, -1
                part.conv_out.weight[color, color, 1, 1], part.conv_out.weight[color, color + 3, 1, 1] = 1, -1
        torch.nn.init.normal_(vae.encoder.conv_out.weight[3], std=0.1)
        for mixing in (vae.quant_conv, vae.post_quant_conv):
            mixing.weight.copy_(torch.eye(len(mixing.weight))[:, :, None, None])
            bias_of(mixing).zero_()
        bias_of(vae.quant_conv)[4:].fill_(config.INITIAL_LOG_VARIANCE)
    return vae


class RandomFeatures(nn.Module):
    """What a perceptual loss compares, from a fixed random network: edges and textures of three sizes, no contents."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.SEED + 5)
        self.layers = nn.ModuleList([nn.Conv2d(3, 24, 5, padding=2), nn.Conv2d(24, 32, 3, stride=2, padding=1),
                                     nn.Conv2d(32, 48, 3, stride=2, padding=1)])
        layer: Any
        for layer in self.layers:
            flat = torch.randn(layer.weight.flatten(1).shape, generator=generator)
            flat = flat - flat.mean(1, keepdim=True)  # even surfaces are nothing to it
            layer.weight.data = (flat / flat.norm(dim=1, keepdim=True)).view_as(layer.weight)
            layer.bias.data.zero_()
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> features at full, half and quarter size."""
        found = []
        for layer in self.layers:
            pixels = nn.functional.leaky_relu(layer(pixels), 0.2)
            found.append(pixels)
        return found


def reconstruction(made: Tensor, wanted: Tensor, alpha: Tensor, features: RandomFeatures) -> dict[str, Tensor]:
    """The losses of decoded pictures, [B, 3, H, W] in -1..1: L1 of pixels, of derivatives at two sizes, of features."""
    weight = 1 + config.SUBJECT_WEIGHT * alpha
    difference = (made - wanted).float()
    terms = {"pixels": (weight * difference.abs()).mean() / weight.mean()}
    edges = torch.zeros((), device=made.device)
    for scale in (1, 2):
        scaled, share = (avg_pool2d(field, scale) if scale > 1 else field for field in (difference, weight))
        edges = edges + sum((scaled.diff(dim=dim).abs() * share.narrow(dim, 1, share.shape[dim] - 1)).mean()
                            for dim in (2, 3)) / share.mean()
    terms["edges"] = config.EDGE_WEIGHT * edges
    pairs = zip(features(made), features(wanted), strict=True)
    perceived = torch.stack([(one - other).abs().float().mean() for one, other in pairs])
    return terms | {"perceived": config.PERCEPTUAL_WEIGHT * perceived.mean()}


def train(run: Run, stage: str, pool: PicturePool) -> None:
    """Learn to encode v / 127 - 1 and to decode to v / 127.5 - 1, which is what the standalone host does.

    Once latents have been made of it, the encoder stays as it is: that is why the decoder has a stage of its own.
    """
    if run.done(stage):
        return
    whole = _begun(run, stage)
    features, batch = RandomFeatures().to(run.device), run.batch(stage)
    side = min(run.kind.crop, run.size // 2) if stage == "vae" else run.size

    def loss_of(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        pool.at_step(step)
        half = config.STAGES[stage].halves(step)
        crops, alpha = pool.crops(batch, side * (2 if half else 1), generator)
        if half:
            crops, alpha = halved(crops), avg_pool2d(alpha, 2)
        pixels = crops.float().contiguous(memory_format=torch.channels_last)
        mean, log_variance = whole.encode(pixels / 127 - 1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        latent = mean + (log_variance / 2).exp() * noise
        if stage == "decoder":
            amount = torch.rand(batch, 1, 1, 1, generator=generator, device=mean.device)
            latent = mean + config.LATENT_NOISE * mean.std() * (amount * 2 - 1).clamp(min=0) * noise
        terms = reconstruction(whole.decode(latent), pixels / 127.5 - 1, alpha, features)
        if stage == "vae":
            kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)) / 2
            terms["kl"] = config.KL_WEIGHT * kl.mean()
        return terms

    fit(run, stage, whole, loss_of)


def _begun(run: Run, stage: str) -> VAE:
    """What a stage begins with; after the first its encoder is held."""
    whole, initial = make_vae(), config.STAGES[stage].initial
    whole.load_state_dict(run.weights(stage) or (run.weights(initial) if initial else None) or whole.state_dict())
    if initial:
        whole.encoder.requires_grad_(False)
        whole.quant_conv.requires_grad_(False)
    return channels_last(whole.to(run.device))


def load(run: Run) -> VAE:
    """The trained VAE, as far as it is."""
    vae, state = VAE(config.VAE), next((found for stage in LATEST if (found := run.weights(stage))), None)
    if state is None:
        raise SystemExit(f"{run.out} has no VAE yet. Train the stage vae first.")
    vae.load_state_dict(state)
    return channels_last(vae.to(run.device)).eval().requires_grad_(False)
