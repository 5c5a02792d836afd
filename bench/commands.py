"""Wall time of the commands beside the C ones: whole processes, in turn, medians."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.pairs import Figure, alternate, command, median_ms, show
from gsi.keys import encode_private_key, parse_private_key
from gsi.pem import split_pem
from gsi.sandbox.vo import Person, make_vo, open_vo
from gsi.secret import Passphrase
from gsi.system.clock import now
from gsi.system.files import write_private

HELP_COMMANDS = (
    "grid-proxy-init",
    "grid-proxy-info",
    "grid-proxy-destroy",
    "grid-proxy-verify",
    "voms-proxy-init",
    "voms-proxy-info",
    "voms-proxy-destroy",
    "voms-proxy-list",
    "grid-fetch-crl",
    "grid-mapfile-add-entry",
    "grid-mapfile-delete-entry",
    "grid-mapfile-check-consistency",
    "grid-sandbox",
    "myproxy-init",
    "myproxy-logon",
    "myproxy-info",
    "myproxy-destroy",
    "myproxy-server",
    "kx509",
    "kxlist",
    "kxdestroy",
    "kca-server",
)


def figures(rounds: int = 40) -> list[Figure]:
    """Measure and return the figures."""
    ours_bin = Path(sys.executable).parent
    peer_init, peer_info = (_peer(name) for name in ("grid-proxy-init", "grid-proxy-info"))
    found: list[Figure] = []
    with TemporaryDirectory() as directory:
        vo = open_vo(Path(directory))
        make_vo(vo, now=now())
        alice = vo.person("alice")
        # The C program does not look at HOME, so the certificate is named to both.
        environment = {**alice.environment, "X509_USER_CERT": str(alice.home / ".globus" / "usercert.pem")}
        # An open key: unlocking costs both programs the same and would only hide the difference.
        key_path = alice.home / "openkey.pem"
        write_private(str(key_path), _open_key(alice))
        ours_init = [
            str(ours_bin / "grid-proxy-init"),
            "-q",
            "-key",
            str(key_path),
            "-out",
            str(alice.home / "ours.pem"),
        ]
        theirs_init = [peer_init, "-q", "-key", str(key_path), "-out", str(alice.home / "theirs.pem")]
        ours, p256, theirs = alternate(
            rounds,
            command(ours_init, environment),
            command([*ours_init, "--key-type", "p256"], environment),
            command(theirs_init, environment),
        )
        peer = median_ms(theirs)
        found.append(_ratio("grid-proxy-init, RSA 2048", median_ms(ours), peer, 1.0))
        found.append(_ratio("grid-proxy-init, P-256 proxy key, vs C's RSA 2048", median_ms(p256), peer, 0.6))
        file = ["-file", str(alice.home / "theirs.pem")]
        ours, theirs = alternate(
            rounds,
            command([str(ours_bin / "grid-proxy-info"), *file], environment),
            command([peer_info, *file], environment),
        )
        value = median_ms(ours)
        found.append(Figure("grid-proxy-info", value, median_ms(theirs), "<= 100 ms", value <= 100))
        for name in HELP_COMMANDS:
            (ours,) = alternate(rounds // 2, command([str(ours_bin / name), "--help"], environment))
            value = median_ms(ours)
            found.append(Figure(f"{name} --help", value, None, "<= 50 ms", value <= 50))
    return found


def _open_key(person: Person) -> bytes:
    passphrase = Passphrase((person.home / "key-passphrase").read_bytes().strip())
    locked = (person.home / ".globus" / "userkey.pem").read_bytes()
    return encode_private_key(parse_private_key(split_pem(locked, what="key")[0], passphrase))


def _ratio(name: str, ours: float, peer: float, limit: float) -> Figure:
    return Figure(name, ours, peer, f"<= {limit} x", ours <= limit * peer)


def _peer(name: str) -> str:
    """Find the C program, which must not be the one of our own environment."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin")
    if found is None:
        raise SystemExit(f"{name} of the C toolkit is not installed; run tests/install-peers first")
    return found


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
