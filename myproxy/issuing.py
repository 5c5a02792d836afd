"""The authority of the server: a user name in, a certificate of its own name out; not who may have one.

    authority.get_subject("alice")                              # the subject, DER; NotFoundError: nobody of that name
    chain = authority.issue(grant, parse_request(der), now=now, recorder=recorder)

`BuiltInAuthority` signs through `gsi.ca`, `ProgramAuthority` has a program of the site's sign. Both take nothing but an
`IssuanceGrant`, made after authentication and policy have agreed; both check the request and its proof, ask the site's
checkers, judge the finished certificate with our own validator, and hand it out only once the recorder has it. Agrees
with gct:myproxy/source/certauth_extensions.c in what certificates hold and in what programs are told;
docs/wire/myproxy-ca.md lists the differences.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from gsi import keys
from gsi.ca.general_names import email_address
from gsi.ca.grant import Grant
from gsi.ca.program import run_program
from gsi.ca.records import IssuanceRecord, Recorders
from gsi.certificate import load_certificates
from gsi.errors import (
    CredentialError,
    CredentialProblem,
    IssuanceError,
    IssuanceStep,
    NotFoundError,
    ParseError,
    VerificationError,
)
from gsi.names import oneline
from gsi.pem import encode_pem
from gsi.system.files import write_public
from myproxy.naming import NameSource, parse_subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.ca.issuer import CertificateChecker, Issuer, RequestChecker
    from gsi.ca.records import Recorder
    from gsi.ca.request import CertificateRequest
    from gsi.certificate import Certificate
    from gsi.trust.verify import VerifiedPeer
    from myproxy.extensions import ExtensionSource
    from myproxy.grants import IssuanceGrant

    class ChainVerifier(Protocol):
        """Judges a chain against the trust anchors of the moment."""

        def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
            """Return the proven identity, or raise VerificationError."""
            ...


__all__ = [
    "DEFAULT_LIFETIME",
    "Authority",
    "BuiltInAuthority",
    "CopyRecorder",
    "IssuanceLimits",
    "ProgramAuthority",
]

DEFAULT_LIFETIME: Final = timedelta(hours=12)
"""Where `max_cert_lifetime` says nothing: MYPROXY_DEFAULT_DELEG_HOURS of the C server."""


class Authority(Protocol):
    """Makes certificates for users. Called in threads, by several at once."""

    @property
    def names_users(self) -> bool:
        """Whether a user without a mapped name may get a certificate, since the authority chooses the name."""
        ...

    def get_subject(self, username: str) -> bytes:
        """Return the subject that this user's certificate will have, a Name in DER.

        Raises:
            NotFoundError: There is nobody of that user name.
            GridError: It cannot be found out.
        """
        ...

    def check_ready(self, now: datetime) -> None:
        """Find out, without issuing anything, whether it could.

        Raises:
            GridError: It could not.
        """
        ...

    def close(self) -> None:
        """Let go of the key, when the last certificate is issued."""
        ...

    def issue(
        self, grant: IssuanceGrant, request: CertificateRequest, *, now: datetime, recorder: Recorder
    ) -> tuple[Certificate, ...]:
        """Return the new certificate and the CA certificates that are sent with it, leaf first.

        Args:
            grant: What the client may have.
            request: Its key, with proof.
            now: The time.
            recorder: Takes the record before the certificate leaves, and may refuse it.

        Raises:
            CredentialError: WEAK_KEY: the request's key will not do.
            GridError: Every other failure, which is no business of the client's.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceLimits:
    """What holds for all certificates.

    Attributes:
        max_lifetime: `max_cert_lifetime`; zero stands for `DEFAULT_LIFETIME`.
        min_rsa_bits: `min_keylen`; less than 2048 has no effect.
    """

    max_lifetime: timedelta = timedelta(0)
    min_rsa_bits: int = 0

    def lifetime(self, asked: timedelta) -> timedelta:
        """Return the lifetime of a certificate: what is asked for, if that is anything and not too much."""
        most = self.max_lifetime or DEFAULT_LIFETIME
        return min(asked, most) if asked > timedelta(0) else most


class CopyRecorder:
    """`certificate_out_dir`: keeps each certificate as `SERIAL.pem`, the serial number as C writes it (`12:AB`)."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def record(self, record: IssuanceRecord) -> None:
        """Write the copy; raises CredentialError when that fails."""
        certificate, serial = record.certificate, record.serial_hex
        name = ":".join(serial[at : at + 2] for at in range(0, len(serial), 2))
        lines = (
            f"Serial Number: {name}",
            f"Issuer: {oneline(certificate.issuer_der)}",
            f"Subject: {record.subject}",
            f"Not Before: {certificate.not_before:%Y-%m-%d %H:%M:%S} UTC",
            f"Not After: {certificate.not_after:%Y-%m-%d %H:%M:%S} UTC",
            f"Requester: {record.requester}",
        )
        text = "\n".join(lines).encode("utf-8", "backslashreplace") + b"\n" + certificate.pem()
        write_public(os.path.join(self._directory, f"{name}.pem"), text, 0o600)


class BuiltInAuthority:
    """Signs with a key that this server can use: in a file, in a token, behind a signing program."""

    names_users = False

    def __init__(
        self,
        issuer: Issuer,
        names: NameSource,
        limits: IssuanceLimits,
        extensions: ExtensionSource,
        *,
        email_domain: str | None = None,
        copies: Recorder | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            issuer: Signs, with the site's checkers.
            names: Knows who is who.
            limits: What holds for all certificates.
            extensions: What a user's certificate carries.
            email_domain: `certificate_issuer_email_domain`: certificates carry the user name at this domain.
            copies: Keeps copies of certificates.
        """
        self._issuer = issuer
        self._names = names
        self._limits = limits
        self._extensions = extensions
        self._email_domain = email_domain
        self._copies = copies

    def get_subject(self, username: str) -> bytes:
        """See `Authority`."""
        return _subject(self._names, username)

    def check_ready(self, now: datetime) -> None:
        """See `Authority`."""
        self._issuer.check_ready(now)

    def close(self) -> None:
        """See `Authority`."""
        self._issuer.close()

    def issue(
        self, grant: IssuanceGrant, request: CertificateRequest, *, now: datetime, recorder: Recorder
    ) -> tuple[Certificate, ...]:
        """See `Authority`."""
        username = grant.request.username
        if grant.subject_der is None:
            raise IssuanceError(f"no name for {username!r}", step=IssuanceStep.GRANT)
        profile = self._extensions(username)
        emails = () if self._email_domain is None else (email_address(f"{username}@{self._email_domain}"),)
        names, further = profile.names_with(*emails)
        permitted = Grant(
            subject_der=grant.subject_der,
            requester=grant.requester,
            lifetime=self._limits.lifetime(grant.request.lifetime),
            alternative_names=names,
            key_usage=profile.key_usage,
            extended_key_usage=profile.extended_key_usage,
            extensions=further,
            min_rsa_bits=max(self._limits.min_rsa_bits, keys.MIN_RSA_BITS),
            decision=grant.caller.request_id,
        )
        return self._issuer.issue(request, permitted, now=now, recorder=_both(recorder, self._copies)).chain


class ProgramAuthority:
    """`certificate_issuer_program`: a program of the site's signs, and chooses the name.

    Its certificate is believed no more than a stranger's: it must be for the key of the request and an end entity's
    that the trust directory vouches for.
    """

    names_users = True

    def __init__(
        self,
        program: str,
        names: NameSource | None,
        limits: IssuanceLimits,
        verify: ChainVerifier,
        *,
        chain: Sequence[Certificate] = (),
        request_checkers: Sequence[RequestChecker] = (),
        certificate_checkers: Sequence[CertificateChecker] = (),
        copies: Recorder | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            program: Its whole path.
            names: Knows who is who, for renewal and trusted retrievers; None where nobody does.
            limits: What holds for all certificates; the program is told of the longest lifetime.
            verify: Judges chains by the trust directory.
            chain: CA certificates to send with each certificate.
            request_checkers: What else is asked of a request.
            certificate_checkers: What else is asked of a certificate.
            copies: Keeps copies of certificates.
        """
        self._program = program
        self._names = names
        self._limits = limits
        self._verify = verify
        self._chain = tuple(chain)
        self._request_checkers = tuple(request_checkers)
        self._certificate_checkers = tuple(certificate_checkers)
        self._copies = copies

    def get_subject(self, username: str) -> bytes:
        """See `Authority`."""
        if self._names is None:
            raise NotFoundError(f"no name for {username!r}: the program knows it")
        return _subject(self._names, username)

    def check_ready(self, now: datetime) -> None:  # noqa: ARG002  what its CA's certificate is, the program knows
        """See `Authority`; the program is not started."""
        if not os.access(self._program, os.X_OK):
            raise IssuanceError(f"{self._program} is not there or not executable", step=IssuanceStep.SIGN)

    def close(self) -> None:
        """See `Authority`; no program stays behind."""

    def issue(
        self, grant: IssuanceGrant, request: CertificateRequest, *, now: datetime, recorder: Recorder
    ) -> tuple[Certificate, ...]:
        """See `Authority`."""
        _check_strength(request, self._limits.min_rsa_bits)
        certificate = self._ask(grant, request)
        if keys.spki_der(keys.parse_public_key(certificate.spki_der)) != request.spki_der:
            raise _refuse(f"{self._program}: the certificate is for another key")
        try:
            peer = self._verify((certificate, *self._chain), now=max(now, certificate.not_before))
        except VerificationError as error:
            raise _refuse(f"{self._program}: its certificate is not good: {error.message}") from error
        if peer.is_proxy:
            raise _refuse(f"{self._program}: a proxy in place of an end entity's certificate")
        for checker in self._certificate_checkers:
            checker(certificate)
        record = IssuanceRecord(certificate, grant.requester, grant.caller.request_id, now)
        _both(recorder, self._copies).record(record)
        return (certificate, *self._chain)

    def _ask(self, grant: IssuanceGrant, request: CertificateRequest) -> Certificate:
        assert request.der is not None  # it came as PKCS#10
        if self._request_checkers:
            shown = Grant(
                subject_der=grant.subject_der or request.subject_der,
                requester=grant.requester,
                lifetime=self._limits.lifetime(grant.request.lifetime),
            )
            for checker in self._request_checkers:
                checker(request, shown)
        told = _tell(grant, int(self._limits.max_lifetime.total_seconds()))
        answer = run_program((self._program,), stdin=told + encode_pem("CERTIFICATE REQUEST", request.der))
        found = load_certificates(answer, what=self._program)
        if not found:
            raise _refuse(f"{self._program}: no certificate in its output")
        return found[0]


def _tell(grant: IssuanceGrant, max_seconds: int) -> bytes:
    """Return what the program reads before the request; gct:myproxy/source/certauth_extensions.c, external_callout."""
    request = grant.request
    values: tuple[tuple[str, str | bytes | None], ...] = (
        ("username", request.username),
        ("passphrase", request.passphrase.reveal()),
        ("proxy_lifetime", str(int(request.lifetime.total_seconds()))),
        ("retrievers", request.retriever),
        ("renewers", request.renewer),
        ("credname", request.credential_name),
        ("creddesc", request.description),
        ("authzcreds", None),  # the client's file name, which never travels
        ("keyretrieve", request.key_retrievers),
        ("trusted_retrievers", request.trusted_retriever),
        ("max_cert_lifetime", str(max_seconds)),
    )
    lines: list[bytes] = []
    for name, value in values:
        data = b"NULL" if value is None else value
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        if b"\n" in data or b"\0" in data:
            raise ParseError(f"{name} holds a line end", what="request")
        lines.append(name.encode() + b"=" + data + b"\n")
    return b"".join(lines) + b"\n"


def _subject(names: NameSource, username: str) -> bytes:
    name = names.get_name(username)
    try:
        return parse_subject(name)
    except ParseError as error:
        raise NotFoundError(f"{username!r} is mapped to no usable name: {error.message}") from error


def _check_strength(request: CertificateRequest, min_rsa_bits: int) -> None:
    bits = keys.key_bits(request.public_key)
    if keys.is_rsa(request.public_key) and bits < min_rsa_bits:
        raise CredentialError(
            f"an RSA key of {bits} bits, at least {min_rsa_bits} are required", problem=CredentialProblem.WEAK_KEY
        )


def _both(first: Recorder, second: Recorder | None) -> Recorder:
    return first if second is None else Recorders((first, second))


def _refuse(why: str) -> IssuanceError:
    return IssuanceError(why, step=IssuanceStep.CHECK)
