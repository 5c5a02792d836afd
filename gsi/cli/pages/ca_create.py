"""The prose of grid-ca-create(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import SECRET_SOURCES

__all__ = ["CA_FILES", "PAGE"]

CA_FILES: Final = (
    ("DIR/cacert.pem", "The CA's certificate."),
    ("DIR/private/cakey.pem", "Its private key, mode 0600; or `private/keyfile` with the place of a key in a token."),
    ("DIR/signing-policy", "The names that it may sign; `grid-ca-sign` obeys it, and sites get it."),
    ("DIR/index.txt, DIR/newcerts", "The list of all certificates issued, and each of them, as `openssl ca` has them."),
    ("DIR/serial, DIR/crlnumber", "Counters, as `openssl ca` has them."),
)

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`grid-ca-create` makes a certification authority in a directory: a key, a self-signed certificate, a signing policy, the
settings with which sites request certificates, and the books in which `grid-ca-sign` keeps what it issues. All is laid
out as the C tools and `openssl ca` have it, so that both can work with it.

It asks for the CA's name, an e-mail address and a lifetime, unless these are given or `-noint` says to take the
defaults, and for a pass phrase for the key.

The CA may sign names that begin like its own, without its common name: a CA `/O=Grid/OU=Test/CN=Grid CA` signs
`/O=Grid/OU=Test/...`. Edit `signing-policy` before the CA is given to sites if it is to sign others.

Nothing is written outside the directory, and nothing is installed. `grid-ca-package` packs what other machines need,
and a package is made at once, too, unless `-nobuild` is given.

{SECRET_SOURCES}""",
    exit_status=(
        ("0", "The CA was made."),
        ("1", "Nothing was made. The message says why."),
    ),
    files=(
        ("~/.globus/simpleCA", "The directory when `-dir` names no other."),
        *CA_FILES,
        (
            "DIR/grid-security.conf, DIR/globus-user-ssl.conf, DIR/globus-host-ssl.conf",
            "What `grid-cert-request` needs.",
        ),
        ("DIR/grid-ca-ssl.conf", "Settings for `openssl ca`."),
    ),
    examples=(
        ("Answer the questions:", "grid-ca-create"),
        (
            "From a script:",
            "grid-ca-create -noint -dir ca -subject 'cn=Grid CA, ou=Test, o=Grid' -pass file:secret",
        ),
        (
            "With a key that never leaves its token:",
            "grid-ca-create -noint -keyfile 'pkcs11:token=CA;object=key?module-path=/usr/lib/m.so&pin-source=fd:3'",
        ),
    ),
    differences="""\
The C script installs the new CA into `/etc/grid-security/certificates` when it can write there; this program writes
only below its directory.

A CA that is there is never removed. `-force` puts it aside, and `-noint` does not imply `-force`.

There is no default pass phrase; the C script takes `globus`. A pass phrase on the command line is refused.

The default directory is always `~/.globus/simpleCA`. Options for `openssl req` are not taken, since none is run.

Certificates carry basicConstraints, keyUsage and key identifiers as RFC 5280 asks; the C script's carry the old
nsCertType. Names with characters that mean something to a shell or to OpenSSL's configuration are refused.

`-key-type`, `-keyfile`, `-nopassphrase`, `-q` and `-json` are new.
""",
    see_also=("grid-ca-package(1)", "grid-ca-sign(1)", "grid-cert-request(1)", "grid-default-ca(1)"),
)
