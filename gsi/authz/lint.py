"""Finding what is wrong with policy files beyond what cannot be read: bans that cannot win, rules that mean too much.

    findings = lint_policy("/etc/grid-security/gsi-authz.d/gridftp.toml")

What cannot be read is one finding, since nothing of such a file is in force.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.authz.ban import BanListAuthorizer
from gsi.authz.callout.config import DEFAULT_CONFIG, CalloutConfig, load_config, policy_path
from gsi.authz.calloutconf import Finding, Severity
from gsi.authz.combine import Combining
from gsi.authz.decision import Effect
from gsi.authz.policy import Chain, Member
from gsi.authz.policyfile import load_policy
from gsi.authz.principals import skeleton_text
from gsi.authz.registry import Place
from gsi.authz.rsl.rules import RslAuthorizer
from gsi.authz.rules import RulesAuthorizer
from gsi.errors import ConfigError, GridError
from gsi.names import oneline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gsi.authz.policyfile import LoadedPolicy
    from gsi.authz.rulefile import Rule

__all__ = ["lint_policy"]

_COMMON: Final = frozenset({"file", "http", "job", "login"})
"""Types of services that decide nothing by themselves; others may leave everything to their own directives."""


def lint_policy(path: str) -> list[Finding]:
    """Return everything that is wrong with a policy file and the files it names."""
    try:
        loaded = load_policy(Place(path))
    except ConfigError as error:
        message = error.message
        for place in (f"{error.path}:{error.line}: ", f"{error.path}: "):
            message = message.removeprefix(place)
        what = f"{message}; the policy cannot be used, and a service without one refuses everybody"
        return [Finding(Severity.BROKEN, error.path or path, error.line, what, error.hint or "")]
    found = list(_lint_bans(path, loaded, loaded.policy.root))
    found += [Finding(Severity.NOTE, path, None, problem) for problem in loaded.problems]
    for member in loaded.policy.root.walk():
        if isinstance(member.authorizer, RulesAuthorizer):
            found += _lint_rules(member.authorizer)
    found += _lint_groups(path, loaded)
    found += _lint_capabilities(loaded)
    if is_for_c_services(path):
        found += _lint_addresses(loaded)
    if loaded.policy.allow_root:
        message = "allow_root: whoever a rule or map makes root is root"
        found.append(Finding(Severity.NOTE, path, None, message, "leave it off"))
    return found


def _lint_bans(path: str, loaded: LoadedPolicy, chain: Chain) -> Iterator[Finding]:
    """Yield the ban lists that something can permit past."""
    for index, member in enumerate(chain.members):
        if isinstance(member, Chain):
            yield from _lint_bans(path, loaded, member)
        if not _has_ban(loaded, member):
            continue
        name = member.name if isinstance(member, Chain) else member.authorizer.name
        if chain.combining is Combining.PERMIT_OVERRIDES and len(chain.members) > 1:
            message = f"in the permit-overrides chain {chain.name!r} a permit goes before the bans of {name!r}"
            yield Finding(Severity.HOLE, path, None, message, "put it outside, into a chain with deny-overrides")
        elif chain.combining is Combining.FIRST_APPLICABLE and index > 0:
            before = ", ".join(m.name if isinstance(m, Chain) else m.authorizer.name for m in chain.members[:index])
            message = f"in the chain {chain.name!r} the bans of {name!r} come behind {before}, whose permit is final"
            yield Finding(Severity.HOLE, path, None, message, "put it first")


def is_for_c_services(path: str) -> bool:
    """Say whether gsi-authz-server asks a policy: by its configuration, or by the usual names where there is none."""
    try:
        served = load_config(DEFAULT_CONFIG).policies(every=True)
    except GridError:
        served = CalloutConfig().policies(every=True)
    return os.path.realpath(path) in {os.path.realpath(policy_path(policy)) for policy in served} or (
        os.path.basename(path).removesuffix(".toml") in served
    )


def _lint_addresses(loaded: LoadedPolicy) -> Iterator[Finding]:
    """Yield what speaks of clients' addresses, which the C services do not tell."""
    for member in loaded.policy.root.walk():
        authorizer = member.authorizer
        if isinstance(authorizer, BanListAuthorizer):
            for ban in authorizer.address_bans:
                message = "GridFTP and GRAM do not tell the client's address: this bans nobody who logs in there"
                yield Finding(
                    Severity.HOLE, authorizer.path, ban.line, message, "ban the name, or have a firewall do it"
                )
        elif isinstance(authorizer, RulesAuthorizer):
            yield from _lint_networks(authorizer.path, authorizer.rules)
        elif isinstance(authorizer, RslAuthorizer):
            yield from _lint_networks(authorizer.path, (each.rule for each in authorizer.rules))


def _lint_groups(path: str, loaded: LoadedPolicy) -> Iterator[Finding]:
    """Yield the groups of tokens that no issuer may speak of, and issuers that may speak of none."""
    settings = [built.settings for built in loaded.built.values() if built.kind == "tokens"]
    if not settings:
        return
    from gsi.authz.token_source import TokenSettings

    issuers = [one for each in settings if isinstance(each, TokenSettings) for one in each.issuers.values()]
    own = {group for issuer in issuers for group in issuer.groups}
    for name, built in loaded.built.items():
        if built.kind == "ldap" and str(getattr(built.settings, "prefix", "")).startswith("/"):
            message = f"the groups of the directory {name!r} are called as those of tokens: one can stand for another"
            yield Finding(Severity.NOTE, path, None, message, "a prefix that does not begin with a slash")
    silent = ", ".join(issuer.url for issuer in issuers if not issuer.groups)
    for where, line, group, denies in _named_groups(loaded):
        if not group.startswith("/"):  # no token's
            continue
        if any(_may_hold(*(map(skeleton_text, (group, each)) if denies else (group, each))) for each in own):
            continue
        message = f"no issuer of tokens may speak of the group {group}: no token puts anybody into it"
        fix = f"groups of its issuer in {path}" + f" ({silent} has none)" * bool(silent)
        if denies:
            yield Finding(Severity.HOLE, where, line, f"{message}, so this denies nobody who shows one", fix)
        else:
            yield Finding(Severity.NOTE, where, line, message, fix)


def _lint_capabilities(loaded: LoadedPolicy) -> Iterator[Finding]:
    """Yield the bans that stand where nothing is seen of what communities' capabilities name, and of who signs them."""
    communities = {name: built.settings for name, built in loaded.built.items() if built.kind == "cas"}
    blind = [name for name, settings in communities.items() if not _own_bans(settings)]
    listed = {file for settings in communities.values() for file in [_own_bans(settings)] if file}
    for member in loaded.policy.root.walk():
        authorizer = member.authorizer
        if not communities or not isinstance(authorizer, BanListAuthorizer):
            continue
        settings = loaded.built[authorizer.name].settings if authorizer.name in loaded.built else None
        unseen = blind if getattr(settings, "file", None) in listed else list(communities)
        for ban in authorizer.capability_bans if unseen else ():
            what = f"{', '.join(unseen)} does not see it: whose capability names it, or is signed by it, is not banned"
            fix = f"the same file as bans of {', '.join(unseen)}"
            yield Finding(Severity.HOLE, authorizer.path, ban.line, f"a ban of a {ban.kind}, and {what}", fix)


def _own_bans(settings: object) -> str:
    return str(getattr(settings, "bans", ""))


def _may_hold(text: str, own: str) -> bool:
    """Say whether a rule's group, which may be a glob, can be one that an issuer speaks of."""
    head, star, _ = text.partition("*")
    return text == own or text.startswith(f"{own}/") or (bool(star) and f"{own}/".startswith(head))


def _named_groups(loaded: LoadedPolicy) -> Iterator[tuple[str, int, str, bool]]:
    """Yield the groups that rules and bans name: file, line, group, and whether it denies."""
    for member in loaded.policy.root.walk():
        authorizer = member.authorizer
        if isinstance(authorizer, BanListAuthorizer):
            yield from ((authorizer.path, ban.line, ban.text, True) for ban in authorizer.group_bans)
        elif isinstance(authorizer, RulesAuthorizer | RslAuthorizer):
            rules = authorizer.rules if isinstance(authorizer, RulesAuthorizer) else [r.rule for r in authorizer.rules]
            for rule in rules:
                denies = rule.effect is Effect.DENY
                yield from ((authorizer.path, rule.line, group, denies) for group in rule.groups)


def _lint_networks(path: str, rules: Iterable[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.networks:
            whom = "everybody" if rule.effect is Effect.DENY else "nobody"
            message = f"GridFTP and GRAM do not tell the client's address: from holds for {whom} who logs in there"
            yield Finding(Severity.NOTE, path, rule.line, message, "leave it out")


def _has_ban(loaded: LoadedPolicy, member: Member | Chain) -> bool:
    members = member.walk() if isinstance(member, Chain) else iter((member,))
    return any(
        loaded.built[each.authorizer.name].kind == "ban" for each in members if each.authorizer.name in loaded.built
    )


def _lint_rules(authorizer: RulesAuthorizer) -> Iterator[Finding]:
    path = authorizer.path
    for rule in authorizer.rules:
        for message, fix in _rule_doubts(rule):
            yield Finding(Severity.NOTE, path, rule.line, message, fix)


def _rule_doubts(rule: Rule) -> Iterator[tuple[str, str]]:
    everything = not rule.resources and any(
        action is None and (kind is None or kind in _COMMON) for kind, action in rule.actions
    )
    if rule.effect is Effect.PERMIT and rule.anyone and everything and not rule.networks:
        yield "everybody, even without a certificate, may do everything", "say to what, and on which resource"
    if rule.effect is Effect.PERMIT:
        for name in rule.names:
            if "*" in (name if isinstance(name, str) else oneline(name)):
                yield "in a dn, * is the character itself", "dn-like has patterns"
    if rule.before is not None and rule.after is not None and rule.before <= rule.after:
        yield "the rule ends before it begins", ""
    for text in (pattern.text for pattern in rule.resources):
        if text.startswith("~") or "$" in text:
            yield f"{text!r}: nothing is filled in for ~ and $", "/home/alice/**, or /home/*/** for all"
