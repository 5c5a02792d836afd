"""The prose of grid-sandbox(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`grid-sandbox` makes a demo virtual organisation in a private directory: a certification authority with a signing
policy and a revocation list, a host certificate, two users, the administrator of a community. It starts every service
of this installation on a free port of the loopback address: the deciding daemon, a MyProxy server, a community's
server, the web portal, and the C GridFTP server and gatekeeper where they are installed, which ask the daemon.

Without a deed it does so in the foreground, in a temporary directory, and then takes you on a tour: real commands on
that real input, each shown with what it printed, so that you can type it again: proxies made and refused, a decision
and its reason, a credential stored, got back by a pass phrase and by a one-time code, renewed and destroyed, a
community that says who may do what, its capabilities fetched as an assertion, an attribute certificate and a token, a
storage that enforces them, a proxy out of the portal, files through the GridFTP server, jobs through the gatekeeper.
Then the services stay up until Ctrl-C (or SIGTERM), which ends them and removes the directory.

`grid-sandbox up` leaves it running in the background instead, in a directory that stays, and makes nothing twice: what
runs is left alone, and what has ended is started again. In a shell, `eval "$(grid-sandbox env)"` makes you Alice, with
`-user` somebody else: `admin` looks after the community, `bob` has a revoked certificate, and `elsewhere` is Alice at
a machine where she has none. `status` says how each service is, `tour` shows around once. `down` ends the services and
keeps certificates, stores and ports for the next `up`; `reset` throws all but the ports away and begins anew.

With `-kerberos` there is a private Kerberos realm as well, GRID.EXAMPLE, with an authority that gives certificates for
its tickets, and the tour goes on from a password to a proxy; the portal takes the tickets, too, where the package of
Python gssapi is installed. It needs an MIT KDC (`krb5kdc`, `kdb5_util`, `kadmin.local`, `kinit`) on PATH, or in an
`sbin` directory beside one there; without them it says so and goes on. The system's own realm and its files are not
touched. Services whose packages of Python are not installed are left out likewise, with a line that names them.

Everything in it is for demonstration: the keys lie in files, the pass phrases beside them. It needs no root and no
system service, and it touches nothing outside its directory; root gets a second one in the temporary directory, for
what C services do as another account.
""",
    exit_status=(
        ("0", "It is done; of a tour: every step worked; of `status`: every service is up."),
        (
            "1",
            "A step failed (its output says `FAILED`), a service did not start, or is not up; or there is no sandbox.",
        ),
    ),
    environment=(("GRID_SANDBOX", "The directory of a sandbox in the background; `env` sets it."),),
    files=(
        ("~/.grid-sandbox", "DIR for one in the background, mode 0700."),
        ("DIR/certificates", "The trust directory."),
        ("DIR/alice, DIR/bob, DIR/admin", "A home for each user, and for the community's administrator."),
        ("DIR/elsewhere", "One for a machine without certificates."),
        ("DIR/alice/key-passphrase", "The pass phrase of Alice's key; likewise for the others."),
        ("DIR/exhibits", "Chains that must be refused: forged, expired, revoked."),
        ("DIR/state", "What the services keep, and their logs: `DIR/state/NAME/log`."),
        ("DIR/sandbox.json", "What runs where."),
        ("DIR/elsewhere/kerberos-password", "With `-kerberos`: Alice's password in the realm."),
    ),
    examples=(
        ("Look around:", "grid-sandbox"),
        ("As a test of an installation:", "grid-sandbox -once"),
        ("Work in it:", 'grid-sandbox up && eval "$(grid-sandbox env)"'),
        ("With tickets:", "grid-sandbox up -kerberos"),
        ("Remove every trace:", "grid-sandbox down -delete"),
    ),
    see_also=(
        "grid-proxy-init(1)",
        "grid-proxy-verify(1)",
        "myproxy-logon(1)",
        "myproxy-server(8)",
        "myproxy-portal(8)",
        "cas-server(8)",
        "gsi-authz-server(8)",
        "kx509(1)",
        "kca-server(8)",
    ),
)
