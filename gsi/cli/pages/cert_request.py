"""The prose of grid-cert-request(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import SECRET_SOURCES, X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-cert-request` makes a private key and a certificate request for a user, a host or a service, and says where to
send the request. The key never leaves its file.

Which parts the subject has is read from the configuration that the CA's package installs, `globus-user-ssl.conf` for
users and `globus-host-ssl.conf` for hosts and services; only the common name is added. `-interactive` asks for every
part: an empty answer takes the CA's own value, a dot leaves the part out.

Three files are written: the key with mode 0400, the request, and an empty file where the certificate is to be saved.
Files that are there are never overwritten. With `-force` they get another name, with `.old` at its end.

A user's key is locked with a pass phrase. Keys of hosts and services are not, since nobody is there to type it when the
service starts.

{SECRET_SOURCES}""",
    exit_status=(
        ("0", "The request was made."),
        ("1", "Nothing was made; files that were there are as they were."),
    ),
    environment=(
        ("GRID_SECURITY_DIR", "The directory with the configuration, in place of `/etc/grid-security` and `/etc`."),
        X509_CERT_DIR,
    ),
    files=(
        (
            "globus-user-ssl.conf, globus-host-ssl.conf",
            "What subjects look like; with a dot and its hash behind, of a CA in the trust directory.",
        ),
        ("grid-security.conf", "Name and mail address of the CA."),
        ("directions", "The CA's own text for people, instead of ours."),
        ("~/.globus/usercert_request.pem, userkey.pem, usercert.pem", "What is written for a user."),
        (
            "/etc/grid-security/hostcert_request.pem, hostkey.pem, hostcert.pem",
            "What is written for a host; of a service, in a directory of its name.",
        ),
    ),
    examples=(
        ("For a user:", "grid-cert-request -cn 'Alice Adams'"),
        ("For a host with two names:", "grid-cert-request -host www.example.org -dns www.example.org,example.org"),
        ("For a service:", "grid-cert-request -service ldap -host www.example.org -dir /etc/ldap"),
        ("Of another CA than the default one:", "grid-cert-request -ca 4f71e8e5 -cn 'Alice Adams'"),
    ),
    differences="""\
The CA's configuration is read, not run: in `grid-security.conf` and `directions`, names of variables are filled in and
nothing else happens. `grid-security.conf` may be missing.

For a host or service the host is asked for as an alternative name, too, unless `-dns` or `-ip` give others. The request
for the Netscape certificate type `sslCA` is left out. `-dns` and `-ip` work for users, too.

`-force` keeps the old files. The common name is never looked up with `finger`. The key is locked by AES-256 under
600,000 rounds of PBKDF2. The screen is not cleared, so `-verbose` only tells more. `-help` prints to standard output.

`-passout`, `-key-type`, `-bits` and `-json` are new.
""",
    see_also=("grid-cert-info(1)", "grid-change-pass-phrase(1)", "grid-proxy-init(1)"),
)
