"""Properties of the signed forms: scopes allow no more than rights, XML is canonical as written, requests are read."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from cas.assertion.attribute_cert import order_fqans, select_fqans
from cas.assertion.canonical import element, escape
from cas.assertion.scopes import SCITOKENS_RULES, WLCG_RULES, ScopeBase, ScopeMapping, ScopeRule, map_rights
from cas.assertion.text import encode_rights, parse_rights
from cas.assertion.value import Comparison, Right, subject_of
from cas.protocol.voms import VOMSServerSession
from gsi.errors import DeniedError, IssuanceError, ParseError, RemoteProtocolError
from gsi.tokens.scopes import parse_scopes
from gsi.voms.exchange import ALL, FetchRequest, FetchSession, Protocol

SE = "https://se.example.org"
ALLOWED = {
    "storage.read": {"read"},
    "storage.stage": {"read", "stage"},
    "storage.create": {"create"},
    "storage.modify": {"create", "write", "delete"},
    "read": {"read"},
    "write": {"create", "write", "delete"},
}
"""What a scope allows, in the words of the WLCG profile; names may be looked up with any of them."""

NAMES = ["a", "b", "ab", "a b", "ü"]
PARTS = st.lists(st.sampled_from(NAMES), max_size=3)
PLACES = st.builds(
    lambda begin, parts, end: begin + "/".join([*parts, *end]),
    st.sampled_from(["ftp://se/", "ftp://se/", "ftp://SE/", "ftp://other/", "/", ""]),
    PARTS,
    st.sampled_from([["*"], [], ["*", "x"], [".."], [""], ["a*"], ["*"]]),
)
RIGHTS = st.builds(
    Right,
    st.sampled_from(["tree", "tree", "else"]),
    PLACES,
    st.sampled_from(Comparison),
    st.sampled_from(["file", "file", "http"]),
    st.lists(st.sampled_from(["read", "stage", "create", "write", "delete", "lookup"]), min_size=1, unique=True).map(
        lambda found: tuple(sorted(found))
    ),
)
BASES = st.builds(
    lambda prefix, files: ScopeBase(
        namespace="tree", prefix=f"ftp://se{prefix}", audiences=frozenset({SE}), single_files=files
    ),
    st.sampled_from(["", "/", "/a", "/a/b", "/ab"]),
    st.booleans(),
)
PATHS = [
    [],
    *([one] for one in NAMES),
    *([one, two] for one in NAMES for two in NAMES),
    ["a", "b", "ab"],
    ["a", "a", "a", "b"],
]


def _grants(right: Right, action: str, parts: list[str]) -> bool:
    """What a right allows, by the rules of namespaces, written anew: `dir/*` is all below `dir`."""
    if right.namespace != "tree" or right.service_type != "file" or action not in right.actions:
        return False
    scheme, _, rest = right.object.partition("://")
    host, _, path = rest.partition("/")
    if (scheme, host.lower()) != ("ftp", "se"):
        return False
    if right.comparison is Comparison.WILDCARD and (path == "*" or path.endswith("/*")):
        above = path[:-1].rstrip("/").split("/") if path != "*" else []
        return parts[: len(above)] == above  # the directory itself counts, as for whoever reads the scope
    return path.split("/") == parts if path else not parts


@given(st.lists(RIGHTS, max_size=5), BASES, st.sampled_from([WLCG_RULES, SCITOKENS_RULES]))
@settings(max_examples=400)
def test_scopes_never_widen(rights: list[Right], base: ScopeBase, rules: tuple[ScopeRule, ...]) -> None:
    """Whatever a token allows, at whatever path, the rights allow."""
    mapped = map_rights(rights, ScopeMapping(bases=(base,)), audience=(SE,), rules=rules)
    prefix = base.prefix.removeprefix("ftp://se").strip("/")
    above = prefix.split("/") if prefix else []
    for scope in parse_scopes(" ".join(mapped.scopes)).capabilities:
        assert scope.path is not None
        for path in PATHS:
            for action in ALLOWED[scope.name] if scope.covers(tuple(path)) else ():
                if base.single_files and any(_is_file(one, action, [*above, *scope.path]) for one in rights):
                    assert scope.path, "the base is no file"
                    continue  # below a file there is nothing
                assert any(_grants(right, action, [*above, *path]) for right in rights), (scope, path, action)
    assert set(mapped.left_out) <= set(rights)


def _is_file(right: Right, action: str, parts: list[str]) -> bool:
    return not right.object.endswith("*") and _grants(right, action, parts)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=20)


@given(TEXTS, st.dictionaries(st.sampled_from(["Id", "Name", "A", "b"]), TEXTS), TEXTS)
def test_canonical_as_written(text: str, attributes: dict[str, str], inner: str) -> None:
    try:
        xml = element(
            "Root", attributes, escape(text), element("p:In", attributes, escape(inner), xmlns="urn:p"), xmlns="urn:x"
        )
    except IssuanceError:
        return
    root = etree.fromstring(xml.encode())
    assert etree.tostring(root, method="c14n", exclusive=True).decode() == xml
    assert (root.text or "") == text
    assert dict(root.attrib) == attributes
    assert (root[0].text or "") == inner


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


ANY_RIGHTS = st.builds(
    Right,
    st.just("n"),
    PRINTABLE,
    st.sampled_from(Comparison),
    PRINTABLE,
    st.lists(PRINTABLE, min_size=1, max_size=3, unique=True).map(tuple),
)


@given(st.lists(ANY_RIGHTS, min_size=1, max_size=5))
def test_text_is_read_back(rights: list[Right]) -> None:
    found = parse_rights(encode_rights(rights))
    wanted = {(one.comparison, one.object, one.service_type, one.actions) for one in rights}
    assert {(one.comparison, name, one.service_type, one.actions) for one in found for name in one.objects} == wanted


@given(st.binary(max_size=200))
def test_any_text(data: bytes) -> None:
    try:
        parse_rights(data)
    except ParseError:
        return


REQUEST_PARTS = st.sampled_from(
    [
        b"0", b"GET ", b"/generate-ac", b"?", b"fqans=", b"/vo", b"/Role=", b":", b",", b"&", b"lifetime=", b"12",
        b"order=", b"%2", b"%2f", b" HTTP/1.1", b"\r\n", b"\n", b"<?xml version='1.0'?>", b"<voms>", b"</voms>",
        b"<command>", b"</command>", b"A", b"G/vo", b"<order>", b"</order>", b"&amp;", b"<!DOCTYPE a>", b"\xff", b"\0",
        b"all",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(REQUEST_PARTS, st.binary(max_size=5)), max_size=25))
@settings(max_examples=400)
def test_any_request(parts: list[bytes]) -> None:
    """It is a request of this VO, or refused with an answer that the protocol has; however it is cut."""
    whole = b"".join(parts)
    verdicts: list[object] = []
    for pieces in ([whole], [whole[at : at + 1] for at in range(len(whole))]):
        session, verdict = VOMSServerSession("vo"), None
        try:
            for piece in [*(one for one in pieces if one), b""]:
                verdict = session.receive_data(piece)
                if verdict is not None:
                    break
        except RemoteProtocolError as error:
            answer = session.refuse_error(error)
            verdicts.append((session.protocol, answer[:12]))
            assert answer == b"" or answer.startswith((b"HTTP/1.1 40", b"<?xml"))
            continue
        assert verdict is not None
        assert verdict.vo == "vo"
        assert all(one == ALL or one == "/vo" or one.startswith("/vo/") for one in verdict.fqans)
        assert verdict.lifetime >= timedelta()
        verdicts.append((session.protocol, verdict))
    assert verdicts[0] == verdicts[1]


WORD = st.text(st.sampled_from("abcXYZ019-_."), min_size=1, max_size=6).filter(lambda word: word not in {".", ".."})
FQAN = st.builds(
    lambda groups, role: "/".join(["/vo", *groups]) + (f"/Role={role}" if role else ""),
    st.lists(WORD, max_size=2),
    st.one_of(st.none(), WORD.filter(lambda word: word != "NULL")),
)


@given(
    st.builds(
        FetchRequest,
        st.just("vo"),
        st.lists(st.one_of(FQAN, st.just(ALL)), min_size=1, max_size=4, unique=True).map(tuple),
        st.integers(0, 10**6).map(lambda count: timedelta(seconds=count)),
        st.lists(FQAN, max_size=3, unique=True).map(tuple),
        st.lists(WORD, max_size=3, unique=True).map(tuple),
    ),
    st.sampled_from(Protocol),
)
def test_our_client_is_understood(request: FetchRequest, protocol: Protocol) -> None:
    session = VOMSServerSession("vo")
    assert session.receive_data(FetchSession(request, protocol, host="h").data_to_send()) == request


@given(
    st.lists(FQAN, max_size=6, unique=True),
    st.lists(FQAN, max_size=4),
    st.lists(FQAN, max_size=4),
    st.lists(FQAN, max_size=4),
)
def test_selection_never_adds(held: list[str], wanted: list[str], order: list[str], carried: list[str]) -> None:
    assert sorted(order_fqans(held, order)) == sorted(held)
    try:
        found = select_fqans(held, wanted, order, carried=carried)
    except DeniedError:
        return
    assert set(found) <= set(held)
    assert len(set(found)) == len(found) > 0
    assert not carried or set(found) <= set(carried)
    assert set(wanted) - {ALL} <= set(held)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_tokens_call_nobody_by_the_name_of_another(nickname: str) -> None:
    subject = subject_of(nickname)
    assert subject.isascii()
    assert unquote(subject) == nickname
