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
of this installation on a free port of the loopback address, and then takes you on a tour: real commands on that real
input, each shown with what it printed, so that you can type it again: proxies made and refused, a decision and its
reason, a credential stored, got back by a pass phrase and by a one-time code, renewed and destroyed, a community that
says who may do what, its capabilities fetched as an assertion, an attribute certificate and a token, and a storage that
enforces them.

With `-kerberos` there is a private Kerberos realm as well, GRID.EXAMPLE, with an authority that gives certificates for
its tickets, and the tour goes on from a password to a proxy. It needs an MIT KDC (`krb5kdc`, `kdb5_util`,
`kadmin.local`, `kinit`) on PATH, or in an `sbin` directory beside one there; without them it says so and goes on. The
system's own realm and its files are not touched.

Then the services stay up until Ctrl-C (or SIGTERM), which ends them and removes the directory.

Everything in it is for demonstration: the keys lie in files, the pass phrases beside them. It needs no root and no
system service, and it touches nothing outside its directory.
""",
    exit_status=(
        ("0", "Every step of the tour worked."),
        ("1", "A step failed (its output says `FAILED`), or a service did not start."),
    ),
    files=(
        ("DIR/certificates", "The trust directory."),
        ("DIR/alice, DIR/bob, DIR/admin", "A home for each user, and for the community's administrator."),
        ("DIR/elsewhere", "One for a machine without certificates."),
        ("DIR/exhibits", "Chains that must be refused: forged, expired, revoked."),
        ("DIR/state", "What the services keep, and their logs."),
        ("DIR/elsewhere/kerberos-password", "With `-kerberos`: Alice's password in the realm."),
    ),
    examples=(
        ("Look around, then use it from another shell:", "grid-sandbox"),
        ("As a test of an installation:", "grid-sandbox -once"),
        ("With tickets:", "grid-sandbox -kerberos"),
    ),
    see_also=(
        "grid-proxy-init(1)",
        "grid-proxy-verify(1)",
        "myproxy-logon(1)",
        "myproxy-server(8)",
        "kx509(1)",
        "kca-server(8)",
    ),
)
