"""Mapping rules: who gets which name, and who gets none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi import der, names, oids
from gsi.errors import ConfigError, DeniedError
from gsi.kerberos.ticket import Principal
from kca.principal import (
    PRIVILEGED,
    RESERVED,
    Entitlement,
    RealmRules,
    Rule,
    check_realms,
    encode_pkinit_name,
    entitle,
    needs_directory,
)

REALM = "EXAMPLE.ORG"
PLAIN = {REALM: RealmRules(base="/O=Grid/OU=Example")}


def of(name: str, *rules: Rule, **settings: object) -> Entitlement:
    realm = RealmRules(base="/O=Grid", **({"rule": rules} if rules else {}), **settings)  # type: ignore[arg-type]  # by name
    return entitle(Principal.parse(f"{name}@{REALM}"), {REALM: realm})


def test_the_usual_rule() -> None:
    found = entitle(Principal(("alice",), REALM), PLAIN)
    assert found.subject == "/O=Grid/OU=Example/CN=alice"
    assert found.rule == "EXAMPLE.ORG rule 1 (*)"
    assert found.alternative_names == ()
    (realm,) = found.extensions
    assert (realm.oid, realm.critical, realm.value) == (oids.KCA_AUTH_REALM, False, b"\x04\x0bEXAMPLE.ORG")
    assert (found.lifetime, found.beyond_ticket) == (None, None)


@pytest.mark.parametrize("name", ["alice/admin", "alice/grid", "a/b/c"])
def test_instances_need_a_rule(name: str) -> None:
    with pytest.raises(DeniedError, match=r"no rule of the realm EXAMPLE\.ORG speaks of"):
        of(name)


def test_a_glob_is_no_power() -> None:
    glob = Rule(principal="*/*")
    assert of("alice/grid", glob).subject == "/O=Grid/OU=grid/CN=alice"
    for instance in PRIVILEGED:
        for spelling in (instance, instance.upper()):
            with pytest.raises(DeniedError):
                of(f"alice/{spelling}", glob, Rule(principal="*/a*"), Rule(principal="alice/*"))
    assert (
        of("alice/admin", glob, Rule(principal="alice/admin", subject="/CN=admin {1}")).subject
        == "/O=Grid/CN=admin alice"
    )


def test_a_denial_spans_more_than_a_permit() -> None:
    with pytest.raises(DeniedError, match=r"rule 1 \(\*/\*\) denies"):
        of("alice/admin", Rule(principal="*/*", deny=True), Rule(principal="alice/admin"))


def test_the_first_rule_that_fits_counts() -> None:
    rules = (
        Rule(principal="guest*", lifetime=timedelta(hours=1)),
        Rule(principal="*", groups=("grid", "vo"), subject="/OU=Members/CN={1}/UID={1}"),
        Rule(),
    )
    realm = {REALM: RealmRules(base="/O=Grid", rule=rules, lifetime=timedelta(hours=6))}
    guest = entitle(Principal(("guest7",), REALM), realm, groups=["grid"])
    assert (guest.subject, guest.lifetime) == ("/O=Grid/CN=guest7", timedelta(hours=1))
    member = entitle(Principal(("bob",), REALM), realm, groups=["other", "vo"])
    assert (member.subject, member.lifetime) == ("/O=Grid/OU=Members/CN=bob/UID=bob", timedelta(hours=6))
    assert entitle(Principal(("bob",), REALM), realm, groups=["gri"]).subject == "/O=Grid/CN=bob"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_of_the_realm_itself(name: str) -> None:
    with pytest.raises(DeniedError, match="the realm's own"):
        entitle(Principal((name,), REALM), PLAIN)


@pytest.mark.parametrize(
    "component",
    [
        "x/CN=admin",
        "x=y",
        "alice+CN=bob",
        "alice\n",
        "alice ",
        " alice",
        "alice,O=x",
        "al\\ice",
        "älice",
        "alice\0",
        "*",
        "{1}",
        "",
        ".alice",
        "a" * 65,
        "alice@EXAMPLE.ORG",
    ],
)
def test_what_would_not_stay_one_value(component: str) -> None:
    with pytest.raises(DeniedError):
        entitle(Principal((component,), REALM), PLAIN)


@pytest.mark.parametrize("name", ["proxy", "Proxy"])
def test_nobody_looks_like_a_proxy(name: str) -> None:
    with pytest.raises(DeniedError, match="old proxy"):
        of(name)


def test_realms_that_are_not_listed() -> None:
    with pytest.raises(DeniedError, match=r"'OTHER.ORG' is not listed"):
        entitle(Principal(("alice",), "OTHER.ORG"), PLAIN)
    with pytest.raises(DeniedError):
        entitle(Principal(("alice",), "example.org"), PLAIN)


def test_realms_on_the_way() -> None:
    alice = Principal(("alice",), "PARTNER.NET")
    rules = {"PARTNER.NET": RealmRules(base="/O=Partner", via=("HUB.NET",))}
    assert entitle(alice, rules, transited=["HUB.NET"]).subject == "/O=Partner/CN=alice"
    with pytest.raises(DeniedError, match=r"came through the realm 'EVIL\.NET'"):
        entitle(alice, rules, transited=["HUB.NET", "EVIL.NET"])


def test_addresses() -> None:
    found = of("alice", email_domain="example.org")
    assert found.alternative_names == (b"\x81\x11alice@example.org",)
    rules = {REALM: RealmRules(base="/O=Grid", email_claim="mail")}
    alice = Principal(("alice",), REALM)
    assert entitle(alice, rules).alternative_names == ()
    assert entitle(alice, rules, claims={"mail": ("a@b.org",)}).alternative_names == (b"\x81\x07a@b.org",)
    for values in (("a@b.org", "c@d.org"), ("no address",)):
        with pytest.raises(DeniedError):
            entitle(alice, rules, claims={"mail": values})


def test_the_name_for_pkinit() -> None:
    """The bytes that MIT and Heimdal accept (docs/wire/kx509.md)."""
    value = bytes.fromhex("3020a00a1b084d49542e54455354a1123010a003020101a10930071b05616c696365")
    encoded = encode_pkinit_name(Principal(("alice",), "MIT.TEST"))
    assert encoded == der.encode_tlv(0xA0, der.encode_oid("1.3.6.1.5.2.2") + der.encode_explicit(0, value))
    assert of("alice").alternative_names == ()
    assert of("alice", pkinit_san=True).alternative_names == (encode_pkinit_name(Principal(("alice",), REALM)),)
    assert of("alice", Rule(pkinit_san=False), pkinit_san=True).alternative_names == ()
    assert of("alice", Rule(pkinit_san=True)).alternative_names != ()


def test_without_the_realm_in_the_certificate() -> None:
    assert of("alice", auth_realm=False).extensions == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"principal": ""}, "no pattern"),
        ({"principal": "a//b"}, "no pattern"),
        ({"principal": "alice@EXAMPLE.ORG"}, "no pattern"),
        ({"subject": "/CN=everybody"}, "has no"),
        ({"subject": "/CN={1}{2}"}, "stands for nothing"),
        ({"subject": "/CN={1} {x"}, "braces"),
        ({"subject": "CN={1}"}, "does not begin"),
    ],
)
def test_rules_that_cannot_work(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rule(**settings)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": ""}, "empty"),
        ({"base": "Grid"}, "does not begin"),
        ({"base": "/O=Grid", "rule": ()}, "without a rule"),
        ({"base": "/O=Grid", "email_domain": "not a host"}, "e-mail"),
        ({"base": "/O=Grid", "email_domain": "a.org", "email_claim": "mail"}, "exclude"),
        ({"base": "/O=Grid", "policies": ("1.x",)}, "identifier"),
    ],
)
def test_realms_that_cannot_work(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RealmRules(**settings)  # type: ignore[arg-type]  # by name


def test_bases_do_not_overlap() -> None:
    one = RealmRules(base="/O=Grid")
    check_realms({"A.ORG": one, "B.ORG": RealmRules(base="/O=Other")})
    for other in ("/O=Grid", "/O=grid", "/O=Grid/OU=x"):
        with pytest.raises(ConfigError, match="begins that of"):
            check_realms({"A.ORG": one, "B.ORG": RealmRules(base=other)})
    with pytest.raises(ConfigError, match="no realm is listed"):
        check_realms({})
    with pytest.raises(ConfigError, match="is no realm"):
        check_realms({"A/B": one})


def test_who_needs_a_directory() -> None:
    assert not needs_directory(RealmRules(base="/O=Grid"))
    assert needs_directory(RealmRules(base="/O=Grid", email_claim="mail"))
    assert needs_directory(RealmRules(base="/O=Grid", rule=(Rule(groups=("x",)),)))


@given(st.lists(st.text(max_size=80), min_size=1, max_size=3), st.sampled_from(["*", "*/*", "*/*/*", "a*c/x*"]))
def test_whatever_comes_is_one_name_below_the_base_or_refused(components: list[str], pattern: str) -> None:
    """Hypothesis looks for a component that changes the structure of the name, or makes two principals one."""
    rules = {REALM: RealmRules(base="/O=Grid/OU=Example", rule=(Rule(principal=pattern),), auth_realm=False)}
    try:
        found = entitle(Principal(tuple(components), REALM), rules)
    except DeniedError:
        return
    parts = names.attributes(found.subject_der)
    assert len(parts) == 2 + len(components)
    assert names.oneline(names.name_from_rdns(names.rdns(found.subject_der)[:2])) == "/O=Grid/OU=Example"
    assert parts[-1][0].text() == components[0]
    assert [part[0].text() for part in parts[2:-1]] == components[:0:-1]
