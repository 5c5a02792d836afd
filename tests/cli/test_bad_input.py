"""Bad input to the commands, as a user meets it: a clear error, the documented exit code, nothing lost.

Each case also holds that no traceback appears, that the first line of the error names the program, and that an old
proxy is still there, byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gsi import der
from tests.harness import inputs
from tests.harness.ca import CLIENT_AUTH, FULL_INFO, Issued, TestCA, proxy_info, raw_extension, subject_hash, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, our_program, run
from tests.harness.trust import forge

if TYPE_CHECKING:
    from collections.abc import Iterator

INHERIT_ALL: Final = "1.3.6.1.5.5.7.21.1"
ALICE: Final = "/O=Grid/CN=Alice"
QUICK: Final = 20.0  # seconds within which even the worst input is refused on a loaded machine
OLD: Final = b"the old proxy, whatever it was\n"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE)


@pytest.fixture
def user(tmp_path: Path, ca: TestCA, alice: Issued) -> UserEnvironment:
    """A user in good order: certificate, key, trust directory, and an old proxy to lose."""
    made = UserEnvironment(tmp_path)
    made.install_user(alice)
    made.trust(ca)
    write_file(made.proxy_path, OLD, 0o600)
    return made


def _assert_error(done: Done, *words: str, code: int = 1, hint: bool = True) -> None:
    """Check the shape of the error, its exit code, and that each word (a regular expression) is in it."""
    assert done.returncode == code, done
    assert "Traceback" not in done.output, done
    assert "internal error" not in done.stderr, done
    name = os.path.basename(done.argv[0])
    assert re.search(rf"^{name}: error: \S", done.stderr, re.MULTILINE), done
    for word in words:
        assert re.search(word, done.stderr, re.IGNORECASE), f"no {word!r} in\n{done}"
    if hint:
        assert re.search(r"^hint: \S", done.stderr, re.MULTILINE), done


def _assert_nothing_lost(user: UserEnvironment) -> None:
    assert user.proxy_path.read_bytes() == OLD
    left = {path.name for path in user.proxy_path.parent.iterdir()}
    assert left <= {".globus", "proxy.pem", "policy", "other", "input.pem"}, left


# The user's own credential


def test_wrong_passphrase(user: UserEnvironment, alice: Issued) -> None:
    user.install_user(alice, passphrase=b"right one")
    _assert_error(user.ours("grid-proxy-init", "-pwstdin", stdin="wrong one\n"), "pass phrase", "userkey.pem")
    _assert_nothing_lost(user)


@pytest.mark.parametrize("typed", ["", "\n", "x" * 5000 + "\n"], ids=["nothing", "empty", "too-long"])
def test_no_usable_passphrase(user: UserEnvironment, alice: Issued, typed: str) -> None:
    user.install_user(alice, passphrase=b"right one")
    _assert_error(user.ours("grid-proxy-init", "-pwstdin", stdin=typed), "pass phrase", hint=False)
    _assert_nothing_lost(user)


def test_no_terminal_to_ask_on(user: UserEnvironment, alice: Issued) -> None:
    user.install_user(alice, passphrase=b"right one")
    _assert_error(user.ours("grid-proxy-init", stdin="right one\n"), "pass phrase", "terminal", "-pwstdin")
    _assert_nothing_lost(user)


def test_wrong_pkcs12_passphrase(user: UserEnvironment, alice: Issued) -> None:
    bundle = user.home / ".globus" / "usercred.p12"
    write_file(bundle, alice.pkcs12(b"right one"), 0o600)
    done = user.ours("grid-proxy-init", "-pwstdin", "-cert", bundle, stdin="wrong one\n")
    _assert_error(done, "pass phrase", "usercred.p12")
    _assert_nothing_lost(user)


def test_missing_key(user: UserEnvironment) -> None:
    user.key_path.unlink()
    _assert_error(user.ours("grid-proxy-init"), "userkey.pem", "no such file|does not exist|missing|not found")
    _assert_nothing_lost(user)


def test_missing_certificate(user: UserEnvironment) -> None:
    user.cert_path.unlink()
    _assert_error(user.ours("grid-proxy-init"), "usercert.pem", "no such file|does not exist|missing|not found")
    _assert_nothing_lost(user)


def test_nothing_at_all(tmp_path: Path) -> None:
    """A new user without any file or variable: the error says where was looked."""
    user = UserEnvironment(tmp_path)
    env = user.with_variables(X509_USER_CERT=None, X509_USER_KEY=None, X509_CERT_DIR=None)
    done = run([our_program("grid-proxy-init")], env=env)
    _assert_error(done, "usercert.pem")
    for name in ("grid-proxy-info", "grid-proxy-verify"):
        _assert_error(run([our_program(name)], env=env), "proxy.pem")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_foreign_key(user: UserEnvironment) -> None:
    os.chown(user.key_path, 65534, -1)
    _assert_error(user.ours("grid-proxy-init"), "userkey.pem", "own")
    _assert_nothing_lost(user)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o620, 0o602])
def test_loose_key(user: UserEnvironment, mode: int) -> None:
    user.key_path.chmod(mode)
    _assert_error(user.ours("grid-proxy-init"), "userkey.pem", f"{mode:o}|group|others", "chmod")
    _assert_nothing_lost(user)


def test_key_is_a_directory_fifo_or_device(user: UserEnvironment) -> None:
    """None of them may hang or be read."""
    user.key_path.unlink()
    user.key_path.mkdir(mode=0o700)
    _assert_error(user.ours("grid-proxy-init", timeout=QUICK), "userkey.pem", hint=False)
    user.key_path.rmdir()
    os.mkfifo(user.key_path, 0o600)
    _assert_error(user.ours("grid-proxy-init", timeout=QUICK), "userkey.pem", hint=False)
    user.key_path.unlink()
    user.key_path.symlink_to("/dev/zero")
    _assert_error(user.ours("grid-proxy-init", timeout=QUICK), "userkey.pem", hint=False)
    user.key_path.unlink()
    user.key_path.symlink_to(user.key_path)
    _assert_error(user.ours("grid-proxy-init", timeout=QUICK), "userkey.pem", hint=False)
    _assert_nothing_lost(user)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_key_of_another(user: UserEnvironment, ca: TestCA, kind: str) -> None:
    other = ca.issue("/O=Grid/CN=Bob", kind)  # type: ignore[arg-type]  # the parameter is one of the kinds
    write_file(user.key_path, other.key_pem(), 0o600)
    _assert_error(user.ours("grid-proxy-init"), "userkey.pem|usercert.pem", "match|belong")
    _assert_nothing_lost(user)


@pytest.mark.parametrize(
    ("days", "words", "code"), [((-20, -1), "expired", 2), ((1, 20), "not (yet )?valid", 1)], ids=["expired", "future"]
)
def test_outside_validity(user: UserEnvironment, ca: TestCA, days: tuple[int, int], words: str, code: int) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = (now + timedelta(days=count) for count in days)
    user.install_user(ca.issue(ALICE, not_before=start, not_after=end))
    _assert_error(user.ours("grid-proxy-init"), words, code=code)
    _assert_nothing_lost(user)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_certificate_without_end(user: UserEnvironment, ca: TestCA, zone: str) -> None:
    """RFC 5280 section 4.1.2.5: 99991231235959Z stands for none; the year 10000 of the local zone harms nothing."""
    user.install_user(ca.issue(ALICE, not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)))
    user.trust(ca)
    env = user.with_variables(TZ=zone)
    made = run([our_program("grid-proxy-init"), "-valid", "0:0"], env=env)
    assert made.returncode == 0, made
    for name in ("grid-proxy-info", "grid-proxy-verify"):
        done = run([our_program(name)], env=env)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert ALICE in done.stdout


def test_ca_as_signer(user: UserEnvironment, ca: TestCA) -> None:
    user.install_user(ca.credential)
    _assert_error(user.ours("grid-proxy-init"), r"\bCA\b|authority")
    _assert_nothing_lost(user)


def test_signer_may_not_sign(user: UserEnvironment, ca: TestCA) -> None:
    user.install_user(ca.issue(ALICE, key_usage=["key_encipherment"]))
    _assert_error(user.ours("grid-proxy-init"), "digitalSignature", hint=False)
    _assert_nothing_lost(user)


# What -verify finds


def test_verify_unknown_ca(user: UserEnvironment) -> None:
    stranger = TestCA("/O=Elsewhere/CN=CA").issue(ALICE)
    user.install_user(stranger)
    _assert_error(user.ours("grid-proxy-init", "-verify"), "/O=Elsewhere/CN=CA", "trust")
    _assert_nothing_lost(user)


def _crl_name(user: UserEnvironment, ca: TestCA) -> Path:
    return user.trust_dir / f"{subject_hash(ca.certificate)}.r0"


@pytest.mark.parametrize(
    "shape",
    [
        "garbage",
        "truncated",
        "expired",
        "future",
        "other-signer",
        "revoked",
        "empty-der",
        "unknown-critical",
        "other-issuer",
    ],
)
def test_verify_crl(user: UserEnvironment, ca: TestCA, alice: Issued, shape: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    good = ca.crl([alice])
    data = {
        "garbage": b"-----BEGIN X509 CRL-----\n????\n-----END X509 CRL-----\n",
        "truncated": good[: len(good) // 2],
        "expired": ca.crl(this_update=now - timedelta(days=9), next_update=now - timedelta(days=1)),
        "future": ca.crl(this_update=now + timedelta(days=1), next_update=now + timedelta(days=9)),
        "other-signer": ca.crl(key=TestCA("/O=Grid/CN=Other").key),
        "other-issuer": TestCA("/O=Elsewhere/CN=CA").crl(),
        "unknown-critical": ca.crl(extensions=[raw_extension("1.2.3.4", b"\x05\x00", critical=True)]),
        "revoked": good,
        "empty-der": inputs.pem_block("X509 CRL", b""),
    }[shape]
    write_file(_crl_name(user, ca), data, 0o644)
    words = {"revoked": "revoked", "expired": "CRL.*(expired|out of date|stale)|next update"}.get(
        shape, "CRL|revocation"
    )
    _assert_error(user.ours("grid-proxy-init", "-verify"), words)
    _assert_nothing_lost(user)
    proxy = user.home / "other"
    write_file(proxy, alice.bundle(), 0o600)
    done = user.ours("grid-proxy-verify", proxy)
    assert done.returncode == 1, done
    assert user.ours("grid-proxy-verify", "-crl", "off", proxy).returncode == 0


def test_verify_crl_required_but_absent(user: UserEnvironment, alice: Issued) -> None:
    proxy = user.home / "other"
    write_file(proxy, alice.bundle(), 0o600)
    assert user.ours("grid-proxy-verify", proxy).returncode == 0
    done = user.ours("grid-proxy-verify", "-crl", "require", proxy)
    assert done.returncode == 1
    assert "crl-missing" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("text", [b"", b"garbage\n", b"\xff\xfe\x00", b"access_id_CA X509 '/O=Grid/CN=CA'\n"])
def test_verify_signing_policy(user: UserEnvironment, ca: TestCA, text: bytes) -> None:
    write_file(user.trust_dir / f"{subject_hash(ca.certificate)}.signing_policy", text, 0o644)
    _assert_error(user.ours("grid-proxy-init", "-verify"), "signing.policy")
    _assert_nothing_lost(user)


def test_verify_without_trust_directory(user: UserEnvironment) -> None:
    done = user.ours("grid-proxy-init", "-verify", "-certdir", user.home / "nowhere")
    _assert_error(done, "nowhere")
    _assert_nothing_lost(user)


def test_verify_one_broken_ca_does_not_harm_another(user: UserEnvironment) -> None:
    write_file(user.trust_dir / "00000000.0", inputs.garbage_pem(), 0o644)
    write_file(user.trust_dir / "11111111.r0", b"\x00" * 1000, 0o644)
    done = user.ours("grid-proxy-init", "-verify")
    assert done.returncode == 0, done


# Options


@pytest.mark.parametrize("bits", ["512", "1024"])
def test_short_keys(user: UserEnvironment, bits: str) -> None:
    _assert_error(user.ours("grid-proxy-init", "-bits", bits), bits, "2048")
    _assert_nothing_lost(user)


def test_policy_file_missing(user: UserEnvironment) -> None:
    done = user.ours("grid-proxy-init", "-policy", user.home / "nowhere", "-pl", "1.2.3.4")
    _assert_error(done, "nowhere", "no such file|does not exist|missing|not found", hint=False)
    _assert_nothing_lost(user)


def test_language_without_policy(user: UserEnvironment) -> None:
    _assert_error(user.ours("grid-proxy-init", "-pl", "1.2.3.4"), "policy")
    _assert_nothing_lost(user)


@pytest.mark.parametrize("language", ["", "1", "1.2.", "x.y", "3.1.2", "1.40.1", "1.2.3." + "9" * 5000])
def test_bad_language(user: UserEnvironment, language: str) -> None:
    write_file(user.home / "policy", b"x", 0o644)
    done = user.ours("grid-proxy-init", "-policy", user.home / "policy", "-pl", language)
    _assert_error(done, hint=False)
    _assert_nothing_lost(user)


def test_policy_too_large(user: UserEnvironment) -> None:
    write_file(user.home / "policy", b"x" * 10_000_000, 0o644)
    done = user.ours("grid-proxy-init", "-policy", user.home / "policy", "-pl", "1.2.3.4")
    _assert_error(done, "policy", hint=False)
    _assert_nothing_lost(user)


# Where the proxy goes


def test_output_directory_missing(user: UserEnvironment) -> None:
    done = user.ours("grid-proxy-init", "-out", user.home / "nowhere" / "proxy")
    _assert_error(done, "nowhere", "no such|does not exist|missing|not a directory")
    _assert_nothing_lost(user)


def test_output_directory_not_writable(user: UserEnvironment) -> None:
    """Root may write anywhere, so it gives that right up first."""
    closed = user.home / "other"
    closed.mkdir()
    write_file(closed / "proxy", OLD, 0o600)
    closed.chmod(0o555)
    as_anyone = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    words: list[str | Path] = [*as_anyone, our_program("grid-proxy-init"), "-out", closed / "proxy"]
    done = run(words, env=user.variables)._replace(argv=("grid-proxy-init",))
    _assert_error(done, "other", "permission|not writable|cannot write")
    assert (closed / "proxy").read_bytes() == OLD
    assert [path.name for path in closed.iterdir()] == ["proxy"]
    _assert_nothing_lost(user)


def test_file_size_limit(user: UserEnvironment) -> None:
    """The C program destroys the old proxy here; ours keeps it."""
    done = run([our_program("grid-proxy-init")], env=user.variables, file_size_limit=500)
    assert done.returncode == 1, done
    assert "Traceback" not in done.output
    assert "proxy.pem" in done.stderr
    _assert_nothing_lost(user)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with one page left, which holds the old proxy."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs", place], capture_output=True, timeout=20
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not possible here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=20)


def test_full_disk(user: UserEnvironment, full_disk: Path) -> None:
    target = full_disk / "proxy"
    write_file(target, OLD, 0o600)
    write_file(full_disk / "filler", b"x" * 4096, 0o600)
    done = user.ours("grid-proxy-init", "-out", target)
    _assert_error(done, "disk/proxy", "space")
    assert target.read_bytes() == OLD
    assert {path.name for path in full_disk.iterdir()} == {"proxy", "filler"}


@pytest.mark.parametrize("what", ["directory", "fifo"])
def test_output_is_no_file(user: UserEnvironment, what: str) -> None:
    target = user.home / "other"
    if what == "directory":
        target.mkdir()
    else:
        os.mkfifo(target)
    done = user.ours("grid-proxy-init", "-out", target, timeout=QUICK)
    if done.returncode == 0:  # a FIFO may be replaced by the proxy, but never written into
        assert what == "fifo"
        assert target.is_file()
    else:
        _assert_error(done, "other", hint=False)


def test_no_command_waits_for_a_fifo(user: UserEnvironment) -> None:
    fifo = user.home / "other"
    os.mkfifo(fifo, 0o600)
    for words in (
        ("grid-proxy-init", "-cert", fifo),
        ("grid-proxy-init", "-key", fifo),
        ("grid-proxy-init", "-policy", fifo, "-pl", "1.2.3"),
        ("grid-proxy-info", "-file", fifo),
        ("grid-proxy-verify", fifo),
        ("grid-proxy-destroy", fifo),
    ):
        _assert_error(user.ours(*words, timeout=QUICK), "other", hint=False)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    _assert_nothing_lost(user)


def test_hard_links(user: UserEnvironment) -> None:
    """Read like any file; the second name of an old output keeps what it had; nothing with two names is destroyed."""
    second = user.home / "other"
    os.link(user.proxy_path, second)
    _assert_error(user.ours("grid-proxy-destroy"), "hard links")
    for path in (user.cert_path, user.key_path):
        os.link(path, path.with_suffix(".2"))
    user.ours("grid-proxy-init").check()
    assert second.read_bytes() == OLD
    assert user.proxy_path.read_bytes() != OLD
    os.link(user.proxy_path, user.home / "input.pem")
    user.ours("grid-proxy-info", "-file", user.home / "input.pem").check()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_a_strangers_file_at_the_place_of_the_proxy(user: UserEnvironment) -> None:
    """In /tmp anyone may make a file of this name first; nobody else can replace it."""
    place = user.home / "other"
    place.mkdir()
    target = place / "x509up_u0"
    write_file(target, OLD, 0o600)
    os.chown(target, 65534, 65534)
    os.chown(place, 65533, 65533)
    place.chmod(0o1777)
    lowered = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    done = run([*lowered, our_program("grid-proxy-init"), "-out", target], env=user.variables)
    _assert_error(done._replace(argv=("grid-proxy-init",)), "x509up_u0", "belongs to uid 65534", "unchanged")
    assert target.read_bytes() == OLD
    assert [path.name for path in place.iterdir()] == [target.name]
    for name in ("grid-proxy-info", "grid-proxy-destroy"):
        words: list[str | Path] = [*lowered, our_program(name), *(["-file"] if name.endswith("info") else []), target]
        _assert_error(run(words, env=user.variables)._replace(argv=(name,)), "x509up_u0", hint=False)
    assert target.read_bytes() == OLD
    _assert_nothing_lost(user)


# Files that are not what they should be


def _shapes(ca: TestCA, alice: Issued) -> dict[str, bytes]:
    good = alice.bundle()
    key_pem = alice.key_pem()
    proxied = alice.proxy().bundle()
    ec_key = inputs.explicit_ec_key()

    def bad_key(spki: bytes) -> bytes:
        return inputs.pem_block("CERTIFICATE", inputs.certificate_with(alice, ca, spki=spki)) + key_pem

    shapes = {
        "empty": b"",
        "blank": b"\n\n\n",
        "binary": bytes(range(256)) * 10,
        "zeros": b"\x00" * 5000,
        "garbage": inputs.garbage_pem() + key_pem,
        "truncated-pem": inputs.truncated_pem(good),
        "truncated-in-key": good[: good.index(b"PRIVATE KEY") + 200],
        "truncated-der": inputs.truncated_der_pem(alice) + key_pem,
        "unparsable-first": inputs.unparsable_first(good),
        "garbage-first": inputs.garbage_pem() + good,
        "unparsable-in-chain": proxied + inputs.pem_block("CERTIFICATE", b"\x30\x00"),
        "key-only": key_pem,
        "huge-modulus": bad_key(inputs.huge_modulus_spki()),
        "exponent-1": bad_key(inputs.exponent_spki(1, alice)),
        "exponent-3": bad_key(inputs.exponent_spki(3, alice)),
        "exponent-even": bad_key(inputs.exponent_spki(65536, alice)),
        "explicit-ec": inputs.pem_block(
            "CERTIFICATE", inputs.certificate_with(alice, ca, spki=inputs.explicit_ec_spki(ec_key))
        )
        + ec_key,
        "other-pem": inputs.pem_block("CERTIFICATE REQUEST", alice.der),
        "certificate-as-key": alice.pem + inputs.pem_block("PRIVATE KEY", alice.der),
    }
    for name, shape in inputs.CVE_SHAPES.items():
        shapes[f"{name}-certificate"] = inputs.pem_block("CERTIFICATE", shape) + key_pem
        shapes[f"{name}-key"] = alice.pem + inputs.pem_block("PRIVATE KEY", shape)
        if len(shape) < 100_000:
            shapes[f"{name}-info"] = inputs.proxy_with_info(alice, shape)
            extra = (inputs.extension("2.5.29.17", shape),)
            odd = inputs.certificate_with(alice, ca, extra_extensions=extra)
            shapes[f"{name}-san"] = inputs.pem_block("CERTIFICATE", odd) + key_pem
    return shapes


_NAMES: Final = [
    "empty", "blank", "binary", "zeros", "garbage", "truncated-pem", "truncated-in-key", "truncated-der",
    "unparsable-first", "garbage-first", "unparsable-in-chain", "key-only",
    "huge-modulus", "exponent-1", "exponent-3", "exponent-even",
    "explicit-ec", "other-pem", "certificate-as-key",
    *(f"{name}-{place}" for name in inputs.CVE_SHAPES for place in ("certificate", "key")),
    *(f"{name}-{place}" for name, der in inputs.CVE_SHAPES.items() if len(der) < 100_000 for place in ("info", "san")),
]  # fmt: skip


@pytest.fixture(scope="module")
def shapes(ca: TestCA, alice: Issued) -> dict[str, bytes]:
    made = _shapes(ca, alice)
    assert set(made) == set(_NAMES)
    return made


_ABOUT_THE_KEY: Final = ("truncated-in-key", "certificate-as-key")


@pytest.mark.parametrize("shape", _NAMES)
def test_no_command_takes_it(user: UserEnvironment, shapes: dict[str, bytes], shape: str) -> None:
    """All three commands on one file, as the user's credential, as a proxy, as a chain."""
    path = user.home / "input.pem"
    write_file(path, shapes[shape], 0o600)
    about_san = shape.endswith("-san")
    about_key = shape.endswith("-key") or shape in _ABOUT_THE_KEY

    made = user.ours("grid-proxy-init", "-verify", "-cert", path, "-key", path, timeout=QUICK)
    _assert_error(made, hint=False)
    _assert_nothing_lost(user)

    judged = user.ours("grid-proxy-verify", path, timeout=QUICK)
    assert "Traceback" not in judged.output
    if about_key and not shape.startswith("truncated"):
        assert judged.returncode in (0, 1)  # a chain is judged without its key, which may or may not be looked at
    else:
        assert judged.returncode == 1, judged
        assert judged.output.strip()

    shown = user.ours("grid-proxy-info", "-file", path, timeout=QUICK)
    assert "Traceback" not in shown.output
    if not about_san and not shape.startswith(("huge-modulus", "exponent", "explicit")):
        _assert_error(shown, hint=False)


@pytest.mark.parametrize("damage", inputs.FIRST_BLOCK_DAMAGES)
def test_first_block_is_never_skipped(user: UserEnvironment, alice: Issued, damage: str) -> None:
    """Were it skipped, the next certificate would be the leaf, and the proxy's identity another."""
    path = user.home / "input.pem"
    proxy = alice.proxy(
        not_before=datetime.now(UTC) - timedelta(days=2), not_after=datetime.now(UTC) - timedelta(days=1)
    )
    write_file(path, inputs.FIRST_BLOCK_DAMAGES[damage](proxy.bundle()), 0o600)
    shown, judged = user.ours("grid-proxy-info", "-file", path), user.ours("grid-proxy-verify", "-json", path)
    assert (shown.returncode, judged.returncode) == (1, 1), (shown, judged)
    assert ALICE not in shown.stdout, shown
    verdict = json.loads(judged.stdout)
    assert (verdict["verdict"], verdict["reason"]) == ("refused", "malformed")


def test_a_byte_order_mark_is_no_damage(user: UserEnvironment, alice: Issued) -> None:
    """Some editors write one; the block behind it is the first."""
    path = user.home / "input.pem"
    write_file(path, b"\xef\xbb\xbf" + alice.proxy(cn="77").bundle(), 0o600)
    judged = user.ours("grid-proxy-verify", "-json", path)
    assert json.loads(judged.stdout)["subject"] == f"{ALICE}/CN=77"


def test_ten_thousand_certificates(user: UserEnvironment, alice: Issued) -> None:
    path = user.home / "input.pem"
    write_file(path, inputs.long_chain(alice.proxy()), 0o600)
    for name, words in (
        ("grid-proxy-info", ["-file", path]),
        ("grid-proxy-verify", [path]),
        ("grid-proxy-init", ["-cert", path, "-key", path]),
    ):
        done = user.ours(name, *words, timeout=QUICK)
        assert done.returncode == 1, done
        assert "Traceback" not in done.output
        assert len(done.output) < 2000, "one clear error, not ten thousand"
    _assert_nothing_lost(user)


@pytest.mark.parametrize("count", [101, 150])
def test_more_than_a_hundred(user: UserEnvironment, alice: Issued, count: int) -> None:
    path = user.home / "input.pem"
    write_file(path, alice.pem * count, 0o600)
    done = user.ours("grid-proxy-verify", path, timeout=QUICK)
    assert done.returncode == 1
    assert re.search(r"chain-too-long|100", done.output), done


# The proxy itself: info and verify


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_foreign_proxy(user: UserEnvironment, alice: Issued) -> None:
    user.install_proxy(alice.proxy())
    os.chown(user.proxy_path, 65534, -1)
    _assert_error(user.ours("grid-proxy-info"), "proxy.pem", "own")


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604])
def test_loose_proxy(user: UserEnvironment, alice: Issued, mode: int) -> None:
    user.install_proxy(alice.proxy(), mode=mode)
    _assert_error(user.ours("grid-proxy-info"), "proxy.pem", "chmod")


def test_proxy_of_a_missing_key(user: UserEnvironment, alice: Issued) -> None:
    write_file(user.proxy_path, alice.proxy().pem + alice.pem, 0o600)
    _assert_error(user.ours("grid-proxy-info"), "proxy.pem", "key", hint=False)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("expired", {"not_after": -1}),
        ("not-yet-valid", {"not_before": 1}),
        ("proxy-name", {"subject": "/O=Grid/CN=Bob/CN=1"}),
        ("proxy-name", {"subject": "/O=Grid/CN=Alice/CN=1/CN=2"}),
        ("proxy-info-not-critical", {"info_critical": False}),
        ("proxy-info-malformed", {"info": FULL_INFO + b"\x00"}),
        ("proxy-policy-present", {"info": proxy_info(INHERIT_ALL, policy=b"p")}),
    ],
)
def test_verify_names_the_reason(user: UserEnvironment, alice: Issued, reason: str, change: dict[str, object]) -> None:
    """The stable code and the index are printed, and the exit code is 1."""
    now = datetime.now(UTC).replace(microsecond=0)
    arguments = {
        name: now + timedelta(hours=value) if isinstance(value, int) and name.startswith("not_") else value
        for name, value in change.items()
    }
    if reason == "expired":
        arguments["not_before"] = now - timedelta(hours=5)
    user.install_proxy(alice.proxy(**arguments))  # type: ignore[arg-type]  # a table of keyword arguments
    done = user.ours("grid-proxy-verify", user.proxy_path)
    assert done.returncode == 1, done
    assert reason in done.output, done
    assert re.search(r"\b0\b", done.output), done
    structured = user.ours("grid-proxy-verify", "--json", user.proxy_path)
    assert structured.returncode == 1
    assert reason in json.dumps(json.loads(structured.stdout))


def _unreadable_name(alice: Issued, ca: TestCA) -> bytes:
    attribute = der.encode_sequence(der.encode_oid("2.5.4.3"), b"\x1a\x05Alice")  # a VisibleString
    return inputs.pem_block(
        "CERTIFICATE", forge(alice.der, ca.key, subject_der=der.encode_sequence(der.encode_set(attribute)))
    )


@pytest.mark.parametrize("place", ["leaf", "above", "expired"])
def test_verify_tells_a_verdict_even_when_a_name_cannot_be_shown(
    user: UserEnvironment, ca: TestCA, alice: Issued, place: str
) -> None:
    path = user.home / "input.pem"
    odd = _unreadable_name(alice, ca)
    write_file(path, alice.proxy().pem + odd if place == "above" else odd, 0o600)
    words = ("-at", "2199-01-01") if place == "expired" else ()
    done = user.ours("grid-proxy-verify", "-json", *words, path)
    assert (done.returncode, done.stderr) == (1, ""), done
    assert json.loads(done.stdout)["verdict"] == "refused"
    told = user.ours("grid-proxy-verify", *words, path)
    assert (told.returncode, told.stderr) == (1, ""), told
    assert "verdict  : refused" in told.stdout


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\n", bytes(5 << 20)])
def test_verify_tells_a_verdict_whatever_the_file_holds(user: UserEnvironment, content: bytes) -> None:
    path = user.home / "input.pem"
    write_file(path, content, 0o600)
    for done in (
        user.ours("grid-proxy-verify", "-json", path),
        user.ours("grid-proxy-verify", "-json", "-", stdin=content),
    ):
        assert (done.returncode, done.stderr) == (1, ""), done
        verdict = json.loads(done.stdout)
        assert verdict["verdict"] == "refused"
        assert verdict["reason"] in {"malformed", "empty-chain"}


def test_verify_untrusted_and_revoked(user: UserEnvironment, ca: TestCA, alice: Issued) -> None:
    other = TestCA("/O=Elsewhere/CN=CA").issue(ALICE, eku=[CLIENT_AUTH])
    user.install_proxy(other.proxy())
    done = user.ours("grid-proxy-verify", user.proxy_path)
    assert (done.returncode, "untrusted" in done.output) == (1, True), done
    user.install_proxy(alice.proxy())
    assert user.ours("grid-proxy-verify", user.proxy_path).returncode == 0
    write_file(_crl_name(user, ca), ca.crl([alice]), 0o644)
    done = user.ours("grid-proxy-verify", user.proxy_path)
    assert (done.returncode, "revoked" in done.output) == (1, True), done
