"""What `grid-cert-request` tells people: the text before the request in its file, and what to do with it; no request.

    words = RequestWords(service="user", subject=..., ...)
    words.header(directions)
    words.instructions(directions)

A CA may bring its own text, in a file `directions` with sections between `BEGIN ... TEXT` and `END ... TEXT`. The C
script lets the shell expand it; here only the names below are filled in.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["RequestWords"]

_REFERENCE = re.compile(r"\$(?:\{([A-Z_]+)\}|([A-Z_]+))")


class RequestWords(NamedTuple):
    """What is known about a request that was made."""

    service: str
    """`user`, `host` or the service's name."""
    subject: str
    common_name: str
    certificate: str
    key: str
    request: str
    ca_name: str
    """Empty where the CA's settings do not say."""
    ca_mail: str
    """Where requests are sent; likewise."""

    def header(self, directions: str) -> str:
        """Return the text that stands before the request in its file; programs pass over it."""
        own = self._section(directions, "REQUEST HEADER")
        if own is not None:
            return own
        return (
            f"Certificate request for the {self.service} named\n\n"
            f"    {self.subject}\n\n"
            f"To be sent to {self._receiver()}. Save the certificate that comes back as\n\n"
            f"    {self.certificate}\n\n"
        )

    def instructions(self, directions: str) -> str:
        """Return what is told to whoever has made the request."""
        own = self._section(directions, "USER INSTRUCTIONS" if self.service == "user" else "NONUSER INSTRUCTIONS")
        if own is not None:
            return own
        wrong_name = (
            f'\nIf "{self.common_name}" is not your name, run this again with -force -cn "Your Name".\n'
            if self.service == "user"
            else ""
        )
        by_mail = f"\n    mail {self.ca_mail} < {self.request}\n" if self.ca_mail else ""
        return (
            "A private key and a certificate request were made for\n\n"
            f"    {self.subject}\n\n"
            f"private key: {self.key}\n"
            f"request:     {self.request}\n"
            f"{wrong_name}"
            f"\nSend the request, never the key, to {self._receiver()}.\n"
            f"{by_mail}"
            f"\nSave the certificate that comes back as {self.certificate}.\n"
        )

    def _receiver(self) -> str:
        name = self.ca_name or "the CA"
        return f"{name} <{self.ca_mail}>" if self.ca_mail else name

    def _section(self, directions: str, title: str) -> str | None:
        """Return the CA's own text, filled in; None where it brings none."""
        found = re.search(rf"^.*BEGIN {title} TEXT.*\n((?:.*\n)*?).*END {title} TEXT", directions, re.MULTILINE)
        if found is None:
            return None
        known = {
            "SERVICE": self.service,
            "SUBJECT": self.subject,
            "COMMON_NAME": self.common_name,
            "CERT_FILE": self.certificate,
            "KEY_FILE": self.key,
            "REQUEST_FILE": self.request,
            "GSI_CA_NAME": self.ca_name,
            "GSI_CA_EMAIL_ADDR": self.ca_mail,
        }
        return _REFERENCE.sub(lambda name: known.get(name[1] or name[2], name[0]), found[1])
