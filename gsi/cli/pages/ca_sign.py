"""The prose of grid-ca-sign(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.ca_create import CA_FILES
from gsi.cli.pages.common import SECRET_SOURCES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-ca-sign` issues a certificate for a request, with the CA in a directory of `grid-ca-create` (this one or the C
script). It also revokes certificates and makes the CA's revocation list.

Before anything is signed, the request's own signature and the strength of its key are checked; afterwards the new
certificate is judged by the rules of RFC 5280, and by the validator of grid services with the CA's signing policy. A CA
that another has certified is judged from its own certificate down: its name constraints and path length bind, those of
the CAs above it are for the verifiers who know them. Only when the certificate is on record in the CA's directory is it
written to the file of `-out`. A file that is there is replaced only if it is empty, or holds nothing but certificates
or revocation lists, PEM (with any text around them) or DER: no key, no request, no file of the CA and no pass phrase
file.

The request gives the key and, unless `-subj` does, the subject. Alternative names (host names, addresses) in a request
are certified only with `-copy-names` or `-san`: look at them first. Nothing else in a request counts.

A second good certificate for the same subject is refused. With `-force` the first is revoked as superseded in the same
step.

A certificate that was revoked is refused by sites once they have the next CRL: make one with `-gencrl` after each
revocation, and before the last one expires. A list is always newer than the last one, in `crl/crl.pem`, and none is
made when the index has lost a certificate that the last one names.

{SECRET_SOURCES} A file `passwd` in the CA's directory is used when there is one and `-passin` names no other place.""",
    exit_status=(
        ("0", "What was asked for was done."),
        ("1", "Nothing was issued, revoked or changed. The message says why."),
    ),
    files=(
        ("~/.globus/simpleCA, /var/lib/globus/simple_ca", "Where a CA is looked for when `-dir` names none."),
        *CA_FILES,
        ("DIR/crl/crl.pem", "The last CRL."),
        ("DIR/passwd", "The key's pass phrase, if you must keep it on disk; mode 0600."),
    ),
    examples=(
        ("Issue a user's certificate:", "grid-ca-sign -in usercert_request.pem -out usercert.pem"),
        (
            "Issue a host's certificate with the names in its request, for 30 days:",
            "grid-ca-sign -in hostcert_request.pem -out hostcert.pem -copy-names -days 30",
        ),
        (
            "Revoke a certificate, and tell the sites:",
            "grid-ca-sign -revoke usercert.pem -crl_reason keyCompromise\ngrid-ca-sign -gencrl -out 1a2b3c4d.r0",
        ),
    ),
    differences="""\
Of the options of `openssl ca`, which the C script passes on, `-passin`, `-keyfile`, `-md`, `-subj`, `-days`,
`-startdate`, `-enddate`, `-notext`, `-revoke`, `-crl_reason`, `-crl_compromise`, `-crl_CA_compromise`, `-gencrl`,
`-crldays`, `-crlhours`, `-crlsec`, `-status` and `-updatedb` are taken; `-inform`, `-batch`, `-preserveDN`,
`-rand_serial`, `-create_serial`, `-multivalue-rdn`, `-utf8` and `-verbose` change nothing. The others are refused by
name, with what to do instead (`-openssl-help`).

Serial numbers are random unless `-counter` is given. `grid-ca-ssl.conf` is not read: extensions are written by rule.
Names are held to the file `signing-policy`, and not to the `policy` of that configuration.

The C script revokes a good certificate of the same subject without `-force`, and refuses where the old one has expired;
here it is the other way round, as documented. `-crldays`, `-crlhours` and `-crlsec` exclude one another, where
openssl adds them.

`-san`, `-copy-names`, `-purpose`, `-counter`, `-q` and `-json` are new.
""",
    see_also=("grid-ca-create(1)", "grid-ca-package(1)", "grid-cert-request(1)"),
)
