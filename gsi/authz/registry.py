"""Which kinds of authorizers and attribute sources there are: built in, or found by entry point; builds none itself.

A plug-in is an object of this shape, named by an entry point of the group `gsi.authorizers` (for attribute sources:
`gsi.attribute_sources`):

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings:
        file: str
        strict: bool = False

    PLUGIN = Plugin(Settings, build=lambda name, settings, place: MyAuthorizer(name, settings), summary="...")

    [project.entry-points."gsi.authorizers"]
    my-kind = "my_package.authorizer:PLUGIN"

The policy file then says `type = "my-kind"`, and its further keys are bound to `Settings` (gsi.system.config). A
plug-in cannot take the name of a built-in kind.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from gsi.errors import ConfigError, CredentialError, ParseError
from gsi.system.config import nearest
from gsi.system.files import read_public

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.decision import AttributeSource, Authorizer

__all__ = [
    "AUTHORIZER_GROUP",
    "BUILT_IN",
    "BUILT_IN_SOURCES",
    "SOURCE_GROUP",
    "Place",
    "Plugin",
    "SourcePlugin",
    "Stamp",
    "find_authorizer_type",
    "find_source_type",
    "is_settled",
    "known_types",
    "stamp_of",
]

AUTHORIZER_GROUP: Final = "gsi.authorizers"
"""The group of entry points for types of authorizers."""
SOURCE_GROUP: Final = "gsi.attribute_sources"
"""The group of entry points for types of attribute sources."""

BUILT_IN: Final[Mapping[str, str]] = {
    "ban": "gsi.authz.ban:PLUGIN",
    "gridmap": "gsi.authz.mapping:GRIDMAP_PLUGIN",
    "rsl": "gsi.authz.rsl.rules:PLUGIN",
    "rules": "gsi.authz.rules:PLUGIN",
    "token-scopes": "gsi.authz.scopes:PLUGIN",
    "voms-map": "gsi.authz.mapping:VOMS_MAP_PLUGIN",
}
"""The kinds that come with the package, as `module:attribute`."""

BUILT_IN_SOURCES: Final[Mapping[str, str]] = {
    "saml": "gsi.authz.saml_source:PLUGIN",
    "tokens": "gsi.authz.token_source:PLUGIN",
    "voms": "gsi.authz.sources:VOMS_PLUGIN",
}
"""The kinds of attribute sources that come with the package."""

S = TypeVar("S")

_TICK_NANOSECONDS: Final = 50_000_000
"""File times are as coarse as the kernel's tick, 10 ms at most; some network file systems' are a little coarser."""

Stamp: TypeAlias = tuple[int, int, int, int, int] | None
"""What tells a changed file from an unchanged one; None where there is no file."""


def stamp_of(path: str) -> Stamp:
    """Return the stamp of a file as it is now."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_settled(stamp: Stamp, now_nanoseconds: int) -> bool:
    """Say whether a later change would show in the stamp: not when the file was changed within the present tick."""
    return stamp is None or abs(now_nanoseconds - stamp[3]) > _TICK_NANOSECONDS


@dataclass(frozen=True, slots=True)
class Place:
    """Where a policy is being read, for plug-ins that read files of their own.

    Attributes:
        path: The policy file.
        service: The service it is for, or empty.
        files: Every file that was read or looked for, as it was just before; a change of one of them has the policy
            read again.
        problems: What is odd without being an error; a plug-in adds sentences, the loader shows and logs them.
    """

    path: str
    service: str = ""
    files: dict[str, Stamp] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def resolve(self, path: str) -> str:
        """Return the absolute name of a file that is named relative to the policy file, and have it watched.

        Raises:
            ConfigError: The name is empty.
        """
        if not path:
            raise ConfigError("an empty file name", path=self.path)
        found = os.path.join(os.path.dirname(os.path.abspath(self.path)), path)
        if found not in self.files:
            self.files[found] = stamp_of(found)
        return found

    def read(self, path: str, *, max_bytes: int) -> tuple[str, bytes]:
        """Return the absolute name and content of a file; it must not be writable by others.

        Raises:
            ConfigError: It cannot be read, is too long, or is open to others.
        """
        found = self.resolve(path)
        try:
            return found, read_public(found, max_bytes=max_bytes, check_writers=True)
        except (CredentialError, ParseError) as error:
            raise ConfigError(error.message.removeprefix(f"{found}: "), path=found, hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class Plugin(Generic[S]):
    """A kind of authorizer.

    Attributes:
        settings: A frozen dataclass of what the policy file may say.
        build: Makes one from its name, its settings and the place; raises ConfigError for what cannot be used.
        summary: What it does, as a clause.
        may_block: Whether asking it can wait for anything outside the process; an attribute `may_block` of an
            authorizer goes before it.
    """

    settings: type[S]
    build: Callable[[str, S, Place], Authorizer]
    summary: str
    may_block: bool = True


@dataclass(frozen=True, slots=True)
class SourcePlugin(Generic[S]):
    """A kind of attribute source; as `Plugin`."""

    settings: type[S]
    build: Callable[[str, S, Place], AttributeSource]
    summary: str
    may_block: bool = True


def find_authorizer_type(kind: str) -> Plugin[object]:
    """Return a kind of authorizer.

    Raises:
        ConfigError: There is none of this name, or it cannot be loaded.
    """
    found = _find(kind, AUTHORIZER_GROUP, BUILT_IN, "type of authorizer")
    if not isinstance(found, Plugin):
        raise ConfigError(f"the entry point {kind!r} of {AUTHORIZER_GROUP} is no Plugin")
    return found


def find_source_type(kind: str) -> SourcePlugin[object]:
    """Return a kind of attribute source.

    Raises:
        ConfigError: There is none of this name, or it cannot be loaded.
    """
    found = _find(kind, SOURCE_GROUP, BUILT_IN_SOURCES, "type of attribute source")
    if not isinstance(found, SourcePlugin):
        raise ConfigError(f"the entry point {kind!r} of {SOURCE_GROUP} is no SourcePlugin")
    return found


def known_types() -> dict[str, str]:
    """Return every kind of authorizer with where it comes from, `module:attribute`."""
    from importlib.metadata import entry_points

    plugins = {entry.name: entry.value for entry in entry_points(group=AUTHORIZER_GROUP)}
    return plugins | dict(BUILT_IN)


def _find(kind: str, group: str, built_in: Mapping[str, str], what: str) -> object:
    from importlib import import_module
    from importlib.metadata import entry_points

    try:
        if kind in built_in:
            module, _, attribute = built_in[kind].partition(":")
            found: object = getattr(import_module(module), attribute)
            return found
        entries = list(entry_points(group=group, name=kind))
        if len(entries) > 1:
            raise ConfigError(f"{what} {kind!r}: several installed packages bring one of this name")
        if entries:
            loaded: object = entries[0].load()
            return loaded
    except ImportError as error:
        raise ConfigError(
            f"{what} {kind!r} cannot be loaded: {error}", hint="install the extra or the package that it needs"
        ) from error
    known = {*built_in, *(entry.name for entry in entry_points(group=group))}
    raise ConfigError(f"unknown {what} {kind!r}", hint=nearest(kind, known))
