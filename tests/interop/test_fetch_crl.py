"""Lists that grid-fetch-crl has installed bind the C tools and OpenSSL as they bind ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.harness.ca import TestCA, subject_hash, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import c_program, run
from tests.harness.web import Answer, WebServer


def test_a_fetched_revocation_binds_everyone(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=Fetching CA")
    alice = ca.issue("/O=Grid/CN=Alice")
    user = UserEnvironment(tmp_path)
    user.install_user(alice)
    user.trust(ca)
    stem = subject_hash(ca.certificate)
    installed = user.trust_dir / f"{stem}.r0"
    with WebServer({"/crl": Answer(ca.crl(number=1))}) as web:
        (user.trust_dir / f"{stem}.crl_url").write_text(web.url("/crl\n"))
        user.ours("grid-fetch-crl").check()
        for tool in (user.theirs, user.ours):
            tool("grid-proxy-init", "-q", "-verify").check()
        web.routes["/crl"] = Answer(ca.crl([alice], number=2))
        assert "1 updated" in user.ours("grid-fetch-crl").check().stdout
        for tool in (user.theirs, user.ours):
            assert tool("grid-proxy-init", "-q", "-verify").returncode == 1
        web.routes["/crl"] = Answer(ca.crl(number=1))
        assert user.ours("grid-fetch-crl", "-a", "0").returncode == 1  # the older list does not come back
        assert user.theirs("grid-proxy-init", "-q", "-verify").returncode == 1
    verified = run(
        [c_program("openssl"), "crl", "-in", installed, "-noout", "-CAfile", user.trust_dir / f"{stem}.0"],
        env=user.variables,
    )
    assert "verify OK" in verified.output
    hidden = [path.name for path in user.trust_dir.iterdir() if path.name.startswith(".")]
    assert hidden == [".grid-fetch-crl.lock"]  # which the C programs pass over


def test_what_is_revoked_under_the_old_hash_stays_revoked(tmp_path: Path) -> None:
    """A server that offers an older list brings nothing back, whatever is under the present hash."""
    ca = TestCA("/O=Grid/CN=Old Hash CA")
    alice = ca.issue("/O=Grid/CN=Alice")
    user = UserEnvironment(tmp_path)
    user.install_user(alice)
    user.trust(ca)
    new, old = (user.trust_dir / f"{subject_hash(ca.certificate, old=is_old)}.r0" for is_old in (False, True))
    now = datetime.now(UTC)
    ages = {3: timedelta(hours=30), 4: timedelta(hours=20), 5: timedelta(hours=10)}
    lists = {n: ca.crl([alice] if n == 5 else [], number=n, this_update=now - age) for n, age in ages.items()}
    write_file(new, lists[3], 0o644)
    write_file(old, lists[5], 0o644)
    with WebServer({f"/{new.name}": Answer(lists[4])}) as web:
        assert user.ours("grid-fetch-crl", "-base", web.url(), "-a", "0").returncode == 1
        assert (new.read_bytes(), old.read_bytes()) == (lists[3], lists[5])
        assert "was revoked" in user.ours("grid-proxy-init", "-q", "-verify").output
        web.routes[f"/{new.name}"] = Answer(lists[5])
        user.ours("grid-fetch-crl", "-base", web.url()).check()
    for tool in (user.theirs, user.ours):
        assert tool("grid-proxy-init", "-q", "-verify").returncode == 1


def test_a_list_under_the_old_hash(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=Old Hash CA", key="p256")
    user = UserEnvironment(tmp_path)
    user.trust(ca)
    old = subject_hash(ca.certificate, old=True)
    (user.trust_dir / f"{old}.0").symlink_to(f"{subject_hash(ca.certificate)}.0")
    with WebServer({f"/{subject_hash(ca.certificate)}.r0": Answer(ca.crl())}) as web:
        user.ours("grid-fetch-crl", "-base", web.url()).check()
    for stem in (old, subject_hash(ca.certificate)):
        argv: list[str | Path] = [c_program("openssl"), "crl", "-in", user.trust_dir / f"{stem}.r0", "-noout", "-hash"]
        assert run(argv, env=user.variables).check().stdout.strip() == subject_hash(ca.certificate)
