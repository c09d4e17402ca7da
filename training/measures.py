"""Measures of relit pictures against the light stage's truth. Pictures are linear RGB [N, 3, H, W] unless said."""

from __future__ import annotations

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

from .renderer import Scenes, luminance, to_srgb

PLAIN = 0.6
"""the share of a subject's inner pixels, the smoothest in truth, that count as a plain surface"""


def gradients(picture: Tensor, scenes: Scenes) -> Tensor:
    """The slope of (luminance / albedo's luminance) over the subject along x and y, [N, 2]; least squares."""
    shading = luminance(picture) / luminance(scenes.albedo).clamp(min=0.01)
    side = shading.shape[-1]
    along = (torch.arange(side) + 0.5) * 2 / side - 1
    slopes = []
    for values, inside in zip(shading[:, 0].cpu(), scenes.alpha[:, 0].cpu() > 0.98, strict=True):
        x, y = along.expand(side, side)[inside], -along[:, None].expand(side, side)[inside]
        design = torch.stack([x, y, torch.ones_like(x)], 1)
        slopes.append(torch.linalg.lstsq(design, values[inside][:, None]).solution[:2, 0])
    return torch.stack(slopes)


def subject_mean(values: Tensor, alpha: Tensor) -> Tensor:
    """The mean over the subject, [N, C]; values [N, C, H, W], alpha [N, 1, H, W]."""
    return (values * alpha).sum((2, 3)) / alpha.sum((2, 3))


def warmth(picture: Tensor, alpha: Tensor) -> Tensor:
    """log(red / blue) of the subject's mean colour, [N]."""
    mean = subject_mean(picture, alpha).clamp(min=1e-4)
    return (mean[:, 0] / mean[:, 2]).log()


def psnr(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """In dB of sRGB, [N]; weight [N, 1, H, W]."""
    error = ((to_srgb(picture) - to_srgb(truth)).square() * weight).sum((1, 2, 3)) / (3 * weight.sum((1, 2, 3)))
    return -10 * error.clamp(min=1e-9).log10()


def ssim(picture: Tensor, truth: Tensor, alpha: Tensor) -> Tensor:
    """Mean structural similarity over the subject, of sRGB, [N]."""
    from skimage.metrics import structural_similarity

    values = []
    for one, other, mask in zip(to_srgb(picture), to_srgb(truth), alpha[:, 0], strict=True):
        full = structural_similarity(one.numpy(), other.numpy(), channel_axis=0, data_range=1.0, full=True)[1]
        values.append(float((torch.from_numpy(full).mean(0) * mask).sum() / mask.sum()))
    return torch.tensor(values)


def lab(picture: Tensor) -> Tensor:
    """CIELAB, [N, H, W, 3]."""
    from skimage.color import rgb2lab

    return torch.from_numpy(rgb2lab(to_srgb(picture).permute(0, 2, 3, 1).numpy()))


def chroma_error(picture: Tensor, truth: Tensor, alpha: Tensor) -> Tensor:
    """Mean distance in the a, b plane of CIELAB over the subject, [N]."""
    distance = (lab(picture)[..., 1:] - lab(truth)[..., 1:]).norm(dim=-1)
    return subject_mean(distance[:, None], alpha)[:, 0]


def drift(pictures: Tensor, alpha: Tensor) -> Tensor:
    """How far the subject's mean colour strays with the seed: the standard deviation in CIELAB's a, b plane, [N].

    pictures: [seeds, N, 3, H, W]; the root of the summed variances of a and b.
    """
    means = torch.stack([subject_mean(lab(one)[..., 1:].movedim(-1, 1), alpha) for one in pictures])
    return means.var(0).sum(-1).sqrt()


def mottling(picture: Tensor, truth: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """High-frequency energy on plain surfaces of a picture and of the truth, [N] each; their sums' ratio is the figure.

    Energy: the squared difference of sRGB to its Gaussian blur (sigma 2 pixels of a 128 pixel picture). Plain surfaces:
    the `PLAIN` share, with the least such energy in truth, of the subject at least two sigmas from its edge.
    """
    sigma = 2 * picture.shape[-1] / 128
    reach = math.ceil(2 * sigma)
    inner = -max_pool2d(-(alpha > 0.98).float(), 2 * reach + 1, 1, reach) > 0.5
    energies = [(to_srgb(one) - blur(to_srgb(one), sigma)).square().sum(1, keepdim=True) for one in (picture, truth)]
    smooth = blur(energies[1], sigma)
    sums = []
    for index, inside in enumerate(inner):
        plain = inside
        if inside.any():
            plain = inside & (smooth[index] <= smooth[index][inside].quantile(PLAIN))
        sums.append(torch.stack([energy[index][plain].sum() for energy in energies]))
    found = torch.stack(sums)
    return found[:, 0], found[:, 1]


def blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, C, H, W]; the border is repeated."""
    reach = math.ceil(3 * sigma)
    along = torch.arange(-reach, reach + 1, dtype=picture.dtype, device=picture.device)
    kernel = (-(along / sigma).square() / 2).exp()
    kernel = kernel / kernel.sum()
    flat = pad(picture.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    return conv2d(conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0].view_as(picture)


def color_transfer(foreground: Tensor, alpha: Tensor, backdrop: Tensor) -> Tensor:
    """The baseline: the subject's mean and covariance made the backdrop's, in linear light, [N, 3, H, W].

    By the symmetric optimal transport map between two normal distributions (Pitie and Kokaram, 2007).
    """
    made = []
    for picture, mask, wall in zip(foreground, alpha, backdrop, strict=True):
        own, other = picture[:, mask[0] > 0.98].double(), wall.flatten(1).double()
        root = _power(torch.cov(own), 0.5)
        inverse = _power(torch.cov(own), -0.5)
        transport = inverse @ _power(root @ torch.cov(other) @ root, 0.5) @ inverse
        moved = transport @ (picture.flatten(1).double() - own.mean(1, keepdim=True)) + other.mean(1, keepdim=True)
        made.append(moved.reshape(picture.shape).float().clamp(0, 1))
    return torch.stack(made)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    result: Tensor = vectors @ torch.diag(values.clamp(min=1e-7) ** exponent) @ vectors.T
    return result


def consistency_error(under_a: Tensor, under_b: Tensor, under_both: Tensor, alpha: Tensor) -> Tensor:
    """||L(a) + L(b) - L(a + b)|| / ||L(a + b)|| over the subject in linear light, clipped as the pictures are, [N]."""
    difference = ((under_a + under_b).clamp(max=1) - under_both).square() * alpha
    return (difference.sum((1, 2, 3)) / (under_both.square() * alpha).sum((1, 2, 3))).sqrt()


def mixture_error(under_a: Tensor, under_b: Tensor, under_both: Tensor, alpha: Tensor) -> Tensor:
    """The same without clipping, and with the gain of the mixture that makes it least, [N]."""
    mixed, both = (under_a + under_b) * alpha.sqrt(), under_both * alpha.sqrt()
    gain = (mixed * both).sum((1, 2, 3), keepdim=True) / mixed.square().sum((1, 2, 3), keepdim=True)
    result: Tensor = (gain * mixed - both).flatten(1).norm(dim=1) / both.flatten(1).norm(dim=1)
    return result


def normals(left: Tensor, right: Tensor, top: Tensor, bottom: Tensor, alpha: Tensor) -> Tensor:
    """Unit normals [N, 3, H, W] from four relights: opposite pairs of encoded luminance.

    u = (R - L) / (R + L), v likewise upwards, without their mean tilt over the subject, scaled to rms 0.6 together.
    """
    found = []
    for high, low in ((right, left), (top, bottom)):
        one, other = luminance(to_srgb(high)), luminance(to_srgb(low))
        tilt = (one - other) / (one + other).clamp(min=1e-3)
        found.append(tilt - (tilt * alpha).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True))
    flat = torch.cat(found, 1)
    size = ((flat.square().sum(1, keepdim=True) * alpha).sum((1, 2, 3)) / alpha.sum((1, 2, 3))).sqrt()
    flat = flat * (0.6 / size.clamp(min=1e-6)).view(-1, 1, 1, 1)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1)
    return torch.cat([flat, (1 - flat.square().sum(1, keepdim=True)).clamp(min=0).sqrt()], 1)


def normal_error(found: Tensor, scenes: Scenes) -> Tensor:
    """Mean angle to the true normals over the subject, degrees, [N]."""
    angle = (found * scenes.normal).sum(1, keepdim=True).clamp(-1, 1).acos().rad2deg()
    inside = (scenes.alpha > 0.98).float()
    return (angle * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def standard_error(values: NDArray[Any]) -> float:
    """Of their mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))
