"""What `voms-proxy-info` knows of a proxy file: its chain, and its attribute certificates with a verdict on each.

    facts = gather(path, certdir=None, vomsdir=None, verify=True)
    facts.believed, facts.refused

An attribute certificate is believed only when the chain that carries it is good up to a trusted CA and
`gsi.voms.verify` has nothing against it. Prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi import names, oids
from gsi.errors import CredentialError, CredentialProblem, GridError, ParseError
from gsi.keys import key_bits
from gsi.proxy.chain import ProxyChain
from gsi.proxy.kinds import Classification, ProxyFormat, ProxyKind
from gsi.system import clock
from gsi.system.credential_files import load_proxy
from gsi.voms.ac_extensions import TagList, parse_tags, parse_targets
from gsi.voms.attribute_cert import AttributeCertificate, Authority, parse_sequence_of, split_authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from gsi.certificate import Certificate
    from gsi.credential import Credential

__all__ = ["Attributes", "ProxyFacts", "Refused", "gather", "proxy_type"]

_FORM = {ProxyFormat.RFC3820: "RFC compliant {}proxy", ProxyFormat.GT3: "GT3-style {}proxy", ProxyFormat.GT2: "{}proxy"}


class Attributes(NamedTuple):
    """An attribute certificate that may be shown.

    Attributes:
        certificate: As it is in the proxy.
        authority: VO, host and port.
        holder: Whose it is.
        tags: Generic attributes.
        targets: The only hosts for which it is meant; empty for all.
        is_verified: Whether it was judged, and believed.
    """

    certificate: AttributeCertificate
    authority: Authority
    holder: str
    tags: tuple[TagList, ...]
    targets: tuple[str, ...]
    is_verified: bool

    @property
    def issuer(self) -> str:
        """The subject of the server's certificate."""
        return names.oneline(self.certificate.info.issuer_der)

    @property
    def uri(self) -> str:
        """Host and port of the server."""
        return f"{self.authority.host}:{self.authority.port}"

    @property
    def serial(self) -> str:
        """The serial number as OpenSSL writes it: hexadecimal, whole bytes."""
        digits = f"{abs(self.certificate.info.serial):X}"
        sign = "-" if self.certificate.info.serial < 0 else ""
        return f"{sign}{digits.zfill(len(digits) + len(digits) % 2)}"


class Refused(NamedTuple):
    """An attribute certificate, or a place for such, that must not be believed."""

    authority: str | None
    """Who it says issued it, as far as that could be read."""
    error: GridError


class ProxyFacts(NamedTuple):
    """What is shown about a proxy file."""

    path: str
    chain: ProxyChain
    now: datetime
    believed: tuple[Attributes, ...]
    refused: tuple[Refused, ...]

    @property
    def leaf(self) -> Certificate:
        """The proxy itself."""
        return self.chain.leaf

    @property
    def strength(self) -> int:
        """Size of the proxy's key in bits."""
        return key_bits(self.leaf.public_key())

    @property
    def left(self) -> timedelta:
        """Time until the first certificate of the chain expires; negative when that is past."""
        return self.chain.not_after - self.now

    @property
    def included(self) -> bytes | None:
        """The file that the user put into the proxy, or into the nearest one above it that has any."""
        found = (one.find_extension(oids.VOMS_INCLUDED_FILE) for one in self.chain.proxies)
        return next((extension.value for extension in found if extension is not None), None)


def proxy_type(found: Classification | None) -> str:
    """Return the C tool's words for one certificate; None is the end entity's. Unlike it, tells of every limit."""
    if found is None or found.format is None or found.kind is None:
        return "unknown"
    return _FORM[found.format].format("" if found.kind is ProxyKind.FULL else f"{found.kind} ")


def gather(path: str, *, certdir: str, vomsdir: str | None, verify: bool) -> ProxyFacts:
    """Read a proxy file and judge what it carries.

    Args:
        path: The file.
        certdir: The trust directory; read only when there is something to judge.
        vomsdir: The directory of trusted VOMS servers; None for the usual one.
        verify: Whether to judge; otherwise everything that can be read is shown.

    Raises:
        GridError: The file cannot be read, or holds no proxy.
    """
    credential = _load(path)
    chain = ProxyChain.split(credential.certificates)
    now = clock.now().replace(microsecond=0)  # whole seconds, as in C
    refused: list[Refused] = []
    found: list[AttributeCertificate] = []
    for certificate in (*chain.proxies, chain.eec):
        try:
            found += _read(certificate)
        except ParseError as error:
            refused.append(Refused(None, error))
    judge = _judge(credential, certdir, vomsdir) if found and verify else None
    believed: list[Attributes] = []
    for one in found:
        try:
            if judge is not None:
                judge(one)
            believed.append(_show(one, chain, is_verified=judge is not None))
        except GridError as error:
            refused.append(Refused(one.info.authority, error))
    return ProxyFacts(path, chain, now, tuple(believed), tuple(refused))


def _load(path: str) -> Credential:
    try:
        return load_proxy(path)
    except CredentialError as error:
        if error.problem is CredentialProblem.MISSING:
            error.hint = "voms-proxy-init makes a proxy; -file and X509_USER_PROXY name another place"
        raise


def _read(certificate: Certificate) -> tuple[AttributeCertificate, ...]:
    extensions = [one for one in certificate.extensions if one.oid == oids.VOMS_AC_SEQUENCE]
    if len(extensions) > 1:
        raise ParseError("two extensions with attribute certificates", what="attribute certificate")
    return parse_sequence_of(extensions[0].value) if extensions else ()


def _judge(credential: Credential, certdir: str, vomsdir: str | None) -> Callable[[AttributeCertificate], object]:
    """Return what raises for a certificate that must not be believed: all of them when the chain is not good."""
    from gsi.cli.user_credential import verify_made
    from gsi.cli.voms_judge import Judge
    from gsi.system.trustdir import TrustDirectory

    directory = TrustDirectory(certdir)
    try:
        peer = verify_made(credential, directory.anchors(), clock.now())
    except GridError as error:
        failure = error

        def refuse(_: AttributeCertificate) -> object:
            raise failure

        return refuse
    judge = Judge(directory, vomsdir)
    return lambda certificate: judge.verify(certificate, peer)


def _show(certificate: AttributeCertificate, chain: ProxyChain, *, is_verified: bool) -> Attributes:
    """Return what is shown of a certificate.

    Raises:
        ParseError: An extension or the authority cannot be read.
    """
    info = certificate.info
    own = info.holder_serial == chain.eec.serial and names.same_name(info.holder_issuer_der, chain.eec.issuer_der)
    tags, targets = info.find_extension(oids.VOMS_TAGS), info.find_extension(oids.TARGETS)
    return Attributes(
        certificate,
        split_authority(info.authority),
        chain.identity_text
        if own
        else f"serial number {info.holder_serial:X} of {names.oneline(info.holder_issuer_der)}",
        () if tags is None else parse_tags(tags.value),
        () if targets is None else parse_targets(targets.value),
        is_verified,
    )
