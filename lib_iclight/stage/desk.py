"""The light desk as one HTML file, which opens offline in any browser: the set inside it, and javascript/'s desk.

The page asks nothing of any server: a Content-Security-Policy forbids it, and allows no script and no style but the
file's own, by their hashes. What the desk saves ("Save mix") `read_mix` reads.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..assets import assets, page_scripts
from ..errors import StageError
from ..imaging.address import picture_address
from ..jsontext import read_json
from ..lights import PRESETS
from . import files
from .rig import Lamp
from .store import Stage, write_text
from .weights import Weights, from_names, weights_of

ROOT = assets()
SCRIPTS = ("10-", "20-", "30-", "40-", "50-", "7", "80-", "82-")
"""how the names of the scripts begin that the desk is made of"""
LOSSLESS_BYTES = 18 * 2**20
"""of all pictures as PNG, up to which "auto" takes that: in base64 24 MiB, about what a letter may hold"""
JPEG_QUALITY = 95
NO_SCRIPT = "<noscript>This page mixes light with JavaScript, which is turned off in this browser.</noscript>"
VERSION = 1
"""of a saved mix"""

Pictures = Literal["auto", "png", "jpeg"]


def write_desk(stage: Stage, path: Path, title: str = "Light desk", pictures: Pictures = "auto",
               side: int | None = None) -> None:
    """Write a stage and the desk as one HTML file. It is there whole or not at all.

    title: shown and used for the names of what is saved. pictures: how they are kept, at 8 bits: "png" without any
    loss, so that the desk equals `mix` to 2/255; "jpeg" (quality 95, full colour resolution), some 4 times smaller, a
    few 255ths off at hard edges, more where a dark mixture is made bright; "auto" takes PNG up to LOSSLESS_BYTES.
    side: longest side in pixels; None keeps the size. Raises StageError where the file cannot be written, and for
    another `pictures` or a side that is none.
    """
    if pictures not in ("auto", "png", "jpeg"):
        raise StageError(f"a desk's pictures are kept as auto, png or jpeg, not as {pictures!r:.20}.")
    if side is not None and max(stage.width, stage.height) > side:
        stage = stage.reduced(side)
    write_text(path, page(stage, title, pictures))


def page(stage: Stage, title: str, pictures: Pictures = "auto") -> str:
    """The file's text; see `write_desk`."""
    return document(title, NO_SCRIPT, values_of(stage, title, pictures),
                    'iclight.desk.mount(document.querySelector("main"), '
                    'JSON.parse(document.getElementById("values").textContent));')


def values_of(stage: Stage, title: str, pictures: Pictures = "auto") -> dict[str, Any]:
    """What `iclight.desk.mount` takes, the pictures within it as data addresses."""
    return {"title": title, "presets": {name: spec.to_dict() for name, spec in PRESETS.items()},
            "pictures": [{"name": lamp.name, "light": lamp.to_json(), "url": url}
                         for lamp, url in zip(stage.lamps, _addresses(stage, pictures), strict=True)],
            "alpha": None if stage.alpha is None else mask_address(stage.alpha)}


def document(title: str, main: str, values: Mapping[str, Any], script: str, style: str = "", kind: str = "") -> str:
    """An HTML page with the desk's scripts and style in it, that asks nothing of any server.

    main: the HTML between <main> and </main>. values: what the page's element `values` holds as JSON. script, style:
    added behind the desk's own. kind: a class of the body.
    """
    # In an HTML script only "<" can end or open anything.
    held = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")
    script = "\n".join([*(one.read_text(encoding="utf-8") for one in scripts()), script, ""])
    style = (ROOT / "style.css").read_text(encoding="utf-8") + style
    policy = f"default-src 'none'; img-src data: blob:; script-src {_hash(script)}; style-src {_hash(style)}; " \
             "base-uri 'none'; form-action 'none'"
    name, classes = html.escape(title), f"iclight-alone {kind}".strip()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{name}</title>
<style>{style}</style>
</head>
<body class="{classes}">
<header><h1>{name}</h1></header>
<main>{main}</main>
<script type="application/json" id="values">{held}</script>
<script>{script}</script>
</body>
</html>
"""


def set_on_page(pictures: Sequence[tuple[str, int]], alpha: NDArray[np.float32] | None, seed: int) -> dict[str, Any]:
    """What javascript/later/85-desks.js is told of a set whose pictures lie in a page's gallery: JSON values.

    pictures: each light's name (a preset's) and its picture's place in the gallery. alpha: of the pictures' size.
    """
    return {"seed": seed, "pictures": [{"name": name, "at": place} for name, place in pictures],
            "alpha": None if alpha is None else mask_address(alpha)}


def mask_address(alpha: NDArray[np.float32]) -> str:
    """A subject's mask, float32 [H, W] in 0..1, as the data address of a PNG."""
    return _png(np.rint(alpha * 255.0).astype(np.uint8))


def scripts() -> list[Path]:
    """The scripts that the desk is made of, in the order in which they are loaded. Raises StageError without them."""
    found = [path for path in page_scripts(ROOT) if path.name.startswith(SCRIPTS)]
    if not found or not (ROOT / "style.css").is_file():
        raise StageError("the desk's scripts are missing beside the package. Take the whole extension.")
    return found


def read_mix(values: Any, lamps: Sequence[Lamp], aspect: float = 1.0) -> tuple[Weights, float | str]:
    """The weights and the exposure of a mix that the desk saved, `{"version": 1, "light" or "weights": ..., "exposure":
    "auto" or stops}`, its object or its text. aspect: the pictures' width / height. Raises StageError, LightError.
    """
    if isinstance(values, str):
        values = read_json(values, "the mix", StageError, "Save it anew in the desk.")
    if not isinstance(values, Mapping) or ("light" in values) == ("weights" in values):
        raise StageError("a saved mix has either a \"light\" or \"weights\". Save it anew in the desk.")
    if values.get("version") != VERSION:
        raise StageError(f"the mix is of version {values.get('version')!r:.20}; this program reads version {VERSION}.")
    exposure = values.get("exposure", "auto")
    if "weights" in values:
        return from_names(values["weights"], lamps), exposure
    return weights_of(values["light"], lamps, aspect), exposure


def _addresses(stage: Stage, pictures: Pictures) -> list[str]:
    """The pictures as data addresses."""
    if pictures != "jpeg":
        made, size = [], 0
        for number in range(len(stage.lamps)):
            made.append(_png(files.to_codes(stage.picture(number))))
            size += len(made[-1]) * 3 // 4
            if pictures == "auto" and size > LOSSLESS_BYTES:
                break
        else:
            return made
    return [picture_address(Image.fromarray(files.to_codes(stage.picture(number))), "JPEG", quality=JPEG_QUALITY,
                            subsampling=0)
            for number in range(len(stage.lamps))]


def _png(codes: NDArray[Any]) -> str:
    return picture_address(Image.fromarray(codes), "PNG", compress_level=9)


def _hash(text: str) -> str:
    """What a policy names an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
