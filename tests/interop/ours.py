"""Proxies made by our library from the test authority's credentials, for the interop suites."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi.credential import parse_credential
from gsi.keys import KeyType
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyKind

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.credential import Credential
    from tests.harness.ca import Issued

__all__ = ["FULL", "INDEPENDENT", "KINDS", "LIMITED", "RESTRICTED", "credential_of", "proxy_of", "write"]

FULL: Final = ProxyOptions(kind=ProxyKind.FULL)
LIMITED: Final = ProxyOptions(kind=ProxyKind.LIMITED)
INDEPENDENT: Final = ProxyOptions(kind=ProxyKind.INDEPENDENT)
RESTRICTED: Final = ProxyOptions(kind=ProxyKind.RESTRICTED, language="1.2.3.4", policy=b"a,b: \x00 read\n")
KINDS: Final = {"full": FULL, "limited": LIMITED, "independent": INDEPENDENT, "restricted": RESTRICTED}


def credential_of(issued: Issued) -> Credential:
    """The credential as our library reads it."""
    return parse_credential(issued.bundle(), passphrase=None, source="test")


def proxy_of(signer: Issued | Credential, options: ProxyOptions = FULL, key_type: str = "rsa") -> Credential:
    """A proxy made by our library."""
    from tests.harness.ca import Issued

    credential = credential_of(signer) if isinstance(signer, Issued) else signer
    return make_proxy(credential, options._replace(key_type=KeyType(key_type)), now=datetime.now(UTC))


def write(path: Path, credential: Credential) -> Path:
    """Write a proxy file, mode 0600."""
    path.touch(mode=0o600)
    path.write_bytes(credential.encode())
    return path
