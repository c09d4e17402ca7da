"""What a large photo costs beside a small one, outside sampling: python benchmarks/pictures.py

A photo (a JPEG of noise and gradients) with a mask of its own size goes the whole way of a job in fc: read, decoded,
cut out, laid into a frame of 512 x 640, encoded by a stand-in that costs nothing, and finished with colour, detail and
background preserved. Each case runs in a process of its own; processor time and peak memory are the system's.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
FRAME = (512, 640)
CASES = {"1 megapixel": (1000, 1000), "24 megapixels": (6000, 4000), "100 megapixels": (11600, 8700)}


def main() -> None:
    """Measure every case, and print how much more it takes than the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs=2, type=Path, metavar=("PHOTO", "MASK"), help="run one case in this process")
    case = parser.parse_args().case
    if case:
        print(json.dumps(run(*case)))
        return
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (width, height) in CASES.items():
            photo, mask = make(Path(folder), width, height)
            told = subprocess.run([sys.executable, __file__, "--case", photo, mask], check=True, capture_output=True,
                                  text=True)
            figures = json.loads(told.stdout)
            first = first or figures
            seconds, megabytes = figures["seconds"], figures["megabytes"]
            print(f"{name:>15}: {seconds:.2f} s of processor time, {megabytes:.0f} MB at the peak; "
                  f"{seconds - first['seconds']:+.2f} s, {megabytes - first['megabytes']:+.0f} MB")


def make(folder: Path, width: int, height: int) -> tuple[Path, Path]:
    """A photo and its mask as files."""
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(1).integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    photo, mask = folder / f"{width}.jpg", folder / f"{width}.png"
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(photo, quality=90)
    y, x = np.ogrid[-1:1:height * 1j, -1:1:width * 1j]
    Image.fromarray(((x**2 + y**2) < 0.5).astype(np.uint8) * 255).save(mask)
    return photo, mask


def run(photo: Path, mask: Path) -> dict[str, float]:
    """One job; seconds of processor time and peak memory of this process."""
    import numpy as np
    import torch
    from PIL import Image

    from lib_iclight.frame import Frame
    from lib_iclight.job import Encoder, LatentCache, Relight
    from lib_iclight.matting import Cutter
    from lib_iclight.settings import Settings

    started = time.process_time()
    settings = Settings(foreground=photo, mask=mask, light="left", preserve_color=0.5, preserve_detail=0.5,
                        keep_background=True)
    job = Relight(settings, cutter=Cutter([]), latents=LatentCache(), largest=FRAME)
    encoder = Encoder("stand-in", lambda pixels: torch.zeros(1, 4, pixels.shape[0] // 8, pixels.shape[1] // 8))
    frame = Frame(*FRAME)
    job.concat(encoder, frame)
    job.initial(encoder, frame)
    job.finish(Image.fromarray(np.full((FRAME[1], FRAME[0], 3), 90, np.uint8)), frame).save(io.BytesIO(), "PNG")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.process_time() - started, "megabytes": peak}


if __name__ == "__main__":
    main()
