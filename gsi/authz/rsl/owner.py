"""Whose job it is, as a rule asks for it: `jobowner self, "/O=Grid/CN=Alice", "/O=Grid/OU=Physics/**"`; pure.

A permit compares the owner's name as permits compare subjects, a denial as denials do (gsi.authz.principals). An owner
of whom nothing is known is nobody for a permit, and anybody for a denial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.principals import Glob, NamePattern, dn_key, parse_dn, skeleton
from gsi.errors import GridError

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest

__all__ = ["SELF", "Owner", "OwnerCondition", "owner_of"]

SELF: Final = "self"


class Owner:
    """The owner of the job that a request is about.

    Attributes:
        name_der: The name; empty where it is unknown.
        is_self: Whether it is who asks.
    """

    __slots__ = ("is_self", "name_der")

    def __init__(self, name_der: bytes, *, is_self: bool) -> None:
        self.name_der = name_der
        self.is_self = is_self


def owner_of(request: AuthorizationRequest) -> Owner:
    """Return whose job it is, by the resource's attribute `owner`; in doubt, nobody's."""
    subject = request.subject
    names = request.resource.attributes.get("owner", ())
    try:
        (text,) = names
        name = parse_dn(text)
        is_self = bool(subject.identity_der) and dn_key(subject.identity_der) == dn_key(name)
    except (GridError, ValueError):
        return Owner(b"", is_self=False)
    return Owner(name, is_self=is_self)


class OwnerCondition:
    """The clause `jobowner`. Immutable."""

    __slots__ = ("_globs", "_is_self", "_keys", "_patterns", "_skeletons")

    def __init__(self, texts: tuple[str, ...]) -> None:
        """Read names and patterns.

        Raises:
            ParseError: One of them is neither.
        """
        self._is_self = SELF in texts
        names = [text for text in texts if text != SELF and "*" not in text]
        patterns = [text for text in texts if "*" in text]
        parsed = [parse_dn(name) for name in names]
        self._keys = frozenset(dn_key(name) for name in parsed)
        self._skeletons = frozenset(skeleton(name) for name in parsed)
        self._patterns = tuple(NamePattern(text) for text in patterns)
        globs: list[Glob] = []
        for text in patterns:
            base = skeleton(parse_dn(text.removesuffix("/**")))
            globs += [Glob(base), Glob(f"{base}/*")] if text.endswith("/**") else [Glob(base)]
        self._globs = tuple(globs)

    def failure(self, owner: Owner) -> str | None:
        """Return why the owner is surely none of these, or None."""
        if self._is_self and owner.is_self:
            return None
        name = owner.name_der
        if name and (dn_key(name) in self._keys or any(pattern.matches(name) for pattern in self._patterns)):
            return None
        return "the job is somebody else's"

    def may_hold(self, owner: Owner) -> bool:
        """Say whether the owner may be one of these."""
        if not owner.name_der or (self._is_self and owner.is_self):
            return True
        name = skeleton(owner.name_der)
        return name in self._skeletons or any(glob.matches(name) for glob in self._globs)
