"""The engine for web services: middleware for WSGI and ASGI, a Flask decorator, an endpoint for front ends.

    app.wsgi_app = AuthorizationMiddleware(app.wsgi_app, open_gate("web"))      # every request is asked about

| chains | chain_headers (texts of certificates), peer (from TLS or a trusted front end, and from nowhere else) |
| judging | mapping (method and path as action and resource), gate (chain, engine, what the client is told) |
| doors | wsgi, asgi, flask, subrequest (for nginx `auth_request`) |
| processes | gunicorn (its TLS context, the endpoint's server), config (the endpoint's file) |

`docs/howto/authz-web.md` shows each of them.
"""

from __future__ import annotations

__all__: list[str] = []
