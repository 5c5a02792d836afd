"""What the commands that make proxies share: the credential to sign with, and the check of what was made.

    credential = load_signer(arguments.cert, arguments.key, locations, from_stdin=False, silent=False, debug=False)
    peer = verify_made(make_proxy(credential, options, now=now), anchors, now)

Everything that can be refused without the pass phrase is refused before asking for it. Writes no file.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.run import printable
from gsi.errors import ConfigError, CredentialError, CredentialProblem, VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.secret import Passphrase
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["MAX_POLICY_BYTES", "check_out", "introduce", "load_signer", "read_policy", "verify_made"]

MAX_POLICY_BYTES: Final = 64 << 10
"""A policy travels in every handshake; receivers bound a certificate at some hundred kilobytes."""


def read_policy(path: str | None) -> bytes | None:
    """Return the policy's bytes exactly as they stand in the file; None without a path.

    Raises:
        GridError: The file cannot be read, is empty (that would allow everything to some readers), or is too long.
    """
    if path is None:
        return None
    from gsi.system.files import read_public

    policy = read_public(path, max_bytes=MAX_POLICY_BYTES)
    if not policy:
        raise ConfigError("the policy is empty", path=path, hint="leave out -policy for a proxy without restriction")
    return policy


def check_out(path: str, *, option: str = "-out") -> None:
    """Check that the directory of what will be written is there.

    Args:
        path: The file.
        option: Says where it is written.

    Raises:
        ConfigError: It is not.
    """
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise ConfigError(f"cannot write {path}: {directory} is not a directory", hint=f"make it, or see {option}")


def load_signer(
    cert: str | None,
    key: str | None,
    locations: Locations,
    *,
    from_stdin: bool,
    silent: bool,
    debug: bool,
) -> Credential:
    """Return the credential to sign with, having shown whose it is before asking for its pass phrase.

    Args:
        cert: The file that `-cert` names.
        key: The file that `-key` names.
        locations: Where it is otherwise.
        from_stdin: Read the pass phrase from standard input.
        silent: Do not say on standard output whose it is.
        debug: Say on standard error which files were chosen.

    Raises:
        GridError: There is none, it cannot be read or opened, or it cannot sign proxies now.
    """
    from gsi.cli.prompt import ask_passphrase
    from gsi.system.credential_files import is_pkcs12_path, load_user_credential

    def ask() -> Passphrase:
        prompt = "Enter GRID pass phrase:" if silent else "Enter GRID pass phrase for this identity:"
        return ask_passphrase(prompt, from_stdin=from_stdin)

    certificate_path, key_path = _choose_files(cert, key, locations)
    if debug:
        sys.stderr.write(f"\nUser Cert File: {printable(certificate_path)}\nUser Key File: {printable(key_path)}\n")
    if is_pkcs12_path(certificate_path):
        credential = load_user_credential(certificate_path, None, ask)
        introduce(credential.certificates, certificate_path, silent=silent)
        return credential

    from gsi.certificate import load_certificates
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.system.files import read_public

    pem = read_public(certificate_path, max_bytes=MAX_CREDENTIAL_BYTES)
    introduce(load_certificates(pem, what=certificate_path), certificate_path, silent=silent)
    return load_user_credential(certificate_path, key_path, ask)


def _choose_files(cert: str | None, key: str | None, locations: Locations) -> tuple[str, str]:
    """Return (certificate, key): what the options name, the rest from the variables and default places."""
    from gsi.system.credential_files import is_pkcs12_path

    if cert is not None and is_pkcs12_path(cert):
        return cert, cert
    if cert is None and key is None:
        return locations.find_user_credential()
    default_certificate, default_key = next(iter(locations.user_credentials), ("", ""))
    return cert or default_certificate, key or default_key


def introduce(certificates: Sequence[Certificate], path: str, *, silent: bool) -> None:
    """Say for whom the proxy will stand, and refuse a certificate that cannot sign now.

    Raises:
        CredentialError: MISSING, CANNOT_SIGN, EXPIRED or NOT_YET_VALID, naming the file.
    """
    from gsi.lifetime import asctime
    from gsi.proxy.chain import ProxyChain
    from gsi.system import clock

    if not certificates:
        raise CredentialError(
            f"{path}: there is no certificate in it",
            problem=CredentialProblem.MISSING,
            path=path,
            hint="name another file",
        )
    try:
        chain = ProxyChain.split(certificates)
    except VerificationError as error:
        raise CredentialError(
            f"{path}: cannot sign a proxy: {error.message}",
            problem=CredentialProblem.CANNOT_SIGN,
            path=path,
            hint=error.hint or "sign with the user's own certificate; -cert and -key name it",
        ) from error
    if not silent:
        sys.stdout.write(f"Your identity: {chain.identity_text}\n")
        sys.stdout.flush()
    now = clock.now()
    own = (*chain.proxies, chain.eec)
    not_after = min(certificate.not_after for certificate in own)
    if not_after <= now:
        raise CredentialError(
            f"Your certificate has expired: {asctime(not_after)} ({path})",
            problem=CredentialProblem.EXPIRED,
            path=path,
            hint="ask your CA to renew it, or name another one with -cert and -key",
        )
    not_before = max(certificate.not_before for certificate in own)
    if not_before > now:
        raise CredentialError(
            f"Your certificate is not valid before {asctime(not_before)} ({path})",
            problem=CredentialProblem.NOT_YET_VALID,
            path=path,
            hint="check this machine's clock",
        )


def verify_made(proxy: Credential, anchors: TrustAnchors, now: datetime) -> VerifiedPeer:
    """Check a proxy of one's own up to a trusted CA, for any purpose, as the C tools do.

    The policy of a restricted proxy is the reader's business; here it only must not stop the check. So is its form.

    Raises:
        VerificationError: It would be refused.
    """
    from gsi.proxy.chain import ProxyChain
    from gsi.proxy.kinds import ProxyFormat
    from gsi.trust.options import Purpose, ValidationOptions
    from gsi.trust.verify import verify_chain

    chain = ProxyChain.split(proxy.certificates)
    options = ValidationOptions(
        purpose=Purpose.ANY,
        accept_gt3=chain.format is ProxyFormat.GT3,
        accept_gt2=chain.format is ProxyFormat.GT2,
        handlers={info.language: lambda _policy: frozenset() for info in chain.restrictions},
    )
    return verify_chain(proxy.certificates, anchors, now=now, options=options)
