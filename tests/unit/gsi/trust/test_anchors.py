"""A trust directory's files as one value: what is read, and that one broken file takes nothing else with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from gsi.certificate import Certificate
from gsi.errors import Reason
from gsi.trust import anchors as anchors_module
from gsi.trust.anchors import BrokenFile, Problem, build_anchors, is_trust_file
from gsi.trust.verify import verify_chain
from tests.harness.ca import TestCA, parse_name, subject_hash
from tests.harness.trust import make_anchors, make_files, utc_now

NOW: Final = utc_now()
ONE: Final = TestCA("/O=Grid/CN=One")
TWO: Final = TestCA("/O=Grid/CN=Two")
STEM: Final = subject_hash(ONE.certificate)
OLD: Final = subject_hash(ONE.certificate, old=True)


def test_contents() -> None:
    anchors = make_anchors(ONE, TWO, crl=True)
    assert sorted(one.subject for one in anchors.authorities) == ["/O=Grid/CN=One", "/O=Grid/CN=Two"]
    assert all(one.is_anchor for one in anchors.authorities)
    assert anchors.problems == ()
    assert "2 CAs" in repr(anchors)


def test_names_of_files() -> None:
    good = (
        "0123abcd.0",
        "0123abcd.12",
        "0123abcd.r0",
        "0123abcd.r12",
        "0123abcd.signing_policy",
        "0123abcd.namespaces",
    )
    bad = ("0123ABCD.0", "0123abcd", "0123abcd.", "0123abcd.r", "0123abcd.info", "0123abcde.0", "ca.pem", "x", "")
    assert all(map(is_trust_file, good))
    assert not any(map(is_trust_file, bad))


def test_other_files_are_passed_over() -> None:
    anchors = make_anchors(ONE, more={"README": b"\x00", f"{STEM}.info": b"garbage", "ca.pem": b"garbage"})
    assert anchors.problems == ()


def test_one_broken_file_leaves_the_rest() -> None:
    for name in (f"{STEM}.0", f"{STEM}.signing_policy", f"{STEM}.namespaces", f"{STEM}.r0"):
        anchors = make_anchors(ONE, TWO, more={name: b"-----BEGIN garbage"})
        assert [one.path for one in anchors.problems] == [name]
        assert verify_chain(TWO.issue("/O=Grid/CN=A").chain_der, anchors, now=NOW).kind is None


@pytest.mark.parametrize(
    ("kind", "parser", "reason"),
    [
        ("namespaces", "parse_namespaces", Reason.NAMESPACES),
        ("signing_policy", "parse_signing_policy", Reason.SIGNING_POLICY_BROKEN),
        ("r0", "parse_crl_file", Reason.CRL_BROKEN),
        ("0", "load_certificates", None),
    ],
)
def test_a_parser_that_fails_in_no_foreseen_way_fails_for_one_ca(
    kind: str, parser: str, reason: Reason | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(anchors_module, parser)

    def failing(data: bytes, **how: object) -> object:
        if data == b"trap":
            raise FutureWarning("a library has changed its mind")
        return real(data, **how)

    monkeypatch.setattr(anchors_module, parser, failing)
    anchors = make_anchors(ONE, TWO, more={f"{STEM}.{kind}": b"trap"})
    (problem,) = anchors.problems
    assert (problem.path, problem.reason) == (f"{STEM}.{kind}", reason)
    assert "changed its mind" in problem.message
    assert TWO.name in [authority.subject for authority in anchors.authorities]


def test_unreadable_file_is_broken_not_absent() -> None:
    files: dict[str, bytes | Problem] = {**make_files(ONE), f"{STEM}.r0": Problem(f"{STEM}.r0", "cannot be opened")}
    anchors = build_anchors(files, loaded_at=NOW)
    assert [one.reason for one in anchors.problems] == [Reason.CRL_BROKEN]
    (crl,) = anchors.find_rules(ONE.certificate.subject.public_bytes()).crls
    assert isinstance(crl, BrokenFile)


def test_file_named_after_another_ca() -> None:
    anchors = build_anchors({f"{STEM}.0": TWO.pem}, loaded_at=NOW)
    assert anchors.authorities == ()
    (problem,) = anchors.problems
    assert f"{subject_hash(TWO.certificate)}.0" in problem.message


def test_several_in_one_file() -> None:
    renewed = TestCA("/O=Grid/CN=One", key=ONE.key, not_after=NOW + timedelta(days=99))
    anchors = build_anchors({f"{STEM}.0": ONE.pem + renewed.pem}, loaded_at=NOW)
    assert len(anchors.authorities) == 2


def test_text_around_the_pem() -> None:
    anchors = build_anchors({f"{STEM}.0": b"Certificate:\n  Data: x\n" + ONE.pem + b"\ntrailing\n"}, loaded_at=NOW)
    assert len(anchors.authorities) == 1


def test_no_certificate_in_the_file() -> None:
    for content in (b"", b"text\n", ONE.crl()):
        assert [one.path for one in build_anchors({f"{STEM}.0": content}, loaded_at=NOW).problems] == [f"{STEM}.0"]


def test_rules_of_both_hashes_meet() -> None:
    files = {f"{OLD}.signing_policy": b"", f"{OLD}.r0": ONE.crl(), f"{STEM}.r0": ONE.crl(number=2)}
    rules = build_anchors(files, loaded_at=NOW).find_rules(ONE.certificate.subject.public_bytes())
    assert rules.signing_policy is not None
    assert [one.path for one in rules.crls] == [f"{STEM}.r0", f"{OLD}.r0"]


def test_find_by_name_in_another_spelling() -> None:
    anchors = make_anchors(ONE)
    (found,) = anchors.find_authorities(parse_name("/O=GRID/CN=one").public_bytes())
    assert found.certificate == Certificate.parse(ONE.der)
    assert anchors.find_authorities(parse_name("/O=Grid/CN=Three").public_bytes()) == ()


def test_generation_follows_the_contents() -> None:
    first, again = make_anchors(ONE), make_anchors(ONE)
    assert first.generation == again.generation
    assert first.generation != make_anchors(ONE, crl=True).generation
    assert first.generation != make_anchors(ONE, TWO).generation


def test_unchanged_files_are_not_parsed_again() -> None:
    files = make_files(ONE, TWO, crl=True)
    first = build_anchors(files, loaded_at=NOW)
    changed = {**files, f"{STEM}.r0": ONE.crl(number=2)}
    second = build_anchors(changed, loaded_at=NOW, previous=first)
    assert set(second.authorities) == set(first.authorities)
    subject = TWO.certificate.subject.public_bytes()
    assert second.find_rules(subject).crls[0].crls is first.find_rules(subject).crls[0].crls  # type: ignore[union-attr]  # neither is broken
    third = build_anchors(make_files(TWO), loaded_at=NOW, previous=second)
    assert [one.subject for one in third.authorities] == [TWO.name]
