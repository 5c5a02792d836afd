"""Certificate policies along a path (RFC 5280 section 6.1): does one run through it, where a CA says that one must?

    check_policies([(profile, position, is_self_issued), ...])

The caller never asks for a policy: any is acceptable to it, and none is required. So nothing happens unless a CA of
the path says, in policyConstraints, that below it a policy is required; then the path holds when some policy runs
through it, by its name or by the mappings on the way. The C validator knows none of this, and OpenSSL only when asked.

Kept is one level of the tree that RFC 5280 describes, each policy once, as RFC 9618 has it: no number of policies and
mappings makes it grow beyond those that the next certificate names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, oids
from gsi.errors import ParseError, Reason, VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.trust.profile import Profile

__all__ = ["MAX_POLICIES", "Level", "check_policies"]

MAX_POLICIES: Final = 256  # named in one certificate, and mapped in one; public CAs name some 10
_ANY_POLICY: Final = "2.5.29.32.0"  # RFC 5280 section 4.2.1.4
_DECISIVE: Final = frozenset({oids.POLICY_CONSTRAINTS, oids.POLICY_MAPPINGS})
_NEVER: Final = 1 << 31  # more certificates than any chain has

_Tree = dict[str, frozenset[str]]
"""One level: each valid policy with those that it may be called in the next certificate."""


class Level(NamedTuple):
    """One certificate of a path, as far as policies ask for it."""

    profile: Profile
    position: int
    is_self_issued: bool


class _Facts(NamedTuple):
    """What one certificate says about policies; None where it does not say it."""

    policies: frozenset[str] | None
    mappings: tuple[tuple[str, str], ...]
    require_explicit: int | None
    inhibit_mapping: int | None
    inhibit_any: int | None


def check_policies(path: Sequence[Level]) -> None:
    """Check the policies of a path, given from the anchor down to the end entity.

    What the anchor says binds, too; the policies that it names are not looked at (section 6.1.1).

    Raises:
        VerificationError: CERTIFICATE_POLICY, or MALFORMED for an extension about policies that cannot be read.
    """
    if not any(_DECISIVE & one.profile.policies.keys() for one in path):
        return  # the common case: nothing can come of it
    state = _State()
    for depth, one in enumerate(path):
        try:
            facts = _read(one.profile)
        except ParseError as error:
            raise VerificationError(error.message, reason=Reason.MALFORMED, position=one.position) from error
        state.add(one, facts, is_anchor=depth == 0, is_last=depth == len(path) - 1)


class _State:
    """The state variables of section 6.1.2; a counter at 0 means that the rule is in force."""

    def __init__(self) -> None:
        self._tree: _Tree = {_ANY_POLICY: frozenset({_ANY_POLICY})}
        self._explicit = _NEVER
        self._mapping = _NEVER
        self._any = _NEVER

    def add(self, one: Level, facts: _Facts, *, is_anchor: bool, is_last: bool) -> None:
        """Take in the next certificate down; the letters are those of sections 6.1.3 to 6.1.5."""
        if not is_anchor:
            # 6.1.3 (d), (e): which policies run on.
            takes_any = self._any > 0 or (not is_last and one.is_self_issued)
            self._tree = {} if facts.policies is None else self._descend(facts.policies, takes_any=takes_any)
            # 6.1.3 (f).
            if not self._tree and self._explicit == 0:
                raise _refusal(one.position)
        if is_last:
            # 6.1.5 (a), (b), (g): the end entity's own demand counts when it is for itself.
            if self._explicit > 0:
                self._explicit -= 1
            if (facts.require_explicit == 0 or self._explicit == 0) and not self._tree:
                raise _refusal(one.position)
            return
        if not is_anchor:
            # 6.1.4 (a), (b).
            self._map(facts.mappings, one.position)
        # 6.1.4 (h).
        if not is_anchor and not one.is_self_issued:
            self._explicit, self._mapping, self._any = (
                max(0, counter - 1) for counter in (self._explicit, self._mapping, self._any)
            )
        # 6.1.4 (i), (j).
        self._explicit = min(self._explicit, _NEVER if facts.require_explicit is None else facts.require_explicit)
        self._mapping = min(self._mapping, _NEVER if facts.inhibit_mapping is None else facts.inhibit_mapping)
        self._any = min(self._any, _NEVER if facts.inhibit_any is None else facts.inhibit_any)

    def _descend(self, policies: frozenset[str], *, takes_any: bool) -> _Tree:
        expected = frozenset().union(*self._tree.values())
        has_any = _ANY_POLICY in self._tree
        below = {policy: frozenset({policy}) for policy in policies - {_ANY_POLICY} if has_any or policy in expected}
        if _ANY_POLICY in policies and takes_any:
            below |= {policy: frozenset({policy}) for policy in expected - below.keys()}
        return below

    def _map(self, mappings: tuple[tuple[str, str], ...], position: int) -> None:
        if any(_ANY_POLICY in pair for pair in mappings):
            raise VerificationError(
                "a CA maps to or from any policy", reason=Reason.CERTIFICATE_POLICY, position=position
            )
        named: dict[str, set[str]] = {}
        for own, foreign in mappings:
            named.setdefault(own, set()).add(foreign)
        for own, foreigners in named.items():
            if self._mapping == 0:
                self._tree.pop(own, None)
            elif own in self._tree or _ANY_POLICY in self._tree:
                self._tree[own] = frozenset(foreigners)


def _read(profile: Profile) -> _Facts:
    values = profile.policies
    policies, mappings = values.get(oids.CERTIFICATE_POLICIES), values.get(oids.POLICY_MAPPINGS)
    constraints, inhibit = values.get(oids.POLICY_CONSTRAINTS), values.get(oids.INHIBIT_ANY_POLICY)
    explicit, mapping = (None, None) if constraints is None else _parse_constraints(constraints)
    return _Facts(
        policies=None if policies is None else _parse_policies(policies),
        mappings=() if mappings is None else _parse_mappings(mappings),
        require_explicit=explicit,
        inhibit_mapping=mapping,
        inhibit_any=None if inhibit is None else _parse_inhibit(inhibit),
    )


def _parse_policies(value: bytes) -> frozenset[str]:
    """Read certificatePolicies (section 4.2.1.4); qualifiers are for people."""
    what = "CertificatePolicies"
    listed = der.parse_one(value, what=what)
    found: set[str] = set()
    count = 0
    while not listed.at_end():
        entry = listed.sequence()
        found.add(entry.oid())
        if not entry.at_end():
            entry.take(der.SEQUENCE)
        entry.finish()
        count += 1
        if count > MAX_POLICIES:
            raise ParseError(f"{what}: more than {MAX_POLICIES}", what=what)
    if len(found) != count or not found:
        raise ParseError(f"{what}: {'a policy twice' if found else 'empty'}", what=what)
    return frozenset(found)


def _parse_mappings(value: bytes) -> tuple[tuple[str, str], ...]:
    """Read policyMappings (section 4.2.1.5)."""
    what = "PolicyMappings"
    listed = der.parse_one(value, what=what)
    found: list[tuple[str, str]] = []
    while not listed.at_end():
        pair = listed.sequence()
        found.append((pair.oid(), pair.oid()))
        pair.finish()
        if len(found) > MAX_POLICIES:
            raise ParseError(f"{what}: more than {MAX_POLICIES}", what=what)
    if not found:
        raise ParseError(f"{what}: empty", what=what)
    return tuple(found)


def _parse_constraints(value: bytes) -> tuple[int | None, int | None]:
    """Read policyConstraints (section 4.2.1.11): requireExplicitPolicy, inhibitPolicyMapping."""
    what = "PolicyConstraints"
    reader = der.parse_one(value, what=what)
    found: list[int | None] = []
    for number in (0, 1):
        tag = der.context(number, constructed=False)
        found.append(_skip_certs(reader.take(tag), what) if reader.peek() == tag else None)
    reader.finish()
    if found == [None, None]:
        raise ParseError(f"{what}: empty", what=what)
    return found[0], found[1]


def _parse_inhibit(value: bytes) -> int:
    """Read inhibitAnyPolicy (section 4.2.1.14)."""
    what = "InhibitAnyPolicy"
    reader = der.Reader(value, what=what)
    number = _skip_certs(reader.take(der.INTEGER), what)
    reader.finish()
    return number


def _skip_certs(content: bytes, what: str) -> int:
    number = der.Reader(der.encode_tlv(der.INTEGER, content), what=what).integer()
    if number < 0:
        raise ParseError(f"{what}: a negative number", what=what)
    return min(number, _NEVER)


def _refusal(position: int) -> VerificationError:
    return VerificationError(
        "a CA above requires a certificate policy, and none runs through the whole path",
        reason=Reason.CERTIFICATE_POLICY,
        position=position,
    )
