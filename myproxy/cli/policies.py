"""The options by which an owner says who may have a credential; what they come to on the server is `myproxy.policy`'s.

add_policy_options(parser.section("Who may have it"), keys=True)
policies = read_policies(arguments.given)           # {"retriever": "*/CN=alice", ...}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Section

__all__ = ["add_policy_options", "read_policies"]


def add_policy_options(who: Section, *, keys: bool = False) -> None:
    """Add the options, with that for the key itself where a key is stored."""
    who.flag(
        "-a",
        "--allow_anonymous_retrievers",
        dest="allow_anonymous_retrievers",
        text="anyone with the pass phrase may retrieve it",
    )
    who.value(
        "-r", "--retrievable_by", dest="retrievable_by", metavar="NAME", text="who may retrieve with the pass phrase"
    )
    who.value(
        "-Z",
        "--retrievable_by_cert",
        dest="retrievable_by_cert",
        metavar="NAME",
        text="who may retrieve without a pass phrase; none is set then",
    )
    who.flag(
        "-A",
        "--allow_anonymous_renewers",
        dest="allow_anonymous_renewers",
        text="anyone who has it may renew it (not recommended); no pass phrase is set then",
    )
    who.value(
        "-R", "--renewable_by", dest="renewable_by", metavar="NAME", text="who may renew it; no pass phrase is set then"
    )
    who.flag(
        "-x",
        "--regex_dn_match",
        dest="regex_dn_match",
        text="the names in the options that follow are patterns of whole subjects",
    )
    who.flag(
        "-X",
        "--match_cn_only",
        dest="match_cn_only",
        text="they are common names (the default)",
    )
    if keys:
        who.value("-E", "--retrieve_key", dest="retrieve_key", metavar="NAME", text="who may retrieve the key itself")


def read_policies(given: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """Turn the policy options, in their order, into what the server is told.

    The keys are `retriever`, `renewer`, `trusted` and `key`; a policy that is not given has none. A name becomes
    `*/CN=<name>` unless -x came before it (gct:myproxy/source/myproxy_init.c).

    Raises:
        UsageError: Two options for one policy.
    """
    policies: dict[str, str] = {}
    options = {
        "allow_anonymous_retrievers": ("retriever", "-a or -r"),
        "retrievable_by": ("retriever", "-a or -r"),
        "allow_anonymous_renewers": ("renewer", "-A or -R"),
        "renewable_by": ("renewer", "-A or -R"),
        "retrievable_by_cert": ("trusted", "-Z"),
        "retrieve_key": ("key", "-E"),
    }
    is_pattern = False
    for name, value in given:
        if name in ("regex_dn_match", "match_cn_only"):
            is_pattern = name == "regex_dn_match"
        elif name in options:
            policy, letters = options[name]
            if policy in policies:
                raise UsageError(f"Only one {letters} option may be specified.")
            policies[policy] = "*" if value is None else value if is_pattern else f"*/CN={value}"
    return policies
