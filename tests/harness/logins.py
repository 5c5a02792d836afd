"""What judges pass phrases on a machine, as real as it gets: PAM services, libsasl2 with sasldb or saslauthd, a KDC.

Workflow:
    with pam_service(tmp_path, {"alice": ["secret"]}) as service: ...        # a file in /etc/pam.d; needs root
    site = sasl_site(tmp_path, {"alice": "secret"})                          # SASL_CONF_PATH for servers and clients
    with kdc(tmp_path, {"alice": "secret"}) as realm: ...                    # KRB5_CONFIG and so on
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.harness.ca import write_file
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["KDC", "SASLSite", "kdc", "pam_directory", "pam_service", "sasl_site", "saslauthd"]

PAM_DIRECTORY: Final = Path("/etc/pam.d")
REALM: Final = "TEST.EXAMPLE"
_START_SECONDS: Final = 20.0


def _checker(directory: Path, passwords: Mapping[str, Sequence[str]]) -> Path:
    """A script for pam_exec that knows these passwords, and writes down who was asked about."""
    cases = "\n".join(f"'{user}:{word}') exit 0 ;;" for user, words in passwords.items() for word in words)
    path = directory / "pam-check"
    text = f"""\
#!/bin/sh
echo "$PAM_USER" >> {directory}/asked
read -r word || :
case "$PAM_USER:$word" in
{cases}
esac
exit 1
"""
    write_file(path, text.encode(), 0o755)
    return path


def _service_text(directory: Path, passwords: Mapping[str, Sequence[str]]) -> str:
    # pam_exec's own failure is a system error; with `die` in its place the answer is PAM_AUTH_ERR, as of pam_unix.
    return (
        f"auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {_checker(directory, passwords)}\n"
        "auth requisite pam_deny.so\n"
        "auth required pam_permit.so\n"
        "account required pam_permit.so\n"
    )


def pam_directory(directory: Path, services: Mapping[str, str]) -> Path:
    """A directory of service files, for `pam_start_confdir`: no root needed."""
    made = directory / "pam.d"
    made.mkdir()
    for name, text in services.items():
        write_file(made / name, text.encode(), 0o644)
    return made


@contextlib.contextmanager
def pam_service(directory: Path, passwords: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The name of a PAM service of the machine's that knows these passwords; gone afterwards."""
    if not os.access(PAM_DIRECTORY, os.W_OK):
        pytest.skip("only root can add a PAM service; tests/unit/myproxy/auth/test_pam.py needs none")
    name = f"gsi-toolkit-test-{os.getpid()}-{time.monotonic_ns()}"
    path = PAM_DIRECTORY / name
    write_file(path, _service_text(directory, passwords).encode(), 0o644)
    try:
        yield name
    finally:
        path.unlink()


@dataclass(frozen=True, slots=True)
class SASLSite:
    """A configuration of libsasl2 for the service `myproxy`.

    Attributes:
        directory: Where it is.
        variables: The environment of servers and clients.
    """

    directory: Path
    variables: dict[str, str] = field(default_factory=dict)


def sasl_site(
    directory: Path,
    passwords: Mapping[str, str],
    *,
    mechanisms: str = "PLAIN SCRAM-SHA-256",
    realm: str = "localhost",
    socket: Path | None = None,
) -> SASLSite:
    """Write `myproxy.conf` and a sasldb.

    Args:
        directory: Where to.
        passwords: Users of the sasldb.
        mechanisms: What is offered.
        realm: The users' realm: the server's name, or `sasl_user_realm`.
        socket: The directory of saslauthd's socket; None asks the sasldb about plain passwords, too.
    """
    site = directory / "sasl2"
    site.mkdir(mode=0o700)
    database = site / "sasldb2"
    method = "auxprop" if socket is None else f"saslauthd\nsaslauthd_path: {socket}/mux"
    text = f"pwcheck_method: {method}\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: {mechanisms}\n"
    write_file(site / "myproxy.conf", text.encode(), 0o644)
    env = clean_environment(directory)
    for user, word in passwords.items():
        argv: list[str | Path] = [c_program("saslpasswd2"), "-p", "-c", "-f", database, "-u", realm, user]
        run(argv, env=env, stdin=f"{word}\n").check()
    return SASLSite(site, {"SASL_CONF_PATH": str(site)})


@contextlib.contextmanager
def saslauthd(directory: Path, mechanism: str, *, environment: Mapping[str, str] | None = None) -> Iterator[Path]:
    """The directory of a running saslauthd's socket."""
    place = directory / "saslauthd"
    place.mkdir(mode=0o755)
    argv = [c_program("saslauthd"), "-d", "-m", str(place), "-a", mechanism, "-n", "1"]
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            argv,
            env=clean_environment(directory) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(place / "mux", process, place / "log")
        yield place
    finally:
        process.terminate()
        process.wait()


def _await(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"{path} does not come up\n{log.read_text()}"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class KDC:
    """A running KDC.

    Attributes:
        realm: Its realm.
        directory: Its files.
        variables: The environment of everybody who is to use it.
        keytab: The key of `service`.
        service: A principal of the realm, `myproxy/<host>`.
    """

    realm: str
    directory: Path
    variables: dict[str, str]
    keytab: Path
    service: str


@contextlib.contextmanager
def kdc(directory: Path, passwords: Mapping[str, str], *, host: str, realm: str = REALM) -> Iterator[KDC]:
    """An MIT KDC with these users and the service `myproxy` on a host."""
    place = directory / f"kdc-{realm}"
    place.mkdir(mode=0o700)
    port = free_port()
    config = f"""\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}
[domain_realm]
{host} = {realm}
"""
    profile = f"""\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
  database_name = {place}/principal
  key_stash_file = {place}/stash
  acl_file = {place}/acl
  max_life = 1h
}}
"""
    write_file(place / "krb5.conf", config.encode(), 0o644)
    write_file(place / "kdc.conf", profile.encode(), 0o644)
    keytab, service = place / "service.keytab", f"myproxy/{host}@{realm}"
    variables = {
        "KRB5_CONFIG": str(place / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(place / "kdc.conf"),
        "KRB5CCNAME": f"FILE:{place}/ccache",
        "KRB5_KTNAME": f"FILE:{keytab}",
        "KRB5RCACHEDIR": str(place),
    }
    env = clean_environment(place) | variables
    run([c_program("kdb5_util"), "create", "-s", "-P", "master", "-r", realm], env=env).check()
    orders = [f"addprinc -pw {word} {user}" for user, word in passwords.items()]
    orders += [f"addprinc -randkey {service}", f"ktadd -k {keytab} {service}"]
    for order in orders:
        run([c_program("kadmin.local"), "-r", realm, "-q", order], env=env).check()
    argv = [c_program("krb5kdc"), "-n", "-r", realm]
    with running(argv, env=env, port=port, directory=place):
        yield KDC(realm, place, variables, keytab, service)
