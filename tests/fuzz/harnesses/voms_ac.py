"""gsi.voms: attribute certificates, alone and in a proxy's extension, and their extensions; written back the same."""

from __future__ import annotations

import contextlib
from typing import Final

from gsi.errors import GridError
from gsi.voms import ac_extensions
from gsi.voms.attribute_cert import (
    AttributeCertificate,
    encode_sequence_of,
    parse_sequence_of,
    split_authority,
)
from gsi.voms.verify import check_fqan
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_READERS: Final = (
    ac_extensions.parse_certificates,
    ac_extensions.parse_targets,
    ac_extensions.parse_tags,
    ac_extensions.parse_authority_key_identifier,
)


def _parse(data: bytes) -> None:
    found = AttributeCertificate.parse(data)
    assert found.info.encode() == found.info_der
    again = AttributeCertificate.assemble(found.info_der, found.signature_algorithm_der, found.signature)
    assert again.der == data
    for extension in found.info.extensions:
        for read in _READERS:
            with contextlib.suppress(GridError):
                read(extension.value)
    for fqan in found.info.fqans:
        with contextlib.suppress(GridError):
            check_fqan(fqan, "testvo")
    split_authority(found.info.authority)


def _sequence(data: bytes) -> None:
    assert encode_sequence_of(parse_sequence_of(data)) == data


def _tags(data: bytes) -> None:
    assert ac_extensions.tags_extension(ac_extensions.parse_tags(data)).value == data


def _targets(data: bytes) -> None:
    assert ac_extensions.targets_extension(ac_extensions.parse_targets(data)).value == data


TARGET: Final[Target] = each(_parse, _sequence, _tags, _targets, *_READERS)
