"""What the peers said: verdicts.json, which keeps all of it, and the page made from it; asks nobody."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from peers import gsi, openssl, proxy_init
from peers.suite import HERE, Case, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
_EARLIER_HEAD: Final = """
## With an earlier OpenSSL

All three validate by the OpenSSL that is installed. {openssl} and those before it make the answers to these cases
different from the tables above, and to no others: the C library then fails at a CRL that it cannot read, where with the
later one it goes on as if there were none.
"""
_VERSION: Final = re.compile(r"OpenSSL ([0-9]+)\.([0-9]+)\.([0-9]+)")
_TABLE_HEAD: Final = (f"| case | expected | {' | '.join(NAMES)} | |", "|---" * (len(NAMES) + 3) + "|")


class Record(NamedTuple):
    """What was said.

    Attributes:
        versions: Each peer's version.
        verdicts: For each case, one verdict per peer in the order of `NAMES`.
        earlier_openssl: The latest OpenSSL that was seen to answer otherwise, which all peers validate by.
        earlier: The verdicts with that one, where they differ.
    """

    versions: dict[str, str]
    verdicts: dict[str, tuple[Verdict, ...]]
    earlier_openssl: str
    earlier: dict[str, tuple[Verdict, ...]]

    def verdicts_with(self, version: str) -> dict[str, tuple[Verdict, ...]]:
        """Return what the peers said with an OpenSSL, in its own words: "OpenSSL 3.0.22"."""
        if _numbers(version) <= _numbers(self.earlier_openssl):
            return self.verdicts | self.earlier
        return self.verdicts


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    if found is None:
        raise ValueError(f"'{version}' is no version of OpenSSL")
    return tuple(map(int, found.groups()))


def differs(case: Case, verdict: Verdict) -> bool:
    """Tell whether this is not what the case expects."""
    if verdict in {Verdict.NOT_ASKED, Verdict.NO_PROXY}:
        return False
    return verdict is not (Verdict.ACCEPT if case.is_good else Verdict.REFUSE)


def read_record() -> Record:
    """Return what is recorded."""
    found = json.loads(RECORD.read_text("utf-8"))
    said, earlier = (
        {name: tuple(map(Verdict, words)) for name, words in found[key].items()} for key in ("verdicts", "earlier")
    )
    return Record(found["versions"], said, found["earlier_openssl"], earlier)


def write_record(versions: dict[str, str], said: dict[str, tuple[Verdict, ...]]) -> None:
    """Record anew, one case a line; what an OpenSSL older than the recorded one says is kept beside it.

    Raises:
        ValueError: That is neither what the recorded one says nor what an older one said: there is no third column.
    """
    old = read_record()
    version = versions[openssl.NAME]
    if _numbers(version) >= _numbers(old.versions[openssl.NAME]):
        earlier = {name: words for name, words in old.earlier.items() if name in said and words != said[name]}
        new = Record(versions, said, old.earlier_openssl, earlier)
    else:
        differing = {name: words for name, words in said.items() if words != old.verdicts.get(name)}
        if differing == old.earlier:
            new = old._replace(earlier_openssl=max(version, old.earlier_openssl, key=_numbers))
        elif not differing and _numbers(version) > _numbers(old.earlier_openssl):
            new = old
        else:
            raise ValueError(f"{version} says neither what {old.earlier_openssl} said nor what the latest did")
    parts = [
        f' "versions": {json.dumps(new.versions)}',
        f' "earlier_openssl": {json.dumps(new.earlier_openssl)}',
        f' "earlier": {{\n{_lines(new.earlier)}\n }}',
        f' "verdicts": {{\n{_lines(new.verdicts)}\n }}',
    ]
    RECORD.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def _lines(verdicts: Mapping[str, tuple[Verdict, ...]]) -> str:
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(said)}" for name, said in verdicts.items())


def render(cases: Mapping[str, Case], record: Record) -> str:
    """Return the page."""
    head = _HEAD.format(
        count=len(cases),
        openssl=record.versions[openssl.NAME],
        gsi=record.versions[gsi.NAME],
        init=record.versions[proxy_init.NAME],
    )
    return (
        "\n".join(
            [
                head,
                *_totals(cases, record),
                *_differences(cases, record.verdicts),
                _EARLIER_HEAD.format(openssl=record.earlier_openssl),
                *_TABLE_HEAD,
                *(_row(cases[name], name, said) for name, said in record.earlier.items()),
            ]
        )
        + "\n"
    )


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


def _differences(cases: Mapping[str, Case], verdicts: Mapping[str, tuple[Verdict, ...]]) -> Iterator[str]:
    group = ""
    for case in cases.values():
        said = verdicts[case.id]
        if not any(differs(case, verdict) for verdict in said):
            continue
        first, _, rest = case.id.partition("::")
        second, _, last = rest.partition("::")
        here = f"{first}::{second}" if last else first
        if here != group:
            group = here
            yield f"\n## {group}\n"
            yield from _TABLE_HEAD
        yield _row(case, last or rest, said)


def _row(case: Case, name: str, said: Sequence[Verdict]) -> str:
    shown = " | ".join(f"**{verdict.value}**" if differs(case, verdict) else verdict.value for verdict in said)
    expected = "accept" if case.is_good else f"refuse: {case.reason}"
    description = case.description.replace("|", "\\|")
    return f"| `{name}` | {expected} | {shown} | {description} |"
