"""The 686 tensors of the SD 1.5 UNet: their names in both layouts and their shapes, by rule.

`ldm` is the naming of the original code (`input_blocks.0.0.weight`), which WebUI hosts use; `diffusers` is that of
`UNet2DConditionModel` (`conv_in.weight`). Both layouts hold the same tensors in the same shapes: the 1x1 projections
around SD 1.5's attention are convolutions in both, so renaming is the whole conversion.

The architecture (Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022; numbers
from CompVis/stable-diffusion, `v1-inference.yaml`): 320 channels times 1, 2, 4, 4, two residual blocks to a level,
attention with 768-dimensional context on the first three levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Layout = Literal["ldm", "diffusers"]

CHANNELS = (320, 640, 1280, 1280)
ATTENTION_LEVELS = 3
BLOCKS = 2
EMBEDDING = 1280
CONTEXT = 768
LATENT = 4

PREFIXES = ("", "model.diffusion_model.", "diffusion_model.")
"""What may stand before every key of a file: nothing, or the UNet's place in a checkpoint or in a host's model."""

FIRST_CONVOLUTION: Mapping[Layout, str] = MappingProxyType(
    {"ldm": "input_blocks.0.0.weight", "diffusers": "conv_in.weight"})


class Key(NamedTuple):
    """One tensor of the UNet: its name in both layouts and its shape (of the first convolution: with 4 inputs)."""

    ldm: str
    diffusers: str
    shape: tuple[int, ...]


def _layer(ldm: str, diffusers: str, *shape: int, bias: bool = True) -> Iterator[Key]:
    yield Key(f"{ldm}.weight", f"{diffusers}.weight", shape)
    if bias:
        yield Key(f"{ldm}.bias", f"{diffusers}.bias", shape[:1])


def _resnet(ldm: str, diffusers: str, inputs: int, outputs: int) -> Iterator[Key]:
    yield from _layer(f"{ldm}.in_layers.0", f"{diffusers}.norm1", inputs)
    yield from _layer(f"{ldm}.in_layers.2", f"{diffusers}.conv1", outputs, inputs, 3, 3)
    yield from _layer(f"{ldm}.emb_layers.1", f"{diffusers}.time_emb_proj", outputs, EMBEDDING)
    yield from _layer(f"{ldm}.out_layers.0", f"{diffusers}.norm2", outputs)
    yield from _layer(f"{ldm}.out_layers.3", f"{diffusers}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _layer(f"{ldm}.skip_connection", f"{diffusers}.conv_shortcut", outputs, inputs, 1, 1)


def _attention(ldm: str, diffusers: str, width: int) -> Iterator[Key]:
    def same(name: str, *shape: int, bias: bool = True) -> Iterator[Key]:
        return _layer(f"{ldm}.{name}", f"{diffusers}.{name}", *shape, bias=bias)

    block = "transformer_blocks.0"
    yield from same("norm", width)
    yield from same("proj_in", width, width, 1, 1)
    for attention, context in (("attn1", width), ("attn2", CONTEXT)):
        yield from same(f"{block}.{attention}.to_q", width, width, bias=False)
        yield from same(f"{block}.{attention}.to_k", width, context, bias=False)
        yield from same(f"{block}.{attention}.to_v", width, context, bias=False)
        yield from same(f"{block}.{attention}.to_out.0", width, width)
    yield from same(f"{block}.ff.net.0.proj", 8 * width, width)  # GEGLU: value and gate, each 4 x width
    yield from same(f"{block}.ff.net.2", width, 4 * width)
    for norm in ("norm1", "norm2", "norm3"):
        yield from same(f"{block}.{norm}", width)
    yield from same("proj_out", width, width, 1, 1)


def _unet() -> Iterator[Key]:
    """Every tensor, in the order in which the network uses it."""
    last = len(CHANNELS) - 1
    yield from _layer("time_embed.0", "time_embedding.linear_1", EMBEDDING, CHANNELS[0])
    yield from _layer("time_embed.2", "time_embedding.linear_2", EMBEDDING, EMBEDDING)
    yield from _layer("input_blocks.0.0", "conv_in", CHANNELS[0], LATENT, 3, 3)

    width = CHANNELS[0]
    skips = [width]  # the widths of what the way down hands to the way up
    for level, outputs in enumerate(CHANNELS):
        for block in range(BLOCKS):
            ldm, diffusers = f"input_blocks.{len(skips)}", f"down_blocks.{level}"
            yield from _resnet(f"{ldm}.0", f"{diffusers}.resnets.{block}", width, outputs)
            if level < ATTENTION_LEVELS:
                yield from _attention(f"{ldm}.1", f"{diffusers}.attentions.{block}", outputs)
            width = outputs
            skips.append(width)
        if level < last:
            yield from _layer(f"input_blocks.{len(skips)}.0.op", f"down_blocks.{level}.downsamplers.0.conv",
                              width, width, 3, 3)
            skips.append(width)

    yield from _resnet("middle_block.0", "mid_block.resnets.0", width, width)
    yield from _attention("middle_block.1", "mid_block.attentions.0", width)
    yield from _resnet("middle_block.2", "mid_block.resnets.1", width, width)

    for step, outputs in enumerate(reversed(CHANNELS)):
        attends = last - step < ATTENTION_LEVELS
        for block in range(BLOCKS + 1):
            ldm, diffusers = f"output_blocks.{step * (BLOCKS + 1) + block}", f"up_blocks.{step}"
            yield from _resnet(f"{ldm}.0", f"{diffusers}.resnets.{block}", width + skips.pop(), outputs)
            if attends:
                yield from _attention(f"{ldm}.1", f"{diffusers}.attentions.{block}", outputs)
            width = outputs
        if step < last:
            yield from _layer(f"{ldm}.{2 if attends else 1}.conv", f"{diffusers}.upsamplers.0.conv",
                              width, width, 3, 3)

    yield from _layer("out.0", "conv_norm_out", width)
    yield from _layer("out.2", "conv_out", LATENT, width, 3, 3)


KEYS: tuple[Key, ...] = tuple(_unet())
TO_DIFFUSERS: Mapping[str, str] = MappingProxyType({key.ldm: key.diffusers for key in KEYS})
TO_LDM: Mapping[str, str] = MappingProxyType({key.diffusers: key.ldm for key in KEYS})


def shapes(layout: Layout, inputs: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor, for a UNet whose first convolution takes `inputs` channels."""
    expected = {getattr(key, layout): key.shape for key in KEYS}
    first = FIRST_CONVOLUTION[layout]
    expected[first] = (expected[first][0], inputs, *expected[first][2:])
    return expected


def rename(name: str, source: Layout, to: Layout) -> str:
    """A key of layout `source` (without prefix) in layout `to`. KeyError for what is no key of the SD 1.5 UNet."""
    if source == to:
        return name
    return TO_LDM[name] if to == "ldm" else TO_DIFFUSERS[name]
