"""Who may store, retrieve and renew: rules over verified names, pure; not how a name was proved, not what is done.

    policy = AccessPolicy(authorized_retrievers=parse_rules(["*"]))
    permission = policy.permit_retrieval(Client("/O=Grid/CN=Alice"), stored_retrievers)    # or DeniedError

A question is answered by a `Permission`, which names the rule that said yes and which the service hands on, or by
`DeniedError`. Both lists have to agree: the server's (no entry means nobody) and, if the credential carries one, the
credential's own, else the server's default list, if there is one (gct:myproxy/source/myproxy_server.c,
do_authz_handshake; the pattern language is `myproxy.patterns`).

Which proof of identity goes with which permission is `myproxy.authentication`'s to know: a client may be permitted to
retrieve, to renew, or to retrieve without further proof, each by lists of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gsi.errors import DeniedError, ParseError
from gsi.names import plain_oneline, same_oneline
from myproxy.patterns import Pattern, parse_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ANONYMOUS", "AccessPolicy", "Client", "Permission", "Rule", "Subject", "parse_rule", "parse_rules"]

ANONYMOUS: Final = "<anonymous>"
"""The name of a client without a certificate, in policies, audit and as the owner that it can never be."""


_RETRIEVERS: Final = "authorized_retrievers"

_KNOWN_POLICIES: Final = 256
"""Policies of stored credentials kept as parsed: most of a site's say the same."""
_KNOWN_POLICY_CHARS: Final = 200
"""The longest of them: an identity. What patterns of a thousand characters become takes a third of a megabyte each."""

_KNOWN_NAMES: Final = 64
"""Clients' names kept as patterns see them: each is looked at by several lists."""


class Subject(Enum):
    """What a rule is compared with."""

    NAME = "SUBJECT:"
    FQAN = "FQAN:"


@dataclass(frozen=True, slots=True)
class Client:
    """The verified facts about a client that rules may speak of.

    Attributes:
        name: The identity in the one-line form, or `ANONYMOUS`.
        fqans: Verified VOMS attributes (`/vo/group/Role=r`).
    """

    name: str
    fqans: tuple[str, ...] = ()

    @property
    def is_anonymous(self) -> bool:
        """Whether the client showed no certificate."""
        return self.name == ANONYMOUS


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a policy list.

    Attributes:
        text: The entry as written, prefix included.
        subject: What the pattern is compared with.
        pattern: The pattern, prefix removed.
    """

    text: str
    subject: Subject
    pattern: Pattern

    def matches(self, client: Client) -> bool:
        """Say whether the client is meant by this rule."""
        names = (_pattern_text(client.name),) if self.subject is Subject.NAME else client.fqans
        return any(self.pattern.matches(name) for name in names)


@lru_cache(maxsize=_KNOWN_NAMES)
def _pattern_text(name: str) -> str:
    r"""Return the name as patterns see it.

    `/CN=host\/www` of present OpenSSL is `/CN=host/www`, as sites wrote their patterns. A slash that only looks like
    the start of a part, in a value that holds `/CN=...`, is shown as `\x2F`, so that `*/CN=Admin` is not met by it.
    """
    return plain_oneline(name).replace("\\/", "\\x2F").replace("\\+", "\\x2B")


@dataclass(frozen=True, slots=True)
class Permission:
    """A yes, with the rules that gave it.

    Attributes:
        client: Who may.
        server_rule: The entry of the server's list that matched, with the list's name, for the audit.
        credential_rule: The credential's or default entry that matched; None where there was no such list.
    """

    client: Client
    server_rule: str
    credential_rule: str | None = None


def parse_rule(text: str) -> Rule:
    """Parse one entry: a pattern, after an optional `SUBJECT:` or `FQAN:` in any case.

    Raises:
        ParseError: The pattern is not valid.
    """
    for subject in Subject:
        if text[: len(subject.value)].upper() == subject.value:
            return Rule(text, subject, parse_pattern(text[len(subject.value) :]))
    return Rule(text, Subject.NAME, parse_pattern(text))


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Parse the entries of one list.

    Raises:
        ParseError: One of them is not valid.
    """
    return tuple(map(parse_rule, texts))


def _find(rules: tuple[Rule, ...], client: Client) -> Rule | None:
    return next((rule for rule in rules if rule.matches(client)), None)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The access directives of one server.

    Lists that are None are not configured. An `authorized_` list without entries permits nobody; a `default_` list
    that is None leaves the decision to the server's list.
    """

    accepted_credentials: tuple[Rule, ...] = ()
    authorized_retrievers: tuple[Rule, ...] = ()
    default_retrievers: tuple[Rule, ...] | None = None
    authorized_renewers: tuple[Rule, ...] = ()
    default_renewers: tuple[Rule, ...] | None = None
    authorized_key_retrievers: tuple[Rule, ...] = ()
    default_key_retrievers: tuple[Rule, ...] | None = None
    trusted_retrievers: tuple[Rule, ...] = ()
    default_trusted_retrievers: tuple[Rule, ...] | None = None
    trusted_front_ends: tuple[Rule, ...] = ()
    allow_self_authorization: bool = False

    def permit_front_end(self, client: Client) -> Permission:
        """Permit to ask on behalf of users, and to say where they are.

        Raises:
            DeniedError: The client is anonymous, or no entry matches.
        """
        rule = None if client.is_anonymous else _find(self.trusted_front_ends, client)
        if rule is None:
            raise _not_authorized(client, "server's", "trusted_front_ends")
        return Permission(client, f"trusted_front_ends {rule.text}")

    def permit_storage(self, client: Client, *, owner: str | None) -> Permission:
        """Permit to put, store or destroy.

        Args:
            client: Who asks; an anonymous client never may.
            owner: Owner of the credential that is there already, or None.

        Raises:
            DeniedError: The client is not accepted, or somebody else owns the credential.
        """
        if client.is_anonymous:
            raise DeniedError("authentication failed", hint="present a certificate")
        rule = _find(self.accepted_credentials, client)
        if rule is None:
            raise DeniedError(
                f'"{client.name}" not authorized to store credentials on this server (accepted_credentials policy)'
            )
        if owner is not None and owner != client.name:
            raise DeniedError(f'Credentials not owned by "{client.name}".')
        return Permission(client, f"accepted_credentials {rule.text}")

    def permit_server_retrieval(self, client: Client) -> Permission:
        """Permit to ask for credentials at all, by `authorized_retrievers` alone (also the rule for trust roots).

        Raises:
            DeniedError: No entry matches.
        """
        return self._permit(_RETRIEVERS, self.authorized_retrievers, None, client, None)

    def permit_retrieval(self, client: Client, stored: str | None) -> Permission:
        """Permit to receive a proxy of one credential after its pass phrase, or another proof, was given.

        Args:
            client: Who asks.
            stored: The retriever policy stored with the credential, or None. One that cannot be parsed (it may come
                from an older store) matches nobody; so in the methods below.

        Raises:
            DeniedError: One of the two lists does not match.
        """
        return self._permit(_RETRIEVERS, self.authorized_retrievers, self.default_retrievers, client, stored)

    def permit_renewal(self, client: Client, stored: str | None) -> Permission:
        """Permit to renew one credential, which is proved with the key of what is renewed.

        Raises:
            DeniedError: One of the two lists does not match.
        """
        return self._permit("authorized_renewers", self.authorized_renewers, self.default_renewers, client, stored)

    def permit_key_retrieval(self, client: Client, stored: str | None) -> Permission:
        """Permit to receive the stored key itself.

        Raises:
            DeniedError: One of the two lists does not match.
        """
        return self._permit(
            "authorized_key_retrievers", self.authorized_key_retrievers, self.default_key_retrievers, client, stored
        )

    def permit_trusted_retrieval(self, client: Client, stored: str | None) -> Permission:
        """Permit to receive proxies without any further proof.

        Raises:
            DeniedError: One of the two lists does not match.
        """
        return self._permit(
            "trusted_retrievers", self.trusted_retrievers, self.default_trusted_retrievers, client, stored
        )

    def check_not_self(self, client: Client, subject: str, what: str) -> None:
        """Refuse a client that shows the very identity that it asks for, unless the administrator allows that.

        Who renews a credential, or is trusted to fetch it, must be somebody else than the credential's own subject:
        otherwise whoever steals a proxy could renew it for ever.

        Args:
            client: Who asks.
            subject: The identity of the credential, one-line form; compared without regard to case, as in C.
            what: What the client wants to be, for the message: a renewer, or a trusted retriever.

        Raises:
            DeniedError: It is the same identity.
        """
        if not self.allow_self_authorization and same_oneline(client.name, subject):
            raise DeniedError(f"self-authz not allowed for {what}")

    def _permit(
        self, name: str, server: tuple[Rule, ...], default: tuple[Rule, ...] | None, client: Client, stored: str | None
    ) -> Permission:
        """Ask the server's list, then the credential's own or, in its absence, the default list."""
        rule = _find(server, client)
        if rule is None:
            raise _not_authorized(client, "server's", name)
        permission = Permission(client, f"{name} {rule.text}")
        if stored is not None:
            whose, rules = "credential's", _parse_stored(stored)
        elif default is not None:
            whose, rules = "server's default", default
        else:
            return permission
        narrower = _find(rules, client)
        if narrower is None:
            raise _not_authorized(client, whose, name)
        return Permission(client, permission.server_rule, f"{whose} {narrower.text}")

    def permit_owner(self, client: Client, *, owner: str | None) -> Permission:
        """Permit what only the owner may: listing and changing the pass phrase.

        Raises:
            DeniedError: The client is anonymous, or not exactly the owner, or there is no such credential.
        """
        if client.is_anonymous or owner is None or owner != client.name:
            raise DeniedError(f"'{client.name}' does not own the credentials")
        return Permission(client, "owner")


def _parse_stored(text: str) -> tuple[Rule, ...]:
    return _known_policy(text) if len(text) <= _KNOWN_POLICY_CHARS else _read_policy(text)


def _read_policy(text: str) -> tuple[Rule, ...]:
    try:
        return (parse_rule(text),)
    except ParseError:
        return ()


_known_policy: Final = lru_cache(maxsize=_KNOWN_POLICIES)(_read_policy)


def _not_authorized(client: Client, whose: str, name: str) -> DeniedError:
    """Return the refusal in the C server's words."""
    return DeniedError(f'"{client.name}" not authorized by {whose} {name} policy')
