"""Where Chromium is, and what its lack means. Run as a program it installs one where it can.

Chromium is taken from the variable CHROMIUM, else from the PATH. pip cannot install it, Debian's package manager can.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import NoReturn

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-liberation")
"""of Debian; without any font a page's texts have no size"""


def find(environment: Mapping[str, str] = os.environ, which: Callable[[str], str | None] = shutil.which) -> str | None:
    """The browser's program; None where there is none."""
    return environment.get("CHROMIUM") or next(filter(None, map(which, NAMES)), None)


def is_must(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the tests in a browser may not be skipped: CI says that it is one by the variable CI."""
    return environment.get("CI", "").lower() not in ("", "0", "false")


def without(what: str, environment: Mapping[str, str] = os.environ) -> NoReturn:
    """What a test does that lacks `what`, a clause: in CI it fails, elsewhere it is skipped and says so."""
    import pytest

    if is_must(environment):
        pytest.fail(f"{what}, and with CI set the tests in a browser may not be skipped", pytrace=False)
    pytest.skip(what)


def provide() -> None:
    """Install Chromium where there is none and Debian's package manager can be used; else say what is missing."""
    if find() is not None:
        return
    if shutil.which("apt-get") is None or not _is_root():
        print("There is no Chromium: the tests in a browser cannot run. Install one (as root on Debian this command "
              "does it), or name it in the variable CHROMIUM.", flush=True)
        return
    print(f"Installing Debian's packages {' and '.join(PACKAGES)} for the tests in a browser ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed: the tests in a browser cannot run.", flush=True)
            return


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


if __name__ == "__main__":
    provide()
