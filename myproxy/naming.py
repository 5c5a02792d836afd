"""From a user name to the name that a certificate of the CA will have: map file, the site's program, a directory.

    names = MapfileNames("/etc/grid-security/grid-mapfile")
    names.get_name("alice")                           # "/O=Grid/CN=Alice", or NotFoundError: nobody of that name
    subject_der = parse_subject("/O=Grid/CN=Alice")

A name that cannot be found out (a directory that does not answer, a file that cannot be read) is another error. Nothing
is remembered: who was taken off the list gets nothing at the next request. Agrees with
gct:myproxy/source/certauth_resolveuser.c, but that a user name is a value in an LDAP filter here, never a part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from gsi import names
from gsi.authz.gridmap_file import GridmapFile
from gsi.ca.program import run_program
from gsi.errors import ConflictError, NotFoundError, ParseError, StorageError, TimeoutExpiredError, TransportError
from gsi.ldap import LDAPPlace, connect, equals
from gsi.nametypes import find_attribute_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.secret import Passphrase

__all__ = ["MAX_NAME_BYTES", "LDAPNames", "MapfileNames", "NameSource", "ProgramNames", "parse_subject"]

MAX_NAME_BYTES: Final = 511
"""Of a name in one-line form; the C server cuts longer answers of programs, we refuse them."""
_PART: Final = re.compile(r"(?<!\\)/([^/=]+)=")


class NameSource(Protocol):
    """Knows who is who. Called in threads, by several at once."""

    def get_name(self, username: str) -> str:
        """Return the name in one-line form.

        Raises:
            NotFoundError: There is nobody of that user name; says how that is known, for the audit.
            GridError: It cannot be found out.
        """
        ...


def parse_subject(text: str) -> bytes:
    """Return a mapped name as the certificate's subject.

    String types are those that RFC 5280 asks for: PrintableString where it fits, IA5String for domain components and
    e-mail addresses, else UTF-8. (The C server writes T61String for what is not ASCII, and IA5String for other values
    with an underscore or `@`.) As in C, each `/WORD=` begins a part, and a word that is no attribute type is an error.

    Raises:
        ParseError: Not such a name, or an empty one.
    """
    if len(text.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        raise ParseError(f"the name has more than {MAX_NAME_BYTES} bytes", what="mapped name")
    for word in _PART.findall(text):
        if find_attribute_type(word) is None:
            raise ParseError(f"{word!r} in {text!r} is no attribute type", what="mapped name")
    subject_der = names.parse_oneline(text)
    if not names.rdns(subject_der):
        raise ParseError("an empty name", what="mapped name")
    return subject_der


class MapfileNames:
    """A grid-mapfile read the other way round: the first line that lists the account."""

    def __init__(self, path: str, *, report: Callable[[str], None] | None = None) -> None:
        """Name the file, which is read at the first question and when it changes.

        Args:
            path: The file.
            report: Told what is wrong with a new version of it.
        """
        self._file = GridmapFile(path, report=report)

    def check(self) -> None:
        """See whether the file can be used, before somebody's name depends on it.

        Raises:
            ConfigError: It is missing, others can write it, or it cannot be read.
        """
        self._file.gridmap()

    def get_name(self, username: str) -> str:
        """See `NameSource`."""
        found = self._file.gridmap().find_dn(username)
        if found is None:
            raise NotFoundError(f"no name in {self._file.path} has the account {username!r}")
        return found


class ProgramNames:
    """`certificate_mapapp`: the user name as argument, the name in the first line of its output, status 0.

    Any other status means that there is nobody of that name.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def get_name(self, username: str) -> str:
        """See `NameSource`."""
        try:
            answer = run_program((self._program, username), stdin=b"")
        except TimeoutExpiredError:
            raise
        except TransportError as error:
            raise NotFoundError(f"no name for {username!r}: {error.message}") from error
        line = answer.partition(b"\n")[0]
        if not line or len(line) > MAX_NAME_BYTES:
            raise StorageError(f"{self._program}: its first line is empty or longer than {MAX_NAME_BYTES} bytes")
        return line.decode("utf-8", "surrogateescape")


class LDAPNames:
    """`ca_ldap_*`: the one entry with the user name, its own name or one of its attributes."""

    def __init__(
        self,
        place: LDAPPlace,
        *,
        base: str,
        uid_attribute: str,
        dn_attribute: str | None = None,
        bind: tuple[str, Passphrase] | None = None,
    ) -> None:
        """Put together where and how to ask.

        Args:
            place: The directory.
            base: Where to search, with everything below.
            uid_attribute: The attribute that holds user names.
            dn_attribute: The attribute that holds the certificate's name; None for the entry's own.
            bind: Whom to bind as, and the password; None to ask anonymously.

        Raises:
            ConfigError: `uid_attribute` is none.
        """
        equals(uid_attribute, "")
        self._place = place
        self._base = base
        self._uid_attribute = uid_attribute
        self._dn_attribute = dn_attribute
        self._bind = bind

    def get_name(self, username: str) -> str:
        """See `NameSource`."""
        wanted = () if self._dn_attribute is None else (self._dn_attribute,)
        with connect(self._place) as directory:
            if self._bind is not None:
                directory.bind(*self._bind)
            try:
                entry = directory.find_entry(self._base, equals(self._uid_attribute, username), wanted)
            except ConflictError as error:
                raise NotFoundError(error.message) from error
        if entry is None:
            raise NotFoundError(f"no entry below {self._base!r} has {self._uid_attribute} {username!r}")
        if self._dn_attribute is None:
            return _to_oneline(entry.dn)
        values = entry.values(self._dn_attribute)
        if len(values) != 1:
            raise NotFoundError(f"{entry.dn} has {len(values)} values of {self._dn_attribute}, not one")
        return _to_oneline(values[0])


def _to_oneline(text: str) -> str:
    """Return a name from a directory, in either form, in the one-line form."""
    if text.startswith("/"):
        return text
    try:
        return names.oneline(names.parse_rfc4514(text))
    except ParseError as error:
        raise StorageError(f"the directory's name {text!r} cannot be read: {error.message}") from error
