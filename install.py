"""Run by the WebUI's launcher: adds the one package that automatic cut-outs need, and touches nothing else.

Every installed package is handed to pip as a constraint, so that none of them can be moved. Never raises: without the
package everything but automatic cut-outs works.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENT = "onnxruntime<1.27"  # newer ones ask for a newer protobuf, which stops Forge from starting


def main() -> None:
    """Install onnxruntime if it is missing."""
    try:
        if importlib.util.find_spec("onnxruntime") is None:
            print("IC-Light: installing onnxruntime for automatic cut-outs")
            install()
    except Exception as error:  # whatever it is, the WebUI is to start
        print(f"IC-Light: onnxruntime could not be installed ({error}). Everything but automatic cut-outs works; "
              f"to add them, run: {sys.executable} -m pip install \"{REQUIREMENT}\"")


def install() -> None:
    """Have pip install the requirement and move nothing. Raises RuntimeError with pip's last words if it cannot."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(installed()), encoding="utf-8")
        # Few retries: without a network the WebUI's start waits for them every time.
        done = subprocess.run([sys.executable, "-m", "pip", "install", REQUIREMENT, "--constraint", str(constraints),
                               "--disable-pip-version-check", "--quiet", "--retries", "2"],
                              stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"])[-1])


def installed() -> list[str]:
    """`name==version` of every installed package, as pip understands it."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        # Left-overs of broken installations have no name, or none that can be asked for.
        if name and version and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), f"{name}=={version}")
    return sorted(found.values())


if __name__ == "__main__":
    main()
