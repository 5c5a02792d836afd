"""The CA tools beside the C ones: each works in the other's directories, and sites take what comes out."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gsi.trust.crl import parse_crl_file
from gsi.trust.crl_update import crl_number
from tests.harness.ca import write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, c_program, our_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT: Final = "cn=Grid CA, ou=Test, o=Grid"
C_SETTINGS: Final = """\
[ ca ]
default_ca = CA_default
[ CA_default ]
dir = {directory}
certs = $dir/certs
crl_dir = $dir/crl
database = $dir/index.txt
new_certs_dir = $dir/newcerts
certificate = $dir/cacert.pem
serial = $dir/serial
private_key = $dir/private/cakey.pem
x509_extensions = x509v3_extensions
default_days = 365
default_crl_days = 365
default_md = sha256
policy = policy_match
[ policy_match ]
organizationName = match
organizationalUnitName = optional
commonName = supplied
[ req ]
distinguished_name = req_distinguished_name
x509_extensions = v3_ca
[ req_distinguished_name ]
[ v3_ca ]
basicConstraints = critical,CA:true
subjectKeyIdentifier = hash
nsCertType = sslCA,emailCA,objCA
[ x509v3_extensions ]
nsCertType = objsign,email,server,client
"""
"""What the C grid-ca-create writes, but for words that change nothing here."""


class Site:
    """A user in a directory, with a CA's directory and a trust directory."""

    def __init__(self, root: Path) -> None:
        self.user = UserEnvironment(root)
        self.home = self.user.home
        self.ca = self.home / "ca"
        self.secret = self.home / "secret"
        write_file(self.secret, b"secret\n", 0o600)
        self.variables = self.user.with_variables(
            X509_USER_CERT=None, X509_USER_KEY=None, GRID_SECURITY_DIR=str(self.user.trust_dir)
        )

    def ours(self, name: str, *words: str | Path) -> Done:
        return run([our_program(name), *words], env=self.variables, cwd=self.home)

    def theirs(self, name: str, *words: str | Path, stdin: str = "") -> Done:
        return run([c_program(name), *words], env=self.variables, cwd=self.home, stdin=stdin)

    def openssl_ca(self, *words: str | Path) -> Done:
        """What the C grid-ca-sign runs."""
        settings = self.ca / "grid-ca-ssl.conf"
        return self.theirs("openssl", "ca", "-passin", f"file:{self.secret}", "-batch", "-config", settings, *words)

    def sign(self, request: str, out: str, *words: str) -> Done:
        return self.ours(
            "grid-ca-sign", "-dir", self.ca, "-in", request, "-out", out, "-passin", f"file:{self.secret}", *words
        )

    def create(self) -> str:
        """Make a CA with ours; return its hash."""
        done = self.ours(
            "grid-ca-create", "-noint", "-dir", self.ca, "-subject", SUBJECT, "-bits", "2048", "-email",
            "ca@example.org", "-pass", f"file:{self.secret}",
        ).check()  # fmt: skip
        found = re.search(r"^hash +: ([0-9a-f]{8})$", done.stdout, re.MULTILINE)
        assert found, done
        return found[1]

    def trust(self, stem: str) -> None:
        """Install the package as an administrator does by hand."""
        self.user.trust_dir.mkdir(parents=True, exist_ok=True)
        with tarfile.open(self.ca / f"globus_simple_ca_{stem}.tar.gz") as tar:
            for member in tar.getmembers():
                name = member.name.partition("/")[2]
                content = tar.extractfile(member)
                if content is not None and not name.endswith(".spec"):
                    write_file(self.user.trust_dir / name, content.read(), 0o644)

    def request(self, name: str, subject: str, *words: str) -> str:
        """Make a request with openssl; return its file."""
        keys = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.req")
        self.theirs("openssl", "req", "-new", *keys, "-subj", subject, *words).check()
        os.chmod(self.home / f"{name}.key", 0o600)
        return f"{name}.req"

    def make_proxy(self, certificate: str, key: str) -> Done:
        """Make a proxy with the C tool and have it judged."""
        words = ["-verify", "-cert", certificate, "-key", key, "-out", "proxy.pem"]
        return self.theirs("grid-proxy-init", *words)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    # Nothing but what was named was written.
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_from_the_cs_request_to_the_cs_proxy(site: Site) -> None:
    """Our CA, the C grid-cert-request with the settings of our package, our signature, the C grid-proxy-init."""
    stem = site.create()
    site.trust(stem)
    for name in ("globus-user-ssl.conf", "globus-host-ssl.conf", "grid-security.conf"):
        shutil.copy(site.user.trust_dir / f"{name}.{stem}", site.user.trust_dir / name)
    made = site.theirs("grid-cert-request", "-cn", "Carol", "-dir", "carol", "-nopw", "-verbose", "-ca", stem)
    made.check()
    assert "CN=Carol" in made.stdout, made
    site.sign("carol/usercert_request.pem", "carol/usercert.pem").check()
    subject = site.ours("grid-cert-info", "-f", "carol/usercert.pem", "-subject").check().stdout
    assert subject == "/O=Grid/OU=Test/OU=Grid CA/CN=Carol\n"
    assert "Proxy Verify OK" in site.make_proxy("carol/usercert.pem", "carol/userkey.pem").check().stdout
    # A host, with the name that its request asks for.
    words = ("-host", "www.example.org", "-dns", "www.example.org", "-dir", "host", "-verbose", "-ca", stem)
    site.theirs("grid-cert-request", *words).check()
    site.sign("host/hostcert_request.pem", "host/hostcert.pem", "-copy-names").check()
    verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "www.example.org"]
    site.theirs("openssl", *verify, "-CAfile", site.ca / "cacert.pem", "host/hostcert.pem").check()
    # Revoked, and the C validator knows it.
    site.ours("grid-ca-sign", "-dir", site.ca, "-revoke", "carol/usercert.pem").check()
    crl = site.user.trust_dir / f"{stem}.r0"
    site.ours("grid-ca-sign", "-dir", site.ca, "-gencrl", "-passin", f"file:{site.secret}", "-out", crl).check()
    assert site.make_proxy("carol/usercert.pem", "carol/userkey.pem").returncode != 0


def test_openssl_works_in_our_directory(site: Site) -> None:
    site.create()
    first = site.request("one", "/O=Grid/OU=Test/CN=One")
    site.sign(first, "one.pem").check()
    second = site.request("two", "/O=Grid/OU=Test/CN=Two")
    site.openssl_ca("-in", second, "-out", "two.pem").check()
    refused = site.openssl_ca("-in", first, "-out", "again.pem")
    assert "There is already a certificate" in refused.output
    verify: list[str | Path] = ["verify", "-x509_strict", "-CAfile", site.ca / "cacert.pem", "one.pem", "two.pem"]
    site.theirs("openssl", *verify).check()
    # Ours knows what openssl has issued, and the reverse.
    assert "already a valid certificate" in site.sign(second, "again.pem").stderr
    site.ours("grid-ca-sign", "-dir", site.ca, "-revoke", "two.pem", "-crl_compromise", "20260102030405Z").check()
    site.openssl_ca("-revoke", "one.pem", "-crl_reason", "superseded").check()
    ours = site.ours("grid-ca-sign", "-dir", site.ca, "-gencrl", "-passin", f"file:{site.secret}").check()
    assert "2 entries" in ours.stdout
    site.openssl_ca("-gencrl", "-out", "theirs.crl").check()
    lists = [
        site.theirs("openssl", "crl", "-noout", "-text", "-in", path).check().stdout
        for path in (site.ca / "crl" / "crl.pem", "theirs.crl")
    ]
    serials = [re.findall(r"Serial Number: ([0-9A-F]+)", text) for text in lists]
    assert len(serials[0]) == 2
    assert sorted(serials[0]) == sorted(serials[1])
    for text in lists:
        assert re.findall(r"Key Compromise|Superseded", text).count("Superseded") == 1
        assert "Invalidity Date" in text
        assert "Jan  2 03:04:05 2026 GMT" in text
    numbers = [int(re.search(r"CRL Number: *\n *(\d+)", text)[1]) for text in lists]  # type: ignore[index]  # there
    assert numbers == [1, 2]
    # By turns: no reader may take the next of ours, which is dated back, for an older one than theirs.
    site.ours("grid-ca-sign", "-dir", site.ca, "-gencrl", "-passin", f"file:{site.secret}", "-out", "ours.crl").check()
    (newest,) = parse_crl_file((site.home / "ours.crl").read_bytes())
    (theirs,) = parse_crl_file((site.home / "theirs.crl").read_bytes())
    assert (crl_number(newest), newest.this_update >= theirs.this_update) == (3, True)
    # openssl's own marking of what has expired leaves nothing that ours cannot read.
    site.openssl_ca("-updatedb").check()
    site.ours("grid-ca-sign", "-dir", site.ca, "-updatedb").check()


def test_every_option_of_openssl_is_taken_or_refused_by_name(site: Site) -> None:
    listed = site.theirs("openssl", "ca", "-help").check()
    theirs = set(re.findall(r"^ -([A-Za-z][\w-]*)", listed.output, re.MULTILINE))
    assert len(theirs) > 50
    ours = set(re.findall(r"^ *-([\w-]+)", site.ours("grid-ca-sign", "-help").check().stdout, re.MULTILINE))
    refused = set(re.findall(r"^-([\w-]+)", site.ours("grid-ca-sign", "-openssl-help").check().stdout, re.MULTILINE))
    assert theirs <= ours | refused
    assert not ours & refused


@pytest.fixture
def c_site(site: Site) -> Site:
    """A directory as the C grid-ca-create makes it, by the same call of openssl."""
    for name in ("", "certs", "crl", "newcerts", "private"):
        (site.ca / name).mkdir(mode=0o700)
    write_file(site.ca / "serial", b"01\n", 0o644)
    write_file(site.ca / "index.txt", b"", 0o644)
    write_file(site.ca / "grid-ca-ssl.conf", C_SETTINGS.format(directory=site.ca).encode(), 0o644)
    policy = "access_id_CA X509 '/O=Grid/OU=Test/CN=C CA'\npos_rights globus CA:sign\n"
    policy += "cond_subjects globus '\"/O=Grid/OU=Test/*\"'\n"
    write_file(site.ca / "signing-policy", policy.encode(), 0o644)
    words: list[str | Path] = [
        "req",
        "-passout",
        f"file:{site.secret}",
        "-config",
        site.ca / "grid-ca-ssl.conf",
        "-x509",
        "-days",
        "30",
    ]
    key = site.ca / "private" / "cakey.pem"
    words += ["-newkey", "rsa:2048", "-keyout", key, "-out", site.ca / "cacert.pem", "-subj", "/O=Grid/OU=Test/CN=C CA"]
    site.theirs("openssl", *words).check()
    return site


def test_ours_works_in_a_directory_of_the_c_tool(c_site: Site) -> None:
    site = c_site
    site.openssl_ca("-in", site.request("one", "/O=Grid/OU=Test/CN=One"), "-out", "one.pem").check()
    done = site.sign(site.request("two", "/O=Grid/OU=Test/CN=Two"), "two.pem", "-counter").check()
    assert done.stdout.endswith("/newcerts/02.pem\n")
    site.openssl_ca("-in", site.request("three", "/O=Grid/OU=Test/CN=Three"), "-out", "three.pem").check()
    site.sign(site.request("four", "/O=Grid/OU=Test/CN=Four"), "four.pem").check()
    site.theirs("openssl", "verify", "-CAfile", site.ca / "cacert.pem", "one.pem", "two.pem", "three.pem").check()
    lines = (site.ca / "index.txt").read_text().splitlines()
    assert [line.split("\t")[5].rpartition("=")[2] for line in lines] == ["One", "Two", "Three", "Four"]
    assert [line.split("\t")[3] for line in lines][:3] == ["01", "02", "03"]
    # That CA's directory has no number for lists yet.
    site.ours("grid-ca-sign", "-dir", site.ca, "-revoke", "01").check()
    site.ours("grid-ca-sign", "-dir", site.ca, "-gencrl", "-passin", f"file:{site.secret}").check()
    words: list[str | Path] = [
        "verify",
        "-crl_check",
        "-CRLfile",
        site.ca / "crl" / "crl.pem",
        "-CAfile",
        site.ca / "cacert.pem",
    ]
    assert "revoked" in site.theirs("openssl", *words, "one.pem").output
    site.theirs("openssl", *words, "two.pem").check()


def test_the_c_grid_ca_sign_in_our_directory(site: Site) -> None:
    site.create()
    request = site.request("one", "/O=Grid/OU=Test/CN=One")
    words = ("-dir", site.ca, "-in", request, "-out", "one.pem", "-passin", f"file:{site.secret}")
    done = site.theirs("grid-ca-sign", *words).check()
    assert "The new signed certificate is at:" in done.stdout
    site.theirs("openssl", "verify", "-x509_strict", "-CAfile", site.ca / "cacert.pem", "one.pem").check()
    assert "already a valid certificate" in site.sign(request, "two.pem").stderr
    site.sign(request, "two.pem", "-force").check()


def test_default_ca_as_the_c_script(site: Site) -> None:
    stem = site.create()
    site.trust(stem)
    security = site.home / "security"
    security.mkdir()
    found = []
    for tool in (site.ours, site.theirs):
        site.variables["GRID_SECURITY_DIR"] = str(security)
        done = tool("grid-default-ca", "-ca", stem).check()
        assert f"setting the default CA to: {'/O=Grid/OU=Test/CN=Grid CA'}" in done.stdout
        found.append({path.name: os.readlink(path) for path in security.iterdir()})
    assert found[0] == found[1]
    assert len(found[0]) == 3
    lists = [tool("grid-default-ca", "-list").check().stdout for tool in (site.ours, site.theirs)]
    # The C script lists every directory in which it finds the CA; both name the CA and the default alike.
    for text in lists:
        assert f"1) {stem} -  /O=Grid/OU=Test/CN=Grid CA\n" in text
        assert "The default CA is: /O=Grid/OU=Test/CN=Grid CA\n" in text
        assert f"         Location: {site.user.trust_dir}/{stem}.0\n" in text
    assert lists[0].strip() == lists[1].strip()
    unknown = [tool("grid-default-ca", "-ca", "00000000") for tool in (site.ours, site.theirs)]
    for done in unknown:
        assert done.returncode == 1
        assert "Cannot find a CA with hash 00000000." in done.output


def test_the_deb_is_one_for_dpkg(site: Site) -> None:
    stem = site.create()
    for directory in ("first", "second"):
        (site.home / directory).mkdir()
        site.ours("grid-ca-package", "-cadir", site.ca, "-d", "-out", directory).check()
    names = {path.name for path in (site.home / "first").iterdir()}
    assert names == {f"globus_simple_ca_{stem}.tar.gz", f"globus-simple-ca-{stem}_1.0_all.deb"}
    for name in names:  # the same bytes at another time
        assert (site.home / "first" / name).read_bytes() == (site.home / "second" / name).read_bytes()
    deb = site.home / "first" / f"globus-simple-ca-{stem}_1.0_all.deb"
    told = site.theirs("dpkg-deb", "--info", deb).check().stdout
    assert f" Package: globus-simple-ca-{stem}\n" in told
    listed = site.theirs("dpkg-deb", "--contents", deb).check().stdout
    assert listed.count("root/root") == len(listed.splitlines())
    site.theirs("dpkg-deb", "--extract", deb, "unpacked").check()
    installed = site.home / "unpacked/etc/grid-security/certificates"
    assert {path.name for path in installed.iterdir()} == {
        f"{stem}.0",
        f"{stem}.signing_policy",
        f"grid-security.conf.{stem}",
        f"globus-host-ssl.conf.{stem}",
        f"globus-user-ssl.conf.{stem}",
    }
    assert (installed / f"{stem}.0").read_bytes() == (site.ca / "cacert.pem").read_bytes()
    assert (installed / f"{stem}.0").stat().st_mode & 0o777 == 0o644


def test_the_default_ca_stays_over_an_upgrade_and_goes_with_its_package(site: Site) -> None:
    stem = site.create()
    for version in ("1.0", "1.1"):
        site.ours("grid-ca-package", "-cadir", site.ca, "-d", "-q", "-package-version", version).check()
    root = site.home / "root"
    books = root / "var/lib/dpkg"
    for name in ("updates", "info"):
        (books / name).mkdir(parents=True)
    (books / "status").touch()

    def dpkg(*words: str) -> None:
        forced = ("--force-script-chrootless", "--force-not-root", "--force-bad-path")  # no programs are in the root
        site.theirs("dpkg", f"--root={root}", f"--log={root}/log", *forced, *words).check()

    dpkg("--install", f"globus-simple-ca-{stem}_1.0_all.deb")
    security = root / "etc/grid-security"
    chosen = {"grid-security.conf": stem, "globus-host-ssl.conf": stem, "globus-user-ssl.conf": "00000000"}
    for name, ca in chosen.items():
        (security / name).symlink_to(f"/etc/grid-security/certificates/{name}.{ca}")
    dpkg("--install", f"globus-simple-ca-{stem}_1.1_all.deb")
    assert {path.name for path in security.iterdir()} == {"certificates", *chosen}
    dpkg("--remove", f"globus-simple-ca-{stem}")
    assert {path.name for path in security.iterdir() if path.is_symlink()} == {"globus-user-ssl.conf"}


def test_an_rpm_needs_rpmbuild(site: Site) -> None:
    site.create()
    site.variables["PATH"] = str(site.home)
    (site.home / "out").mkdir()
    done = site.ours("grid-ca-package", "-cadir", site.ca, "-r", "-out", "out")
    assert done.returncode == 1
    assert "rpmbuild is not installed" in done.stderr
    assert list((site.home / "out").iterdir()) == []
