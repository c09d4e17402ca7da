"""Pictures in, pixels out: any picture form becomes 8-bit sRGB, and pixels follow IC-Light's training contract."""

from .decode import MAX_PIXELS, MIN_SIDE, read_picture
from .frame import composite_on_grey, contain, contained, covering, fit, fit_alpha, stretch, to_vae
from .load import load_image, load_mask, split_alpha

__all__ = ["load_image", "load_mask", "read_picture", "split_alpha", "MIN_SIDE", "MAX_PIXELS",
           "composite_on_grey", "contain", "contained", "covering", "fit", "fit_alpha", "stretch", "to_vae"]
