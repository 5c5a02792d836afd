"""Judging attribute certificates on behalf of their holder, by what this machine trusts; asks nobody.

    judge = Judge(TrustDirectory(path), vomsdir=None)
    judge.verify(certificate, peer)                    # CapabilityError, or what it proves

The rules are `gsi.voms.verify`'s; here they get the machine's files, and its errors the places of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.errors import CapabilityError, CapabilityProblem
from gsi.system import clock
from gsi.system.vomsdir import VOMSDirectory, vomsdir_path
from gsi.voms.verify import AttributeVerifier, VerifiedAttributes, VOMSOptions

if TYPE_CHECKING:
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = ["Judge"]


class Judge:
    """Judges attribute certificates for their holder by what this machine trusts, wherever they are meant for.

    Args:
        directory: The trust directory.
        vomsdir: The directory of trusted servers; None for the usual one.
    """

    __slots__ = ("_path", "_verifier")

    def __init__(self, directory: TrustDirectory, vomsdir: str | None) -> None:
        self._path = vomsdir or vomsdir_path()
        self._verifier = AttributeVerifier(VOMSDirectory(self._path), directory.anchors, VOMSOptions(any_host=True))

    def verify(self, certificate: AttributeCertificate, holder: VerifiedPeer) -> VerifiedAttributes:
        """Return what a certificate proves about its holder.

        Raises:
            CapabilityError: It must not be believed; with the directory of trusted servers in the hint.
        """
        try:
            return self._verifier.verify(certificate, holder, now=clock.now())
        except CapabilityError as error:
            if error.problem is CapabilityProblem.ISSUER and self._path not in (error.hint or ""):
                error.hint = f"{error.hint}; the vomsdir is {self._path}" if error.hint else f"see {self._path}"
            raise
