"""Our commands beside the C ones: the same words typed, the same lines and exit status back.

Compared are exit status and standard output. Error texts differ on purpose; where ours differs on purpose otherwise,
it is in a transcript and in the man page.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.harness.ca import TestCA, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, c_program

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture
def user(tmp_path: Path, ca: TestCA) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    alice = ca.issue("/O=Grid/CN=Alice", not_after=datetime.now(UTC) + timedelta(days=10))
    made.install_user(alice)
    made.trust(ca, crl=True)
    alice.write(made.home / "locked.pem", made.home / "locked.key", passphrase=b"secret")
    write_file(made.home / "bob.p12", ca.issue("/O=Grid/CN=Bob").pkcs12(b"secret"), 0o600)
    write_file(made.home / "policy", b"rules", 0o644)
    return made


def plain(text: str, user: UserEnvironment) -> str:
    """Take out what must differ: numbers made from keys, the progress of making them, seconds that went by.

    Also the prompt that the C program writes for PKCS#12, although it was told that nobody is there to read it.
    """
    text = text.replace(str(user.home), "~").removeprefix("Enter GRID pass phrase for this identity:")
    text = re.sub(r"Creating proxy \.+", "Creating proxy ...", text)
    text = re.sub(r"CN=\d+", "CN=<n>", text)
    text = text.replace("12:00:00", "11:59:59")  # of two commands one may still be within the first second
    return re.sub(r"\d\d:\d\d(?= \d{4}$|$|  \()", "MM:SS", text, flags=re.MULTILINE)


def paths(words: str, user: UserEnvironment) -> list[str]:
    return [str(user.home / word[1:]) if word.startswith("@") else word for word in words.split()]


def compare(ours: Done, theirs: Done, user: UserEnvironment) -> None:
    assert ours.returncode == theirs.returncode, f"{ours}\n{theirs}"
    assert plain(ours.stdout, user) == plain(theirs.stdout, user)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-q",
        "-limited -verify",
        "-independent",
        "-draft",
        "-old",
        "-rfc -valid 1:30",
        "-valid 0:0",
        "-valid 1:60",
        "-hours 3",
        "-valid 400:0",
        "-valid 400:0 -q",
        "-bits 4096",
        "-path-length 3",
        "-path-length 0x3",
        "-policy @policy -pl 1.2.3.4",
        "-policy-language 1.2.3.4 -policy @policy",
        "-cert @locked.pem -key @locked.key -pwstdin",
        "-cert @bob.p12 -pwstdin -valid 1:0",
        "-out @elsewhere",
        "-valid 1:61",
        "-valid 1",
        "-valid -1:0",
        "-limited -independent",
        "-old -rfc",
        "-policy @policy",
        "-policy @nofile -pl 1.2.3.4",
        "-cert @nofile",
        "-certdir @nodir",
        "-out @nodir/proxy",
        "-bits 1000",
        "-bits",
        "-nonsense",
    ],
)
def test_grid_proxy_init(words: str, user: UserEnvironment) -> None:
    theirs = user.theirs("grid-proxy-init", *paths(words, user), stdin="secret\n")
    made = user.proxy_path.exists()
    user.proxy_path.unlink(missing_ok=True)
    if words == "-path-length 0x3":  # ours takes decimal numbers alone
        assert user.ours("grid-proxy-init", *paths(words, user)).returncode == 1
        return
    ours = user.ours("grid-proxy-init", *paths(words, user), stdin="secret\n")
    if ours.returncode == 0:
        compare(ours, theirs, user)
        assert user.proxy_path.exists() == made
        assert plain(ours.stderr, user) == plain(theirs.stderr, user)
    else:  # what is printed before an error may differ: ours looks at more before it begins
        assert ours.returncode == theirs.returncode, f"{ours}\n{theirs}"
        assert not made


INFO = [
    "",
    "-all",
    "-subject",
    "-s -issuer -i -identity",
    "-type -strength -path",
    "-rfc2253",
    "-rfc2253 -subject -all",
    "-exists",
    "-e -valid 11:0",
    "-e -valid 13:0",
    "-exists -hours 11",
    "-e -h 13",
    "-e -b 2048",
    "-e -bits 2049 -valid 1:0",
    "-e -subject",
    "-file @nofile",
    "-file",
    "-valid 1:0",
    "-e -valid 1:90",
    "-nonsense",
    "extra",
]


@pytest.mark.parametrize("words", INFO)
@pytest.mark.parametrize("made", ["-rfc", "-draft -limited", "-old"])
def test_grid_proxy_info(words: str, made: str, user: UserEnvironment) -> None:
    user.ours("grid-proxy-init", *made.split()).check()
    name = "grid-proxy-info"
    compare(user.ours(name, *paths(words, user)), user.theirs(name, *paths(words, user)), user)


def test_timeleft(user: UserEnvironment) -> None:
    user.ours("grid-proxy-init").check()
    found = [
        int(run("grid-proxy-info", "-timeleft").check().stdout)
        for run in (user.ours, user.theirs, user.ours, user.theirs)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] < 60


@pytest.mark.parametrize("seconds", [1, 3600, 40 * 86400])
def test_an_expired_proxy(seconds: int, user: UserEnvironment, ca: TestCA) -> None:
    ends = datetime.now(UTC) - timedelta(seconds=seconds)
    user.install_proxy(
        ca.issue("/O=Grid/CN=Alice", not_before=ends - timedelta(days=2)).proxy(
            not_before=ends - timedelta(days=1), not_after=ends
        )
    )
    for words in ("", "-timeleft", "-exists", "-exists -valid 0:0"):
        compare(user.ours("grid-proxy-info", *words.split()), user.theirs("grid-proxy-info", *words.split()), user)


def test_the_type_of_a_restricted_proxy(user: UserEnvironment) -> None:
    user.theirs("grid-proxy-init", "-policy", user.home / "policy", "-pl", "1.2.3.4").check()
    compare(user.ours("grid-proxy-info"), user.theirs("grid-proxy-info"), user)


def test_the_text_of_a_proxy(user: UserEnvironment) -> None:
    """Every line of OpenSSL's text but the key's numbers and the words for the policy is in ours, in the same order."""
    user.theirs("grid-proxy-init", "-limited", "-path-length", "3").check()
    ours = user.ours("grid-proxy-info", "-text").check().stdout.splitlines()
    theirs = user.theirs("grid-proxy-info", "-text").check().stdout.splitlines()
    start, end = (
        next(n for n, line in enumerate(theirs) if word in line) for word in ("Modulus:", "X509v3 extensions:")
    )
    wanted = [
        line.rstrip() for line in theirs[:start] + theirs[end:] if "Constraint" not in line and "Language" not in line
    ]
    rest = iter(line.rstrip() for line in ours)
    missing = [line for line in wanted if line not in rest]
    assert not missing


@pytest.mark.parametrize(
    "words", ["", "-dryrun", "-default", "@proxy.pem", "@nofile", "-- @proxy.pem", "-nonsense", "-debug"]
)
@pytest.mark.parametrize("exists", [True, False])
def test_grid_proxy_destroy(words: str, exists: bool, user: UserEnvironment) -> None:
    found = []
    for run in (user.ours, user.theirs):
        if exists:
            user.ours("grid-proxy-init", "-q").check()
        found.append((run("grid-proxy-destroy", *paths(words, user)), user.proxy_path.exists()))
        user.proxy_path.unlink(missing_ok=True)
    (ours, ours_left), (theirs, theirs_left) = found
    compare(ours, theirs, user)
    assert ours_left == theirs_left
    if words == "-dryrun" and exists:
        assert ours.stderr == theirs.stderr


@pytest.mark.parametrize("command", ["grid-proxy-init", "grid-proxy-info", "grid-proxy-destroy"])
def test_every_option_of_the_c_program_is_ours(command: str, user: UserEnvironment) -> None:
    options = set(re.findall(r"(?<![\w<-])-[a-z][a-z0-9-]*", user.theirs(command, "-help").check().stderr))
    assert len(options) > 5
    known = user.ours(command, "-help").check().stdout
    missing = [option for option in options if not re.search(rf"(?m)^  (-\S+, )*{option}\b(?!-)", known)]
    assert not missing


@pytest.mark.parametrize(
    "command",
    [
        "grid-ca-create",
        "grid-ca-package",
        "grid-ca-sign",
        "grid-cert-info",
        "grid-cert-request",
        "grid-change-pass-phrase",
        "grid-default-ca",
        "grid-mapfile-add-entry",
        "grid-mapfile-check-consistency",
        "grid-mapfile-delete-entry",
    ],
)
def test_every_option_of_the_script_is_ours(command: str, user: UserEnvironment) -> None:
    """The branches of a shell's `case`, and what Perl's Getopt::Long is given."""
    script = Path(c_program(command)).read_text("latin-1")
    branches = re.findall(r"^\s*((?:--?[a-zA-Z][\w-]*\s*\|?\s*)+)\)", script, re.MULTILINE)
    getopt = re.findall(r'"([a-zA-Z|]+)(?:=s)?"\s*=>\s*\\', script)
    options = {f"-{word.strip().lstrip('-')}" for text in branches + getopt for word in text.split("|")}
    assert len(options) > 3
    known = user.ours(command, "-help").check().stdout
    assert not options - set(re.findall(r"(?<![\w-])-[\w-]+", known))


@pytest.mark.parametrize("command", ["grid-proxy-init", "grid-proxy-info", "grid-proxy-destroy"])
def test_version_goes_to_standard_error(command: str, user: UserEnvironment) -> None:
    compare(user.ours(command, "-version"), user.theirs(command, "-version"), user)


@pytest.mark.parametrize(
    "name",
    [
        "grid-cert-info",
        "grid-cert-request",
        "grid-change-pass-phrase",
        "grid-default-ca",
        "grid-mapfile-add-entry",
        "grid-mapfile-delete-entry",
    ],
)
def test_the_packages_version(name: str, user: UserEnvironment) -> None:
    """Alone and beside other options: nothing else is done. Only the package is another one."""
    for words in (("-versions",), ("-dryrun", "-versions") if "mapfile" in name else ("-versions", "-help")):
        ours, theirs = user.ours(name, *words), user.theirs(name, *words)
        assert ours.returncode == theirs.returncode == 0
        assert re.fullmatch(r"[a-z_-]+: [0-9.]+[^\n]*\n", ours.stdout), ours
        assert re.fullmatch(r"[a-z_-]+: [0-9.]+[^\n]*\n", theirs.stdout), theirs
        assert not ours.stderr
    assert user.ours(name, "--versions").stdout == ours.stdout


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grid-cert-info", "-version"),
        ("grid-cert-request", "-version"),
        ("grid-change-pass-phrase", "-version"),
        ("grid-default-ca", "-version"),
        ("grid-mapfile-add-entry", "-version -VERSION"),
        ("grid-mapfile-check-consistency", "-version --version -v --V"),
        ("grid-mapfile-delete-entry", "-version"),
        ("voms-proxy-init", "-version --version"),
        ("voms-proxy-info", "-version --version"),
        ("voms-proxy-destroy", "-version --version"),
    ],
)
def test_version_goes_to_standard_output(name: str, options: str, user: UserEnvironment) -> None:
    """Where the C programs of Globus write it to standard error."""
    for option in options.split():
        for done in (user.ours(name, option), user.theirs(name, option)):
            assert done.returncode == 0
            assert name in done.stdout
            assert not done.stderr or "uninitialized value $1" in done.stderr  # a fault of the script in Perl
