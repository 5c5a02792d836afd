"""LSC files: whose attribute certificates are believed for a VO, by the names of its server's certificate and CAs.

    trusted = parse_lsc(data, path="/etc/grid-security/vomsdir/vo/voms.example.org.lsc")
    trusted.chains[0][0].subject

A file is read here, not found: `gsi.system.vomsdir` does that. Lines come in pairs, subject and issuer of the server's
certificate, then those of its CA, and so on upwards; `------ NEXT CHAIN ------` divides alternatives. Blank lines and
lines that begin with `#` are passed over. Names are compared as parsed names, so that `Email` is `emailAddress`.
Must agree with voms: src/api/ccapi/voms_api.cc (check_from_file), but for an odd number of lines, which is refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gsi import names
from gsi.errors import ParseError

if TYPE_CHECKING:
    from gsi.certificate import Certificate

__all__ = ["MAX_LSC_BYTES", "Chain", "NamePair", "TrustedServer", "encode_lsc", "parse_lsc"]

MAX_LSC_BYTES: Final = 64 << 10  # a file has two lines; some have ten
_MAX_LINES: Final = 512
_MAX_NAMES: Final = 1024  # names whose keys are remembered, some kilobytes each at most
_WHAT: Final = "LSC file"
_DIVIDER: Final = "------ NEXT CHAIN ------"


class NamePair(NamedTuple):
    """Subject and issuer of one certificate, in DER."""

    subject_der: bytes
    issuer_der: bytes

    def matches(self, certificate: Certificate) -> bool:
        """Say whether a certificate has these names (RFC 5280 section 7.1).

        Raises:
            ParseError: A name of the certificate is not well-formed.
        """
        return _key(self.subject_der) == _key(certificate.subject_der) and _key(self.issuer_der) == _key(
            certificate.issuer_der
        )


@lru_cache(maxsize=_MAX_NAMES)
def _key(name_der: bytes) -> bytes:
    """Return the key under which equal names are equal; the few of a site's servers are asked about again and again."""
    return names.canonical(name_der)


Chain: TypeAlias = tuple[NamePair, ...]
"""The server's certificate first."""


class TrustedServer(NamedTuple):
    """What a site trusts for one VO and host.

    Attributes:
        chains: The alternatives of its LSC file; when there is one, it alone decides.
        certificates: The older way: server certificates of the VO, whatever their host.
    """

    chains: tuple[Chain, ...] = ()
    certificates: tuple[Certificate, ...] = ()


def parse_lsc(data: bytes, *, path: str = _WHAT) -> TrustedServer:
    """Return what an LSC file says.

    Raises:
        ParseError: Too long, not UTF-8, a line that is no name, a subject without issuer, or no chain at all.
    """
    if len(data) > MAX_LSC_BYTES:
        raise ParseError(f"{path}: {len(data)} bytes, limit {MAX_LSC_BYTES}", what=_WHAT)
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ParseError(f"{path}: not UTF-8", what=_WHAT, offset=error.start) from error
    if len(lines) > _MAX_LINES:
        raise ParseError(f"{path}: more than {_MAX_LINES} lines", what=_WHAT)
    chains: list[Chain] = []
    pending: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip(" \t")
        if text == _DIVIDER:
            chains.append(_pair(pending, path, number))
            pending = []
        elif text and not text.startswith("#"):
            pending.append(_name(text, path, number))
    chains.append(_pair(pending, path, len(lines)))
    return TrustedServer(tuple(chains))


def encode_lsc(chains: tuple[Chain, ...]) -> bytes:
    """Return the text of a file; read back, it gives the same names but for their string types.

    Raises:
        ParseError: A name is not well-formed, or there is no chain.
    """
    if not chains or not all(chains):
        raise ParseError(f"{_WHAT}: a chain without names", what=_WHAT)
    texts = ["".join(f"{names.oneline(name_der)}\n" for pair in chain for name_der in pair) for chain in chains]
    return f"{_DIVIDER}\n".join(texts).encode("utf-8")


def _name(text: str, path: str, number: int) -> bytes:
    try:
        found = names.parse_oneline(text)
        names.canonical(found)
    except ParseError as error:
        raise ParseError(f"{path}:{number}: {error.message}", what=_WHAT, hint=error.hint) from error
    if not names.rdns(found):
        raise ParseError(f"{path}:{number}: an empty name", what=_WHAT)
    return found


def _pair(found: list[bytes], path: str, number: int) -> Chain:
    if not found or len(found) % 2:
        raise ParseError(
            f"{path}:{number}: {'a subject without its issuer' if found else 'no names'}",
            what=_WHAT,
            hint="one line for the subject of the server's certificate, the next for its issuer",
        )
    return tuple(NamePair(found[at], found[at + 1]) for at in range(0, len(found), 2))
