"""From an end entity up to an anchor: RFC 5280 path building and validation with the grid's rules; knows no proxy.

    path = find_path(eec, profile, 2, presented=((3, sub_ca, its_profile),), anchors=anchors, now=now, options=options)
    path.authorities, path.not_after

An anchor is a CA of the trust directory that names itself as its issuer. A CA in between may be presented or lie in
the directory; a presented root is never trusted. Several CAs of one name are tried in turn, the number of signatures
checked is bounded (`MAX_SIGNATURE_CHECKS`), whatever else the search asks of a certificate is asked once, and each path
found is checked from the anchor down (RFC 5280 section 6.1), with signing policy, namespaces and CRLs for each
certificate under its issuer.

The rules for CAs that C does not have: their extended key usages must fit the purpose (as in OpenSSL), the anchor's
own validity and path length bind, an anchor on its own CRL is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.anchors import BrokenFile
from gsi.trust.hashes import subject_hash
from gsi.trust.name_constraints import check_names, parse_name_constraints
from gsi.trust.options import MAX_CA_DEPTH, MAX_SIGNATURE_CHECKS, Purpose
from gsi.trust.policies import Level, check_policies
from gsi.trust.profile import KEY_CERT_SIGN, Profile
from gsi.trust.revocation import Issuer, check_revocation
from gsi.trust.signatures import check_certificate_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.keys import PublicKey
    from gsi.trust.anchors import Authority, TrustAnchors
    from gsi.trust.crl import CRL
    from gsi.trust.name_constraints import NameConstraints
    from gsi.trust.options import ValidationOptions

__all__ = ["Path", "check_extended_key_usage", "check_validity", "find_path"]

_BROKEN_HINT: Final = "install the file again from the CA's distribution"
_PURPOSE_OID: Final = {Purpose.CLIENT: oids.CLIENT_AUTH, Purpose.SERVER: oids.SERVER_AUTH}


class Path(NamedTuple):
    """A proven path from an end entity to an anchor.

    Attributes:
        authorities: The CAs, the end entity's issuer first, the anchor last.
        not_after: When the first of end entity and CAs expires.
        holds_from: Start of the time in which this very verdict holds: validities and CRLs.
        holds_until: End of that time.
    """

    authorities: tuple[Certificate, ...]
    not_after: datetime
    holds_from: datetime
    holds_until: datetime


class _Node(NamedTuple):
    """One certificate of a path being built."""

    certificate: Certificate
    position: int
    authority: Authority | None
    profile: Profile

    def load_key(self) -> PublicKey:
        if self.authority is not None:
            return self.authority.load_key(self.position)
        return load_key(self.certificate, self.position)

    def as_issuer(self, anchors: TrustAnchors, above: Issuer | None) -> Issuer:
        subject_der = self.certificate.subject_der
        text = names.oneline(subject_der) if self.authority is None else self.authority.subject
        is_renewed = above is not None and self.certificate.is_self_issued
        elders = (above, *above.elders) if above is not None and is_renewed else ()
        return Issuer(self.certificate, self.load_key(), self.profile, anchors.find_rules(subject_der), text, elders)


def find_path(
    eec: Certificate,
    profile: Profile,
    position: int,
    *,
    presented: Sequence[tuple[int, Certificate, Profile]],
    anchors: TrustAnchors,
    now: datetime,
    options: ValidationOptions,
) -> Path:
    """Return a path from an end entity to an anchor that holds at `now`.

    Args:
        eec: The end entity certificate.
        profile: What its extensions say.
        position: Its index in the chain.
        presented: The CAs that came with it, with their indexes and what their extensions say, in any order.
        anchors: The trust directory's contents.
        now: The time of the judgement (aware UTC).
        options: The caller's switches.

    Raises:
        VerificationError: No path holds; the error is that of the path which came closest.
    """
    search = _Search(presented, position + len(presented) + 1, anchors, now, options)
    found = search.extend((_Node(eec, position, None, profile),))
    if found is None:
        raise search.best_error
    return found


class _Search:
    """Depth-first search for a path, with the error of the best failure."""

    def __init__(
        self,
        presented: Sequence[tuple[int, Certificate, Profile]],
        next_position: int,
        anchors: TrustAnchors,
        now: datetime,
        options: ValidationOptions,
    ) -> None:
        self._positions: dict[bytes, int] = {}
        self._presented: dict[bytes, list[_Node]] = {}  # by canonical name
        for position, certificate, profile in presented:
            if self._positions.setdefault(certificate.der, position) == position:
                key = _canonical(certificate.subject_der, position)
                self._presented.setdefault(key, []).append(_Node(certificate, position, None, profile))
        self._candidates: dict[bytes, tuple[Sequence[Authority], Sequence[_Node]]] = {}  # by the issuer's name
        self._next_position = next_position
        self._anchors = anchors
        self._now = now
        self._options = options
        self._checks_left = MAX_SIGNATURE_CHECKS
        self._best: tuple[int, VerificationError] | None = None

    @property
    def best_error(self) -> VerificationError:
        """The error of the attempt that came closest to an anchor."""
        if self._best is None:
            return VerificationError("no path to a trusted CA", reason=Reason.UNTRUSTED)
        return self._best[1]

    def extend(self, below: tuple[_Node, ...]) -> Path | None:
        """Look for issuers of the topmost certificate; return the first path that holds."""
        top = below[-1]
        if len(below) > MAX_CA_DEPTH:
            self._note(1, _refusal(f"more than {MAX_CA_DEPTH} CAs above it", Reason.PATH_TOO_COMPLEX, top.position))
            return None
        candidates = 0
        for node in self._issuers_of(top, below):
            candidates += 1
            if self._checks_left == 0:
                raise _refusal("too many CAs of the same name to try", Reason.PATH_TOO_COMPLEX, top.position)
            self._checks_left -= 1
            path = self._try_issuer(node, below)
            if path is not None:
                return path
        if not candidates and self._best is None:
            self._note(0, _untrusted(top))
        return None

    def _try_issuer(self, node: _Node, below: tuple[_Node, ...]) -> Path | None:
        top = below[-1]
        stage = 1
        try:
            check_certificate_signature(
                top.certificate,
                node.load_key(),
                top.position,
                accept_weak=self._options.accept_weak_signatures,
            )
            stage = 2
            if node.authority is None or not node.authority.is_anchor:
                return self.extend((*below, node))
            return _check_path((*below, node), self._anchors, self._now, self._options)
        except VerificationError as error:
            if error.reason is Reason.PATH_TOO_COMPLEX:
                raise
            self._note(stage, error)
            return None

    def _issuers_of(self, top: _Node, below: tuple[_Node, ...]) -> Iterator[_Node]:
        """Yield CAs with the name of the issuer: anchors, then others of the directory, then presented ones."""
        used = {node.certificate.der for node in below}
        authorities, presented = self._find_candidates(top.certificate.issuer_der, top.position)
        for authority in authorities:
            if authority.certificate.der not in used:
                used.add(authority.certificate.der)
                position = self._position_of(authority.certificate, below)
                yield _Node(authority.certificate, position, authority, authority.profile)
        for node in presented:
            if node.certificate.der not in used:
                yield node

    def _position_of(self, certificate: Certificate, below: tuple[_Node, ...]) -> int:
        """Return the index of a directory's CA: its own if it was presented, too, else counting on past the last."""
        position = self._positions.get(certificate.der)
        if position is not None:
            return position
        return max(self._next_position, *(node.position + 1 for node in below))

    def _find_candidates(self, issuer_der: bytes, position: int) -> tuple[Sequence[Authority], Sequence[_Node]]:
        found = self._candidates.get(issuer_der)
        if found is None:
            try:
                authorities = self._anchors.find_authorities(issuer_der)
            except ParseError as error:
                raise _refusal(error.message, Reason.MALFORMED, position) from error
            presented = self._presented.get(_canonical(issuer_der, position), ()) if self._presented else ()
            found = self._candidates[issuer_der] = (authorities, presented)
        return found

    def _note(self, stage: int, error: VerificationError) -> None:
        if self._best is None or stage > self._best[0]:
            self._best = (stage, error)


def _canonical(name_der: bytes, position: int) -> bytes:
    try:
        return names.canonical(name_der)
    except ParseError as error:
        raise _refusal(error.message, Reason.MALFORMED, position) from error


def _untrusted(top: _Node) -> VerificationError:
    issuer_der = top.certificate.issuer_der
    return VerificationError(
        f"no CA {names.oneline(issuer_der)} in the trust directory, which issued "
        f"{names.oneline(top.certificate.subject_der)}",
        reason=Reason.UNTRUSTED,
        position=top.position,
        hint=f"if this CA is to be trusted, install its certificate as {subject_hash(issuer_der)}.0 "
        "with its signing policy",
    )


def _check_path(nodes: tuple[_Node, ...], anchors: TrustAnchors, now: datetime, options: ValidationOptions) -> Path:
    """Check a path whose signatures are good, from the anchor down (RFC 5280 section 6.1)."""
    constraints: list[NameConstraints] = []
    crls: list[CRL] = []
    issuer: Issuer | None = None
    for level in range(len(nodes) - 1, -1, -1):
        node = nodes[level]
        certificate, position = node.certificate, node.position
        # 1. Valid at the time of the judgement; the anchor, too.
        check_validity(certificate, now, position)
        if issuer is not None:
            # 2. Signing policy and namespaces of the issuer (the anchor is trusted as it is).
            _check_rules(certificate, position, issuer, options)
            # 3. Names under the constraints of every CA above; a self-issued CA in between is exempt.
            if level == 0 or not certificate.is_self_issued:
                for one in constraints:
                    check_names(one, certificate.subject_der, node.profile.subject_alt_name, position)
            # 4. Not revoked by its issuer, nor the anchor by itself.
            used = check_revocation(certificate, position, issuer, anchors=anchors, now=now, options=options)
            if level == len(nodes) - 2 and any(crl.is_revoked(nodes[-1].certificate.serial) for crl in used):
                raise _refusal("the anchor is on its own CRL", Reason.REVOKED, nodes[-1].position)
            crls.extend(used)
        if level:
            # 5. A CA, fit to sign certificates, with room for the CAs below it; proxies do not count.
            _check_authority(node, sum(not one.certificate.is_self_issued for one in nodes[1:level]), options)
            # 6. Its own constraints and rules bind what is below.
            if node.profile.name_constraints is not None:
                constraints.append(_read_constraints(node))
            issuer = node.as_issuer(anchors, issuer)
    # 7. Certificate policies, where a CA requires one.
    check_policies([Level(one.profile, one.position, one.certificate.is_self_issued) for one in reversed(nodes)])
    not_after = min(node.certificate.not_after for node in nodes)
    return Path(
        authorities=tuple(node.certificate for node in nodes[1:]),
        not_after=not_after,
        holds_from=max([node.certificate.not_before for node in nodes] + [crl.this_update for crl in crls]),
        holds_until=min([not_after, *(crl.next_update for crl in crls)]),
    )


def check_validity(certificate: Certificate, now: datetime, position: int) -> None:
    """Check that a certificate is valid at `now`, both ends included, without any grace.

    Raises:
        VerificationError: NOT_YET_VALID or EXPIRED.
    """
    if now < certificate.not_before:
        raise VerificationError(
            f"{names.oneline(certificate.subject_der)} is not valid before {certificate.not_before:%Y-%m-%d %H:%M:%S}Z",
            reason=Reason.NOT_YET_VALID,
            position=position,
            hint="compare the clocks of the two machines",
        )
    if now > certificate.not_after:
        raise VerificationError(
            f"{names.oneline(certificate.subject_der)} expired at {certificate.not_after:%Y-%m-%d %H:%M:%S}Z",
            reason=Reason.EXPIRED,
            position=position,
            hint="make a new proxy or renew the certificate",
        )


def check_extended_key_usage(profile: Profile, position: int, options: ValidationOptions) -> None:
    """Check that the extended key usages, where there are any, fit the purpose.

    Raises:
        VerificationError: EXTENDED_KEY_USAGE.
    """
    usages = profile.extended_key_usage
    if usages is None or options.ignore_extended_key_usage or options.purpose is Purpose.ANY:
        return
    if _PURPOSE_OID[options.purpose] not in usages and oids.ANY_EXTENDED_KEY_USAGE not in usages:
        raise VerificationError(
            f"the extended key usage does not permit use as a TLS {options.purpose.value}",
            reason=Reason.EXTENDED_KEY_USAGE,
            position=position,
            hint="ask the CA for a certificate with this purpose, or lift the check by its switch",
        )


def _check_authority(node: _Node, cas_below: int, options: ValidationOptions) -> None:
    profile, position = node.profile, node.position
    is_old_root = node.authority is not None and node.authority.is_anchor and node.certificate.version == 1
    if not profile.is_ca and not is_old_root:
        raise _refusal(f"{names.oneline(node.certificate.subject_der)} is not a CA", Reason.NOT_A_CA, position)
    if profile.has_proxy_info:
        raise _refusal("a CA's certificate with a ProxyCertInfo", Reason.PROXY_IS_CA, position)
    if not profile.may(KEY_CERT_SIGN):
        raise _refusal("a CA whose key usage lacks keyCertSign", Reason.KEY_USAGE, position)
    if profile.path_length is not None and cas_below > profile.path_length:
        raise _refusal("more CAs below this one than its path length allows", Reason.CA_PATH_LENGTH, position)
    check_extended_key_usage(profile, position, options)


def _read_constraints(node: _Node) -> NameConstraints:
    try:
        return parse_name_constraints(
            node.profile.name_constraints or b"", critical=node.profile.name_constraints_critical
        )
    except ParseError as error:
        raise _refusal(error.message, Reason.NAME_CONSTRAINTS, node.position) from error


def _check_rules(certificate: Certificate, position: int, issuer: Issuer, options: ValidationOptions) -> None:
    """Check a subject against the signing policy and the namespaces of its issuer."""
    rules = issuer.rules
    ca, subject = issuer.subject, names.oneline(certificate.subject_der)
    policy = rules.signing_policy
    if isinstance(policy, BrokenFile):
        raise _refusal(f"{policy.path}: {policy.message}", policy.reason, position, _BROKEN_HINT)
    if policy is None:
        if options.require_signing_policy:
            raise VerificationError(
                f"no signing policy for {ca}",
                reason=Reason.SIGNING_POLICY_MISSING,
                position=position,
                hint=f"install {subject_hash(issuer.certificate.subject_der)}.signing_policy, "
                "which comes with the CA's distribution",
            )
    elif not policy.permits(ca, subject):
        raise _refusal(
            f"the signing policy of {ca} does not permit {subject}",
            Reason.SIGNING_POLICY,
            position,
            "the CA may not issue this name, or its .signing_policy file is out of date",
        )
    if not options.use_namespaces or rules.namespaces is None:
        return
    if isinstance(rules.namespaces, BrokenFile):
        raise _refusal(
            f"{rules.namespaces.path}: {rules.namespaces.message}", rules.namespaces.reason, position, _BROKEN_HINT
        )
    if not rules.namespaces.permits(ca, subject):
        raise _refusal(f"the namespaces of {ca} do not permit {subject}", Reason.NAMESPACES, position)


def _refusal(message: str, reason: Reason, position: int, hint: str | None = None) -> VerificationError:
    return VerificationError(message, reason=reason, position=position, hint=hint)
