"""The foundation's part of the tour: making, showing, verifying and refusing proxies. Runs nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.sandbox.plan import Command, Contribution, Step

if TYPE_CHECKING:
    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER = 10


def contribution(vo: VO) -> Contribution:
    """Return the steps around proxy certificates; no service."""
    home = str(vo.person("alice").home)
    return Contribution(ORDER, make_steps=lambda: (_make(vo), _kinds(vo), _verify(home), _refuse(vo)))


def _init(vo: VO, *options: str, expect: tuple[str, ...] = (), beside: bool = False) -> Command:
    stdin = vo.person("alice").home / "key-passphrase"
    return Command(
        ("grid-proxy-init", "-pwstdin", *options),
        "alice",
        stdin_path=stdin,
        expect=("Your proxy is valid until", *expect),
        beside=beside,
    )


def _make(vo: VO) -> Step:
    return Step(
        "Alice makes a proxy",
        "A proxy certificate (RFC 3820) stands for Alice for twelve hours, so that her own key can stay locked.",
        (
            _init(vo, "-verify", expect=("Proxy Verify OK",)),
            Command(("grid-proxy-info",), "alice", expect=("RFC 3820 compliant impersonation proxy",)),
        ),
    )


def _kinds(vo: VO) -> Step:
    home = vo.person("alice").home
    policy = home / "policy.txt"
    policy.write_text("read, /data/public\n", encoding="ascii")
    limited, restricted = str(home / "limited.pem"), str(home / "restricted.pem")
    return Step(
        "Proxies that may do less",
        "Job services refuse a limited proxy; a restricted one carries a policy that a service must know.",
        (
            _init(vo, "-limited", "-out", limited),
            Command(("grid-proxy-info", "-file", limited, "-type"), "alice", expect=("limited proxy",)),
            _init(vo, "-policy", str(policy), "-pl", "1.3.6.1.4.1.55555.1", "-out", restricted, beside=True),
            Command(("grid-proxy-info", "-file", restricted, "-type"), "alice", expect=("restricted proxy",)),
        ),
    )


def _verify(home: str) -> Step:
    def verify(name: str, *, status: int = 0, expect: str) -> Command:
        argv = ("grid-proxy-verify", f"{home}/{name}.pem")
        return Command(argv, "alice", status=status, expect=(expect,), beside=True)

    return Step(
        "A service verifies them",
        "Each check has a verdict. A restriction that nobody here understands is refused, never overlooked.",
        (
            verify("proxy", expect="/CN=Alice Demo"),
            verify("limited", expect="limited"),
            verify("restricted", status=1, expect="proxy-restriction"),
        ),
    )


def _refuse(vo: VO) -> Step:
    def refused(name: str, reason: str) -> Command:
        path = str(vo.exhibits / f"{name}.pem")
        return Command(("grid-proxy-verify", path), "alice", status=1, expect=(reason,), beside=True)

    return Step(
        "Forged, expired, revoked",
        "Alice's name over somebody else's key, a proxy whose time is over, and one of a user whom the CA has revoked.",
        (refused("forged", "bad-signature"), refused("expired", "expired"), refused("revoked", "revoked")),
    )
