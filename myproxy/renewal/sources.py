"""Where a new credential comes from: a MyProxy server, or a Kerberos authority; nothing is written here.

    fetched = fetch(entry, source, held, anchors=anchors, trust_dir=trust_dir, workspace=state_directory)

Of the Kerberos authority, `kinit` and `kx509` are asked, and of virtual organisations `voms-proxy-init`, each a process
of its own with a time limit: libkrb5 keeps its caches per process, and one agent serves many principals.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from gsi.credential import MAX_CREDENTIAL_BYTES, Credential, order_chain, parse_credential
from gsi.errors import CredentialError, CredentialProblem, RefusedError, TimeoutExpiredError, TransportError
from gsi.keys import generate_key
from gsi.secret import Passphrase
from gsi.system.environ import get_variable
from gsi.system.files import read_private, read_public, write_private
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from myproxy.renewal.config import Entry, Kind, Proof, SourceSettings
from myproxy.renewal.place import read_identity_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.trust.anchors import TrustAnchors

__all__ = ["fetch", "read_secret_line"]

MAX_SECRET_BYTES: Final = 4096
_PASSED_ON: Final = (
    *("KRB5_CONFIG", "KRB5_KDC_PROFILE", "X509_CERT_DIR", "PYTHONPATH", "KCA_HOST_LIST"),
    *("X509_VOMSES", "X509_VOMS_DIR", "VOMS_USERCONF"),
)
"""What decides how Kerberos and VOMS are found; everything else of the agent's environment stays with it."""
_MAX_SHOWN: Final = 400
"""Of a program's last words."""


def fetch(
    entry: Entry,
    source: SourceSettings,
    held: Credential | None,
    *,
    anchors: TrustAnchors,
    trust_dir: str,
    workspace: str,
) -> Credential:
    """Return a new credential, not yet judged.

    Args:
        entry: What is wanted.
        source: From where.
        held: What is in place; its key is used again where the entry keeps keys in files of their own.
        anchors: By whom the server is known.
        trust_dir: Where they come from, for programs.
        workspace: A private directory for what programs write.

    Raises:
        GridError: There is none to be had now.
    """
    if source.kind is Kind.KCA:
        return _from_kerberos(entry, source, workspace)
    received = _from_myproxy(entry, source, held, anchors)
    return _with_attributes(entry, source, received, trust_dir, workspace) if entry.voms else received


def read_secret_line(path: str) -> str:
    """Return the first line of a private file.

    Raises:
        CredentialError: It is missing, unsafe, empty or no text.
    """
    line = read_private(path, max_bytes=MAX_SECRET_BYTES).split(b"\n", 1)[0].rstrip(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CredentialError(f"{path}: not UTF-8 text", problem=CredentialProblem.MISSING, path=path) from error
    if not text:
        raise CredentialError(f"{path}: the first line is empty", problem=CredentialProblem.MISSING, path=path)
    return text


def _from_myproxy(entry: Entry, source: SourceSettings, held: Credential | None, anchors: TrustAnchors) -> Credential:
    from dataclasses import replace

    seconds = source.timeout.total_seconds()
    address = replace(
        ServerAddress.parse(source.server),
        expected_dn=source.server_dn or None,
        connect_timeout=min(seconds, 10.0),
        read_timeout=seconds,
    )
    itself = read_identity_files(source.certificate, source.key) if source.certificate else None
    passphrase = Passphrase(b"")
    if entry.proof is Proof.PASSPHRASE:
        passphrase = Passphrase(read_secret_line(entry.passphrase_file).encode())
    renewing = held if entry.proof is Proof.RENEWAL else None
    client = MyProxyClient(address, anchors, credential=itself)
    request = Request(
        Command.GET,
        entry.username,
        passphrase,
        lifetime=entry.lifetime,
        credential_name=entry.credential_name or None,
    )
    if not entry.key:
        return client.get(request, generate_key(entry.key_type), renewing=renewing)
    from gsi.delegation import DelegationRequester

    if held is None:
        raise CredentialError(f"{entry.key}: there is no key", problem=CredentialProblem.KEY_MISSING, path=entry.key)
    received = client.get_for_request(request, DelegationRequester(held.key).request_der, renewing=renewing)
    return Credential(held.key, received[0], order_chain(received[0], received[1:]))


def _from_kerberos(entry: Entry, source: SourceSettings, workspace: str) -> Credential:
    kinit = shutil.which("kinit", path="/usr/bin:/bin:/usr/local/bin")
    if kinit is None:
        raise CredentialError("the program kinit is not installed", problem=CredentialProblem.MISSING)
    try:
        with tempfile.TemporaryDirectory(prefix="kca-", dir=workspace) as directory:
            cache, out = f"FILE:{directory}/tickets", os.path.join(directory, "new.pem")
            keytab = ["-t", source.keytab] if source.keytab else []
            seconds = source.timeout.total_seconds()
            _run([kinit, "-k", *keytab, "-c", cache, entry.principal], directory, seconds)
            words = [sys.executable, "-m", "kca.cli.kx509", "-no-cache", "-quiet", "-cache", cache]
            for host in source.hosts:
                words += ["-host", host]
            if source.realm:
                words += ["-realm", source.realm]
            if entry.key:
                words += ["-private-key", entry.key, "-t", out]
            else:
                words += ["-key-type", entry.key_type.value, "-out", out]
            _run(words, directory, seconds)
            if not entry.key:
                return parse_credential(read_private(out, max_bytes=MAX_CREDENTIAL_BYTES), source="the new certificate")
            key_pem = read_private(entry.key, max_bytes=MAX_CREDENTIAL_BYTES)
            pem = read_public(out, max_bytes=MAX_CREDENTIAL_BYTES)
            return parse_credential(pem, key_pem=key_pem, source="the new certificate", key_source=entry.key)
    except OSError as error:
        raise CredentialError(
            f"{workspace}: {error.strerror}", problem=CredentialProblem.UNWRITABLE, path=workspace
        ) from error


def _with_attributes(
    entry: Entry, source: SourceSettings, received: Credential, trust_dir: str, workspace: str
) -> Credential:
    """Return a proxy below the received one, as long, with the attributes that the entry's organisations give."""
    try:
        with tempfile.TemporaryDirectory(prefix="voms-", dir=workspace) as directory:
            proxy, out = os.path.join(directory, "received.pem"), os.path.join(directory, "new.pem")
            write_private(proxy, received.encode())
            words = [sys.executable, "-m", "gsi.cli.voms_proxy_init", "-noregen", "-quiet", "-valid", "0:0"]
            words += ["-key-type", entry.key_type.value, "-certdir", trust_dir, "-out", out]
            for wish in entry.voms:
                words += ["-voms", wish]
            _run(words, directory, source.timeout.total_seconds(), X509_USER_PROXY=proxy)
            return parse_credential(read_private(out, max_bytes=MAX_CREDENTIAL_BYTES), source="the new proxy")
    except OSError as error:
        raise CredentialError(
            f"{workspace}: {error.strerror}", problem=CredentialProblem.UNWRITABLE, path=workspace
        ) from error


def _run(words: Sequence[str], directory: str, seconds: float, **variables: str) -> None:
    """Run a program that is to succeed.

    Raises:
        RefusedError: It did not; its last words are in the message.
        TimeoutExpiredError: It took too long, and was ended.
    """
    environment = {"PATH": "/usr/bin:/bin", "HOME": directory, "LC_ALL": "C.UTF-8"}
    environment |= {name: value for name in _PASSED_ON if (value := get_variable(name)) is not None}
    environment |= variables
    name = words[2].rpartition(".")[2].replace("_", "-") if words[1] == "-m" else os.path.basename(words[0])
    try:
        done = subprocess.run(  # noqa: S603  # absolute programs; the words come from root's configuration
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutExpiredError(f"{name} took longer than {seconds:g} seconds") from error
    except OSError as error:
        raise TransportError(f"{name} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-_MAX_SHOWN:]
        raise RefusedError(f"{name}: {said or f'ended with status {done.returncode}'}")
