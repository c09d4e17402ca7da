#!/usr/bin/env python3
"""What is left behind when something goes wrong in mid-job: faults injected by the hundred, and a long run.

    python benchmarks/faults.py [--count 300] [--seed 0]              # in doubles of the WebUIs and standalone
    python benchmarks/faults.py --host forge --dir FORGE              # 60 in a real WebUI on the CPU
    python benchmarks/faults.py --host forge --dir FORGE --soak 500   # its memory over 500 jobs
    python benchmarks/faults.py --host a1111 --dir A1111 --models FORGE/models

Prints a Markdown table, and each fault after which something was not as it should be; the exit code is 1 then. What
must hold is written in tests/fault_cases.py: every fault is told, the UNet's weights and the next plain picture are as
before, and the next relit picture is the undisturbed one. In a real WebUI the faults are raised in the extension's
hooks and what they call (by the probe of the live tests), at a step of the sampling, by the person, or by another
extension. The long run mixes modes, lights, tabs, sizes and a LoRA, and asks how much memory the process holds of its
own: pages mapped from models' files come and go as the system needs them.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live.client import HIRES, Answer, Forge, base64_of, scene, subject
from live.server import ON_THE_CPU, Server

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
STEADY, GROWTH = 50, 1.02
"""after so many jobs all has been loaded once; from then on memory may grow to so much"""
FC = {"enabled": True, "foreground": base64_of(subject()), "light": "left", "preserve_color": 0.5,
      "outputs": ["cutout"]}
FBC = {**FC, "mode": "fbc", "background": base64_of(scene())}
HIRES_PASS = {**HIRES, "hr_scale": 1.5, "hr_upscaler": "Latent", "hr_second_pass_steps": 2}
PHOTO = {"init_images": [base64_of(scene())]}
TABS: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "fc": ("txt2img", FC, {}),
    "fc, hires": ("txt2img", FC, HIRES_PASS),
    "fbc": ("txt2img", FBC, {"n_iter": 2}),
    "img2img": ("img2img", FC, PHOTO),
}
"""name -> tab, settings, what the job is told besides; two steps each"""
PLACES = ("webui.run:Run.check", "webui.run:Run.prepare", "webui.run:Run.before_sampling", "webui.run:Run.finish",
          "webui.run:Run.end", "session:Session.map_offsets", "job:Relight.concat", "job:Relight.finish",
          "job:Relight.extras", "webui.frames:of_pass")
"""of the library, where the probe raises: every hook, and where pictures and weights come in and go out"""
ERRORS = ("RuntimeError", "MemoryError", "OutOfMemoryError", "OSError", "FileNotFoundError")


def main() -> int:
    """Inject, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="faults (default: 300; 60 in a real WebUI)")
    parser.add_argument("--seed", type=int, default=0, help="which of all possible faults")
    parser.add_argument("--host", choices=list(ON_THE_CPU), default="forge", help="which WebUI it is (default: forge)")
    parser.add_argument("--dir", type=Path, help="its checkout; without it only the doubles")
    parser.add_argument("--models", type=Path, help="a Forge's models folder with the random models, for other hosts")
    parser.add_argument("--only", default="", metavar="TEXT", help="in a real WebUI only faults whose name holds it")
    parser.add_argument("--keep", action="store_true", help="keep the random models")
    parser.add_argument("--python", type=Path, help="its Python (default: the one in its venv folder)")
    parser.add_argument("--port", type=int, default=7999)
    parser.add_argument("--soak", type=int, default=0, metavar="JOBS", help="run so many jobs and watch the memory")
    arguments = parser.parse_args()
    if arguments.dir is None:
        return offline(arguments.count or 300, arguments.seed)
    server = Server(arguments.dir, arguments.python, arguments.port, host=arguments.host)
    made = (server.link_models(arguments.models) if arguments.models
            else server.make_models(["sd15", "lora", "offsets"]))
    try:
        with server:
            forge = Forge(server.url)
            if arguments.soak:
                return soak(forge, arguments.soak, arguments.seed)
            return live(forge, server, arguments.count or 60, arguments.seed, arguments.only)
    finally:
        for path in [] if arguments.keep else made:
            path.unlink()


# --- in the doubles -----------------------------------------------------------------------------------------------


def offline(count: int, seed: int) -> int:
    """Faults in the doubles and the standalone session."""
    import fault_cases
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)  # each fault is an error in the log

    def tell(fault: fault_cases.Fault, ended: str) -> None:
        if ended.startswith("FAILED"):
            print(f"{fault}: {ended}", flush=True)

    started = time.monotonic()
    with TemporaryDirectory(prefix="iclight-faults-") as models:
        results = fault_cases.campaign(list(fault_cases.WORLDS), count, Path(models), seed, tell)
    print_table(fault_cases.summary(results, lambda fault: fault.world.split(",")[0]))
    print()
    print_table(fault_cases.summary(results, lambda fault: fault.error))
    print(f"\n{len(results)} faults, {time.monotonic() - started:.0f} s.")
    return int(any(ended.startswith("FAILED") for ended in results.values()))


def print_table(table: Mapping[str, Counter[str]]) -> None:
    """How many jobs ended how, a row for each kind of fault."""
    print("| where, or which | faults | told | stopped by the person | no effect | not as it should be |")
    print("| --- " * 6 + "|")
    for name, ends in table.items():
        cells = [ends.total(), *(ends[one] for one in ("raised", "stopped", "absorbed", "FAILED"))]
        print(f"| {name} | {' | '.join(map(str, cells))} |")


# --- in a real WebUI ----------------------------------------------------------------------------------------------


class LiveFault(NamedTuple):
    """One fault in a real WebUI."""

    tab: str
    """a key of TABS"""
    name: str
    probe: Mapping[str, Any]
    """what the probe is armed with"""
    told: str
    """what the answer must say; empty for the person's own interrupt, which is no error"""


def live_faults(count: int, seed: int) -> list[LiveFault]:
    """Half of them in the hooks and what they call, the rest at steps, by the person and by another extension."""
    chooser = random.Random(seed)
    tabs = list(TABS)
    inside = [LiveFault(tabs[(number + turn) % len(tabs)], f"{error} in {place}",
                        {"break_in": f"lib_iclight.{place}", "break_with": error}, "injected")
              for turn, error in enumerate(ERRORS) for number, place in enumerate(PLACES)]
    steps = [(tab, step) for tab in tabs for step in ((1, 2) if tab in ("fc", "img2img") else (1, 2, 3, 4))]
    around = [LiveFault(tab, "an error at a step", {"raise_at": step}, "asked to fail here") for tab, step in steps]
    around += [LiveFault(tab, "an interrupt at a step", {"interrupt_at": step}, "") for tab, step in steps]
    around += [LiveFault(tab, "another extension", {harm: True}, "IC-Light: HostError")
               for tab in tabs for harm in ("drop_unet", "shrink_latent")]
    chosen = chooser.sample(inside, min(len(inside), max(count // 2, count - len(around))))
    return chosen + chooser.sample(around, min(len(around), count - len(chosen)))


def live(forge: Forge, server: Server, count: int, seed: int, only: str = "") -> int:
    """Faults in a running WebUI, each followed by a plain and a relit job; of `count` those whose name holds `only`.

    Forge's API answers any exception that is no HTTPException with 500 and an empty body; its log has the text.
    """
    before = plain(forge)
    undisturbed = {tab: relit(forge, tab) for tab in TABS}
    for tab, answer in undisturbed.items():
        assert answer.status == 200, f"{tab}: {answer.sentence}"
    assert plain(forge) == before
    table: dict[str, Counter[str]] = {}
    for fault in live_faults(count, seed):
        if only not in fault.name:
            continue
        if "drop_unet" in fault.probe and server.host == "a1111":  # which has no patched UNet to drop
            continue
        forge.arm(record=False, **fault.probe)
        said = server.log.stat().st_size
        answer = relit(forge, fault.tab)
        forge.call("/probe/disarm", {})
        faults = list(complaints(fault, answer, server.log.read_bytes()[said:].decode(errors="replace")))
        if plain(forge) != before:
            faults.append("the UNet or the next plain picture is another")
        if not same(relit(forge, fault.tab), undisturbed[fault.tab]):
            faults.append("the next relit picture is another")
        ended = "FAILED" if faults else "raised" if fault.told else "stopped"
        row = fault.name if "break_in" not in fault.probe else f"{fault.probe['break_with']} in the hooks"
        table.setdefault(row, Counter())[ended] += 1
        print(f"{fault.tab}: {fault.name}: {'; '.join(faults) or ended} ({answer.status} {answer.sentence[:100]})",
              file=sys.stderr, flush=True)
    print_table(table)
    return int(any(ends["FAILED"] for ends in table.values()))


def complaints(fault: LiveFault, answer: Answer, log: str) -> Iterator[str]:
    """What is wrong with the answer to a job with a fault in it. log: what the host printed meanwhile."""
    if not fault.told:
        if answer.status != 200:
            yield f"an interrupt ended in {answer.status}: {answer.sentence}"
    elif answer.status == 200:
        yield "nobody was told"
    elif fault.told not in (answer.sentence if answer.status != 500 else log):
        yield f"something else was told: {answer.sentence[:300]}"


def plain(forge: Forge) -> tuple[str, bytes]:
    """The UNet's hash after a job without IC-Light, and its picture."""
    forge.call("/probe/disarm", {})
    answer = forge.txt2img()
    assert answer.status == 200, answer.sentence
    return forge.unet_hash(), answer.pictures[0].tobytes()


def relit(forge: Forge, tab: str) -> Answer:
    """A relit job of two steps."""
    name, settings, more = TABS[tab]
    if name == "img2img":
        return forge.img2img(settings, steps=2, **more)
    return forge.txt2img(settings, steps=2, **more)


def same(one: Answer, other: Answer) -> bool:
    """Whether two jobs gave the same pictures, bit by bit."""
    return one.status == other.status == 200 and len(one.pictures) == len(other.pictures) and all(
        first.tobytes() == second.tobytes() for first, second in zip(one.pictures, other.pictures, strict=True))


def soak(forge: Forge, count: int, seed: int) -> int:
    """So many jobs of all kinds, and what the process holds on to after each."""
    chooser = random.Random(seed)
    before = plain(forge)
    forge.arm(record=False)
    held: list[Mapping[str, int]] = []
    for number in range(count):
        tab = chooser.choice(list(TABS))
        name, settings, more = TABS[tab]
        light = {"kind": "directional", "angle": chooser.randrange(360), "color": chooser.choice(["#ffffff", "3200K"])}
        settings = {**settings, "light": {"lights": [light]}, "preserve_detail": chooser.choice([0, 0.5]),
                    "enabled": chooser.random() > 0.1}
        prompt = "a cat" + chooser.choice(["", " <lora:iclight-live-lora:1>"])
        answer = forge.job(name, settings, prompt=prompt, steps=2, seed=number, **more)
        assert answer.status == 200, f"job {number + 1}, {tab}: {answer.sentence}"
        held.append(forge.call("/probe/memory")[1])
        if (number + 1) % 25 == 0:
            print(f"{number + 1} jobs: {held[-1]['anonymous'] / MIB:.0f} MiB of its own, "
                  f"{held[-1]['mapped'] / MIB:.0f} MiB of files", file=sys.stderr, flush=True)
    assert plain(forge) == before, "the UNet or the plain picture is another after all these jobs"
    own = [one["anonymous"] for one in held]
    steady = own[min(STEADY, count) - 1]
    print("| memory of its own | MiB | of that after the 50th job |\n| --- | --- | --- |")
    for what, size in (("after the 50th job", steady), ("the most after it", max(own[STEADY - 1:] or own)),
                       (f"after the last of {count}", own[-1])):
        print(f"| {what} | {size / MIB:.0f} | {size / steady:.3f} |")
    return int(own[-1] > GROWTH * steady)


if __name__ == "__main__":
    sys.exit(main())
