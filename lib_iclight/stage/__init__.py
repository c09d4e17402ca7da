"""The light stage: one picture for each single light, made once; then light is mixed, turned and measured with.

A `Stage` is such a set. `load` reads one from a folder, `StageWriter` writes one picture by picture as it is being
made. `weights_of` says how its lights make another light, `Environment.weights` how they make the light of a place;
`mix` adds the pictures up, and `write_desk` writes a page that does so in real time. `normals`, `albedo` and `depth`
are what the set says of the subject; `animation` moves the light. Numpy and Pillow only.
"""

from .desk import read_mix, set_on_page, write_desk
from .environment import Environment, from_panorama, load_environment
from .mix import mix, mix_codes, over
from .normals import lambert, normals, pairs, reference, to_colors
from .outputs import outputs_of
from .rig import EIGHT, FOUR, Direction, Lamp, rig
from .skies import SKIES, sky
from .store import Stage, from_pictures, load
from .surface import albedo, depth, depth_codes
from .weights import from_names, to_names, weights_of
from .writer import StageWriter, save

__all__ = ["Stage", "load", "from_pictures", "StageWriter", "save",
           "FOUR", "EIGHT", "rig", "Lamp", "Direction",
           "weights_of", "from_names", "to_names", "mix", "mix_codes", "over",
           "Environment", "load_environment", "from_panorama", "SKIES", "sky",
           "normals", "pairs", "reference", "lambert", "albedo", "depth", "depth_codes",
           "to_colors", "outputs_of", "write_desk", "read_mix", "set_on_page"]
