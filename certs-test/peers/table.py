"""What the peers said: verdicts.json, which keeps all of it, and the page made from it; asks nobody."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from peers import gsi, openssl, proxy_init
from peers.suite import HERE, Case, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NAMES", "PAGE", "RECORD", "Record", "differs", "read_record", "render", "write_record"]

NAMES: Final = (openssl.NAME, gsi.NAME, proxy_init.NAME)
"""The peers, in the order of the columns."""
RECORD: Final = HERE / "verdicts.json"
PAGE: Final = HERE.parent / "docs" / "conformance" / "peers.md"

_HEAD: Final = """\
# Where other validators differ

Made by `certs-test/run_peers.py` from what the validators said to the {count} cases of the
[conformance suite](README.md); the tests ask them again and fail when an answer has changed. Ours gives the expected
verdict, reason and facts in every case.

* **openssl** ({openssl}): `openssl verify -allow_proxy_certs` with the trust directory as `-CApath`, for the
  case's time.
* **gsi** ({gsi}): the Grid Community Toolkit's C library, the function behind
  `grid-proxy-init -verify`, on the chain as it is, without a handler for restrictions.
* **grid-proxy-init** ({init}): `grid-proxy-init -verify`, which signs one more proxy with the case's
  leaf and validates that.

`no proxy`: the program failed before it came to validate. `-`: not asked, because the case needs a file, a switch or a
clock that the validator does not have, or has no key to sign with. **Bold**: not what is expected. Not every difference
is a defect: the strengths of keys and digests, the order of certificates and limits of implementations are matters of
policy, and OpenSSL knows neither limited proxies nor the forms before RFC 3820.
"""


class Record(NamedTuple):
    """What was said.

    Attributes:
        versions: Each peer's version.
        verdicts: For each case, one verdict per peer in the order of `NAMES`.
    """

    versions: dict[str, str]
    verdicts: dict[str, tuple[Verdict, ...]]


def differs(case: Case, verdict: Verdict) -> bool:
    """Tell whether this is not what the case expects."""
    if verdict in {Verdict.NOT_ASKED, Verdict.NO_PROXY}:
        return False
    return verdict is not (Verdict.ACCEPT if case.is_good else Verdict.REFUSE)


def read_record() -> Record:
    """Return what is recorded."""
    found = json.loads(RECORD.read_text("utf-8"))
    return Record(found["versions"], {name: tuple(map(Verdict, said)) for name, said in found["verdicts"].items()})


def write_record(record: Record) -> None:
    """Record anew, one case a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(said)}" for name, said in record.verdicts.items()]
    versions = json.dumps(record.versions)
    text = f'{{\n "versions": {versions},\n "verdicts": {{\n' + ",\n".join(lines) + "\n }\n}\n"
    RECORD.write_text(text, "utf-8")


def render(cases: Mapping[str, Case], record: Record) -> str:
    """Return the page."""
    head = _HEAD.format(
        count=len(cases),
        openssl=record.versions[openssl.NAME],
        gsi=record.versions[gsi.NAME],
        init=record.versions[proxy_init.NAME],
    )
    return "\n".join([head, *_totals(cases, record), *_differences(cases, record)]) + "\n"


def _totals(cases: Mapping[str, Case], record: Record) -> Iterator[str]:
    columns = [
        Counter(_word(case, record.verdicts[case.id][at]) for case in cases.values()) for at in range(len(NAMES))
    ]
    yield "## Totals\n"
    yield f"| | {' | '.join(NAMES)} |"
    yield "|---" * (len(NAMES) + 1) + "|"
    for word in (
        "as expected",
        "accepts what must be refused",
        "refuses what must be accepted",
        "crash",
        "no proxy",
        "not asked",
    ):
        yield f"| {word} | {' | '.join(str(column[word]) for column in columns)} |"
    yield ""


def _word(case: Case, verdict: Verdict) -> str:
    if verdict is Verdict.NOT_ASKED:
        return "not asked"
    if not differs(case, verdict) or verdict is Verdict.CRASH:
        return "as expected" if verdict in {Verdict.ACCEPT, Verdict.REFUSE} else verdict.value
    return "refuses what must be accepted" if case.is_good else "accepts what must be refused"


def _differences(cases: Mapping[str, Case], record: Record) -> Iterator[str]:
    group = ""
    for case in cases.values():
        said = record.verdicts[case.id]
        if not any(differs(case, verdict) for verdict in said):
            continue
        first, _, rest = case.id.partition("::")
        second, _, last = rest.partition("::")
        here = f"{first}::{second}" if last else first
        if here != group:
            group = here
            yield f"\n## {group}\n"
            yield f"| case | expected | {' | '.join(NAMES)} | |"
            yield "|---" * (len(NAMES) + 3) + "|"
        shown = " | ".join(f"**{verdict.value}**" if differs(case, verdict) else verdict.value for verdict in said)
        expected = "accept" if case.is_good else f"refuse: {case.reason}"
        description = case.description.replace("|", "\\|")
        yield f"| `{last or rest}` | {expected} | {shown} | {description} |"
