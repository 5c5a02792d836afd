"""The prose of grid-change-pass-phrase(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import SECRET_SOURCES, USER_CERTIFICATE, X509_USER_KEY

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-change-pass-phrase` puts the private key in a file under a new pass phrase. The old one is asked for if the key
has one, then the new one, on the terminal twice.

In a PEM file, certificates and everything else around the key stay byte for byte. A bare key in DER is not taken; the
message says how to put it into PEM. A PKCS#12 file is written anew with
its key, its certificates and their friendly names. The key is locked by AES-256 under a key derived in 600,000 rounds
of PBKDF2-HMAC-SHA-256.

The file is replaced in one step and keeps its mode, 0600 or 0400. When anything goes wrong, above all when the old pass
phrase is wrong, it is as it was. Copies that were made elsewhere still open with the old pass phrase: if that has
become known, ask the CA for a new certificate.

{SECRET_SOURCES}""",
    exit_status=(
        ("0", "The pass phrase was changed."),
        ("1", "Nothing was changed."),
    ),
    environment=(X509_USER_KEY,),
    files=(USER_CERTIFICATE,),
    examples=(
        ("Change the pass phrase of the user's key:", "grid-change-pass-phrase"),
        (
            "In a script, old and new as two lines of a private file:",
            "grid-change-pass-phrase -file key.pem -passin file:secrets -passout file:secrets",
        ),
        (
            "Take the pass phrase of a service's key away:",
            "grid-change-pass-phrase -file hostkey.pem -nopassphrase",
        ),
    ),
    differences="""\
Keys of every kind are taken, not only RSA, but none that is too weak to be used. Certificates in the file stay; the C
script drops them. The C script leaves a copy under the old pass phrase, `.old`; here it takes `-backup`. A mode of 0400
stays. A file that others can read is refused. The C script cannot change PKCS#12 with OpenSSL 3. What a PKCS#12 file
holds beside keys and certificates (CRLs, secrets) is dropped.

`-passin`, `-passout`, `-nopassphrase`, `-backup`, `-q` and `-json` are new.
""",
    see_also=("grid-cert-info(1)", "grid-cert-request(1)", "grid-proxy-init(1)"),
)
