"""The light of a spec on a photo, at once and without a model: a sketch, and the light that a background shows.

`shape_of` (colours and outline) or `shape_from_normals` (a normal map) makes a picture's `Shape` once; `sketch` then
lights it, and a `Sketcher` puts it under one light after the other. `light_of` reads a spec from a background picture.
Needs numpy and Pillow only.

The formula, pixel by pixel; the browser computes the same (docs/preview.md). Constants are those of `shading`.
Inputs: colour c (sRGB code / 255) with alpha a; n, the unit normal, x right, y up, z to the camera, scaled linearly to
the picture and made unit again; the photo's own light (o_x, o_y) of the shape; u = (column + 0.5) / width and
v = (row + 0.5) / height; W, H the sides in units of the shorter one. decode, encode: sRGB (IEC 61966-2-1). C_k: the
k-th light's linear colour times its intensity; A: the ambient's linear colour.

    directional, angle t:   L = (cos 15° cos t, cos 15° sin t, sin 15°)
                            s = 1 + 0.8 (cos t (u - 0.5) - sin t (v - 0.5)) / (|cos t| + |sin t|)
    point, radius r:        d = (W (x - u), H (v - y)), z = 0.08 + 0.28 r², L = (d_x, d_y, z) / |(d_x, d_y, z)|
                            q = min(|d|² / r², 1), s = (1 - q²)² / (1 + 4 q)
    point with a hole:      L = (0, 0, 1), s = 1
    diffuse  D = sum over k of 2 C_k s_k (0.06 + 0.94 clip((n.L_k + 0.25) / 1.25, 0, 1))
    sheen    S = sum over k of 2 C_k s_k clip((n.L_k + n_z) / sqrt(2 + 2 L_kz), 0, 1)^16
    p = decode(c), m = (p_r + p_g + p_b) / 3
    E = p (3 A + D) exp(-(o_x n_x + o_y n_y)) + 0.3 (m + 0.06) S
    E' = min(E, 0.6) + 0.4 (1 - exp(-max(E - 0.6, 0) / 0.4)), clipped at E = 4
    out = round(behind + a 255 encode(E')), clipped to 0..255
    behind = (1 - a) background, or max(photo - a 255 c, 0) where the photo's own background stays
"""

from .background import FoundLight, light_of
from .normals import Convention, shape_from_normals
from .shading import Sketcher, sketch
from .shape import Shape, shape_of

__all__ = ["Shape", "shape_of", "shape_from_normals", "Convention", "sketch", "Sketcher", "FoundLight", "light_of"]
