"""The command `myproxy-server`: options, files and detaching; `myproxy.server` does the serving.

Agrees with gct:myproxy/source/myproxy_server.c in options, files and exit status: it detaches once it listens, and the
parent's exit status says whether that worked; `-d` stays, answers one request and exits. New is `-foreground`, which
stays and serves until SIGTERM. With a socket as standard input it serves that one connection, as for inetd. A service
manager is told about its state, and may pass the listening sockets (sd_notify(3), sd_listen_fds(3)).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_ERROR, EXIT_OK, report, run, warn
from myproxy.cli.places import DEFAULT_CONFIG, STORAGE_PLACES, find_config, find_storage

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from myproxy.config import ServerConfig
    from myproxy.supervision import ServerFactory

__all__ = ["build_parser", "main"]

PROG: Final = "myproxy-server"
DEFAULT_PORT: Final = 7512
DEFAULT_PIDFILE: Final = "/run/myproxy.pid"


def _port(text: str) -> int:
    return count(text, maximum=65535)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "serve the credential repository")
    section = parser.section("What to serve")
    section.value(
        "-config", "-c", metavar="FILE", completion=Completion.FILE, text=f"the configuration ({DEFAULT_CONFIG})"
    )
    section.value(
        "-storage",
        "-s",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text=f"where credentials are kept ({STORAGE_PLACES[0]}); only its owner may be able to write it",
    )
    section = parser.section("Where to listen")
    section.value("-listen", "-l", metavar="HOST", text="the name or address to listen on (all of this machine)")
    section.value(
        "-port",
        "-p",
        metavar="N",
        convert=_port,
        text=f"the port, 0 for any free one (MYPROXY_SERVER_PORT or {DEFAULT_PORT})",
    )
    section.value("-portfile", "-z", metavar="FILE", completion=Completion.FILE, text="a file to write the port to")
    section.value(
        "-pidfile",
        "-P",
        metavar="FILE",
        completion=Completion.FILE,
        text=f"a file to write the process id to, and to lock (as root: {DEFAULT_PIDFILE})",
    )
    section = parser.section("How to run")
    section.flag("-foreground", text="stay in the foreground and log to standard error")
    section.flag("-d", dest="one_request", text="the same (also -debug), but answer one request and exit")
    section.flag("-verbose", "-v", text="log every request")
    section.flag("-V", dest="show_version", text="print the version to standard output and exit")
    section.flag("-h", "-u", dest="show_help", text="the same as -help")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    if arguments.show_help:
        sys.stdout.write(build_parser().format_help())
        return EXIT_OK
    if arguments.show_version:
        from gsi._version import __version__

        sys.stdout.write(f"{PROG} version MYPROXYv2 (gsi-toolkit {__version__})\n")
        return EXIT_OK
    return _start(arguments)


def _start(arguments: Namespace) -> int:
    """Check everything that can be checked while the caller still watches, then serve."""
    from gsi.system.notify import take_listeners
    from gsi.transport.serve import adopt, listen
    from myproxy.logs import log_to_stderr, parse_form
    from myproxy.server import ServerOptions
    from myproxy.supervision import ServerFactory

    once = arguments.one_request or arguments.debug
    verbose = arguments.verbose or once
    descriptors = take_listeners()
    inetd = not descriptors and _is_connection(0)
    os.umask(0o077)
    if inetd:
        return _serve_stdin(arguments, verbose=verbose)
    log_to_stderr(verbose=verbose)
    options = ServerOptions(config_path=find_config(arguments.config), storage=find_storage(arguments.storage))
    factory = ServerFactory(options)
    form = parse_form(factory.config.log_format)
    sockets = adopt(descriptors) if descriptors else listen(arguments.listen, _choose_port(arguments.port))
    if once or arguments.foreground or descriptors:
        log_to_stderr(verbose=verbose, form=form)
        _write_pid(arguments.pidfile)
        return _serve(arguments, factory, sockets, once=once)
    return _detach(arguments, factory, sockets)


def _is_connection(descriptor: int) -> bool:
    """Say whether a descriptor is a connected TCP socket, as inetd hands over."""
    import socket
    import stat

    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as found:
            found.getpeername()
            return found.family in {socket.AF_INET, socket.AF_INET6} and found.type == socket.SOCK_STREAM
    except OSError:
        return False


def _serve_stdin(arguments: Namespace, *, verbose: bool) -> int:
    """Serve the one connection that is standard input; what goes wrong is only in the log, as nobody else listens."""
    import logging
    import socket

    from gsi.errors import GridError
    from gsi.transport.serve import serve_one
    from myproxy.server import ServerOptions
    from myproxy.supervision import ServerFactory

    with socket.socket(fileno=os.dup(0)) as found:
        family = found.family
    # The protocol is named, because asyncio sets TCP_NODELAY only on sockets that say they are TCP.
    connection = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, os.dup(0))
    _drop_standard_files()  # standard output and standard error are the connection, too
    _log_to_syslog(None, verbose=verbose)
    try:
        options = ServerOptions(config_path=find_config(arguments.config), storage=find_storage(arguments.storage))
        factory = ServerFactory(options, monitored=False)
        _log_to_syslog(factory.config, verbose=verbose)
        serve_one(connection, factory.make)
    except GridError as error:
        logging.getLogger("myproxy.server").critical("the server ends: %s", error)
        return EXIT_ERROR
    return EXIT_OK


def _serve(
    arguments: Namespace,
    factory: ServerFactory,
    sockets: Sequence[socket.socket],
    *,
    once: bool = False,
    ready_pipe: int | None = None,
) -> int:
    from gsi.transport.serve import bound_port, serve
    from myproxy.supervision import ManagedWatcher

    port = bound_port(sockets)

    def announce() -> None:
        if arguments.portfile:
            _write_text(arguments.portfile, f"{port}\n")
        if ready_pipe is not None:
            os.write(ready_pipe, b".")
            os.close(ready_pipe)
        else:
            sys.stderr.write(f"{PROG}: listening on port {port}\n")

    workers = 1 if once else factory.config.worker_processes
    return serve(
        sockets,
        factory.make,
        workers=workers,
        once=once,
        on_ready=announce,
        on_reload=factory.reload,
        on_worker=factory.set_worker,
        watcher=ManagedWatcher(factory.metrics),
    )


def _detach(arguments: Namespace, factory: ServerFactory, sockets: Sequence[socket.socket]) -> int:
    """Serve in a process of its own session; return in the caller's process once it listens."""
    import logging

    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writer)
        return EXIT_OK if os.read(reader, 1) == b"." else EXIT_ERROR
    status = EXIT_ERROR
    try:
        os.close(reader)
        os.setsid()
        for name in ("portfile", "pidfile"):
            if path := getattr(arguments, name):
                setattr(arguments, name, os.path.abspath(path))
        os.chdir("/")
        _write_pid(arguments.pidfile, default=DEFAULT_PIDFILE if os.geteuid() == 0 else None)
        _leave_terminal(factory.config, verbose=arguments.verbose)
        status = _serve(arguments, factory, sockets, ready_pipe=writer)
    except Exception as error:  # noqa: BLE001  the last door of this process
        from gsi.errors import GridError

        known = error if isinstance(error, GridError) else GridError(f"internal error: {error!r}")
        report(PROG, known)
        logging.getLogger("myproxy.server").critical("the server ends: %s", known)
    finally:
        os._exit(status)


def _leave_terminal(config: ServerConfig | None, *, verbose: bool) -> None:
    """Send the log to syslog where there is one, and let go of the caller's terminal and pipes."""
    if not _log_to_syslog(config, verbose=verbose):
        warn(PROG, "no log: there is no syslog here", hint="use -foreground, or look at the audit file")
    _drop_standard_files()


def _drop_standard_files() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _log_to_syslog(config: ServerConfig | None, *, verbose: bool) -> bool:
    from myproxy.logs import log_to_syslog, parse_facility, parse_form

    if config is None:
        return log_to_syslog(PROG, verbose=verbose)
    return log_to_syslog(
        config.syslog_ident or PROG,
        verbose=verbose,
        form=parse_form(config.log_format),
        facility=parse_facility(config.syslog_facility),
    )


def _choose_port(given: int | None) -> int:
    from gsi.errors import ConfigError
    from gsi.system.environ import get_variable

    if given is not None:
        return given
    text = get_variable("MYPROXY_SERVER_PORT")
    try:
        return DEFAULT_PORT if text is None else _port(text)
    except ValueError as error:
        raise ConfigError(f"MYPROXY_SERVER_PORT {error}") from error


def _write_pid(asked: str | None, *, default: str | None = None) -> None:
    """Write and lock the pid file; the lock lives as long as this process. Without the default one it goes on.

    Raises:
        ConfigError: The file that was asked for cannot be written, or a running server has locked it.
    """
    import contextlib
    import fcntl

    from gsi.errors import ConfigError

    path = asked or default
    if path is None:
        return
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)  # whoever may read a file may keep others from locking it
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # another user's who lets us write it
            os.fchmod(descriptor, 0o600)  # an older one may have been readable
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError as error:
        why = "another server is running" if isinstance(error, BlockingIOError) else error.strerror
        if asked:
            hint = f"see which program holds it: fuser -v {path}" if isinstance(error, BlockingIOError) else None
            raise ConfigError(f"pid file {path}: {why}", hint=hint) from error
        warn(PROG, f"pid file {path}: {why}")


def _write_text(path: str, text: str) -> None:
    from gsi.system.files import write_public

    write_public(path, text.encode())
