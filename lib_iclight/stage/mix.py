"""Mixing: the weighted sum of a set's pictures in linear light, as light itself adds up.

Every pixel of the mixture is 2^EV * sum over k of weight_k * picture_k, for each of red, green and blue. It leaves linear
light once, when it is written with 8 or 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..color import LUMINANCE
from ..errors import StageError
from . import files
from .store import Stage
from .weights import Weights, checked

MIN_EV, MAX_EV = -20.0, 20.0
BRIGHT = 99.0
"""percentile of the subject's luminance that automatic exposure keeps"""
BAND = 16
"""rows that are mixed at once: what is made of them in between stays in a processor's cache"""
DARKEST = 1e-6
"""luminance under which a mixture counts as black, and no exposure mends it"""


def exposure_of(stage: Stage, weights: Weights, exposure: float | str) -> float:
    """The factor that an exposure means: 2^EV for a number, EV from MIN_EV to MAX_EV; for "auto" the factor that makes
    the BRIGHT percentile of the subject's luminance (on `Stage.sample`) what it is in the plain mean of the set.

    Raises StageError for anything else.
    """
    if exposure == "auto":
        wanted = _bright(stage.sample.mean(axis=0))
        found = _bright(np.einsum("lc,lnc->nc", weights, stage.sample))
        return wanted / found if found > DARKEST and wanted > 0.0 else 1.0
    if isinstance(exposure, bool) or not isinstance(exposure, int | float) or not MIN_EV <= exposure <= MAX_EV:
        raise StageError(f"exposure must be \"auto\" or a number of stops from {MIN_EV:g} to {MAX_EV:g}, "
                         f"not {exposure!r:.20}.")
    return float(2.0 ** exposure)


def mix(stage: Stage, weights: NDArray[Any], exposure: float | str = "auto") -> NDArray[np.float32]:
    """The mixture in linear light, float32 [H, W, 3], not clipped.

    weights: linear RGB for each light [L, 3], from `weights_of`, `from_names` or `Environment.weights`. exposure: as in
    `exposure_of`. Raises StageError for weights or an exposure that are not such.
    """
    result = np.empty((stage.height, stage.width, 3), np.float32)
    for rows, band in _mixed(stage, weights, exposure):
        result[rows] = band
    return result


def mix_codes(stage: Stage, weights: NDArray[Any], exposure: float | str = "auto", bits: int = 8) -> files.Codes:
    """The mixture as sRGB codes, uint8 (bits 8) or uint16 (bits 16) [H, W, 3], clipped and rounded; see `mix`."""
    result = np.empty((stage.height, stage.width, 3), np.uint16 if bits == 16 else np.uint8)
    for rows, codes in _mixed(stage, weights, exposure, bits):
        result[rows] = codes
    return result


def over(codes: NDArray[np.uint8], alpha: NDArray[np.float32], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The subject of a mixture before another background; all uint8 sRGB [H, W, 3], alpha [H, W].

    Blended on sRGB values, in which mattes are made. Raises StageError for other sizes.
    """
    if not codes.shape == background.shape == (*alpha.shape, 3):
        raise StageError(f"the background is {background.shape[1]} x {background.shape[0]} pixels, the stage "
                         f"{codes.shape[1]} x {codes.shape[0]}. Scale it to that size.")
    share = alpha[..., None]
    mixed: NDArray[np.uint8] = np.rint(background + share * (codes.astype(np.float32) - background)).astype(np.uint8)
    return mixed


def _mixed(stage: Stage, weights: NDArray[Any], exposure: float | str,
           bits: int | None = None) -> Iterator[tuple[slice, Any]]:
    """Bands of the mixture: linear light, or codes where `bits` is given."""
    factors = checked(np.asarray(weights), len(stage.lamps))
    factors = factors * np.float32(exposure_of(stage, factors, exposure))
    used = [number for number in range(len(factors)) if factors[number].any()]

    def finish(total: NDArray[np.float32]) -> Any:
        return total if bits is None else files.to_codes(total, bits)

    bands = [slice(top, min(top + BAND, stage.height)) for top in range(0, stage.height, BAND)]
    with ThreadPoolExecutor(2) as pool:
        if stage.pictures is not None:
            held = stage.pictures
            # One long row of repeated weights is several times as fast as a broadcast over three channels.
            rows_of = {number: np.tile(factors[number], stage.width) for number in used}

            def add(rows: slice) -> Any:
                total: NDArray[np.float32] | None = None
                for number, row in rows_of.items():
                    flat = held[number, rows].reshape(rows.stop - rows.start, -1)
                    if total is None:
                        total = flat * row
                        product = np.empty_like(total)
                    else:
                        np.multiply(flat, row, out=product)
                        total += product
                assert total is not None
                return finish(total.reshape(-1, stage.width, 3))

            yield from zip(bands, pool.map(add, bands), strict=True)
            return
        whole = np.zeros((stage.height, stage.width, 3), np.float32)
        for number in used:  # each picture is decoded once
            codes = stage.codes(number)

            def add_one(rows: slice, codes: files.Codes = codes, number: int = number) -> None:
                whole[rows] += files.to_linear(codes[rows]) * factors[number]

            for _ in pool.map(add_one, bands):
                pass
        yield from zip(bands, pool.map(lambda rows: finish(whole[rows]), bands), strict=True)


def _bright(colors: NDArray[np.float32]) -> float:
    """The BRIGHT percentile of the luminance of linear colours [N, 3]."""
    return float(np.percentile(colors @ LUMINANCE, BRIGHT))
