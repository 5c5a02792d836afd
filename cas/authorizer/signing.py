"""Whose certificate the keys of tokens belong to, as far as that is known; a token itself names a key alone.

    signers = TokenSigners(directory.anchors)
    signers.learn(community, assertion.signer_chain)      # whoever has signed something else of the community's
    signers.check(community, token, now=now)              # CapabilityError: that certificate must not be trusted now

A community's server signs all forms with one key, unless it is told otherwise. So a certificate that must not be
trusted any more ends the tokens of its key, once it is known: because the site has pinned it, or because an assertion
or attribute certificate that it had signed was verified here. What the issuer publishes with the key (`x5c`) is taken,
if it is in the name of the community's server, where that certificate has ended by its time: it was renewed. Where the
site wants more (`certified_tokens`), it is taken where nothing else is known, too, and a token whose key has no
certificate does not count.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cas.assertion.signing import key_thumbprint
from gsi import keys, names
from gsi.errors import CapabilityError, CapabilityProblem, CredentialError, ParseError, Reason, VerificationError
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import VerificationCache, verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cas.authorizer.community import Community
    from gsi.certificate import Certificate
    from gsi.tokens.verify import VerifiedToken
    from gsi.trust.anchors import TrustAnchors

__all__ = ["TokenSigners"]

_MAX_LEARNT: Final = 256  # a community has two keys at a time
_OPTIONS: Final = ValidationOptions(purpose=Purpose.ANY)


class TokenSigners:
    """Knows certificates of keys. Safe for several threads.

    Args:
        anchors: Returns the current trust anchors; asked each time, so it has to be cheap.
    """

    def __init__(self, anchors: Callable[[], TrustAnchors]) -> None:
        self._anchors = anchors
        self._cache = VerificationCache()
        self._learnt: OrderedDict[tuple[str, str], tuple[Certificate, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, community: Community, path: tuple[Certificate, ...]) -> None:
        """Remember the path of whoever has signed for a community, its certificate first."""
        if not path or community.certificates or not community.token_issuer:
            return
        thumbprint = _thumbprint(path[0])
        if thumbprint:
            with self._lock:
                self._learnt[community.name, thumbprint] = path
                self._learnt.move_to_end((community.name, thumbprint))
                while len(self._learnt) > _MAX_LEARNT:
                    self._learnt.popitem(last=False)

    def path_of(self, community: Community, token: VerifiedToken, *, now: datetime) -> tuple[Certificate, ...]:
        """Return the path of the certificate that has a token's key; of a pinned one itself alone; empty if unknown.

        A published one is judged by nobody here: `check` does that.
        """
        pinned = [one for one in community.certificates if _thumbprint(one) == token.key_thumbprint]
        if pinned:
            return (max(pinned, key=lambda one: one.not_after),)
        with self._lock:
            learnt = self._learnt.get((community.name, token.key_thumbprint), ())
        is_asked = now > learnt[0].not_after if learnt else community.certified_tokens
        published = token.key_certificates if is_asked and not community.certificates else ()
        if published and names.same_name(published[0].subject_der, community.identity_der):
            return published
        return learnt

    def check(self, community: Community, token: VerifiedToken, *, now: datetime) -> None:
        """Check that the certificate of a token's key, if it is known, can be trusted now.

        For a pinned one no path is asked for, as for assertions; it must not have expired, nor be on a CRL.

        Raises:
            CapabilityError: SIGNER.
        """
        path = self.path_of(community, token, now=now)
        if not path:
            if community.certified_tokens:
                raise _refuse("no certificate of its key is known")
            return
        is_pinned = path[0] in community.certificates
        if is_pinned and not path[0].not_before <= now <= path[0].not_after:
            raise _refuse("the certificate of its key is not valid now")
        try:
            verify_chain(_without_root(path), self._anchors(), now=now, options=_OPTIONS, cache=self._cache)
        except VerificationError as error:
            if not is_pinned or error.reason is Reason.REVOKED:
                raise _refuse(f"the certificate of its key: {error.message}") from error


def _without_root(path: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Return what a server would show: a learnt path ends with the trust anchor, a published one need not."""
    return path[:-1] if len(path) > 1 and path[-1].subject_der == path[-1].issuer_der else path


def _refuse(message: str) -> CapabilityError:
    return CapabilityError(f"token: {message}", problem=CapabilityProblem.SIGNER)


@lru_cache(maxsize=_MAX_LEARNT)
def _thumbprint(certificate: Certificate) -> str:
    try:
        return key_thumbprint(keys.parse_public_key(certificate.spki_der))
    except (CredentialError, ParseError):
        return ""
