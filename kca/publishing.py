"""What sites need to trust the authority, and to know its people: trust files and grid-mapfile lines; writes nothing.

    files = trust_files(ca_certificate, realms, crl_urls=config.authority.crl_urls)
    package = CAPackage(ca_certificate, files)                 # gsi.ca.package
    line = gridmap_line("/O=Grid/CN=alice", principal)         # '"/O=Grid/CN=alice" alice'

The authority signs nothing but names that begin with a realm's base, and the files say just that, so that a mistake (or
a thief) at the authority gets nobody else's name accepted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gsi import names
from gsi.authz.decision import Account
from gsi.ca.setup import make_signing_policy
from gsi.errors import ConfigError, ParseError
from gsi.nametext import plain_oneline, quote_gridmap
from gsi.trust.hashes import subject_hash
from gsi.trust.namespaces import parse_namespaces
from gsi.trust.signing_policy import parse_signing_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsi.certificate import Certificate
    from gsi.kerberos.ticket import Principal
    from kca.principal import RealmRules

__all__ = ["gridmap_line", "make_namespaces", "trust_files"]

SUPERUSER: Final = "root"
_SPECIAL: Final = re.compile(r"([][\\^$.|?*+(){}\"-])")


def trust_files(
    certificate: Certificate,
    realms: Mapping[str, RealmRules],
    *,
    crl_urls: Sequence[str] = (),
    crl: bytes | None = None,
) -> dict[str, bytes]:
    """Return the files beside the CA's certificate, by name.

    Args:
        certificate: The CA's certificate.
        realms: What it signs.
        crl_urls: Where its revocation list lies.
        crl: A revocation list to go along, PEM.

    Raises:
        ConfigError: A base cannot stand in the files.
    """
    prefix = subject_hash(certificate.subject_der)
    subject = names.oneline(certificate.subject_der)
    bases = [plain_oneline(names.oneline(rules.base_der)) for rules in realms.values()]
    policy = make_signing_policy(subject, [f"{base}/*" for base in bases])
    namespaces = make_namespaces(subject, bases)
    _check(subject, bases, policy, namespaces)
    files = {f"{prefix}.signing_policy": policy, f"{prefix}.namespaces": namespaces}
    if crl_urls:
        files[f"{prefix}.crl_url"] = "".join(f"{url}\n" for url in crl_urls).encode()
    if crl is not None:
        files[f"{prefix}.r0"] = crl
    return files


def make_namespaces(subject: str, bases: Sequence[str]) -> bytes:
    """Return a `.namespaces` that lets one CA sign what begins with one of these names.

    Args:
        subject: The CA's name in one-line form.
        bases: Names in one-line form.

    Raises:
        ConfigError: A quote in one of them, which the grammar cannot hold.
    """
    for text in (subject, *bases):
        if '"' in text or not text.isprintable():
            raise ConfigError(f"a namespaces file cannot hold {text!r}")
    lines = ["# What this CA may sign. Installed as <hash>.namespaces beside its certificate."]
    lines += [f'TO Issuer "{subject}" PERMIT Subject "{_SPECIAL.sub(_escape, base)}/.*"' for base in bases]
    return "".join(f"{line}\n" for line in lines).encode()


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[1]}"


def _check(subject: str, bases: Sequence[str], policy: bytes, namespaces: bytes) -> None:
    """Read what was written as sites will.

    Raises:
        ConfigError: They would not let through what the CA signs, or more.
    """
    try:
        readers = (parse_signing_policy(policy), parse_namespaces(namespaces))
    except ParseError as error:
        raise ConfigError(f"a base cannot stand in trust files: {error.message}") from error
    for reader in readers:
        for base in bases:
            if not reader.permits(subject, f"{base}/CN=alice") or reader.permits(subject, f"{base}x/CN=alice"):
                raise ConfigError(f"the base {base!r} cannot stand in trust files")


def gridmap_line(subject: str, principal: Principal) -> str:
    """Return the line that maps a subject to the account named like the principal's first component.

    Raises:
        ParseError: No account has such a name, or it is the superuser's; or the principal has an instance.
    """
    if len(principal.components) != 1:
        raise ParseError(f"{principal.text!r} names no account by itself", what="account name")
    account = Account(principal.components[0])
    if account.name == SUPERUSER:
        raise ParseError(
            f"{principal.text!r} would be the superuser, whose line must be written by hand", what="account"
        )
    return f"{quote_gridmap(subject)} {account.name}"
