"""What local bans are asked about besides the subject: all that capabilities name, and who signed them; bans nobody.

    subject = with_names(request.subject, findings.named)
    signers = signers_of(held)

A capability is evidence against its holder, too: a group that it names counts for bans, whether or not this form of a
capability, or this one of several, is what the request is judged by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gsi import names
from gsi.authz.decision import Subject
from gsi.authz.principals import normal_fqan
from gsi.errors import ParseError
from gsi.saml.verify import VerifiedAssertion
from gsi.tokens.verify import VerifiedToken
from gsi.voms.verify import VerifiedAttributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cas.authorizer.evidence import Body, Held
    from gsi.certificate import Certificate

__all__ = ["names_in", "signers_of", "subjects_to_ask", "with_names"]


def names_in(body: Body) -> tuple[str, ...]:
    """Return the groups and roles that a capability names: FQANs, `wlcg.groups`, the values of attributes."""
    match body:
        case VerifiedAttributes():
            return body.fqans
        case VerifiedAssertion():
            return tuple(value for one in body.attributes for value in one.values)
        case _:
            claimed = body.claims.get("wlcg.groups")
            listed = claimed if isinstance(claimed, list) else ()
            return (*body.groups, *body.foreign_groups, *(one for one in listed if isinstance(one, str)))


def with_names(subject: Subject, found: Iterable[Held]) -> Subject:
    """Return a subject that is in all of the groups that its capabilities name, for bans alone."""
    named = tuple(dict.fromkeys(name for held in found for name in names_in(held.body)))
    fqans = tuple(short for short in map(_short, named) if short)
    return replace(subject, fqans=(*subject.fqans, *fqans), groups=subject.groups | set(named) | set(fqans))


def subjects_to_ask(subject: Subject, found: Iterable[Held]) -> Iterator[Subject]:
    """Yield who is asked about: the subject with all that its capabilities name, and what tokens call it."""
    found = tuple(found)
    yield with_names(subject, found)
    for held in found:
        if isinstance(held.body, VerifiedToken):
            yield Subject(identity=held.body.identity, issuer=held.body.issuer, authenticated_by="token")


def signers_of(held: Held, known: tuple[Certificate, ...] = ()) -> Subject:
    """Return who signed a capability: the community's server, with its certificates as far as they are known.

    Args:
        held: The capability.
        known: For a token, the path of the certificate that has its key.
    """
    community = held.community
    match held.body:
        case VerifiedAssertion():
            chain = held.body.signer_chain
        case VerifiedAttributes():
            chain = held.body.signer.chain
        case _:
            chain = known
    vouches = held.body.issuer if isinstance(held.body, VerifiedToken) else ""
    if not vouches and chain:
        vouches = names.oneline(chain[0].issuer_der)
    return Subject(
        identity=community.identity,
        identity_der=community.identity_der,
        chain=chain,
        issuer=vouches,
        authenticated_by="x509",
    )


def _short(name: str) -> str:
    try:
        return normal_fqan(name)
    except ParseError:
        return ""  # a name of another kind, which is a group all the same
