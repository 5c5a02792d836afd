"""What a resource takes a right for, and what the community's own policy does: the same, for every name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cas.assertion.value import Comparison
from cas.authorizer.rights import Grant, Names, SiteRights, grants, parse_object, parse_tree
from cas.policy.matching import covers, normal_object
from gsi.authz.decision import Resource
from gsi.authz.resources import readings
from gsi.errors import GridError, ParseError
from gsi.saml.assertion import Action, AuthorizationDecision

WILDCARD = Comparison.WILDCARD
PARTS = st.lists(
    st.sampled_from(["a", "b", "ab", "A", "..", ".", "", "*", "%61", "%2e%2e", "a b", "\u00e4"]), max_size=4
)
NAMES = st.builds(
    lambda host, parts: f"{host}/{'/'.join(parts)}",
    st.sampled_from(["ftp://h", "FTP://H", "ftp://h.", "gram://h", ""]),
    PARTS,
)
READ = frozenset({("file", "read")})


@given(NAMES, NAMES)
def test_no_more_than_the_community_means(right: str, asked: str) -> None:
    """What is permitted here, the community's own comparison covers, in every way in which the name can be read."""
    try:
        places = readings(Resource(asked))
        decision = AuthorizationDecision(f"N|{right}", "Permit", (Action("file", "read"),))
    except GridError:
        return
    if grants([decision], {"N": WILDCARD}, "file", "read", places):
        pattern = normal_object(right, "", WILDCARD).replace("://h./", "://h/")
        for place in places:
            plain = f"{place.scheme}://{place.host}" if place.scheme else ""
            assert covers(pattern, f"{plain}/{'/'.join(place.parts)}", WILDCARD)


@given(NAMES, NAMES)
def test_no_less_for_plain_names(right: str, asked: str) -> None:
    """What the community means by a right is permitted, for names that can be read in one way only."""
    try:
        pattern, name = normal_object(right, "", WILDCARD), normal_object(asked, "", WILDCARD)
    except ParseError:
        return
    if name.endswith("*") or "h./" in pattern or "h./" in name or not name.partition("://")[2].partition("/")[2]:
        return
    site = SiteRights((Grant(READ, (parse_object(right),)),))
    assert site.allows("file", "read", readings(Resource(asked))) is covers(pattern, name, WILDCARD)


@given(st.text(max_size=40), st.sampled_from(Comparison))
def test_any_text_is_an_object_or_refused(text: str, comparison: Comparison) -> None:
    try:
        found = parse_object(text, comparison)
    except ParseError:
        return
    assert ".." not in found.parts
    assert not any("*" in part for part in found.parts)


@given(NAMES, NAMES, NAMES)
def test_translated_names_do_not_meet_others(ours: str, theirs: str, asked: str) -> None:
    """Two places never have one name: what has got the name of another place has none itself."""
    try:
        names = Names({ours: theirs})
        (place,) = readings(Resource(asked))
    except (GridError, ValueError):
        return
    found = names.translate(place)
    tree = parse_tree(theirs)
    if found == place and found is not None:
        same_host = (place.scheme, place.host) == (tree.scheme, tree.host)
        assert parse_tree(ours) == tree or not (same_host and place.parts[: len(tree.parts)] == tree.parts)
