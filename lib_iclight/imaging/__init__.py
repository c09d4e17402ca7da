"""Pictures in, pixels, pictures out: any picture form becomes 8-bit sRGB, pixels follow IC-Light's training contract,
and files are written whole with the text that tells how they were made."""

from .decode import MAX_PIXELS, MIN_SIDE, can_write_avif, read_picture
from .frame import composite_on_grey, contain, contained, covering, fit, fit_alpha, stretch, to_vae, under_light
from .load import load_finer_mask, load_image, load_mask, load_plain, split_alpha
from .outputs import Output, Outputs, plan_outputs
from .save import WITH_ALPHA, WRITABLE, read_text, save_picture

__all__ = ["load_finer_mask", "load_image", "load_mask", "load_plain", "read_picture", "split_alpha", "MIN_SIDE",
           "MAX_PIXELS",
           "composite_on_grey", "contain", "contained", "covering", "fit", "fit_alpha", "stretch", "to_vae",
           "under_light",
           "save_picture", "read_text", "plan_outputs", "Output", "Outputs", "WRITABLE", "WITH_ALPHA", "can_write_avif"]
