"""Capabilities: what the community grants a user, as a value and in its signed forms, all made from that one value.

The rooms: `value` is what is granted; `signing` is a key that signs, `keys` which one does now; `saml` (written by
`canonical`), `attribute_cert` and `token` (with `scopes`) are the forms, `embed` puts them into a proxy; `jwks` and
`revocations` are what is published beside them; `text` is the oldest form, unsigned. This front door has no code.
"""

from __future__ import annotations
