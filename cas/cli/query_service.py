"""The command `query-cas-service`: fetch what the community asserts of somebody into a file, as in GT 4.1 and 4.2.

GT's resources asked so, over the OGSA authorization interface. Here one's own rights come as a signed SAML assertion;
the rights of somebody else come unsigned, in the text form of the first CAS, for whoever may ask about others.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options
from cas.cli.changing import print_version
from cas.cli.common import connect, word_parser, write_json
from gsi.cli.arguments import Completion
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "query-cas-service"
FORMS: Final = ("FILE",)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(
        PROG,
        "fetch what a community asserts of somebody",
        FORMS,
        "the file to write (mode 0600); - for the output",
        completion=Completion.FILE,
    )
    section = parser.section("What to ask for")
    section.value("-user", metavar="NICKNAME", text="the rights of somebody else, unsigned")
    section.value(
        "-b",
        dest="policyfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="ask for no more than what this policy request file says (else for everything)",
    )
    section.value("-saml", metavar="VERSION", choices=("1", "2"), default="1", text="which SAML: 1 (the default) or 2")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.common import read_request
    from cas.cli.words import Words
    from gsi.cli.arguments import UsageError
    from gsi.system.files import write_private

    words = Words(PROG, FORMS, arguments.words)
    path = words.take("FILE")
    words.end()
    if arguments.json and path == "-":
        raise UsageError("the output cannot be two things", hint="a FILE, or no -json")
    rights = read_request(arguments.policyfile)
    client = connect(arguments)
    if arguments.user:
        body = {"user": arguments.user} | ({} if rights is None else {"rights": rights})
        answer = client.call("POST", "/cas/v1/rights", body)
        text = _text(client, answer)
    else:
        given = client.capability(form=f"saml{arguments.saml}", rights=rights)
        text = given.text
        answer = {"id": given.identifier, "not_after": given.not_after.isoformat()}
    if path == "-":
        sys.stdout.write(f"{text}\n")
    else:
        write_private(path, f"{text}\n".encode())
    if arguments.json:
        write_json(answer)
    return EXIT_OK


def _text(client: CASClient, answer: Mapping[str, object]) -> str:
    """Return rights in the text form; how names compare is the namespaces' to say."""
    from cas.assertion.text import encode_rights
    from cas.assertion.value import Right
    from cas.cli.asking import objects, texts
    from cas.policy.changes import decode_entity
    from cas.policy.model import Kind
    from cas.policy.model import Namespace as Names
    from gsi.errors import DeniedError

    found: list[Right] = []
    for one in objects(answer.get("rights")):
        namespace, _, name = str(one.get("resource")).partition("|")
        entity = decode_entity(client.call("POST", "/cas/v1/get", {"name": [Kind.NAMESPACE, namespace]}).get("entity"))
        assert isinstance(entity, Names)
        pairs = [text.rpartition("/") for text in texts(one.get("actions"))]
        found += [
            Right(
                namespace,
                name,
                entity.comparison,
                service_type,
                tuple(action for of, _, action in pairs if of == service_type),
            )
            for service_type in dict.fromkeys(of for of, _, _ in pairs)
        ]
    if not found:
        raise DeniedError(f"{answer.get('user')} has none of the rights that were asked for")
    return encode_rights(found).rstrip(b"\0").decode("ascii").rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
