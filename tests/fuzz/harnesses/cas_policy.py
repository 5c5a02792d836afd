"""cas.policy: request and bootstrap files, files of users, an exported policy, nicknames and names of objects."""

from __future__ import annotations

from typing import Final

from cas.assertion.value import Comparison
from cas.policy.bootstrap import bootstrap_changes, parse_bootstrap
from cas.policy.changes import decode_change, encode_change
from cas.policy.matching import covering_names, covers, normal_object
from cas.policy.nicknames import check_nickname, skeleton
from cas.policy.request import encode_request, parse_request
from cas.policy.userfile import parse_users
from cas.repository.transfer import parse_export
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _request(data: bytes) -> None:
    found = parse_request(data)
    assert parse_request(encode_request(found)) == found


def _bootstrap(data: bytes) -> None:
    for change in bootstrap_changes(parse_bootstrap(data)):
        assert decode_change(encode_change(change)) == change


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines(keepends=True)


def _export(data: bytes) -> None:
    for change in parse_export(_lines(data)):
        assert decode_change(encode_change(change)) == change


def _names(data: bytes) -> None:
    name = data.decode("utf-8", "replace")
    skeleton(name)
    check_nickname(name, "user")


def _objects(data: bytes) -> None:
    name = normal_object(data.decode("utf-8", "replace"), "", Comparison.WILDCARD)
    assert normal_object(name, "", Comparison.WILDCARD) == name
    assert all(covers(around, name, Comparison.WILDCARD) for around in covering_names(name, Comparison.WILDCARD))


TARGET: Final[Target] = each(
    _request, _bootstrap, lambda data: list(parse_users(_lines(data))), _export, _names, _objects
)
"""Every text of a community's policy."""
