"""Every kind and form of proxy that the C `grid-proxy-init` can make, read and judged by ours.

Not made here, because the C program cannot: anything under an EC authority or from an Ed25519 certificate (it takes
the digest from the signer's certificate and knows only RSA ones; `test_what_c_cannot_make` would notice a change).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from gsi import oids
from gsi.certificate import load_certificates
from gsi.errors import Reason, VerificationError
from gsi.names import same_oneline
from gsi.proxy.chain import ProxyChain
from gsi.proxy.kinds import ProxyFormat, ProxyKind, Role, classify
from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import ValidationOptions, VerifiedPeer, verify_chain
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, c_program, our_program, run
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.harness.ca import KeyKind

    Maker = Callable[["Case", KeyKind], Path]

POLICY = b"read only please"
LANGUAGE = "1.2.3.4"
RFC, GT3, GT2 = ProxyFormat.RFC3820, ProxyFormat.GT3, ProxyFormat.GT2
FULL, LIMITED, INDEPENDENT, RESTRICTED = (
    ProxyKind.FULL,
    ProxyKind.LIMITED,
    ProxyKind.INDEPENDENT,
    ProxyKind.RESTRICTED,
)


_NAMED = (oids.ANY_LANGUAGE, oids.INDEPENDENT, oids.LIMITED)


class Case(NamedTuple):
    """One way to call the C program, and what its proxy is."""

    arguments: str
    format: ProxyFormat
    kind: ProxyKind
    language: str | None = None
    path_length: int | None = None
    policy: bytes | None = None
    below: tuple[str, ...] = ()
    """Arguments of the proxies above this one, outermost first."""

    @property
    def id(self) -> str:
        """For the test report."""
        return "+".join((*self.below, self.arguments)).replace("POLICY ", "").replace(" ", "") or "default"


def _cases() -> list[Case]:
    restricted = f"-policy POLICY -pl {LANGUAGE}"
    cases = [Case("", RFC, FULL, oids.INHERIT_ALL), Case("-old", GT2, FULL), Case("-old -limited", GT2, LIMITED)]
    for flag, form in (("-rfc", RFC), ("-draft", GT3)):
        cases += [
            Case(flag, form, FULL, oids.INHERIT_ALL),
            Case(f"{flag} -limited", form, LIMITED, oids.LIMITED),
            Case(f"{flag} -independent", form, INDEPENDENT, oids.INDEPENDENT),
            Case(f"{flag} {restricted}", form, RESTRICTED, LANGUAGE, None, POLICY),
            Case(f"{flag} -path-length 2", form, FULL, oids.INHERIT_ALL, 2),
            Case(f"{flag} -limited -path-length 1", form, LIMITED, oids.LIMITED, 1),
            Case(f"{flag} {restricted} -path-length 3", form, RESTRICTED, LANGUAGE, 3, POLICY),
            # The C program writes no limit for 0; we read what is there.
            Case(f"{flag} -path-length 0", form, FULL, oids.INHERIT_ALL),
            Case("", form, FULL, oids.INHERIT_ALL, below=(flag,)),
            Case("", form, LIMITED, oids.LIMITED, below=(f"{flag} -limited",)),
            Case("-limited", form, LIMITED, oids.LIMITED, below=(flag, "")),
        ]
    # Asked for a policy in a language that OpenSSL knows by name, C writes inheritAll: what is there counts.
    cases += [Case(f"-rfc -policy POLICY -pl {language}", RFC, FULL, oids.INHERIT_ALL) for language in _NAMED]
    cases += [
        Case("", GT2, FULL, below=("-old",)),
        Case("", GT2, LIMITED, below=("-old -limited",)),
        Case("-bits 4096", RFC, FULL, oids.INHERIT_ALL),
        Case("-valid 0:0", RFC, FULL, oids.INHERIT_ALL),
        Case("-valid 300:30", RFC, FULL, oids.INHERIT_ALL),
        Case("-independent", RFC, INDEPENDENT, oids.INDEPENDENT, below=("-rfc",)),
    ]
    return cases


CASES = _cases()
SIGNERS: tuple[KeyKind, ...] = ("rsa2048", "p256")
WEAK = [
    Case(f"{flag} -bits {bits}", form, FULL)
    for flag, form in (("-rfc", RFC), ("-draft", GT3), ("-old", GT2))
    for bits in (512, 1024)
]

# The C program cannot sign below a proxy that a P-256 key has signed.
MATRIX = [(case, signer) for case in CASES for signer in SIGNERS if signer == "rsa2048" or not case.below]
each_made = pytest.mark.parametrize(("case", "signer"), MATRIX, ids=[f"{case.id}-{signer}" for case, signer in MATRIX])


@pytest.fixture(scope="session")
def c_proxy(grid: Grid) -> Maker:
    """A function that has the C program make a proxy file, once per worker."""
    made: dict[tuple[Case, KeyKind], Path] = {}

    def make(case: Case, signer: KeyKind) -> Path:
        if (case, signer) not in made:
            user = UserEnvironment(grid.root / f"c{len(made)}", trust_dir=grid.trust_dir)
            user.install_user(grid.users["rsa2048", signer])
            policy_path = user.home / "policy"
            policy_path.write_bytes(POLICY)
            cert, key = user.cert_path, user.key_path
            for level, text in enumerate((*case.below, case.arguments)):
                out = user.home / f"proxy{level}.pem"
                words = text.replace("POLICY", str(policy_path)).split()
                user.theirs("grid-proxy-init", "-q", "-cert", cert, "-key", key, "-out", out, *words).check()
                cert = key = out
            made[case, signer] = cert
        return made[case, signer]

    return make


def _now() -> datetime:
    return datetime.now(UTC)


def _verify(path: Path, trust_dir: Path, options: ValidationOptions) -> VerifiedPeer:
    chain = load_certificates(path.read_bytes())
    return verify_chain(chain, TrustDirectory(str(trust_dir)).anchors(), now=_now(), options=options)


@each_made
def test_classification(c_proxy: Maker, case: Case, signer: KeyKind) -> None:
    credential = load_proxy(str(c_proxy(case, signer)))
    found = classify(credential.certificate)
    assert (found.role, found.format, found.kind) == (Role.PROXY, case.format, case.kind)
    if found.info is None:
        assert case.language is None
    else:
        assert (found.info.language, found.info.path_length, found.info.policy) == (
            case.language,
            case.path_length,
            case.policy,
        )
        assert found.info.policy is not None or case.kind is not RESTRICTED
    chain = ProxyChain.split(credential.certificates)
    assert chain.kind == case.kind
    assert (chain.identity_text == ALICE) is (case.kind in (FULL, LIMITED))
    assert len(credential.certificates) == 2 + len(case.below)


@each_made
def test_verification(c_proxy: Maker, grid: Grid, case: Case, signer: KeyKind) -> None:
    path = c_proxy(case, signer)
    switches = {
        RFC: ValidationOptions(),
        GT3: ValidationOptions(accept_gt3=True),
        GT2: ValidationOptions(accept_gt2=True),
    }
    if case.kind is RESTRICTED:
        with pytest.raises(VerificationError) as refused:
            _verify(path, grid.trust_dir, switches[case.format])
        assert (refused.value.reason, refused.value.position) == (Reason.PROXY_RESTRICTION, 0)
        return
    peer = _verify(path, grid.trust_dir, switches[case.format])
    assert (peer.kind, peer.limited, peer.independent, peer.format) == (
        case.kind,
        case.kind is LIMITED,
        case.kind is INDEPENDENT,
        case.format,
    )
    if case.kind is INDEPENDENT:
        assert re.fullmatch(re.escape(ALICE) + r"(/CN=\d+)+", peer.identity)
    else:
        assert peer.identity == ALICE
    assert peer.depth_left == case.path_length
    for form, options in switches.items():
        if form is not case.format and case.format is not RFC:
            with pytest.raises(VerificationError) as refused:
                _verify(path, grid.trust_dir, options)
            assert refused.value.reason is Reason.PROXY_FORMAT, form


@pytest.mark.parametrize("case", WEAK, ids=[case.id for case in WEAK])
def test_short_keys_are_refused_for_their_shortness(c_proxy: Maker, grid: Grid, case: Case) -> None:
    path = c_proxy(case, "rsa2048")
    with pytest.raises(VerificationError) as refused:
        _verify(path, grid.trust_dir, ValidationOptions(accept_gt2=True, accept_gt3=True))
    assert (refused.value.reason, refused.value.position) == (Reason.WEAK_KEY, 0)
    bits = case.arguments.split()[-1]
    assert bits in refused.value.message


@pytest.mark.parametrize("case", [case for case in CASES if case.format is GT2], ids=lambda case: case.id)
def test_gt2_from_a_certificate_without_key_usage(grid: Grid, tmp_path: Path, case: Case) -> None:
    """The only GT2 proxies that today's C validator accepts itself; it and we must agree on them."""
    user = UserEnvironment(tmp_path, trust_dir=grid.trust_dir)
    user.install_user(grid.cas["rsa2048"].issue(ALICE, key_usage=None))
    cert, key = user.cert_path, user.key_path
    for level, text in enumerate((*case.below, case.arguments)):
        out = user.home / f"proxy{level}.pem"
        user.theirs("grid-proxy-init", "-verify", "-cert", cert, "-key", key, "-out", out, *text.split()).check()
        cert = key = out
    peer = _verify(cert, grid.trust_dir, ValidationOptions(accept_gt2=True))
    assert (peer.kind, peer.identity) == (case.kind, ALICE)


_TIMELEFT = re.compile(r"^timeleft : (-?)(\d+):(\d\d):(\d\d)(  \(\d+\.\d days\))?$", re.MULTILINE)


def _seconds(output: str) -> int:
    found = _TIMELEFT.search(output)
    assert found, output
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4])
    return -seconds if found[1] else seconds


@each_made
def test_grid_proxy_info_prints_the_same(c_proxy: Maker, user: UserEnvironment, case: Case, signer: KeyKind) -> None:
    path = c_proxy(case, signer)
    words = ("-file", path)
    before = user.theirs("grid-proxy-info", *words).check()
    ours = user.ours("grid-proxy-info", *words)
    after = user.theirs("grid-proxy-info", *words).check()
    assert ours.returncode == 0, ours
    # The clock runs between the three: what we say lies between what they say before and after.
    assert _seconds(before.stdout) >= _seconds(ours.stdout) >= _seconds(after.stdout)
    shape = [re.sub(r"\d+:\d\d:\d\d", "T", done.stdout) for done in (before, ours, after)]
    assert shape[1] in (shape[0], shape[2])
    assert ours.stderr == before.stderr == ""


@pytest.mark.parametrize(
    "flags",
    [
        "-subject", "-s", "-issuer", "-i", "-identity", "-type", "-strength", "-path", "-all",
        "-subject -issuer -identity -type -strength -path", "-path -type -subject",
        "-rfc2253 -subject", "-subject -rfc2253 -issuer -identity", "-text -rfc2253 -identity", "-text",
        "-exists", "-e -valid 1:00", "-exists -valid 13:00", "-exists -bits 2048", "-exists -bits 2049",
        "-exists -hours 1", "-exists -valid x", "-exists -valid 1", "-e -h 13", "-e -v 1:0 -b 4096",
        "-e -v 1:0 -b 1024", "-valid 1:00", "-bits 10",
        "-help", "-version", "-nonsense", "-file", "-all -file /nonexistent/proxy", "-e -f /nonexistent/proxy",
    ],
)  # fmt: skip
def test_grid_proxy_info_options(c_proxy: Maker, user: UserEnvironment, flags: str) -> None:
    """Same exit code, and the same output where it is not help, an error, or the program's own words."""
    path = c_proxy(CASES[3], "rsa2048")
    words = [*flags.split()]
    env = user.with_variables(X509_USER_PROXY=str(path))
    ours, theirs = _both("grid-proxy-info", words, env)
    assert ours.returncode == theirs.returncode, (ours, theirs)
    free = {"-help", "-version"}
    if ours.returncode == 0 and not free & set(words) and "-text" not in words and "-all" not in words:
        assert ours.stdout == theirs.stdout
        assert ours.stderr == theirs.stderr == ""
    if ours.returncode:
        assert bool(ours.stderr) == bool(theirs.stderr), (ours, theirs)


def _both(name: str, words: list[str], env: Mapping[str, str]) -> tuple[Done, Done]:
    return run([our_program(name), *words], env=env), run([c_program(name), *words], env=env)


def test_expired_proxies(grid: Grid, user: UserEnvironment) -> None:
    """-timeleft is -1, the line says 0:00:00, and -exists fails, as with the C program."""
    end = _now().replace(microsecond=0) - timedelta(hours=1)
    old = grid.users["rsa2048", "rsa2048"].proxy(not_before=end - timedelta(hours=1), not_after=end)
    user.install_proxy(old)
    for words in (["-timeleft"], ["-exists"], ["-e", "-valid", "0:0"], []):
        ours, theirs = _both("grid-proxy-info", words, user.variables)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), (ours, theirs)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700, 0o400, 0o000])
def test_loose_modes(c_proxy: Maker, user: UserEnvironment, mode: int) -> None:
    user.proxy_path.write_bytes(c_proxy(CASES[3], "rsa2048").read_bytes())
    user.proxy_path.chmod(mode)
    ours, theirs = _both("grid-proxy-info", ["-identity"], user.variables)
    assert ours.returncode == theirs.returncode, (ours, theirs)
    assert ours.stdout == theirs.stdout


@pytest.mark.parametrize(
    ("ca", "key"), [("rsa2048", "ed25519"), ("p256", "rsa2048"), ("p256", "p256"), ("ed25519", "p256")]
)
def test_what_c_cannot_make(tmp_path: Path, ca: KeyKind, key: KeyKind) -> None:
    """Its limits; when a newer version lifts one, the cases above must grow."""
    authority = TestCA(f"/O=Grid/CN=CA {ca}", ca)
    user = UserEnvironment(tmp_path)
    write_trust_dir(user.trust_dir, authority)
    user.install_user(authority.issue(ALICE, key))
    refused = user.theirs("grid-proxy-init")
    assert refused.returncode == 1
    assert "Couldn't create proxy certificate" in refused.stderr


def _name(*parts: list[tuple[x509.ObjectIdentifier, str, _ASN1Type]]) -> x509.Name:
    """A name with the string types as given, whatever pyca would prefer."""
    attributes = [
        [x509.NameAttribute(oid, value, form, _validate=False) for oid, value, form in part] for part in parts
    ]
    return x509.Name([x509.RelativeDistinguishedName(part) for part in attributes])


_UTF8, _BMP, _T61, _IA5, _PRINTABLE = (
    _ASN1Type.UTF8String,
    _ASN1Type.BMPString,
    _ASN1Type.T61String,
    _ASN1Type.IA5String,
    _ASN1Type.PrintableString,
)
_GRID = [(NameOID.ORGANIZATION_NAME, "Grid", _UTF8)]
NAMES = {
    "plain": _name(_GRID, [(NameOID.COMMON_NAME, "Alice", _UTF8)]),
    "printable": _name([(NameOID.COUNTRY_NAME, "CH", _PRINTABLE)], [(NameOID.COMMON_NAME, "Alice", _PRINTABLE)]),
    "utf8": _name(_GRID, [(NameOID.COMMON_NAME, "René Čapek", _UTF8)]),
    "bmp": _name(_GRID, [(NameOID.COMMON_NAME, "René", _BMP)]),
    "t61": _name(_GRID, [(NameOID.COMMON_NAME, "Rene", _T61)]),
    "dc": _name([(NameOID.DOMAIN_COMPONENT, "org", _IA5)], [(NameOID.USER_ID, "u", _UTF8)]),
    "email": _name(_GRID, [(NameOID.EMAIL_ADDRESS, "a@b.example", _IA5)], [(NameOID.COMMON_NAME, "X", _UTF8)]),
    "serial": _name(_GRID, [(NameOID.SERIAL_NUMBER, "12", _PRINTABLE)], [(NameOID.COMMON_NAME, "X", _UTF8)]),
    "unknown-type": _name(_GRID, [(x509.ObjectIdentifier("1.2.3.4.5"), "odd", _UTF8)]),
    "blanks": _name(_GRID, [(NameOID.COMMON_NAME, " lead  trail ", _UTF8)]),
    "control": _name(_GRID, [(NameOID.COMMON_NAME, "a\nb\x7f\x01", _UTF8)]),
    "hash": _name(_GRID, [(NameOID.COMMON_NAME, "#abc", _UTF8)]),
    "slash": _name(_GRID, [(NameOID.COMMON_NAME, "host/www.example.org", _UTF8)]),
    "specials": _name(_GRID, [(NameOID.COMMON_NAME, 'a,b+c"d\\e<f>g;h#i=j', _UTF8)]),
    "multi-valued": _name(_GRID, [(NameOID.COMMON_NAME, "Alice", _UTF8), (NameOID.USER_ID, "alice", _UTF8)]),
}
# Their one-line form depends on the OpenSSL that the C program was built with: 3.0.22 escapes `/` and `+`.
_OF_TWO_FORMS = {"slash", "specials", "multi-valued"}


@pytest.mark.parametrize("name", NAMES)
def test_names_print_the_same(grid: Grid, user: UserEnvironment, name: str) -> None:
    user.install_proxy(grid.cas["rsa2048"].issue(NAMES[name], "p256").proxy(key="p256"))
    for words in (["-identity"], ["-subject"], ["-issuer"], ["-rfc2253", "-issuer"], ["-rfc2253", "-subject"]):
        ours, theirs = _both("grid-proxy-info", words, user.variables)
        assert ours.returncode == theirs.returncode == 0, (ours, theirs)
        if name in _OF_TWO_FORMS and "-rfc2253" not in words:
            assert same_oneline(ours.stdout.strip(), theirs.stdout.strip()), (ours, theirs)
        else:
            assert ours.stdout == theirs.stdout
