"""The contents of a trust directory as one immutable value: CAs, their CRLs and their rules; reads no file itself.

    anchors = build_anchors({"a37d6494.0": pem, "a37d6494.signing_policy": text}, loaded_at=now)
    anchors.authorities, anchors.problems, anchors.loaded_at

Names of files: `<hash>.N` holds a CA, `<hash>.rN` its CRLs, `<hash>.signing_policy` and `<hash>.namespaces` its rules;
`<hash>` is either form of the subject hash (`gsi.trust.hashes`). A CA found under both is one CA; its CRLs under both
names all bind, of its rules those under the new hash come first. Other names are passed over.

Whatever cannot be read becomes a `Problem` and, where it is a CRL or a rule, a `BrokenFile` in its place, so that the
CAs it belongs to are refused with its reason and all others stay untouched. `gsi.system.trustdir` reads the files.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast

from gsi import names
from gsi.certificate import Certificate, load_certificates
from gsi.errors import GridError, ParseError, Reason, VerificationError
from gsi.trust.crl import CRL, parse_crl_file
from gsi.trust.hashes import hash_names
from gsi.trust.namespaces import Namespaces, parse_namespaces
from gsi.trust.profile import Profile, read_profile
from gsi.trust.signatures import load_key
from gsi.trust.signing_policy import SigningPolicy, parse_signing_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gsi.keys import PublicKey

__all__ = [
    "Authority",
    "BrokenFile",
    "CRLFile",
    "IssuerRules",
    "Problem",
    "TrustAnchors",
    "build_anchors",
    "is_trust_file",
]

_FILE_NAME: Final = re.compile(r"(?P<stem>[0-9a-f]{8})\.(?:(?P<ca>[0-9]{1,4})|(?P<crl>r[0-9]{1,4})|(?P<rule>[a-z_]+))")
_RULES: Final = frozenset({"signing_policy", "namespaces"})
_T = TypeVar("_T", "tuple[Authority, ...]", "tuple[CRL, ...]", SigningPolicy, Namespaces)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the trust directory that could not be used.

    Attributes:
        path: Its name within the directory.
        message: What is wrong with it.
        reason: The reason with which certificates are refused because of it; None when its CA is merely missing.
    """

    path: str
    message: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """Stands where a CRL or a rule should: the CA must be refused, not taken to have none."""

    path: str
    message: str
    reason: Reason


class Authority:
    """One CA certificate of the trust directory. Immutable but for memories of work already done.

    Attributes:
        certificate: The certificate.
        path: The name of the file it came from.
        profile: What its extensions say.
        is_anchor: Whether paths may end here: the CA names itself as its issuer, or was given as an anchor. Others need
            a path upwards.
    """

    __slots__ = ("_key", "_oneline", "certificate", "is_anchor", "path", "profile")

    def __init__(self, certificate: Certificate, path: str, profile: Profile, *, is_anchor: bool = False) -> None:
        self.certificate = certificate
        self.path = path
        self.profile = profile
        self.is_anchor = is_anchor or certificate.is_self_issued
        self._key: PublicKey | None = None
        self._oneline: str | None = None

    @property
    def subject(self) -> str:
        """The CA's name in one-line form."""
        if self._oneline is None:
            self._oneline = names.oneline(self.certificate.subject_der)
        return self._oneline

    def load_key(self, position: int | None) -> PublicKey:
        """Return the CA's public key; raises as `gsi.trust.signatures.load_key`."""
        if self._key is None:
            self._key = load_key(self.certificate, position)
        return self._key

    def __repr__(self) -> str:
        return f"<Authority {self.subject!r} from {self.path}>"


@dataclass(frozen=True, slots=True)
class CRLFile:
    """The CRLs of one file."""

    path: str
    crls: tuple[CRL, ...]


@dataclass(frozen=True, slots=True)
class IssuerRules:
    """What the trust directory says about the certificates of one CA.

    Attributes:
        signing_policy: The Globus policy; None when there is no such file.
        namespaces: The EUGridPMA policy; None when there is no such file.
        crls: Every `.rN` under the CA's hashes, in the order of their names.
    """

    signing_policy: SigningPolicy | BrokenFile | None = None
    namespaces: Namespaces | BrokenFile | None = None
    crls: tuple[CRLFile | BrokenFile, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class TrustAnchors:
    """A snapshot of a trust directory. Build it with `build_anchors`.

    Attributes:
        authorities: Every CA that could be read, in the order of file names, each certificate once.
        problems: Every file that could not be used.
        loaded_at: When the files were read (aware UTC).
        generation: A digest of all contents: equal contents, equal generation.
    """

    authorities: tuple[Authority, ...]
    problems: tuple[Problem, ...]
    loaded_at: datetime
    generation: str
    _rules: Mapping[str, IssuerRules]
    _by_name: Mapping[bytes, tuple[Authority, ...]]
    _by_bytes: Mapping[bytes, tuple[Authority, ...]]
    _rules_by_bytes: Mapping[bytes, IssuerRules]
    _parsed: Mapping[bytes, object] = field(default_factory=lambda: MappingProxyType({}))

    def find_authorities(self, name_der: bytes) -> tuple[Authority, ...]:
        """Return every CA of this name (RFC 5280 section 7.1), anchors first; empty when there is none.

        Raises:
            ParseError: The bytes are not a name.
        """
        found = self._by_bytes.get(name_der)
        return self._by_name.get(names.canonical(name_der), ()) if found is None else found

    def has_name(self, name_der: bytes) -> bool:
        """Tell whether exactly these bytes are the name of a CA here, and so a name that was read before."""
        return name_der in self._by_bytes

    def find_rules(self, ca_name_der: bytes) -> IssuerRules:
        """Return what the directory says about the certificates of the CA of this name, in it or not.

        Raises:
            ParseError: The bytes are not a name.
        """
        found = self._rules_by_bytes.get(ca_name_der)
        return _merge_rules(self._rules, ca_name_der) if found is None else found

    def __repr__(self) -> str:
        return (
            f"<TrustAnchors {len(self.authorities)} CAs, {len(self.problems)} problems, "
            f"loaded {self.loaded_at:%Y-%m-%d %H:%M:%S}Z>"
        )


def is_trust_file(name: str) -> bool:
    """Tell whether a file of this name belongs to a trust directory's contents."""
    found = _FILE_NAME.fullmatch(name)
    return found is not None and (found["rule"] is None or found["rule"] in _RULES)


def build_anchors(
    files: Mapping[str, bytes | Problem],
    *,
    loaded_at: datetime,
    previous: TrustAnchors | None = None,
    anchor: Certificate | None = None,
) -> TrustAnchors:
    """Return the snapshot that these files make.

    Args:
        files: Contents by name within the directory; a `Problem` for one that is there but could not be read.
        loaded_at: When they were read (aware UTC).
        previous: An earlier snapshot; what has not changed since is not parsed again.
        anchor: A CA among them at which paths may end although another CA has issued it (RFC 5280 section 6.1.1 (d)).
    """
    builder = _Builder({} if previous is None else previous._parsed, anchor)  # noqa: SLF001  its own class
    digest = hashlib.sha256(b"" if anchor is None else anchor.der)
    for name in sorted(filter(is_trust_file, files)):
        content = files[name]
        if isinstance(content, Problem):
            builder.add_unreadable(name, content.message)
            content = content.message.encode()
        else:
            builder.add(name, content)
        digest.update(f"{len(name)} {name} {len(content)} ".encode())
        digest.update(hashlib.sha256(content).digest())
    return builder.finish(loaded_at, digest.hexdigest())


class _Builder:
    """Gathers what one pass over the files finds."""

    def __init__(self, known: Mapping[bytes, object], anchor: Certificate | None) -> None:
        self._known = known
        self._anchor = anchor
        self._parsed: dict[bytes, object] = {}
        self._problems: list[Problem] = []
        self._authorities: dict[bytes, Authority] = {}
        self._policies: dict[str, SigningPolicy | BrokenFile] = {}
        self._namespaces: dict[str, Namespaces | BrokenFile] = {}
        self._crls: dict[str, list[CRLFile | BrokenFile]] = {}

    def add(self, name: str, content: bytes) -> None:
        """Take one file in; whatever fails, fails for its CA alone."""
        try:
            self._add(name, content)
        except GridError as error:
            self.add_unreadable(name, error.message)
        except Exception as error:  # noqa: BLE001  no defect in reading one CA's file may stop all the others
            self.add_unreadable(name, f"cannot be read: {type(error).__name__}: {error}")

    def add_unreadable(self, name: str, message: str) -> None:
        """Note a file that is there but says nothing."""
        stem, _, kind = name.partition(".")
        reason = None
        if kind == "signing_policy":
            reason = Reason.SIGNING_POLICY_BROKEN
            self._policies[stem] = BrokenFile(name, message, reason)
        elif kind == "namespaces":
            reason = Reason.NAMESPACES
            self._namespaces[stem] = BrokenFile(name, message, reason)
        elif kind.startswith("r"):
            reason = Reason.CRL_BROKEN
            self._crls.setdefault(stem, []).append(BrokenFile(name, message, reason))
        self._problems.append(Problem(name, message, reason))

    def _add(self, name: str, content: bytes) -> None:
        stem, _, kind = name.partition(".")
        if kind == "signing_policy":
            self._policies[stem] = self._parse(kind, content, parse_signing_policy)
        elif kind == "namespaces":
            self._namespaces[stem] = self._parse(kind, content, parse_namespaces)
        elif kind.startswith("r"):
            crls = self._parse("crl", content, parse_crl_file)
            self._crls.setdefault(stem, []).append(self._check_crls(name, stem, crls))
        else:
            for authority in self._parse("ca", content, lambda data: _parse_authorities(data, name)):
                self._add_authority(name, stem, authority)

    def _parse(self, kind: str, content: bytes, parser: Callable[[bytes], _T]) -> _T:
        """Parse a file, or take what an earlier snapshot made of the same bytes."""
        key = kind.encode() + hashlib.sha256(content).digest()
        found = self._parsed.get(key) or self._known.get(key)
        parsed = parser(content) if found is None else cast("_T", found)  # the key holds the kind
        self._parsed[key] = parsed
        return parsed

    def _check_crls(self, name: str, stem: str, crls: tuple[CRL, ...]) -> CRLFile | BrokenFile:
        """Refuse a CRL whose issuer does not belong under this file name."""
        if all(stem in hash_names(crl.issuer_der) for crl in crls):
            return CRLFile(name, crls)
        message = "the CRL was issued by another CA than its file name says"
        self._problems.append(Problem(name, message, Reason.CRL_SIGNER))
        return BrokenFile(name, message, Reason.CRL_SIGNER)

    def _add_authority(self, name: str, stem: str, authority: Authority) -> None:
        certificate = authority.certificate
        if stem not in hash_names(certificate.subject_der):
            new, _ = hash_names(certificate.subject_der)
            message = f"the file is named after another CA; {authority.subject} belongs in {new}.0"
            self._problems.append(Problem(name, message))
        elif not authority.profile.is_ca and not (certificate.is_self_issued and certificate.version == 1):
            self._problems.append(Problem(name, f"{authority.subject} is not a CA"))
        else:
            if certificate == self._anchor:
                authority = Authority(certificate, name, authority.profile, is_anchor=True)
            self._authorities.setdefault(certificate.der, authority)

    def finish(self, loaded_at: datetime, generation: str) -> TrustAnchors:
        """Return the snapshot."""
        by_name: dict[bytes, tuple[Authority, ...]] = {}
        for authority in sorted(self._authorities.values(), key=lambda one: not one.is_anchor):
            key = names.canonical(authority.certificate.subject_der)
            by_name[key] = (*by_name.get(key, ()), authority)
        rules = {
            stem: IssuerRules(self._policies.get(stem), self._namespaces.get(stem), tuple(self._crls.get(stem, ())))
            for stem in {*self._policies, *self._namespaces, *self._crls}
        }
        subjects = {authority.certificate.subject_der for authority in self._authorities.values()}
        return TrustAnchors(
            authorities=tuple(self._authorities.values()),
            problems=tuple(self._problems),
            loaded_at=loaded_at,
            generation=generation,
            _rules=MappingProxyType(rules),
            _by_name=MappingProxyType(by_name),
            _by_bytes=MappingProxyType({subject: by_name[names.canonical(subject)] for subject in subjects}),
            _rules_by_bytes=MappingProxyType({subject: _merge_rules(rules, subject) for subject in subjects}),
            _parsed=MappingProxyType(self._parsed),
        )


def _parse_authorities(data: bytes, name: str) -> tuple[Authority, ...]:
    certificates = load_certificates(data, what=name)
    if not certificates:
        raise ParseError(f"{name}: no PEM certificate in it", what="CA certificate")
    found: list[Authority] = []
    for certificate in certificates:
        try:
            found.append(Authority(certificate, name, read_profile(certificate, None)))
        except VerificationError as error:
            raise ParseError(f"{name}: {error.message}", what="CA certificate") from error
    return tuple(found)


def _merge_rules(rules: Mapping[str, IssuerRules], ca_name_der: bytes) -> IssuerRules:
    """Join what stands under the two hashes of a name; under the new hash comes first."""
    new, old = (rules.get(stem, _NO_RULES) for stem in hash_names(ca_name_der))
    same = {one.crls for one in new.crls if isinstance(one, CRLFile)}  # distributions link the old name to the new
    others = (one for one in old.crls if isinstance(one, BrokenFile) or one.crls not in same)
    return IssuerRules(new.signing_policy or old.signing_policy, new.namespaces or old.namespaces, (*new.crls, *others))


_NO_RULES: Final = IssuerRules()
