"""A community's tokens enforced by XRootD: its plug-in of libscitokens fetches our keys and reads our scopes.

XRootD serves files over https to whoever brings a token; it knows nothing of the community but the issuer's address.
"""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from cas.assertion.jwks import discovery_document, key_set
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.signing import SigningKey
from cas.assertion.token import TokenIssuer, TokenOptions
from gsi.tokens.rules import Profile
from tests.harness.ca import TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.capabilities import file_right, make_capability, token_key
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import c_program
from tests.harness.tokens import HTTPSSite

pytestmark = pytest.mark.interop

SE: Final = "https://se.example.org"
MINUTE: Final = timedelta(minutes=1)
_SYSTEM_CAS: Final = "/etc/ssl/certs/ca-certificates.crt"
CONFIG: Final = """\
all.export /
oss.localroot {place}/files
all.adminpath {place}/admin
all.pidpath {place}/admin
xrd.port {port}
xrd.protocol http:{port} libXrdHttp.so
xrd.tls {place}/hostcert.pem {place}/hostkey.pem
xrd.tlsca certdir {place}/certificates
http.desthttps no
http.header2cgi Authorization authz
ofs.authorize
ofs.authlib libXrdAccSciTokens.so config={place}/scitokens.cfg
"""
ISSUERS: Final = """\
[Global]
audience = {audience}

[Issuer climate]
issuer = {issuer}
base_path = /
"""


class Storage(NamedTuple):
    """XRootD, and who issues tokens for it."""

    port: int
    ca: TestCA
    url: str
    keys: list[SigningKey]
    log: Path

    def token(self, profile: Profile, *, key: SigningKey | None = None, age: timedelta = MINUTE) -> str:
        """Alice's: she reads what is in `data`, and writes into `out`."""
        base = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org", audiences=frozenset({SE}))
        options = TokenOptions(issuer=self.url, mapping=ScopeMapping(bases=(base,)), profile=profile)
        now = datetime.now(UTC).replace(microsecond=0) - age
        rights = (
            file_right("ftp://se.example.org/data/*", "read", "lookup"),
            file_right("ftp://se.example.org/out/*", "create", "delete", "write"),
        )
        capability = make_capability(self.ca.issue("/O=Grid/CN=Alice", "p256"), rights=rights, now=now)
        return TokenIssuer(key or self.keys[0], options).issue(capability, now=now, client_id="cas-token").text

    def ask(self, method: str, path: str, token: str | None, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask for a file over https."""
        context = ssl.create_default_context(cadata=self.ca.pem.decode())
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=context)
        try:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    program = c_program("xrootd")
    unshare = shutil.which("unshare", path="/usr/bin:/bin")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("no mount namespaces here, without which libscitokens knows no other CAs than the system's")
    ca, port = TestCA(), free_port()
    with tempfile.TemporaryDirectory(prefix="gsi-xrootd-") as name:  # where any account may go
        yield from _serve(Path(name), ca, port, [unshare, "-m", "--propagation", "private"], program)


def _serve(place: Path, ca: TestCA, port: int, apart: list[str | Path], program: str) -> Iterator[Storage]:
    """Start it, in a mount namespace of its own."""
    place.chmod(0o755)
    for name in ("files/data", "files/out", "files/other", "admin", "cache"):
        (place / name).mkdir(parents=True)
    for name in ("data", "other"):
        (place / "files" / name / "f").write_bytes(b"content")
    write_trust_dir(place / "certificates", ca)
    ca.issue_host("localhost").write(place / "hostcert.pem", place / "hostkey.pem")
    write_file(place / "trusted.pem", ca.pem, 0o644)
    keys = [token_key(pooled_key("p256")), token_key(pooled_key("rsa2048"))]
    with HTTPSSite(ca) as site:
        url = f"https://localhost:{site.port}"
        site.documents["/.well-known/openid-configuration"] = discovery_document(
            url, jwks_uri=f"{url}/jwks", token_endpoint=f"{url}/token"
        )
        site.documents["/jwks"] = key_set(keys)
        write_file(place / "xrootd.cfg", CONFIG.format(place=place, port=port).encode(), 0o644)
        write_file(place / "scitokens.cfg", ISSUERS.format(audience=SE, issuer=url).encode(), 0o644)
        for path in place.rglob("*"):
            shutil.chown(path, "nobody", "nogroup")
        env = clean_environment(place) | {"XDG_CACHE_HOME": str(place / "cache")}
        if "LD_LIBRARY_PATH" in os.environ:  # where it is not installed but unpacked
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        mount = f'mount --bind "$1" {_SYSTEM_CAS} && shift && exec "$@"'
        argv = [
            *apart,
            "sh",
            "-c",
            mount,
            "sh",
            place / "trusted.pem",
            program,
            "-R",
            "nobody",
            "-c",
            place / "xrootd.cfg",
            "-l",
            "-",
        ]
        with running(argv, env=env, port=port, directory=place) as daemon:
            yield Storage(port, ca, url, keys, daemon.log_path)


@pytest.mark.parametrize("profile", [Profile.WLCG, Profile.SCITOKENS])
def test_it_reads_what_the_token_says(storage: Storage, profile: Profile) -> None:
    token = storage.token(profile)
    assert storage.ask("GET", "/data/f", token) == (200, b"content"), storage.log.read_text()
    assert storage.ask("GET", "/other/f", token)[0] == 403
    assert storage.ask("GET", "/data/../other/f", token)[0] in {400, 403, 404}
    assert storage.ask("PUT", "/data/x", token, b"sent")[0] == 403
    assert storage.ask("PUT", f"/out/{profile}", token, b"sent")[0] in {200, 201}
    assert storage.ask("GET", f"/out/{profile}", token)[0] == 403


def test_it_refuses_what_is_no_token_of_ours(storage: Storage) -> None:
    good = storage.token(Profile.WLCG)
    stranger = storage.token(Profile.WLCG, key=token_key(TestCA().issue("/O=Grid/CN=x", "p256").key))
    old = storage.token(Profile.WLCG, age=timedelta(hours=2))
    for token in (None, stranger, old, f"{good[:-4]}AAAA"):
        assert storage.ask("GET", "/data/f", token)[0] == 403
    assert storage.ask("GET", "/data/f", storage.token(Profile.WLCG, key=storage.keys[1]))[0] == 200
