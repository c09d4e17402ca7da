"""The studio served until it is stopped: python run.py studio."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..console import printable
from ..doctor import examine
from ..errors import ICLightError, SettingsError
from ..files import reason
from ..hosts.standalone.host import Options
from ..panel.gradio_host import GRADIO_4
from ..session import POCKET, Session
from .calls import Calls
from .guard import MAX_CALL, MAX_FILE, Guard
from .jobs import Studio
from .page import build

INSTALLED = "iclight-studio"
"""what `pip install` calls it"""
PORT = 7861
LOCAL = "127.0.0.1"
ANY = ("0.0.0.0", "::")
AT_ONCE = 4
"""jobs and cut-outs that are taken up; the UNet does one job after the other, and the others say that they wait"""
QUEUED = 16
"""more calls than that wait for nothing and are told so"""
PATIENCE = 2
"""seconds that open connections get when the studio is stopped"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped."""
    parser = _parser()
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    token = None if args.no_token else secrets.token_urlsafe(32)
    try:
        if token is None and not _is_loopback(args.listen):
            raise SettingsError(f"--no-token goes with this machine's own address {LOCAL} only: whoever reaches "
                                f"{args.listen} could use the page. Leave one of the two out.")
        session = Session.open(args.checkpoint, models=args.models, device=args.device,
                               options=Options(memory=args.memory, compile=args.compile))
        with _stoppable(), prepared(session, args.listen, args.port, token, args.name) as (server, addresses):
            _tell("The light studio is at " + " or ".join(addresses))
            if token is not None:
                _tell("Whoever has this address can use it. Stop it with Ctrl+C.")
            if args.browser:
                webbrowser.open(addresses[0])
            with suppress(KeyboardInterrupt):
                server.run()
    except ICLightError as error:
        parser.error(str(error))
    return 0


def _program() -> str:
    """What this was started by: the installed program, or run.py."""
    called = Path(sys.argv[0]).stem
    return called if called == INSTALLED else "python run.py studio"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_program(), description="The light studio in the browser.")
    parser.add_argument("--checkpoint", default=POCKET, metavar="PATH", help="an SD 1.5 .safetensors file or a "
                        "diffusers folder (default: the pocket model, which needs no download)")
    parser.add_argument("--models", type=Path, metavar="FOLDER",
                        help="holds ic-light/ and matting/; what is missing is downloaded there. Checkpoints, LoRAs "
                        "and ControlNets in its folders, named as a WebUI's, can be chosen on the page (default: "
                        "models in ICLIGHT_HOME or, without it, in the current folder)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--memory", default="auto", metavar="{auto,high,low,fp8}",
                        help="low: as little as possible at once; fp8: less still, and less exact (default: auto)")
    parser.add_argument("--compile", action="store_true",
                        help="let torch.compile make the UNet faster; costs minutes the first time")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the page (default: {PORT})")
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")
    parser.add_argument("--listen", default=LOCAL, metavar="ADDRESS", help="of this machine, or 0.0.0.0 for all that "
                        "it has: others can reach the page there, unencrypted, if they have its token "
                        f"(default: {LOCAL})")
    parser.add_argument("--name", action="append", default=[], metavar="NAME", help="another name or address that the "
                        "page is reached by, such as a router's; may be given several times")
    parser.add_argument("--no-token", action="store_true", help="let every program and account on this machine use the "
                        "page, for scripts")
    return parser


@contextmanager
def prepared(session: Session, address: str = LOCAL, port: int = 0, token: str | None = None,
             names: Sequence[str] = ()) -> Iterator[tuple[uvicorn.Server, list[str]]]:
    """A server for the page, to be run, and the addresses to open, token included; in the end no file of it is left.

    address, port: to listen at; 0 for any free port. names: further ones that the page is reached by.
    Raises SettingsError where nothing can listen there.
    """
    with own_folder() as folder, listening(address, port) as listener:
        port = listener.getsockname()[1]
        studio = Studio(session)
        page = build(studio)
        # Gradio 3 has one limit for all functions, which is 1 by itself.
        page.queue(max_size=QUEUED, api_open=False, **{
            "default_concurrency_limit" if GRADIO_4 else "concurrency_count": AT_ONCE})
        options: dict[str, Any] = {"show_error": False, "max_file_size": MAX_FILE} if GRADIO_4 else {}
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/iclight/v1/doctor", lambda: _doctor(session), methods=["GET"])
        app = gr.mount_gradio_app(app, page, "/", **options)
        guard = Guard(app, names=known_names(address, names), token=token, cookie=f"iclight-studio-{port}",
                      folder=folder, check=Calls(page.config, folder).check,
                      inner=getattr(page._queue, "access_token", ""))  # Gradio 3's queue calls the page by HTTP
        config = uvicorn.Config(guard, log_level="error", ws="none" if GRADIO_4 else "auto", ws_max_size=MAX_CALL,
                                timeout_graceful_shutdown=PATIENCE)
        yield _Server(config, listener, studio.stop), _addresses(address, port, token)


def _doctor(session: Session) -> dict[str, Any]:
    report = examine(session, host="studio")
    return {"right": report.right, "text": str(report)}


class _Server(uvicorn.Server):
    """A server on a socket that is open already."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._listener = listener
        self._on_stop = on_stop

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run([self._listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        # Pages that are open keep connections that have to be cut; each would be a traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for all that is uploaded and made, which is gone in the end.

    Gradio's and Python's temporary files are put there meanwhile. It lies in GRADIO_TEMP_DIR, if that is set.
    """
    given = os.environ.get("GRADIO_TEMP_DIR")
    try:
        if given:
            Path(given).mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix="iclight-studio-", dir=given or None, ignore_cleanup_errors=True)
    except OSError as error:
        raise SettingsError(f"no temporary folder can be made ({reason(error)}). Free some space on the disk, or name "
                            "another folder in the variable GRADIO_TEMP_DIR.") from error
    before = tempfile.tempdir
    with made as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            if given is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = given


@contextmanager
def listening(address: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises SettingsError where none can."""
    if not 0 <= port <= 65535:
        raise SettingsError(f"there is no port {port}. Choose one from 1024 to 65535 with --port.")
    host = str(_ip(address))
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        if os.name == "posix":  # elsewhere this would let two programs have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            raise SettingsError(_why_not(error, address, port)) from error
        yield listener


def _why_not(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (f"port {port} is in use by another program, maybe by a studio that still runs. Stop that, or choose "
                "another port with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine. Give one that it has with --listen, or leave that out."
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this account. Choose one from 1024 on with --port."
    return f"the studio cannot listen at port {port} of {address} ({reason(error)}). Choose others."


def known_names(address: str, more: Sequence[str] = ()) -> list[str]:
    """The names, without ports, that a page listening at an address may be called by.

    A website can give a name of its own any address, and so bring a browser here; it cannot change these.
    """
    ip = str(_ip(address))
    names = {LOCAL, "localhost", *(name.lower() for name in more)}
    if not _is_loopback(address):
        host = socket.gethostname().lower()
        names |= {host, f"{host}.local"}
    names |= _own_addresses() if ip in ANY else {ip}
    # Starlette cuts a host at its first colon, so that of every IPv6 address this is left.
    return sorted({"[" if ":" in name else name for name in names})


def _own_addresses() -> set[str]:
    """This machine's, as far as they can be told."""
    found: set[str] = set()
    with suppress(OSError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: a documentation address (RFC 5737)
        found.add(probe.getsockname()[0])
    return found


def _addresses(address: str, port: int, token: str | None) -> list[str]:
    """What to open: at this machine first, then elsewhere."""
    ip = str(_ip(address))
    hosts = [LOCAL, socket.gethostname().lower()] if ip in ANY else [f"[{ip}]" if ":" in ip else ip]
    query = "" if token is None else "?" + urlencode({"token": token})
    return [f"http://{host}:{port}/{query}" for host in hosts]


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(LOCAL if address == "localhost" else address.strip("[]"))
    except ValueError as error:
        raise SettingsError(f"--listen takes an address such as {LOCAL} or 0.0.0.0, not {address!r}.") from error


def _is_loopback(address: str) -> bool:
    return _ip(address).is_loopback


@contextmanager
def _stoppable() -> Iterator[None]:
    """A request to end (SIGTERM, a closed console) leaves as Ctrl+C does: through what is to be cleaned up."""
    def leave(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    def as_terminated(number: int, frame: Any) -> None:  # which a running server ends in good order on
        signal.raise_signal(signal.SIGTERM)

    handlers = {signal.SIGTERM: leave, **({signal.SIGHUP: as_terminated} if hasattr(signal, "SIGHUP") else {})}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _tell(text: str) -> None:
    sys.stdout.write(printable(text, sys.stdout) + "\n")
    sys.stdout.flush()
