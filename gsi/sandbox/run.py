"""One run of the sandbox from empty directory to clean end: the workflow behind `grid-sandbox`.

make the VO -> collect contributions -> start services -> tour -> stay up until told to stop -> end services -> tidy.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gsi.errors import ConfigError
from gsi.sandbox.services import running
from gsi.sandbox.tour import exports, run_tour
from gsi.sandbox.vo import VO, make_vo
from gsi.system.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.sandbox.plan import Contribution, Service

__all__ = ["run_sandbox"]

_GROUP = "gsi.sandbox"
_PATIENCE_SECONDS = 2.0  # a second signal after this long means that somebody lost patience


def run_sandbox(
    *,
    directory: str | None,
    once: bool,
    keep: bool,
    tour: bool,
    kerberos: bool = False,
    out: TextIO | None = None,
) -> bool:
    """Run the sandbox and tell whether every step of the tour worked.

    Args:
        directory: An empty or missing directory to use and keep; a private temporary one when None.
        once: End after the tour instead of staying up until a signal.
        keep: Leave a temporary directory behind.
        tour: Whether to run the tour at all.
        kerberos: Whether to add a Kerberos realm, where a KDC is installed.
        out: Where to show everything; standard output by default.

    Raises:
        ConfigError: The directory is in use.
        KeyboardInterrupt: A signal came during the tour; everything is ended and tidied by then.
        TransportError: A service did not start.
    """
    stream = sys.stdout if out is None else out
    with _root(directory, keep=keep) as root, _stop_signals() as stopped:
        stream.write(f"making a demo virtual organisation in {root}\n")
        vo = make_vo(root, now=now(), kerberos=kerberos)
        contributions = _contributions(vo)
        stream.write("".join(f"{line}\n" for one in contributions for line in one.notices))
        services = [service for one in contributions for service in one.services]
        with running(services, vo) as ports:
            _show_services(services, ports, stream)
            steps = [step for one in contributions for step in one.make_steps(ports)]
            good = run_tour(steps, vo, stream, stopped.is_set) if tour else True
            if tour and stopped.is_set():
                stream.write("\ninterrupted: ending the services\n")
                raise KeyboardInterrupt
            if tour:
                verdict = "every step worked" if good else "at least one step FAILED; look for !! above"
                stream.write(f"\ntour finished: {verdict}\n")
            if not once:
                further = {name: value for one in contributions for name, value in one.make_exports(ports).items()}
                stream.write(f"\nto try it yourself, in another shell:\n{exports(vo.person('alice'), further)}")
                stream.write("the services stay up until Ctrl-C\n")
                stream.flush()
                stopped.wait()
            stream.write("ending the services\n")
        return good


@contextmanager
def _root(directory: str | None, *, keep: bool) -> Iterator[Path]:
    if directory is not None:
        root = Path(directory).absolute()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise ConfigError(f"{root} is not empty", hint="name a new directory, or leave --dir out for a private one")
        root.chmod(0o700)
        yield root
        return
    root = Path(tempfile.mkdtemp(prefix="grid-sandbox-"))
    try:
        yield root
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn the signals that end a program into an event, so that services and directory are always tidied.

    One signal can come twice at once, from the terminal and from make; only a later one breaks off what hangs.
    """
    stopped = threading.Event()
    first = 0.0

    def stop(_number: int, _frame: object) -> None:
        nonlocal first
        if stopped.is_set() and time.monotonic() - first > _PATIENCE_SECONDS:
            raise KeyboardInterrupt
        if not stopped.is_set():
            first = time.monotonic()
        stopped.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _contributions(vo: VO) -> list[Contribution]:
    found: list[Contribution] = [point.load()(vo) for point in entry_points(group=_GROUP)]
    return sorted(found, key=lambda contribution: contribution.order)


def _show_services(services: list[Service], ports: dict[str, int], out: TextIO) -> None:
    for one in services:
        where = f"127.0.0.1:{ports[one.name]}" if one.name in ports else one.socket_path
        out.write(f"{one.name} listens on {where}: {one.summary}\n")
