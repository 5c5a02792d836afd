"""The directories that know the groups of principals, as the configuration says; how they are asked is `gsi.authz`'s.

directories = make_directories(config.realm)
directories["EXAMPLE.ORG"].find(principal).groups
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import ANONYMOUS, Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.ldap_groups import MAX_PASSWORD_BYTES, People
from gsi.errors import ConfigError
from gsi.secret import Passphrase
from gsi.system.files import read_private
from kca.config import LookUp
from kca.principal import needs_directory
from kca.service import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.kerberos.ticket import Principal
    from kca.config import RealmDirectory, RealmSettings

__all__ = ["PrincipalDirectory", "make_directories"]

_ACTION: Final = Action("ISSUE", "kca")
_WHENEVER: Final = Environment(now=datetime(1970, 1, 1, tzinfo=UTC))
"""The directory does not ask for the time."""


@dataclass(frozen=True, slots=True)
class PrincipalDirectory:
    """Looks principals of one realm up. Safe for several threads.

    Attributes:
        people: The directory.
        look_up: By what it knows principals.
    """

    people: People
    look_up: LookUp

    def find(self, principal: Principal) -> Known:
        """See `kca.service.Directory`."""
        if self.look_up is LookUp.PRINCIPAL:
            key = principal.text
        elif len(principal.components) == 1:
            key = principal.components[0]
        else:
            return Known()
        found = self.people.find(
            AuthorizationRequest(
                Subject(identity=principal.text) if key else ANONYMOUS,
                _ACTION,
                Resource("", {"account": (key,)}),
                _WHENEVER,
            )
        )
        return Known() if found is None else Known(found.groups, found.claims)


def make_directories(realms: Mapping[str, RealmSettings]) -> dict[str, PrincipalDirectory]:
    """Return the directory of each realm whose rules ask for one; nothing is asked yet.

    Raises:
        ConfigError: A file of its settings cannot be used.
    """
    found: dict[str, PrincipalDirectory] = {}
    for realm, settings in realms.items():
        if settings.directory is not None and needs_directory(settings):
            found[realm] = PrincipalDirectory(_people(realm, settings.directory), settings.directory.look_up)
    return found


def _people(realm: str, settings: RealmDirectory) -> People:
    passphrase = None
    where = f'[realm."{realm}".directory]'
    for path in filter(None, (settings.password_file, settings.ca_file)):
        if not os.path.isabs(path) or not os.path.exists(path):
            raise ConfigError(f"{where}: {path} does not exist, or is not named by its whole path")
    if settings.password_file:
        passphrase = Passphrase(read_private(settings.password_file, max_bytes=MAX_PASSWORD_BYTES).rstrip(b"\r\n"))
        if not passphrase:
            raise ConfigError(f"{where}: the password is empty", path=settings.password_file)
    return People(settings, passphrase=passphrase)
