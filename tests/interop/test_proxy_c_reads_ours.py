"""Proxies made by ours, read and judged by the C programs.

Who judges: `grid-proxy-info` reads the file; `grid-proxy-init -verify` made to sign below our proxy validates the whole
chain; a C `myproxy-server` validates it in a TLS handshake and names the identity in its answer. The last is the only
one of the three that works for every kind of key: the C programs cannot *sign* below a certificate whose own signature
is not RSA's, nor with an Ed25519 key, and cannot delegate to a peer whose key is not RSA.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyFormat, ProxyKind
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.daemons import Daemon, c_myproxy_server
from tests.harness.environment import UserEnvironment
from tests.interop.conftest import ALICE, CA_KINDS, EEC_KINDS, Grid
from tests.interop.ours import FULL, INDEPENDENT, KINDS, LIMITED, RESTRICTED, proxy_of, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gsi.credential import Credential
    from tests.harness.ca import KeyKind
    from tests.harness.run import Done

    Proxies = Callable[[KeyKind, KeyKind, str, str], Credential]

KEY_TYPES = ("rsa", "p256")
TYPE_TEXT = {
    "full": "RFC 3820 compliant impersonation proxy",
    "limited": "RFC 3820 compliant limited proxy",
    "independent": "RFC 3820 compliant independent proxy",
    "restricted": "RFC 3820 compliant restricted proxy",
}

each_ca = pytest.mark.parametrize("ca", CA_KINDS)
each_eec = pytest.mark.parametrize("eec", EEC_KINDS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_key = pytest.mark.parametrize("key", KEY_TYPES)


@pytest.fixture(scope="session")
def proxies(grid: Grid) -> Proxies:
    """A function giving our proxy for (authority's key, user's key, kind, proxy's key), made once per worker."""
    made: dict[tuple[KeyKind, KeyKind, str, str], Credential] = {}

    def make(ca: KeyKind, eec: KeyKind, kind: str, key: str) -> Credential:
        name = (ca, eec, kind, key)
        if name not in made:
            made[name] = proxy_of(grid.users[ca, eec], KINDS[kind], key)
        return made[name]

    return make


@pytest.fixture(scope="session")
def validator(grid: Grid) -> Iterator[Daemon]:
    """A C myproxy-server, asked only who it thinks we are."""
    with c_myproxy_server(grid.host, grid.trust_dir) as server:
        yield server


def _identity_seen(user: UserEnvironment, server: Daemon) -> str:
    """What the C server takes the holder of the user's proxy for; its whole output when it refuses the chain."""
    done = user.theirs("myproxy-info", "-s", server.host, "-p", str(server.port), "-l", "nobody-stored-this")
    found = re.search(r'no credentials found for user nobody-stored-this, owner "(.*)"', done.output)
    return found[1] if found else done.output


def _sign_below(user: UserEnvironment) -> Done:
    """Let the C program make a proxy below the user's, to `below.pem`, and validate the chain up to the root."""
    files = ("-cert", user.proxy_path, "-key", user.proxy_path, "-out", user.home / "below.pem")
    return user.theirs("grid-proxy-init", "-verify", *files)


def _subject(credential: Credential) -> str:
    from gsi.names import oneline

    return oneline(credential.certificate.subject_der)


@each_ca
@each_eec
@each_kind
@each_key
def test_info(proxies: Proxies, user: UserEnvironment, ca: KeyKind, eec: KeyKind, kind: str, key: str) -> None:
    proxy = proxies(ca, eec, kind, key)
    write(user.proxy_path, proxy)
    lines = user.theirs("grid-proxy-info").check().stdout.splitlines()
    shown = {name.strip(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert re.fullmatch(re.escape(ALICE) + r"/CN=\d+", shown["subject"])
    assert shown["issuer"] == ALICE
    # Only full and limited proxies act in the user's name; the others are known by their own.
    assert shown["identity"] == (ALICE if kind in ("full", "limited") else shown["subject"])
    assert shown["type"] == TYPE_TEXT[kind]
    assert shown["path"] == str(user.proxy_path)
    assert re.fullmatch(r"1[12]:\d\d:\d\d", shown["timeleft"])
    if key == "rsa":  # for an EC key it prints the length of something else
        assert shown["strength"] == "2048 bits"
    assert user.theirs("grid-proxy-info", "-exists", "-valid", "11:50").returncode == 0
    assert user.theirs("grid-proxy-info", "-exists", "-valid", "12:01").returncode == 1


@each_ca
@each_eec
@each_kind
@each_key
def test_validator(
    proxies: Proxies, user: UserEnvironment, validator: Daemon, ca: KeyKind, eec: KeyKind, kind: str, key: str
) -> None:
    proxy = proxies(ca, eec, kind, key)
    write(user.proxy_path, proxy)
    seen = _identity_seen(user, validator)
    if kind == "restricted":
        assert "owner" not in seen  # no handler for our policy language: refused, as ours does
    else:
        assert seen == (_subject(proxy) if kind == "independent" else ALICE)


@each_ca
@each_eec
@each_kind
def test_verify_below_ours(proxies: Proxies, user: UserEnvironment, ca: KeyKind, eec: KeyKind, kind: str) -> None:
    """The C program signs below our RSA proxy, which must itself be signed by an RSA key."""
    write(user.proxy_path, proxies(ca, eec, kind, "rsa"))
    done = _sign_below(user)
    if eec == "rsa2048":
        assert "Proxy Verify OK" in done.check().stdout
        shown = user.theirs("grid-proxy-info", "-file", user.home / "below.pem", "-type").check()
        # Below a restricted one it writes inheritAll; the restriction above holds all the same.
        assert shown.stdout.strip() == TYPE_TEXT["full" if kind == "restricted" else kind]
    else:
        assert done.returncode == 1  # the C program's own limit
        assert "Couldn't create proxy certificate" in done.stderr


@each_eec
@each_ca
def test_verify_two_below_an_ec_user(grid: Grid, user: UserEnvironment, ca: KeyKind, eec: KeyKind) -> None:
    """With a second RSA proxy of ours in between, C can sign and verify below any user's certificate."""
    first = proxy_of(grid.users[ca, eec], FULL)
    write(user.proxy_path, proxy_of(first, FULL))
    done = _sign_below(user)
    assert "Proxy Verify OK" in done.check().stdout


@pytest.mark.parametrize("eec", ["rsa2048", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("ca", ["rsa2048", "p256", "p384", "ed25519"])
def test_validator_every_key(tmp_path_factory: pytest.TempPathFactory, ca: KeyKind, eec: KeyKind, grid: Grid) -> None:
    """Authorities and users of every kind of key, the proxy key of the user's own kind."""
    authority = TestCA(f"/O=Grid/CN=Any CA {ca}", ca)
    directory = tmp_path_factory.mktemp("any")
    trust_dir = write_trust_dir(directory / "certificates", authority, grid.cas["rsa2048"])
    user = UserEnvironment(directory, trust_dir=trust_dir)
    alice = authority.issue(ALICE, eec)
    key_type = "rsa" if eec == "rsa2048" else eec
    with c_myproxy_server(grid.host, trust_dir) as server:
        write(user.proxy_path, proxy_of(proxy_of(alice, FULL, key_type), LIMITED, key_type))
        assert _identity_seen(user, server) == ALICE
    assert user.theirs("grid-proxy-info", "-identity").check().stdout.strip() == ALICE


@pytest.mark.parametrize(
    ("lengths", "accepted"),
    [((0,), False), ((1,), True), ((2,), True), ((1, None), False), ((2, None), True), ((5, 0), False)],
)
def test_path_length(grid: Grid, user: UserEnvironment, lengths: tuple[int | None, ...], accepted: bool) -> None:
    """A path length that we write is one that C enforces, 0 included: it may or may not sign one proxy more."""
    credential = None
    for length in lengths:
        credential = proxy_of(credential or grid.users["rsa2048", "rsa2048"], FULL._replace(path_length=length))
    assert credential is not None
    write(user.proxy_path, credential)
    done = _sign_below(user)
    assert done.returncode == (0 if accepted else 1), done


@pytest.mark.parametrize(
    ("above", "below", "text"),
    [
        (FULL, LIMITED, "limited"),
        (FULL, INDEPENDENT, "independent"),
        (LIMITED, LIMITED, "limited"),
        (LIMITED, ProxyOptions(), "limited"),
        (INDEPENDENT, ProxyOptions(), "independent"),
        (FULL, RESTRICTED, "restricted"),
    ],
    ids=[
        "full-limited",
        "full-independent",
        "limited-limited",
        "limited-default",
        "independent-default",
        "full-restricted",
    ],
)
def test_two_levels(grid: Grid, user: UserEnvironment, above: ProxyOptions, below: ProxyOptions, text: str) -> None:
    credential = proxy_of(proxy_of(grid.users["rsa2048", "rsa2048"], above), below)
    write(user.proxy_path, credential)
    assert user.theirs("grid-proxy-info", "-type").check().stdout.strip() == TYPE_TEXT[text]
    done = _sign_below(user)
    assert "Proxy Verify OK" in done.check().stdout


@pytest.mark.parametrize("kind", ["full", "limited", "independent", "restricted"])
def test_draft_form(grid: Grid, user: UserEnvironment, validator: Daemon, kind: str) -> None:
    options = KINDS[kind]._replace(format=ProxyFormat.GT3, allow_legacy=True, path_length=4)
    write(user.proxy_path, proxy_of(grid.users["rsa2048", "rsa2048"], options))
    words = TYPE_TEXT[kind].replace("RFC 3820", "Proxy draft (pre-RFC)")
    assert user.theirs("grid-proxy-info", "-type").check().stdout.strip() == words
    done = _sign_below(user)
    assert "Proxy Verify OK" in done.check().stdout
    if kind in ("full", "limited"):
        assert _identity_seen(user, validator) == ALICE


@pytest.mark.parametrize("kind", ["full", "limited"])
def test_legacy_form(grid: Grid, user: UserEnvironment, kind: str) -> None:
    """Under a certificate without key usage, the only one below which OpenSSL 3 lets C accept them."""
    alice = grid.cas["rsa2048"].issue(ALICE, key_usage=None)
    options = ProxyOptions(kind=ProxyKind(kind), format=ProxyFormat.GT2, allow_legacy=True)
    write(user.proxy_path, proxy_of(alice, options))
    assert user.theirs("grid-proxy-info", "-type").check().stdout.strip() == f"{kind} legacy globus proxy"
    assert user.theirs("grid-proxy-info", "-identity").check().stdout.strip() == ALICE
    done = _sign_below(user)
    assert "Proxy Verify OK" in done.check().stdout


# The command itself


@pytest.mark.parametrize("eec", EEC_KINDS)
@pytest.mark.parametrize(
    "flags", ["", "-limited", "-independent", "-rfc -path-length 0", "-bits 4096", "-valid 0:0", "-valid 1:30"]
)
def test_command(grid: Grid, user: UserEnvironment, flags: str, eec: KeyKind) -> None:
    user.install_user(grid.users["rsa2048", eec])
    ours = user.ours("grid-proxy-init", "-verify", *flags.split())
    assert ours.returncode == 0, ours
    assert re.search(rf"^Your identity: {ALICE}$", ours.stdout, re.MULTILINE)
    assert re.search(r"^Creating proxy \.* ?Done$", ours.stdout, re.MULTILINE)
    assert "Proxy Verify OK" in ours.stdout
    text = next((kind for kind in TYPE_TEXT if f"-{kind}" in flags), "full")
    assert user.theirs("grid-proxy-info", "-type").check().stdout.strip() == TYPE_TEXT[text]
    assert user.theirs("grid-proxy-info", "-strength").check().stdout.strip() == ("4096" if "4096" in flags else "2048")
    assert user.proxy_path.stat().st_mode & 0o7777 == 0o600
    hours = {"-valid 0:0": "700", "-valid 1:30": "1"}.get(flags, "11")
    assert user.theirs("grid-proxy-info", "-exists", "-valid", f"{hours}:20").returncode == 0
    assert user.theirs("grid-proxy-destroy").returncode == 0
    assert not user.proxy_path.exists()


def test_command_policy(user: UserEnvironment) -> None:
    """What the C program drops in silence, kept by ours and seen by C."""
    policy = user.home / "policy"
    policy.write_bytes(b"one,two\x00three\n")
    ours = user.ours("grid-proxy-init", "-policy", policy, "-pl", "1.2.3.4")
    assert ours.returncode == 0, ours
    assert user.theirs("grid-proxy-info", "-type").check().stdout.strip() == TYPE_TEXT["restricted"]


@pytest.mark.parametrize("key", ["p256", "p384", "ed25519"])
def test_command_key_type(user: UserEnvironment, validator: Daemon, key: str) -> None:
    ours = user.ours("grid-proxy-init", "-key-type", key)
    assert ours.returncode == 0, ours
    assert _identity_seen(user, validator) == ALICE


def test_command_passphrase_and_pkcs12(grid: Grid, user: UserEnvironment) -> None:
    alice = grid.users["rsa2048", "rsa2048"]
    user.install_user(alice, passphrase=b"pass phrase")
    assert user.ours("grid-proxy-init", "-pwstdin", stdin="pass phrase\n").check()
    assert user.theirs("grid-proxy-info", "-identity").check().stdout.strip() == ALICE
    bundle = user.home / "cred.p12"
    bundle.touch(mode=0o600)
    bundle.write_bytes(alice.pkcs12(b"pass phrase"))
    out = user.home / "from-p12.pem"
    user.ours("grid-proxy-init", "-pwstdin", "-cert", bundle, "-out", out, stdin="pass phrase\n").check()
    assert user.theirs("grid-proxy-info", "-file", out, "-identity").check().stdout.strip() == ALICE


BAD_COMMAND_LINES = [
    "-nonsense", "-valid", "-valid x", "-valid 1:61", "-valid -1:0", "-bits 1000", "-bits",
    "-limited -independent",
    "-rfc -old", "-draft -rfc", "-policy", "-policy /nonexistent/policy -pl 1.2.3.4", "-path-length x", "-out",
    "-cert /nonexistent/cert.pem", "-key /nonexistent/key.pem", "-out /nonexistent/dir/proxy", "-old -independent",
    "extra",
]  # fmt: skip


@pytest.mark.parametrize("flags", BAD_COMMAND_LINES)
def test_command_line_errors(user: UserEnvironment, flags: str) -> None:
    """The same exit code as the C program for a bad command line, and no file from either.

    Left out: `-hours x`, which C takes for 0, a proxy of the longest life.
    """
    ours, theirs = (call("grid-proxy-init", *flags.split()) for call in (user.ours, user.theirs))
    assert (ours.returncode, theirs.returncode) == (1, 1), (str(ours), str(theirs))
    assert ours.stderr
    assert "Traceback" not in ours.output
    assert not user.proxy_path.exists()


@pytest.mark.parametrize(
    "flags",
    ["-help", "-usage", "-version", "-q", "-debug", "-valid 1:0 -q", "-hours 3 -q", "--", "-q -rfc", "-certdir DIR"],
)
def test_command_line_successes(user: UserEnvironment, flags: str) -> None:
    words = [str(user.trust_dir) if word == "DIR" else word for word in flags.split()]
    ours, theirs = (call("grid-proxy-init", *words) for call in (user.ours, user.theirs))
    assert (ours.returncode, theirs.returncode) == (0, 0), (str(ours), str(theirs))
    if "-q" in words:
        assert ours.stdout == theirs.stdout == ""


@pytest.mark.parametrize(
    "flags", ["-dryrun", "", "FILE", "-- FILE", "MISSING", "-default", "-nonsense", "-dryrun FILE", "FILE MISSING"]
)
def test_destroy_does_as_c(grid: Grid, tmp_path: Path, flags: str) -> None:
    """Exit code, and which files are left, for ours and theirs from the same start (`-all` would look into /tmp)."""
    left: list[tuple[int, bool, bool]] = []
    proxy = proxy_of(grid.users["rsa2048", "rsa2048"], FULL, "p256")
    for which in ("ours", "theirs"):
        user = UserEnvironment(tmp_path / which, trust_dir=grid.trust_dir)
        other = write(user.home / "other.pem", proxy)
        write(user.proxy_path, proxy)
        names = {"FILE": str(other), "MISSING": str(user.home / "missing.pem")}
        call = user.ours if which == "ours" else user.theirs
        done = call("grid-proxy-destroy", *(names.get(word, word) for word in flags.split()))
        left.append((done.returncode, user.proxy_path.exists(), other.exists()))
    assert left[0] == left[1]
