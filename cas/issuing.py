"""The signed forms that a server gives out, each with the key that signs now; decides nothing about rights.

    forms = Forms(rings, community="climate", place="cas.example.org:15000", tokens=TokenForms(rings, options))
    issued = forms.issue(Form.SAML1, capability, now=now)
    issued.text                                     # XML, base64 of DER, or a token

A capability comes from `cas.service`, which has recorded it. Writers are kept for each key, so that a rotation makes
new ones and nothing else does.
"""

from __future__ import annotations

import base64
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.keys import LINGER
from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.token import TokenIssuer
from gsi.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cas.assertion.keys import KeyRings
    from cas.assertion.signing import SigningKey
    from cas.assertion.token import TokenOptions
    from cas.assertion.value import Capability
    from gsi.tokens.rules import Profile
    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = ["Form", "FormOptions", "Forms", "IssuedForm", "TokenForms"]

_MAX_WRITERS: Final = 64  # a dozen for each key; two keys are in use at a time


class Form(StrEnum):
    """What a capability is written as."""

    SAML1 = "saml1"
    SAML2 = "saml2"
    ATTRIBUTES = "attribute-certificate"
    JWT = "jwt"


class FormOptions(NamedTuple):
    """How a form is written, as far as clients choose.

    Attributes:
        groups: Assertions: also write groups and roles.
        bind_key: Assertions: name the holder's certificate as the one to confirm the subject with.
        profile: Tokens: the text that they follow; None for the server's own.
        client_id: Tokens: the nickname of who asked.
        actor: Tokens: who acts for the holder.
    """

    groups: bool = False
    bind_key: bool = False
    profile: Profile | None = None
    client_id: str = ""
    actor: str = ""


class IssuedForm(NamedTuple):
    """A signed form.

    Attributes:
        form: Which.
        text: The assertion's XML, the attribute certificate's DER in base64, or the token.
        expires: When it ends (aware UTC).
        scopes: Of a token.
        groups: Of a token.
        left_out: Of a token: rights that it does not say, as `namespace|object`.
    """

    form: Form
    text: str
    expires: datetime
    scopes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<IssuedForm {self.form.value}, until {self.expires:%Y-%m-%d %H:%M:%S}Z>"


class TokenForms(NamedTuple):
    """What tokens need.

    Attributes:
        rings: Their keys.
        options: Returns how tokens of a profile are written.
        profile: The server's own.
        issuer: Their `iss`.
        apart: Since when they have keys of their own; None where they share those of all else, or never did.
    """

    rings: KeyRings
    options: Callable[[Profile], TokenOptions]
    profile: Profile
    issuer: str
    apart: datetime | None = None


class Forms:
    """Writes and signs capabilities. Safe for several threads.

    Args:
        rings: The keys.
        community: The community.
        place: The VOMS server's `host:port`, for attribute certificates.
        tokens: What tokens need; None where none are given.
    """

    def __init__(self, rings: KeyRings, *, community: str, place: str, tokens: TokenForms | None = None) -> None:
        self._rings = rings
        self._community = community
        self._place = place
        self.tokens = tokens
        self._lock = threading.Lock()
        self._writers: dict[tuple[str, object], AssertionWriter | AttributeIssuer | TokenIssuer] = {}

    def issue(
        self, form: Form, capability: Capability, options: FormOptions | None = None, *, now: datetime
    ) -> IssuedForm:
        """Return a capability in a signed form.

        Raises:
            DeniedError: The capability has nothing that this form can say, or there are no tokens here.
            IssuanceError: It cannot be written, or no key may sign now.
        """
        options = options or FormOptions()
        match form:
            case Form.ATTRIBUTES:
                certificate = self.attribute_certificate(capability, now=now)
                text = base64.b64encode(certificate.der).decode("ascii")
                return IssuedForm(form, text, certificate.info.not_after)
            case Form.JWT:
                return self._token(capability, options, now)
            case _:
                return self._assertion(form, capability, options, now)

    def attribute_certificate(self, capability: Capability, *, now: datetime) -> AttributeCertificate:
        """Return a capability as an attribute certificate.

        Raises:
            DeniedError: It has no groups.
            IssuanceError: It cannot be written, or no key may sign now.
        """
        key = self._rings.ring.signing_key(now)
        writer = self._keep((key.kid, Form.ATTRIBUTES), lambda: AttributeIssuer(key, self._community, self._place))
        assert isinstance(writer, AttributeIssuer)
        return writer.issue(capability, now=now)

    def _assertion(self, form: Form, capability: Capability, options: FormOptions, now: datetime) -> IssuedForm:
        version = SAMLVersion.SAML1 if form is Form.SAML1 else SAMLVersion.SAML2
        chosen = SAMLOptions(version=version, bind_key=options.bind_key, groups=options.groups)
        key = self._rings.ring.signing_key(now)
        writer = self._keep((key.kid, chosen), lambda: AssertionWriter(key, chosen))
        assert isinstance(writer, AssertionWriter)
        xml = writer.issue(capability, now=now)
        ends = min(capability.not_after, key.not_after(), capability.holder.eec.not_after)
        return IssuedForm(form, xml.decode("utf-8"), ends)

    def _token(self, capability: Capability, options: FormOptions, now: datetime) -> IssuedForm:
        tokens = self.tokens
        if tokens is None:
            raise DeniedError("this server gives no tokens")
        profile = options.profile or tokens.profile
        key = tokens.rings.ring.signing_key(now)
        writer = self._keep((key.kid, profile), lambda: TokenIssuer(key, tokens.options(profile)))
        assert isinstance(writer, TokenIssuer)
        made = writer.issue(capability, now=now, client_id=options.client_id, actor=options.actor)
        left_out = tuple(dict.fromkeys(f"{right.namespace}|{right.object}" for right in made.left_out))
        return IssuedForm(Form.JWT, made.text, made.expires, made.scopes, made.groups, left_out)

    def published(self, now: datetime) -> tuple[SigningKey, ...]:
        """Return the keys that verifiers of tokens and of the list of withdrawn capabilities need."""
        keys = self._signed_texts.ring.published(now)
        apart = None if self.tokens is None else self.tokens.apart
        if apart is None or now >= apart + LINGER:
            return keys
        # What the keys of all else have signed before may still be met.
        known = {key.kid for key in keys}
        return (*keys, *(key for key in self._rings.ring.published(now) if key.kid not in known))

    def list_key(self, now: datetime) -> SigningKey:
        """Return the key that signs the list of withdrawn capabilities.

        Raises:
            IssuanceError: None may sign now.
        """
        return self._signed_texts.ring.signing_key(now)

    @property
    def issuer(self) -> str:
        """What the list of withdrawn capabilities names as its issuer: that of tokens, or the community."""
        return f"cas:{self._community}" if self.tokens is None else self.tokens.issuer

    @property
    def _signed_texts(self) -> KeyRings:
        return self._rings if self.tokens is None else self.tokens.rings

    def _keep(
        self, key: tuple[str, object], make: Callable[[], AssertionWriter | AttributeIssuer | TokenIssuer]
    ) -> AssertionWriter | AttributeIssuer | TokenIssuer:
        with self._lock:
            found = self._writers.get(key)
            if found is None:
                if len(self._writers) >= _MAX_WRITERS:
                    self._writers.clear()
                found = self._writers[key] = make()
            return found
