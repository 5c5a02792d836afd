"""Proxies that other programs have made, never edited; certs-test/README.md tells how each was made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from builder.certificates import Facts
from builder.model import accept, refuse
from builder.world import ALICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case, Option

__all__ = ["cases"]

_HERE: Final = Path(__file__).resolve().parents[2]
_GCT: Final = ("grid-proxy-init", "7.3 (Debian 12, globus-proxy-utils 7.3-2)")
_MYPROXY: Final = ("myproxy-logon", "6.2.14 (Debian 12, myproxy 6.2.14-2+b2), from myproxy-server of the same version")
_VOMS: Final = ("voms-proxy-init", "3.3.2 (Debian 12, voms-clients-java 3.3.2-2)")
_OPENSSL: Final = ("openssl x509", "3.0.22")
_SIGNER: Final = "-cert alice.pem -key alice.key"
_LONG: Final = "grid-proxy-init -q -valid 140000:0"
_FORMS: Final = {"gt3": "draft-ietf-pkix-proxy (GT3)", "gt2": "Globus legacy proxies (GT2)"}
_GT3: Final[dict[str, Option]] = {"accept_gt3": True}
_GT2: Final[dict[str, Option]] = {"accept_gt2": True}


class _Captured(NamedTuple):
    name: str
    tool: tuple[str, str]
    command: str
    description: str
    kinds: tuple[str, ...]
    end: str
    form: str = "rfc3820"
    depth_left: int | None = None
    identity: str = ALICE_NAME
    reason: str | None = None
    position: int = 0


def _gct(name: str, options: str, description: str, kinds: tuple[str, ...], second: int, **more: object) -> _Captured:
    command = f"{_LONG} {options} -out {name}.pem"
    end = f"2042-11-10 14:19:{second}"
    return _Captured(f"grid-proxy-init-{name}", _GCT, command, description, kinds, end, **more)  # type: ignore[arg-type]  # as in the table below


def _under(name: str) -> str:
    return f"-cert {name}.pem -key {name}.pem"


_TABLE: Final = (
    _gct("full", _SIGNER, "A full proxy.", ("full",), 20),
    _gct("limited", f"{_SIGNER} -limited", "A limited proxy.", ("limited",), 20),
    _gct(
        "independent", f"{_SIGNER} -independent", "An independent proxy.", ("independent",), 21,
        identity=f"{ALICE_NAME}/CN=1876374379",
    ),
    _gct("path-length-1", f"{_SIGNER} -path-length 1", "A full proxy with path length 1.", ("full",), 21, depth_left=1),
    _gct(
        "path-length-0", f"{_SIGNER} -path-length 0",
        "Path length 0 was asked for; the program writes no constraint at all.", ("full",), 23,
    ),
    _gct(
        "restricted", f"{_SIGNER} -policy policy.txt -pl 1.2.3.4",
        "A restricted proxy, language 1.2.3.4, policy `hello`.", ("restricted",), 21, reason="proxy-restriction",
    ),
    _gct("bits-1024", f"{_SIGNER} -bits 1024", "A full proxy of 1024 bits.", ("full",), 23, reason="weak-key"),
    _gct("full-full", _under("full"), "A full proxy below a full one.", ("full", "full"), 20),
    _gct("full-limited", f"{_under('full')} -limited", "Limited below full.", ("limited", "full"), 20),
    _gct("limited-limited", _under("limited"), "Limited below limited, unasked.", ("limited", "limited"), 20),
    _gct(
        "independent-below", _under("independent"), "Independent below independent, unasked.",
        ("independent", "independent"), 21, identity=f"{ALICE_NAME}/CN=1876374379/CN=1924394638",
    ),
    _gct(
        "restricted-below", _under("restricted"), "Below the restricted one, unasked: a full proxy.",
        ("full", "restricted"), 21, reason="proxy-restriction", position=1,
    ),
    _gct(
        "path-length-1-full", _under("path-length-1"), "One below path length 1.", ("full", "full"), 21, depth_left=0
    ),
    _gct(
        "path-length-1-two", _under("path-length-1-full"),
        "Two below path length 1: the program makes it without a word.", ("full", "full", "full"), 21,
        reason="proxy-path-length",
    ),
    _gct("draft", f"{_SIGNER} -draft", "A full proxy of the draft's form.", ("full",), 21, form="gt3"),
    _gct("draft-limited", f"{_SIGNER} -draft -limited", "Limited, of the draft's form.", ("limited",), 22, form="gt3"),
    _gct(
        "draft-path-length-1", f"{_SIGNER} -draft -path-length 1", "Path length 1, of the draft's form.", ("full",), 22,
        form="gt3", depth_left=1,
    ),
    _gct("draft-draft", _under("draft"), "Full below full, of the draft's form.", ("full", "full"), 21, form="gt3"),
    _gct("old", f"{_SIGNER} -old", "A full proxy of the legacy form.", ("full",), 22, form="gt2"),
    _gct("old-limited", f"{_SIGNER} -old -limited", "Limited, of the legacy form.", ("limited",), 22, form="gt2"),
    _gct("old-old", _under("old"), "Full below full, of the legacy form.", ("full", "full"), 22, form="gt2"),
    _Captured(
        "myproxy-logon", _MYPROXY,
        "myproxy-init -S -l alice -c 140000 -t 139000; myproxy-logon -S -l alice -t 139000 -o myproxy-logon.pem",
        "Delegated twice: to the server, and by it.", ("full", "full", "full"), "2042-09-29 22:20:04",
    ),
    _Captured(
        "voms-proxy-init-full", _VOMS,
        f"voms-proxy-init {_SIGNER} --valid 140000:0 --rfc --out voms-proxy-init-full.pem",
        "A full proxy by the Java client.", ("full",), "2042-11-10 14:20:06",
    ),
    _Captured(
        "voms-proxy-init-limited", _VOMS,
        f"voms-proxy-init {_SIGNER} --valid 140000:0 --rfc --limited --out voms-proxy-init-limited.pem",
        "A limited proxy by the Java client.", ("limited",), "2042-11-10 14:20:07",
    ),
    _Captured(
        "openssl-x509", _OPENSSL,
        "openssl x509 -req -in proxy.csr -CA alice.pem -CAkey alice.key -days 5800 -set_serial 42 -extfile proxy.ext",
        "A full proxy with path length 3 by OpenSSL, its common name a word.", ("full",), "2042-10-08 06:20:09",
        depth_left=3,
    ),
)  # fmt: skip


def _spec(one: _Captured) -> tuple[str, ...]:
    """Return where it is written what a proxy of this form and these kinds must come to."""
    if one.form != "rfc3820":
        found = [_FORMS[one.form]]
    elif one.reason == "weak-key":
        found = ["NIST SP 800-131A s. 3"]
    elif one.depth_left is not None or one.reason == "proxy-path-length":
        found = ["RFC 3820 s. 3.8.1", "RFC 3820 s. 4.1.3 (b) (1)", "RFC 3820 s. 4.1.4 (a)"]
    elif one.reason == "proxy-restriction":
        found = ["RFC 3820 s. 4.1.3 (b) (2)", "RFC 3820 s. 3.8.2"]
    else:
        found = ["RFC 3820 s. 4.1", "RFC 3820 s. 3.8.2"]
    return (*found, *(["Globus limited proxies"] if "limited" in one.kinds else []))


def cases() -> Iterator[Case]:
    """Yield one case for each file."""
    for one in _TABLE:
        path = f"captured/{one.name}.pem"
        content = (_HERE / path).read_bytes()
        tool, version = one.tool
        options = {"gt3": _GT3, "gt2": _GT2}.get(one.form)
        features = ["captured", *([one.form] if one.form != "rfc3820" else [])]
        features += ["limited"] if "limited" in one.kinds else []
        features += ["rsa-minimum"] if one.reason == "weak-key" else []
        spec = _spec(one)
        if one.reason is None:
            end = datetime.strptime(one.end, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            facts = Facts(one.identity, end, one.kinds, one.form, one.depth_left)
            case = accept(
                f"captured::{one.name}", one.description, content, facts=facts, spec=spec,
                options=options, features=features, key=path,
            )  # fmt: skip
        else:
            case = refuse(
                f"captured::{one.name}", one.description, content, one.reason, one.position,
                spec=spec, options=options, features=features, key=path,
            )  # fmt: skip
        yield replace(case, captured={"file": path, "made_by": tool, "version": version, "command": one.command})
