"""Globus signing policies: which names a CA may certify (`<hash>.signing_policy`), as the C validator reads them.

Where this suite asks for more than the C validator gives, a validator that follows C differs from the suite; the cases'
descriptions say so. Facts here were found by running the C validator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder.model import accept, refuse
from builder.names import subject_hash
from builder.world import CA_NAME, PLAIN, ROOT, STEM, SUB, SUB_ALICE, TrustDir, authority_files, pem, policy, user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_USER: Final = "/O=Grid/OU=Test Unit/CN=Alice B"
_SPEC: Final = "Globus signing policy"
_ALL: Final = "'\"*\"'"
_GOOD: Final = policy(subjects="'\"/O=Grid/*\"'")
_ID: Final = f"access_id_CA X509 '{CA_NAME}'\n"
_RIGHT: Final = "pos_rights globus CA:sign\n"
_ANY: Final = "access_id_ANYBODY\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n"


def _subjects(*globs: str) -> str:
    return policy(subjects="'" + " ".join(f'"{glob}"' for glob in globs) + "'")


_PERMITTED: Final = {
    "exact": ("the user's name as it is", _subjects(_USER)),
    "trailing-star": ("a star at the end", _GOOD),
    "star-alone": ("a star alone", policy()),
    "middle-star": ("a star in the middle", _subjects("/O=Grid/*/CN=Alice B")),
    "leading-star": ("a star at the front", _subjects("*/CN=Alice B")),
    "two-globs": ("two globs, of which the second fits", _subjects("/O=Other/*", "/O=Grid/*")),
    "many-globs": ("fifty globs, of which the last fits", _subjects(*(f"/O={n}/*" for n in range(50)), "/O=Grid/*")),
    "no-inner-quotes": ("a glob without double quotes", policy(subjects="'/O=Grid/OU=Test Unit/*'")),
    "no-quotes": ("a glob without any quotes", policy(subjects="/O=Grid/*")),
    "capitals": ("the name in capitals", _subjects(_USER.upper())),
    "ca-in-small-letters": ("the CA's name in small letters", policy(CA_NAME.lower(), "'\"/O=Grid/*\"'")),
    "one-line": ("all on one line", _GOOD.replace("\n", " ") + "\n"),
    "crlf": ("lines that end with CR and LF", _GOOD.replace("\n", "\r\n")),
    "tabs": ("tabs between words", _GOOD.replace(" X509 ", "\tX509\t").replace(" globus ", "\tglobus\t")),
    "blank-lines": ("empty lines", "\n\n" + _GOOD.replace("\n", "\n\n")),
    "comments": ("comments", "# a comment 'with a quote\n" + _GOOD.replace("CA:sign", "CA:sign # yes")),
    "other-ca-first": ("an entry of another CA before ours", policy("/O=Other/CN=Other CA") + _GOOD),
    "second-entry": ("two entries of ours, of which the second fits", _subjects("/O=Other/*") + _GOOD),
    "second-right": (
        "two rights, of which the second fits",
        _subjects("/O=Other/*") + _RIGHT + "cond_subjects globus '\"/O=Grid/*\"'\n",
    ),
    "two-conditions": ("two conditions that both hold", _GOOD + "cond_subjects globus '\"*/CN=Alice B\"'\n"),
    "anybody-before": ("an entry for anybody before ours", _ANY + _GOOD),
}
_NOT_PERMITTED: Final = {
    "question-mark": (
        "a question mark, which is no wildcard although the template says so",
        _subjects("/O=Grid/OU=Test?Unit/*"),
    ),
    "bracket": ("a class in brackets, which is no wildcard", _subjects("/O=Grid/OU=[T]est Unit/*")),
    "second-star": ("two stars, of which the second is none", _subjects("/O=Grid/*/CN=*")),
    "star-for-nothing": ("a star for no character", _subjects(_USER + "*")),
    "prefix-without-star": ("a beginning of the name without a star", _subjects("/O=Grid")),
    "longer": ("the name and one letter more", _subjects(_USER + "x")),
    "blank-behind": ("a blank behind the glob", _subjects("/O=Grid/* ")),
    "other-name": ("another name", _subjects("/O=Other/*")),
    "empty-glob": ("an empty glob", _subjects("")),
    "empty-value": ("an empty value", policy(subjects="''")),
    "other-ca": ("an entry of another CA alone", policy("/O=Other/CN=Other CA")),
    "star-as-ca": ("a star as the CA's name", policy("*")),
    "neg-rights": ("neg_rights alone", policy(rights="neg_rights")),
    "neg-rights-first": ("neg_rights for all before pos_rights", policy(rights="neg_rights") + _GOOD),
    "neg-rights-last": (
        "neg_rights for all behind pos_rights; C stops at the first entry that fits",
        _GOOD + policy(rights="neg_rights"),
    ),
    "other-right": ("another right", _GOOD.replace("CA:sign", "CA:foo")),
    "right-in-capitals": ("the right in capitals", _GOOD.replace("CA:sign", "CA:SIGN")),
    "other-authority": ("another authority of the right", _GOOD.replace("pos_rights globus", "pos_rights other")),
    "other-condition": ("another condition alone", _GOOD.replace("cond_subjects", "cond_other")),
    "one-condition-fails": (
        "two conditions, of which one does not hold",
        _GOOD + "cond_subjects globus '\"/O=Other/*\"'\n",
    ),
    "no-condition": ("a right without condition; C takes it for a right to all", _ID + _RIGHT),
    "anybody-alone": ("an entry for anybody alone; C takes it", _ANY),
    "user-entry": ("an entry for a user", _GOOD.replace("access_id_CA", "access_id_USER")),
    "other-name-form": ("another form of names", _GOOD.replace("X509", "KERB")),
    "empty": ("nothing", ""),
    "comment-alone": ("a comment alone", "# nothing\n"),
}
_BROKEN: Final = {
    "double-quotes-outside": ("double quotes around the whole value", policy(subjects='"/O=Grid/A" "/O=Grid/*"')),
    "garbage-behind": ("garbage behind the entry", _GOOD + "garbage line here\n"),
    "garbage-before": ("garbage before the entry", "garbage line here\n" + _GOOD),
    "keyword-in-capitals": ("a keyword in capitals", _GOOD.replace("access_id_CA", "ACCESS_ID_CA")),
    "condition-before-right": ("the condition before the right", _ID + f"cond_subjects globus {_ALL}\n" + _RIGHT),
    "right-missing": ("no right", _ID + f"cond_subjects globus {_ALL}\n"),
    "ca-alone": ("a CA and nothing behind it", _ID),
    "quote-not-closed": ("a quote that is never closed", _GOOD.rstrip("'\n") + "\n"),
    "ca-unquoted": ("the CA's name, which has a blank, without quotes", _GOOD.replace(f"'{CA_NAME}'", CA_NAME)),
    "byte-order-mark": ("a byte order mark", "\u00ef\u00bb\u00bf" + _GOOD),
    "text-outside-quotes": (
        "text outside the double quotes; C takes it",
        policy(subjects="'\"/O=Other/*\" /O=Grid/*'"),
    ),
    "inner-quote-not-closed": ("a double quote that is never closed; C takes it", policy(subjects="'\"/O=Grid/*'")),
    "nul": ("a zero byte; C stops reading there", _GOOD + "\0\n"),
    "cut-off": ("an entry cut off", "access_id_CA X509"),
}


def cases() -> Iterator[Case]:
    """Yield policies for one user of the CA, then whose policy is asked."""
    alice = user(_USER)
    for label, (words, text) in _PERMITTED.items():
        yield accept(
            f"grid::signing-policy::{label}",
            f"A signing policy with {words}.",
            alice,
            spec=_SPEC,
            trust=_trust(label, text),
            features=["signing-policy"],
        )
    for reason, group in (("signing-policy", _NOT_PERMITTED), ("signing-policy-broken", _BROKEN)):
        for label, (words, text) in group.items():
            yield refuse(
                f"grid::signing-policy::{label}",
                f"A signing policy with {words}.",
                alice,
                reason,
                spec=_SPEC,
                trust=_trust(label, text),
                features=["signing-policy"],
            )
    yield from _whose()


def _trust(label: str, text: str) -> TrustDir:
    files = {f"{STEM}.0": pem("CERTIFICATE", ROOT.certificate), f"{STEM}.signing_policy": text.encode("latin-1")}
    return TrustDir(f"policy-{label}", files)


def _whose() -> Iterator[Case]:
    alice = user(_USER)
    missing = TrustDir("policy-missing", authority_files(ROOT, signing_policy=None))
    yield refuse(
        "grid::signing-policy::missing",
        "A CA without signing policy.",
        alice,
        "signing-policy-missing",
        spec=_SPEC,
        trust=missing,
        features=["signing-policy"],
    )
    yield accept(
        "grid::signing-policy::missing-not-required",
        "A CA without signing policy where none is required.",
        alice,
        spec=_SPEC,
        trust=missing,
        options={"require_signing_policy": False},
        features=["signing-policy", "signing-policy-switch"],
        importance="medium",
    )
    yield refuse(
        "grid::signing-policy::broken-not-required",
        "A signing policy that does not parse binds also where none is required.",
        alice,
        "signing-policy-broken",
        spec=_SPEC,
        trust=_trust("garbage-behind", _BROKEN["garbage-behind"][1]),
        options={"require_signing_policy": False},
        features=["signing-policy", "signing-policy-switch"],
        importance="medium",
    )
    yield refuse(
        "grid::signing-policy::of-intermediate-missing",
        "An intermediate CA without signing policy below a root that has one.",
        SUB_ALICE,
        "signing-policy-missing",
        spec=_SPEC,
        features=["signing-policy"],
    )
    sub_stem = subject_hash(SUB.subject)
    yield refuse(
        "grid::signing-policy::of-root-forbids-intermediate",
        "A root whose signing policy does not permit the intermediate CA.",
        SUB_ALICE,
        "signing-policy",
        1,
        spec=_SPEC,
        trust=TrustDir(
            "policy-not-sub",
            {
                **authority_files(ROOT, signing_policy=_subjects("/O=Grid/OU=Test/*")),
                f"{sub_stem}.signing_policy": policy(SUB.text).encode(),
            },
        ),
        features=["signing-policy"],
    )
    yield refuse(
        "grid::signing-policy::of-intermediate-forbids-user",
        "An intermediate CA whose signing policy does not permit the user.",
        SUB_ALICE,
        "signing-policy",
        spec=_SPEC,
        trust=TrustDir(
            "policy-sub-not-user",
            {
                **PLAIN.files,
                f"{sub_stem}.signing_policy": policy(SUB.text, "'\"/O=Other/*\"'").encode(),
            },
        ),
        features=["signing-policy"],
    )
