"""Extensions that the site's file or program adds, to certificates of the authority and to delegated proxies.

    profile = ProgramExtensions("/usr/libexec/extapp")("alice")                        # certificate_extapp
    further = ProgramProxyExtensions("/usr/libexec/proxy-extapp")("alice", chain)      # proxy_extapp

A file is read once, at the start, by `myproxy.wiring.extensions`. What a program answers is read as strictly, and
whatever is wrong with it refuses the request: the C server logs that and delegates without the extensions, which may
be what restricts the proxy.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Protocol

from gsi.ca.extprofile import EndEntityProfile, end_entity_profile, proxy_extensions
from gsi.ca.extsection import ExtensionSection, parse_extension_section
from gsi.ca.program import run_program
from gsi.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate, Extension

__all__ = ["ExtensionSource", "ProgramExtensions", "ProgramProxyExtensions", "ProxyExtensionSource"]


class ExtensionSource(Protocol):
    """Knows what the certificate of a user carries. Called in threads, by several at once."""

    def __call__(self, username: str) -> EndEntityProfile:
        """Return it; raises GridError when it cannot be found out."""
        ...


class ProxyExtensionSource(Protocol):
    """Knows what proxies carry beside what they have by themselves. Called in threads, by several at once."""

    def __call__(self, username: str, chain: Sequence[Certificate]) -> tuple[Extension, ...]:
        """Return it for a proxy of a stored credential; raises GridError when it cannot be found out."""
        ...


class ProgramExtensions:
    """`certificate_extapp`: the user name as argument; an extension section on standard output, status 0."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, username: str) -> EndEntityProfile:
        """See `ExtensionSource`."""
        return end_entity_profile(_run(self._program, username), path=self._program)


class ProgramProxyExtensions:
    """`proxy_extapp`: the user name and a file as arguments; an extension section on standard output, status 0.

    The file holds the stored certificates, leaf first, and not the key, which the C server shows to the program: with
    mode 0600, and gone when the program has ended.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, username: str, chain: Sequence[Certificate]) -> tuple[Extension, ...]:
        """See `ProxyExtensionSource`."""
        try:
            with tempfile.NamedTemporaryFile(prefix="myproxy-", suffix=".pem") as file:  # 0600
                os.fchmod(file.fileno(), 0o600)
                file.write(b"".join(certificate.pem() for certificate in chain))
                file.flush()
                section = _run(self._program, username, file.name)
        except OSError as error:
            raise StorageError(f"the certificates for {self._program} cannot be written: {error.strerror}") from error
        return proxy_extensions(section, path=self._program)


def _run(program: str, *arguments: str) -> ExtensionSection:
    answer = run_program((program, *arguments), stdin=b"")
    try:
        return parse_extension_section(answer.decode("utf-8"), path=program)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{program}: its output is no text") from error
