"""What the service hands on between the steps of a request: who asks, and what was permitted; no decisions.

A grant is made only by `myproxy.service` after authentication and policy have agreed, and the second step of an
exchange takes nothing else: without the value there is no way to delegate or to store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from myproxy.policy import ANONYMOUS, AccessPolicy, Client

if TYPE_CHECKING:
    from gsi.credential import Credential
    from gsi.delegation import DelegationRequester
    from gsi.system.audit import Posted
    from gsi.trust.verify import VerifiedPeer
    from myproxy.policy import Permission
    from myproxy.protocol.messages import Request
    from myproxy.repository.base import StoredCredential

__all__ = ["Caller", "IssuanceGrant", "RetrievalGrant", "Settings", "StorageGrant", "UploadGrant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the administrator decides about the service.

    Attributes:
        access: Who may do what.
        max_proxy_lifetime: Longest proxy that is delegated; zero = no limit of the server.
        max_credential_lifetime: Longest credential that is stored; zero = no limit.
        max_credentials: How many one owner may store, under all user names; zero = no limit.
        min_key_bits: Smallest RSA key that a proxy is delegated to.
        limited_stays_limited: Whether a limited client gets limited proxies only.
        check_multiple_credentials: Whether a request without a credential name is tried on the user's named ones too.
    """

    access: AccessPolicy
    max_proxy_lifetime: timedelta = timedelta(0)
    max_credential_lifetime: timedelta = timedelta(0)
    max_credentials: int = 0
    min_key_bits: int = 2048
    limited_stays_limited: bool = True
    check_multiple_credentials: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        peer: The verified chain, or None for a client without a certificate.
        address: Its network address, for the audit.
        request_id: The id in every log line and error of this request.
        fqans: The VOMS attributes that it has proved.
        front_end: The name of the front end that asks for this client and says where it is; empty for none.
        client: The facts that rules may speak of.
    """

    peer: VerifiedPeer | None
    address: str
    request_id: str
    fqans: tuple[str, ...] = ()
    front_end: str = ""
    client: Client = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = ANONYMOUS if self.peer is None else self.peer.identity
        object.__setattr__(self, "client", Client(name, self.fqans))

    @property
    def is_limited(self) -> bool:
        """Whether the client showed a limited proxy."""
        return self.peer is not None and self.peer.limited


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalGrant:
    """The right to one proxy of one credential, or to the credential itself.

    Attributes:
        caller: Who receives it.
        request: What was asked for.
        permission: The rules that said yes.
        credential: The stored credential with its key in clear.
        stored: The same at rest.
        lifetime: Longest lifetime of the proxy; zero = as long as the credential.
        limited: Whether the proxy must be limited.
        recorded: The record of this yes; settled before anything leaves.
    """

    caller: Caller
    request: Request
    permission: Permission
    credential: Credential = field(repr=False)
    stored: StoredCredential = field(repr=False)
    lifetime: timedelta
    limited: bool
    recorded: Posted = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceGrant:
    """The right to one certificate of this server's authority.

    Attributes:
        caller: Who receives it.
        request: What was asked for.
        permission: The rules that said yes.
        subject_der: The subject that the certificate will have; None where the authority's program chooses it.
        renews: The identity that the client has proved and that the certificate must have, or None.
        is_trusted: Whether nothing was proved, so that the certificate must be somebody else's than the client's.
        recorded: The record of this yes; settled before anything leaves.
    """

    caller: Caller
    request: Request
    permission: Permission
    recorded: Posted = field(repr=False)
    subject_der: bytes | None
    renews: str | None = None
    is_trusted: bool = False

    @property
    def requester(self) -> str:
        """Who asked, for the authority's records."""
        return f"{self.request.username} from {self.caller.address}, request {self.caller.request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageGrant:
    """The right to store one delegated credential under the address in the request.

    Attributes:
        caller: Who will own it.
        request: What was asked for.
        permission: The rules that said yes.
        requester: Holds the new key and the certificate request to send.
    """

    caller: Caller
    request: Request
    permission: Permission
    requester: DelegationRequester = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGrant:
    """The right to store one credential of the client's own making under the address in the request.

    Attributes:
        caller: Who will own it.
        request: What was asked for.
        permission: The rules that said yes.
    """

    caller: Caller
    request: Request
    permission: Permission
