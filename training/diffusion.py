"""The stages of the UNets: base (text to picture), fbc-begin, fc-begin, fbc, fc, fc-without, fcon."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, mse_loss, pad

from . import config
from .latents import Latents
from .measures import subject_mean
from .nets import TextEncoder, UNet, channels_last
from .pool import LIGHTINGS, write_tensors
from .run import LEAST_STEPS, Run, fit

STEPS, CFG, STRENGTH = 15, 2.0, 0.9
"""of `sample`"""


def noise_schedule(device: torch.device) -> Tensor:
    """The cumulative products of alpha that SD 1.5 was trained with, [1000]."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32).square()
    return (1 - betas).cumprod(0).to(device)


def timesteps(count: int, stage: str, generator: torch.Generator) -> Tensor:
    """Random timesteps, [count]: `high_share` of them from the stage's `high_from` on, the others anywhere.

    A stratified sample makes the loss less noisy.
    """
    choice = config.STAGES[stage]
    places = (torch.arange(count, device=generator.device)
              + torch.rand(count, generator=generator, device=generator.device)) / count
    anywhere = places / (1 - choice.high_share)
    high = 1 - (1 - places) / choice.high_share * (1 - choice.high_from / 1000)
    return (torch.where(anywhere < 1, anywhere, high) * 1000).long().clamp(max=999)


def noise_of_stage(stage: str, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """The noise that a stage learns with, [B, 4, h, w]; see `WHITE_NOISE` and what follows it in config.py."""
    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=generator.device)

    noise = drawn(*shape) * config.WHITE_NOISE.get(stage, 1.0)
    if stage in config.FINE_NOISE:
        more = config.FINE_NOISE[stage] * drawn(*shape)
        noise = noise + more - interpolate(avg_pool2d(more, shape[-1] // 2), size=shape[2:], mode="bilinear")
    for cells, amount in config.COARSE_NOISE.get(stage, {}).items():
        noise = noise + amount * interpolate(drawn(*shape[:2], cells, cells), size=shape[2:], mode="bilinear")
    return noise


def noisy_of_stage(stage: str, clean: Tensor, t: Tensor, products: Tensor, generator: torch.Generator,
                   groups: int = 1) -> tuple[Tensor, Tensor]:
    """The noise and what a stage learns from, [B, 4, h, w] each; from `ALONE` on (see config.py) they are the same.

    t: timesteps, [B]; products: [1000]; groups: so many parts of the batch have the same noise and timesteps.
    """
    shape = clean[:len(clean) // groups].shape
    noise = noise_of_stage(stage, shape, generator).repeat(groups, 1, 1, 1)
    noisy = noised(clean, noise, products[t])
    if stage in config.ALONE:
        alone = (t >= config.ALONE[stage]).view(-1, 1, 1, 1)
        plain = torch.randn(shape, generator=generator, device=clean.device).repeat(groups, 1, 1, 1)
        noise, noisy = (torch.where(alone, plain, one) for one in (noise, noisy))
    return noise, noisy


def noised(clean: Tensor, noise: Tensor, products: Tensor) -> Tensor:
    """The clean latents with so much noise, [B, 4, h, w]; products: [B]."""
    products = products.view(-1, 1, 1, 1)
    return products.sqrt() * clean + (1 - products).sqrt() * noise


def velocity(clean: Tensor, noise: Tensor, products: Tensor) -> Tensor:
    """What the UNets predict, [B, 4, h, w] (Salimans and Ho, 2022): noise and clean latents turned by a quarter.

    At high noise, where light and colours are settled, it is minus the clean latents. A UNet that predicts noise has
    to be exact to a hundredth there: the error of the latents that follow from its noise is 15 times as large.
    """
    products = products.view(-1, 1, 1, 1)
    return products.sqrt() * noise - (1 - products).sqrt() * clean


def clean_of(noisy: Tensor, predicted: Tensor, products: Tensor) -> Tensor:
    """The clean latents that a velocity stands for, [B, 4, h, w]."""
    return velocity(predicted, noisy, products)


def noise_of(noisy: Tensor, predicted: Tensor, products: Tensor) -> Tensor:
    """The noise that a velocity stands for, [B, 4, h, w]."""
    return noised(predicted, noisy, products)


def velocity_loss(predicted: Tensor, wanted: Tensor, products: Tensor) -> Tensor:
    """Squared error, weighted by min(1, 5 / SNR) ("min-SNR", Hang et al., 2023); what is best stays the same."""
    weights = (config.MIN_SNR * (1 - products) / products).clamp(max=1)
    return (weights * squared(predicted - wanted)).mean() / weights.mean()


def squared(error: Tensor) -> Tensor:
    """An error's mean square, [B].

    As in the decoded picture, even errors count more than fine ones and channels as `LATENT_WEIGHTS` says.
    """
    error = error * error.new_tensor(config.LATENT_WEIGHTS).sqrt().view(-1, 1, 1)
    sizes = [size for size in config.EVEN_SIZES if size <= error.shape[-1]]
    return torch.stack([avg_pool2d(error, size).square().mean((1, 2, 3)) for size in sizes]).mean(0)


def mean_colors(error: Tensor, masks: Tensor) -> Tensor:
    """The mean square of the clean latents' mean error over the subject; channels count as `LATENT_WEIGHTS` says.

    error: [B, 4, h, w]; masks: [B, 1, h, w].
    """
    means = subject_mean(error, masks)
    return (means.square() * means.new_tensor(config.LATENT_WEIGHTS)).mean()


def make_unet(run: Run, stage: str) -> UNet:
    """What a stage begins with: its own published weights, those of the stage before it, or random ones.

    Inputs that the stage before did not have count for nothing at first; those that it had beyond ours are left out.
    """
    torch.manual_seed(config.SEED + 2)
    inputs, initial = config.INPUTS.get(stage, 8), config.STAGES[stage].initial
    unet = UNet(config.UNET, inputs)
    state = run.weights(stage) or (run.weights(initial) if initial else None)
    if state is not None:
        first = state["conv_in.weight"][:, :inputs]
        state["conv_in.weight"] = pad(first, (0, 0, 0, 0, 0, inputs - first.shape[1]))
        unet.load_state_dict(state)
    elif initial:
        raise SystemExit(f"{run.out} has no {initial} yet. Train that stage before {stage}.")
    return channels_last(unet.to(run.device))


def train(run: Run, stage: str, latents: Latents, encoder: TextEncoder) -> None:
    """base: text to picture. The others: the subject under another light on grey in, the lit picture out.

    fbc gets the lit wall, too. fcon learns with offset noise. fbc and fc have the light-transport consistency loss,
    Zhang et al., ICLR 2025, section 3: the prediction under two lights together must be what a small network on latent
    pixels, here `Merger`, makes of the predictions under each. It is fitted to the light stage's own triples beforehand
    and then held, so that it cannot make the loss vacuous. fc-without has the same steps but for this loss.
    """
    if run.done(stage):
        return
    unet, products = make_unet(run, stage), noise_schedule(run.device)
    if run.compiled:
        unet.compile(dynamic=False)
    choice, device, inputs = config.STAGES[stage], run.device, unet.conv_in.weight.shape[1]
    captions = latents.captions_beside if inputs > 8 else latents.captions
    merger = fit_merger(run, latents) if stage in config.CONSISTENCY else None
    thrice = (*config.CONSISTENCY, "fc-without")

    def loss_of(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        def draw(high: int, size: int) -> Tensor:
            return torch.randint(high, (size,), generator=generator, device=device)

        # For the consistency loss a third of the batch each is lit by a, by b and by both, with the same noise.
        triples = stage in thrice and step % config.CONSISTENCY_EVERY == 0
        groups = 3 if triples else 1
        half = choice.halves(step)
        size = run.batch(stage, half) // groups
        scenes = draw(latents.count(half), size).repeat(groups)
        if triples:
            lit = torch.arange(3, device=device).repeat_interleave(size)
            source = torch.full_like(lit, 3)
        else:
            lit = draw(LIGHTINGS, size)
            source = (lit + 1 + draw(LIGHTINGS - 1, size)) % LIGHTINGS
        with torch.no_grad():
            context = encoder(captions.draw(scenes, lit, generator))
        clean = latents.of("pictures", scenes, lit, half)
        t = timesteps(size, stage, generator).repeat(groups)
        noise, noisy = noisy_of_stage(stage, clean, t, products, generator, groups)
        parts = [noisy]
        if inputs > 4:
            parts.append(latents.of("foregrounds", scenes, source, half))
        if inputs > 8:
            parts.append(latents.of("backdrops", scenes, lit, half))
        predicted = unet(torch.cat(parts, 1), t, context).float()
        terms = {"velocity": velocity_loss(predicted, velocity(clean, noise, products[t]), products[t])}
        made = clean_of(noisy, predicted, products[t])
        if choice.means:
            terms["means"] = choice.means * mean_colors(made - clean, latents.masks(scenes, half))
        if triples and merger:
            difference = consistency(made, latents.masks(scenes[:size], half), merger)
            terms["consistency"] = config.CONSISTENCY[stage] * difference
        return terms

    fit(run, stage, unet, loss_of, _steps(run, stage))


def _steps(run: Run, stage: str) -> int | None:
    """The number of steps of the forks, which have to be alike: as many as fc's share has time for, by fc-begin's."""
    like = config.STAGES[stage].like
    if like:
        return int(run.manifest["stages"][like]["step"])
    if stage != "fc":
        return None
    before = run.manifest["stages"]["fc-begin"]
    result: int | None = max(LEAST_STEPS, round(before["step"] / before["seconds"] * run.seconds(stage) * 0.95))
    return result


def consistency(made: Tensor, masks: Tensor, merger: Merger) -> Tensor:
    """The `squared` error of the clean latent under both lights against what the merger makes of those under each.

    made: the clean latents that are predicted, in three groups: under a, under b, under both.
    """
    under_a, under_b, under_both = made.chunk(3)
    return squared((under_both - merger(under_a, under_b)) * masks).mean()


class Merger(nn.Module):
    """The paper's small network on latent pixels: latents under a and under b -> the latent under both, [B, 4, h, w].

    The paper feeds it noise predictions that share one noisy latent; ours come from three latents of equal noise, so it
    gets the clean latents that they stand for. Symmetric in a and b, as light is.
    """

    def __init__(self) -> None:
        super().__init__()
        width, layers = config.MERGER_WIDTH, config.MERGER_LAYERS
        sizes = [8, *[width] * (layers - 1)]
        body = [part for low, high in pairwise(sizes) for part in (nn.Conv2d(low, high, 1), nn.SiLU())]
        self.layers = nn.Sequential(*body, nn.Conv2d(width, 4, 1))

    def forward(self, under_a: Tensor, under_b: Tensor) -> Tensor:
        """See the class."""
        both = [self.layers(torch.cat(pair, 1)) for pair in ((under_a, under_b), (under_b, under_a))]
        result: Tensor = (both[0] + both[1]) / 2
        return result


def fit_merger(run: Run, latents: Latents) -> Merger:
    """Fit a merger to the data's own triples; it is held fixed afterwards."""
    torch.manual_seed(config.SEED + 3)
    merger, path = Merger().to(run.device), run.work / "state" / "merger.safetensors"
    if path.is_file():
        merger.load_state_dict(load_file(path))
        return merger.eval().requires_grad_(False)
    optimizer = torch.optim.Adam(merger.parameters(), lr=2e-3)
    generator, batch = run.generator(4), 256 if run.device.type == "cuda" else 16
    for step in range(config.MERGER_STEPS):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / config.MERGER_STEPS)
        scenes = torch.randint(latents.count(), (batch,), generator=generator, device=run.device)
        a, b, both = (latents.of("pictures", scenes, torch.full_like(scenes, lit)) for lit in range(3))
        loss = mse_loss(merger(a, b), both)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    write_tensors({key: value.cpu() for key, value in merger.state_dict().items()}, path)
    return merger.eval().requires_grad_(False)


@torch.no_grad()
def sample(unet: UNet, concat: Tensor, context: Tensor, unwanted: Tensor, generator: torch.Generator, *,
           start: Tensor | None = None) -> Tensor:
    """DDIM (Song et al., 2021): scaled latents [B, 4, h, w]. A quick look while training; the figures are evaluate's.

    concat: [B, 4 or 8, h, w]; context, unwanted: [B, 77, width]; start: the initial latents, noised to `STRENGTH`.
    """
    products = noise_schedule(concat.device)
    times = torch.linspace((STRENGTH if start is not None else 1.0) * 999, 0, STEPS + 1).round().long().tolist()
    noise = torch.randn(concat[:, :4].shape, generator=generator, device=concat.device)
    latent = noise if start is None else noised(start, noise, products[times[0]].expand(len(noise)))
    for now, then in pairwise(times):
        t = torch.full((2 * len(noise),), now, device=concat.device)
        both = unet(torch.cat([torch.cat([latent, concat], 1)] * 2), t, torch.cat([context, unwanted])).float()
        wanted, other = both.chunk(2)
        predicted, here = other + CFG * (wanted - other), products[now].expand(len(noise))
        clean, left = clean_of(latent, predicted, here), noise_of(latent, predicted, here)
        latent = noised(clean, left, products[then].expand(len(noise))) if then else clean
    return latent
