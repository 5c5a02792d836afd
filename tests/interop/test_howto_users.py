"""The lines of the pages for users run as they stand, each page in one shell; secrets come from files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.harness.ca import write_file
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import Done, c_program, our_program, run
from tests.interop.conftest import ALICE, Grid

DOCS = Path(__file__).resolve().parents[2] / "docs/howto"
SECRET = "correct horse"


def lines_of(page: str) -> str:
    return "".join(re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL))


def run_lines(lines: str, user: UserEnvironment, directory: Path, **variables: str) -> Done:
    write_file(directory / "script", f"set -eu\n{lines}".encode(), 0o600)
    path = f"{os.path.dirname(our_program('grid-proxy-init'))}:/usr/bin:/bin"
    # Everything is in its usual place, but for the proxy, which is in the directory of all users.
    places = {"X509_USER_CERT": None, "X509_USER_KEY": None, "PATH": path, **variables}
    return run(["/bin/bash", directory / "script"], env=user.with_variables(**places), cwd=directory, timeout=120)


def test_a_proxy_from_its_making_to_its_end(tmp_path: Path, grid: Grid) -> None:
    user = UserEnvironment(tmp_path)
    user.install_user(grid.users["rsa2048", "rsa2048"], key_mode=0o400)
    server, port = tmp_path / "server", free_port()
    server.mkdir(mode=0o700)
    write_file(
        server / "config", b'accepted_credentials "*"\nauthorized_retrievers "*"\nauthorized_renewers "*"\n', 0o600
    )
    grid.host.write(server / "cert.pem", server / "key.pem")
    write_file(tmp_path / "secret", f"{SECRET}\n".encode(), 0o600)
    lines, asked = re.subn(
        r"^(myproxy-(?:init|logon) (?:(?! -n ).)*)$",
        rf"\1 --passin file:{tmp_path}/secret",
        lines_of("user-proxy.md"),
        flags=re.MULTILINE,
    )
    assert asked == 2
    env = clean_environment(server) | {
        "X509_USER_CERT": str(server / "cert.pem"),
        "X509_USER_KEY": str(server / "key.pem"),
        "X509_CERT_DIR": str(grid.trust_dir),
    }
    arguments: list[str | Path] = ["-c", server / "config", "-s", server / "store", "-l", "127.0.0.1"]
    with our_server(
        "myproxy-server", [*arguments, "-p", str(port), "-foreground"], env=env, port=port, directory=server
    ):
        lines = lines.replace("myproxy.example.org", f"localhost:{port}")
        done = run_lines(lines, user, tmp_path, X509_CERT_DIR=str(grid.trust_dir)).check()
    assert f"\n{ALICE}\n" in done.stdout
    assert done.stdout.count("for user alice now exists on localhost") == 2
    assert not user.proxy_path.exists()
    assert (user.home / "limited.pem").exists()


def test_a_certificate_from_a_browser(tmp_path: Path, grid: Grid) -> None:
    user = UserEnvironment(tmp_path)
    alice = grid.users["rsa2048", "rsa2048"]
    write_file(tmp_path / "both.pem", alice.bundle(), 0o600)
    write_file(tmp_path / "secret", f"{SECRET}\n".encode(), 0o600)
    secret = f"file:{tmp_path}/secret"
    export: list[str | Path] = [
        "pkcs12",
        "-export",
        "-in",
        tmp_path / "both.pem",
        "-out",
        tmp_path / "cert.p12",
        "-passout",
        secret,
    ]
    run([c_program("openssl"), *export], env=user.variables).check()
    lines = lines_of("user-certificate.md")
    lines = lines.replace("grid-proxy-init\n", f"grid-proxy-init -pwstdin < {tmp_path}/secret\n")
    lines = lines.replace("grid-cert-info ", f"grid-cert-info -passin {secret} ")
    write_file(tmp_path / "other", f"{SECRET}\n".encode(), 0o600)  # openssl reads one file named twice on and on
    lines = lines.replace("-nocerts ", f"-nocerts -passout file:{tmp_path}/other ").replace(
        "pkcs12 -in", f"pkcs12 -passin {secret} -in"
    )
    done = run_lines(lines, user, tmp_path, X509_CERT_DIR=str(grid.trust_dir)).check()
    assert done.stdout.count(ALICE) >= 2
    assert b"ENCRYPTED" in (user.home / ".globus/userkey.pem").read_bytes()
    assert not (tmp_path / "cert.p12").exists()
