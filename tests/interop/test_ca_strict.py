"""What we issue, under the strictest eyes: openssl -x509_strict, Python's strict mode, C grid-proxy-init."""

from __future__ import annotations

import ssl
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gsi import keys, oids
from gsi.ca import Grant, Issuer, KeySigner, RevokedEntry, make_crl, make_root, parse_request
from gsi.ca.crl import RevocationReason
from gsi.ca.general_names import dns_name
from gsi.keys import KeyType, generate_key
from gsi.names import parse_oneline
from gsi.pem import encode_pem
from gsi.trust.hashes import subject_hash
from tests.harness.ca import write_file
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import c_program, run
from tests.unit.gsi.ca.support import Books, make_csr

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.certificate import Certificate

CA_KEYS = ("rsa", "p256", "p384", "ed25519")
DAY = timedelta(days=1)


class Made(NamedTuple):
    """A CA of ours, a host certificate below it, and the files that hold both."""

    signer: KeySigner
    root: Certificate
    host: Certificate
    directory: Path


@pytest.fixture(params=CA_KEYS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    now = datetime.now(UTC)
    signer = KeySigner(generate_key(KeyType(request.param)))
    root = make_root(signer, parse_oneline("/O=Grid/CN=CA"), now=now, lifetime=30 * DAY)
    host_key = generate_key(KeyType.P256)
    grant = Grant(
        subject_der=parse_oneline("/O=Grid/CN=host\\/localhost"),
        requester="test",
        lifetime=DAY,
        alternative_names=(dns_name("localhost"),),
        extended_key_usage=(oids.SERVER_AUTH, oids.CLIENT_AUTH),
        policies=("1.3.6.1.4.1.99999.1",),
        crl_urls=("http://localhost/ca.crl",),
    )
    issuer = Issuer(root, signer, recorder=Books())
    host = issuer.issue(parse_request(make_csr(host_key)), grant, now=now).certificate
    write_file(tmp_path / "ca.pem", root.pem(), 0o644)
    write_file(tmp_path / "host.pem", host.pem(), 0o644)
    write_file(tmp_path / "host.key", keys.encode_private_key(host_key), 0o600)
    return Made(signer, root, host, tmp_path)


def test_openssl_in_strict_mode(made: Made) -> None:
    words = ["verify", "-x509_strict", "-policy_check", "-check_ss_sig", "-purpose", "sslserver"]
    for depth_words in ([], ["-crl_check", "-CRLfile", str(made.directory / "crl.pem")]):
        crl = make_crl(made.root, made.signer, [], number=1, now=datetime.now(UTC), lifetime=DAY)
        write_file(made.directory / "crl.pem", encode_pem("X509 CRL", crl), 0o644)
        files = ["-CAfile", str(made.directory / "ca.pem"), str(made.directory / "host.pem")]
        done = run([c_program("openssl"), *words, *depth_words, *files], env=clean_environment(made.directory)).check()
        assert done.stdout.endswith(": OK\n")


def test_openssl_sees_the_revocation(made: Made) -> None:
    entry = RevokedEntry(made.host.serial, datetime.now(UTC), RevocationReason.KEY_COMPROMISE)
    crl = make_crl(made.root, made.signer, [entry], number=2, now=datetime.now(UTC), lifetime=DAY)
    write_file(made.directory / "crl.pem", encode_pem("X509 CRL", crl), 0o644)
    words = ["verify", "-x509_strict", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "ca.pem", "host.pem"]
    done = run([c_program("openssl"), *words], env=clean_environment(made.directory), cwd=made.directory)
    assert done.returncode != 0
    assert "certificate revoked" in done.output
    text = run(
        [c_program("openssl"), "crl", "-noout", "-text", "-in", "crl.pem"],
        env=clean_environment(made.directory),
        cwd=made.directory,
    ).check()
    assert "Key Compromise" in text.stdout
    assert f"{made.host.serial:X}" in text.stdout


HANDSHAKE = """
import ssl, sys
directory = sys.argv[1]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(f"{directory}/host.pem", f"{directory}/host.key")
client = ssl.create_default_context(cafile=f"{directory}/ca.pem")
client.verify_flags |= ssl.VERIFY_X509_STRICT | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
a, b, c, d = (ssl.MemoryBIO() for _ in range(4))
one = client.wrap_bio(a, b, server_hostname="localhost")
two = server.wrap_bio(c, d, server_side=True)
done = set()
for _ in range(20):
    for end in (one, two):
        try:
            end.do_handshake()
            done.add(end)
        except ssl.SSLWantReadError:
            pass
        c.write(b.read())
        a.write(d.read())
print(len(done), ssl.OPENSSL_VERSION)
"""


def test_python_in_strict_mode(made: Made) -> None:
    """The default of Python 3.13; here the flag is set, so that every version looks as closely."""
    assert ssl.VERIFY_X509_STRICT
    done = run([sys.executable, "-c", HANDSHAKE, str(made.directory)], env=clean_environment(made.directory)).check()
    assert done.stdout.startswith("2 ")


def test_the_c_tools_take_what_we_issue(tmp_path: Path) -> None:
    """With an RSA CA: the C tools sign under no other."""
    now = datetime.now(UTC)
    signer = KeySigner(generate_key(KeyType.RSA))
    root = make_root(signer, parse_oneline("/O=Grid/CN=CA"), now=now, lifetime=30 * DAY)
    key = generate_key(KeyType.RSA)
    grant = Grant(subject_der=parse_oneline("/O=Grid/CN=Alice"), requester="test", lifetime=DAY)
    issued = Issuer(root, signer, recorder=Books()).issue(parse_request(make_csr(key)), grant, now=now)
    user = UserEnvironment(tmp_path)
    stem = subject_hash(root.subject_der)
    write_file(user.trust_dir / f"{stem}.0", root.pem(), 0o644)
    policy = "access_id_CA X509 '/O=Grid/CN=CA'\npos_rights globus CA:sign\ncond_subjects globus '\"/O=Grid/*\"'\n"
    write_file(user.trust_dir / f"{stem}.signing_policy", policy.encode(), 0o644)
    crl = make_crl(root, signer, [], number=1, now=now, lifetime=DAY)
    write_file(user.trust_dir / f"{stem}.r0", encode_pem("X509 CRL", crl), 0o644)
    write_file(user.cert_path, issued.certificate.pem(), 0o644)
    write_file(user.key_path, keys.encode_private_key(key), 0o600)
    assert "Proxy Verify OK" in user.theirs("grid-proxy-init", "-verify").check().stdout
    entry = RevokedEntry(issued.certificate.serial, now)
    crl = make_crl(root, signer, [entry], number=2, now=now, lifetime=DAY)
    write_file(user.trust_dir / f"{stem}.r0", encode_pem("X509 CRL", crl), 0o644)
    assert user.theirs("grid-proxy-init", "-verify").returncode != 0
