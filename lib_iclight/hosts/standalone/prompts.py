"""CLIP's tokenizer from a local file, and two prompts' contexts made equally long."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import HostError
from ...files import is_file

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

CHUNK = 75
"""Tokens of prompt in one pass of the text encoder, between the start and the end token."""
START, END = 49406, 49407


def pair(positive: torch.Tensor, negative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both prompts' chunks as contexts of equal length, [1, 77 * chunks, width]; the shorter one is repeated."""
    longest = max(len(positive), len(negative))

    def joined(chunks: torch.Tensor) -> torch.Tensor:
        repeated = chunks.repeat(math.ceil(longest / len(chunks)), 1, 1)[:longest]
        return repeated.flatten(0, 1)[None]

    return joined(positive), joined(negative)


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer, from the vocabulary that the package open_clip_torch ships; the package is not imported.

    The vocabulary is, in this order: the 256 byte symbols, the same as a word's end, the first 48894 merges and
    the two special tokens (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision").
    Raises HostError when the package is not there.
    """
    from transformers import CLIPTokenizer
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    lines = gzip.decompress(_vocabulary_file().read_bytes()).decode("utf-8").split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(merge.replace(" ", "") for merge in merges),
             "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:  # transformers takes files only
        vocabulary_file, merges_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary_file.write_text(json.dumps({word: index for index, word in enumerate(words)}), "utf-8")
        merges_file.write_text("\n".join(lines[:1] + merges), "utf-8")
        return CLIPTokenizer(str(vocabulary_file), str(merges_file))


def _vocabulary_file() -> Path:
    spec = importlib.util.find_spec("open_clip")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "bpe_simple_vocab_16e6.txt.gz")
        if is_file(path):
            return path
    raise HostError("the text tokenizer's vocabulary is missing. Install it with "
                    "`pip install --no-deps -r requirements/data.txt`, or use a diffusers folder with a tokenizer.")
