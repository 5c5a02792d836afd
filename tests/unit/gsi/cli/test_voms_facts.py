"""What `voms-proxy-info` knows of a proxy file: nothing that was changed is believed, nothing odd is an accident."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.cli.voms_facts import ProxyFacts, gather, proxy_type
from gsi.errors import CapabilityError, CapabilityProblem, GridError, VerificationError
from gsi.proxy.kinds import Classification, ProxyFormat, ProxyKind, Role
from tests.harness.ca import Issued, TestCA, raw_extension, write_trust_dir
from tests.harness.voms import AC_SEQUENCE, VO, VOMSServer, ac_extension


class Site:
    """One VO and Alice, with keys that are quickly made."""

    def __init__(self, directory: Path) -> None:
        self.ca = TestCA()
        self.server = VOMSServer(self.ca)
        self.alice = self.ca.issue("/O=Grid/CN=Alice", "p256")
        self.trust_dir = write_trust_dir(directory / "certificates", self.ca)
        self.vomsdir = self.server.write_lsc(directory / "vomsdir")
        self.path = directory / "proxy.pem"
        self.ac = self.server.attribute_certificate(self.alice, serial=0x1F2)

    def gather(self, proxy: Issued, *, verify: bool = True) -> ProxyFacts:
        proxy.write_bundle(self.path)
        return gather(str(self.path), certdir=str(self.trust_dir), vomsdir=str(self.vomsdir), verify=verify)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def test_what_is_good(site: Site) -> None:
    facts = site.gather(site.alice.proxy(extensions=[ac_extension(site.ac)], key="p256"))
    (found,) = facts.believed
    assert (found.authority.vo, found.holder, found.serial) == (VO, "/O=Grid/CN=Alice", "01F2")
    assert found.is_verified
    assert facts.refused == ()
    assert facts.strength == 256


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_byte_may_be_changed(site: Site, at: int, flip: int) -> None:
    """Whatever it is: neither believed with a change, nor an error that is not ours."""
    changed = bytearray(site.ac)
    changed[at % len(changed)] ^= flip
    facts = site.gather(site.alice.proxy(extensions=[ac_extension(bytes(changed))], key="p256"))
    assert facts.believed == ()
    assert len(facts.refused) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=200), verify=st.booleans())
def test_any_bytes_in_place_of_attributes(site: Site, value: bytes, verify: bool) -> None:
    proxy = site.alice.proxy(extensions=[raw_extension(AC_SEQUENCE, value)], key="p256")
    assert not site.gather(proxy, verify=verify).believed


def test_those_of_a_chain_that_is_not_trusted(site: Site) -> None:
    stranger = TestCA("/O=Elsewhere/CN=CA")
    mallory = stranger.issue("/O=Elsewhere/CN=Mallory", "p256")
    ac = site.server.attribute_certificate(mallory)
    facts = site.gather(mallory.proxy(extensions=[ac_extension(ac)], key="p256"))
    (refused,) = facts.refused
    assert isinstance(refused.error, VerificationError)
    assert refused.authority == f"{VO}://voms.example.org:15000"
    assert facts.believed == ()


def test_unverified_is_marked(site: Site) -> None:
    """And an attribute certificate of somebody else does not get this user's name."""
    ac = site.server.attribute_certificate(site.alice, holder_serial=0xABC)
    proxy = site.alice.proxy(extensions=[ac_extension(ac)], key="p256")
    (shown,) = site.gather(proxy, verify=False).believed
    assert not shown.is_verified
    assert shown.holder == "serial number ABC of /O=Grid/CN=Test CA"
    (refused,) = site.gather(proxy).refused
    assert isinstance(refused.error, CapabilityError)
    assert refused.error.problem is CapabilityProblem.HOLDER


def test_the_leaf_comes_first(site: Site) -> None:
    upper = site.alice.proxy(extensions=[ac_extension(site.ac)], key="p256")
    ac = site.server.attribute_certificate(site.alice, fqans=[f"/{VO}/Role=leaf"])
    facts = site.gather(upper.proxy(extensions=[ac_extension(ac)], key="p256"))
    assert [one.certificate.der for one in facts.believed] == [ac, site.ac]


def test_no_proxy_file(site: Site, tmp_path: Path) -> None:
    for content in (None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        path = tmp_path / "proxy"
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o600)
        with pytest.raises(GridError):
            gather(str(path), certdir=str(site.trust_dir), vomsdir=None, verify=True)


@pytest.mark.parametrize(
    ("form", "kind", "words"),
    [
        (ProxyFormat.RFC3820, ProxyKind.FULL, "RFC compliant proxy"),
        (ProxyFormat.RFC3820, ProxyKind.LIMITED, "RFC compliant limited proxy"),
        (ProxyFormat.RFC3820, ProxyKind.INDEPENDENT, "RFC compliant independent proxy"),
        (ProxyFormat.GT3, ProxyKind.FULL, "GT3-style proxy"),
        (ProxyFormat.GT2, ProxyKind.FULL, "proxy"),
        (ProxyFormat.GT2, ProxyKind.LIMITED, "limited proxy"),
    ],
)
def test_types(form: ProxyFormat, kind: ProxyKind, words: str) -> None:
    assert proxy_type(Classification(Role.PROXY, form, kind, None)) == words
    assert proxy_type(None) == "unknown"
