"""The CAs above the end entity: RFC 5280 path validation as far as proxies and grids meet it; PKITS asks the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    CA_BITS,
    EEC_BITS,
    V3,
    Entity,
    authority,
    basic_constraints,
    extension,
    issue,
    key_usage,
    proxy,
    purposes,
    with_chain,
)
from builder.keys import load
from builder.model import accept, refuse
from builder.names import name, old_hash, subject_hash
from builder.world import (
    ALICE,
    OTHER_CA,
    PLAIN,
    ROOT,
    STEM,
    SUB,
    SUB_ALICE,
    SUB_POLICY,
    TrustDir,
    authority_files,
    pem,
    policy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["below", "cases", "certified_sub"]

_SUB_NAME: Final = "/O=Grid/CN=Sub CA"
_BASIC: Final = "RFC 5280 s. 4.2.1.9"


def certified_sub(*extensions: bytes, version: bytes = V3) -> Entity:
    """Return the intermediate CA with these extensions alone."""
    listed = list(extensions) or None
    return issue(ROOT, SUB.subject, SUB.key, text=SUB.text, extensions=listed, version=version)


def below(ca: Entity) -> Entity:
    """Return the user, certified by this CA."""
    return issue(ca, ALICE.subject, ALICE.key, text=ALICE.text)


def cases() -> Iterator[Case]:
    """Yield CAs, then where they come from."""
    yield from _authorities()
    yield from _path_lengths()
    yield from _anchors()
    yield from _trust_files()


def _authorities() -> Iterator[Case]:
    usage = key_usage(*CA_BITS)
    ca_true = basic_constraints(ca=True)
    bad = {
        "basic-constraints-absent": ("no basic constraints", certified_sub(usage), "not-a-ca", _BASIC),
        "basic-constraints-false": ("CA false", certified_sub(basic_constraints(ca=False), usage), "not-a-ca", _BASIC),
        "key-cert-sign-missing": (
            "a key usage without keyCertSign",
            certified_sub(ca_true, key_usage("digitalSignature", "cRLSign")),
            "key-usage",
            "RFC 5280 s. 4.2.1.3",
        ),
        "unknown-critical": (
            "a critical extension that nobody knows",
            certified_sub(ca_true, usage, extension("1.2.3.4", der.NULL, critical=True)),
            "unknown-critical-extension",
            "RFC 5280 s. 4.2",
        ),
        "server-purpose": (
            "an extended key usage of serverAuth alone, before a client",
            certified_sub(ca_true, usage, purposes("server")),
            "extended-key-usage",
            "CA/B Forum practice, OpenSSL",
        ),
        "twice": (
            "an extension twice",
            certified_sub(ca_true, ca_true, usage),
            "duplicate-extension",
            "RFC 5280 s. 4.2",
        ),
        "version-1": ("version 1", certified_sub(version=b""), "not-a-ca", "RFC 5280 s. 6.1.4 (k)"),
    }
    for label, (words, ca, reason, spec) in bad.items():
        yield refuse(
            f"path::ca::{label}",
            f"A proxy of a user of an intermediate CA with {words}.",
            proxy(below(ca)),
            reason,
            2,
            spec=spec,
            trust=SUB_POLICY,
        )
    good = {
        "key-usage-absent": ("no key usage", certified_sub(ca_true)),
        "not-critical": ("CA true, not critical", certified_sub(basic_constraints(ca=True, critical=False), usage)),
        "client-purpose": ("an extended key usage of clientAuth", certified_sub(ca_true, usage, purposes("client"))),
        "inhibits-mapping": (
            "critical policyConstraints that only inhibit mappings",
            certified_sub(ca_true, usage, extension("2.5.29.36", der.sequence(b"\x81\x01\x00"), critical=True)),
        ),
    }
    for label, (words, ca) in good.items():
        yield accept(
            f"path::ca::{label}",
            f"A proxy of a user of an intermediate CA with {words}.",
            proxy(below(ca)),
            spec=("RFC 5280 s. 4.2.1", "RFC 5280 s. 6.1"),
            trust=SUB_POLICY,
            importance="medium",
        )
    requires = extension("2.5.29.36", der.sequence(b"\x80\x01\x00"), critical=True)
    any_policy = extension("2.5.29.32", der.sequence(der.sequence(der.oid("2.5.29.32.0"))))
    yield refuse(
        "path::ca::requires-policy",
        "An intermediate CA that requires a policy, a user without any.",
        proxy(below(certified_sub(ca_true, usage, any_policy, requires))),
        "certificate-policy",
        1,
        spec=("RFC 5280 s. 4.2.1.11", "RFC 5280 s. 6.1.5 (g)"),
        trust=SUB_POLICY,
        features=["certificate-policies"],
        importance="medium",
    )
    one = extension("2.5.29.32", der.sequence(der.sequence(der.oid("1.2.3.4"))))
    with_policy = issue(
        certified_sub(ca_true, usage, any_policy, requires),
        ALICE.subject,
        ALICE.key,
        text=ALICE.text,
        extensions=[key_usage(*EEC_BITS), one],
    )
    yield accept(
        "path::ca::requires-policy-that-is-there",
        "An intermediate CA that requires a policy, a user with one. Its proxy is no part of the path.",
        proxy(with_policy),
        spec=("RFC 5280 s. 4.2.1.11", "RFC 3820 s. 4.1"),
        trust=SUB_POLICY,
        features=["certificate-policies"],
        importance="medium",
    )
    forged = issue(ROOT, SUB.subject, SUB.key, text=SUB.text, ca=True, signer=OTHER_CA.key)
    yield refuse(
        "path::ca::forged",
        "An intermediate CA that names the root and that another key has signed.",
        proxy(below(forged)),
        "bad-signature",
        2,
        spec="RFC 5280 s. 6.1.3 (a) (1)",
        trust=SUB_POLICY,
    )


def _path_lengths() -> Iterator[Case]:
    usage = key_usage(*CA_BITS)
    zero = authority(
        ROOT.subject, ROOT.key, text=ROOT.text, extensions=[basic_constraints(ca=True, path_length=0), usage]
    )
    trust = TrustDir("path-length-0", {**SUB_POLICY.files, **authority_files(zero)})
    direct = issue(zero, ALICE.subject, ALICE.key, text=ALICE.text)
    for levels in (0, 1, 3):
        entity = direct
        for _ in range(levels):
            entity = proxy(entity)
        yield accept(
            f"path::length::root-0-proxies-{levels}",
            f"A root with path length 0, a user, {levels} proxies: proxies do not count.",
            entity,
            spec=(_BASIC, "RFC 3820 s. 4.1"),
            trust=trust,
        )
    below_sub = proxy(
        issue(issue(zero, SUB.subject, SUB.key, text=SUB.text, ca=True), ALICE.subject, ALICE.key, text=ALICE.text)
    )
    yield refuse(
        "path::length::root-0-then-intermediate",
        "A root with path length 0 above an intermediate CA.",
        below_sub,
        "ca-path-length",
        3,
        spec=_BASIC,
        trust=trust,
    )
    sub_zero = certified_sub(basic_constraints(ca=True, path_length=0), usage)
    yield accept(
        "path::length::intermediate-0-two-proxies",
        "An intermediate CA with path length 0, a user, two proxies.",
        proxy(proxy(below(sub_zero))),
        spec=(_BASIC, "RFC 3820 s. 4.1"),
        trust=SUB_POLICY,
    )
    deeper_name = "/O=Grid/CN=Sub Sub CA"
    deeper = issue(sub_zero, name(deeper_name), load("rsa2048-proxy-5"), text=deeper_name, ca=True)
    yield refuse(
        "path::length::intermediate-0-then-ca",
        "An intermediate CA with path length 0 above another CA.",
        proxy(below(deeper)),
        "ca-path-length",
        3,
        spec=_BASIC,
        trust=TrustDir(
            "sub-sub-policy",
            {**SUB_POLICY.files, f"{subject_hash(deeper.subject)}.signing_policy": policy(deeper_name).encode()},
        ),
    )
    yield from _deep()


def _deep() -> Iterator[Case]:
    """More CAs than anybody has."""
    files = dict(PLAIN.files)
    ca = ROOT
    for level in range(12):
        text = f"/O=Grid/CN=Level {level}"
        ca = issue(ca, name(text), load(("p256-proxy-1", "p256-proxy-2")[level % 2]), text=text, ca=True)
        files[f"{subject_hash(ca.subject)}.signing_policy"] = policy(text).encode()
        if level == 4:
            yield accept(
                "path::length::five-intermediates",
                "Five intermediate CAs.",
                proxy(below(ca)),
                spec="RFC 5280 s. 6.1",
                trust=TrustDir("deep-5", files),
                importance="medium",
                features=["ecdsa"],
            )
    yield refuse(
        "path::length::twelve-intermediates",
        "Twelve intermediate CAs, more than the limit.",
        proxy(below(ca)),
        "path-too-complex",
        11,
        spec="limits of implementations",
        trust=TrustDir("deep-12", files),
        importance="low",
        features=["ecdsa", "implementation-limit"],
    )


def _anchors() -> Iterator[Case]:
    """Where CAs come from: presented, from the trust directory, or both."""
    spec = "RFC 5280 s. 6.1"
    chain = proxy(SUB_ALICE)
    short = with_chain(chain, SUB_ALICE.certificate)
    both = TrustDir("root-and-sub", {**SUB_POLICY.files, **authority_files(SUB)})
    alone = TrustDir("sub-alone", authority_files(SUB))
    yield accept(
        "path::anchor::intermediate-in-directory",
        "The intermediate CA in the trust directory, not presented.",
        short,
        spec=spec,
        trust=both,
    )
    yield accept(
        "path::anchor::intermediate-in-both",
        "The intermediate CA in the trust directory and presented.",
        chain,
        spec=spec,
        trust=both,
    )
    yield refuse(
        "path::anchor::root-missing",
        "The intermediate CA alone in the trust directory, without its root: a path ends at a root.",
        short,
        "untrusted",
        2,
        spec="GSI: no partial chains",
        trust=alone,
    )
    yield refuse(
        "path::anchor::root-presented-alone",
        "The same with the root presented.",
        with_chain(chain, SUB_ALICE.certificate, SUB.certificate, ROOT.certificate),
        "untrusted",
        3,
        spec="RFC 5280 s. 6.1",
        trust=TrustDir("policies-alone", {k: v for k, v in SUB_POLICY.files.items() if not k.endswith(".0")}),
    )
    same_name = authority(ROOT.subject, OTHER_CA.key, text=ROOT.text)
    yield refuse(
        "path::anchor::other-root-of-the-name",
        "A root of the same name and another key in the trust directory, the right one presented.",
        with_chain(proxy(ALICE), ALICE.certificate, ROOT.certificate),
        "bad-signature",
        1,
        spec=spec,
        trust=TrustDir("root-other-key", authority_files(same_name)),
    )
    yield accept(
        "path::anchor::second-of-the-name",
        "Two roots of one name, after a change of keys; the second one signed.",
        proxy(ALICE),
        spec=spec,
        trust=TrustDir(
            "root-rolled", {**authority_files(same_name), f"{STEM}.1": pem("CERTIFICATE", ROOT.certificate)}
        ),
    )
    old_name = old_hash(ROOT.subject)
    yield accept(
        "path::anchor::old-hash",
        "The CA under the hash of OpenSSL before 1.0 alone.",
        proxy(ALICE),
        spec="IGTF distributions carry both",
        trust=TrustDir(
            "old-hash",
            {
                f"{old_name}.0": pem("CERTIFICATE", ROOT.certificate),
                f"{old_name}.signing_policy": policy().encode(),
            },
        ),
        features=["old-hash"],
        importance="low",
    )
    old_root = authority(ROOT.subject, ROOT.key, text=ROOT.text, extensions=None, version=b"")
    yield accept(
        "path::anchor::version-1",
        "A root of version 1, as the oldest CAs have.",
        proxy(ALICE),
        spec="RFC 5280 s. 6.1.4 (k)",
        trust=TrustDir("root-v1", authority_files(old_root)),
        importance="low",
    )


def _trust_files() -> Iterator[Case]:
    good = proxy(ALICE)
    ca = pem("CERTIFICATE", ROOT.certificate)
    rules = {name: content for name, content in PLAIN.files.items() if not name.endswith(".0")}
    wrong = {
        "named-after-another": {"12345678.0": ca},
        "not-numbered": {f"{STEM}.pem": ca},
        "empty": {f"{STEM}.0": b""},
        "garbage": {f"{STEM}.0": pem("CERTIFICATE", b"\x30\x03\x02\x01\x01")},
    }
    for label, files in wrong.items():
        yield refuse(
            f"path::file::{label}",
            f"The CA's file in the trust directory is {label.replace('-', ' ')}.",
            good,
            "untrusted",
            1,
            spec="OpenSSL hashed directories",
            trust=TrustDir(f"file-{label}", {**rules, **files}),
            importance="medium",
        )
    yield accept(
        "path::file::with-text",
        "The CA's file with the certificate as text before its block.",
        good,
        spec="OpenSSL hashed directories",
        trust=TrustDir("file-with-text", {**rules, f"{STEM}.0": b"Certificate:\n    Data:\n" + ca}),
        importance="medium",
    )
    yield accept(
        "path::file::others-broken",
        "Files of other CAs that are no certificates.",
        good,
        spec="each for itself",
        trust=TrustDir("file-others-broken", {**PLAIN.files, "12345678.0": b"garbage", "12345678.r0": b"garbage"}),
    )
