"""Judging chains, whatever comes in: only our errors come out, and no changed bit is believed."""

from __future__ import annotations

import contextlib
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsi import der
from gsi.certificate import Certificate, Extension
from gsi.errors import GridError, ParseError, VerificationError
from gsi.trust.anchors import build_anchors
from gsi.trust.crl import parse_crl, parse_crl_file
from gsi.trust.name_constraints import check_names, parse_name_constraints
from gsi.trust.namespaces import parse_namespaces
from gsi.trust.profile import read_profile
from gsi.trust.signing_policy import parse_signing_policy
from gsi.trust.verify import ValidationOptions, VerificationCache, verify_chain
from tests.harness.ca import LIMITED_INFO, TestCA, subject_hash
from tests.harness.policies import CA as POLICY_CA
from tests.harness.policies import GOOD, SUBJECT
from tests.harness.trust import forge, make_anchors, utc_now

NOW: Final = utc_now()
CA: Final = TestCA(key="p256")
SUB: Final = CA.intermediate("/O=Grid/CN=Sub", key="p256")
STEM: Final = subject_hash(CA.certificate)
ANCHORS: Final = make_anchors(
    CA, crl=True, more={f"{subject_hash(SUB.certificate)}.signing_policy": SUB.signing_policy().encode()}
)
ALICE: Final = SUB.issue("/O=Grid/CN=Alice", key="p256")
LEAF: Final = ALICE.proxy(key="p256").proxy(key="p256", info=LIMITED_INFO)
CHAIN: Final = LEAF.chain_der
EVERYTHING: Final = ValidationOptions(accept_gt2=True, accept_gt3=True, handlers={"1.2.3.4": lambda _: frozenset()})


def judge(chain: list[bytes] | tuple[bytes, ...]) -> None:
    verify_chain(chain, ANCHORS, now=NOW, options=EVERYTHING)


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """Real bytes with one to four of them changed, cut or put in."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["change", "cut", "insert", "truncate"])):
            case "change":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                del data[max(at, 1) :]
        if not data:
            break
    return bytes(data)


def test_the_chain_is_good() -> None:
    judge(CHAIN)


@pytest.mark.parametrize("index", range(4))
def test_no_single_changed_bit_is_believed(index: int) -> None:
    """Every bit of the leaf, the proxy above, the end entity and the CA between."""
    original = CHAIN[index]
    for bit in range(8 * len(original)):
        changed = bytearray(original)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            judge((*CHAIN[:index], bytes(changed), *CHAIN[index + 1 :]))


def test_no_single_changed_bit_of_the_leaf_is_believed_with_the_issuers_known() -> None:
    cache = VerificationCache()
    verify_chain(CHAIN, ANCHORS, now=NOW, cache=cache)
    for bit in range(8 * len(CHAIN[0])):
        changed = bytearray(CHAIN[0])
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            verify_chain((bytes(changed), *CHAIN[1:]), ANCHORS, now=NOW, cache=cache)


@given(st.data())
@settings(max_examples=300)
def test_damaged_certificates(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(CHAIN) - 1))
    changed = data.draw(damaged(CHAIN[index]))
    if changed != CHAIN[index]:
        with pytest.raises(VerificationError):
            judge((*CHAIN[:index], changed, *CHAIN[index + 1 :]))


@given(st.lists(st.sampled_from([*CHAIN, CA.der]) | st.binary(max_size=40), max_size=8))
@settings(max_examples=300)
@example([])
@example([CHAIN[0]] * 101)
def test_any_order_of_certificates(chain: list[bytes]) -> None:
    with contextlib.suppress(VerificationError):
        judge(chain)


extensions = st.builds(
    Extension,
    st.sampled_from(
        [
            "2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.18", "2.5.29.19", "2.5.29.30", "2.5.29.32", "2.5.29.35",
            "2.5.29.36", "2.5.29.37", "1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.3536.1.222", "1.2.3.4",
        ]
    ),
    st.booleans(),
    st.binary(max_size=40)
    | st.sampled_from([LIMITED_INFO, b"\x30\x00", b"\x30\x03\x01\x01\xff", b"\x03\x02\x07\x80", b"\x05\x00"]),
)  # fmt: skip


@given(st.lists(extensions, max_size=5), st.integers(1, 4))
@settings(max_examples=300)
def test_any_extensions(listed: list[Extension], version: int) -> None:
    changed = forge(CHAIN[0], ALICE.key, extensions=listed, version=version)
    with pytest.raises(VerificationError):  # the wrong key has signed it, whatever it says
        judge((changed, *CHAIN[1:]))
    with contextlib.suppress(GridError):
        read_profile(Certificate.parse(changed), 0)


@given(st.binary(max_size=200))
def test_any_policy(data: bytes) -> None:
    for parser in (parse_signing_policy, parse_namespaces):
        with contextlib.suppress(ParseError):
            assert not parser(data).permits(POLICY_CA, SUBJECT)


@given(damaged(GOOD.encode()))
@settings(max_examples=300)
def test_damaged_policies_permit_no_stranger(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        policy = parse_signing_policy(data)
        assert not policy.permits("/O=Other/CN=CA", SUBJECT)


@given(st.text(alphabet='/=*?.[](){}|+\\^$aTOo "\n#', max_size=60))
@settings(max_examples=300)
def test_any_expression(expression: str) -> None:
    with contextlib.suppress(ParseError):
        parse_namespaces(f'TO Issuer SELF PERMIT Subject "{expression}"\n').permits(POLICY_CA, SUBJECT)


REAL_CRL: Final = CA.crl([1, 2, 2**150])


@given(st.binary(max_size=200) | damaged(REAL_CRL))
@settings(max_examples=300)
def test_any_crl_file(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        for crl in parse_crl_file(data):
            crl.is_revoked(2)


@given(st.data())
@settings(max_examples=300)
def test_damaged_crls(data: st.DataObject) -> None:
    (real,) = parse_crl_file(REAL_CRL)
    changed = data.draw(damaged(real.der))
    with contextlib.suppress(ParseError):
        parse_crl(changed).is_revoked(2)


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_any_name_constraints(value: bytes, names: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_name_constraints(value, critical=True)
    real = der.encode_sequence(der.encode_explicit(0, der.encode_sequence(der.encode_tlv(0x82, b"example.org"))))
    constraints = parse_name_constraints(real, critical=True)
    with contextlib.suppress(VerificationError):
        check_names(constraints, Certificate.parse(CA.der).subject_der, names, 0)


@given(
    st.dictionaries(
        st.sampled_from([f"{STEM}.{kind}" for kind in ("0", "1", "r0", "r1", "signing_policy", "namespaces")]),
        st.binary(max_size=60) | damaged(CA.pem) | damaged(REAL_CRL) | damaged(GOOD.encode()),
    )
)
@settings(max_examples=200)
def test_any_trust_directory(files: dict[str, bytes]) -> None:
    other = TestCA("/O=Grid/CN=Other", key=CA.key)
    beside = build_anchors({**make_files_of(other), **files}, loaded_at=NOW)
    issued = other.issue("/O=Grid/CN=Bob", key=ALICE.key)
    assert verify_chain(issued.chain_der, beside, now=NOW).identity == "/O=Grid/CN=Bob"


def make_files_of(ca: TestCA) -> dict[str, bytes]:
    stem = subject_hash(ca.certificate)
    return {f"{stem}.0": ca.pem, f"{stem}.signing_policy": ca.signing_policy().encode()}
