"""Captions for the light stage's pictures, and their tokens: python -m training.captions writes vocabulary.json.

Training needs CLIP's tokens for a hundred words only. They are kept in vocabulary.json, so that neither transformers
nor the tokenizer's file is needed there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from . import light_stage, subjects
from .light_stage import COLORS, SIDES, TINTS

DISTRACTORS = ("best quality", "highly detailed", "photo", "studio photography", "portrait", "sharp focus",
               "masterpiece", "indoors", "on a table", "8k")
UNWANTED = "lowres, bad anatomy, bad hands, cropped, worst quality"
"""the usual negative prompt; it has to mean as little as no prompt"""
NAMES = (*COLORS, *light_stage.SHAPES, *subjects.SHAPES, *light_stage.MATERIALS, *subjects.SURFACES, *SIDES, *TINTS)
COLORED = tuple(TINTS)[light_stage.NEUTRAL:]
"""lights that nobody expects who names none"""
MEANINGFUL = sorted({word for name in NAMES for word in name.split()})
VOCABULARY = Path(__file__).with_name("vocabulary.json")
LENGTH, START, END = 77, 49406, 49407
DROP = 0.15
"""how many captions say nothing, for guidance"""


def caption(subject: str, light: str, draw: random.Random, beside: bool = False) -> str:
    """What a person may type for such a picture: the subject, the light, its colour alone, more, or nothing.

    Whoever names a subject and no colour of light expects neutral light, so captions always name a colored one, but for
    those `beside` a background that shows it: they name every second light.
    """
    if draw.random() < DROP:
        return draw.choice(["", UNWANTED, draw.choice(DISTRACTORS)])
    parts = []
    if draw.random() < 0.95:
        parts.append(subject)
    colored = any(name in light for name in COLORED)
    if draw.random() < (0.5 if beside else 1 if colored else 0.85):
        if " and " not in light:
            color, side = light.split(" from ")
            first, *rest = color.split()
            if len(rest) == 2 and draw.random() < 0.2:
                color = f"{draw.choice([first, rest[0]])} light"
            light = f"{color} from {side}" if draw.random() < 0.5 else color
        parts.append(light)
    parts += draw.sample(DISTRACTORS, draw.choice([0, 0, 1, 2]))
    draw.shuffle(parts)
    return ", ".join(parts)


def meaning(text: str) -> set[str]:
    """The words of a caption that say how its picture looks, each with the part that it is said of."""
    return {f"{'subject' if part.startswith('a ') else 'light'}: {word}" for part in text.split(", ")
            if part.startswith("a ") or "light" in part for word in part.split() if word in MEANINGFUL}


class Tokenizer:
    """CLIP's tokens for texts of the vocabulary's words. Raises KeyError for other words."""

    def __init__(self) -> None:
        self._known: dict[str, list[int]] = json.loads(VOCABULARY.read_text("utf-8"))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int32 [B, 77]."""
        rows = torch.full((len(texts), LENGTH), END, dtype=torch.int32)
        rows[:, 0] = START
        for row, text in zip(rows, texts, strict=True):
            found = [token for word in text.replace(",", " ,").split() for token in self._known[word]][:LENGTH - 2]
            row[1:len(found) + 1] = torch.tensor(found, dtype=torch.int32)
        return rows


def words() -> list[str]:
    """All words that a caption may have."""
    texts = (*DISTRACTORS, UNWANTED, *NAMES, "a light from the and")
    return sorted({word for text in texts for word in text.replace(",", " ,").split()})


def main() -> None:
    """Write the vocabulary; needs transformers and CLIP's tokenizer."""
    from lib_iclight.hosts.standalone.prompts import clip_tokenizer

    tokenizer = clip_tokenizer()
    known = {word: tokenizer(word, add_special_tokens=False).input_ids for word in words()}
    lines = ",\n".join(f"{json.dumps(word)}: {ids}" for word, ids in known.items())
    VOCABULARY.write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
