"""Figures as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from .measures import standard_error


class Figures:
    """Named lists of values, one per subject."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Append a batch, [N]."""
        self.extend({name: values.double().tolist()})

    def extend(self, values: Mapping[str, list[float]]) -> None:
        """Append another's values."""
        for name, more in values.items():
            self.values.setdefault(name, []).extend(more)

    def mean(self, name: str) -> float:
        """The mean over all subjects."""
        return float(np.mean(self.values[name]))

    def ratio(self, name: str, other: str) -> float:
        """Of the sums over all subjects."""
        return float(np.sum(self.values[name]) / np.sum(self.values[other]))


def table(figures: Figures, count: int, how: str) -> str:
    """The figures as Markdown. how: the sampler's settings, in words."""
    mean = figures.mean

    def percent(name: str) -> str:
        return f"{100 * mean(name):.1f} %"

    bias = max(abs(mean(f"no light {name}") - 0.5) for name in ("right", "top")) * 100
    rows: list[tuple[str, str, str]] = [
        ("VAE alone: PSNR over the subject", f"{mean('VAE alone psnr'):.1f} dB", "36 dB"),
        ("FBC: PSNR over the subject against truth", f"{mean('fbc psnr'):.1f} dB", "24 dB"),
        ("FBC: SSIM over the subject", f"{mean('fbc ssim'):.3f}", "0.85"),
        ("FBC: chroma error over the subject", f"{mean('fbc chroma'):.1f}", "at most 7"),
        *((f"FC, light {preset}: brighter on that side", percent(f"light {preset}"), "99 %")
          for preset in ("left", "right", "top", "bottom")),
        (f"FC, no light: bias to a side (brighter right {percent('no light right')}, on top "
         f"{percent('no light top')})", f"{bias:.0f} points", "at most 5"),
        ('FC, "warm sunset light": subject warmer than without', percent("warm sunset light"), "98 %"),
        ('FC, "cold blue light": subject colder than without', percent("cold blue light"), "98 %"),
        *((f"mottling: high-frequency energy on plain surfaces against truth, {name}",
           f"{figures.ratio(f'{name} energy made', f'{name} energy true'):.2f} times",
           "at most 1.3" if name == "fbc" else "") for name in ("fbc", "VAE alone")),
        *((f"drift of the subject's colour over 8 seeds, standard deviation, {mode}",
           f"{mean(f'drift {mode}'):.2f}", "") for mode in ("fc", "fbc")),
        ("relative error of L(a) + L(b) against L(a + b), FBC", f"{mean('consistency FBC'):.3f}", ""),
        ("relative error of L(a) + L(b) against L(a + b), FC", f"{mean('consistency FC, with'):.3f}", ""),
    ]
    if "consistency FC, without" in figures.values:
        without = np.array(figures.values["consistency FC, without"])
        difference = without - np.array(figures.values["consistency FC, with"])
        rows += [("the same, trained without the consistency loss", f"{without.mean():.3f}", ""),
                 ("the difference, in its standard errors; more than 0 in "
                  f"{100 * (difference > 0).mean():.0f} % of the subjects",
                  f"{difference.mean():+.4f}, {difference.mean() / standard_error(difference):+.1f}", "+2")]
    rows += [("light stage: mixture of two lights against both, best gain, FBC", f"{mean('mixtures'):.3f}",
              "at most 0.14"),
             ("light stage: normals of four lights, FBC", f"{mean('normals'):.1f} degrees", "at most 13")]
    lines = [
        f"On {count} subjects that it has not seen, fixed seeds, {how}. The consistency rows take the walls under a, b "
        "and both as light maps (FC) or backgrounds (FBC). Colours are compared in CIELAB's a, b plane; the drift is "
        f"that of {len(figures.values['drift fc'])} subjects.", "",
        "| what | measured | aim |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows), "",
        "Against the ground truth under the background's light, over the subject (PSNR of the whole picture in "
        "brackets). *VAE alone* is the ground truth, encoded and decoded: no result can be better.", "",
        "| | PSNR | SSIM | chroma error |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {mean(f'{name} psnr'):.1f} ({mean(f'{name} psnr whole'):.1f}) dB | "
              f"{mean(f'{name} ssim'):.3f} | {mean(f'{name} chroma'):.1f} |"
              for name in ("fbc", "pasted", "colour transfer", "VAE alone")]
    return "\n".join(lines)
