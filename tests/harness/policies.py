"""Signing policies of every shape for one CA and one subject, with the verdict of our reader.

The C validator agrees, except where the name of a case ends in what it says instead, `(C: accepted)` or `(C: refused)`;
`tests/interop` asks it each time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ALL", "BROKEN", "CA", "GOOD", "NOT_PERMITTED", "PERMITTED", "SUBJECT", "c_accepts", "entry", "globs"]

CA: Final = "/O=Grid/CN=Test CA"
SUBJECT: Final = "/O=Grid/OU=Test Unit/UID=al/CN=Alice B/emailAddress=a@x.org"


def entry(subjects: str, *, ca: str = CA, rights: str = "pos_rights") -> str:
    return f"access_id_CA X509 '{ca}'\n{rights} globus CA:sign\ncond_subjects globus {subjects}\n"


def globs(*patterns: str) -> str:
    return "'" + " ".join(f'"{pattern}"' for pattern in patterns) + "'"


ALL: Final = globs("/O=Grid/*")
GOOD: Final = entry(ALL)

PERMITTED: Final = {
    "exact": entry(globs(SUBJECT)),
    "trailing star": GOOD,
    "star alone": entry(globs("*")),
    "star in the middle": entry(globs("/O=Grid/*/CN=Alice B/emailAddress=a@x.org")),
    "leading star": entry(globs("*/emailAddress=a@x.org")),
    "two globs": entry(globs("/X=1", "/O=Grid/*")),
    "globs without blank": entry('\'"/X=1""/O=Grid/*"\''),
    "globs with comma": entry('\'"/X=1","/O=Grid/*"\''),
    "a hundred globs": entry(globs(*(f"/X={number}" for number in range(100)), "/O=Grid/*")),
    "no inner quotes": entry("'/O=Grid/OU=Test Unit/*'"),
    "no quotes at all": entry("/O=Grid/*"),
    "double quotes alone": entry('"/O=Grid/*"'),
    "blank before the glob": entry(globs(" /O=Grid/*")),
    "letter case": entry(globs(SUBJECT.upper())),
    "letter case of the CA": entry(ALL, ca=CA.lower()),
    "USERID": entry(globs(SUBJECT.replace("UID", "USERID"))),
    "Email": entry(globs(SUBJECT.replace("emailAddress", "Email"))),
    "E": entry(globs(SUBJECT.replace("emailAddress", "E"))),
    "one line": GOOD.replace("\n", " ") + "\n",
    "CRLF": GOOD.replace("\n", "\r\n"),
    "tabs": GOOD.replace(" X509 ", "\tX509\t"),
    "blank lines": "\n\n" + GOOD.replace("\n", "\n\n"),
    "comment line": "# comment 'with a quote\n" + GOOD,
    "indented comment": "   # comment\n" + GOOD,
    "comment behind a word": GOOD.replace("CA:sign", "CA:sign # yes"),
    "comment behind a quote": GOOD.replace("*\"'", "*\"'#yes"),
    "value over two lines": entry('\'"/X=1"\n "/O=Grid/*"\''),
    "other CA first": entry(globs("/X=*"), ca="/O=Grid/CN=Other") + GOOD,
    "other CA without subjects": "access_id_CA X509 '/O=Grid/CN=Other'\n" + GOOD,
    "two conditions that hold": GOOD + "cond_subjects globus " + globs("*/UID=al/*", "*x.org") + "\n",
    "second entry of ours": entry(globs("/X=*")) + GOOD,
    "second right of ours": entry(globs("/X=*")) + "pos_rights globus CA:sign\ncond_subjects globus " + ALL + "\n",
    "anybody before ours": "access_id_ANYBODY\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n" + GOOD,
    "bytes of Latin-1 in a comment": "# \xe9\n" + GOOD,
    "no line end at the end (C: refused)": GOOD.rstrip("\n"),
}

NOT_PERMITTED: Final = {
    "question mark": entry(globs("/O=Grid/OU=Tes?*")),
    "question mark in the middle": entry(globs(SUBJECT.replace("Alice", "Al?ce"))),
    "bracket": entry(globs("/O=Grid/OU=[T]est*")),
    "second star is a letter": entry(globs("/O=Grid/*/CN=*")),
    "two stars at the end": entry(globs("/O=Grid/**")),
    "star for nothing at the end": entry(globs(SUBJECT + "*")),
    "star for nothing in the middle": entry(globs(SUBJECT.replace("/CN", "*/CN"))),
    "star around": entry(globs("*Test*")),
    "prefix without star": entry(globs("/O=Grid")),
    "longer than the subject": entry(globs(SUBJECT + "x")),
    "blank after the glob": entry(globs("/O=Grid/* ")),
    "empty glob": entry(globs("")),
    "empty value": entry("''"),
    "two names in one pair of quotes": entry("'/X=1 /O=Grid/*'"),
    "star as the CA": entry(ALL, ca="*"),
    "other CA": entry(ALL, ca="/O=Grid/CN=Other"),
    "CA in double quotes inside": entry(ALL, ca=f'"{CA}"'),
    "neg_rights": entry(ALL, rights="neg_rights"),
    "neg_rights first": entry(ALL, rights="neg_rights") + GOOD,
    "neg_rights last (C: accepted)": GOOD + entry(ALL, rights="neg_rights"),
    "neg_rights without condition (C: accepted)": GOOD + f"access_id_CA X509 '{CA}'\nneg_rights globus CA:sign\n",
    "other right": GOOD.replace("CA:sign", "CA:foo"),
    "right in another case": GOOD.replace("CA:sign", "CA:SIGN"),
    "comment glued to a word": GOOD.replace("CA:sign", "CA:sign#yes"),
    "other authority of the right": GOOD.replace("pos_rights globus", "pos_rights other"),
    "other authority of the condition": GOOD.replace("cond_subjects globus", "cond_subjects other"),
    "other condition": GOOD.replace("cond_subjects", "cond_other"),
    "another condition beside": GOOD + "cond_other globus x\n",
    "second of two conditions": GOOD + "cond_subjects globus '\"/X=*\"'\n",
    "first of two conditions": entry(globs("/X=*")) + "cond_subjects globus " + ALL + "\n",
    "no condition (C: accepted)": f"access_id_CA X509 '{CA}'\npos_rights globus CA:sign\n",
    "anybody alone (C: accepted)": "access_id_ANYBODY\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n",
    "user instead of CA": GOOD.replace("access_id_CA", "access_id_USER"),
    "other name form": GOOD.replace("X509", "KERB"),
    "name form in another case": GOOD.replace("X509", "x509"),
    "empty file": "",
    "only a comment": "# nothing\n",
}

BROKEN: Final = {
    "garbage behind": GOOD + "garbage line here\n",
    "garbage before": "garbage line here\n" + GOOD,
    "garbage on a line": GOOD.replace("*\"'", "*\"' foo"),
    "keyword in upper case": GOOD.replace("access_id_CA", "ACCESS_ID_CA"),
    "condition before the right": f"access_id_CA X509 '{CA}'\ncond_subjects globus x\npos_rights globus CA:sign\n",
    "no right": f"access_id_CA X509 '{CA}'\ncond_subjects globus '\"*\"'\n",
    "nothing behind the CA": f"access_id_CA X509 '{CA}'\n",
    "quote never closed": GOOD.rstrip("'\n") + "\n",
    "double quotes around two": entry('"/X=1" "/O=Grid/*"'),
    "CA in bare double quotes": GOOD.replace(f"'{CA}'", f'"{CA}"'),
    "CA without quotes": GOOD.replace(f"'{CA}'", CA),
    "blank without quotes": entry("/O=Grid/OU=Test Unit/*"),
    "two quoted values": entry("'/X=1' '/O=Grid/*'"),
    "two rights on a line": GOOD.replace("CA:sign", "CA:sign CA:other"),
    "anybody with a name": f"access_id_ANYBODY X509 '{CA}'\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n",
    "byte order mark": "\ufeff" + GOOD,
    "text outside the quotes (C: accepted)": entry("'\"/X=1\" /O=Grid/*'"),
    "word before the quotes (C: accepted)": entry("'subject:\"/O=Grid/*\"'"),
    "inner quote never closed (C: accepted)": entry("'\"/O=Grid/*'"),
    "NUL (C: accepted)": GOOD + "\0\n",
    "cut off": "access_id_CA X509",
}


def c_accepts(name: str, *, ours: bool) -> bool:
    """What the C validator says of the case of this name, given what we say."""
    return not ours if name.endswith(("(C: accepted)", "(C: refused)")) else ours
