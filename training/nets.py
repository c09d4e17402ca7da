"""The pocket model's three networks in plain torch, with the same weights' names and results as their originals.

`UNet` is diffusers' UNet2DConditionModel, `VAE` its AutoencoderKL and `TextEncoder` transformers' CLIPTextModel, each
in the one form that the pocket model has. Training needs nothing but torch that way: a machine with a GPU seldom has
the versions of diffusers and transformers that the hosts pin. A test compares them with the originals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, pad, scaled_dot_product_attention, silu

TOKENS = 77
VOCABULARY = 49408
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def channels_last(module: AnyModule) -> AnyModule:
    """The module, with its convolutions' weights in the order that makes them fast."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # not in its types


def bias_of(layer: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    assert layer.bias is not None
    return layer.bias


class Norm(nn.GroupNorm):
    """A group norm in the dtype that it is given: autocast would make it, and all after it, float32."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            if x.device.type == "cuda" or not torch.is_grad_enabled():
                return nn.functional.group_norm(x, self.num_groups, weight, bias, self.eps)
            # On a CPU the backward pass of channels_last takes up to six times as long as that of ordinary order.
            normed = nn.functional.group_norm(x.contiguous(), self.num_groups, weight, bias, self.eps)
            return normed.contiguous(memory_format=torch.channels_last)


class Residual(nn.Module):
    """ResnetBlock2D, with a time embedding if `time` is its width."""

    def __init__(self, inputs: int, outputs: int, groups: int, eps: float, time: int = 0) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(groups, inputs, eps), nn.Conv2d(inputs, outputs, 3, padding=1)
        if time:
            self.time_emb_proj = nn.Linear(time, outputs)
        self.norm2, self.conv2 = Norm(groups, outputs, eps), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H, W]"""
        inner = self.conv1(silu(self.norm1(x)))
        if time is not None:
            inner = inner + self.time_emb_proj(silu(time))[:, :, None, None]
        inner = self.conv2(silu(self.norm2(inner)))
        result: Tensor = inner + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)
        return result


class Resample(nn.Module):
    """Downsample2D (`padded`: symmetric, as the UNet has it; else only right and below, as the VAE) or Upsample2D."""

    def __init__(self, channels: int, up: bool, padded: bool = True) -> None:
        super().__init__()
        self.up, self.padded = up, padded
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1 if padded else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Twice or half the height and width."""
        if self.up:
            x = interpolate(x, scale_factor=2.0, mode="nearest")
        elif not self.padded:
            x = pad(x, (0, 1, 0, 1))
        result: Tensor = self.conv(x)
        return result


class Attention(nn.Module):
    """From `width` features to `context` features."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, places, width], [B, tokens, context] -> [B, places, width]"""
        q, k, v = (one.unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for one in (self.to_q(x), self.to_k(context), self.to_v(context)))
        if x.device.type == "cuda":
            found = scaled_dot_product_attention(q, k, v)
        else:  # the fused attention's backward pass alone took a third of a step on a CPU
            found = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(-1) @ v
        result: Tensor = self.to_out[0](found.transpose(1, 2).flatten(2))
        return result


class Gated(nn.Module):
    """GEGLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, width * 8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, places, width] -> [B, places, 4 width]"""
        value, gate = self.proj(x).chunk(2, -1)
        result: Tensor = value * gelu(gate)
        return result


class FeedForward(nn.Module):
    """What follows the attentions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Gated(width), nn.Identity(), nn.Linear(width * 4, width)])

    def forward(self, x: Tensor) -> Tensor:
        """[B, places, width] -> the same"""
        result: Tensor = self.net[2](self.net[0](x))
        return result


class TransformerBlock(nn.Module):
    """BasicTransformerBlock."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, width, heads), Attention(width, context, heads)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, places, width] -> the same"""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        result: Tensor = x + self.ff(self.norm3(x))
        return result


class Transformer(nn.Module):
    """Transformer2DModel of one block."""

    def __init__(self, width: int, context: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm, self.proj_in = Norm(groups, width, 1e-6), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context, heads)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[B, width, H, W] -> the same"""
        inner = self.proj_in(self.norm(x))
        places = self.transformer_blocks[0](inner.flatten(2).transpose(1, 2), context)
        result: Tensor = x + self.proj_out(places.transpose(1, 2).unflatten(2, x.shape[2:]))
        return result


class Block(nn.Module):
    """A step of a UNet or of a VAE at one size: residual blocks, maybe with attentions, then maybe a resampling."""

    def __init__(self, sizes: Sequence[tuple[int, int]], groups: int, eps: float, *, time: int = 0, context: int = 0,
                 heads: int = 0, attentions: int = 0, resample: Resample | None = None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(low, high, groups, eps, time) for low, high in sizes])
        if attentions:
            self.attentions = nn.ModuleList([Transformer(sizes[-1][1], context, heads, groups)
                                             for _ in range(attentions)])
        if resample:
            setattr(self, "upsamplers" if resample.up else "downsamplers", nn.ModuleList([resample]))

    def attend(self, index: int, x: Tensor, context: Tensor | None) -> Tensor:
        """Through the attention of that number if there is one."""
        own = getattr(self, "attentions", ())
        return own[index](x, context) if index < len(own) else x

    def resampled(self, x: Tensor) -> Tensor:
        """Through the resampling if there is one."""
        for one in getattr(self, "upsamplers", getattr(self, "downsamplers", ())):
            x = one(x)
        return x


def _blocks(modules: nn.ModuleList) -> list[Block]:
    return cast(list[Block], [*modules])


class UNet(nn.Module):
    """UNet2DConditionModel. configuration: the arguments that `config.UNET` gives diffusers' own."""

    def __init__(self, configuration: Mapping[str, Any], inputs: int = 4) -> None:
        super().__init__()
        widths, layers = tuple(configuration["block_out_channels"]), configuration["layers_per_block"]
        self.width, time, last = widths[0], widths[0] * 4, len(widths) - 1
        common: dict[str, Any] = {"groups": configuration["norm_num_groups"], "eps": 1e-5, "time": time,
                                  "context": configuration["cross_attention_dim"]}
        heads: Sequence[int] = configuration["attention_head_dim"]
        self.conv_in = nn.Conv2d(inputs, self.width, 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(self.width, time),
                                             "linear_2": nn.Linear(time, time)})
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, before = [widths[0]], widths[0]
        for index, (width, kind) in enumerate(zip(widths, configuration["down_block_types"], strict=True)):
            sizes = [(before if layer == 0 else width, width) for layer in range(layers)]
            self.down_blocks.append(Block(sizes, **common, attentions=layers * kind.startswith("Cross"),
                                          heads=heads[index],
                                          resample=Resample(width, up=False) if index < last else None))
            skips += [width] * (layers + (index < last))
            before = width
        self.mid_block = Block([(before, before)] * 2, **common, attentions=1, heads=heads[-1])
        for index, (width, kind) in enumerate(zip(widths[::-1], configuration["up_block_types"], strict=True)):
            sizes = [((before if layer == 0 else width) + skips.pop(), width) for layer in range(layers + 1)]
            self.up_blocks.append(Block(sizes, **common, attentions=(layers + 1) * kind.startswith("Cross"),
                                        heads=heads[-1 - index],
                                        resample=Resample(width, up=True) if index < last else None))
            before = width
        self.conv_norm_out, self.conv_out = Norm(common["groups"], before, 1e-5), nn.Conv2d(before, 4, 3, padding=1)

    def forward(self, latent: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """[B, inputs, h, w], [B], [B, tokens, width] -> predicted velocity, [B, 4, h, w]"""
        half = self.width // 2
        rates = torch.exp(-math.log(10000) / half * torch.arange(half, device=latent.device))
        angles = timestep[:, None].float() * rates
        wave = torch.cat([angles.cos(), angles.sin()], 1)
        time = self.time_embedding["linear_2"](silu(self.time_embedding["linear_1"](wave)))
        x = self.conv_in(latent)
        skips = [x]
        for block in _blocks(self.down_blocks):
            for index, resnet in enumerate(block.resnets):
                x = block.attend(index, resnet(x, time), context)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.resampled(x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, time)
        x = self.mid_block.resnets[1](self.mid_block.attend(0, x, context), time)
        for block in _blocks(self.up_blocks):
            for index, resnet in enumerate(block.resnets):
                x = block.attend(index, resnet(torch.cat([x, skips.pop()], 1), time), context)
            x = block.resampled(x)
        result: Tensor = self.conv_out(silu(self.conv_norm_out(x)))
        return result


class Half(nn.Module):
    """The VAE's encoder or decoder."""

    def __init__(self, widths: Sequence[int], layers: int, groups: int, inputs: int, outputs: int, up: bool) -> None:
        super().__init__()
        self.up, last, before = up, len(widths) - 1, widths[0]
        self.conv_in = nn.Conv2d(inputs, before, 3, padding=1)
        blocks = nn.ModuleList()
        self.up_blocks: nn.ModuleList
        self.down_blocks: nn.ModuleList
        for index, width in enumerate(widths):
            sizes = [(before if layer == 0 else width, width) for layer in range(layers)]
            blocks.append(Block(sizes, groups, 1e-6, resample=Resample(width, up, padded=up) if index < last else None))
            before = width
        middle = widths[0] if up else before
        self.mid_block = Block([(middle, middle)] * 2, groups, 1e-6)
        setattr(self, "up_blocks" if up else "down_blocks", blocks)
        self.conv_norm_out, self.conv_out = Norm(groups, before, 1e-6), nn.Conv2d(before, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, ...] -> [B, outputs, ...]"""
        x = self.conv_in(x)
        blocks = _blocks(self.up_blocks if self.up else self.down_blocks)
        blocks.insert(0 if self.up else len(blocks), self.mid_block)
        for block in blocks:
            for resnet in block.resnets:
                x = resnet(x)
            x = block.resampled(x)
        result: Tensor = self.conv_out(silu(self.conv_norm_out(x)))
        return result


class VAE(nn.Module):
    """AutoencoderKL without attention. configuration: the arguments that `config.VAE` gives diffusers' own."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        super().__init__()
        widths, layers = tuple(configuration["block_out_channels"]), configuration["layers_per_block"]
        groups = configuration["norm_num_groups"]
        self.encoder = Half(widths, layers, groups, 3, 8, up=False)
        self.decoder = Half(widths[::-1], layers + 1, groups, 4, 3, up=True)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior's mean and log variance, [B, 4, h, w] each; pixels: [B, 3, H, W] in about -1..1."""
        mean, log_variance = self.quant_conv(self.encoder(pixels)).float().chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, latent: Tensor) -> Tensor:
        """[B, 4, h, w] -> [B, 3, H, W] in about -1..1, float32."""
        result: Tensor = self.decoder(self.post_quant_conv(latent)).float()
        return result


class TextEncoder(nn.Module):
    """CLIPTextModel. configuration: the arguments that `config.TEXT_ENCODER` gives transformers' CLIPTextConfig."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner = configuration["hidden_size"], configuration["intermediate_size"]
        self.heads = configuration["num_attention_heads"]
        layers = nn.ModuleList([nn.ModuleDict({
            "self_attn": nn.ModuleDict({f"{name}_proj": nn.Linear(width, width) for name in ("k", "v", "q", "out")}),
            "layer_norm1": nn.LayerNorm(width), "layer_norm2": nn.LayerNorm(width),
            "mlp": nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})})
            for _ in range(configuration["num_hidden_layers"])])
        self.text_model = nn.ModuleDict({
            "embeddings": nn.ModuleDict({"token_embedding": nn.Embedding(VOCABULARY, width),
                                         "position_embedding": nn.Embedding(TOKENS, width)}),
            "encoder": nn.ModuleDict({"layers": layers}), "final_layer_norm": nn.LayerNorm(width)})

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers [B, 77] -> states [B, 77, width]."""
        parts: Any = self.text_model  # what lies in a ModuleDict has no type of its own
        x = parts["embeddings"]["token_embedding"](tokens) + parts["embeddings"]["position_embedding"].weight
        for layer in parts["encoder"]["layers"]:
            normed, own = layer["layer_norm1"](x), layer["self_attn"]
            q, k, v = (own[f"{name}_proj"](normed).unflatten(2, (self.heads, -1)).transpose(1, 2) for name in "qkv")
            seen = scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + own["out_proj"](seen.transpose(1, 2).flatten(2))
            inner = layer["mlp"]["fc1"](layer["layer_norm2"](x))
            x = x + layer["mlp"]["fc2"](inner * torch.sigmoid(1.702 * inner))
        result: Tensor = parts["final_layer_norm"](x)
        return result
