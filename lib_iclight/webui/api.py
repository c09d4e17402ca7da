"""GET /iclight/v1/info: what this installation can do, for API clients."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from .. import __version__
from ..lights import PRESETS
from ..matting import MODELS
from ..session import Session
from ..settings import schema


def add_routes(app: FastAPI, session: Session) -> None:
    """Register the route on the host's application."""

    def info() -> dict[str, Any]:
        return {
            "version": __version__,
            "settings": schema(),
            "presets": {name: light.to_dict() for name, light in PRESETS.items()},
            "matting": ["auto", "none", *MODELS],
            "weights": [
                {"name": file.name, "kind": file.kind, "layout": file.layout, "dtype": file.dtype, "size": file.size,
                 "sha256": file.sha256} for file in session.find_weights()],
        }

    app.add_api_route("/iclight/v1/info", info, methods=["GET"], tags=["IC-Light"])
