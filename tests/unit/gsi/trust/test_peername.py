"""Host names against certificates: the matrix measured with the C client, and its edges."""

from __future__ import annotations

from typing import Final

import pytest
from cryptography import x509

from gsi.errors import Reason, VerificationError
from gsi.trust.peername import NameMode, check_peer_name
from gsi.trust.verify import Purpose, ValidationOptions, VerifiedPeer, verify_chain
from tests.harness.ca import INDEPENDENT_INFO, Issued, TestCA
from tests.harness.trust import make_anchors, utc_now

NOW: Final = utc_now()
CA: Final = TestCA(key="p256")
ANCHORS: Final = make_anchors(CA)
STRICT, HYBRID, GT2 = NameMode.STRICT_RFC2818, NameMode.HYBRID, NameMode.STRICT_GT2


def host(subject: str, *san: str) -> Issued:
    return CA.issue(f"/O=Grid{subject}", key="p256", san=san or None)


def peer(issued: Issued) -> VerifiedPeer:
    return verify_chain(issued.chain_der, ANCHORS, now=NOW, options=ValidationOptions(purpose=Purpose.SERVER))


def matches(issued: Issued, name: str, mode: NameMode) -> bool:
    try:
        check_peer_name(peer(issued), name, mode)
    except VerificationError as error:
        assert error.reason is Reason.PEER_NAME  # noqa: PT017  the other errors must surface
        return False
    return True


# certificate; STRICT_RFC2818 for localhost, vm, 127.0.0.1; HYBRID and STRICT_GT2, which look for the local name vm
MATRIX: Final = [
    ("/CN=localhost", (), (True, False, False), False, False),
    ("/CN=host/localhost", (), (True, False, False), False, False),
    ("/CN=myproxy/localhost", (), (True, False, False), False, False),
    ("/CN=ldap/localhost", (), (True, False, False), False, False),
    ("/CN=vm", (), (False, True, False), True, True),
    ("/CN=host/vm", (), (False, True, False), True, True),
    ("/CN=myproxy/vm", (), (False, True, False), True, True),
    ("/CN=ldap/vm", (), (False, True, False), True, True),
    ("/CN=other", ("DNS:localhost",), (True, False, False), False, False),
    ("/CN=other", ("DNS:l*",), (True, False, False), False, False),
    ("/CN=other", ("DNS:vm",), (False, True, False), True, False),
    ("/CN=vm", ("DNS:other.example",), (False, False, False), True, True),
    ("/CN=vm-2", (), (False, False, False), True, True),
    ("/CN=x", ("IP:127.0.0.1",), (False, False, False), False, False),
]


@pytest.mark.parametrize(("subject", "san", "strict", "hybrid", "gt2"), MATRIX)
def test_matrix(subject: str, san: tuple[str, ...], strict: tuple[bool, ...], hybrid: bool, gt2: bool) -> None:
    issued = host(subject, *san)
    assert tuple(matches(issued, name, STRICT) for name in ("localhost", "vm", "127.0.0.1")) == strict
    assert matches(issued, "vm", HYBRID) is hybrid
    assert matches(issued, "vm", GT2) is gt2


@pytest.mark.parametrize(
    ("san", "name", "good"),
    [
        ("DNS:Host.Example.ORG", "host.example.org", True),
        ("DNS:host.example.org", "HOST.example.org", True),
        ("DNS:host.example.org", "host.example.org.", True),
        ("DNS:*.example.org", "host.example.org", True),
        ("DNS:f*.example.org", "foo.example.org", True),
        ("DNS:f*.example.org", "bar.example.org", False),
        ("DNS:*f.example.org", "xf.example.org", False),
        ("DNS:f*o.example.org", "foo.example.org", False),
        ("DNS:**.example.org", "foo.example.org", False),
        ("DNS:*.example.org", "a.b.example.org", False),
        ("DNS:*.example.org", "example.org", False),
        ("DNS:example.org", "host.example.org", False),
        ("DNS:host.example.org.evil.net", "host.example.org", False),
        ("DNS:*", "localhost", True),
        ("DNS:*", "host.example.org", False),
        ("DNS:*.example.org", ".example.org", False),
        ("DNS:host", "", False),
        ("DNS:*.*.org", "host.example.org", False),
        ("DNS:host.e*.org", "host.example.org", False),
        ("DNS:host.example.org.", "host.example.org", False),
        ("DNS:host.example.org.", "host.example.org.", False),
        ("DNS:host.example.org", "host.example.org..", False),
    ],
)
def test_alternative_names(san: str, name: str, good: bool) -> None:
    assert matches(host("/CN=other", san), name, STRICT) is good


def test_wildcards_are_for_alternative_names_only() -> None:
    assert not matches(host("/CN=*"), "localhost", STRICT)
    assert not matches(host("/CN=l*"), "localhost", HYBRID)


def test_only_ascii_letters_have_two_cases() -> None:
    assert not matches(host("/CN=ban\u212a.org"), "bank.org", STRICT)
    assert not matches(host("/CN=ban\u212a.org"), "ban\u212a.org", STRICT)
    assert matches(host("/CN=BANK.org"), "bank.ORG", STRICT)


def test_a_dot_at_the_end_of_a_common_name() -> None:
    assert not matches(host("/CN=host/vm.example.org."), "vm.example.org", STRICT)
    assert matches(host("/CN=host/vm.example.org"), "vm.example.org.", STRICT)


NARROW: Final = TestCA(
    "/O=Grid/CN=Narrow CA",
    key="p256",
    extensions=[(x509.NameConstraints([x509.DNSName("good.org")], [x509.DNSName("node.good.org")]), True)],
)
NARROW_ANCHORS: Final = make_anchors(NARROW)


@pytest.mark.parametrize(
    ("subject", "san", "name", "mode", "reason"),
    [
        ("/CN=www.good.org", (), "www.good.org", STRICT, None),
        ("/CN=www.good.org", ("DNS:other.good.org",), "WWW.good.org.", HYBRID, None),
        ("/CN=x", ("DNS:*.good.org",), "www.good.org", STRICT, Reason.NAME_CONSTRAINTS),
        ("/CN=victim", (), "victim", STRICT, Reason.NAME_CONSTRAINTS),
        ("/CN=host/victim", (), "victim", GT2, Reason.NAME_CONSTRAINTS),
        ("/CN=victim.org", ("DNS:www.good.org",), "victim.org", HYBRID, Reason.NAME_CONSTRAINTS),
        ("/CN=victim.org", ("DNS:www.good.org",), "victim.org", GT2, Reason.NAME_CONSTRAINTS),
        ("/CN=victim.org", ("DNS:www.good.org",), "victim.org", STRICT, Reason.PEER_NAME),
        ("/CN=x", ("DNS:node-2.good.org",), "node.good.org", HYBRID, Reason.NAME_CONSTRAINTS),
        ("/CN=victim.org.", (), "victim.org", STRICT, Reason.NAME_CONSTRAINTS),
        ("/CN=127.0.0.1", ("DNS:www.good.org",), "127.0.0.1", GT2, Reason.NAME_CONSTRAINTS),
    ],
)
def test_name_constraints_bind_the_host_that_is_believed(
    subject: str, san: tuple[str, ...], name: str, mode: NameMode, reason: Reason | None
) -> None:
    issued = NARROW.issue(f"/O=Grid{subject}", key="p256", san=san or None).proxy(key="p256")
    options = ValidationOptions(purpose=Purpose.SERVER)
    found = None
    try:
        check_peer_name(verify_chain(issued.chain_der, NARROW_ANCHORS, now=NOW, options=options), name, mode)
    except VerificationError as error:
        found = error.reason
    assert found is reason


def test_interface_names() -> None:
    assert matches(host("/CN=node-2.example.org"), "node.example.org", HYBRID)
    assert not matches(host("/CN=node-2.example.org"), "node.example.org", STRICT)
    assert not matches(host("/CN=node.example.org"), "node-2.example.org", HYBRID)
    assert not matches(host("/CN=node.example-2.org"), "node.example.org", HYBRID)


def test_the_first_common_name_counts() -> None:
    issued = host("/CN=one.example.org/CN=two.example.org")
    assert matches(issued, "one.example.org", STRICT)
    assert not matches(issued, "two.example.org", STRICT)


def test_no_common_name() -> None:
    assert not matches(host("/OU=host.example.org"), "host.example.org", STRICT)


def test_a_proxy_of_the_host() -> None:
    assert matches(host("/CN=host/vm").proxy(key="p256"), "vm", STRICT)
    independent = host("/CN=host/vm").proxy(key="p256", info=INDEPENDENT_INFO)
    assert not matches(independent, "vm", STRICT)


def test_expected_name() -> None:
    server = peer(host("/CN=host/vm").proxy(key="p256"))
    check_peer_name(server, "elsewhere", expected_dn="/O=Grid/CN=host/vm")
    check_peer_name(server, "elsewhere", expected_dn=r"/O=Grid/CN=host\/vm")
    for text in ("/O=grid/CN=host/vm", "/O=Grid/CN=vm", ""):
        with pytest.raises(VerificationError) as caught:
            check_peer_name(server, "vm", expected_dn=text)
        assert caught.value.reason is Reason.PEER_NAME
    with pytest.raises(VerificationError, match="does not match"):
        check_peer_name(server, "elsewhere")
