"""The command `cas-proxy-init`: fetch a capability and put it into a new proxy; the server decides what it grants.

As in GT 3.2 to 4.2; with further options for SAML 2.0, attribute certificates beside the assertion, and audiences.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.common import add_output_options, add_service_options, find_output, load_credential, make_client
from gsi.cli.arguments import CommandParser, Completion, UsageError, count
from gsi.cli.run import EXIT_OK, printable, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.client import CASClient, Given
    from gsi.certificate import Extension
    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential

__all__ = ["build_parser", "main"]

PROG: Final = "cas-proxy-init"
MAX_HOURS: Final = 24 * 366


def _hours(text: str) -> int:
    return count(text, maximum=MAX_HOURS)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "make a proxy that carries a community's capability")
    what = parser.section("What to ask for")
    what.value(
        "-f",
        "-b",
        dest="policyfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="ask for no more than what this policy request file says (else for everything)",
    )
    what.value("-l", dest="hours", metavar="HOURS", convert=_hours, text="for how long (0: the server's default)")
    what.value("-saml", metavar="VERSION", choices=("1", "2"), default="1", text="the version of the assertion (1)")
    what.flag("-groups", text="have groups and roles in the assertion, too")
    what.value("-audience", metavar="HOST", repeatable=True, text="make it good for this host only; may be repeated")
    what.flag("-bind", text="have the assertion name your certificate as the key that must be held")
    what.flag("-ac", text="put a VOMS attribute certificate beside the assertion")
    what.value("-fqan", metavar="FQAN", repeatable=True, text="with -ac or -groups, these groups and roles")
    what.flag("-legacy", text="carry the assertion as GT 3 and 4.0 did, too (OID ending in 9)")
    add_output_options(parser.section("Where to put it"))
    add_service_options(parser.section("Which server"))
    how = parser.section("How it runs")
    how.flag("-quiet", "-q", text="print only errors")
    how.flag("-v", dest="verbose", text="show what was granted")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from cas.assertion.embed import MAX_SAFE_CHAIN_BYTES, embed
    from cas.cli.common import read_request
    from gsi.cli.user_credential import check_out
    from gsi.proxy.issue import ProxyOptions
    from gsi.system import clock
    from gsi.system.credential_files import save_proxy

    if arguments.fqan and not (arguments.ac or arguments.groups):
        raise UsageError("-fqan goes with -ac or -groups")
    if arguments.policyfile and arguments.ac:
        raise UsageError(
            "-f with -ac: an attribute certificate says groups and roles, with all that they may do",
            hint="make a proxy with one or the other",
        )
    out = find_output(arguments)
    check_out(out, option="-w")
    rights = read_request(arguments.policyfile)
    credential = load_credential(arguments)
    if rights is not None:
        _check_carries_nothing(credential)
    client = make_client(arguments, credential)
    given, extensions = _fetch(client, arguments, rights)
    now = clock.now()
    lifetime = min(one.not_after for one in given) - now
    proxy = embed(credential, extensions, ProxyOptions(lifetime=lifetime), now=now)
    until = min(one.not_after for one in proxy.certificates)
    save_proxy(out, proxy)
    size = sum(len(one.der) for one in proxy.certificates)
    if size > MAX_SAFE_CHAIN_BYTES:
        warn(PROG, f"a chain of {size} bytes, which old services may refuse", hint="ask for less with -f FILE")
    if arguments.verbose:
        _show(given)
    if not arguments.quiet:
        sys.stdout.write(f"Wrote {printable(out)}, until {until:%Y-%m-%d %H:%M:%S} UTC\n")
    return EXIT_OK


def _check_carries_nothing(credential: Credential) -> None:
    """Check that a narrow proxy is not made below one that has capabilities: they stay in the chain.

    Raises:
        ConfigError: It would be.
    """
    from gsi import oids
    from gsi.errors import ConfigError
    from gsi.saml.carriers import find_assertions

    chain = credential.certificates
    attributes = any(one.oid == oids.VOMS_AC_SEQUENCE for certificate in chain for one in certificate.extensions)
    if attributes or find_assertions(chain, accept_gt3=True):
        raise ConfigError(
            "-f: the proxy to ask with carries capabilities already, which services would find besides",
            hint="ask with a plain proxy: -x FILE, or X509_USER_PROXY",
        )


def _fetch(
    client: CASClient, arguments: Namespace, rights: list[dict[str, object]] | None
) -> tuple[list[Given], list[Extension]]:
    import base64
    import binascii

    from cas.assertion.embed import assertion_extension, attribute_extension, legacy_assertion_extension
    from gsi.errors import RemoteProtocolError
    from gsi.voms.attribute_cert import AttributeCertificate

    lifetime = None if arguments.hours is None else arguments.hours * 3600
    common: dict[str, object] = {"audience": arguments.audience or None, "lifetime": lifetime}
    fqans = list(arguments.fqan) or None
    assertion = client.capability(
        form=f"saml{arguments.saml}",
        rights=rights,
        groups=True if arguments.groups else None,
        fqans=fqans if arguments.groups else None,
        bind_key=True if arguments.bind else None,
        **common,
    )
    xml = assertion.text.encode("utf-8")
    given, extensions = [assertion], [assertion_extension(xml)]
    if arguments.legacy:
        extensions.append(legacy_assertion_extension(xml))
    if arguments.ac:
        attributes = client.capability(form="attribute-certificate", fqans=fqans, **common)
        try:
            der = base64.b64decode(attributes.text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RemoteProtocolError("the answer of the server: no attribute certificate") from error
        given.append(attributes)
        extensions.append(attribute_extension([AttributeCertificate.parse(der)]))
    return given, extensions


def _show(given: Sequence[Given]) -> None:
    for one in given:
        for resource, actions in one.rights:
            sys.stdout.write(f"{printable(resource)}: {printable(', '.join(actions))}\n")
        for fqan in one.fqans:
            sys.stdout.write(f"{printable(fqan)}\n")


if __name__ == "__main__":
    sys.exit(main())
