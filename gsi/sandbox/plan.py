"""What a package contributes to the sandbox, as values; runs nothing.

A package names a function in the entry-point group `gsi.sandbox`; it is called with the `VO` and returns a
`Contribution`. Contributions are ordered by `order`, so that the tour reads as one story.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gsi.sandbox.vo import Person

__all__ = ["Command", "Contribution", "Service", "Step"]


@dataclass(frozen=True, slots=True)
class Service:
    """A server that the sandbox starts and ends.

    Attributes:
        name: What it is called in the output and in the log file's name.
        argv: The command in the foreground; it must not detach.
        environment: Variables for it on top of the sandbox's own.
        summary: One line for the user: what it is good for.
        port: The TCP port on 127.0.0.1 on which it has to listen.
        socket_path: In its place, the Unix socket.
        url: What people type to reach it, where that is not its address.
        prepare: Called just before it is started, to make what it needs, with the exports of all services; may raise
            GridError. None for nothing.
        account: The account to run it as, where that is not one's own; needs root.
        variables: Names of exports that it takes into its environment where there are such.
        knows_others: Whether it is to be started again when others join, to know of them.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    summary: str
    port: int | None = None
    socket_path: Path | None = None
    url: str = ""
    prepare: Callable[[Mapping[str, str]], None] | None = None
    account: str | None = None
    variables: tuple[str, ...] = ()
    knows_others: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the tour, as a user would type it.

    Attributes:
        argv: Program and arguments.
        user: Whose environment it runs in: a person of the VO.
        environment: Variables set in front of the command.
        stdin_path: A file to read from, shown as `< file`; None for no input.
        status: The exit status that makes the step a success.
        expect: Texts that the output must hold.
        prepare: Called just before the command is run, to write what depends on the time; None for nothing.
        beside: Whether it needs nothing of the command before it, so that the two may run at the same time.
    """

    argv: tuple[str, ...]
    user: str
    environment: tuple[tuple[str, str], ...] = ()
    stdin_path: Path | None = None
    status: int = 0
    expect: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A stop on the tour: a sentence and the commands that show it.

    Attributes:
        title: Its heading.
        text: What is to be seen.
        commands: What shows it, in this order.
        beside: Whether it may run at the same time as the step before it, whichever that is.
    """

    title: str
    text: str
    commands: tuple[Command, ...]
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one package adds.

    Attributes:
        order: Place in the story; lower comes first.
        services: The servers to start.
        make_steps: Called for a tour, once the services listen; returns the steps.
        make_last_steps: Likewise; with these the tour ends, after the steps of all others.
        make_exports: Called with a person; returns the variables by which that person's shell finds the services.
        notices: Lines for the user: what of it cannot be shown on this machine, and why.
    """

    order: int
    services: tuple[Service, ...] = ()
    make_steps: Callable[[], tuple[Step, ...]] = tuple
    make_last_steps: Callable[[], tuple[Step, ...]] = tuple
    make_exports: Callable[[Person], Mapping[str, str]] = lambda _person: {}
    notices: tuple[str, ...] = ()
