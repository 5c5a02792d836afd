r"""Names of subjects as policies compare them: distinguished names, VOMS attributes, globs; reads no file.

    subject_key(subject)                      # for permits: exact
    skeletons(subject)                        # for denials: whatever could be taken for one another

A permit and a denial must not be led astray in opposite directions, so they compare differently:

- A permit needs the name that was proven: the DER of the identity, compared as RFC 5280 section 7.1 says (string type,
  ASCII case and blanks do not matter; `E`, `Email` and `emailAddress`, `UID` and `USERID` are one type). A slash in a
  value is part of the value: who got a certificate with the one value `x/CN=Admin` is not `/CN=x/CN=Admin`.
- A denial looks at the identity and at every certificate below the CAs, so that nobody evades it by a proxy of a kind
  that has an identity of its own, and compares skeletons, in which all of that and more is equal: Unicode
  compatibility forms, any case, invisible characters, `/` and `+` in values or between them, `uid` and `UID`. What is
  no distinguished name, as a token's subject, is compared with its escapes read as in URIs, too: issuers escape.

Globs know `*` only, which stands for any number of characters of one component; matching takes linear time.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gsi import names
from gsi.errors import ParseError
from gsi.nametypes import PILOT_UID, short_name
from gsi.proxy.kinds import ProxyKind, Role, classify

if TYPE_CHECKING:
    from gsi.authz.decision import Subject
    from gsi.certificate import Certificate

__all__ = [
    "MAX_FQAN_CHARS",
    "FqanPattern",
    "Glob",
    "NamePattern",
    "dn_key",
    "has_own_identity",
    "issuer_skeletons",
    "name_part_keys",
    "normal_fqan",
    "parse_dn",
    "plain_host",
    "rights_fqans",
    "skeleton",
    "skeleton_text",
    "skeletons",
    "subject_key",
    "text_key",
]

MAX_FQAN_CHARS: Final = 1024
"""The longest FQAN; the VOMS server's database holds 255 characters for a group and as many for a role."""

_CACHED_NAMES: Final = 8192
"""Names whose folded forms are remembered: some kilobytes each at most, and more than a service sees in an hour."""

_CACHED_CHAINS: Final = 1024
"""Chains whose names are remembered: these keep their certificates alive, some ten kilobytes each."""

_HIDDEN: Final = frozenset({"Cf", "Cc", "Mn", "Cn", "Co"})  # Unicode categories that a skeleton leaves out
_NO_CONTROLS: Final = dict.fromkeys([*(set(range(32)) - set(map(ord, "\t\n\v\f\r"))), 0x7F])
_USER_ID_TYPES: Final = frozenset({PILOT_UID, "0.9.2342.19200300.100.1.1"})


class Glob:
    """A text in which `*` stands for any number of characters. Immutable; matching is linear in pattern and text."""

    __slots__ = ("_first", "_last", "_middle", "is_literal", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        first, *rest = text.split("*")
        self.is_literal = not rest
        self._first = first
        self._last = rest[-1] if rest else ""
        self._middle = tuple(piece for piece in rest[:-1] if piece)

    def matches(self, text: str) -> bool:
        """Say whether the whole text matches."""
        if self.is_literal:
            return text == self.text
        end = len(text) - len(self._last)
        at = len(self._first)
        if end < at or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for piece in self._middle:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Glob) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Glob({self.text!r})"


def plain_host(text: str) -> str:
    """Return a host's name as hosts are compared: small letters, without the dot of the root."""
    return text.strip().lower().rstrip(".")


# --- distinguished names ----------------------------------------------------------------------------------------------


def parse_dn(text: str) -> bytes:
    """Return the DER of a name in a policy file: `/O=Grid/CN=Alice`, or `CN=Alice,O=Grid`.

    Raises:
        ParseError: It is neither, or empty.
    """
    found = names.parse_oneline(text) if text.startswith("/") else names.parse_rfc4514(text)
    if not names.rdns(found):
        raise ParseError("an empty distinguished name", what="name")
    return found


@lru_cache(maxsize=_CACHED_NAMES)
def dn_key(name_der: bytes) -> str:
    """Return the key under which equal names are equal.

    Raises:
        ParseError: Not a well-formed name.
    """
    return "dn:" + names.canonical(name_der).hex()


def text_key(identity: str) -> str:
    """Return the key of an identity that is no distinguished name: a token's or a Kerberos principal's; exact."""
    return f"id:{identity}"


def subject_key(subject: Subject) -> str:
    """Return the key of the identity that a permit may speak of; "" for an anonymous subject.

    Raises:
        ParseError: The identity's DER is not a well-formed name.
    """
    if subject.identity_der:
        return dn_key(subject.identity_der)
    return text_key(subject.identity) if subject.identity else ""


def skeleton_text(text: str) -> str:
    """Return what is left of a text when everything that could hide a difference is gone."""
    if text.isascii():
        return " ".join(text.lower().translate(_NO_CONTROLS).split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = "".join(char for char in folded if char.isspace() or unicodedata.category(char) not in _HIDDEN)
    return " ".join(visible.split())


@lru_cache(maxsize=_CACHED_NAMES)
def skeleton(name_der: bytes) -> str:
    """Return the form in which names are equal that could be taken for one another.

    Raises:
        ParseError: Not a Name in DER.
    """
    parts: list[str] = []
    for group in names.attributes(name_der):
        for attribute in group:
            try:
                value = attribute.text()
            except ParseError:  # no valid text of its type: shown as OpenSSL would show the bytes
                value = attribute.content.decode("latin-1")
            kind = "uid" if attribute.oid in _USER_ID_TYPES else (short_name(attribute.oid) or attribute.oid).lower()
            parts.append(f"{kind}={skeleton_text(value)}")
    return ("/" + "/".join(parts)).replace("+", "/").replace("\\", "")


@lru_cache(maxsize=_CACHED_NAMES)
def _below_the_cas(certificate: Certificate) -> bool:
    try:
        return classify(certificate).role is not Role.CA
    except ParseError:
        return True


def skeletons(subject: Subject) -> frozenset[str]:
    """Return the skeletons of every name the subject goes by: its identity and the certificates below the CAs.

    Raises:
        ParseError: One of them is not a Name in DER.
    """
    return _skeletons(subject.identity, subject.identity_der, subject.chain)


@lru_cache(maxsize=_CACHED_CHAINS)
def _skeletons(identity: str, identity_der: bytes, chain: tuple[Certificate, ...]) -> frozenset[str]:
    found = {skeleton(certificate.subject_der) for certificate in chain if _below_the_cas(certificate)}
    if identity_der:
        found.add(skeleton(identity_der))
    elif identity:
        found.add(skeleton_text(identity))
        if "%" in identity:
            from urllib.parse import unquote

            found.add(skeleton_text(unquote(identity)))
    return frozenset(found)


def issuer_skeletons(subject: Subject) -> frozenset[str]:
    """Return the skeletons of every CA above the subject, or the issuer's where there is no certificate.

    Raises:
        ParseError: One of them is not a Name in DER.
    """
    return _issuer_skeletons(subject.issuer, subject.chain)


@lru_cache(maxsize=_CACHED_CHAINS)
def _issuer_skeletons(issuer: str, chain: tuple[Certificate, ...]) -> frozenset[str]:
    below = [certificate for certificate in chain if _below_the_cas(certificate)]
    found = {skeleton(certificate.subject_der) for certificate in chain if not _below_the_cas(certificate)}
    if below:
        found.add(skeleton(below[-1].issuer_der))
    if issuer:
        try:
            found.add(skeleton(parse_dn(issuer)))
        except ParseError:
            found.add(skeleton_text(issuer))
    return frozenset(found)


class NamePattern:
    """A distinguished name with globs, for permits: `/O=Grid/OU=*/CN=Alice`, `/O=Grid/**`.

    It is compared part by part, so `*` never reaches over a `/`. A final `/**` stands for any number of further parts.

    Attributes:
        text: As written.
        literal: The keys of the leading parts without a glob, for an index.
        is_deep: Whether it ended in `/**`.
    """

    __slots__ = ("_parts", "is_deep", "literal", "text")

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            ParseError: It is no name, or too general to mean anything (`/**`).
        """
        self.text = text
        self.is_deep = text.endswith("/**")
        if text.endswith("/*"):
            raise ParseError(
                f"{text[:80]!r} ends in /*", what="name", hint="/** for any further parts, /CN=* for one common name"
            )
        name = parse_dn(text.removesuffix("/**"))
        self._parts = tuple(_part(group) for group in names.attributes(name))
        keys = _part_keys(name)
        count = next((i for i, part in enumerate(self._parts) if any(not g.is_literal for _, g in part)), len(keys))
        self.literal = keys[:count]

    def matches(self, name_der: bytes) -> bool:
        """Say whether a name matches.

        Raises:
            ParseError: Not a well-formed name.
        """
        found = _parts_of(name_der)
        if len(found) < len(self._parts) or (len(found) > len(self._parts) and not self.is_deep):
            return False
        return all(
            len(own) == len(other)
            and all(kind == oid and glob.matches(value) for (kind, glob), (oid, value) in zip(own, other, strict=True))
            for own, other in zip(self._parts, found, strict=False)
        )


def _fold(text: str) -> str:
    """Fold a value as RFC 5280 section 7.1 and `gsi.names.canonical` do."""
    lowered = "".join(char.lower() if char.isascii() else char for char in text)
    return " ".join(
        piece for piece in lowered.translate(dict.fromkeys(map(ord, "\t\n\v\f\r"), " ")).split(" ") if piece
    )


def _part(group: tuple[names.Attribute, ...]) -> tuple[tuple[str, Glob], ...]:
    return tuple(sorted(((a.oid, Glob(_fold(a.text()))) for a in group), key=lambda pair: (pair[0], pair[1].text)))


@lru_cache(maxsize=_CACHED_NAMES)
def _parts_of(name_der: bytes) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(tuple(sorted((a.oid, _fold(a.text())) for a in group)) for group in names.attributes(name_der))


@lru_cache(maxsize=_CACHED_NAMES)
def _part_keys(name_der: bytes) -> tuple[str, ...]:
    return tuple(names.canonical(names.name_from_rdns([rdn])).hex() for rdn in names.rdns(name_der))


def name_part_keys(name_der: bytes) -> tuple[str, ...]:
    """Return one key for each part of a name, comparable with `NamePattern.literal`.

    Raises:
        ParseError: Not a well-formed name.
    """
    return _part_keys(name_der)


# --- VOMS attributes --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_CACHED_NAMES)
def normal_fqan(text: str) -> str:
    """Return an FQAN without `/Role=NULL` and `/Capability=NULL`, which say nothing.

    Raises:
        ParseError: It is none: no leading slash, an empty or dotted part, a control character, too long, a role or
            capability out of place.
    """
    if len(text) > MAX_FQAN_CHARS or not text.startswith("/") or not text.isprintable():
        raise ParseError(f"{text[:80]!r} is no FQAN", what="FQAN", hint="like /vo/group/Role=production")
    parts = text[1:].split("/")
    kinds = [_fqan_kind(part) for part in parts]
    if not kinds or kinds[0] != 0 or kinds != sorted(kinds) or kinds.count(1) > 1 or kinds.count(2) > 1:
        raise ParseError(f"{text[:80]!r} is no FQAN: its parts are out of order", what="FQAN")
    if any(part in {"", ".", ".."} for part in parts):
        raise ParseError(f"{text[:80]!r} is no FQAN: an empty part", what="FQAN")
    return "/" + "/".join(part for part in parts if part not in {"Role=NULL", "Capability=NULL"})


def _fqan_kind(part: str) -> int:
    return 1 if part.startswith("Role=") else 2 if part.startswith("Capability=") else 0


def has_own_identity(subject: Subject) -> bool:
    """Say whether a proxy is an identity of its own, so that nothing general said of its issuer may permit it."""
    return subject.independent or subject.kind is ProxyKind.RESTRICTED


def rights_fqans(subject: Subject) -> tuple[str, ...]:
    """Return the FQANs that may permit something, normal: none for a proxy that has not its issuer's rights.

    Raises:
        ParseError: One of them is no FQAN.
    """
    if not subject.fqans or has_own_identity(subject):
        return ()
    return tuple([normal_fqan(fqan) for fqan in subject.fqans])


class FqanPattern:
    """An FQAN with globs: `/vo/Role=production`, `/vo/*/Role=lcg*`, `/vo/**`.

    `*` stands for characters of one part. At the end, `/*` stands for one or more further parts, as in LCMAPS and
    Argus, and `/**` for any number of them. So `/vo` and `/vo/*` never match `/voX` or one another.

    Attributes:
        text: As written.
        literal: The whole normal FQAN where there is no glob, else None.
        prefix: The leading parts without a glob, joined, for an index.
    """

    __slots__ = ("_least", "_parts", "literal", "prefix", "text")

    def __init__(self, text: str, *, fold: bool = False) -> None:
        """Read a pattern.

        Args:
            text: The pattern.
            fold: Make it fit FQANs in lower case, for denials.

        Raises:
            ParseError: It is no FQAN, or its VO is a glob.
        """
        self.text = text
        body, self._least = text, -1
        for ending, least in (("/**", 0), ("/*", 1)):
            if text.endswith(ending):
                body, self._least = text.removesuffix(ending), least
                break
        body = normal_fqan(body).casefold() if fold else normal_fqan(body)
        parts = body[1:].split("/")
        if "*" in parts[0]:
            raise ParseError(f"{text[:80]!r}: the VO of an FQAN cannot be a glob", what="FQAN")
        self._parts = tuple(Glob(part) for part in parts)
        self.literal = body if self._least < 0 and "*" not in body else None
        count = next((i for i, part in enumerate(parts) if "*" in part), len(parts))
        self.prefix = "/" + "/".join(parts[:count])

    def matches(self, fqan: str) -> bool:
        """Say whether a normal FQAN matches."""
        if self.literal is not None:
            return fqan == self.literal
        parts = fqan[1:].split("/")
        more = len(parts) - len(self._parts)
        if more < 0 or (more > 0 if self._least < 0 else more < self._least):
            return False
        return all(glob.matches(part) for glob, part in zip(self._parts, parts, strict=False))
