"""The command `voms-proxy-info`: show a proxy with its VOMS attributes, or test it; `gsi.cli.voms_facts` judges.

Has the options, output lines (in a fixed order) and exit status of the C program (voms: src/utils/voms_proxy_info.cc),
and the options that only the Java one has. Unlike them, it shows attributes only when they are believed, and exits with
1 when any is not: the C program falls back to showing what it could not verify. It names the identity behind several
proxies and every limited proxy, counts the life of the whole chain, and gives the size of elliptic-curve keys.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion, count, duration
from gsi.cli.proxy_options import required_lifetime
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, report, run
from gsi.cli.voms_arguments import VOMSParser, add_conf, one_line
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.cli.voms_facts import Attributes, ProxyFacts

__all__ = ["build_parser", "main"]

PROG = "voms-proxy-info"

_OF_THE_PROXY = (
    (("-subject",), "the name in the proxy certificate"),
    (("-issuer",), "the name of its issuer"),
    (("-identity",), "the name of the person or service that the proxy stands for"),
    (("-type",), "form and kind of the proxy"),
    (("-strength",), "size of the key in bits"),
    (("-path", "-p"), "the path of the proxy file"),
    (("-timeleft",), "seconds until the first certificate of the chain expires"),
    (("-included", "-included-file"), "the file that was put into the proxy with voms-proxy-init -include"),
    (("-keyusage", "-k"), "what the key may be used for"),
    (("-text",), "the fields of the certificate"),
)
_OF_THE_ATTRIBUTES = (
    (("-vo",), "the VO"),
    (("-acsubject",), "the name of the holder"),
    (("-acissuer",), "the name of the server that signed"),
    (("-uri",), "host and port of that server"),
    (("-actimeleft",), "seconds until the attributes expire"),
    (("-fqan",), "the attributes, one on each line, the primary one first"),
    (("-serial",), "the serial number, in hexadecimal"),
    (("-targets",), "the hosts that alone may accept the attributes"),
)


def build_parser() -> VOMSParser:
    """Return the command's parser."""
    parser = VOMSParser(
        PROG,
        "show a proxy with its VOMS attributes",
        usage=("[-file FILE] [what to print]", "[-file FILE] -exists [-valid H:M] [-bits B]", "-acexists VO"),
    )
    files = parser.section("Which proxy")
    files.value("-file", metavar="FILE", completion=Completion.FILE, text="the proxy file")
    show = parser.section("What to print of the proxy (default: subject to time left, for people)")
    for names, text in _OF_THE_PROXY:
        show.flag(*names, text=text, append_to="show")
    show.flag("-all", text="everything about proxy and attributes, for people")
    show.flag("-chain", text="the certificates above the proxy, too, but no CA")
    show.flag("-json", text="print everything as one JSON object")
    attributes = parser.section("What to print of the attributes, for each VO")
    for names, text in _OF_THE_ATTRIBUTES:
        attributes.flag(*names, text=text, append_to="show")
    test = parser.section("Testing")
    test.flag("-exists", "-e", text="print nothing; exit 0 if there is a proxy that lasts and is strong enough, else 1")
    test.value("-valid", metavar="H:M", convert=duration, text="with -exists: it must last so many hours and minutes")
    test.value("-hours", metavar="H", convert=count, text="with -exists: the same in hours (deprecated)")
    test.value("-bits", "-b", metavar="B", convert=count, text="with -exists: its key must have at least B bits")
    test.value(
        "-acexists",
        metavar="VO",
        repeatable=True,
        text="print nothing; exit 0 if there are believable attributes of this VO, else 1; may be repeated",
    )
    trust = parser.section("Trust")
    trust.flag("-dont-verify-ac", "-dont_verify_ac", text="show attributes without asking whether to believe them")
    trust.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    trust.value(
        "-vomsdir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the directory of trusted VOMS servers (LSC files)",
    )
    how = parser.section("How it runs")
    add_conf(how)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    required = required_lifetime(PROG, arguments)
    from gsi.cli.voms_facts import gather
    from gsi.system.environ import get_variable, read_locations

    locations = read_locations()
    facts = gather(
        arguments.file or locations.proxy,
        certdir=arguments.certdir or locations.trust_dir,
        vomsdir=arguments.vomsdir,
        verify=not arguments.dont_verify_ac and get_variable("VOMS_PROXY_INFO_DONT_VERIFY_AC") is None,
    )
    if arguments.json:
        _print_json(facts)
    else:
        sys.stdout.write("".join(_text(arguments, facts)))
    _report_refused(arguments, facts)
    good = not facts.refused
    if arguments.exists:
        good = good and facts.left.total_seconds() > 0 and facts.left >= required
        good = good and facts.strength >= (arguments.bits or 0)
    return EXIT_OK if good and _has_what_was_asked_for(arguments, facts) else EXIT_ERROR


def _report_refused(arguments: Namespace, facts: ProxyFacts) -> None:
    """Say on standard error what is not shown, and why not."""
    sys.stdout.flush()
    for refused in facts.refused:
        where = f"attributes of {refused.authority}" if refused.authority else "attributes"
        message = refused.error.message.removeprefix("attribute certificate: ")
        error = GridError(
            f"{where}: not believed: {message}",
            hint=refused.error.hint or "-dont-verify-ac shows them all the same",
        )
        report(PROG, error, debug=arguments.debug)


def _has_what_was_asked_for(arguments: Namespace, facts: ProxyFacts) -> bool:
    """Tell whether there are attributes where some were asked for, and of each VO that was named."""
    asked = {names[0].lstrip("-") for names, _ in _OF_THE_ATTRIBUTES} & set(arguments.show)
    if asked and not facts.believed:
        if not facts.refused:
            sys.stderr.write(f"{PROG}: there are no VOMS attributes in this proxy\n")
        return False
    return set(arguments.acexists) <= {one.authority.vo for one in facts.believed}


# --- text -------------------------------------------------------------------------------------------------------------


def _text(arguments: Namespace, facts: ProxyFacts) -> Iterator[str]:
    """Give the text to print, in the order of the C program, whatever that of the options."""
    from gsi.cli.voms_facts import proxy_type

    shown = set(arguments.show)
    tests = arguments.exists or arguments.acexists
    for_people = arguments.all or "text" in shown or not (shown or tests)
    if arguments.chain and facts.chain.proxies:
        yield from _chain(facts, with_usage=arguments.all or "keyusage" in shown)
    if for_people:
        yield from _proxy_for_people(facts, with_usage=arguments.all or not shown.isdisjoint({"text", "keyusage"}))
    if arguments.all:
        for one in facts.believed:
            yield from _attributes_for_people(one, facts.now)
    if "subject" in shown:
        yield f"{_subject(facts.leaf)}\n"
    if "issuer" in shown:
        yield f"{_issuer(facts.leaf)}\n"
    if "identity" in shown:
        yield f"{facts.chain.identity_text}\n"
    if "type" in shown:
        yield f"{proxy_type(next(iter(facts.chain.classifications), None))}\n"
    if "strength" in shown:
        yield f"{facts.strength}\n"
    if "path" in shown:
        yield f"{facts.path}\n"
    if "timeleft" in shown:
        yield f"{_seconds(facts.left)}\n"
    if "included" in shown and facts.included is not None:
        yield f"included  : {_included(facts.included)}\n"
    if "keyusage" in shown and not for_people:
        yield f"key usage : {_key_usage(facts.leaf)}\n"
    if "text" in shown:
        from gsi.cli.certificate_text import certificate_text

        for certificate in (facts.leaf, *(reversed(_above(facts)) if arguments.chain else ())):
            yield certificate_text(certificate)
    for one in facts.believed:
        yield from _attributes(one, facts.now, shown)


def _subject(certificate: Certificate) -> str:
    from gsi import names

    return names.oneline(certificate.subject_der)


def _issuer(certificate: Certificate) -> str:
    from gsi import names

    return names.oneline(certificate.issuer_der)


def _above(facts: ProxyFacts) -> list[Certificate]:
    """Return the certificates above the proxy, the nearest first, without the CAs."""
    return [*facts.chain.proxies, facts.chain.eec][1:]


def _chain(facts: ProxyFacts, *, with_usage: bool) -> Iterator[str]:
    from gsi.cli.voms_facts import proxy_type
    from gsi.keys import key_bits

    yield "=== Proxy Chain Information ===\n"
    kinds = [*facts.chain.classifications, None][1:]
    for certificate, kind in reversed([*zip(_above(facts), kinds, strict=True)]):
        yield f"subject   : {_subject(certificate)}\nissuer    : {_issuer(certificate)}\n"
        if kind is not None:
            yield f"type      : {proxy_type(kind)}\n"
        if with_usage:
            yield f"key usage : {_key_usage(certificate)}\n"
        yield f"strength  : {key_bits(certificate.public_key())} bits\n"
        yield f"timeleft  : {_clock(certificate.not_after - facts.now)}\n\n"
    yield "=== Proxy Information ===\n"


def _proxy_for_people(facts: ProxyFacts, *, with_usage: bool) -> Iterator[str]:
    from gsi.cli.voms_facts import proxy_type

    yield (
        f"subject   : {_subject(facts.leaf)}\n"
        f"issuer    : {_issuer(facts.leaf)}\n"
        f"identity  : {facts.chain.identity_text}\n"
        f"type      : {proxy_type(next(iter(facts.chain.classifications), None))}\n"
        f"strength  : {facts.strength} bits\n"
        f"path      : {facts.path}\n"
        f"timeleft  : {_clock(facts.left)}\n"
    )
    if facts.included is not None:
        yield f"included  : {_included(facts.included)}\n"
    if with_usage:
        yield f"key usage : {_key_usage(facts.leaf)}\n"


def _attributes_for_people(one: Attributes, now: datetime) -> Iterator[str]:
    yield f"=== VO {one.authority.vo} extension information ===\n"
    if not one.is_verified:
        yield "verified  : no\n"
    yield f"VO        : {one.authority.vo}\nsubject   : {one.holder}\nissuer    : {one.issuer}\n"
    for fqan in one.certificate.info.fqans:
        yield f"attribute : {one_line(fqan)}\n"
    for tags in one.tags:
        for tag in tags.tags:
            qualifier = f" ({tag.qualifier})" if tag.qualifier else ""
            yield f"attribute : {one_line(f'{tag.name} = {tag.value}{qualifier}')}\n"
    yield f"timeleft  : {_clock(one.certificate.info.not_after - now)}\n"
    for target in one.targets:
        yield f"target    : {one_line(target)}\n"
    yield f"uri       : {one.uri}\n"


def _attributes(one: Attributes, now: datetime, shown: set[str]) -> Iterator[str]:
    info = one.certificate.info
    if "vo" in shown:
        yield f"{one.authority.vo}\n"
    if "acsubject" in shown:
        yield f"{one.holder}\n"
    if "acissuer" in shown:
        yield f"{one.issuer}\n"
    if "uri" in shown:
        yield f"{one.uri}\n"
    if "actimeleft" in shown:
        yield f"{_seconds(info.not_after - now)}\n"
    if "fqan" in shown:
        yield from (f"{one_line(fqan)}\n" for fqan in info.fqans)
    if "serial" in shown:
        yield f"{one.serial}\n"
    if "targets" in shown:
        yield from (f"target    : {one_line(target)}\n" for target in one.targets)


def _seconds(left: timedelta) -> int:
    """Whole seconds; 0 when the end is past, as in C."""
    return max(0, left.days * 86400 + left.seconds)


def _clock(left: timedelta) -> str:
    seconds = _seconds(left)
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def _included(content: bytes) -> str:
    return printable(content.decode("utf-8", "backslashreplace"))


def _key_usage(certificate: Certificate) -> str:
    """Return the names of the key usages, in OpenSSL's words."""
    from gsi.errors import ParseError
    from gsi.proxy.chain import key_usage_bits

    words = (
        "Digital Signature",
        "Non Repudiation",
        "Key Encipherment",
        "Data Encipherment",
        "Key Agreement",
        "Certificate Sign",
        "CRL Sign",
        "Encipher Only",
        "Decipher Only",
    )
    try:
        usage = key_usage_bits(certificate) or 0
    except ParseError:
        return "malformed"
    return ", ".join(word for bit, word in enumerate(words) if usage & 1 << bit)


# --- JSON -------------------------------------------------------------------------------------------------------------


def _print_json(facts: ProxyFacts) -> None:
    import json

    chain = facts.chain
    found = {
        "subject": _subject(facts.leaf),
        "issuer": _issuer(facts.leaf),
        "identity": chain.identity_text,
        "type": chain.type_text,
        "format": chain.format,
        "kind": chain.leaf_kind,
        "limited": chain.is_limited,
        "strength": facts.strength,
        "path": facts.path,
        "timeleft": _seconds(facts.left),
        "not_before": _iso(facts.leaf.not_before),
        "not_after": _iso(chain.not_after),
        "key_usage": _key_usage(facts.leaf),
        "attributes": [_attributes_as_json(one, facts.now) for one in facts.believed],
        "refused": [
            {
                "authority": refused.authority,
                "error": refused.error.message,
                "problem": getattr(refused.error, "problem", None) or refused.error.slug,
            }
            for refused in facts.refused
        ],
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _attributes_as_json(one: Attributes, now: datetime) -> dict[str, object]:
    info = one.certificate.info
    return {
        "vo": one.authority.vo,
        "uri": one.uri,
        "subject": one.holder,
        "issuer": one.issuer,
        "serial": one.serial,
        "fqans": list(info.fqans),
        "tags": [
            {"name": tag.name, "value": tag.value, "qualifier": tag.qualifier} for tags in one.tags for tag in tags.tags
        ],
        "targets": list(one.targets),
        "not_before": _iso(info.not_before),
        "not_after": _iso(info.not_after),
        "timeleft": _seconds(info.not_after - now),
        "verified": one.is_verified,
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
