"""The offsets and one noise prediction, worked out once more in another way and compared.

    W' = W + O                                      every weight but the first convolution's, in 64 bits
    conv'([x, c]) = conv(x; W, b) + conv(x; O[:, :4], b') + conv(c; O[:, 4:], 0)
    e = e(negative) + s (e(positive) - e(negative))     each prompt in a pass of its own

x is the noisy latent, c the concat conditioning, s the guidance. The second line is the sum of the padded weights
without padding or summing them. All of it runs on the processor in 32 bits, on models that are loaded anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.functional import conv2d

from ..errors import WeightsError
from ..hosts.standalone.checkpoint import Checkpoint
from ..hosts.standalone.host import Options, Standalone
from ..hosts.standalone.models import whole_unet
from ..weights import Offsets
from .report import Line

FIRST = "conv_in.weight"
FIRST_BIAS = "conv_in.bias"
SIDE = 16
"""of the latent: small, for the figures are the same at any size"""
GUIDANCE = 2.0
STEP = 500
SAMPLES = 257
"""so many values of each tensor are compared one by one, and the sum of all"""
MOST = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""relative error of a prediction that rounding to this type explains"""


class _Mark(NamedTuple):
    """What of a tensor is remembered: a second UNet beside the first may not fit into memory."""

    shape: tuple[int, ...]
    values: torch.Tensor
    total: float
    magnitude: float

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Mark:
        flat = tensor.detach().cpu().double().flatten()
        return cls(tuple(tensor.shape), flat[::max(1, flat.numel() // SAMPLES)].clone(), float(flat.sum()),
                   float(flat.abs().sum()))


def sound(offsets: Offsets) -> Line:
    """Whether the offsets are numbers, and not the zeros of a download with holes."""
    zero = [key for key, tensor in offsets.tensors.items() if not bool((tensor.float() != 0).any())]
    bad = [key for key, tensor in offsets.tensors.items() if not bool(tensor.float().isfinite().all())]
    largest = max(float(tensor.float().abs().max()) for tensor in offsets.tensors.values())
    name = f"offsets {offsets.kind}"
    if bad:
        return Line(name, f"{len(bad)} of {len(offsets.tensors)} tensors hold values that are no numbers "
                    f"(first: {bad[0]}).", False)
    unlit = not bool((offsets.tensors[first_of(offsets)][:, 4:].float() != 0).any())
    if unlit or len(zero) > len(offsets.tensors) // 2:
        return Line(name, f"{len(zero)} of {len(offsets.tensors)} tensors are nothing but zeros: the file was not "
                    "written whole.", False)
    return Line(name, f"{len(offsets.tensors)} tensors of numbers, the largest {largest:.3g}", True)


def first_of(offsets: Offsets) -> str:
    """The first convolution's key, in whichever layout they are."""
    return FIRST if FIRST in offsets.tensors else "input_blocks.0.0.weight"


def compare(checkpoint: Checkpoint, offsets: Offsets, device: torch.device) -> Iterator[Line]:
    """Two lines: the merged weights, and one prediction of the noise. Loads the checkpoint twice, one after the other.

    offsets: in diffusers' layout. Raises ICLightErrors where one of the two cannot be loaded or does not fit.
    """
    generator = torch.Generator().manual_seed(12345)
    latent = torch.randn(1, 4, SIDE, SIDE, generator=generator)
    concat = torch.randn(1, offsets.tensors[FIRST].shape[1] - 4, SIDE, SIDE, generator=generator)
    with torch.inference_mode():
        marks, predicted, contexts, dtype = _by_the_program(checkpoint, offsets, device, latent, concat)
        expected_marks, expected = _by_the_equations(checkpoint, offsets, latent, concat, contexts)
    yield _merged(offsets.kind, marks, expected_marks, dtype)
    error = float((predicted - expected).norm() / expected.norm())
    most = MOST.get(dtype, MOST[torch.float16])
    told = f"relative error {error:.1e}, up to {most:g} is rounding ({_name(dtype)} on {device.type})"
    yield Line(f"noise {offsets.kind}", told, error <= most)  # NaN is wrong


def _by_the_program(checkpoint: Checkpoint, offsets: Offsets, device: torch.device, latent: torch.Tensor,
                    concat: torch.Tensor) -> tuple[dict[str, _Mark], torch.Tensor, list[torch.Tensor], torch.dtype]:
    host = Standalone(checkpoint, device=device, options=Options(memory="high"))
    host.unet.use(offsets)
    contexts = host.contexts("a vase in the evening sun", "lowres")
    predicted = host.predict(latent.to(device), torch.tensor([STEP]), contexts, concat, GUIDANCE)
    dtype = next(weight.dtype for _, weight in host.unet.weights())
    return ({key: _Mark.of(weight) for key, weight in host.unet.weights()}, predicted.cpu(),
            [context.cpu().float() for context in contexts], dtype)


def _by_the_equations(checkpoint: Checkpoint, offsets: Offsets, latent: torch.Tensor, concat: torch.Tensor,
                      contexts: list[torch.Tensor]) -> tuple[dict[str, _Mark], torch.Tensor]:
    unet = whole_unet(checkpoint.load(torch.float32))
    first = _First(unet.conv_in, offsets)
    marks = {}
    for key, weight in unet.named_parameters():
        offset = offsets.tensors.get(key)
        if offset is None or (key != FIRST and offset.shape != weight.shape):
            raise WeightsError(f"the weights {offsets.name} do not fit the checkpoint at {key}.")
        if key == FIRST:
            grown = offset.double().clone()
            grown[:, :weight.shape[1]] += weight.double()
            marks[key] = _Mark.of(grown)
        else:
            marks[key] = _Mark.of(weight.double() + offset.double())
            if not key.startswith("conv_in."):
                weight.copy_(weight.double() + offset.double())
    unet.conv_in = first
    both = torch.cat([latent, concat], dim=1)
    positive, negative = (unet(both, torch.tensor([STEP]), context, return_dict=False)[0] for context in contexts)
    return marks, negative + GUIDANCE * (positive - negative)


class _First(torch.nn.Module):
    """The first convolution of the relit UNet, as the sum of three plain ones."""

    def __init__(self, plain: Any, offsets: Offsets) -> None:
        super().__init__()
        self.padding = plain.padding
        offset = offsets.tensors[FIRST].float()
        inputs = plain.weight.shape[1]
        self.kernels = [(plain.weight.clone(), plain.bias.clone()),
                        (offset[:, :inputs], offsets.tensors[FIRST_BIAS].float()), (offset[:, inputs:], None)]

    def forward(self, both: torch.Tensor) -> torch.Tensor:
        inputs = self.kernels[0][0].shape[1]
        parts = (both[:, :inputs], both[:, :inputs], both[:, inputs:])
        made = [conv2d(part, kernel, bias, padding=self.padding)
                for part, (kernel, bias) in zip(parts, self.kernels, strict=True)]
        return made[0] + made[1] + made[2]


def _merged(kind: str, marks: dict[str, _Mark], expected: dict[str, _Mark], dtype: torch.dtype) -> Line:
    name, rounding = f"merge {kind}", torch.finfo(dtype).eps
    if marks.keys() != expected.keys():
        return Line(name, f"{len(marks.keys() ^ expected.keys())} tensors are missing or unknown.", False)
    wrong, largest = [], 0.0
    for key, mark in marks.items():
        other = expected[key]
        if mark.shape != other.shape:
            wrong.append(key)
            continue
        apart = float((mark.values - other.values).abs().max())
        largest = max(largest, apart)
        # Written so that NaN is wrong too.
        if not (apart <= rounding * float(other.values.abs().max())
                and abs(mark.total - other.total) <= rounding * other.magnitude):
            wrong.append(key)
    told = f"{len(marks)} tensors, largest difference {largest:.1e} ({_name(dtype)})"
    if wrong:
        return Line(name, f"{told}; {len(wrong)} are not checkpoint + offsets (first: {wrong[0]}).", False)
    return Line(name, told, True)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
