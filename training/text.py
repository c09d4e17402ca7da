"""The stage text: the text encoder alone, as SD 1.5, too, takes one that is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from . import config
from .captions import MEANINGFUL, meaning
from .nets import TextEncoder
from .pool import LIGHTINGS, VARIANTS, CaptionBank
from .run import Run, fit


def make_text_encoder() -> TextEncoder:
    """A new text encoder, in which words that are never trained mean nothing."""
    torch.manual_seed(config.SEED + 1)
    encoder = TextEncoder(config.TEXT_ENCODER)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name.endswith("token_embedding.weight"):
                weight.zero_()
            elif name.endswith("embedding.weight"):
                weight.normal_(std=0.02)
    return encoder


def train(run: Run, bank: CaptionBank) -> None:
    """The mean of the 77 states must tell the words' meaning.

    A UNet that begins to learn attends to all 77 states alike, so it finds there at once what the prompt asks for.
    """
    if run.done("text"):
        return
    known = {word: index for index, word in enumerate(
        f"{kind}: {word}" for kind in ("subject", "light") for word in MEANINGFUL)}
    said = torch.zeros(len(bank.texts), len(known), dtype=torch.bool)
    for row, text in zip(said, bank.texts, strict=True):
        row[[known[word] for word in meaning(text)]] = True
    said = said.to(run.device)
    encoder = make_text_encoder()
    modules = nn.ModuleDict({"encoder": encoder, "reader": nn.Linear(config.TEXT_ENCODER["hidden_size"], len(known))})
    modules.load_state_dict(run.weights("text") or modules.state_dict())
    modules.to(run.device)
    tokens, batch = bank.tokens.flatten(0, 2), run.batch("text")
    assert len(tokens) == len(said) == len(bank.tokens) * LIGHTINGS * VARIANTS

    def loss_of(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = torch.randint(len(tokens), (batch,), generator=generator, device=run.device)
        read = modules["reader"](modules["encoder"](tokens[chosen].long()).float().mean(1))
        return {"words": binary_cross_entropy_with_logits(read.float(), said[chosen].float())}

    fit(run, "text", modules, loss_of)


def load(run: Run) -> TextEncoder:
    """The trained text encoder."""
    state = run.weights("text")
    if state is None:
        raise SystemExit(f"{run.out} has no text encoder yet. Train the stage text first.")
    encoder = make_text_encoder()
    encoder.load_state_dict({key.removeprefix("encoder."): value for key, value in state.items()
                             if key.startswith("encoder.")})
    return encoder.to(run.device).eval().requires_grad_(False)
