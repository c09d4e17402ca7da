"""batch: every picture of a folder."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..batch import cluster, listing, local, stop, webui
from ..batch.claims import Claims
from ..batch.order import Models, Order
from ..batch.plan import Shard
from ..batch.recipe import KNOWN, Recipe, check_all, from_json, load_json
from ..batch.remote import Remote
from ..batch.report import FAILED as FAILED_ROW
from ..batch.report import Report, Row, Tally
from ..batch.rules import Rules, read_rules
from ..batch.talk import split_payload
from ..batch.worker import Worker, cleared
from ..console import printable
from ..errors import BatchError, SettingsError
from ..files import exists, is_dir
from ..folders import Folders
from ..generation import suited
from ..imaging.save import WRITABLE
from ..session import Session
from ..settings import PICTURES, STAGES
from .console import say, tell_model, warn
from .options import add_settings, lora

if TYPE_CHECKING:
    from tqdm import tqdm

HELP = "relight every picture of a folder"
FAILED = 3
"""the exit code where some pictures failed"""
MODELS = ("checkpoint", "lora", "lora_dir", "embeddings_dir", "device", "memory", "compile", "weights_dir",
          "matting_dir", "matting_device")
"""flags on what relights here"""
QUIET = ("sampling", "preparing the UNet", "Cutting out")
"""progress within a picture, which is not shown"""


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("source", metavar="IN", type=Path, help="the folder of pictures")
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the folder of results: "
                         "NAME-KEY.png for each picture, and report.jsonl; run again, what is there is not made again")
    command.add_argument("--recursive", action="store_true", help="the folders inside, too")
    command.add_argument("--pattern", metavar="'*.jpg'", action="append", default=[],
                         help="only files of such names; may be given several times (default: all pictures)")
    command.add_argument("--format", metavar="{" + ",".join(name[1:] for name in WRITABLE) + "}", default="png",
                         help="of the results (default: png)")
    command.add_argument("--settings", metavar="FILE.json", type=Path, help="settings and generation values by their "
                         "names, one JSON object, pictures as paths from there on; flags that are given come on top")
    command.add_argument("--rules", metavar="FILE.csv", type=Path, help="what single files are to have otherwise: a "
                         "column `file` (a name or a pattern), and one for each setting, such as prompt, light, mask")
    command.add_argument("--shard", metavar="I/N", default="1/1", help="only part I of N; each on a machine of its own")
    command.add_argument("--seed-per-file", action="store_true", help="each picture a seed of its own, made of its "
                         "bytes and --seed (default: all the same one)")
    command.add_argument("--stage", metavar="{" + ",".join(STAGES) + "}", default=argparse.SUPPRESS,
                         help="a light stage for each picture, a folder each (default: off)")
    elsewhere = command.add_argument_group("where to relight", "Without these it is done here.")
    elsewhere.add_argument("--webui", metavar="URL", action="append", default=[], help="through a running Forge or "
                           "A1111 with --api and this extension; may be given several times, each is kept busy")
    elsewhere.add_argument("--payload", metavar="FILE.json", type=Path, help="for --webui: a request to its txt2img, "
                           "with checkpoint, LoRAs, ControlNets; --settings and flags that are given come on top")
    elsewhere.add_argument("--ray", metavar="ADDRESS|local", help="on a Ray cluster (requirements/cluster.txt), whose "
                           "machines see IN, OUT and the models by the same paths; local: this machine alone")
    elsewhere.add_argument("--actors", metavar="N", type=int, help="for --ray: sessions (default: one for each GPU)")
    defaults = _own_flags(command)
    command.set_defaults(flags=defaults)


def _own_flags(command: argparse.ArgumentParser) -> dict[str, Any]:
    """relight's flags, of which those that are not given are not in the arguments: what is there was meant.

    Returns their defaults.
    """
    before = len(command._actions)
    add_settings(command)
    defaults: dict[str, Any] = {}
    for action in command._actions[before:]:
        if action.dest == "seed":
            action.default, action.help = 0, "of every picture, or with --seed-per-file counted to its own (default: 0)"
        defaults[action.dest] = action.default
        action.help = (action.help or "").replace("%(default)s", str(action.default).replace("%", "%%"))
        action.default = argparse.SUPPRESS
    return defaults


def run(args: argparse.Namespace) -> int:
    """Make what is missing; 0, 3 where pictures failed, 130 where it was ended before all was done."""
    _check_together(args)
    if exists(args.output) and not is_dir(args.output):
        raise BatchError(f"{args.output} is a file, and -o is the folder that results go to. Choose another one.")
    shard = Shard.parse(args.shard)
    payload, iclight = _payload(args.payload)
    order = order_of(args, iclight)
    found = listing.pictures(order.source, order.out, args.pattern, recursive=args.recursive)
    warn(found.notes)
    if not found.names:
        raise BatchError(f"there is no picture in {order.source}. Look at the folder, --pattern and --recursive.")
    with contextlib.closing(Bar()) as bar, stop.asked(bar.stopping) as stopped:
        session = None if args.webui else order.models.session(bar.progress)
        check_all(order.rules.recipes(order.recipe, found.names), session.suited if session else suited,
                  order.ending)
        work = _Work(order, shard.of(found.names), Report(order.out, shard), bar, stopped)
        with contextlib.closing(work.report), cleared(order.out, work.names):
            if args.webui:
                tally = _through_webuis(work, [Remote(url) for url in args.webui], payload)
            elif args.ray:
                tally = cluster.run(order, work.names, work.report, args.ray, actors=args.actors, stop=stopped,
                                    listen=bar.listen)
            else:
                tally = _here(work, session)
    if session is not None:
        tell_model(session)
    return ended(tally, work.report)


class _Work(NamedTuple):
    """What there is to do, and who hears of it."""

    order: Order
    names: Sequence[str]
    report: Report
    bar: Bar
    stop: threading.Event


def _here(work: _Work, session: Session | None) -> Tally:
    with contextlib.closing(Claims(work.order.out)) as claims:
        worker = Worker(work.order, claims, session, work.bar.progress)
        worker.check()
        tally = local.run(worker, work.names, work.report, stop=work.stop, listen=work.bar.listen,
                          progress=work.bar.progress)
        if not claims.locks:
            warn([f"the disk of {work.order.out} has no locks: let one batch at a time work on it, or use --shard."])
    return tally


def _through_webuis(work: _Work, remotes: Sequence[Remote], payload: Mapping[str, Any]) -> Tally:
    there, checkpoint, notes = webui.check(remotes, payload)
    warn(notes)
    with contextlib.closing(Claims(work.order.out)) as claims:
        pool = webui.Pool(work.order, there, claims, work.report, payload=payload, checkpoint=checkpoint,
                          stop=work.stop, listen=work.bar.listen)
        return pool.run(work.names)


def _payload(path: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request's plain part, and IC-Light's."""
    return split_payload(load_json(path, "the payload")) if path is not None else ({}, {})


def _check_together(args: argparse.Namespace) -> None:
    """Raise SettingsError for flags that do not go together: none is dropped in silence."""
    if args.webui and args.ray:
        raise SettingsError("--webui and --ray are two ways to relight elsewhere. Give one of them.")
    for name, needed in (("payload", "webui"), ("actors", "ray")):
        if getattr(args, name) is not None and not getattr(args, needed):
            raise SettingsError(f"--{name} is for --{needed}, which is not given.")
    if args.actors is not None and args.actors < 1:
        raise SettingsError(f"--actors must be 1 or more, not {args.actors}.")
    if "controlnet" in args:
        raise SettingsError("--controlnet has a picture of its own, and a batch has many. Use relight for each, or a "
                            "WebUI with --payload.")
    given = [name for name in MODELS if name in args]
    if args.webui and given:
        raise SettingsError(f"--{given[0].replace('_', '-')} is for relighting here; a WebUI relights with what it has "
                            "loaded. Choose it there, or in --payload.")


def ended(tally: Tally, report: Report) -> int:
    """Say how it went; returns the exit code."""
    warn(sorted(tally.warned))
    say(f"{tally.sentence()}; {report.path}")
    if tally.done < tally.total:
        print("stopped; run it again for the rest", file=sys.stderr)
        return 130
    return FAILED if tally.failed else 0


def order_of(args: argparse.Namespace, base: Mapping[str, Any]) -> Order:
    """The order that the flags are, on top of `base`. Raises ICLightErrors; no picture of the batch is looked at."""
    given = {name: value for name, value in vars(args).items() if name in KNOWN}
    if given.get("seed", 0) == -1:
        raise SettingsError("a batch needs a seed that it can be gone on with, not -1. Give --seed N, or "
                            "--seed-per-file for a seed of each picture's own.")
    for name in PICTURES:
        if name in given:
            given[name] = given[name].absolute()
    values = dict(base)
    if args.settings is not None:
        values |= from_json(load_json(args.settings, "the settings"), args.settings.absolute().parent,
                            args.settings.name)
    rules = read_rules(args.rules.absolute()) if args.rules is not None else Rules()
    flags = {**args.flags, **vars(args)}
    default = Folders.under()
    loras = [lora(text) for text in flags["lora"]]
    models = Models(flags["checkpoint"], tuple((str(one.path), one.strength) for one in loras),
                    Folders(*(tuple(flags[flag] or known) for flag, known in (
                        ("weights_dir", default.weights), ("matting_dir", default.matting),
                        ("lora_dir", default.loras), ("embeddings_dir", default.embeddings)))),
                    flags["device"], flags["matting_device"], flags["memory"], flags["compile"])
    return Order(args.source, args.output, Recipe({**values, **given}), rules, models,
                 "." + args.format.removeprefix("."), args.seed_per_file)


class Bar:
    """The batch as a bar on standard error: how many of those to do, what failed, rate and time left.

    It is there from the first word on: a mistake that is found before is one line.
    """

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def listen(self, tally: Tally, row: Row | None) -> None:
        """See `local.Listen`. What was there already counts as done, yet not in the rate and the time left."""
        bar = self._shown()
        bar.total, bar.initial = tally.total, tally.there
        counts = {"there": tally.there, "failed": tally.failed}
        bar.set_postfix({name: count for name, count in counts.items() if count}, refresh=False)
        bar.update(tally.done - bar.n)
        bar.refresh()
        if row is not None and row.state == FAILED_ROW:
            bar.write(printable(f"failed: {row.input}: {row.sentence}", sys.stderr), file=sys.stderr)

    def progress(self, what: str, done: int, total: int) -> None:
        """See `progress.Progress`: what takes long once, such as a download, is told before the bar."""
        if not what.startswith(QUIET):
            self._shown().set_description(f"{what} {100 * done // total}%" if total and done < total else "batch")

    def stopping(self) -> None:
        """Tell that the end was asked for."""
        self._shown().write(printable("ends after the picture in work; once more breaks off", sys.stderr),
                            file=sys.stderr)

    def close(self) -> None:
        """Leave the console as it was."""
        if self._bar is not None:
            self._bar.close()

    def _shown(self) -> tqdm[NoReturn]:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(desc="batch", unit="picture", file=sys.stderr, leave=False, dynamic_ncols=True,
                             smoothing=0)  # the rate since the begin, which alone heeds `initial`
        return self._bar
