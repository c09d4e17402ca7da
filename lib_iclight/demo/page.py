"""The demo as one HTML file, which opens offline in any browser: what was made, side by side, and the desk to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..imaging.address import data_address, picture_address
from ..stage import Stage
from ..stage.desk import NO_SCRIPT, document, values_of
from ..stage.store import write_text

HERE = Path(__file__).resolve().parent
SHOWN = 512
"""pixels of a picture on the page; the small ones of the pocket model are enlarged by the browser"""


class Compared(NamedTuple):
    """A picture and what it was made of."""

    name: str
    before: Image.Image
    after: Image.Image


def write_page(path: Path, note: str, seconds: float, relit: Sequence[Compared], sketched: Sequence[Compared],
               stage: Stage, figures: Mapping[str, Path], sheet: Path) -> None:
    """Write it; it is there whole or not at all.

    note: the model's own word on itself. seconds: that the pictures took. relit: by the model. sketched: a photo under
    lights, without a model. figures: caption -> picture file, shown beside the desk. sheet: the contact sheet's file.
    """
    values: dict[str, Any] = {
        "comparisons": {"relit": _addresses(relit), "sketched": _addresses(sketched)},
        "desk": values_of(stage, "Light desk"),
    }
    shown = "".join(f'<figure><img src="{_file(file)}" alt="{escape(caption)}">'
                    f"<figcaption>{escape(caption)}</figcaption></figure>" for caption, file in figures.items())
    body = f"""{NO_SCRIPT}
<section><p>Everything here was made on your computer in {seconds:.0f} seconds, offline. Model: {escape(note)}.
It shows that the light follows what you ask; for photographs use IC-Light's own weights with an SD 1.5
checkpoint.</p></section>
<section id="relit"><h2>One object, other lights</h2>
<p>Each picture is a generation of its own. Drag the slider: the object as it was, and relit.</p>{_PAIR}</section>
<section><h2>Light stage: mix the light afterwards</h2>
<p>Nine generations with one seed, one for each single light. From here on light is a matter of sliders: nothing is
generated any more. Drag a lamp over the picture, turn the knobs around it, or drop pictures of your own.</p>
<div id="desk"></div></section>
<section><h2>What the stage knows of the object</h2><div class="row">{shown}</div></section>
<section id="sketched"><h2>The sketch: a photo under a light, at once</h2>
<p>No diffusion model here: the shape is guessed from the cut-out and the colours. This is what the editor shows while
you drag a lamp, before anything is generated. It is a sketch and looks like one.</p>{_PAIR}</section>
<section><h2>All pictures</h2><img class="sheet" src="{_file(sheet)}" alt="contact sheet of all pictures"></section>
"""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    style = (HERE / "page.css").read_text(encoding="utf-8")
    text = document("IC-Light: what the demo made", body, values, script, style, "iclight-demo")
    write_text(path, text)


_PAIR = """<div class="choices"></div><div class="pair"><div><img alt="before"><img class="after" alt="after"></div>
<input type="range" min="0" max="100" value="50" aria-label="before and after"></div>"""


def _addresses(compared: Sequence[Compared]) -> list[dict[str, str]]:
    """As page.js takes them, each picture at most `SHOWN` pixels."""
    return [{"name": one.name, "before": _picture(one.before), "after": _picture(one.after)} for one in compared]


def _picture(image: Image.Image) -> str:
    """A picture as a data address."""
    image = image.copy()
    image.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    return picture_address(image, "WEBP", quality=92)


def _file(path: Path) -> str:
    """A PNG or WebP file as a data address."""
    return data_address(path.read_bytes(), path.suffix[1:])
