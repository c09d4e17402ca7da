"""Routes of our own for API clients: what this installation can do, and a photo under a light at once."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import Body, FastAPI, HTTPException

from .. import __version__
from ..doctor import examine
from ..errors import ICLightError, SettingsError, kind_name, sentence_of
from ..fields import Number, Picture
from ..hosts.base import Host
from ..instant import USED
from ..lights import PRESETS, LightSpec
from ..matting import MODELS
from ..session import Session
from ..settings import Settings, schema

log = logging.getLogger("iclight")
SIDES = Number(minimum=64, maximum=4096)
"""longer sides of a preview that can be asked for"""
SIDE = 1024
OWN = ("normals", "convention", "size")
"""what a preview takes beside settings"""


def add_routes(app: FastAPI, session: Session, host: Host | None = None) -> None:
    """Register the routes on the host's application. host: whose name the doctor tells."""
    examining = threading.Lock()

    def info() -> dict[str, Any]:
        """GET /iclight/v1/info."""
        with answering():
            return {
                "version": __version__,
                "settings": schema(),
                "presets": {name: light.to_dict() for name, light in PRESETS.items()},
                "matting": ["auto", "none", *MODELS],
                "weights": [
                    {"name": file.name, "kind": file.kind, "layout": file.layout, "dtype": file.dtype,
                     "size": file.size, "sha256": file.sha256} for file in session.find_weights()],
            }

    # No coroutine, so that the server runs it in a thread of its own.
    def preview(given: Any = Body(...)) -> dict[str, Any]:  # noqa: B008
        """POST /iclight/v1/preview."""
        with answering():
            return previewed(given, session)

    def doctor() -> dict[str, Any]:
        """GET /iclight/v1/doctor."""
        with answering(), examining:  # it reads whole files
            report = examine(session, host=host.name if host else "none", adapter=host.adapter if host else "none")
        return {"right": report.right, "text": str(report)}

    app.add_api_route("/iclight/v1/doctor", doctor, methods=["GET"], tags=["IC-Light"])
    app.add_api_route("/iclight/v1/info", info, methods=["GET"], tags=["IC-Light"])
    app.add_api_route("/iclight/v1/preview", preview, methods=["POST"], tags=["IC-Light"])


@contextmanager
def answering() -> Iterator[None]:
    """What is raised inside as the client can read it; see `refusal`."""
    try:
        yield
    except Exception as error:
        raise refusal(error) from error


def refusal(error: Exception) -> HTTPException:
    """HTTP 422 for what the client can mend, 500 for what it cannot, with a sentence that names no folder.

    Of any other exception Forge's API tells nothing, and A1111's all, with the server's paths.
    """
    if isinstance(error, HTTPException):
        return error
    mendable = isinstance(error, ICLightError)
    if not mendable:
        log.error("%s", error, exc_info=error)  # nobody prints what an HTTPException was made of
    return HTTPException(422 if mendable else 500, sentence_of(error))


def previewed(given: Any, session: Session) -> dict[str, Any]:
    """The answer to a request for a preview: a PNG in base64, the light that it is under, and notes.

    given: a JSON object of the settings in `instant.USED`, and of `normals` (a normal map), `convention` (auto, opengl,
    directx) and `size` (the longer side in pixels at most). Raises ICLightErrors that name what cannot be meant.
    """
    if not isinstance(given, Mapping):
        raise SettingsError(f"a preview is asked for by one JSON object, not {kind_name(given)}. "
                            "Send {\"foreground\": ..., \"light\": \"left\"}.")
    for key in given:
        if key not in (*USED, *OWN):
            raise SettingsError(f"unknown key {str(key)[:60]!r}. A preview takes {', '.join((*USED, *OWN))}.")
    side = round(SIDES.check("size", given.get("size", SIDE)))
    settings = Settings.from_dict({key: value for key, value in given.items() if key not in OWN})
    made = session.preview(settings, normals=Picture().check("normals", given.get("normals")),
                           convention=given.get("convention", "auto"), side=side)
    file = io.BytesIO()
    made.picture.save(file, "PNG")
    light = made.light.to_dict() if isinstance(made.light, LightSpec) else made.light
    return {"image": base64.b64encode(file.getvalue()).decode(), "light": light, "notes": list(made.notes)}
