"""Credentials in files: loading and saving proxies, user and host credentials; neither parses nor checks modes itself.

credential = load_user_credential(certificate_path, key_path, passphrase=ask)
save_proxy(locations.proxy, make_proxy(credential, options, now=now(), key=key))
credential = load_proxy(locations.proxy)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.credential import MAX_CREDENTIAL_BYTES, parse_credential, parse_pkcs12
from gsi.errors import CredentialError, CredentialProblem
from gsi.system.files import read_private, read_public, write_private

if TYPE_CHECKING:
    from gsi.credential import Credential, PassphraseSource

_MISSING_PROXY: Final = "make a proxy with grid-proxy-init, or name the file with X509_USER_PROXY"

__all__ = ["is_pkcs12_path", "load_proxy", "load_user_credential", "save_proxy"]


def is_pkcs12_path(path: str) -> bool:
    """Tell whether a file is taken for PKCS#12: by its name, as the C tools do, anything with `.p12` in it."""
    return ".p12" in path


def load_proxy(path: str, *, passphrase: PassphraseSource = None) -> Credential:
    """Return the credential in a proxy file, or in any file that holds certificate, key and chain.

    Args:
        path: The file; it must belong to the effective user with a mode of at most 0600.
        passphrase: Opens a locked key; proxy files have none.

    Raises:
        CredentialError: As `gsi.system.files.read_private` and `gsi.credential.parse_credential`.
        ParseError: The content is malformed.
    """
    try:
        data = read_private(path, max_bytes=MAX_CREDENTIAL_BYTES)
    except CredentialError as error:
        if error.problem is not CredentialProblem.MISSING or error.hint:
            raise
        raise CredentialError(error.message, problem=error.problem, path=path, hint=_MISSING_PROXY) from error
    return parse_credential(data, passphrase=passphrase, source=path)


def save_proxy(path: str, credential: Credential, *, traditional: bool = False) -> None:
    """Write a credential with its key open: mode 0600, in one step; the old file stays if that fails.

    Args:
        path: The file.
        credential: What is written: certificate, key, chain, other blocks.
        traditional: An RSA key in PKCS#1 form, for old readers.

    Raises:
        CredentialError: UNWRITABLE.
    """
    write_private(path, credential.encode(traditional=traditional))


def load_user_credential(
    certificate_path: str, key_path: str | None = None, passphrase: PassphraseSource = None
) -> Credential:
    """Return the credential of a user, host or service.

    Args:
        certificate_path: The certificate, with chain if any: mode at most 0644. A name with `.p12` in it means PKCS#12.
        key_path: The key: mode at most 0600. None, or the same name, when it is in the certificate's file.
        passphrase: Opens the key; a function is called only when the key is locked.

    Raises:
        CredentialError: As `gsi.system.files.read_private` and `gsi.credential.parse_credential`.
        ParseError: The content is malformed.
    """
    if is_pkcs12_path(certificate_path):
        data = read_private(certificate_path, max_bytes=MAX_CREDENTIAL_BYTES)
        return parse_pkcs12(data, passphrase, source=certificate_path)
    if key_path is None or key_path == certificate_path:
        return load_proxy(certificate_path, passphrase=passphrase)
    pem = read_public(certificate_path, max_bytes=MAX_CREDENTIAL_BYTES, check_writers=True)
    key_pem = read_private(key_path, max_bytes=MAX_CREDENTIAL_BYTES)
    return parse_credential(pem, passphrase=passphrase, key_pem=key_pem, source=certificate_path, key_source=key_path)
