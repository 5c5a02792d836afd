"""What myproxy-init and myproxy-logon have in common about VOMS attributes (--voms).

    lines = contact_lines(wishes)                                     # for the server to ask with
    proxy = add_attributes(prog, received, key, wishes, quiet=False)  # where it did not
    extensions = fetch_attributes(prog, signer, wishes, lifetime, quiet=False)

The C commands run voms-proxy-init for the last two; here they are done as that command does them: what a VO gives is
judged before anything is written. Imports late, as the commands do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from gsi.certificate import Extension
    from gsi.credential import Credential
    from gsi.keys import PrivateKey

__all__ = ["add_attributes", "check_wish", "contact_lines", "fetch_attributes", "has_attributes"]

MAX_LINES = 256
"""VOMSES lines of one request; the server takes no more."""


def check_wish(text: str) -> str:
    """Check the value of `--voms`; for `Section.value(convert=...)`.

    Raises:
        ValueError: With a message for the user.
    """
    from gsi.voms.wishes import parse_wish

    parse_wish(text)
    return text


def contact_lines(wishes: Sequence[str]) -> tuple[str, ...]:
    """Return what VOMS_USERCONF says about the VOs that are asked for, one line each; nothing where it is not set.

    Raises:
        GridError: A file cannot be read.
    """
    from gsi.system.environ import get_variable
    from gsi.system.vomsdir import find_vomses, read_vomses
    from gsi.voms.vomses import encode_vomses
    from gsi.voms.wishes import parse_wish

    places = get_variable("VOMS_USERCONF")
    if not places or not wishes:
        return ()
    entries = read_vomses([place for place in places.split(":") if place])
    wanted = dict.fromkeys(entry for wish in wishes for entry in find_vomses(entries, parse_wish(wish).name))
    return tuple(encode_vomses((entry,)).decode("utf-8").rstrip("\n") for entry in tuple(wanted)[:MAX_LINES])


def has_attributes(credential: Credential) -> bool:
    """Tell whether a proxy itself carries attribute certificates, whatever those above it do."""
    from gsi import oids

    return credential.certificate.find_extension(oids.VOMS_AC_SEQUENCE) is not None


def fetch_attributes(
    prog: str, holder: Credential, wishes: Sequence[str], lifetime: timedelta, *, quiet: bool
) -> tuple[Extension, ...]:
    """Ask the VOs, and return the extension for a proxy of the holder's; none where nothing is wished for.

    Args:
        prog: The command, for warnings.
        holder: Who asks.
        wishes: As `--voms` has them.
        lifetime: Of the attributes; zero for as long as the VOs give.
        quiet: Show only errors.

    Raises:
        GridError: They cannot be had, or are not believed.
    """
    if not wishes:
        return ()
    from gsi.cli.voms_fetch import Console, carriers, collect, plan
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.voms.wishes import parse_wish

    asked = [parse_wish(wish) for wish in wishes]
    questions = plan(asked, places=(), order=(), targets=(), lifetime=lifetime)
    console = Console(prog, quiet=quiet, ignore_warnings=False, fail_on_warnings=False)
    return carriers(collect(holder, TrustDirectory(read_locations().trust_dir), questions, console))


def add_attributes(
    prog: str, received: Credential, key: PrivateKey, wishes: Sequence[str], *, quiet: bool
) -> Credential:
    """Return a proxy below the received one, as long and as wide, with the attributes that the VOs give.

    Raises:
        GridError: They cannot be had or are not believed, or no such proxy can be made.
    """
    from datetime import timedelta

    from gsi.proxy.issue import ProxyOptions, make_proxy
    from gsi.system.clock import now

    extensions = fetch_attributes(prog, received, wishes, received.not_after - now(), quiet=quiet)
    return make_proxy(received, ProxyOptions(lifetime=timedelta(0), extensions=extensions), now=now(), key=key)
