"""Prompts to UNet contexts: laid out in chunks, encoded, and weighted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...cache import LRU
from ...generation import PromptSyntax
from .embeddings import LONGEST, Embeddings, Match, read_embedding
from .emphasis import parts_of
from .loras import NO_LORAS, Loras
from .memory import Guest, Means
from .prompts import CHUNK, END, START, pair
from .storage import exact

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

COMMA = 267
"""the token "," """
BACK = 20
"""So many tokens behind a comma go into the next chunk with what follows, where a chunk ends among them: what belongs
together stays together. A1111's default."""
KEPT = 16
"""prompts whose contexts are kept; one of 75 tokens takes 236 KB"""


@dataclass
class Chunk:
    """What one pass of the text encoder reads, between its start and its end token."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    vectors: list[tuple[int, torch.Tensor]] = field(default_factory=list)
    """vectors of textual inversions, and at which token they begin; the tokens there mean nothing"""

    def ids(self) -> list[int]:
        """All 77."""
        return [START, *self.tokens, END, *[END] * (CHUNK - len(self.tokens))]

    def all_weights(self) -> list[float]:
        """Of all 77."""
        return [1.0, *self.weights, *[1.0] * (CHUNK + 1 - len(self.tokens))]

    def cut(self, at: int) -> Chunk:
        """End here, and the rest as the beginning of the next chunk."""
        rest = Chunk(self.tokens[at:], self.weights[at:], [(n - at, v) for n, v in self.vectors if n >= at])
        self.tokens, self.weights = self.tokens[:at], self.weights[:at]
        self.vectors = [(n, v) for n, v in self.vectors if n < at]
        return rest


def plain_chunks(tokens: Sequence[int]) -> list[Chunk]:
    """Chunks of 75 tokens, as the reference demo makes them."""
    return [Chunk(list(tokens[at:at + CHUNK]), [1.0] * len(tokens[at:at + CHUNK]))
            for at in range(0, max(len(tokens), 1), CHUNK)]


def weighted_chunks(prompt: str, tokenize: Callable[[str], list[int]],
                    find: Callable[[Sequence[int], int], Match | None] = lambda tokens, at: None,
                    read: Callable[[Path], torch.Tensor] = lambda path: torch.zeros(0, 0)) -> list[Chunk]:
    """The prompt as WebUIs read it, see `emphasis`; chunks end behind a comma where there is one near.

    find: the textual inversion whose name begins at a place of a part's tokens; read: its vectors [n, width].
    """
    done: list[Chunk] = []
    chunk, comma = Chunk(), -BACK - LONGEST  # where the last comma of the chunk is; none is so far away
    none = comma

    def end(rest: Chunk | None = None) -> None:
        nonlocal chunk, comma
        done.append(chunk)
        chunk, comma = rest or Chunk(), none

    for part in parts_of(prompt):
        if part.is_break:
            end()
            continue
        tokens, at = tokenize(part.text), 0
        while at < len(tokens):
            if tokens[at] == COMMA:
                comma = len(chunk.tokens)
            elif len(chunk.tokens) == CHUNK and CHUNK - comma <= BACK:
                end(chunk.cut(comma + 1))
            if len(chunk.tokens) == CHUNK:
                end()
            match = find(tokens, at)
            vectors = None if match is None else read(match.path)
            if match is None or vectors is None:
                chunk.tokens.append(tokens[at])
                chunk.weights.append(part.weight)
                at += 1
                continue
            if len(chunk.tokens) + len(vectors) > CHUNK:
                end()
            chunk.vectors.append((len(chunk.tokens), vectors))
            chunk.tokens += [0] * len(vectors)
            chunk.weights += [part.weight] * len(vectors)
            at += match.length
    if chunk.tokens or not done:
        end()
    return done


def encode_chunks(chunks: Sequence[Chunk], encoder: CLIPTextModel) -> torch.Tensor:
    """The text encoder's last hidden state for each chunk, times its tokens' weights, [chunks, 77, width].

    The weighted state gets the mean that it had before, as in A1111.
    """
    device = encoder.device
    with _with_vectors(encoder, [chunk.vectors for chunk in chunks]):
        hidden: torch.Tensor = encoder(torch.tensor([chunk.ids() for chunk in chunks], device=device)).last_hidden_state
    weights = torch.tensor([chunk.all_weights() for chunk in chunks], device=device, dtype=torch.float32)
    if bool((weights == 1).all()):
        return hidden
    whole = hidden.float()
    weighted = whole * weights[..., None]
    return (weighted * (whole.mean((1, 2), keepdim=True) / weighted.mean((1, 2), keepdim=True))).to(hidden.dtype)


@contextlib.contextmanager
def _with_vectors(encoder: Any, vectors: Sequence[Sequence[tuple[int, torch.Tensor]]]) -> Iterator[None]:
    """Inside, the words' vectors that the encoder looks up are replaced by the given ones, chunk by chunk."""
    def replace(_: Any, __: Any, looked_up: torch.Tensor) -> torch.Tensor:
        found = looked_up.clone()
        for row, placed in enumerate(vectors):
            for at, own in placed:
                found[row, at + 1:at + 1 + len(own)] = own.to(found)
        return found

    if not any(vectors):
        yield
        return
    handle = encoder.text_model.embeddings.token_embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


class TextEncoder:
    """A checkpoint's text encoder with LoRAs on it. The last prompts' contexts are kept."""

    def __init__(self, model: Any, tokenizer: CLIPTokenizer, means: Means, embeddings: Embeddings) -> None:
        """model: on the CPU."""
        self._model = model if means.moves else model.to(means.device)
        self._small = exact(model, means.compute) if means.device.type == "cpu" else None
        self._tokenizer = tokenizer
        self._means = means
        self._embeddings = embeddings
        self._plain: dict[str, torch.Tensor] = {}
        """the weights that LoRAs were added to, as they were"""
        self._used: tuple[object, ...] | None = NO_LORAS.name
        self._kept: LRU[torch.Tensor] = LRU(KEPT)

    @property
    def model(self) -> Any:
        """The text encoder itself."""
        return self._model

    @torch.no_grad()
    def use(self, loras: Loras) -> None:
        """Put these LoRAs on, and take others off."""
        if loras.name == self._used:
            return
        self._used = None  # so that after an interrupt the next job writes all anew
        parameters = dict(self._model.named_parameters())
        for key, weight in self._plain.items():
            self._put(key, parameters[key], weight)
        for key, deltas in loras.text.items():
            parameter = parameters[key]
            plain = self._plain.setdefault(key, parameter.detach().cpu().clone())
            value = plain.to(parameter.device, torch.float32)
            for delta in deltas:
                value = value + delta.of(value.shape, value.device)
            self._put(key, parameter, value)
        self._used = loras.name

    def _put(self, key: str, parameter: torch.Tensor, value: torch.Tensor) -> None:
        if self._small is not None and key in self._small:
            self._small.write(key, value)
        else:
            parameter.copy_(value)

    def contexts(self, prompt: str, negative_prompt: str,
                 syntax: PromptSyntax = "webui") -> tuple[torch.Tensor, torch.Tensor]:
        """The UNet's contexts for both prompts, [1, 77 * chunks, width] each. Raises SettingsError, WeightsError."""
        return pair(self.encode(prompt, syntax), self.encode(negative_prompt, syntax))

    def encode(self, prompt: str, syntax: PromptSyntax = "webui") -> torch.Tensor:
        """The state for every chunk of the prompt, [chunks, 77, width]."""
        if syntax == "plain":
            chunks = plain_chunks(self._tokens(prompt))
        else:
            width = self._model.config.hidden_size
            chunks = weighted_chunks(prompt, self._tokens, self._embeddings.lookup(self._tokens),
                                     lambda path: read_embedding(path, width))
        if any(chunk.vectors for chunk in chunks):  # whose files may change
            return self._encoded(chunks)
        return self._kept.get((prompt, syntax, self._used), lambda: self._encoded(chunks))

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]
        return tokens

    def _encoded(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        with torch.inference_mode(), \
                Guest(self._model, self._means.device).here() if self._means.moves else contextlib.nullcontext():
            return encode_chunks(chunks, self._model)
