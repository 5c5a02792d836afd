"""One run of the sandbox from empty directory to clean end: the workflow behind `grid-sandbox`.

make the VO -> collect contributions -> start services -> tour -> stay up until told to stop -> end services -> tidy.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
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


def run_sandbox(*, directory: str | None, once: bool, keep: bool, tour: bool, out: TextIO | None = None) -> bool:
    """Run the sandbox and tell whether every step of the tour worked.

    Args:
        directory: An empty or missing directory to use and keep; a private temporary one when None.
        once: End after the tour instead of staying up until a signal.
        keep: Leave a temporary directory behind.
        tour: Whether to run the tour at all.
        out: Where to show everything; standard output by default.

    Raises:
        ConfigError: The directory is in use.
        TransportError: A service did not start.
    """
    stream = sys.stdout if out is None else out
    with _root(directory, keep=keep) as root, _stop_signals() as stopped:
        stream.write(f"making a demo virtual organisation in {root}\n")
        vo = make_vo(root, now=now())
        contributions = _contributions(vo)
        services = [service for one in contributions for service in one.services]
        with running(services, vo) as ports:
            _show_services(services, ports, stream)
            steps = [step for one in contributions for step in one.make_steps(ports)]
            good = run_tour(steps, vo, stream) if tour else True
            if tour:
                verdict = "every step worked" if good else "at least one step FAILED; look for !! above"
                stream.write(f"\ntour finished: {verdict}\n")
            if not once and not stopped.is_set():
                stream.write(f"\nto try it yourself, in another shell:\n{exports(vo.person('alice'))}")
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
    """Turn SIGINT and SIGTERM into an event, so that services and directory are always tidied."""
    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt  # the second Ctrl-C breaks off a tour that hangs
        stopped.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _contributions(vo: VO) -> list[Contribution]:
    found: list[Contribution] = [point.load()(vo) for point in entry_points(group=_GROUP)]
    return sorted(found, key=lambda contribution: contribution.order)


def _show_services(services: list[Service], ports: dict[str, int], out: TextIO) -> None:
    lines = (f"{one.name} listens on 127.0.0.1:{ports[one.name]}: {one.summary}\n" for one in services)
    out.writelines(lines)
