"""The ban list: its grammar, and that no spelling, kind of proxy or encoding evades a ban."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gsi.authz.ban import BanListAuthorizer, parse_bans
from gsi.authz.decision import Effect, Subject
from gsi.errors import ConfigError, ParseError
from gsi.trust.verify import verify_chain
from tests.harness.authz import decide, user
from tests.harness.ca import FULL_INFO, INDEPENDENT_INFO, LIMITED_INFO, TestCA
from tests.harness.trust import make_anchors, utc_now

ALICE = user("/O=Grid/CN=Alice")


def bans(text: str) -> BanListAuthorizer:
    return BanListAuthorizer("bans", parse_bans(text.encode(), path="b"), path="b")


def is_banned(text: str, subject: Subject = ALICE, *, peer_address: str = "") -> bool:
    decision = decide(bans(text), subject, peer_address=peer_address)
    assert decision.effect in {Effect.DENY, Effect.NOT_APPLICABLE}
    return decision.effect is Effect.DENY


@pytest.mark.parametrize(
    "text",
    [
        'dn "/O=Grid/CN=Alice"',
        "dn /O=Grid/CN=Alice",
        '"/O=Grid/CN=Alice"',
        "/O=Grid/CN=Alice",
        'dn "CN=Alice,O=Grid"',
        "dn /o=GRID/cn=alice",
        "dn /O=Grid/CN=A*",
        "dn /O=*/CN=Alice",
        "dn /O=Grid/**",
        "dn /O=Grid/*",
        "issuer /O=Grid/CN=CA",
        "issuer /O=Grid/**",
        "# nobody\n\ndn /O=Grid/CN=Bob\ndn /O=Grid/CN=Alice",
        "dn /O=Grid/CN=Alice until 2026-11-20T12:00:01",
        'dn /O=Grid/CN=Alice because "she left" until 2027-01-01',
    ],
)
def test_banned(text: str) -> None:
    assert is_banned(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# dn /O=Grid/CN=Alice",
        "dn /O=Grid/CN=Ali",
        "dn /O=Grid/CN=Alice/CN=7",
        "dn /O=Gri/**",
        "issuer /O=Grid/CN=Alice",
        "dn /O=Grid/CN=CA",
        "dn /O=Grid/CN=Alice until 2026-11-20T12:00",
        "group staff",
        "fqan /vo/**",
        "address 0.0.0.0/0",
    ],
)
def test_not_banned(text: str) -> None:
    assert not is_banned(text)


@pytest.mark.parametrize(
    "dn",
    [
        "/O=GRID/CN=ALICE",
        "/O=Grid/CN= Alice ",
        "/O=Grid/CN=\uff21lice",
        "/O=Grid/CN=Ali\u200bce",
        "/O=Grid\\/CN=Alice",
        "/O=Grid+CN=Alice",
        "/O=Grid/CN=Alice\\x00",
    ],
)
def test_spelling_does_not_evade(dn: str) -> None:
    assert is_banned('dn "/O=Grid/CN=Alice"', user(dn))


def test_equal_types_do_not_evade() -> None:
    for dn in ("/O=Grid/UID=x", "/O=Grid/USERID=x", "/O=Grid/uid=x"):
        assert is_banned("dn /O=Grid/userid=x", user(dn))
    for dn in ("/O=Grid/E=a@b", "/O=Grid/emailAddress=A@B"):
        assert is_banned("dn /O=Grid/Email=a@b", user(dn))


def test_no_kind_of_proxy_evades() -> None:
    root = TestCA("/O=Grid/CN=Root")
    middle = root.intermediate("/O=Grid/CN=Middle")
    alice = middle.issue("/O=Grid/CN=Alice", serial=0x1F4A)
    anchors = make_anchors(root, middle)
    for issued in (
        alice,
        alice.proxy(info=FULL_INFO),
        alice.proxy(info=LIMITED_INFO),
        alice.proxy(info=INDEPENDENT_INFO),
        alice.proxy(info=INDEPENDENT_INFO).proxy(info=FULL_INFO),
    ):
        subject = Subject.from_peer(verify_chain(issued.chain_der, anchors, now=utc_now()))
        for text in (
            "dn /O=Grid/CN=Alice",
            "issuer /O=Grid/CN=Root",
            "issuer /O=Grid/CN=Middle",
            "serial /O=Grid/CN=Middle 0x1f4a",
            "serial /O=Grid/CN=Middle 0x1F:4A",
            "serial /o=grid/cn=middle 8010",
            f"serial /O=Grid/CN=Root {middle.certificate.serial_number}",
        ):
            assert is_banned(text, subject), (text, subject.identity)
        for text in (
            "dn /O=Grid/CN=Root",
            "issuer /O=Grid/CN=Alice2",
            "serial /O=Grid/CN=Root 0x1f4a",
            "serial /O=Grid/CN=Middle 8011",
        ):
            assert not is_banned(text, subject), (text, subject.identity)


def test_fqans_and_groups() -> None:
    subject = replace(ALICE, fqans=("/vo/Role=NULL", "/vo/g/Role=Pilot"), groups=frozenset({"Suspended"}))
    for text in ("fqan /vo", "fqan /vo/*", "fqan /VO/g/Role=pilot", "fqan /vo/*/Role=*", "group suspended", "group s*"):
        assert is_banned(text, subject)
    for text in ("fqan /voX", "fqan /vo/h/**", "fqan /vo/g", "group suspend"):
        assert not is_banned(text, subject)
    assert is_banned("fqan /vo", replace(subject, independent=True))
    with pytest.raises(ParseError):
        is_banned("fqan /vo", replace(ALICE, fqans=("vo",)))


def test_addresses() -> None:
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "nonsense"):
        assert is_banned("address 192.0.2.0/24", peer_address=address)
    for address in ("192.0.3.1", "2001:db8::1", ""):
        assert not is_banned("address 192.0.2.0/24", peer_address=address)
    assert is_banned("address 2001:db8::/32", peer_address="2001:db8::1%eth0")


def test_tokens_and_principals() -> None:
    assert is_banned("dn https://iss#42", user("https://iss#42"))
    assert is_banned("issuer https://iss", user("x", issuer="https://ISS"))
    assert not is_banned("dn https://iss#42", user("https://iss#421"))


@pytest.mark.parametrize(("name", "subject"), [("\xc4rnd", "%C3%84rnd"), ("100%", "100%25"), ("a b", "a%20b")])
def test_escapes_of_tokens_do_not_evade(name: str, subject: str) -> None:
    for written in (name, subject, name.lower(), subject.lower()):
        assert is_banned(f'dn "https://iss#{written}"', user(f"https://iss#{subject}"))
    assert not is_banned(f'dn "https://iss#{name}"', user(f"https://iss#{subject}x"))


def test_the_reason_names_the_line() -> None:
    decision = decide(bans('\ndn /O=Grid/CN=Alice because "stolen key"'), ALICE)
    assert decision.reason == "dn is banned, b:2: stolen key"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Alice", "cannot be banned"),
        ("dnn /O=x", "cannot be banned"),
        ("dn", "needs a value"),
        ("dn /*", "everybody"),
        ("dn /**", "everybody"),
        ("dn *", "everybody"),
        ('dn ""', "everybody"),
        ("dn /Nothing=x", "attribute type"),
        ("dn /O=Grid/CN=Alice Adams", "'Adams'"),
        ("dn /O=G until soon", "until"),
        ("dn /O=G until", "one value"),
        ("dn /O=G because a, b", "one value"),
        ("serial /O=G", "a number"),
        ("serial /O=G 1F4A", "a number"),
        ("serial /O=G -5", "a number"),
        ("serial /O=G 0x" + "f" * 65, "a number"),
        ("fqan vo", "no FQAN"),
        ('group ""', "empty"),
        ("address 192.0.2.1/24", "host bits"),
        (", dn", "comma"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bans(f"\n{text}")
    assert says in caught.value.message
    assert (caught.value.path, caught.value.line) == ("b", 2)
