"""What a new policy begins with: the bootstrap file of GT, and what `-implicit` adds; reads no file, makes no change.

    changes = bootstrap_changes(parse_bootstrap(data))
    changes += implicit_changes("superUserGroup")

The file has one `name=value` in a line, as Java properties do; `#` and `!` begin a comment:

    ta-name=defaultTrustAnchor
    ta-authMethod=X509
    ta-authData=/O=Grid/CN=CA
    user-name=superUser
    user-subject=/O=Grid/CN=Admin
    userGroupname=superUserGroup
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas.assertion.value import Comparison
from cas.policy.changes import AddMember, Enrol, Grant
from cas.policy.model import (
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    X509,
    Effect,
    Kind,
    Namespace,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    TrustAnchor,
    User,
    UserGroup,
)
from gsi.errors import ParseError

if TYPE_CHECKING:
    from cas.policy.changes import Change

__all__ = [
    "FILE_ACTIONS",
    "MAX_BOOTSTRAP_BYTES",
    "Bootstrap",
    "bootstrap_changes",
    "implicit_changes",
    "parse_bootstrap",
]

MAX_BOOTSTRAP_BYTES: Final = 65536
"""The largest file: it has six lines."""

FILE_ACTIONS: Final = ("read", "lookup", "write", "create", "delete", "chdir", "authz_assert")
"""What one may do with files, in the words of the GridFTP server."""

_NAMES: Final = ("ta-name", "ta-authMethod", "ta-authData", "user-name", "user-subject", "userGroupname")


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Who governs a new policy.

    Attributes:
        anchor: The CA of the first user.
        user: The first user.
        group: Their group, which is superuser.
    """

    anchor: TrustAnchor
    user: User
    group: UserGroup


def parse_bootstrap(data: bytes) -> Bootstrap:
    """Read a bootstrap file.

    Raises:
        ParseError: It does not follow the grammar, says something twice or not at all, or names what nothing can be.
    """
    if len(data) > MAX_BOOTSTRAP_BYTES:
        raise ParseError(f"{len(data)} bytes, limit {MAX_BOOTSTRAP_BYTES}", what="bootstrap file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8", what="bootstrap file", offset=error.start) from error
    values: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#!":
            continue
        name, mark, value = (part.strip() for part in line.partition("="))
        if not mark or name not in _NAMES or not value:
            raise ParseError(
                f"line {number}: not one of {', '.join(_NAMES)}, with = and a value", what="bootstrap file"
            )
        if name in values:
            raise ParseError(f"line {number}: {name} a second time", what="bootstrap file")
        values[name] = value
    missing = [name for name in _NAMES if name not in values and name != "ta-authMethod"]
    if missing:
        raise ParseError(f"{', '.join(missing)} is missing", what="bootstrap file")
    anchor = TrustAnchor(values["ta-name"], values["ta-authData"], values.get("ta-authMethod", X509))
    user = User(values["user-name"], values["user-subject"], anchor.nickname)
    return Bootstrap(anchor, user, UserGroup(values["userGroupname"]))


def bootstrap_changes(begin: Bootstrap) -> tuple[Change, ...]:
    """Return the changes that make the first superuser."""
    name = begin.group.name
    return (
        Enrol(begin.group),
        Enrol(begin.anchor, name),
        Enrol(begin.user, name),
        AddMember(begin.group.ref, begin.user.ref),
        Grant(Statement(name, Effect.PERMIT, SUPERUSER, SERVER)),
        Grant(Statement(name, Effect.PERMIT, GRANT_ALL, SERVER)),
    )


def implicit_changes(owner: str) -> tuple[Change, ...]:
    """Return the changes that enrol what GridFTP needs: the service type of files, and the two namespaces."""
    return (
        Enrol(ServiceType("file"), owner),
        *(Enrol(ServiceAction("file", name)) for name in FILE_ACTIONS),
        Enrol(Namespace("FTPDirectoryTree", "", Comparison.WILDCARD), owner),
        Enrol(Namespace("FTPExact", "", Comparison.EXACT), owner),
        Grant(Statement(owner, Effect.PERMIT, GRANT_ALL, Ref(Kind.NAMESPACE, "casDefaultNS"))),
    )
