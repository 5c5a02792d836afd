"""A policy decision point: XACML requests answered by an engine; opens no socket.

    body = answer_request(body, engine, now=now)             # in a handler of POST, for MEDIA_TYPE

Who may ask is the caller's business: whoever sends a request is believed in what it says of its subject, so ask for a
client certificate and look at its name first. With `verify`, a chain must come along and is judged here: identity,
proxies and end are then what it proves, and of what the sender says only groups, FQANs, claims and assertions count.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsi.authz.principals import dn_key
from gsi.authz.xacml.attributes import Told, request_of
from gsi.authz.xacml.document import Verdict, XacmlResult, encode_response, parse_request
from gsi.authz.xacml.identifiers import STATUS_FAILED, STATUS_SYNTAX
from gsi.authz.xacml.obligations import result_of
from gsi.errors import GridError, ParseError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.authz.decision import Subject
    from gsi.authz.engine import Engine
    from gsi.trust.peer import VerifiedPeer

__all__ = ["answer_request"]

_LOG: Final = logging.getLogger("gsi.authz.xacml")


def answer_request(
    data: bytes,
    engine: Engine,
    *,
    now: datetime,
    verify: Callable[[tuple[bytes, ...]], VerifiedPeer] | None = None,
) -> bytes:
    """Return the response to a request. Never raises: whatever goes wrong is an Indeterminate.

    Args:
        data: The request's JSON.
        engine: Decides.
        now: The time (aware UTC).
        verify: Judges a chain in DER, leaf first, or raises VerificationError; None to believe the sender.
    """
    try:
        told = request_of(parse_request(data), now=now)
        request = told.request
        if verify is not None:
            request = replace(request, subject=_prove(told, verify))
        return encode_response(result_of(engine.authorize(request)))
    except VerificationError as error:
        _LOG.info("the chain in a request is refused: %s", error)
        return _failed(STATUS_FAILED, f"the certificate chain is refused: {error.reason.value}")
    except ParseError as error:
        return _failed(STATUS_SYNTAX, error.message)
    except GridError as error:
        return _failed(STATUS_FAILED, error.message)
    except Exception:  # noqa: BLE001  logged with its traceback; a defect must not permit, nor end the service
        _LOG.exception("a request could not be answered")
        return _failed(STATUS_FAILED, "internal error")


def _failed(status: str, message: str) -> bytes:
    return encode_response(XacmlResult(Verdict.INDETERMINATE, status, message))


def _prove(told: Told, verify: Callable[[tuple[bytes, ...]], VerifiedPeer]) -> Subject:
    from gsi.authz.decision import Subject

    said = told.request.subject
    if not told.chain:
        raise ParseError("XACML: there is no certificate chain, and no name is believed without", what="XACML")
    proven = Subject.from_peer(verify(tuple(each.der for each in told.chain)))
    if said.identity and (not said.identity_der or dn_key(said.identity_der) != dn_key(proven.identity_der)):
        raise ParseError("XACML: the certificate chain is somebody else's", what="XACML")
    return replace(proven, fqans=said.fqans, groups=said.groups, claims=said.claims, assertions=said.assertions)
