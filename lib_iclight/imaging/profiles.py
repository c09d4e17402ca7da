"""How a picture's values are meant: its curves and primaries, wherever they are told, and their way to 8-bit sRGB.

Told by an ICC profile, a PNG's cICP, gAMA and cHRM chunks (PNG, third edition, section 13) or, for AdobeRGB, by EXIF.
Profiles of curves and a matrix are worked out here, from 16 bits on where a picture has them; those of tables (CMYK,
scanners) go through Pillow's colour management, which takes 8 bits.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..color import linear_to_srgb, srgb_to_linear

Curve = NDArray[np.float32]
"""float32 [65536]: the linear value of each 16-bit code; 1 = white, HDR goes above"""

STEPS = 65536
EIGHT_BIT = 257
"""16-bit codes between two 8-bit ones: 255 * 257 = 65535"""

# XYZ of linear sRGB's primaries (columns), adapted to ICC's white D50 with Bradford (IEC 61966-2-1, annex; Lindbloom).
_SRGB_D50 = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                      [0.0139322, 0.0971045, 0.7141733]])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_D65 = (0.3127, 0.3290)
_SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# ITU-T H.273, table 2: white, red, green, blue as x, y.
_PRIMARIES = {1: _SRGB, 4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
              5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06), 6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
              7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
              9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
              11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
              12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)}
_WHITE_NITS = 203.0  # diffuse white in PQ and HLG, ITU-R BT.2408; what is brighter is cut off at white


@dataclass(frozen=True)
class Encoding:
    """The way from a picture's values to linear sRGB: a curve for each channel, then a matrix."""

    curves: tuple[Curve, ...]
    """one for grey, or three"""
    matrix: NDArray[np.float32] | None = None
    """float32 [3, 3], linear sRGB = matrix @ linear rgb; None where the primaries are sRGB's, or for grey"""

    def grey(self) -> Encoding:
        """The same for a grey picture: its first curve alone."""
        return Encoding(self.curves[:1])

    def to_srgb(self, values: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        """uint8 or uint16 [..., C] (C = 1 or 3, as there are curves), each at its full range, as uint8 sRGB."""
        step = EIGHT_BIT if values.dtype == np.uint8 else 1
        linear = np.empty(values.shape, np.float32)
        for channel, curve in enumerate(self.curves):
            linear[..., channel] = curve[::step][values[..., channel]]
        if self.matrix is not None:
            linear = linear @ self.matrix.T
        np.clip(linear, 0.0, 1.0, out=linear)
        linear *= STEPS - 1
        linear += 0.5
        srgb: NDArray[np.uint8] = _encoded()[linear.astype(np.uint16)]
        return srgb

    def is_srgb(self) -> bool:
        """Whether 8-bit values mean the same, within a step, read as sRGB: such pictures are left exact."""
        ramp = np.arange(0, 256, 5, dtype=np.uint8)
        if len(self.curves) == 1:
            table = ramp[:, None]
        else:
            coarse = ramp[::10]
            table = np.concatenate([np.stack([ramp] * 3, -1),
                                    np.stack(np.meshgrid(coarse, coarse, coarse), -1).reshape(-1, 3)])
        return int(np.abs(self.to_srgb(table).astype(int) - table).max()) <= 1


@functools.lru_cache(maxsize=1)
def _encoded() -> NDArray[np.uint8]:
    """uint8 [65536]: the sRGB value of each linear one, in steps of 1/65535 (at most 0.05 of an 8-bit step)."""
    return np.round(linear_to_srgb(np.arange(STEPS) / (STEPS - 1)) * 255).astype(np.uint8)


def from_icc(profile: bytes, channels: int) -> Encoding | None:
    """The encoding of an ICC profile of curves (and a matrix) for grey (channels = 1) or RGB (3).

    None where the profile is of another kind: then Pillow's colour management has to say what it is. ICC.1:2022.
    """
    tags = _tags(profile)
    if tags is None or b"A2B0" in tags or profile[20:24] != b"XYZ ":
        return None
    names = (b"kTRC",) if channels == 1 else (b"rTRC", b"gTRC", b"bTRC")
    if profile[16:20] != (b"GRAY" if channels == 1 else b"RGB ") or not all(name in tags for name in names):
        return None
    try:
        curves = tuple(_icc_curve(tags[name]) for name in names)
        if channels == 1:
            return Encoding(curves)
        columns = np.array([struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")])
    except (KeyError, ValueError, struct.error, OverflowError):
        return None
    return Encoding(curves, _matrix(np.linalg.solve(_SRGB_D50, columns.T / 65536.0)))


def icc_space(profile: bytes) -> str:
    """The colours that an ICC profile is for: "RGB", "GRAY", "CMYK", ...; "" where it is no profile."""
    return "" if _tags(profile) is None else profile[16:20].decode("latin-1").strip()


def from_png(gamma: float | None, chromaticity: Sequence[float] | None) -> Encoding | None:
    """The encoding that gAMA (as a number, 0.45455) and cHRM (white, red, green, blue as x, y) tell; None if unusable.

    A gAMA of 1/2.2 stands for sRGB's own curve, as the PNG specification has writers of sRGB say it.
    """
    curve = _srgb_curve()
    if gamma is not None and abs(gamma - 1 / 2.2) > 0.001:
        if not 0.02 < gamma < 20:
            return None
        curve = _curve(_codes() ** (1 / gamma))
    matrix = None
    if chromaticity is not None:
        matrix = _from_primaries(chromaticity)
        if matrix is None:
            return None
    return Encoding((curve,) * 3, matrix)


def from_cicp(code: bytes) -> Encoding | None:
    """The encoding that a PNG's cICP chunk of four bytes tells (primaries, curve, matrix, full range: ITU-T H.273).

    HDR (PQ, HLG) is shown with diffuse white at 203 cd/m2 as white (ITU-R BT.2408). None if the codes are not known.
    """
    if len(code) != 4 or code[2] != 0 or code[0] not in _PRIMARIES:
        return None
    values = _codes()
    if not code[3]:  # 8 bits of 16..235
        values = np.clip((values * 255 - 16) / 219, 0.0, 1.0)
    curve = _cicp_curve(code[1], values)
    return None if curve is None else Encoding((_curve(curve),) * 3, _from_primaries(_PRIMARIES[code[0]]))


def adobe_rgb() -> Encoding:
    """AdobeRGB (1998): a power of 563/256 and a wider green."""
    return Encoding((_curve(_codes() ** (563 / 256)),) * 3, _from_primaries(_ADOBE_RGB))


def _codes() -> NDArray[np.float64]:
    return np.arange(STEPS) / (STEPS - 1)


def _curve(linear: NDArray[np.float64]) -> Curve:
    return linear.astype(np.float32)


def _srgb_curve() -> Curve:
    return srgb_to_linear(_codes()).astype(np.float32)


def _cicp_curve(transfer: int, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Linear values by H.273's transfer characteristics (table 3), 1 = white; None for those not known."""
    if transfer in (1, 6, 14, 15):  # BT.709
        return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    if transfer in (4, 5):
        return values ** (2.2 if transfer == 4 else 2.8)
    if transfer == 8:
        return values
    if transfer == 13:
        return srgb_to_linear(values).astype(np.float64)
    if transfer == 16:  # PQ, SMPTE ST 2084
        power = values ** (1 / 78.84375)
        nits = 10000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        return np.asarray(nits / _WHITE_NITS)
    if transfer == 18:  # HLG, ITU-R BT.2100, on a display of 1000 cd/m2; its system gamma taken channel by channel
        scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        return np.asarray(scene**1.2 * 1000 / _WHITE_NITS)
    return None


def _matrix(matrix: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """None for what is sRGB's own to the last digit that a profile stores."""
    return None if np.abs(matrix - np.eye(3)).max() < 2e-3 else matrix.astype(np.float32)


def _from_primaries(xy: Sequence[float]) -> NDArray[np.float32] | None:
    """Linear light of the primaries (white, red, green, blue as x, y) to linear sRGB; None for sRGB's own.

    Also None where they span no colours.
    """
    if len(xy) != 8 or min(xy[1::2]) <= 0:
        return None
    try:
        own, white = _to_xyz(xy)
        srgb, srgb_white = _to_xyz(_SRGB)
        gains = (_BRADFORD @ srgb_white) / (_BRADFORD @ white)
        adapted = np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD)
        return (np.linalg.solve(srgb, adapted @ own)).astype(np.float32)
    except np.linalg.LinAlgError:
        return None


def _to_xyz(xy: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix [3, 3] from linear rgb to XYZ, and white's XYZ [3], Y = 1."""
    white, *primaries = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2], strict=True))
    columns = np.stack(primaries, -1)
    return columns * np.linalg.solve(columns, white), white


def _tags(profile: bytes) -> dict[bytes, bytes] | None:
    """An ICC profile's tags; None if it is none."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    count = int.from_bytes(profile[128:132], "big")
    if count > 200 or len(profile) < 132 + 12 * count:
        return None
    entries = (struct.unpack(">4sII", profile[132 + 12 * i:144 + 12 * i]) for i in range(count))
    return {name: profile[offset:offset + size] for name, offset, size in entries}


def _icc_curve(data: bytes) -> Curve:
    """A curveType or parametricCurveType (ICC.1:2022, 10.6 and 10.18). Raises ValueError or struct.error."""
    x = _codes()
    count = int.from_bytes(data[8:12], "big")
    if data[:4] == b"curv":
        if count == 0:
            return _curve(x)
        table = np.frombuffer(data[12:12 + 2 * count], ">u2").astype(np.float64)
        if len(table) != count:
            raise ValueError("a curve cut short")
        if count == 1:
            return _curve(x ** (table[0] / 256))
        return _curve(np.interp(x, np.linspace(0, 1, count), table / 65535))
    kind = int.from_bytes(data[8:10], "big")
    if data[:4] != b"para" or kind > 4:
        raise ValueError("no curve")
    count = (1, 3, 4, 5, 7)[kind]
    g, a, b, c, d, e, f = ([value / 65536 for value in struct.unpack(f">{count}i", data[12:12 + 4 * count])]
                           + [0.0] * (7 - count))
    if kind == 0:
        a, d = 1.0, 0.0
    elif kind in (1, 2):  # one constant, c, on both sides of the knee where a x + b = 0
        if not a:
            raise ValueError("a curve without slope")
        c, d, e, f = 0.0, -b / a, c, c
    return _curve(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f))
