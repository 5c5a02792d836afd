"""Which CAs stand above another one: those whose keys have signed its certificate, and so on; judges nothing else.

    above = find_above(certificate, known)
    highest = find_highest(certificate, above)

Names alone do not tell: a CA that has changed its key keeps its name, and both of its certificates lie side by side
for years. Whether a path holds is for `gsi.trust.verify` to say.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

from gsi.errors import ParseError, Reason, VerificationError
from gsi.names import same_name
from gsi.trust.signatures import check_certificate_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gsi.certificate import Certificate
    from gsi.keys import PublicKey

__all__ = ["find_above", "find_highest"]


def find_above(certificate: Certificate, known: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Return those of the known CAs that stand above this one, the nearest first; above a root there are none.

    Several certificates of one CA are all returned if they hold one key: which of them is valid depends on the time.
    """
    left = [one for one in dict.fromkeys(known) if one != certificate]
    found: list[Certificate] = []
    waiting = deque([certificate])
    while waiting:
        below = waiting.popleft()
        signers = [one for one in left if _is_signer(one, below)]
        left = [one for one in left if one not in signers]
        found += signers
        waiting += signers
    return tuple(found)


def find_highest(certificate: Certificate, above: Sequence[Certificate]) -> Certificate:
    """Return where the path from this CA ends: at a root if one is above it, else at a CA whose issuer is not known.

    Args:
        certificate: The CA.
        above: What `find_above` has returned for it.
    """
    tops = [one for one in (certificate, *above) if not any(_is_signer(other, one) for other in above)]
    # CAs that have certified one another have no top. Of several tops, the one that can be used for longest.
    return max(tops or above, key=lambda one: (one.is_self_issued, one.not_after))


def _is_signer(issuer: Certificate, certificate: Certificate) -> bool:
    """Tell whether this CA has signed the certificate; a root has nobody above it."""
    if certificate.is_self_issued:
        return False
    try:
        if not same_name(issuer.subject_der, certificate.issuer_der):
            return False
        # How strong key and signature are is judged with the path: a weak root is known, and must not be passed over.
        key = cast("PublicKey", issuer.public_key())
        check_certificate_signature(certificate, key, None, accept_weak=True)
    except ParseError:
        return False
    except VerificationError as error:
        return error.reason is not Reason.BAD_SIGNATURE  # what cannot be read here is refused with the path, too
    return True
