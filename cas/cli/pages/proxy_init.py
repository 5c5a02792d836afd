"""The prose of cas-proxy-init(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-proxy-init` asks a community's server for a signed capability and puts it, as an extension that is not critical,
into a new proxy below the one it asks with. Services that do not know such capabilities take the proxy as any other.
Nothing is granted by the client: what it asks for beyond the community's policy is left out, and when nothing is left
there is an error.

A policy request file names resources, each followed by its actions:

    Resource: FTPDirectoryTree|ftp://sample1.org/data/*
     file read
     file lookup
    Resource: uri:samlResourceWildcard
     uri:samlActionNSWildcard uri:samlActionWildcard

With a file the proxy is to be narrow, and all that its chain carries counts somewhere: so `-f` goes neither with `-ac`
nor with a proxy that carries assertions or attribute certificates already. What the proxy to ask with carries of the
community bounds what the server gives, and with a limited one there are no rights on jobs.

The proxy is written to the default proxy's name with `.cas` behind it, for cas-wrap(1) to find. It lasts as long as the
capability. The options of GT 3.2, 4.0 and 4.2 are understood.

The server has to be who is meant: with `host` (the default) its certificate names the host of the URL, with or without
`cas/` or `host/` before it; with `self` it is you; else it has exactly the name that is given.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not, and nothing was written; the error says why."),
    ),
    environment=(
        ("CAS_SERVER_URL", "The server, where no option names it."),
        ("CAS_SERVER_IDENTITY", "Who it has to be, where `-z` does not say."),
        ("X509_USER_PROXY", "The proxy to ask with, where `-x` names none."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    examples=(
        ("Everything that the community grants:", "cas-proxy-init -c https://cas.example.org:8443"),
        ("What a file names, for two hours, for one host:", "cas-proxy-init -f request -l 2 -audience se.example.org"),
    ),
    differences="""\
In GT 4.2, `-f` named a security descriptor and `-l` chose local authorization; here they are the policy request file
and the hours of GT 4.0. `-s` with a URL is the server, else its name; `-p sig` and `-p enc` have no effect. `-saml`,
`-ac`, `-groups`, `-audience`, `-bind`, `-fqan` and `-legacy` are new. A lifetime beyond the server's is cut, as there.
""",
    see_also=("cas-wrap(1)", "cas-token(1)", "cas-whoami(1)", "cas-server(8)"),
)
