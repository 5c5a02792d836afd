"""Proving signers of assertions: who may be one."""

from __future__ import annotations

import pytest

from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem
from gsi.saml.trust import AssertionIssuer, Signers
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, Issued, TestCA
from tests.harness.trust import make_anchors, utc_now


def _shown(issued: Issued) -> tuple[Certificate, ...]:
    return tuple(Certificate.parse(one) for one in issued.chain_der)


def test_no_proxy_signs_even_under_its_own_name() -> None:
    """An issuer whose name is that of a proxy: whoever holds the end entity's key for an hour would be that issuer."""
    ca = TestCA()
    signers, now = Signers(lambda: make_anchors(ca)), utc_now()
    cas = ca.issue("/O=Grid/CN=cas")
    assert signers.prove(AssertionIssuer(subject=cas.subject), _shown(cas), now=now).certificate.der == cas.der
    lower = cas.proxy().proxy()
    for proxy in (cas.proxy(), cas.proxy(info=INDEPENDENT_INFO), cas.proxy(info=LIMITED_INFO), lower):
        with pytest.raises(CapabilityError, match="proxy") as caught:
            signers.prove(AssertionIssuer(subject=proxy.subject), _shown(proxy), now=now)
        assert caught.value.problem is CapabilityProblem.SIGNER
