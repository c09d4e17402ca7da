"""Run by the WebUI's launcher: adds the one package that automatic cut-outs need, and touches nothing else.

Every installed package is handed to pip as a constraint, so that none of them can be moved. Never raises: without the
package everything but automatic cut-outs works.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENT = "onnxruntime<1.27"  # newer ones ask for a newer protobuf, which stops Forge from starting


def main() -> None:
    """Install onnxruntime if it is missing."""
    if importlib.util.find_spec("onnxruntime") is not None:
        return
    print("IC-Light: installing onnxruntime for automatic cut-outs")
    try:
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "constraints.txt")
            constraints.write_text("\n".join(installed()), encoding="utf-8")
            subprocess.run([sys.executable, "-m", "pip", "install", REQUIREMENT, "--constraint", str(constraints),
                            "--disable-pip-version-check", "--quiet"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"IC-Light: onnxruntime could not be installed ({error}). Everything but automatic cut-outs works; "
              f"to add them, run: {sys.executable} -m pip install \"{REQUIREMENT}\"")


def installed() -> list[str]:
    """`name==version` of every installed package."""
    return sorted({f"{found.metadata['Name']}=={found.version}" for found in importlib.metadata.distributions()
                   if found.metadata["Name"]})


if __name__ == "__main__":
    main()
