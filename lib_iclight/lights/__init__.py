"""Lights: what they may be (`spec`), and their pictures (`draw`)."""

from .draw import broad_light, light_map
from .spec import MAX_LIGHTS, PRESETS, Directional, Light, LightSpec, Point, linear_color, parse_light

__all__ = ["LightSpec", "Directional", "Point", "Light", "PRESETS", "MAX_LIGHTS", "parse_light", "linear_color",
           "light_map", "broad_light"]
