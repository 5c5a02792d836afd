"""The client's side of one exchange, sans-IO: one AP-REQ, one request, one reply; finds and sends nothing.

    session = ClientSession(initiation.ap_req, initiation.session_key)
    datagram = session.ask(csr_plus(request_der))         # or rsa_key(spki_der), or session.probe()
    chain = session.receive(reply)

A reply is believed by its message authentication code alone, in either dialect (docs/wire/kx509.md). An error without
one says nothing for certain: whoever gets it may ask elsewhere, and shows it for what it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gsi import der, keys
from gsi.errors import LocalProtocolError, RemoteProtocolError
from kca.protocol.codec import (
    check_response_mac,
    clean_text,
    encode_csr_plus,
    encode_request,
    parse_certificates,
    parse_response,
    request_mac,
)
from kca.protocol.messages import (
    HEIMDAL_BASE,
    HEIMDAL_POLICY,
    KRB_AP_ERR_REPEAT,
    CSRPlus,
    ErrorCode,
    RefusedByKCAError,
    Request,
    Response,
)

if TYPE_CHECKING:
    from gsi.certificate import Certificate
    from gsi.secret import Passphrase

__all__ = ["ClientSession", "csr_plus", "rsa_key"]

_CLOCK: Final = "compare this machine's clock with the service's"
_OLD_KEY: Final = (
    "the service's key may be newer than the ticket, so get a fresh one: kinit; or it is not the one meant"
)
_HINTS: Final = {
    ErrorCode.CLIENT_BAD: "the service will not do this for you; ask its administrator",
    ErrorCode.CLIENT_FIX: "change what it says, and try again",
    ErrorCode.CLIENT_TEMPORARY: "the ticket is not taken: get a fresh one, mind whom it is for, and compare the clocks",
    ErrorCode.SERVER_BAD: "only the service's administrator can help",
    ErrorCode.SERVER_TEMPORARY: "try again in a moment",
    HEIMDAL_POLICY: "the service's policy is against it; ask its administrator",
    HEIMDAL_BASE + 24: "the ticket and the request do not belong together; try again",
    HEIMDAL_BASE + 37: _CLOCK,
}
_KERBEROS_HINTS: Final = {
    32: "get a fresh ticket: kinit",  # KRB_AP_ERR_TKT_EXPIRED
    33: "the ticket begins later; or compare this machine's clock with the service's",  # KRB_AP_ERR_TKT_NYV
    KRB_AP_ERR_REPEAT: "the service had this very request from another address of this machine; ask again",
    37: _CLOCK,  # KRB_AP_ERR_SKEW
    38: "the ticket is for other addresses than the one you come from: kinit -A",  # KRB_AP_ERR_BADADDR
    44: _OLD_KEY,  # KRB_AP_ERR_BADKEYVER
    45: _OLD_KEY,  # KRB_AP_ERR_NOKEY
}
_KERBEROS_ERROR: Final = re.compile(r" \(Kerberos error (\d{1,3})\)$")
"""What our service puts at the end of its text where the AP-REQ is not good."""


def csr_plus(request_der: bytes) -> bytes:
    """Return a PKCS#10 request in the form for `ClientSession.ask`."""
    return encode_csr_plus(CSRPlus(request_der))


def rsa_key(spki_der: bytes) -> bytes:
    """Return an RSA key in the old form for `ClientSession.ask`: RSAPublicKey, without its algorithm.

    Raises:
        LocalProtocolError: It is no RSA key; only a PKCS#10 can carry others.
    """
    if not keys.is_rsa(keys.parse_public_key(spki_der)):
        raise LocalProtocolError("only RSA keys can be sent without a certificate request")
    reader = der.parse_one(spki_der, what="public key")
    reader.take_raw(der.SEQUENCE)
    return reader.bit_string()


class ClientSession:
    """One request with its reply."""

    __slots__ = ("_ap_req", "_key", "_sent")

    def __init__(self, ap_req: bytes, session_key: Passphrase) -> None:
        """Begin with a fresh AP-REQ.

        Args:
            ap_req: The AP-REQ for the service.
            session_key: The key of its ticket.
        """
        self._ap_req = ap_req
        self._key = session_key
        self._sent: Request | None = None

    def ask(self, key: bytes, *, client_version: str | None = None) -> bytes:
        """Return the message that asks for a certificate; the same bytes may be sent again.

        Args:
            key: From `csr_plus` or `rsa_key`.
            client_version: What to call ourselves; services other than Michigan's may not know this field.
        """
        if not key:
            raise LocalProtocolError("no key to ask for a certificate with")
        return self._send(Request(self._ap_req, b"", key, client_version))

    def probe(self) -> bytes:
        """Return the message that asks whether a certificate would be issued; Heimdal 8 and we know it."""
        return self._send(Request(self._ap_req, b"", b""))

    def receive(self, data: bytes) -> tuple[Certificate, ...]:
        """Return the certificates of a proved reply, leaf first; none for a probe.

        Raises:
            RefusedByKCAError: The service said no; or somebody did, see `authenticated`.
            MACError: The reply was altered, or is not the service's.
            VersionError: It is of another version.
            ParseError: It is no reply.
            RemoteProtocolError: It is not a reply to what was asked.
        """
        if self._sent is None:
            raise LocalProtocolError("nothing was asked yet")
        response = parse_response(data)
        if response.mac is None:
            raise _refused(response, authenticated=False)
        check_response_mac(response, self._key)
        if response.error_code:
            raise _refused(response, authenticated=True)
        if not self._sent.pk_key:
            return ()
        if response.certificate is None:
            raise RemoteProtocolError("the service answered yes, but sent no certificate")
        return parse_certificates(response.certificate)

    def _send(self, request: Request) -> bytes:
        if self._sent is not None:
            raise LocalProtocolError("an AP-REQ serves one request only")
        self._sent = request._replace(pk_hash=request_mac(request, self._key))
        return encode_request(self._sent)


def _refused(response: Response, *, authenticated: bool) -> RefusedByKCAError:
    code = response.error_code
    said = clean_text(response.text or "") or "no reason given"
    who = "the service" if authenticated else "an answer that proves nothing"
    found = _KERBEROS_ERROR.search(said)
    number = None if found is None else int(found[1])
    hint = _HINTS.get(code) if number is None else _KERBEROS_HINTS.get(number, _HINTS.get(code))
    if code == HEIMDAL_POLICY and "ticket has expired" in said:
        hint = "get a new one: kinit"
    elif code == HEIMDAL_POLICY and ("was got by" in said or "proved who it is" in said) and "initial" not in said:
        hint = "get a new ticket with the password: kinit"
    elif code == HEIMDAL_POLICY and "initial" in said:
        hint = "get a ticket for this service with the password: kinit -S kca_service/HOST"
    return RefusedByKCAError(
        f"{who} says: {said} (error {code})",
        code=code,
        authenticated=authenticated,
        kerberos_error=number,
        hint=hint,
    )
