"""gsi.saml: documents, the shape of their signature, its check, and assertions read as if signed."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from gsi.certificate import Certificate
from gsi.saml.assertion import read_assertion
from gsi.saml.document import parse_document
from gsi.saml.signature import check_signature, find_signature
from tests.fuzz.decoders import SEEDS
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_SIGNER: Final = Certificate.parse((SEEDS / "certificate" / "01").read_bytes())


def _signature(data: bytes) -> None:
    """Check the signature under the certificate that it brings, so that some are good."""
    root = parse_document(data)
    for attribute in ("AssertionID", "ID"):
        if root.get(attribute) is None:
            continue
        found = find_signature(root, attribute)
        signer = next(iter(found.certificates), _SIGNER)
        signed = check_signature(data, found, signer, now=signer.not_before + timedelta(days=1))
        read_assertion(parse_document(signed))


TARGET: Final[Target] = each(lambda data: read_assertion(parse_document(data)), _signature)
