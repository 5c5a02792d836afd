"""Who may sign a proxy: an end entity or a proxy, and nobody else; who may sign an end entity: a CA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder.certificates import (
    CA_BITS,
    EEC_BITS,
    FULL,
    LIMITED,
    Entity,
    basic_constraints,
    issue,
    key_usage,
    proxy,
    serial_of,
    with_chain,
)
from builder.keys import load
from builder.model import accept, refuse
from builder.names import name
from builder.world import ALICE, OTHER_CA, PLAIN, ROOT, SUB, SUB_ALICE, SUB_POLICY, TrustDir, authority_files, user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case, Option

__all__ = ["cases"]

_SPEC: Final = "RFC 3820 s. 3.1"
_ALL_FORMS: Final[dict[str, Option]] = {"accept_gt2": True, "accept_gt3": True}
_MALLORY: Final = "/O=Grid/OU=Test/CN=Mallory"


def cases() -> Iterator[Case]:
    """Yield wrong issuers and broken signatures."""
    yield from _signed_by_a_ca()
    yield from _signed_by_nobody_fit()
    yield from _signatures()


def _signed_by_a_ca() -> Iterator[Case]:
    forms = {
        "rfc3820": proxy(ROOT, FULL),
        "rfc3820-limited": proxy(ROOT, LIMITED),
        "gt3": proxy(ROOT, FULL, form="gt3"),
        "gt2": proxy(ROOT, None, form="gt2", serial=serial_of(ROOT.certificate)),
        "gt2-limited": proxy(ROOT, None, form="gt2", cn="limited proxy"),
    }
    for label, entity in forms.items():
        for root, shown in (((), "without the root"), ((ROOT.certificate,), "root presented")):
            yield refuse(
                f"rfc3820::ca-signed::{label}{'-with-root' if root else ''}",
                f"A proxy ({label}) that a CA has signed, {shown}.",
                with_chain(entity, *root),
                "no-end-entity",
                spec=_SPEC,
                options=_ALL_FORMS,
                features=["gt2", "gt3"],
            )
    yield refuse(
        "rfc3820::ca-signed::intermediate",
        "A proxy that an intermediate CA has signed.",
        proxy(SUB),
        "no-end-entity",
        spec=_SPEC,
        trust=SUB_POLICY,
    )
    yield refuse(
        "rfc3820::ca-signed::name-of-a-user",
        "A proxy with a user's name that the CA has signed, before the user's own certificate.",
        proxy(ALICE, signer=ROOT.key),
        "bad-signature",
        spec=_SPEC,
    )


def _signed_by_nobody_fit() -> Iterator[Case]:
    mallory = name(_MALLORY)
    key = load("rsa2048-other-eec")
    below = issue(ALICE, mallory, key, text=_MALLORY)
    yield refuse(
        "rfc3820::issuer-kind::end-entity-by-end-entity",
        "An end entity that another end entity has certified.",
        below,
        "not-a-ca",
        1,
        spec="RFC 5280 s. 6.1.4 (k)",
    )
    yield refuse(
        "rfc3820::issuer-kind::proxy-below-end-entity-by-end-entity",
        "A proxy of an end entity that another end entity has certified.",
        proxy(below),
        "not-a-ca",
        2,
        spec="RFC 5280 s. 6.1.4 (k)",
    )
    yield refuse(
        "rfc3820::issuer-kind::end-entity-by-proxy",
        "An end entity that a proxy has certified.",
        issue(proxy(ALICE), mallory, key, text=_MALLORY),
        "not-a-ca",
        1,
        spec="RFC 5280 s. 6.1.4 (k)",
    )
    yield refuse(
        "rfc3820::issuer-kind::extended-name-by-proxy",
        "A certificate with a proxy's name and no mark of one, by a proxy.",
        proxy(proxy(ALICE), None),
        "not-a-ca",
        1,
        spec=("RFC 3820 s. 3.8", "RFC 3820 s. 4.1.3 (b)"),
    )
    false_ca = issue(ALICE, mallory, key, text=_MALLORY, ca=True)
    yield refuse(
        "rfc3820::issuer-kind::ca-by-end-entity",
        "A user certified by a CA that an end entity has certified.",
        issue(false_ca, ALICE.subject, load("rsa2048-proxy-1"), text=ALICE.text),
        "not-a-ca",
        2,
        spec="RFC 5280 s. 6.1.4 (k)",
    )
    proxy_ca = issue(proxy(ALICE), mallory, key, text=_MALLORY, ca=True)
    yield refuse(
        "rfc3820::issuer-kind::ca-by-proxy",
        "A user certified by a CA that a proxy has certified.",
        issue(proxy_ca, ALICE.subject, load("rsa2048-proxy-2"), text=ALICE.text),
        "not-a-ca",
        2,
        spec="RFC 5280 s. 6.1.4 (k)",
    )
    yield refuse(
        "rfc3820::issuer-kind::ca-alone",
        "A CA in place of an end entity.",
        with_chain(SUB),
        "is-a-ca",
        spec="RFC 3820 s. 4",
        trust=SUB_POLICY,
    )
    yield refuse(
        "rfc3820::issuer-kind::root-alone",
        "The root in place of an end entity.",
        with_chain(ROOT),
        "is-a-ca",
        spec="RFC 3820 s. 4",
    )
    both = issue(
        ROOT,
        ALICE.subject,
        ALICE.key,
        text=ALICE.text,
        extensions=[basic_constraints(ca=True), key_usage(*EEC_BITS, *CA_BITS)],
    )
    yield refuse(
        "rfc3820::issuer-kind::user-with-ca-true",
        "A proxy of a user whose certificate says CA true.",
        proxy(both),
        "no-end-entity",
        spec=_SPEC,
    )
    yield refuse(
        "rfc3820::issuer-kind::end-entity-in-trust-directory",
        "An end entity that signed itself and lies in the trust directory as if it were a CA.",
        _SELF_MADE,
        "untrusted",
        spec="RFC 5280 s. 6.1",
        trust=TrustDir("end-entity-as-ca", {**PLAIN.files, **authority_files(_SELF_MADE)}),
    )
    yield refuse(
        "rfc3820::issuer-kind::self-signed-stranger",
        "An end entity that signed itself, known to nobody.",
        _SELF_MADE,
        "untrusted",
        spec="RFC 5280 s. 6.1",
    )


_SELF_MADE: Final = issue(
    Entity(b"", name(_MALLORY), load("rsa2048-other-eec"), _MALLORY, ALICE.facts, is_root=True),
    name(_MALLORY),
    load("rsa2048-other-eec"),
    text=_MALLORY,
)


def _signatures() -> Iterator[Case]:
    spec = ("RFC 3820 s. 4.1.3 (a) (1)", "RFC 5280 s. 6.1.3 (a) (1)")
    other = load("rsa2048-other-eec")
    yield refuse(
        "rfc3820::signature::other-key",
        "A proxy signed with another key.",
        proxy(ALICE, signer=other),
        "bad-signature",
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::own-key",
        "A proxy signed with its own key.",
        proxy(ALICE, signer=load("rsa2048-proxy-1")),
        "bad-signature",
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::above",
        "A proxy below one that was signed with another key.",
        proxy(proxy(ALICE, signer=other)),
        "bad-signature",
        1,
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::skips-a-level",
        "The second proxy signed by the end entity in place of the first proxy.",
        proxy(proxy(ALICE), signer=ALICE.key),
        "bad-signature",
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::end-entity-by-other-ca",
        "An end entity that names the CA, signed by another one.",
        proxy(issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, signer=OTHER_CA.key)),
        "bad-signature",
        1,
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::end-entity-by-itself",
        "An end entity that names the CA, signed with its own key.",
        proxy(issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, signer=ALICE.key)),
        "bad-signature",
        1,
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::empty",
        "A signature of no bytes.",
        proxy(ALICE, signature=b""),
        "bad-signature",
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::zeros",
        "A signature of zero bytes.",
        proxy(ALICE, signature=bytes(256)),
        "bad-signature",
        spec=spec,
    )
    yield refuse(
        "rfc3820::signature::unused-bits",
        "A signature whose last bit is said not to count.",
        proxy(ALICE, unused_bits=1),
        "malformed",
        spec="RFC 5280 s. 4.1.1.3",
        importance="medium",
    )
    yield refuse(
        "rfc3820::signature::same-name-other-key",
        "The end entity's certificate exchanged for one of the same name and another key.",
        with_chain(proxy(ALICE), user(key="rsa2048-other-eec").certificate),
        "bad-signature",
        spec=spec,
    )
    yield accept("rfc3820::basic::one-level", "One full proxy.", proxy(ALICE), spec="RFC 3820 s. 4.1")
    yield accept(
        "rfc3820::basic::below-intermediate",
        "A proxy of an end entity below an intermediate CA, which is presented.",
        proxy(SUB_ALICE),
        spec="RFC 3820 s. 4.1",
        trust=SUB_POLICY,
    )
    yield accept(
        "rfc3820::basic::server",
        "A full proxy as a server.",
        proxy(ALICE),
        spec="RFC 3820 s. 4.1",
        purpose="SERVER",
        importance="medium",
    )
