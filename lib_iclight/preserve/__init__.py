"""Gives a relit subject back what the light should not have changed: its colours, its detail, its surroundings.

Pictures are uint8 sRGB [H, W, 3] of one size, alpha float32 [H, W] in 0..1, 1 = subject. Light is multiplied, so colour
and detail are worked on in linear light, as float32 planes [3, H, W]. Both look at the same thing: the ratio of the
result to the original. Its slow part is the new light; its fast part is detail that the model lost or made up.

`subject` brings both back at once, of `color` and `detail`; `background` puts the subject on its own picture. All three
work on `planes`. `harmonise` is apart: it is for the picture before it is relit.
"""

from .background import restore_background
from .subject import preserve

__all__ = ["preserve", "restore_background"]
