"""The prose of voms-proxy-init(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import (
    PROXY_FILE,
    TRUST_DIRECTORIES,
    USER_CERTIFICATE,
    USER_PROXY,
    X509_CERT_DIR,
    X509_USER_CERT,
    X509_USER_KEY,
)
from gsi.cli.pages.voms import CONF, TRUSTED_SERVERS, VOMS_DIR, VOMSES, VOMSES_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`voms-proxy-init` makes a proxy, as grid-proxy-init(1) does, and puts into it what the user's virtual organisations
(VOs) say about the user: groups and roles, signed by a VOMS server of each VO in an attribute certificate. Services
decide by them what the user may do.

Each `-voms` names a VO, by its alias in a vomses file, and after a colon what is wanted of it: a group, a role in a
group, a role in the whole VO (`/Role=r`), or everything (`all`). Without, the VO gives the user's groups; roles have
to be asked for. The attributes come in the order of the options, and `-order` puts others first.

The servers of a VO are asked in random order until one gives something, each by HTTP and, if that brings no answer, by
the older protocol. A server must have the name that the vomses file says, and a certificate of a trusted CA.

What a server gave is judged as a service would judge it: its signature, its times, its holder, and whether this
machine trusts the server for the VO by an LSC file in the vomsdir. What is not believed is not written, unless
`-dont-verify-ac` is given; nor is a proxy that has no path to a trusted CA. An older proxy then stays as it was.
""",
    exit_status=(
        ("0", "The proxy was made, also with warnings: some attribute was not given, or something lasts less long."),
        ("1", "Nothing was made. The message says why."),
        ("3", "Nothing was made: the private key could not be opened, such as with a wrong pass phrase."),
    ),
    environment=(
        X509_USER_CERT,
        X509_USER_KEY,
        USER_PROXY,
        X509_CERT_DIR,
        VOMS_DIR,
        VOMSES,
        ("VOMS_PROXY_INIT_DONT_VERIFY_AC", "If set, do as with `-dont-verify-ac`."),
    ),
    files=(USER_CERTIFICATE, PROXY_FILE, TRUST_DIRECTORIES, VOMSES_FILES, TRUSTED_SERVERS),
    examples=(
        ("A proxy with the groups that the VO gives:", "voms-proxy-init -voms testvo"),
        (
            "Two VOs, a role in the second, for a working day:",
            "voms-proxy-init -voms testvo -voms other:/other/prod/Role=pilot -valid 10:00",
        ),
        (
            "Attributes for one host only, in a limited proxy:",
            "voms-proxy-init -voms testvo -target ce.example.org -limited",
        ),
        ("Add attributes to the proxy that is there, without pass phrase:", "voms-proxy-init -noregen -voms testvo"),
        (
            "Fetch the attributes into a file, and use them later:",
            "voms-proxy-init -voms testvo -separate ac.pem\nvoms-proxy-init -includeac ac.pem",
        ),
    ),
    differences="""\
All options of the C and the Java program are there; new are `-vomsdir` for both, `-key-type`, and 3072 bits.

Both programs write the proxy and then look at it. Here it is the other way round.

The C program leaves no proxy for users whose certificate has no subject key identifier, and may still exit with 0. It
writes none with `-noregen`, and exits with 1 when a lifetime was cut. Here there is a proxy.

The C program makes a temporary proxy in `/tmp` to talk to the server; here the user's key does that.

`-bits 512` and `-bits 1024` are refused. `-path-length 0` and every byte of a policy are kept. `-policy-language` needs
`-policy`; `-order`, `-target` and `-vomslife` need `-voms`.

`-confile`, `-userconf` and `-vomses` are one option, and a place that does not exist is an error. `-vomslife 0:0`
leaves the lifetime to the server; the C program sends a lifetime of 0.

The variable `VO`, which the C program puts into the proxy as it is, is not heeded: nobody vouches for it.

In a file of options values may stand in quotation marks. A missing attribute is a warning. `-help` prints to standard
output.
"""
    + CONF,
    see_also=(
        "grid-proxy-init(1)",
        "voms-proxy-destroy(1)",
        "voms-proxy-info(1)",
        "voms-proxy-list(1)",
    ),
)
