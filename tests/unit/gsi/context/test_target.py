"""Who is meant, and who it is."""

from __future__ import annotations

import pytest

from gsi.context.target import Target, check_target
from gsi.errors import ConfigError, Reason, VerificationError
from gsi.trust.options import ValidationOptions
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.ca import INDEPENDENT_INFO, Issued, TestCA
from tests.harness.trust import make_anchors, utc_now

CA = TestCA("/O=Grid/CN=CA", "p256")
ANCHORS = make_anchors(CA)


def proven(issued: Issued) -> VerifiedPeer:
    return verify_chain(issued.chain_der, ANCHORS, now=utc_now(), options=ValidationOptions())


def peer(common_name: str, *names: str) -> VerifiedPeer:
    return proven(CA.issue(f"/O=Grid/CN={common_name}", "p256", san=names or None))


@pytest.mark.parametrize(
    ("text", "target", "server_name"),
    [
        ("data.example.org", Target("data.example.org"), "data.example.org"),
        ("data.example.org.", Target("data.example.org."), "data.example.org"),
        ("ftp@data.example.org", Target("data.example.org", "ftp"), "data.example.org"),
        ("/O=Grid/CN=a@b", Target(identity="/O=Grid/CN=a@b"), None),
        ("192.0.2.1", Target("192.0.2.1"), None),
        ("[2001:db8::1]", Target("[2001:db8::1]"), None),
        ("2001:db8::1", Target("2001:db8::1"), None),
    ],
)
def test_texts(text: str, target: Target, server_name: str | None) -> None:
    assert Target.parse(text) == target
    assert str(target) == text
    assert target.server_name == server_name


@pytest.mark.parametrize("text", ["", "@", "ftp@", "@host", "a b", "host/name", "a@b@c", "x\n", "h" * 1025, "/O=\x7f"])
def test_no_targets(text: str) -> None:
    with pytest.raises(ConfigError):
        Target.parse(text)


@pytest.mark.parametrize(
    "arguments", [(None, None, None), ("host", None, "/CN=x"), (None, None, "CN=x"), ("h", "", None)]
)
def test_neither_host_nor_identity(arguments: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(ConfigError):
        Target(*arguments)


@pytest.mark.parametrize(
    ("found", "target", "same"),
    [
        (("localhost",), "localhost", True),
        (("localhost",), "LOCALHOST", True),
        (("localhost",), "host@localhost", True),
        (("localhost",), "ftp@localhost", False),
        (("host/localhost",), "localhost", True),
        (("host/localhost",), "host@localhost", True),
        (("HOST/localhost",), "host@localhost", True),
        (("host/localhost",), "ftp@localhost", False),
        (("ftp/localhost",), "localhost", True),
        (("ftp/localhost",), "ftp@localhost", True),
        (("ftp/localhost",), "host@localhost", False),
        (("ftp/localhost", "DNS:localhost"), "host@localhost", True),
        (("localhost", "DNS:other"), "localhost", False),
        (("other", "DNS:f*.example.org"), "files.example.org", True),
        (("other", "DNS:*f.example.org"), "xf.example.org", False),
        (("x", "IP:192.0.2.1"), "192.0.2.1", True),
        (("x", "IP:192.0.2.1"), "192.0.2.2", False),
        (("192.0.2.1",), "192.0.2.1", False),
        (("x", "DNS:192.0.2.1"), "192.0.2.1", False),
        (("x", "IP:2001:db8::1"), "2001:DB8:0::1", True),
        (("Alice",), "/O=Grid/CN=Alice", True),
        (("Alice",), "/O=Grid/CN=alice", False),
        (("Alice",), "/O=Grid/CN=Alice/CN=1", False),
    ],
    ids=str,
)
def test_comparison(found: tuple[str, ...], target: str, same: bool) -> None:
    one = peer(*found)
    if same:
        check_target(one, Target.parse(target))
        return
    with pytest.raises(VerificationError) as caught:
        check_target(one, Target.parse(target))
    assert caught.value.reason is Reason.PEER_NAME


def test_a_proxy_is_its_issuer_and_an_independent_one_is_not() -> None:
    host = CA.issue("/O=Grid/CN=x", "p256", san=["IP:192.0.2.1"])
    check_target(proven(host.proxy(key="p256")), Target("192.0.2.1"))
    with pytest.raises(VerificationError):
        check_target(proven(host.proxy(key="p256", info=INDEPENDENT_INFO)), Target("192.0.2.1"))
