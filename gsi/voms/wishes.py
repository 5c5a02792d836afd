"""What a user wants of VOs, as text and as questions to their servers; asks nobody and reads no file.

    wish = parse_wish("testvo:/testvo/prod/Role=pilot")
    for question in make_questions(entries, [wish], lifetime=timedelta(hours=12)):
        question.servers, question.request

Imports nothing heavy at its head, for commands that only parse. Must agree with voms: src/client/contact.hpp and
src/common/fqan.cc, and with gct:myproxy/source/vomsclient.c (VONAME).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from gsi.voms.exchange import FetchRequest
    from gsi.voms.vomses import VOMSEntry

__all__ = ["Question", "Wish", "make_questions", "parse_fqan", "parse_wish", "plain_fqan"]


class Wish(NamedTuple):
    """One `-voms`: whom to ask, and for what."""

    name: str
    """The alias or VO, as the vomses files have it."""
    fqan: str | None
    """A group, a role of the VO alone (`/Role=r`), a group with a role, or `all`; None for what the VO gives."""


def parse_wish(text: str) -> Wish:
    """Return what `VO[:ATTRIBUTE]` asks for.

    Raises:
        ValueError: With a message for the user.
    """
    name, colon, attribute = text.partition(":")
    if not name or (colon and not attribute):
        raise ValueError(f"'{text}' is not VO or VO:ATTRIBUTE, such as vo:/vo/group/Role=pilot")
    if not colon:
        return Wish(name, None)
    if attribute.lower() == "all":
        return Wish(name, "all")
    return Wish(name, parse_fqan(attribute))


def parse_fqan(text: str) -> str:
    """Return an attribute to ask for: `/vo/group`, `/vo/group/Role=r`, `/Role=r`; `/vo/group:r` for the second, too.

    Raises:
        ValueError: With a message for the user.
    """
    group, colon, role = text.partition(":")
    fqan = f"{group}/Role={role}" if colon else text
    if "/Capability=" in fqan:
        fqan, _, capability = fqan.partition("/Capability=")
        if capability != "NULL":
            raise ValueError("capabilities cannot be asked for; leave out /Capability=...")
    fqan = fqan.removesuffix("/Role=NULL")
    if not fqan.startswith("/") or fqan.endswith(("/", "=")) or "," in fqan or " " in fqan:
        raise ValueError(f"'{text}' is no attribute, such as /vo/group or /vo/group/Role=pilot")
    return fqan


def plain_fqan(fqan: str) -> str:
    """Return an FQAN without the parts that say nothing, for comparing."""
    return fqan.partition("/Capability=")[0].removesuffix("/Role=NULL")


class Question(NamedTuple):
    """What is asked of one VO."""

    vo: str
    servers: tuple[VOMSEntry, ...]
    request: FetchRequest


def make_questions(
    entries: Sequence[VOMSEntry],
    wishes: Sequence[Wish],
    *,
    lifetime: timedelta,
    order: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> tuple[Question, ...]:
    """Bring wishes for the same VO together, in the order of their first, and find the servers.

    Args:
        entries: The servers that are known.
        wishes: What is wanted.
        lifetime: For how long; zero for as long as the servers give.
        order: FQANs that are to come first; each goes to its VO.
        targets: The only hosts to accept the certificates.

    Raises:
        NotFoundError: No server of a VO is known.
        ConfigError: An order for a VO that is not asked.
    """
    from gsi.voms.exchange import ALL, FetchRequest
    from gsi.voms.vomses import find_vomses

    servers: dict[str, tuple[VOMSEntry, ...]] = {}
    wanted: dict[str, list[str]] = {}
    for wish in wishes:
        found = find_vomses(entries, wish.name)
        if not found:
            raise NotFoundError(f"VOMS Server for {wish.name} not known!")
        vo = found[0].vo
        servers.setdefault(vo, tuple(entry for entry in found if entry.vo == vo))
        fqan = wish.fqan or f"/{vo}"
        if fqan.startswith("/Role="):
            fqan = f"/{vo}{fqan}"
        if fqan not in wanted.setdefault(vo, []):
            wanted[vo].append(fqan)
    strays = [fqan for fqan in order if fqan.split("/")[1] not in servers]
    if strays:
        raise ConfigError(f"-order {strays[0]}: this VO is not among those asked with -voms")
    return tuple(
        Question(
            vo,
            servers[vo],
            FetchRequest(
                vo,
                (ALL,) if ALL in fqans else tuple(fqans),
                lifetime,
                order=tuple(fqan for fqan in order if fqan.split("/")[1] == vo),
                targets=tuple(targets),
            ),
        )
        for vo, fqans in wanted.items()
    )
