"""The prose of myproxy-logon(1) and of its other name, myproxy-get-delegation(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.cli.pages import CLIENT_ENVIRONMENT, CLIENT_EXIT_STATUS, CLIENT_FILES

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
This command receives a fresh proxy from a MyProxy server and writes it where all grid programs look for it. You need
no certificate here, only the pass phrase under which `myproxy-init` stored the credential. The key is made on this
machine and never travels.

`myproxy-logon` and `myproxy-get-delegation` are one program under two names.

With a certificate or proxy of yours at hand it is shown to the server, whose policies may ask for it; if it cannot be
used, the server is asked once more without.

With `--voms` the proxy is to carry attributes of VOs: groups and roles that services decide by. The server is asked to
fetch them with the stored credential. Where it does not, this command asks the VOs as voms-proxy-init(1) does, and
writes a proxy of one more step; without the attributes nothing is written.

Where the server wants proof by SASL (`sasl` in its configuration), mechanisms and tickets are those of libsasl2 on this
machine: Kerberos needs a ticket and asks nothing, others ask for a password. With `-n` no pass phrase is asked for
before.

With `--portal` nothing is typed here: an address is shown, which you open in a browser anywhere. There you log on
to the portal, compare the key, and confirm. The key is made here as always.
""",
    exit_status=CLIENT_EXIT_STATUS,
    environment=(
        *CLIENT_ENVIRONMENT,
        (
            "VOMS_USERCONF",
            "Files and directories of vomses lines; those of the VOs asked for are sent, and count for the server.",
        ),
    ),
    files=CLIENT_FILES,
    examples=(
        ("A proxy for the day:", "myproxy-logon -s myproxy.example.org -l alice"),
        ("With a role in a VO:", "myproxy-logon -l alice -m testvo:/testvo/prod/Role=pilot"),
        ("Renew a proxy by its own key, without a pass phrase:", "myproxy-logon -a proxy.pem -o proxy.pem -l alice"),
        ("On a new machine, believing the server that answers:", "myproxy-logon -b -s myproxy.example.org -l alice"),
        ("With the code of an authenticator behind the pass phrase:", "myproxy-logon --otp -l alice"),
        ("By a Kerberos ticket, without a pass phrase:", "myproxy-logon -n -l alice"),
        ("Log on in a browser instead:", "myproxy-logon --portal https://portal.example.org"),
        ("The credential on standard output:", "myproxy-logon -S -o - -l alice < passphrase"),
    ),
    differences="""\
`--portal` is new.

Renewal signs with SHA-256 only. A pass phrase longer than 1024 bytes is refused, not cut.

`-b` shows the fingerprints of the authorities that it comes to trust. A CRL that stands in the way is not deleted.

With `-S` the answers to SASL are read from standard input too, a line each, after the pass phrase.

With `-m`, only the vomses lines of the VOs that are asked for are sent, and voms-proxy-init is not run: what it does is
done here, with attributes judged before they are written. `-m` with `-Q` is an error where the server adds nothing.
""",
    see_also=("myproxy-init(1)", "myproxy-info(1)", "grid-proxy-info(1)", "voms-proxy-init(1)", "voms-proxy-info(1)"),
)
