"""Cedar policies as an authorizer; `cedar_model.py` says what a request is in Cedar's terms.

    [authorizer.policies]
    type = "cedar"
    files = ["storage.cedar"]

    @account("atlasprd") permit(principal in Fqan::"/atlas/Role=production", action == Action::"login:login", resource);
    permit(principal == User::"/O=Grid/CN=Alice", action in [Action::"file:read", Action::"file:lookup"],
           resource in Directory::"/data/alice");
    forbid(principal in Group::"guests", action == Action::"file:write", resource);

A policy that forbids denies; else one that permits permits, with the account of its annotation `@account`; else there
is no answer. Cedar passes over a policy that fails while it is evaluated, which would let a forbidden thing through:
here any failure makes the answer indeterminate. Policies are checked against a schema when they are read, so that a
mistyped attribute is found then. A job for a limited proxy is permitted by policies with `@limited("true")` only.

Needs the extra `cedar`, imported when a policy file names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from gsi.authz.cedar_model import ACTIONS, questions, schema_text
from gsi.authz.decision import Account, Decision, Effect, deny, indeterminate, not_applicable, permit
from gsi.authz.registry import Plugin
from gsi.errors import ConfigError, ParseError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from gsi.authz.cedar_model import Question
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place

__all__ = ["PLUGIN", "CedarAuthorizer", "CedarPolicies", "CedarSettings", "load_policies"]

MAX_CEDAR_BYTES: Final = 16 << 20
"""The longest file of policies: a hundred thousand of them, which Cedar reads in a few seconds."""

_ANNOTATIONS: Final = frozenset({"id", "account", "limited", "because", "advice", "description"})
_ACTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*:[A-Za-z][A-Za-z0-9_.-]*\Z", re.ASCII)
_MAX_SHOWN: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CedarSettings:
    """What a policy file says of Cedar policies.

    Attributes:
        files: The files of policies, relative to the policy file; all of them together are one set.
        schema: A schema in Cedar's syntax to check them against; empty for the one of the package.
        actions: Further actions that the package's schema is to know: "http:GET".
    """

    files: tuple[str, ...]
    schema: str = ""
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("files is empty: nobody would be permitted")
        for action in self.actions:
            if not _ACTION.match(action):
                raise ParseError(f"{action[:80]!r} is no action", what="action", hint="http:GET")
        if self.schema and self.actions:
            raise ConfigError("actions are for the package's schema, and another one is given")


class _Result(Protocol):
    """What is used of cedarpy's results."""

    @property
    def decision(self) -> object: ...
    @property
    def diagnostics(self) -> _Diagnostics: ...


class _Diagnostics(Protocol):
    @property
    def reasons(self) -> Sequence[str]: ...
    @property
    def errors(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class CedarPolicies:
    """Policies that have been read and checked.

    Attributes:
        library: cedarpy.
        handle: cedarpy's form of them.
        annotations: Of each policy, by cedarpy's name for it.
        places: Of each policy, its `@id` or cedarpy's name, for reasons.
    """

    library: ModuleType
    handle: object
    annotations: Mapping[str, Mapping[str, str]]
    places: Mapping[str, str]


def load_policies(text: str, schema: str) -> CedarPolicies:
    """Read policies and check them.

    Args:
        text: The policies.
        schema: The schema, in Cedar's syntax.

    Raises:
        ConfigError: cedarpy is not installed; they cannot be read, or do not go with the schema; a template, or an
            annotation that is not known.
    """
    library = _import_cedarpy()
    try:
        handle: object = library.PolicySet.from_str(text)
        known = json.loads(library.policies_to_json_str(text))
        checked = library.validate_policies(text, schema)
    except ValueError as error:
        raise ConfigError(f"Cedar: {str(error)[:_MAX_SHOWN]}") from error
    if not checked.validation_passed:
        told = "; ".join(str(error.error) for error in checked.errors[:3])
        hint = "the schema says which entities, attributes and actions there are"
        raise ConfigError(f"Cedar: {told[:_MAX_SHOWN]}", hint=hint)
    if known["templates"] or known["templateLinks"]:
        raise ConfigError("Cedar: a template; nothing would fill it in")
    annotations: dict[str, dict[str, str]] = {}
    for name, policy in known["staticPolicies"].items():
        annotations[name] = _read_annotations(name, policy.get("annotations", {}), policy["effect"])
    places = {name: found.get("id", name) for name, found in annotations.items()}
    return CedarPolicies(library, handle, annotations, places)


def _read_annotations(name: str, found: Mapping[str, object], effect: str) -> dict[str, str]:
    read = {key: "" if value is None else str(value) for key, value in found.items()}
    where = f"Cedar: {read.get('id', name)}"
    odd = read.keys() - _ANNOTATIONS
    if odd:
        hint = f"known are: {', '.join(sorted(_ANNOTATIONS))}"
        raise ConfigError(f"{where}: the annotation @{min(odd)[:80]} is not known", hint=hint)
    if effect != "permit" and read.keys() & {"account", "limited"}:
        raise ConfigError(f"{where}: @account and @limited go with permit")
    if "account" in read:
        try:
            Account(read["account"])
        except ParseError as error:
            raise ConfigError(f"{where}: @account: {error.message}", hint=error.hint) from error
    if read.get("limited", "true") != "true":
        raise ConfigError(f'{where}: @limited is ("true") or absent')
    return read


def _import_cedarpy() -> ModuleType:
    try:
        import cedarpy
    except ImportError as error:
        raise ConfigError("cedarpy is not installed", hint="pip install 'gsi-toolkit[cedar]'") from error
    library: ModuleType = cedarpy
    return library


class CedarAuthorizer:
    """Decides by Cedar policies. Immutable; safe for several threads."""

    def __init__(self, name: str, policies: CedarPolicies) -> None:
        self._name = name
        self._policies = policies

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request; where its resource can be read in several ways, each of them must be permitted.

        Raises:
            ParseError: A name in the request is odd, or cannot be told to Cedar.
        """
        answers = [self._ask(question, request) for question in questions(request)]
        for effect in (Effect.DENY, Effect.INDETERMINATE, Effect.NOT_APPLICABLE):
            for answer in answers:
                if answer.effect is effect:
                    return answer
        return answers[0]

    def _ask(self, question: Question, request: AuthorizationRequest) -> Decision:
        library = self._policies.library
        try:
            found = library.is_authorized(question.request, self._policies.handle, question.entities)
        except ValueError as error:  # UnicodeEncodeError is one: bytes that are no UTF-8
            raise ParseError(f"Cedar cannot be asked: {str(error)[:_MAX_SHOWN]}", what="Cedar") from error
        result = cast("_Result", found)
        reasons, errors = result.diagnostics.reasons, result.diagnostics.errors
        if errors:
            return indeterminate(self._name, f"Cedar: {str(errors[0])[:_MAX_SHOWN]}")
        if result.decision == library.Decision.Allow:
            return self._permit(reasons, request)
        if result.decision != library.Decision.Deny:
            return indeterminate(self._name, "Cedar gives no decision")
        if reasons:
            return deny(self._name, f"forbidden by {self._shown(reasons)}")
        return not_applicable(self._name)

    def _permit(self, reasons: Sequence[str], request: AuthorizationRequest) -> Decision:
        held = sorted(reasons, key=lambda name: (len(name), name))
        if request.subject.limited and request.action.service == "job":
            held = [name for name in held if "limited" in self._policies.annotations[name]]
            if not held:
                return not_applicable(self._name, "the proxy is limited, and no policy with @limited permits")
        accounts = dict.fromkeys(
            found["account"] for name in held if "account" in (found := self._policies.annotations[name])
        )
        if len(accounts) > 1:
            told = ", ".join(accounts)
            return indeterminate(self._name, f"policies permit with several accounts: {told[:_MAX_SHOWN]}")
        return permit(self._name, f"permitted by {self._shown(held)}", *(Account(account) for account in accounts))

    def _shown(self, names: Sequence[str]) -> str:
        return ", ".join(sorted(self._policies.places.get(name, name) for name in names))[:_MAX_SHOWN]


def _build(name: str, settings: CedarSettings, place: Place) -> CedarAuthorizer:
    texts = [_read(file, place) for file in settings.files]
    schema = _read(settings.schema, place) if settings.schema else schema_text((*ACTIONS, *settings.actions))
    if len(settings.files) > 1:
        for file, text in zip(settings.files, texts, strict=True):  # each by itself, for an error with its name
            _located(place.resolve(file), text, schema)
    policies = _located(place.resolve(settings.files[0]), "\n".join(texts), schema)
    if not policies.annotations:
        place.problems.append(f"{place.resolve(settings.files[0])} holds no policy")
    return CedarAuthorizer(name, policies)


def _read(file: str, place: Place) -> str:
    path, data = place.read(file, max_bytes=MAX_CEDAR_BYTES)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", path=path) from error


def _located(path: str, text: str, schema: str) -> CedarPolicies:
    try:
        return load_policies(text, schema)
    except ConfigError as error:
        raise ConfigError(error.message, path=path, hint=error.hint) from error


PLUGIN: Final = Plugin(CedarSettings, _build, "Cedar policies", may_block=False)
