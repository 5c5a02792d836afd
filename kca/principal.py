"""From a Kerberos principal to what a certificate of its own may hold: the mapping rules, pure; issues nothing.

    realms = {"EXAMPLE.ORG": RealmRules(base="/O=Grid/OU=Example")}
    entitlement = entitle(Principal(("alice",), "EXAMPLE.ORG"), realms)
    entitlement.subject_der, entitlement.lifetime        # /O=Grid/OU=Example/CN=alice

A realm that is not listed gets nothing, and each listed one has a base name of its own, which the names of no other
realm begin with. Within a realm the first rule that fits counts. A rule speaks of principals of as many components as
its pattern has, so the usual one, `*`, is for people and never for `alice/admin`; and a glob never stands for an
instance that means power (`PRIVILEGED`), which has to be written out.

What a principal brings into a name is letters, digits, dot, hyphen and underscore, nothing else: a slash or an equals
sign in a component would be read as another part of the name by every program that keeps names as text.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from datetime import timedelta  # noqa: TC003  the configuration's reader looks the type of a setting up
from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.ca.general_names import email_address, other_name
from gsi.certificate import Extension
from gsi.errors import ConfigError, DeniedError, ParseError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gsi.kerberos.ticket import Principal

__all__ = [
    "PRIVILEGED",
    "RESERVED",
    "Entitlement",
    "RealmRules",
    "Rule",
    "check_realms",
    "encode_pkinit_name",
    "entitle",
    "needs_directory",
]

PRIVILEGED: Final = frozenset({"admin", "root", "changepw", "history", "master"})
"""Instances that no glob stands for."""

RESERVED: Final = frozenset({"krbtgt", "kadmin", "kiprop", "kca_service", "K", "WELLKNOWN", "anonymous", "ANONYMOUS"})
"""First components that are the realm's own; nobody comes by such a name."""

MAX_COMPONENT_CHARS: Final = 64
"""RFC 5280 appendix A, ub-common-name."""

_COMPONENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REALM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_LIKE_A_PROXY: Final = frozenset({"proxy", "limited proxy"})
"""Common names that pre-RFC proxies have; no program would take such a certificate for a person's."""
_GENERAL_STRING: Final = 0x1B
_NAME_TYPE_PRINCIPAL: Final = 1  # RFC 4120 section 6.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which principals get which certificates.

    Attributes:
        principal: The components, `/` between them, `*` for any text within one: `*`, `*/grid`, `alice/admin`.
        groups: Groups of the realm's directory, of which the principal must be in one; empty for no such condition.
        deny: Whether those who fit get nothing.
        subject: What is added to the realm's base, in one-line form: `{1}`, `{2}` are components, `{realm}` the realm.
        lifetime: The longest certificate; nothing for the realm's.
        beyond_ticket: How long a certificate may outlive the ticket; nothing for the realm's.
        pkinit_san: Whether the certificate names the principal for PKINIT; nothing for the realm's.

    Raises:
        ConfigError: Something in it cannot work.
    """

    principal: str = "*"
    groups: tuple[str, ...] = ()
    deny: bool = False
    subject: str = ""
    lifetime: timedelta | None = None
    beyond_ticket: timedelta | None = None
    pkinit_san: bool | None = None

    def __post_init__(self) -> None:
        """Check the pattern and the template."""
        parts = self.principal.split("/")
        if not all(parts) or not all(_COMPONENT.fullmatch(part.replace("*", "x")) for part in parts):
            raise ConfigError(
                f"{self.principal!r} is no pattern of a principal",
                hint="like *, */grid or alice/admin, without a realm",
            )
        if not self.deny:
            _check_template(self.template, len(parts))

    @property
    def template(self) -> str:
        """The subject, or what it is by default: the component as common name, the instance as unit before it."""
        if self.subject:
            return self.subject
        count = self.principal.count("/") + 1
        return "".join(f"/OU={{{number}}}" for number in range(count, 1, -1)) + "/CN={1}"

    def fits(self, components: tuple[str, ...], groups: Collection[str]) -> bool:
        """Say whether the rule speaks of a principal that is in these groups."""
        patterns = self.principal.split("/")
        if len(patterns) != len(components):
            return False
        if self.groups and not any(group in groups for group in self.groups):
            return False
        return all(
            _fits(pattern, component, literally=not self.deny and index > 0 and component.lower() in PRIVILEGED)
            for index, (pattern, component) in enumerate(zip(patterns, components, strict=True))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmRules:
    """What the principals of one realm get.

    Attributes:
        base: What every subject of the realm begins with, in one-line form.
        rule: The rules; the first that fits counts. Without any, everybody with one component gets `base/CN=name`.
        via: Realms that a ticket may have come through on its way here; by default it must have come directly. Over
            HTTP they cannot be seen; `?` stands for that.
        unmarked_tickets: Whether tickets of this realm are taken where it is not the service's own, although our KDC
            hides by which means another realm's were got (`refused_indicators`).
        lifetime: The longest certificate; nothing for that of all realms.
        beyond_ticket: How long a certificate may outlive the ticket; nothing for that of all realms.
        email_domain: The certificate names `first component@domain` as e-mail address; empty for no address.
        email_claim: The claim of the realm's directory that holds the e-mail address, in place of `email_domain`.
        auth_realm: Whether the certificate has the extension kcaAuthRealm.
        pkinit_san: Whether the certificate names the principal for PKINIT.
        policies: Certificate policies, dotted, beyond those of the authority.

    Raises:
        ConfigError: Something in it cannot work.
    """

    base: str
    rule: tuple[Rule, ...] = field(default_factory=lambda: (Rule(),))
    via: tuple[str, ...] = ()
    unmarked_tickets: bool = False
    lifetime: timedelta | None = None
    beyond_ticket: timedelta | None = None
    email_domain: str = ""
    email_claim: str = ""
    auth_realm: bool = True
    pkinit_san: bool = False
    policies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the base, the address and the policies."""
        if not names.rdns(_parse(self.base, "base")):
            raise ConfigError("the base of a realm must not be empty", hint="like /O=Grid/OU=Example")
        if not self.rule:
            raise ConfigError("a realm without a rule gets nothing", hint="leave `rule` out for the usual one")
        if self.email_domain and self.email_claim:
            raise ConfigError("email_domain and email_claim exclude each other")
        try:
            if self.email_domain:
                email_address(f"user@{self.email_domain}")
            for policy in self.policies:
                der.encode_oid(policy)
        except ParseError as error:
            raise ConfigError(error.message, hint=error.hint) from error

    @property
    def base_der(self) -> bytes:
        """The base as a Name in DER."""
        return _parse(self.base, "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What a principal may have, before limits, rate and policy are looked at.

    Attributes:
        principal: Whose it is.
        subject_der: The certificate's subject.
        rule: The rule that gave it, for the audit.
        alternative_names: Alternative names.
        extensions: Further extensions.
        policies: Certificate policies.
        lifetime: The longest certificate by rule and realm; None for the general limit.
        beyond_ticket: How long it may outlive the ticket; None for the general limit.
    """

    principal: Principal
    subject_der: bytes
    rule: str
    alternative_names: tuple[bytes, ...] = ()
    extensions: tuple[Extension, ...] = ()
    policies: tuple[str, ...] = ()
    lifetime: timedelta | None = None
    beyond_ticket: timedelta | None = None

    @property
    def subject(self) -> str:
        """The subject in one-line form."""
        return names.oneline(self.subject_der)


def check_realms(realms: Mapping[str, RealmRules]) -> None:
    """Refuse realms whose principals could get one another's names.

    Raises:
        ConfigError: No realm, one that is no realm, or a base that another one begins with.
    """
    if not realms:
        raise ConfigError("no realm is listed, so nobody gets anything", hint='[realm."EXAMPLE.ORG"]')
    bases: list[tuple[str, bytes]] = []
    for realm, rules in realms.items():
        if not _REALM.fullmatch(realm):
            raise ConfigError(f"{realm!r} is no realm that names can be made of")
        bases.append((realm, rules.base_der))
    for realm, base in bases:
        for other, longer in bases:
            if other != realm and _begins(longer, base):
                raise ConfigError(
                    f"the base of the realm {realm} begins that of {other}: one could get the other's names"
                )


def needs_directory(rules: RealmRules) -> bool:
    """Say whether the rules of a realm ask for groups or claims."""
    return bool(rules.email_claim) or any(rule.groups for rule in rules.rule)


def entitle(
    principal: Principal,
    realms: Mapping[str, RealmRules],
    *,
    transited: Collection[str] = (),
    groups: Collection[str] = (),
    claims: Mapping[str, tuple[str, ...]] | None = None,
) -> Entitlement:
    """Return what a principal may have.

    Args:
        principal: Whose ticket it is.
        realms: The rules by realm.
        transited: The realms that the ticket came through.
        groups: The groups that the realm's directory knows the principal in.
        claims: What else the directory knows.

    Raises:
        DeniedError: Nothing; says which rule, or that none, speaks of the principal.
    """
    rules = realms.get(principal.realm)
    if rules is None:
        raise DeniedError(f"the realm {principal.realm!r} is not listed")
    strange = [realm for realm in transited if realm not in rules.via]
    if strange:
        raise DeniedError(
            f"the ticket came through the realm {strange[0]!r}, which is not listed for {principal.realm}"
        )
    _check_components(principal)
    for number, rule in enumerate(rules.rule, 1):
        if rule.fits(principal.components, groups):
            name = f"{principal.realm} rule {number} ({rule.principal})"
            if rule.deny:
                raise DeniedError(f"{name} denies")
            return _grant(principal, rules, rule, name, claims or {})
    raise DeniedError(f"no rule of the realm {principal.realm} speaks of {principal.name!r}")


def encode_pkinit_name(principal: Principal) -> bytes:
    """Return the alternative name id-pkinit-san of a principal (RFC 4556 section 3.2.2), a GeneralName in DER.

    Raises:
        ParseError: The principal is not text.
    """
    strings = [_general_string(part) for part in principal.components]
    name = der.encode_sequence(
        der.encode_explicit(0, der.encode_integer(_NAME_TYPE_PRINCIPAL)),
        der.encode_explicit(1, der.encode_sequence(*strings)),
    )
    realm = der.encode_explicit(0, _general_string(principal.realm))
    return other_name(oids.PKINIT_SAN, der.encode_sequence(realm, der.encode_explicit(1, name)))


def _general_string(text: str) -> bytes:
    try:
        return der.encode_tlv(_GENERAL_STRING, text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ParseError("a principal that is not text", what="Kerberos principal") from error


# --- one rule ---------------------------------------------------------------------------------------------------------


def _grant(
    principal: Principal, rules: RealmRules, rule: Rule, name: str, claims: Mapping[str, tuple[str, ...]]
) -> Entitlement:
    alternative = []
    email = _email(principal, rules, claims)
    if email:
        alternative.append(email_address(email))
    if rules.pkinit_san if rule.pkinit_san is None else rule.pkinit_san:
        alternative.append(encode_pkinit_name(principal))
    extensions: tuple[Extension, ...] = ()
    if rules.auth_realm:
        value = der.encode_octet_string(principal.realm.encode("ascii"))
        extensions = (Extension(oids.KCA_AUTH_REALM, False, value),)
    return Entitlement(
        principal=principal,
        subject_der=_subject(principal, rules, rule),
        rule=name,
        alternative_names=tuple(alternative),
        extensions=extensions,
        policies=rules.policies,
        lifetime=_shorter(rule.lifetime, rules.lifetime),
        beyond_ticket=rules.beyond_ticket if rule.beyond_ticket is None else rule.beyond_ticket,
    )


def _subject(principal: Principal, rules: RealmRules, rule: Rule) -> bytes:
    filled = _fill(rule.template, principal.components, principal.realm)
    added = names.rdns(names.parse_oneline(filled))
    # Cannot be, with the characters that components are held to.
    if len(added) != _count_parts(rule.template, len(principal.components)):
        raise DeniedError(f"the name of {principal.text!r} would have other parts than the rule says")
    subject_der = names.name_from_rdns([*names.rdns(rules.base_der), *added])
    last = names.last_common_name(subject_der)
    if last is not None and last.lower() in _LIKE_A_PROXY:
        raise DeniedError(f"a certificate for {principal.text!r} would look like an old proxy")
    return subject_der


def _email(principal: Principal, rules: RealmRules, claims: Mapping[str, tuple[str, ...]]) -> str:
    if rules.email_domain:
        return f"{principal.components[0]}@{rules.email_domain}"
    if not rules.email_claim:
        return ""
    values = claims.get(rules.email_claim, ())
    if len(values) > 1:
        raise DeniedError(f"the directory has {len(values)} values of {rules.email_claim!r} for {principal.text!r}")
    for value in values:
        try:
            email_address(value)
        except ParseError as error:
            raise DeniedError(f"the directory's address of {principal.text!r} is none: {error.message}") from error
    return values[0] if values else ""


def _check_components(principal: Principal) -> None:
    """Refuse what would not stay one value of a name, or is the realm's own.

    Raises:
        DeniedError: Such a component.
    """
    for component in principal.components:
        if len(component) > MAX_COMPONENT_CHARS or not _COMPONENT.fullmatch(component):
            raise DeniedError(
                f"{principal.text!r} holds characters that names are not made of",
                hint="letters, digits, dots, hyphens and underscores will do, at most 64",
            )
    if not principal.components or principal.components[0] in RESERVED:
        raise DeniedError(f"{principal.text!r} is the realm's own")


def _fits(pattern: str, component: str, *, literally: bool) -> bool:
    if literally or "*" not in pattern:
        return pattern == component
    first, *rest = pattern.split("*")
    last = rest.pop()
    end = len(component) - len(last)
    if end < len(first) or not component.startswith(first) or not component.endswith(last):
        return False
    at = len(first)
    for piece in rest:
        at = component.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _shorter(first: timedelta | None, second: timedelta | None) -> timedelta | None:
    return min((one for one in (first, second) if one is not None), default=None)


# --- templates --------------------------------------------------------------------------------------------------------


def _fill(template: str, components: tuple[str, ...], realm: str) -> str:
    values = {str(number): component for number, component in enumerate(components, 1)} | {"realm": realm}
    return _PLACE.sub(lambda found: values[found[1]], template)


@functools.lru_cache(maxsize=1024)
def _count_parts(template: str, count: int) -> int:
    """Return how many parts a name has that is made of a template, for principals of so many components."""
    return len(names.rdns(_parse(_fill(template, ("x",) * count, "X"), "subject")))


def _check_template(template: str, count: int) -> None:
    known = {*(str(number) for number in range(1, count + 1)), "realm"}
    for word in _PLACE.findall(template):
        if word not in known:
            raise ConfigError(
                f"{{{word}}} in the subject {template!r} stands for nothing",
                hint="{1} is the first component, {2} the second where the pattern has two, {realm} the realm",
            )
    if "{1}" not in template:
        raise ConfigError(f"the subject {template!r} has no {{1}}, so that everybody would get the same name")
    filled = _fill(template, ("x",) * count, "X")
    if "{" in filled or "}" in filled:
        raise ConfigError(f"the subject {template!r} has braces that stand for nothing")
    _parse(filled, "subject")


def _parse(text: str, what: str) -> bytes:
    try:
        return names.parse_oneline(text)
    except ParseError as error:
        raise ConfigError(f"{what}: {error.message}", hint=error.hint) from error


def _begins(longer_der: bytes, shorter_der: bytes) -> bool:
    parts = names.rdns(shorter_der)
    first = names.name_from_rdns(names.rdns(longer_der)[: len(parts)])
    return names.same_name(first, shorter_der)
