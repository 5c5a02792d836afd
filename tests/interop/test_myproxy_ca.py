"""Our server as an authority with the C clients and ours, and the C server's with our client; real tokens and maps."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from gsi import oids
from gsi.certificate import Certificate, load_certificates
from gsi.names import oneline
from tests.harness.ca import LIMITED_INFO, Issued, TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.daemons import Daemon, c_myproxy_server, free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import Done, c_program, our_program, run
from tests.harness.slapd import PEOPLE, READER, READER_PASSWORD, person, slapd
from tests.harness.softhsm import make_token

TLS: Final = ["TLS1_2_VERSION", "TLS1_3_VERSION"]
PORTAL: Final = "/O=Grid/CN=Portal"
ACCESS: Final = """\
authorized_retrievers "*"
trusted_retrievers "*/CN=Portal"
default_trusted_retrievers "*/CN=Portal"
"""
MAPAPP: Final = """\
case "$1" in
  alice) echo "/O=Grid/OU=Test/CN=Alice" ;;
  dc) echo "/DC=org/DC=example/C=DE/O=Grid/CN=host/www.example.org/emailAddress=a@b.org/UID=x" ;;
  *) echo "nobody of that name" >&2; exit 1 ;;
esac
"""


class CASite:
    """A server that is an authority, ours or the C one, with its files."""

    def __init__(self, directory: Path, ca: TestCA, *, parent: TestCA | None = None) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        self.ca = ca
        self.trust_dir = write_trust_dir(
            directory / "certificates", *([ca] if parent is None else [parent, ca]), crl=True
        )
        self.host = (parent or ca).issue_host()
        self.portal = (parent or ca).issue(PORTAL)
        ca.credential.write(directory / "ca.pem", directory / "cakey.pem")
        write_file(directory / "ca.pem", ca.pem, 0o644)
        self.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        self.variables: dict[str, str] = {}
        self.store = directory / "store"

    def script(self, name: str, text: str) -> Path:
        path = self.directory / name
        write_file(path, f"#!/bin/sh\n{text}\n".encode(), 0o755)
        return path

    def config(self, *lines: str, key: str | None = None, mapped: bool = True) -> str:
        own = [f"certificate_issuer_cert {self.directory}/ca.pem"]
        own.append(f"certificate_issuer_key {key or self.directory / 'cakey.pem'}")
        if mapped:
            own.append(f"certificate_mapapp {self.script('mapapp', MAPAPP)}")
        return ACCESS + "\n".join((*own, *lines)) + "\n"

    @contextlib.contextmanager
    def ours(self, config: str) -> Iterator[Daemon]:
        write_file(self.directory / "myproxy-server.config", config.encode(), 0o600)
        port = free_port()
        env = clean_environment(self.directory) | {
            "X509_USER_CERT": str(self.directory / "hostcert.pem"),
            "X509_USER_KEY": str(self.directory / "hostkey.pem"),
            "X509_CERT_DIR": str(self.trust_dir),
            **self.variables,
        }
        arguments: list[str | Path] = [
            "-c",
            self.directory / "myproxy-server.config",
            "-s",
            self.store,
            "-l",
            "127.0.0.1",
        ]
        arguments += ["-p", str(port), "-foreground"]
        with our_server("myproxy-server", arguments, env=env, port=port, directory=self.directory) as daemon:
            yield daemon

    @contextlib.contextmanager
    def theirs(self, config: str) -> Iterator[Daemon]:
        with c_myproxy_server(self.host, self.trust_dir, config=config, extra=self.variables) as daemon:
            yield daemon

    def audit(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.store / "audit.log").read_text("ascii").splitlines()]

    def person(self, server: Daemon, name: str = "portal", issued: Issued | None = None) -> Person:
        return Person(self, server, name, issued or self.portal)


class Person:
    """Somebody with both families of clients."""

    def __init__(self, site: CASite, server: Daemon, name: str, issued: Issued | None) -> None:
        self.environment = UserEnvironment(site.directory / name, trust_dir=site.trust_dir)
        if issued is not None:
            self.environment.install_proxy(issued)
        self.environment.variables |= {"MYPROXY_SERVER": "localhost", "MYPROXY_SERVER_PORT": str(server.port)}
        self.received = self.environment.home / "received.pem"

    def logon(self, *arguments: str | Path, family: str = "theirs", user: str = "alice") -> Done:
        run_it = self.environment.theirs if family == "theirs" else self.environment.ours
        return run_it("myproxy-logon", "-l", user, "-n", "-o", self.received, *arguments)

    def password(self, secret: str, *, family: str, user: str = "alice") -> Done:
        run_it = self.environment.theirs if family == "theirs" else self.environment.ours
        return run_it("myproxy-logon", "-l", user, "-S", "-o", self.received, stdin=secret)

    def certificates(self) -> tuple[Certificate, ...]:
        return load_certificates(self.received.read_bytes(), what="received")

    def proxy_init(self, family: str) -> Done:
        """Make a proxy below what was received, verified against the trust directory."""
        name = "grid-proxy-init"
        program = c_program(name) if family == "theirs" else our_program(name)
        env = self.environment.with_variables(X509_USER_CERT=str(self.received), X509_USER_KEY=str(self.received))
        return run([program, "-verify", "-out", self.environment.home / "proxy-below.pem"], env=env)


@pytest.fixture(scope="module", params=["rsa2048", "p256"])
def any_ca(request: pytest.FixtureRequest) -> TestCA:
    return TestCA(f"/O=Grid/CN=Issuing CA {request.param}", request.param)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Issuing CA")


@pytest.fixture
def site(tmp_path: Path, ca: TestCA) -> CASite:
    return CASite(tmp_path / "site", ca)


# Signers, clients, transports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["file", "locked file", "token"])
def test_certificates_for_both_families(tmp_path: Path, any_ca: TestCA, signer: str) -> None:
    site = CASite(tmp_path / "site", any_ca)
    key, lines = None, []
    if signer == "token":
        token = make_token(tmp_path / "hsm")
        token.add_key("ca-key", any_ca.key, key_id="01")
        key = token.uri("ca-key")
        site.variables["SOFTHSM2_CONF"] = token.environment["SOFTHSM2_CONF"]
        (site.directory / "cakey.pem").unlink()
    elif signer == "locked file":
        site.ca.credential.write(site.directory / "ca.pem", site.directory / "cakey.pem", passphrase=b"open sesame")
        lines.append('certificate_issuer_key_passphrase "open sesame"')
    with site.ours(site.config(*lines, key=key)) as server:
        for family in ("theirs", "ours"):
            for tls in TLS:
                portal = site.person(server, f"{family}{tls}")
                portal.environment.variables["GLOBUS_GSSAPI_MAX_TLS_PROTOCOL"] = tls
                done = portal.logon("-t", "2", family=family).check()
                assert "A credential has been received for user alice" in done.stdout
                (certificate,) = portal.certificates()
                assert certificate.find_extension(oids.PROXY_CERT_INFO) is None
                assert (certificate.not_after - certificate.not_before).total_seconds() == 2 * 3600 + 300
            shown = portal.environment.theirs("grid-proxy-info", "-file", portal.received).check().stdout
            assert "subject  : /O=Grid/OU=Test/CN=Alice\n" in shown
            portal.proxy_init("ours").check()
            if isinstance(any_ca.certificate.public_key(), type(pooled_key("rsa2048").public_key())):
                assert "Proxy Verify OK" in portal.proxy_init("theirs").check().stdout
    actions = [(line["action"], line["verdict"]) for line in site.audit()]
    assert actions == [("GET", "permit"), ("ISSUE", "permit")] * 4


def test_the_c_servers_certificates_for_our_client(site: CASite) -> None:
    with site.theirs(site.config()) as server:
        portal = site.person(server)
        portal.logon(family="ours").check()
        (certificate,) = portal.certificates()
        assert certificate.issuer_der == Certificate.parse(site.ca.der).subject_der
        portal.proxy_init("ours").check()


# The same bytes -------------------------------------------------------------------------------------------------------


def request_file(site: CASite) -> Path:
    key = pooled_key("rsa2048")
    path = site.directory / "request.pem"
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


EXTENSION_FILE: Final = """\
keyUsage=critical,digitalSignature,keyAgreement
extendedKeyUsage=clientAuth,emailProtection
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid,issuer
subjectAltName=@names
crlDistributionPoints=URI:http://ca.example.org/crl.der
authorityInfoAccess=OCSP;URI:http://ocsp.example.org/
certificatePolicies=1.2.3.4,@policy
nsCertType=client,email
nsComment=from both servers
1.2.3.4.5=ASN1:UTF8String:hello
[names]
DNS.1=a.example.org
email.1=a@example.org
[policy]
policyIdentifier=1.2.3.5
CPS.1=http://ca.example.org/cps
"""


@pytest.mark.parametrize("extensions", ["default", "file", "program"])
def test_names_and_extensions_have_the_bytes_of_the_c_servers(site: CASite, extensions: str) -> None:
    lines = []
    if extensions == "default":
        lines.append("certificate_issuer_email_domain example.org")
    elif extensions == "file":
        write_file(site.directory / "ext.cnf", EXTENSION_FILE.encode(), 0o644)
        lines.append(f"certificate_extfile {site.directory}/ext.cnf")
    else:
        text = f'[ "$1" = alice ] || [ "$1" = dc ] || exit 1\ncat <<EOF\n{EXTENSION_FILE}EOF'
        lines.append(f"certificate_extapp {site.script('extapp', text)}")
    config = site.config(*lines, f"certificate_serialfile {site.directory}/serial")
    csr = request_file(site)
    found: list[list[Certificate]] = []
    for start in (site.theirs, site.ours):
        (site.directory / "serial").write_text("0A\n")
        found.append([])
        with start(config) as server:
            for user in ("alice", "dc"):
                portal = site.person(server, f"{len(found)}{user}")
                portal.logon("-Q", csr, user=user).check()
                found[-1] += portal.certificates()
        assert (site.directory / "serial").read_text() == "0C\n"
    for theirs, ours in zip(*found, strict=True):
        assert ours.subject_der == theirs.subject_der
        assert ours.spki_der == theirs.spki_der
        assert ours.serial == theirs.serial
        assert ours.issuer_der == theirs.issuer_der
        assert ours.signature_algorithm_der == theirs.signature_algorithm_der
        wanted = {one.oid: (one.critical, one.value) for one in theirs.extensions}
        written = {one.oid: (one.critical, one.value) for one in ours.extensions}
        if extensions == "default":
            written.pop(oids.AUTHORITY_KEY_IDENTIFIER)  # which RFC 5280 section 4.2.1.1 asks for
        else:  # what an RSA key cannot do is left out (RFC 3279 section 2.3.1)
            assert wanted.pop(oids.KEY_USAGE) == (True, bytes.fromhex("03020388"))
            assert written.pop(oids.KEY_USAGE) == (True, bytes.fromhex("03020780"))
        assert written == wanted


# Who is who -----------------------------------------------------------------------------------------------------------


def test_a_map_file_of_its_own_and_the_default_one(site: CASite) -> None:
    mapfile = site.directory / "grid-mapfile"
    write_file(mapfile, b'"/O=Grid/CN=First" staff,alice\n"/O=Grid/CN=Second" alice\n', 0o644)
    subjects: list[bytes] = []
    own: list[str] = [f"certificate_mapfile {mapfile}"]
    for lines in (own, []):
        if not lines:
            site.variables["GRIDMAP"] = str(mapfile)
        for start in (site.theirs, site.ours):
            with start(site.config(*lines, mapped=False)) as server:
                portal = site.person(server, f"p{len(subjects)}")
                portal.logon().check()
                (certificate,) = portal.certificates()
                subjects.append(certificate.subject_der)
                refused = portal.logon(user="mallory")
                assert refused.returncode == 1
                assert "unknown username: mallory" in refused.stderr
    assert len(set(subjects)) == 1


def test_a_directory(site: CASite, tmp_path: Path) -> None:
    people = [
        person("alice", description="/O=Grid/OU=Test/CN=Alice"),
        person("bob", description="CN=Bob,OU=Test,O=Grid"),
        person("twin"),
        person("twin", base=f"ou=more,{PEOPLE}"),
        person("odd", description="no name at all"),
        person("none"),
    ]
    more = f"dn: ou=more,{PEOPLE}\nobjectClass: organizationalUnit\nou: more\n"
    with slapd(site.ca, tmp_path / "slapd", [more, *people], anonymous=False, confidential=True) as directory:
        common = [
            f"ca_ldap_server {directory.ldap_uri}",
            f"ca_ldap_searchbase {PEOPLE}",
            "ca_ldap_uid_attribute uid",
            f"ca_ldap_connect_dn {READER}",
            f'ca_ldap_connect_passphrase "{READER_PASSWORD}"',
            "ca_ldap_start_tls true",
            f"ca_ldap_ca_file {directory.ca_path}",
        ]
        config = site.config(*common, "ca_ldap_dn_attribute description", mapped=False)
        with site.ours(config) as server:
            portal = site.person(server)
            for user, subject in (("alice", "/O=Grid/OU=Test/CN=Alice"), ("bob", "/O=Grid/OU=Test/CN=Bob")):
                portal.logon(user=user).check()
                shown = portal.environment.theirs("grid-proxy-info", "-file", portal.received).check().stdout
                assert f"subject  : {subject}\n" in shown
            for user in ("mallory", "*", "alice)(uid=*", "twin", "none"):
                refused = portal.logon(user=user)
                assert f"unknown username: {user}" in refused.stderr, refused
            assert portal.logon(user="odd").returncode == 1
        with site.ours(site.config(*common, mapped=False)) as server:
            portal = site.person(server, "second")
            portal.logon().check()
            shown = portal.environment.theirs("grid-proxy-info", "-file", portal.received).check().stdout
            assert "subject  : /DC=org/DC=example/OU=people/UID=alice\n" in shown
    with site.ours(config) as server:  # the directory is gone
        refused = site.person(server, "third").logon()
        assert "internal server error" in refused.stderr
        assert "localhost" not in refused.stderr.replace("localhost:7512", "")


# Checkers, programs, failures -----------------------------------------------------------------------------------------


def test_checkers(site: CASite) -> None:
    seen = site.directory / "seen"
    accept = site.script("accept", f"cat >> {seen}")
    refuse = site.script("refuse", "cat > /dev/null; echo for a secret reason >&2; exit 7")
    for directive in ("certificate_request_checker", "certificate_issuer_checker"):
        with site.ours(site.config(f"{directive} {refuse}")) as server:
            done = site.person(server, directive).logon()
            assert done.returncode == 1
            assert "Certificate generation failure." in done.output
            assert "request id: " in done.output
            assert "secret" not in done.output
            assert "secret reason" in server.log()
        assert "secret reason" in str(site.audit()[-1]["reason"])
        with site.ours(site.config(f"{directive} {accept}")) as server:
            site.person(server, f"again{directive}").logon().check()
    assert seen.read_text().count("-----BEGIN ") == 2


ISSUER: Final = """\
cd {directory} || exit 1
read -r first
[ "$first" = username=alice ] || {{ echo "who is $first" >&2; exit 3; }}
while read -r line && [ -n "$line" ]; do :; done
openssl x509 -req -CA ca.pem -CAkey cakey.pem -set_serial 77 -days 1 -extfile issuer.cnf -extensions default
"""


@pytest.mark.parametrize("start", ["theirs", "ours"])
def test_an_issuer_program(site: CASite, start: str) -> None:
    write_file(
        site.directory / "issuer.cnf",
        b"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n"
        b"subjectAltName=email:a@b.org\n",
        0o644,
    )
    program = site.script("issuer", ISSUER.format(directory=site.directory))
    mapapp = site.script("mapapp", MAPAPP)
    config = f"{ACCESS}certificate_issuer_program {program}\ncertificate_mapapp {mapapp}\n"
    text = ISSUER.replace("-req ", '-req -subj "/O=Grid/CN=From the program" ')
    site.script("issuer", text.format(directory=site.directory))
    run_server = site.theirs if start == "theirs" else site.ours
    with run_server(config) as server:
        portal = site.person(server)
        portal.logon().check()
        (certificate,) = portal.certificates()
        assert certificate.serial == 77
        portal.proxy_init("ours").check()
        assert "Proxy Verify OK" in portal.proxy_init("theirs").check().stdout
        refused = portal.logon(user="dc")
        assert "Certificate generation failure." in refused.output


def test_limited_proxies(site: CASite) -> None:
    limited = site.portal.proxy(info=LIMITED_INFO)
    for start in (site.theirs, site.ours):
        with start(site.config()) as server:
            refused = site.person(server, "limited" + start.__name__, limited).logon()
            assert "MyProxy CA will not accept limited proxy for authentication." in refused.stderr
    with site.ours(site.config("ignore_globus_limited_proxy_flag true")) as server:
        site.person(server, "ignored", limited).logon().check()


def test_renewal_by_the_c_client(site: CASite) -> None:
    config = site.config('authorized_renewers "*/CN=Portal"')
    alice = site.ca.issue("/O=Grid/OU=Test/CN=Alice")
    bob = site.ca.issue("/O=Grid/OU=Test/CN=Bob")
    config = config.replace("trusted_retrievers", "#trusted_retrievers").replace("default_#", "#")
    with site.ours(config) as server:
        portal = site.person(server)
        old = portal.environment.home / "old.pem"
        alice.proxy().write_bundle(old)
        for family in ("theirs", "ours"):
            portal.logon("-a", old, family=family).check()
            (certificate,) = portal.certificates()
            assert oneline(certificate.subject_der) == "/O=Grid/OU=Test/CN=Alice"
        bob.proxy().write_bundle(old)
        assert portal.logon("-a", old).returncode == 1


def test_strangers_with_a_password(site: CASite) -> None:
    judge = site.script("judge", '[ "$1" = alice ] || [ "$1" = bob ] || exit 1; [ "$(cat)" = "correct horse" ]')
    config = site.config("auth_program sufficient", f"auth_program_path {judge}")
    with site.ours(config) as server:
        for family in ("theirs", "ours"):
            stranger = Person(site, server, f"stranger-{family}", None)
            done = stranger.password("correct horse\n", family=family).check()
            assert "A credential has been received for user alice" in done.stdout
            stranger.proxy_init("ours").check()
            # a wrong password, a user whom the map does not know, one whom nobody knows
            for user, secret in (("alice", "wrong horse"), ("bob", "correct horse"), ("mallory", "correct horse")):
                refused = stranger.password(f"{secret}\n", family=family, user=user)
                assert refused.returncode == 1
                assert "invalid credential passphrase" in refused.output
                assert "unknown" not in refused.output
    reasons = [str(line["reason"]) for line in site.audit() if line["verdict"] == "deny"]
    assert sum("no name for 'bob'" in reason for reason in reasons) == 2


def test_workers_share_a_token_also_after_it_was_away_and_a_counter(site: CASite, tmp_path: Path) -> None:
    token = make_token(tmp_path / "hsm")
    token.add_key("ca-key", site.ca.key, key_id="01")
    site.variables["SOFTHSM2_CONF"] = token.environment["SOFTHSM2_CONF"]
    lines = (
        f"certificate_serialfile {site.directory}/serial",
        "worker_processes 2",
        f"certificate_out_dir {site.store}/..",
        f"monitor_listen 127.0.0.1:{(monitor := free_port())}",
    )
    with site.ours(site.config(*lines, key=token.uri("ca-key"))) as server:
        people = [site.person(server, f"p{number}") for number in range(6)]
        with ThreadPoolExecutor(6) as pool:
            for done in pool.map(lambda one: one.logon(), people):
                done.check()
        serials = [one.certificates()[0].serial for one in people]
        assert sorted(serials) == [1, 2, 3, 4, 5, 6]
        for serial in range(1, 7):
            assert (site.directory / f"{serial:02X}.pem").exists()
        tokens = tmp_path / "hsm" / "tokens"
        tokens.rename(tmp_path / "away")
        with ThreadPoolExecutor(6) as pool:  # both workers meet it
            assert {done.returncode for done in pool.map(lambda one: one.logon(), people)} == {1}
        with pytest.raises(urllib.error.HTTPError) as failing:
            urllib.request.urlopen(f"http://127.0.0.1:{monitor}/health", timeout=30)
        with failing.value as answer:
            assert "libsofthsm2.so: cannot be begun with" in json.load(answer)["checks"]["issuer"]
        (tmp_path / "away").rename(tokens)
        with ThreadPoolExecutor(6) as pool:
            for done in pool.map(lambda one: one.logon(), people):
                done.check()


def test_a_subordinate_authority_is_sent_along(tmp_path: Path, ca: TestCA) -> None:
    sub = ca.intermediate("/O=Grid/CN=Sub CA")
    site = CASite(tmp_path / "site", sub, parent=ca)
    write_file(site.directory / "subca.pem", sub.pem, 0o644)
    with site.ours(site.config(f"certificate_issuer_subca_certfile {site.directory}/subca.pem")) as server:
        for family in ("theirs", "ours"):
            portal = site.person(server, family)
            portal.logon(family=family).check()
            leaf, above = portal.certificates()
            assert above.der == sub.der
            assert leaf.issuer_der == above.subject_der
            portal.proxy_init("ours").check()


def test_a_reload_with_a_broken_authority_keeps_the_old_one(site: CASite) -> None:
    with site.ours(site.config()) as server:
        site.person(server, "before").logon().check()
        text = site.config(key="/nonexistent")
        write_file(site.directory / "myproxy-server.config", text.encode(), 0o600)
        os.kill(server.pid, signal.SIGHUP)
        site.person(server, "after").logon().check()
    assert "the old one stays" in server.log()


# Proxies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "program"])
def test_extensions_of_delegated_proxies(site: CASite, way: str) -> None:
    alice = site.ca.issue("/O=Grid/OU=Test/CN=Alice")
    section = "nsComment=delegated here\n1.2.3.4=critical,ASN1:UTF8String:x\n".replace("critical,", "")
    if way == "file":
        write_file(site.directory / "proxy.cnf", section.encode(), 0o644)
        line = f"proxy_extfile {site.directory}/proxy.cnf"
    else:
        text = f"""\
[ "$1" = alice ] || exit 1
grep -c BEGIN "$2" > {site.directory}/seen
stat -c %a "$2" >> {site.directory}/seen
grep "PRIVATE KEY" "$2" >> {site.directory}/seen
printf '%s' "$2" > {site.directory}/where
cat <<EOF
{section}EOF"""
        line = f"proxy_extapp {site.script('proxyext', text)}"
    with site.ours(f'accepted_credentials "*"\nauthorized_retrievers "*"\n{line}\n') as server:
        owner = site.person(server, "alice", alice)
        owner.environment.install_user(alice)
        words = ("-C", owner.environment.cert_path, "-y", owner.environment.key_path)
        owner.environment.theirs("myproxy-init", "-S", "-l", "alice", *words, stdin="correct horse\n").check()
        got = owner.environment.theirs(
            "myproxy-logon", "-S", "-l", "alice", "-o", owner.received, stdin="correct horse\n"
        )
        got.check()
        proxy, *_ = owner.certificates()
        found = {one.oid: one.value for one in proxy.extensions}
        assert found["1.2.3.4"] == b"\x0c\x01x"
        assert found["2.16.840.1.113730.1.13"] == b"\x16\x0edelegated here"
        owner.environment.theirs("grid-proxy-info", "-file", owner.received, "-exists").check()
        if way == "program":
            assert (site.directory / "seen").read_text().split() == ["3", "600"]
            assert not Path((site.directory / "where").read_text()).exists()
            site.script("proxyext", "exit 1")
            refused = owner.environment.theirs(
                "myproxy-logon", "-S", "-l", "alice", "-o", owner.received, stdin="correct horse\n"
            )
            assert refused.returncode == 1
            assert "Unable to delegate credentials." in refused.output


# OCSP -----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def openssl_responder(
    directory: Path, ca: TestCA, port: int, *, responder: Issued, revoked: list[Issued]
) -> Iterator[None]:
    """OpenSSL's own responder, with the index of a CA."""
    directory.mkdir(exist_ok=True)
    lines = []
    for issued in revoked:
        serial = f"{issued.certificate.serial_number:X}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        lines.append(f"R\t351231235959Z\t260101000000Z,keyCompromise\t{serial}\tunknown\t{issued.subject}\n")
    write_file(directory / "index.txt", "".join(lines).encode(), 0o644)
    write_file(directory / "ca.pem", ca.pem, 0o644)
    responder.write(directory / "responder.pem", directory / "responderkey.pem")
    words = [c_program("openssl"), "ocsp", "-port", str(port), "-index", f"{directory}/index.txt", "-nmin", "5"]
    words += ["-CA", f"{directory}/ca.pem", "-rsigner", f"{directory}/responder.pem"]
    words += ["-rkey", f"{directory}/responderkey.pem", "-ignore_err"]
    # Not probed by connecting to it: a connection without a question keeps it busy for ever.
    with subprocess.Popen(words, env=clean_environment(directory), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = ""
            while "waiting for OCSP client connections" not in line:
                line = process.stderr.readline()
                assert line, "the responder has ended"
            yield
        finally:
            process.terminate()


@pytest.mark.parametrize("way", ["aia", "url"])
def test_a_revoked_user_neither_stores_nor_logs_on(tmp_path: Path, ca: TestCA, way: str) -> None:
    port = free_port()
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"http://127.0.0.1:{port}/")
            )
        ]
    )
    extensions = [(access, False)] if way == "aia" else []
    alice = ca.issue("/O=Grid/OU=Test/CN=Alice", extensions=extensions)
    signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    responder = ca.issue("/O=Grid/CN=Responder", extensions=[(signing, False)])
    site = CASite(tmp_path / "site", ca)
    line = "ocsp_policy aia" if way == "aia" else f"ocsp_responder_url http://127.0.0.1:{port}/"
    base = f'accepted_credentials "*"\nauthorized_retrievers "*"\n{line}\n'
    words = ("-S", "-l", "alice")

    def put(owner: Person) -> Done:
        files = ("-C", owner.environment.cert_path, "-y", owner.environment.key_path)
        return owner.environment.theirs("myproxy-init", *words, *files, stdin="correct horse\n")

    def logon(owner: Person) -> Done:
        return owner.environment.theirs("myproxy-logon", *words, "-o", owner.received, stdin="correct horse\n")

    with site.ours(base) as server:
        owner = site.person(server, "alice", alice)
        owner.environment.install_user(alice)
        with openssl_responder(tmp_path / "ocsp", ca, port, responder=responder, revoked=[]):
            put(owner).check()
            logon(owner).check()
        assert "OCSP" not in [line["action"] for line in site.audit()]
        with openssl_responder(tmp_path / "ocsp", ca, port, responder=responder, revoked=[alice]):
            for refused in (logon(owner), put(owner)):
                assert refused.returncode == 1
                assert "revoked" in refused.output
        logon(owner).check()  # the responder is gone
        notes = [line for line in site.audit() if line["action"] == "OCSP"]
        assert notes[-1]["outcome"] == "passed over"
        assert "refused" in str(notes[-1]["reason"])
    with site.ours(base + "ocsp_required true\n") as server:
        again = site.person(server, "again", alice)
        refused = logon(again)
        assert refused.returncode == 1
        assert "cannot be found out" in refused.output
