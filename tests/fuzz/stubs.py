"""Small fixed values around which harnesses put what they try."""

from __future__ import annotations

from functools import cache
from typing import Final

from gsi import names
from gsi.certificate import Certificate, Extension
from gsi.trust.hashes import subject_hash

__all__ = ["SUBJECT_ALT_NAME", "SUBJECT_DER", "ca_stem", "certificate_with"]

SUBJECT_DER: Final = names.parse_oneline("/O=Grid/CN=www.example.org/emailAddress=alice@example.org")
SUBJECT_ALT_NAME: Final = b"\x30\x2d\x82\x0fwww.example.org\x87\x04\x7f\x00\x00\x01\x86\x14http://example.org/a"


def certificate_with(*extensions: Extension) -> Certificate:
    """A certificate that has these extensions and nothing else; enough for whoever asks only about them."""
    certificate = Certificate.__new__(Certificate)
    object.__setattr__(certificate, "extensions", extensions)
    object.__setattr__(certificate, "version", 3)
    return certificate


@cache
def ca_stem() -> str:
    """The name under which the CA of the seeds is looked for in a trust directory."""
    return subject_hash(names.parse_oneline("/O=Grid/CN=Fuzz CA"))
