"""The sandbox from empty directory to clean end: the workflows behind `grid-sandbox`.

make the VO -> collect contributions -> start services -> remember what runs where -> tour -> end services -> tidy.

    run_sandbox(...)                     # in the foreground, until told to stop
    bring_up(root, kerberos=False, out)  # in the background, for as long as it takes
    take_tour(root, out)
    bring_down(root, delete=False, out=out), reset(root, out)

What is remembered between two of them is in `state`; `report` shows it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from gsi.errors import ConfigError, CredentialError
from gsi.sandbox.place import LOCK, clear, forget, forget_open_dir, make_root, open_up, temporary_root
from gsi.sandbox.report import exports_of
from gsi.sandbox.services import Health, Launch, Started, began, end, look
from gsi.sandbox.state import FILE, State, load_state, save_state
from gsi.sandbox.tour import run_tour
from gsi.sandbox.vo import PEOPLE, VO, make_vo, open_vo
from gsi.system.clock import now
from gsi.system.files import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gsi.sandbox.plan import Contribution, Step

__all__ = ["bring_down", "bring_up", "reset", "run_sandbox", "take_tour"]

_GROUP: Final = "gsi.sandbox"
_PATIENCE_SECONDS: Final = 2.0  # a second signal after this long means that somebody lost patience


def run_sandbox(
    *,
    directory: str | None,
    once: bool,
    keep: bool,
    tour: bool,
    kerberos: bool = False,
    out: TextIO | None = None,
) -> bool:
    """Run a sandbox in the foreground and tell whether every step of the tour worked.

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
    good = True
    with temporary_root(directory, keep=keep) as root, _stop_signals() as stopped, contextlib.ExitStack() as tidying:
        if not keep:
            tidying.callback(forget_open_dir, root)
        vo, contributions = _make(root, State(kerberos=kerberos), stream)
        record = _Record(root, State(foreground=os.getpid(), foreground_began=began(os.getpid()) or 0))
        launch = _launch(vo, contributions, record, leisurely=tour)
        tidying.callback(record.end)
        tidying.callback(launch.end)
        if tour:
            good = _tour(vo, _steps(contributions, stream, launch), record, stream, stopped)
        launch.wait_for(told=lambda one: _tell(one, stream))
        if not once:
            stream.write(f"\nto try it yourself, in another shell:\n{exports_of(record.state, 'alice')}")
            stream.write("the services stay up until Ctrl-C\n")
            stream.flush()
            stopped.wait()
        stream.write("ending the services\n")
        stream.flush()
    return good


def bring_up(root: Path, *, kerberos: bool, out: TextIO) -> None:
    """Make the sandbox where there is none, start what does not run, and leave it running.

    Args:
        root: Its directory.
        kerberos: Whether to add a Kerberos realm; one that has it keeps it.
        out: Where progress is shown.

    Raises:
        ConfigError: The directory holds something else, or the sandbox runs in the foreground of another process.
        TransportError: A service did not start; those that this call has started are ended.
    """
    new = not _is_there(root)
    if new:
        make_root(root)
    try:
        with FileLock(str(root / LOCK)):
            _up(root, kerberos=kerberos, out=out)
    except (KeyboardInterrupt, SystemExit):
        if new:
            forget(root)
        raise


def take_tour(root: Path, *, out: TextIO) -> bool:
    """Run the tour in a sandbox that is up, and tell whether every step worked.

    Raises:
        ConfigError: It is not up, or a tour was here before.
        KeyboardInterrupt: A signal came.
        NotFoundError: There is no sandbox.
    """
    state = load_state(root)
    if state.toured:
        raise ConfigError(
            "a tour was here before, and would stumble over what it has left",
            hint="`grid-sandbox reset` makes everything new",
        )
    silent = [one.name for one in state.services if look(one) is not Health.UP]
    if silent or not state.services:
        raise ConfigError(
            f"{', '.join(silent) or 'the sandbox'} is not up", hint="`grid-sandbox up` starts what does not run"
        )
    vo = _open(root, state)
    with _stop_signals() as stopped:
        return _tour(vo, _steps(_contributions(vo), out), _Record(root, state), out, stopped)


def bring_down(root: Path, *, delete: bool, out: TextIO) -> None:
    """End what runs; the certificates and stores stay for the next start, unless all is to be deleted.

    Raises:
        ConfigError: It runs in the foreground of another process.
        NotFoundError: There is no sandbox.
    """
    load_state(root)
    with FileLock(str(root / LOCK)):
        state = load_state(root)
        _refuse_foreground(state)
        if not _end(state, out):
            out.write(f"the sandbox in {root} was not up\n")
        if delete:
            forget(root)
            out.write(f"deleted {root}\n")
            return
        save_state(root, replace(state, services=(), foreground=0))
        out.write("everything else stays for the next `grid-sandbox up`; -delete removes it\n")


def reset(root: Path, *, out: TextIO) -> None:
    """Throw away all that was made and stored, and begin anew: with the same ports, and up where it was up.

    Raises:
        ConfigError: It runs in the foreground of another process.
        NotFoundError: There is no sandbox.
        TransportError: A service did not start.
    """
    load_state(root)
    with FileLock(str(root / LOCK)):
        state = load_state(root)
        _refuse_foreground(state)
        was_up = _end(state, out)
        clear(root, state)
        save_state(root, State(kerberos=state.kerberos, ports=state.ports, open_dir=state.open_dir))
        if was_up:
            _up(root, kerberos=state.kerberos, out=out)
        else:
            out.write(f"{root} is empty; `grid-sandbox up` makes everything new\n")


def _up(root: Path, *, kerberos: bool, out: TextIO) -> None:
    state = load_state(root) if _is_there(root) else State()
    _refuse_foreground(state)
    kerberos = kerberos or state.kerberos
    running = [one for one in state.services if look(one) is Health.UP]
    if running and len(running) == len(state.services) and kerberos == state.kerberos:
        out.write(f"the sandbox in {root} is up already\n")
        return
    end([one for one in state.services if one not in running])  # with what is left of them
    state = replace(state, kerberos=kerberos)
    if state.exports:
        state = open_up(state)
        vo = _open(root, state)
        contributions = _contributions(vo)
        out.write("".join(f"{line}\n" for one in contributions for line in one.notices))
    else:  # new, or never got as far as this
        clear(root, state)
        vo, contributions = _make(root, state, out)
    joining = {service.name for one in contributions for service in one.services} - {one.name for one in state.services}
    know_others = {service.name for one in contributions for service in one.services if service.knows_others}
    if running and joining:
        end([one for one in running if one.name in know_others])
        running = [one for one in running if one.name not in know_others]
    before = replace(state, foreground=0, services=running, ports=vo.ports, open_dir=str(vo.open_dir or ""))
    record = _Record(root, before)
    launch = _launch(vo, contributions, record)
    try:
        launch.wait_for(told=lambda one: _tell(one, out))
    except BaseException:
        launch.end()
        record.end(before.services)
        raise
    out.write(
        f"\nthe sandbox in {root} is up; in a shell, be Alice with\n\n"
        f'    eval "$(grid-sandbox env{_where(root)})"\n\n'
        "`grid-sandbox tour` shows around, `status` says how it is, `down` ends it\n"
    )


def _where(root: Path) -> str:
    """Return the option that other commands need to find this sandbox."""
    from gsi.sandbox.state import choose_root

    return "" if choose_root(None) == root else f" -dir {root}"


def _make(root: Path, state: State, out: TextIO) -> tuple[VO, list[Contribution]]:
    """Make a VO in an empty root."""
    out.write(f"making a demo virtual organisation in {root}\n")
    out.flush()
    state = open_up(state)
    save_state(root, state)  # now it is a sandbox, which `down -delete` removes
    vo = _open(root, state)
    make_vo(vo, now=now())
    contributions = _contributions(vo)
    out.write("".join(f"{line}\n" for one in contributions for line in one.notices))
    return vo, contributions


def _open(root: Path, state: State) -> VO:
    return open_vo(
        root, kerberos=state.kerberos, ports=state.ports, open_dir=Path(state.open_dir) if state.open_dir else None
    )


class _Record:
    """What is remembered of a sandbox, written down with each change; two threads may make them."""

    def __init__(self, root: Path, state: State) -> None:
        self._root = root
        self._lock = threading.Lock()
        self.state = state

    def change(self, change: Callable[[State], State]) -> None:
        """Change some of it.

        Raises:
            CredentialError: It cannot be written.
        """
        with self._lock:
            self.state = change(self.state)
            save_state(self._root, self.state)

    def add(self, started: Started) -> None:
        """Remember a service that was started.

        Raises:
            CredentialError: It cannot be written.
        """
        self.change(lambda state: replace(state, services=(*state.services, started)))

    def end(self, left: Sequence[Started] = ()) -> None:
        """Remember that nothing runs but what is left; on a full disk that is seen by the processes alone."""
        with contextlib.suppress(CredentialError):
            self.change(lambda state: replace(state, services=left, foreground=0))


def _launch(vo: VO, contributions: Sequence[Contribution], record: _Record, *, leisurely: bool = False) -> Launch:
    """Begin to start the services that do not run yet, and write down what runs where."""
    exports = {name: _exports(vo, contributions, name) for name in PEOPLE}
    running = {one.name for one in record.state.services}
    record.change(
        lambda state: replace(
            state,
            kerberos=vo.kerberos,
            ports=vo.ports,
            open_dir=str(vo.open_dir or ""),
            exports=exports,
            notices=[line for one in contributions for line in one.notices],
        )
    )
    wanted = [service for one in contributions for service in one.services if service.name not in running]
    return Launch(wanted, vo, exports["alice"], record.add, leisurely=leisurely)


def _exports(vo: VO, contributions: Sequence[Contribution], name: str) -> dict[str, str]:
    person = vo.person(name)
    found = {**person.environment, "GRID_SANDBOX": str(vo.root)}
    for one in contributions:
        found.update(one.make_exports(person))
    return found


def _tell(started: Started, out: TextIO) -> None:
    out.write(f"{started.name} listens on {started.place}: {started.summary}\n")
    out.flush()


def _end(state: State, out: TextIO) -> bool:
    """End what runs, and tell whether there was anything."""
    found = [one for one in state.services if look(one) is not Health.DOWN]
    out.write("".join(f"ending {one.name}\n" for one in found))
    out.flush()
    end(state.services)
    return bool(found)


def _steps(contributions: Sequence[Contribution], out: TextIO, launch: Launch | None = None) -> Iterator[Step]:
    """Yield the steps of a tour; services that start in the meantime are waited for where the first step needs them."""
    for one in contributions:
        if launch is not None:
            launch.wait_for({service.name for service in one.services}, lambda started: _tell(started, out))
        yield from one.make_steps()
    for one in contributions:
        yield from one.make_last_steps()


def _tour(vo: VO, steps: Iterator[Step], record: _Record, out: TextIO, stopped: threading.Event) -> bool:
    record.change(lambda state: replace(state, toured=True))
    good = run_tour(steps, vo, out, stopped.is_set)
    foreground = record.state.foreground
    if stopped.is_set():
        out.write("\ninterrupted: ending the services\n" if foreground else "\ninterrupted\n")
        raise KeyboardInterrupt
    verdict = "every step worked" if good else "at least one step FAILED; look for !! above"
    out.write(f"\ntour finished: {verdict}\n")
    if not good and not foreground:
        out.write("the tour expects a sandbox as `grid-sandbox reset` makes it\n")
    return good


def _is_there(root: Path) -> bool:
    """Tell whether there is a sandbox, or what was one."""
    return os.path.lexists(root / FILE)


def _refuse_foreground(state: State) -> None:
    if state.foreground and began(state.foreground) == state.foreground_began:
        raise ConfigError(
            f"this sandbox runs in the foreground, as process {state.foreground}", hint="end it there with Ctrl-C"
        )


@contextlib.contextmanager
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
