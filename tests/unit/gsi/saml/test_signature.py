"""The shape of a signature and its check, one by one: what a document that was judged before would never reach."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem
from gsi.saml.document import parse_document
from gsi.saml.signature import check_signature, find_signature
from tests.harness.ca import TestCA
from tests.harness.saml import SAMLIssuer
from tests.harness.trust import utc_now

P = CapabilityProblem


@pytest.fixture(scope="module")
def issuer() -> SAMLIssuer:
    return SAMLIssuer(TestCA().issue("/O=Grid/CN=cas"))


def test_a_signature_below_a_child_of_the_root(issuer: SAMLIssuer) -> None:
    """Its reference is the root's id, so nothing else is wrong with it."""
    signed = issuer.sign('<a AssertionID="_x"><b/></a>').decode()
    assert find_signature(parse_document(signed.encode()), "AssertionID").reference == "_x"
    moved = signed.replace("<b/>", "<b>").replace("</a>", "</b></a>")
    with pytest.raises(CapabilityError, match="elsewhere") as caught:
        find_signature(parse_document(moved.encode()), "AssertionID")
    assert caught.value.problem is P.MALFORMED


def test_the_root_itself_is_no_signature(issuer: SAMLIssuer) -> None:
    signed = issuer.sign('<a AssertionID="_x"/>').decode()
    begin, end = signed.index("<ds:Signature "), signed.index("</a>")
    alone = signed[begin:end].replace("<ds:Signature ", '<ds:Signature AssertionID="_x" ', 1)
    with pytest.raises(CapabilityError, match="elsewhere"):
        find_signature(parse_document(alone.encode()), "AssertionID")


@pytest.mark.parametrize("root", ["<a/>", '<a AssertionID=""/>', '<a ID="_x"/>'])
def test_a_reference_to_no_id(root: str, issuer: SAMLIssuer) -> None:
    """`#` is the id of a root that has none, and speaks of nothing for certain."""
    signed = issuer.sign(root, reference="#")
    with pytest.raises(CapabilityError, match="something else") as caught:
        find_signature(parse_document(signed), "AssertionID")
    assert caught.value.problem is P.MALFORMED


@pytest.mark.parametrize("days", [-400, 400])
def test_the_signer_has_to_be_valid_at_the_given_time(days: int) -> None:
    """At the time that the caller names, whatever the machine's clock says."""
    then = utc_now() + timedelta(days=days)
    signer = TestCA().issue("/O=Grid/CN=cas", not_before=then - timedelta(days=1), not_after=then + timedelta(days=1))
    issuer = SAMLIssuer(signer)
    xml = issuer.sign('<a AssertionID="_x"/>')
    signature = find_signature(parse_document(xml), "AssertionID")
    certificate = Certificate.parse(signer.der)
    assert b"_x" in check_signature(xml, signature, certificate, now=then)
    for moment in (utc_now(), then - timedelta(days=2), then + timedelta(days=2)):
        with pytest.raises(CapabilityError) as caught:
            check_signature(xml, signature, certificate, now=moment)
        assert caught.value.problem is P.BAD_SIGNATURE
