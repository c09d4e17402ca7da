#!/usr/bin/env python3
"""Prompts as the command line reads them against A1111's own code, which runs beside in its own environment.

    python benchmarks/prompts.py --dir A1111 [--python A1111/venv/bin/python]

A random text encoder of SD 1.5's size and random textual inversions are written to a folder; A1111's prompt parser and
its text model make embeddings of 30 prompts with them, and so does this program. The table has the largest difference
of each. No WebUI is started.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LONG = ("masterpiece, best quality, a portrait of a woman in a red dress standing on a bridge over a river at dusk, "
        "warm light from the left, long shadows, soft haze, distant hills, a boat with lanterns, reflections on the "
        "water, detailed hair, detailed eyes, film grain, shallow depth of field, 85mm lens, golden hour, photographed "
        "from a low angle, quiet mood, subtle colours, no text, high resolution, award winning, ")
PROMPTS = (
    "", "a cat", "a (cat)", "a ((cat)) on a [mat]", "a (cat:1.3) on a (mat:0.7)",
    "(a [very (big:1.4) dog] here:1.2), x",
    r"a \(cat\) and \[mat\] and \\ slash", "(unbalanced cat", "[unbalanced cat, (two", "shut) and ] cat",
    "(a)(b)(c:1.1)", "a cat BREAK a dog", "(a cat:1.2) BREAK (a dog:0.8), BREAK end", "BREAK a cat",
    "BREAKFAST, at 5:30",
    LONG, LONG + LONG, LONG + "(" + LONG + ":1.15)", "cat " * 90, ("word " * 14 + ", ") * 8, ", ".join(["lamp"] * 60),
    "a glow-style cat", "a (glow-style:1.4) cat, Blue Lamp", "word " * 72 + "blue lamp here",
    LONG + "blue lamp, glow-style",
    "((a cat:1.5), a dog:0.5)", "(cat:-0.5) and (dog:0)", "fünf Äpfel, 猫 и кот 🐈", "a  cat,\n\tand   (a\ndog:1.2)",
    "a (cat: 1.3 ), :, (:1.2) and 3:4")
"""what emphasis, escapes, BREAK, chunks, commas and textual inversions can do to each other; nothing that changes while
a picture is made, which is not known here"""
INVERSIONS = {"glow-style": 3, "blue lamp": 8}
"""name -> vectors"""


def theirs(folder: Path) -> None:
    """In A1111's folder and environment: embeddings of the prompts, by its own classes."""
    sys.argv = [sys.argv[0], "--skip-torch-cuda-test", "--use-cpu", "all", "--no-half"]
    sys.path.insert(0, ".")
    import types

    import torch
    from modules import (
        paths,  # noqa: F401  # finds the repositories
        shared_init,
    )
    shared_init.initialize()
    from modules import processing  # noqa: F401  # first, for they import each other in circles

    # isort: split
    from modules import devices, prompt_parser, sd_hijack, sd_hijack_clip
    from modules.textual_inversion.textual_inversion import EmbeddingDatabase, create_embedding_from_data
    from safetensors.torch import load_file
    from transformers import CLIPTextModel, CLIPTokenizer

    devices.device = torch.device("cpu")
    wrapped = torch.nn.Module()
    wrapped.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    wrapped.transformer = CLIPTextModel.from_pretrained(folder / "text_encoder").float().eval()
    hijack = sd_hijack.model_hijack
    clip = sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords(wrapped, hijack)
    embeddings: Any = wrapped.transformer.text_model.embeddings  # type: ignore[union-attr]
    embeddings.token_embedding = sd_hijack.EmbeddingsWithFixes(embeddings.token_embedding, hijack)
    hijack.embedding_db = EmbeddingDatabase()
    model = types.SimpleNamespace(cond_stage_model=clip, get_learned_conditioning=clip)
    for name in INVERSIONS:
        made = create_embedding_from_data(load_file(folder / "embeddings" / f"{name}.safetensors"), name)
        hijack.embedding_db.register_embedding(made, model)
    with torch.no_grad():
        found = [prompt_parser.get_learned_conditioning(model, prompt_parser.SdConditioning([prompt]), 20)[0]
                 for prompt in PROMPTS]
    assert all(len(schedule) == 1 for schedule in found), "a prompt that changes while a picture is made"
    torch.save([schedule[0].cond for schedule in found], folder / "theirs.pt")


def write_models(folder: Path) -> None:
    """The text encoder, its tokenizer and the textual inversions."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    from lib_iclight.hosts.standalone.models import TEXT_ENCODER
    from lib_iclight.hosts.standalone.prompts import clip_tokenizer

    torch.manual_seed(0)
    encoder = CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
    with torch.no_grad():
        encoder.text_model.embeddings.token_embedding.weight.normal_(0, 0.5)
        # A new norm's state has a mean of nothing but rounding, by which emphasis would divide.
        encoder.text_model.final_layer_norm.bias.normal_(0.1, 0.3)
        encoder.text_model.final_layer_norm.weight.uniform_(0.5, 1.5)
    encoder.half().save_pretrained(folder / "text_encoder")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    (folder / "embeddings").mkdir()
    for name, vectors in INVERSIONS.items():
        save_file({"emb_params": torch.randn(vectors, 768) * 0.5}, folder / "embeddings" / f"{name}.safetensors")


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        theirs(options.folder)
        return 0
    sys.path.insert(0, str(ROOT))
    import torch
    from transformers import CLIPTextModel

    from lib_iclight.hosts.standalone.embeddings import Embeddings
    from lib_iclight.hosts.standalone.memory import means
    from lib_iclight.hosts.standalone.prompts import clip_tokenizer
    from lib_iclight.hosts.standalone.text import TextEncoder

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        # Not its resolved path: a virtual environment is told by the link's place.
        python = (options.python or options.dir / "venv" / "bin" / "python").absolute()
        subprocess.run([python, Path(__file__).resolve(), "--dir", ".", "--folder", folder], cwd=options.dir,
                       check=True, stdout=subprocess.DEVNULL)
        wanted = torch.load(folder / "theirs.pt", weights_only=True)
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").float().eval()
        text = TextEncoder(encoder, clip_tokenizer(), means(torch.device("cpu"), "high"),
                           Embeddings((folder / "embeddings",)))
        worst = 0.0
        print("| prompt | chunks | largest difference |\n| --- | --- | --- |")
        for prompt, other in zip(PROMPTS, wanted, strict=True):
            own = text.encode(prompt).flatten(0, 1)
            if own.shape != other.shape:
                print(f"| {json.dumps(prompt, ensure_ascii=False)[:60]} | {len(own) // 77} | theirs has "
                      f"{len(other) // 77} chunks |")
                worst = float("inf")
                continue
            difference = float((own - other).abs().max())
            worst = max(worst, difference)
            print(f"| {json.dumps(prompt, ensure_ascii=False)[:60]} | {len(own) // 77} | {difference:.1e} |")
    print(f"\n{len(PROMPTS)} prompts, largest difference {worst:.1e}, aim 1e-4")
    return 0 if worst <= 1e-4 else 1


if __name__ == "__main__":
    raise SystemExit(main())
