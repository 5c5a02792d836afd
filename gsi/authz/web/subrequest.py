"""The endpoint for front ends that ask before they serve: nginx `auth_request`; a WSGI application without content.

    application = SubrequestApplication(gate, front_end)

The front end asks with an empty request of its own, in whose headers stands what the client wants:

| header | value |
|---|---|
| `X-Original-Method` | the method |
| `X-Original-URI` | the raw target, as the client sent it (`$request_uri`) |
| the certificate, chain, address and secret headers | as `FrontEnd` names them |

and gets 200, 401 or 403 (anything else would be an error to nginx), never a body, and these headers:

| header | value |
|---|---|
| `X-Authz-Decision` | the id of the decision |
| `X-Authz-Account` | the account that a permit names |
| `X-Authz-Identity` | who asks, ASCII |
| `X-Authz-Reason` | of a refusal: words for the client |

With `only_own_headers`, which is the default, a request with any other header is refused. A front end that passes the
client's headers on would else, with one line forgotten, have the client say which path it wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.web.mapping import split_target
from gsi.authz.web.peer import presented_in_environ
from gsi.authz.web.wsgi import REASONS
from gsi.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from gsi.authz.web.gate import Gate, Outcome
    from gsi.authz.web.peer import FrontEnd

__all__ = ["METHOD_HEADER", "TARGET_HEADER", "SubrequestApplication"]

METHOD_HEADER: Final = "X-Original-Method"
TARGET_HEADER: Final = "X-Original-URI"

_HOP: Final = frozenset({"HTTP_HOST", "HTTP_CONNECTION"})
"""What every HTTP client sends of its own accord."""


class SubrequestApplication:
    """Answers one question per request.

    Args:
        gate: Who judges.
        front_end: Who may ask, and how it says who its client is.
        only_own_headers: Whether any other header than those of the table refuses.
    """

    def __init__(self, gate: Gate, front_end: FrontEnd, *, only_own_headers: bool = True) -> None:
        self._gate = gate
        self._front_end = front_end
        known = {METHOD_HEADER.lower(), TARGET_HEADER.lower(), *front_end.headers, front_end.address_header.lower()}
        self._known = _HOP | {f"HTTP_{name.upper().replace('-', '_')}" for name in known if name}
        self._only_own = only_own_headers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one question."""
        outcome = self._judge(environ)
        status = outcome.status if outcome.status in (200, 401) else 403
        headers = [("Content-Length", "0"), ("Cache-Control", "no-store"), ("X-Authz-Decision", outcome.decision_id)]
        if outcome.subject.identity:
            headers.append(("X-Authz-Identity", _printable(outcome.subject.identity)))
        if outcome.account:
            headers.append(("X-Authz-Account", outcome.account))
        if not outcome.is_permit:
            headers.append(("X-Authz-Reason", _printable(outcome.words)))
            headers += [pair for pair in outcome.headers if pair[0] == "WWW-Authenticate"]
        start_response(f"{status} {REASONS[status]}", headers)
        return []

    def _judge(self, environ: WSGIEnvironment) -> Outcome:
        method, target = (environ.get(f"HTTP_{name}") for name in ("X_ORIGINAL_METHOD", "X_ORIGINAL_URI"))
        address = environ.get("REMOTE_ADDR")
        try:
            foreign = sorted(key for key in environ if key.startswith("HTTP_") and key not in self._known)
            if foreign and self._only_own:
                raise RemoteProtocolError(
                    f"the front end passes headers of its client ({', '.join(foreign[:3])[:200]}); "
                    "for nginx: proxy_pass_request_headers off"
                )
            presented = presented_in_environ(environ, self._front_end)
            if not presented.by_front_end:
                raise RemoteProtocolError("a question that is not the front end's")
            address = presented.address
            if not isinstance(method, str) or not isinstance(target, str):
                raise RemoteProtocolError(f"the front end does not say {METHOD_HEADER} and {TARGET_HEADER}")
            return self._gate.judge(method, split_target(target), presented)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody gets in; the front end's mistakes are told in the log
            return self._gate.refusal(error, method=method, path=target, address=address)


def _printable(text: str) -> str:
    return "".join(one if " " <= one <= "~" else "?" for one in text)
