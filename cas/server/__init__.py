"""The server over HTTPS, and what starts it together with the listener of VOMS.

The rooms: `app` is the Flask application, `operations` what it can be asked, `tokens` the OAuth endpoint, `openapi` the
document that describes it all, `rates` who asks too often; `gunicorn` serves it, `supervise` starts everything.
"""

from __future__ import annotations
