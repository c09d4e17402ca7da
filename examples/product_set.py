#!/usr/bin/env python3
"""Product photos on one background and in its light, from one folder into another: the batch command.

    python -m examples.product_set                                    # three objects here, on the pocket model
    python -m examples.product_set PHOTOS --background wall.jpg --prompt "product photo" --checkpoint model.safetensors

Each photo is cut out and relit to stand on the background, whose light falls on it; cut-outs lie beside the results. It
prints the command that it runs. Run again, it makes what is missing or was changed. A photo without transparency is cut
out by a model (170 MB, downloaded once).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from lib_iclight.cli import main as iclight

HERE = Path(__file__).parent


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", default=HERE / "products", help="the folder of photos")
    parser.add_argument("--out", type=Path, default=Path("product-set"), help="folder (default: product-set)")
    parser.add_argument("--background", type=Path, default=HERE / "rendered-wall.png", help="one picture for all")
    parser.add_argument("--prompt", default="best quality", help="of all photos")
    parser.add_argument("--rules", type=Path, help="a table with a prompt for each file: see docs/batch.md")
    parser.add_argument("--checkpoint", metavar="FILE", help="an SD 1.5 checkpoint (default: the pocket model)")
    parser.add_argument("--steps", type=int, help="fewer are quicker (default: what suits)")
    args = parser.parse_args()
    command = ["batch", str(args.photos), "-o", str(args.out), "--mode", "fbc", "--background", str(args.background),
               "--prompt", args.prompt, "--outputs", "cutout", "--seed", "9"]
    rules = args.rules or (HERE / "products.csv" if args.photos == HERE / "products" else None)
    for flag, value in (("--rules", rules), ("--checkpoint", args.checkpoint), ("--steps", args.steps)):
        if value is not None:
            command += [flag, str(value)]
    print("iclight", shlex.join(command), flush=True)
    sys.exit(iclight(command))


if __name__ == "__main__":
    main()
