"""What the commands print of a dry run."""

from __future__ import annotations

import pytest

from cas.cli.changing import tell_preview
from cas.policy.changes import encode_ref
from tests.harness.cas import FTP, READ, object_ref

LAST = "Nothing was changed. To do exactly this: -revision 7\n"
PART = "More rights are touched than were looked at; change less at a time to see them all.\n"


def told(capsys: pytest.CaptureFixture[str], *differences: dict[str, object], complete: bool = True) -> str:
    tell_preview({"revision": 7, "differences": list(differences), "complete": complete})
    return capsys.readouterr().out


def difference(**more: object) -> dict[str, object]:
    names = {"action": encode_ref(READ), "on": encode_ref(object_ref("ftp://h/d/*"))}
    feeds: dict[str, object] = {"feeds_gain": [], "feeds_lose": []}
    return {**names, **feeds, "gains": [], "loses": [], "before": 1, "after": 2, **more}


def test_nobody_is_said_when_all_was_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys) == f"Nobody would gain or lose a right.\n{LAST}"
    assert told(capsys, complete=False) == f"No difference was found in what was looked at.\n{PART}{LAST}"


def test_who_gains_what_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    right = f"file/read on object {FTP}|ftp://h/d/*"
    assert told(capsys, difference(gains=["alice"])) == f"{right}: 1 -> 2\n  gains: alice\n{LAST}"
    limited = difference(loses=["alice", "bob"], before=2, after=0, when="with limited proxies")
    assert told(capsys, limited, complete=False) == (
        f"{right}, with limited proxies: 2 -> 0\n  loses: alice, bob\n{PART}{LAST}"
    )
    many = difference(before=30000, after=30000, when="")
    assert told(capsys, many) == f"{right}: 30000 -> 30000\n  too many to compare them by name\n{LAST}"


def test_attributes_and_fqans(capsys: pytest.CaptureFixture[str]) -> None:
    right = f"file/read on object {FTP}|ftp://h/d/*"
    fed = difference(gains=["alice"], feeds_gain=[["voms", "/climate"]], feeds_lose=[["ldap", "night shift"]])
    assert told(capsys, fed) == (
        f"{right}: 1 -> 2\n  gains: alice, whoever proves voms /climate\n"
        f"  loses: whoever proves ldap night shift\n{LAST}"
    )
    fqan = {key: value for key, value in difference(gains=["bob"]).items() if key not in {"action", "on"}}
    assert told(capsys, {**fqan, "fqan": "/climate/prod"}) == f"FQAN /climate/prod: 1 -> 2\n  gains: bob\n{LAST}"
