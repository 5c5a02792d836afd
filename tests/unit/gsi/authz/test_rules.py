"""The rules file: its grammar, what holds for whom, and that the index finds what a search of all rules would."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from gsi.authz.decision import (
    Account,
    DatabaseRole,
    Effect,
    PosixIds,
    StorageLot,
    StorageQuota,
    Subject,
)
from gsi.authz.rulefile import parse_rules
from gsi.authz.rules import RulesAuthorizer
from gsi.errors import ConfigError, ParseError
from gsi.proxy.kinds import ProxyKind
from gsi.trust.verify import verify_chain
from tests.harness.authz import NOW, decide, request_of, user
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, TestCA
from tests.harness.trust import make_anchors, utc_now

P, D, N = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE
ALICE = user("/O=Grid/CN=Alice")
BOB = user("/O=Grid/CN=Bob")
NOBODY = user()


def rules(text: str) -> RulesAuthorizer:
    return RulesAuthorizer("rules", parse_rules(text.encode(), path="r"), path="r")


def answer(
    text: str, subject: Subject = ALICE, action: str = "read", resource: str = "/data", **more: object
) -> Effect:
    return decide(rules(text), subject, action, resource, **more).effect


# --- who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "subject", "effect"),
    [
        ("anyone", NOBODY, P),
        ("anyone", ALICE, P),
        ("authenticated", NOBODY, N),
        ("authenticated", ALICE, P),
        ("authenticated", user("https://iss#1"), P),
        ('dn "/O=Grid/CN=Alice"', ALICE, P),
        ("dn /o=grid/cn=ALICE", ALICE, P),
        ('dn "CN=Alice,O=Grid"', ALICE, P),
        ("dn /O=Grid/CN=Alice", BOB, N),
        ("dn /O=Grid/CN=Alice, /O=Grid/CN=Bob", BOB, P),
        ("dn /O=Grid/CN=*", ALICE, N),
        ("dn https://iss#1", user("https://iss#1"), P),
        ("dn https://iss#1", user("https://iss#2"), N),
        ("dn alice@REALM", user("alice@REALM"), P),
        ("dn-like /O=Grid/CN=A*", ALICE, P),
        ("dn-like /O=Grid/CN=A*", BOB, N),
        ("dn-like /O=Grid/**", user("/O=Grid/OU=x/CN=y"), P),
        ("dn-like /O=Grid/**", user("/O=Gridiron/CN=y"), N),
        ("dn-like /O=Grid/**", NOBODY, N),
        ("fqan /vo/Role=prod", user("/CN=x", fqans=("/vo/Role=prod/Capability=NULL",)), P),
        ("fqan /vo/Role=prod", user("/CN=x", fqans=("/vo",)), N),
        ("fqan /vo/*", user("/CN=x", fqans=("/voX/g", "/vo/g/h")), P),
        ("fqan /vo/**", user("/CN=x", fqans=("/voX",)), N),
        ("fqan /vo/*/Role=lcg*", user("/CN=x", fqans=("/vo/g/Role=lcgadmin",)), P),
        ("group staff", user("/CN=x", groups=frozenset({"staff", "b"})), P),
        ("group staff", user("/CN=x", groups=frozenset({"Staff"})), N),
        ("group st*", user("/CN=x", groups=frozenset({"staff"})), P),
        ('group "to"', user("/CN=x", groups=frozenset({"to"})), P),
        ("issuer /O=Grid/CN=CA", ALICE, N),  # no chain: a text is no proof of a CA's name
        ("issuer https://iss", user("sub", issuer="https://iss"), P),
        ("dn /O=Grid/CN=Alice group staff", ALICE, N),
        ("dn /O=Grid/CN=Alice group staff", replace(ALICE, groups=frozenset({"staff"})), P),
        ("authenticated group staff", user("", groups=frozenset({"staff"})), N),
    ],
)
def test_who(who: str, subject: Subject, effect: Effect) -> None:
    assert answer(f"permit {who} to read", subject) is effect


@pytest.mark.parametrize(
    ("who", "subject"),
    [
        ('dn "/O=Grid/CN=Alice"', user("/O=GRID/CN=\\uff21lice".replace("\\uff21", "\uff21"))),
        ("dn /O=Grid/CN=x/CN=Admin", user("/O=Grid/CN=x\\/CN=Admin")),
        ("dn /O=Grid/CN=x+CN=Admin", user("/O=Grid/CN=x/CN=Admin")),
        ("dn-like /O=Grid/CN=A*", user("/O=grid/CN=Ali\u200bce")),
        ("dn-like /O=Grid/**", user("/O=Grid\\/CN=x")),
        ("dn-like /O=Grid/**", user("/O=Grid")),
        ("fqan /vo/Role=prod", user("/CN=x", fqans=("/VO/Role=Prod",))),
        ("group suspended", user("/CN=x", groups=frozenset({"SUSPENDED "}))),
        ("group SUSPENDED", user("/CN=x", groups=frozenset({"suspended"}))),
        ('group " Suspended\u200b  users"', user("/CN=x", groups=frozenset({"suspended users"}))),
        ("group SUSP*", user("/CN=x", groups=frozenset({"suspended"}))),
        ("dn /O=Grid/CN=Alice group SUSPENDED", user("/O=Grid/CN=Alice", groups=frozenset({"suspended"}))),
        ("issuer /O=Grid/CN=CA", user("/CN=x", issuer="/o=grid/cn=ca")),
        ("anyone", NOBODY),
        ("authenticated", ALICE),
    ],
)
def test_a_denial_holds_for_whatever_could_be_meant(who: str, subject: Subject) -> None:
    assert answer(f"permit anyone to *\ndeny {who}", subject) is D


def test_string_types_of_certificates_do_not_matter() -> None:
    der = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "GRID", _ASN1Type.UTF8String),
            x509.NameAttribute(NameOID.COMMON_NAME, "alice", _ASN1Type.BMPString),
        ]
    ).public_bytes()
    subject = Subject(identity="shown otherwise", identity_der=der, authenticated_by="x509")
    assert answer("permit dn /O=Grid/CN=Alice to read", subject) is P
    assert answer("permit dn-like /O=Grid/CN=Al* to read", subject) is P
    assert answer("permit anyone to *\ndeny dn /O=Grid/CN=Alice", subject) is D


def test_a_value_with_slashes_is_not_two_parts() -> None:
    spoof = user("/O=Grid/CN=x\\/CN=Admin")
    assert answer("permit dn /O=Grid/CN=x/CN=Admin to *", spoof) is N
    assert answer("permit dn-like /O=Grid/CN=x/CN=* to *", spoof) is N
    token = Subject(identity="/O=Grid/CN=Alice", authenticated_by="token")
    assert answer("permit dn /O=Grid/CN=Alice to *", token) is N


def test_a_malformed_fqan_is_an_error_not_a_silence() -> None:
    for text in ("permit fqan /vo to read", "deny fqan /vo"):
        with pytest.raises(ParseError):
            answer(text, user("/CN=x", fqans=("vo",)))


def test_chains() -> None:
    ca = TestCA("/O=Grid/CN=CA")
    alice = ca.issue("/O=Grid/CN=Alice")
    anchors = make_anchors(ca)

    def subject(info: bytes | None, cn: str = "7") -> Subject:
        issued = alice if info is None else alice.proxy(info=info, cn=cn)
        return Subject.from_peer(verify_chain(issued.chain_der, anchors, now=utc_now()), fqans=("/vo",))

    plain, limited, independent = subject(None), subject(LIMITED_INFO), subject(INDEPENDENT_INFO)
    assert answer("permit issuer /O=Grid/CN=CA to read", plain) is P
    assert answer("permit issuer /O=Grid/CN=Other to read", plain) is N
    for general in ("dn-like /O=Grid/**", "fqan /vo", "issuer /O=Grid/CN=CA", "dn /O=Grid/CN=Alice"):
        assert answer(f"permit {general} to read", limited) is P
        assert answer(f"permit {general} to read", independent) is N
        assert answer(f"permit anyone to *\ndeny {general}", independent) is D
    assert answer("permit dn /O=Grid/CN=Alice/CN=7 to read", independent) is P
    # nor where another clause has found the rule
    own, staff = "dn /O=Grid/CN=Alice/CN=7", frozenset({"staff"})
    for general in ("dn-like /O=Grid/**", "fqan /vo", "issuer /O=Grid/CN=CA"):
        assert answer(f"permit {own} {general} to read", independent) is N
        assert answer(f"permit group staff {general} to read", replace(independent, groups=staff)) is N
        assert answer(f"permit group staff {general} to read", replace(limited, groups=staff)) is P


# --- what -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "asked", "kind", "effect"),
    [
        ("read", "read", "file", P),
        ("read", "write", "file", N),
        ("read, write", "write", "file", P),
        ("*", "anything", "file", P),
        ("file:read", "read", "file", P),
        ("file:read", "read", "job", N),
        ("file:*", "x", "file", P),
        ("file:*", "x", "job", N),
        ("read", "Read", "file", N),
        ("read", "reading", "file", N),
    ],
)
def test_actions(action: str, asked: str, kind: str, effect: Effect) -> None:
    assert answer(f"permit anyone to {action}", ALICE, asked, kind=kind) is effect


def test_resources_where_permit_and_denial_differ() -> None:
    permit = "permit anyone to read on /data/**"
    assert answer(permit, resource="ftp://h/data/x") is P
    assert answer(permit, resource="/database") is N
    assert answer(permit, resource="") is N
    assert answer("permit anyone to read on **", resource="") is P
    for deep in ("/**", "/*", "/*/x/**", "*", "ftp://*/**"):  # these stand where all rules of an index are looked for
        assert answer(f"permit anyone to read on {deep}", resource="") is N
        assert answer(f"permit anyone to read\ndeny anyone on {deep}", resource="") is P
    assert answer("permit anyone to read\ndeny anyone on **", resource="") is D
    assert answer("permit anyone to read", resource="") is P
    # what could be read as something else is permitted only if both are, and denied if one is
    assert answer(permit, resource="/data%2fx") is N
    assert answer("permit anyone to read on /**\ndeny anyone on /data/**", resource="/data%2fx") is D
    escape = {"real_path": ("/secret/f",)}
    assert answer(permit, resource="/data/link", attributes=escape) is N
    assert (
        answer(
            f"{permit}\npermit anyone to read on /**\ndeny anyone on /secret/**", resource="/data/l", attributes=escape
        )
        is D
    )
    assert answer("permit anyone to read on /data/**, /secret/**", resource="/data/link", attributes=escape) is P
    for odd in ("/data/../etc", "/data/%2e%2e/etc", "/data/\n"):
        with pytest.raises(ParseError):
            answer(permit, resource=odd)


# --- under which conditions -------------------------------------------------------------------------------------------


def test_limited_proxies_start_no_jobs_unless_the_rule_says_so() -> None:
    limited = replace(ALICE, limited=True, kind=ProxyKind.LIMITED)
    permit = "permit authenticated to *"
    assert answer(permit, limited, "read", kind="file") is P
    assert answer(permit, limited, "start", kind="job") is N
    assert answer(f"{permit} service x*", limited, "start", kind="job", service="x") is N
    assert answer(f"{permit} proxy any", limited, "start", kind="job") is P
    assert answer(f"{permit} proxy limited", limited, "start", kind="job") is P
    assert answer(f"{permit} proxy full", limited, "start", kind="job") is N
    assert answer(f"{permit} proxy limited", ALICE, "start", kind="job") is N
    assert answer(permit, ALICE, "start", kind="job") is P


def test_a_chain_of_two_kinds_needs_both_to_be_permitted_and_one_to_be_denied() -> None:
    both = replace(ALICE, limited=True, independent=True, kind=ProxyKind.LIMITED)
    assert answer("permit authenticated to read proxy limited", both) is N
    assert answer("permit authenticated to read proxy limited, independent", both) is P
    assert answer("permit authenticated to read\ndeny anyone proxy independent", both) is D
    assert answer("permit authenticated to read\ndeny anyone proxy none", both) is P


@pytest.mark.parametrize(
    ("condition", "environment", "holds"),
    [
        ("service jobmanager-*", {"service": "jobmanager-fork"}, True),
        ("service jobmanager-*", {"service": "jobmanager"}, False),
        ("host *.Example.org", {"host": "SE.example.org"}, True),
        ("host *.example.org", {"host": "example.org"}, False),
        ("host se.example.org", {"host": "SE.example.org."}, True),
        ("host se.example.org.", {"host": "se.example.org"}, True),
        ("from 192.0.2.0/24", {"peer_address": "192.0.2.7"}, True),
        ("from 192.0.2.0/24", {"peer_address": "::ffff:192.0.2.7"}, True),
        ("from 192.0.2.0/24", {"peer_address": "192.0.3.7"}, False),
        ("from 2001:db8::/32, 192.0.2.1", {"peer_address": "2001:db8::1%eth0"}, True),
        ("by x509", {}, True),
        ("by token, kerberos", {}, False),
        ("after 2026-11-20T12:00", {}, True),
        ("after 2026-11-20T12:00:01", {}, False),
        ("before 2026-11-20T12:00", {}, False),
        ("before 2026-11-20T13:00+00:30", {}, True),
        ("before 2026-11-20T12:30+01:00", {}, False),
        ('during "Mon-Fri 08:00-18:00"', {}, True),
        ('during "Fri 12:00-12:01"', {}, True),
        ('during "Fri 11:00-12:00"', {}, False),
        ('during "Sat-Thu 00:00-24:00"', {}, False),
        ('during "Fri-Mon 00:00-24:00"', {}, True),
        ("during 12:00-24:00", {}, True),
        ('during "Thu 13:00-12:30"', {}, True),
        ('during "Fri 13:00-12:30"', {}, False),
        ('during "12:30-13:30 Europe/Zurich"', {}, True),
        ('during "12:00-12:30 Europe/Zurich"', {}, False),
        ('during "Mon 00:00-01:00", "Fri 12:00-13:00"', {}, True),
    ],
)
def test_conditions(condition: str, environment: dict[str, object], *, holds: bool) -> None:
    request = request_of(ALICE, "read", "/data", **environment)  # type: ignore[arg-type]  # fields of the environment
    assert rules(f"permit anyone to read {condition}").decide(request).effect is (P if holds else N)
    denying = rules(f"permit anyone to read\ndeny anyone {condition}")
    assert denying.decide(request).effect is (D if holds else P)


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "192.0.2.1\n"])
def test_an_unknown_address_is_nowhere_for_a_permit_and_everywhere_for_a_denial(address: str) -> None:
    assert answer("permit anyone to read from 0.0.0.0/0, ::/0", peer_address=address) is N
    assert answer("permit anyone to read\ndeny anyone from 192.0.2.0/24", peer_address=address) is D


@pytest.mark.parametrize("host", ["", ".", " ", "se", "SE", "se."])
def test_an_unknown_host_is_none_for_a_permit_and_any_for_a_denial(host: str) -> None:
    """A name without a domain may be that of any domain."""
    assert answer("permit anyone to read host se.example.org", host=host) is N
    assert answer("permit anyone to read\ndeny anyone host se.example.org", host=host) is D
    assert answer("permit anyone to read\ndeny anyone host s*.example.org", host=host) is D


def test_another_host() -> None:
    for host in ("ce", "ce.example.org", "se.example.com"):
        assert answer("permit anyone to read\ndeny anyone host se.example.org", host=host) is P


def test_a_permit_ends_when_its_rule_does() -> None:
    found = decide(rules("permit anyone to read before 2026-12-01"), ALICE)
    assert found.not_after == datetime(2026, 12, 1, tzinfo=UTC)
    assert found.not_after > NOW + timedelta(days=1)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_denials_win_and_the_first_permit_gives_its_obligations() -> None:
    text = """
permit anyone to read as second because "everybody may"
permit dn /O=Grid/CN=Alice to read as alice ids 1000:100:5:6 role r lot "the lot" quota 5G, 1K:scratch
deny dn /O=Grid/CN=Bob because "left"
"""
    found = decide(rules(text), ALICE)
    assert found.obligations == (Account("second"),)
    assert found.reason == "r:2: everybody may"
    found = decide(rules(text), BOB)
    assert found.effect is D
    assert found.reason == "r:4: left"
    found = decide(rules("\n".join(text.splitlines()[2:3])), ALICE)
    assert found.obligations == (
        Account("alice"),
        PosixIds(1000, 100, (5, 6)),
        DatabaseRole("r"),
        StorageLot("the lot"),
        StorageQuota("", 5 << 30),
        StorageQuota("scratch", 1 << 10),
    )


def test_lines_go_on_and_comments_end_them() -> None:
    text = (
        '\ufeffpermit dn "/O=Grid/CN=Alice"  # who\n\tto read,\n     lookup\n  # in between\n\n on /data/**\r\n'
        "#permit anyone to *\n"
    )
    assert answer(text, ALICE, "lookup", "/data/x") is P
    assert answer(text, BOB, "lookup", "/data/x") is N
    assert rules(text).rules[0].line == 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("allow anyone to read", 1, "permit or deny"),
        ("permits anyone to read", 1, "permit or deny"),
        ('"permit" anyone to read', 1, "permit or deny"),
        (", anyone", 1, "permit or deny"),
        ("  permit anyone to read", 1, "continues the one before"),
        ("permit to read", 1, "for whom"),
        ("permit anyone", 1, "what for"),
        ("permit anyone dn /CN=a to read", 1, "no other subject"),
        ("\n\npermit dn /O=G/CN=Alice Adams to read", 3, "'Adams'"),
        ("permit dn /O=G to read write", 1, "'write'"),
        ("permit group staff, to read", 1, "comma without a value behind"),
        ("permit group , staff to read", 1, "comma without a value before"),
        ("permit group a,, b to read", 1, "comma without a value before"),
        ("permit group staff to read,", 1, "comma without a value behind"),
        ("permit anyone, to read", 1, "comma"),
        ("permit anyone alice to read", 1, "takes no value"),
        ("permit group to read", 1, "needs a value"),
        ('permit group "" to read', 1, "empty name"),
        ("permit dn Nothing=a to read", 1, "known attribute type"),
        ("permit dn /Nothing=a to read", 1, "known attribute type"),
        ('permit dn "" to read', 1, "empty"),
        ("permit dn-like /** to read", 1, "dn-like"),
        ("permit dn-like /O=x/* to read", 1, "ends in /*"),
        ("permit fqan vo to read", 1, "no FQAN"),
        ("permit fqan /v* to read", 1, "VO of an FQAN"),
        ("permit anyone to rea/d", 1, "no action"),
        ("permit anyone to *:read", 1, "no action"),
        ("permit anyone to read\n  on /a/../b", 2, "'..'"),
        ("permit anyone to read on /a/**/b", 1, "at the end"),
        ("permit anyone to read on /data/My Documents", 1, "'Documents'"),
        ("permit anyone to read proxy limitd", 1, "no kind of proxy"),
        ("permit anyone to read from 192.0.2.1/24", 1, "host bits"),
        ("permit anyone to read from example.org", 1, "from:"),
        ("permit anyone to read during always", 1, "time of the week"),
        ('permit anyone to read during "Foo 08:00-09:00"', 1, "during:"),
        ('permit anyone to read during "25:00-26:00"', 1, "hour"),
        ('permit anyone to read during "08:00-08:00"', 1, "at once"),
        ('permit anyone to read during "08:00-09:00 Mars/Base"', 1, "time zone"),
        ('permit anyone to read during "08:00-09:00 ../../etc/passwd"', 1, "time zone"),
        ("permit anyone to read after tomorrow", 1, "after:"),
        ("permit anyone to read after 0001-01-01T00:00+10:00", 1, "after:"),
        ("permit anyone to read as root, alice", 1, "takes one value"),
        ('permit anyone to read as "a b"', 1, "account name"),
        ("permit anyone to read as 0", 1, "account name"),
        ("permit anyone to read ids 5", 1, "UID:GID"),
        ("permit anyone to read ids 5:-1", 1, "UID:GID"),
        ("permit anyone to read ids 4294967295:5", 1, "range"),
        ("permit anyone to read quota lots", 1, "no quota"),
        ("deny anyone as alice", 1, "permits only"),
        ("permit anyone to read to write", 1, "twice"),
        ("permit anyone to read becuase x", 1, "'becuase'"),
        ('permit dn "/O=G to read', 1, "closing quote"),
        ('permit dn "/O=G"to read', 1, "must follow"),
        ('permit dn /O="G" to read', 1, "quote within"),
        ("permit anyone to read \x00", 1, "control character"),
        ("permit anyone to read because \x85", 1, "control character"),
        ("permit anyone to read #" + "x" * 70000, 1, "characters"),
    ],
)
def test_what_is_refused(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(text)
    assert says in caught.value.message
    assert (caught.value.path, caught.value.line) == ("r", line)


def test_hints() -> None:
    with pytest.raises(ConfigError) as caught:
        rules("permit anyone to read becuase x")
    assert caught.value.hint == "did you mean 'because'?"
    with pytest.raises(ConfigError) as caught:
        list(parse_rules(b"permit anyone\n to \xff", path="r"))
    assert caught.value.line == 2


# --- the index --------------------------------------------------------------------------------------------------------


def test_the_index_finds_rules_wherever_they_are() -> None:
    """Rules that cannot match do not hide the one that does, whatever clause it is indexed by."""
    noise = "".join(
        f"permit dn /O=Grid/CN=u{n} to read on /home/u{n}/**\ndeny group g{n} on /x{n}/**\n"
        f"permit fqan /vo{n}/Role=r to write on /vo/{n}/**\n"
        for n in range(3)
    )
    subject = replace(
        user("/O=Grid/OU=a/CN=Alice", fqans=("/vo/g/Role=r",), issuer="https://iss"), groups=frozenset({"staff"})
    )
    for who in (
        "anyone",
        "authenticated",
        "dn /O=Grid/OU=a/CN=Alice",
        "dn-like /O=*/OU=a/**",
        "dn-like /O=Grid/OU=a/CN=A*",
        "dn-like /O=Grid/**",
        "fqan /vo/g/Role=r",
        "fqan /vo/*",
        "fqan /vo/g/**",
        "fqan /vo/g*/Role=*",
        "group staff",
        "group s*f",
        "issuer https://iss",
    ):
        for where in ("", "on **", "on /**", "on /a/b/c", "on /a/**", "on /*/b/c", "on /a/*/c", "on ftp://*/a/b/**"):
            for what in ("to read", "to *", "to file:read", "to write, read"):
                rule = f"{who} {what} {where}"
                place = "ftp://h/a/b/c"
                assert answer(f"{noise}permit {rule}\n", subject, "read", place) is P, rule
                assert answer(f"{noise}permit anyone to *\ndeny {rule}\n", subject, "read", place) is D, rule
