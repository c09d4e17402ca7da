"""IC-Light's weights: find, identify, download and map them."""

from .identify import WeightsFile, identify
from .keys import Layout
from .library import OFFICIAL, Official, find, find_weights, hashed, published, resolve, weight_names
from .offsets import OffsetCache, Offsets

__all__ = ["OFFICIAL", "Layout", "OffsetCache", "Offsets", "Official", "WeightsFile", "find", "find_weights", "hashed",
           "identify", "published", "resolve", "weight_names"]
