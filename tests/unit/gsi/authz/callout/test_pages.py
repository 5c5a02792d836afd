"""The pages about the callout, and the C source, say what the Python code says."""

from __future__ import annotations

import re
from pathlib import Path

from gsi.authz.callout import messages
from gsi.authz.callout.build import CALLOUTS, ConfOptions, render_conf
from gsi.authz.callout.messages import Code, Fact, Verdict
from gsi.authz.rulefile import parse_rules

ROOT = Path(__file__).resolve().parents[5]
WIRE = (ROOT / "docs/wire/authz-callout.md").read_text("utf-8")
HOWTO = (ROOT / "docs/howto/authz-callout.md").read_text("utf-8")
SOURCE = (ROOT / "gsi/authz/callout/native/gsi_authz_callout.c").read_text("utf-8")


def _constants(pattern: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(pattern, SOURCE)}


def test_both_sides_number_alike() -> None:
    assert _constants(r"\bT_([A-Z_]+) = (\d+)") == {tag.name: tag.value for tag in messages._Tag}
    facts = _constants(r"\bF_([A-Z_]+) = (\d+)")
    assert facts == {fact.name: fact.value for fact in Fact}
    kinds = _constants(r"\b(MAP|SERVICE|SESSION|OPERATION|JOB|ANSWER) = (\d+)")
    assert kinds == {kind.name: kind.value for kind in messages._Kind if kind.name != "GATE"}
    assert _constants(r"\b(PERMIT|DENY|FAILURE) = (\d+)") == {each.name: each.value for each in Verdict}
    assert _constants(r"\bCODE_([A-Z_]+) = (\d+)") == {each.name: each.value for each in Code}
    assert f"MAX_ANSWER {messages.MAX_ANSWER_BYTES} " in SOURCE
    assert "MAX_REQUEST (1 << 20)" in SOURCE
    assert messages.MAX_REQUEST_BYTES == 1 << 20


def test_every_tag_is_documented() -> None:
    documented = {
        int(number) for row in re.findall(r"^\| ([\d, ]+) \|.*\|$", WIRE, re.MULTILINE) for number in row.split(",")
    }
    assert documented == {tag.value for tag in messages._Tag}


def test_every_function_is_there() -> None:
    for symbol in CALLOUTS.values():
        assert re.search(rf"^result_t {symbol}\(va_list ap\)$", SOURCE, re.MULTILINE), symbol
    text = render_conf(ConfOptions(library="/lib.so"))
    assert text.endswith("\n")
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(CALLOUTS)


def test_the_example_rules_are_rules() -> None:
    lines = [line.strip() for line in HOWTO.splitlines() if line.startswith("    permit ")]
    assert len(lines) >= 6
    parse_rules("\n".join(lines).encode() + b"\n", path="howto")
