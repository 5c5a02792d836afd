"""A CA in a directory, laid out as grid-ca-create and `openssl ca` have it: opened, its books kept, its lists made.

    directory = CADirectory("/home/ca/.globus/simpleCA")
    with directory.lock():
        issuer = directory.issuer(directory.load_signer(passphrase=ask))
        issued = issuer.issue(request, grant, now=now)
        directory.revoke(certificate.serial, now=now, reason=RevocationReason.SUPERSEDED)
        crl_der = directory.make_crl(signer, now=now, lifetime=timedelta(days=30))

    cacert.pem            the CA's certificate          index.txt, index.txt.attr   what was issued (`gsi.ca.index`)
    private/cakey.pem     its key, 0600                 newcerts/SERIAL.pem         each certificate
    signing-policy        the names it may sign         serial, crlnumber           counters in OpenSSL's form
    crl/crl.pem           the last CRL

It is a recorder (`gsi.ca.records`): a certificate is in `newcerts` and in the index before it leaves. Nothing is ever
written outside the directory; one whose parts are links leading elsewhere is refused.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi.ca.crl import RevocationReason, RevokedEntry, make_crl
from gsi.ca.index import MAX_INDEX_BYTES, Index, IndexEntry, encode_index, parse_index
from gsi.ca.issuer import Issuer
from gsi.ca.pkcs11_token import parse_pkcs11_uri
from gsi.ca.serials import SerialFile, encode_serial, random_serial
from gsi.ca.signer import load_signer, scheme_of
from gsi.certificate import Certificate
from gsi.errors import (
    ConfigError,
    CredentialError,
    CredentialProblem,
    IssuanceError,
    IssuanceStep,
    NotFoundError,
    ParseError,
    Reason,
    StorageError,
    VerificationError,
)
from gsi.pem import encode_pem
from gsi.system.files import FileLock, read_private, read_public, write_public
from gsi.trust.anchors import build_anchors
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl_file
from gsi.trust.crl_update import crl_number
from gsi.trust.hashes import subject_hash
from gsi.trust.signatures import check_certificate_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from gsi.ca.issuer import CertificateChecker, RequestChecker
    from gsi.ca.records import IssuanceRecord
    from gsi.ca.signer import Digest, Signer
    from gsi.credential import PassphraseSource
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.crl import CRL

__all__ = ["SUBDIRECTORIES", "CADirectory"]

SUBDIRECTORIES: Final = ("certs", "crl", "newcerts", "private")
_OWN: Final = re.compile(
    r"(index\.txt|serial|crlnumber)(\..*)?|cacert\.pem|passwd|signing-policy|grid-ca-ssl\.conf|crl|newcerts|private"
)
"""The names that mean something here, with what `openssl ca` leaves beside the books."""
_MAX_FILE_BYTES: Final = 1 << 20  # certificates and policies take a few kB
_MAX_NAMED: Final = 5  # of the serial numbers in a message


class CADirectory:
    """A CA's directory. Changes are made while `lock` is held.

    Attributes:
        path: The directory.
        certificate: The CA's certificate.
    """

    def __init__(self, path: str) -> None:
        """Open a directory.

        Raises:
            CredentialError: MISSING (no such directory, or no `cacert.pem` in it), UNSAFE_FILE (a part of it is a link
                or something else than it should be).
            ParseError: `cacert.pem` holds no certificate.
        """
        self.path = os.path.abspath(path)
        _check_layout(self.path)
        try:
            data = read_public(self.file("cacert.pem"), max_bytes=_MAX_FILE_BYTES)
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING:
                error.hint = "grid-ca-create makes a CA; -dir names another directory"
            raise
        self.certificate = Certificate.parse_pem(data, what=self.file("cacert.pem"))

    def file(self, *names: str) -> str:
        """Return the path of a file below the directory."""
        return os.path.join(self.path, *names)

    def owns(self, path: str) -> bool:
        """Return whether a file is in the directory, or would be taken for one of the CA's were it made."""
        real = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
        top = os.path.realpath(self.path)
        if os.path.commonpath((real, top)) != top:
            return False
        return os.path.lexists(path) or _OWN.fullmatch(os.path.relpath(real, top).split(os.sep)[0]) is not None

    def lock(self) -> FileLock:
        """Return the lock that keeps other processes of ours out; `openssl ca` has none and does not look at it."""
        return FileLock(self.file("index.txt.lock"))

    @property
    def hash(self) -> str:
        """The hash of the CA's name, under which trust directories hold it."""
        return subject_hash(self.certificate.subject_der)

    # --- the key ------------------------------------------------------------------------------------------------------

    @property
    def key_place(self) -> str:
        """Where the key is: `private/cakey.pem`, or the file or token that `private/keyfile` names.

        A directory may come from elsewhere, so what it names must not run anything: no program, and as a token's module
        only what belongs to root.

        Raises:
            ConfigError: It names something else.
        """
        named = self.file("private", "keyfile")
        if not os.path.lexists(named):
            return self.file("private", "cakey.pem")
        place = read_private(named, max_bytes=_MAX_FILE_BYTES).decode("utf-8", "replace").strip()
        kind = scheme_of(place)
        if kind == "pkcs11":
            _check_module(named, parse_pkcs11_uri(place).module)
        elif kind not in {"", "file"}:
            raise ConfigError(
                f"{named}: names a {kind}, which a CA's directory may not",
                hint="if you trust it, give it with -keyfile",
            )
        return place

    def load_signer(
        self, place: str | None = None, *, passphrase: PassphraseSource = None, digest: Digest | None = None
    ) -> Signer:
        """Return the CA's key, by default from where `key_place` says; raises as `gsi.ca.signer.load_signer`."""
        return load_signer(
            place or self.key_place,
            certificate=self.certificate,
            passphrase=passphrase,
            digest=digest,
        )

    def issuer(
        self,
        signer: Signer,
        *,
        use_counter: bool = False,
        superseding: Sequence[int] = (),
        request_checkers: Sequence[RequestChecker] = (),
        certificate_checkers: Sequence[CertificateChecker] = (),
    ) -> Issuer:
        """Return an issuer that keeps its books here and signs only what `signing-policy` allows.

        Args:
            signer: The CA's key.
            use_counter: Take serial numbers from the file `serial` and not at random.
            superseding: Serial numbers of certificates that are revoked in the same step in which a new one is put into
                the index; for one certificate.
            request_checkers: As for `Issuer`.
            certificate_checkers: As for `Issuer`.

        Raises:
            CredentialError: As `Issuer`.
            ParseError: The signing policy cannot be read.
        """
        return Issuer(
            self.certificate,
            signer,
            recorder=_Books(self, tuple(superseding)),
            serials=SerialFile(self.file("serial")) if use_counter else random_serial,
            request_checkers=request_checkers,
            certificate_checkers=certificate_checkers,
            anchors=self._anchors(),
        )

    def _anchors(self) -> TrustAnchors | None:
        """Return the CA with its signing policy as a trust directory, or None where there is no policy."""
        try:
            policy = read_public(self.file("signing-policy"), max_bytes=_MAX_FILE_BYTES)
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING:
                return None
            raise
        files = {f"{self.hash}.0": self.certificate.pem(), f"{self.hash}.signing_policy": policy}
        return build_anchors(files, loaded_at=self.certificate.not_before, anchor=self.certificate)

    # --- the books ----------------------------------------------------------------------------------------------------

    def read_index(self) -> Index:
        """Return what was issued.

        Raises:
            CredentialError: UNSAFE_FILE, MISSING.
            ParseError: A line is malformed.
        """
        return parse_index(read_public(self.file("index.txt"), max_bytes=MAX_INDEX_BYTES))

    def write_index(self, index: Index) -> None:
        """Replace the index in one step.

        Raises:
            StorageError: It cannot be written; the old one is unchanged.
        """
        self._write("index.txt", encode_index(index), 0o600)

    def record(self, record: IssuanceRecord) -> None:
        """Keep a certificate: first its file, then its line in the index.

        Raises:
            ConflictError: Its serial number has been used before.
            StorageError: It cannot be written.
            ParseError: The index is malformed.
        """
        self._keep(record, ())

    def _keep(self, record: IssuanceRecord, superseding: Sequence[int]) -> None:
        index = self.read_index()
        for serial in superseding:
            index = index.revoke(RevokedEntry(serial, record.time, RevocationReason.SUPERSEDED))
        index = index.add(IndexEntry.issued(record.certificate))
        self._write(os.path.join("newcerts", f"{record.serial_hex}.pem"), record.certificate.pem(), 0o644)
        self.write_index(index)

    def adopt(self, certificate: Certificate) -> None:
        """Put a certificate of this CA on record that the index has lost, so that it can be revoked; else do nothing.

        Raises:
            NotFoundError: This CA has not signed it.
            StorageError: The index cannot be written.
        """
        index = self.read_index()
        try:
            if certificate.issuer_der != self.certificate.subject_der:
                raise VerificationError("it names another issuer", reason=Reason.CHAIN_BROKEN)
            check_certificate_signature(certificate, load_key(self.certificate, None), None)
        except VerificationError as error:
            raise NotFoundError(f"not a certificate of this CA: {error.message}") from error
        if index.find(certificate.serial) is None:
            self.write_index(index.add(IndexEntry.issued(certificate)))

    def revoke(
        self,
        serial: int,
        *,
        now: datetime,
        reason: RevocationReason = RevocationReason.UNSPECIFIED,
        invalid_since: datetime | None = None,
    ) -> IndexEntry:
        """Mark a certificate as revoked and return its line; it is on the next CRL.

        Raises:
            NotFoundError: The CA has issued none with this serial number.
            ConflictError: It is revoked already.
            StorageError: The index cannot be written.
        """
        index = self.read_index().revoke(RevokedEntry(serial, now.replace(microsecond=0), reason, invalid_since))
        self.write_index(index)
        entry = index.find(serial)
        assert entry is not None  # `revoke` has found it
        return entry

    def make_crl(self, signer: Signer, *, now: datetime, lifetime: timedelta) -> bytes:
        """Return a new CRL in PEM, which is in `crl/crl.pem`, too. It is newer than the one that was there.

        Raises:
            IssuanceError: As `gsi.ca.crl.make_crl`; SERIAL when the list's number cannot be taken, or the last list had
                it or a larger one; CHECK when the index has lost certificates that are on the last list.
            ConfigError: The lifetime is out of range.
            ParseError: The index or the last CRL is malformed.
            StorageError: It cannot be written.
        """
        now = now.replace(microsecond=0)  # as lists say it
        index = self.read_index()
        last = self._read_last_crl()
        last_number = 0 if last is None else crl_number(last) or 0
        if last is not None:
            self._check_complete(index, last)
        made = self._last_made(last, now)
        number = SerialFile(self.file("crlnumber"), start=last_number + 1)()
        if number <= last_number:
            raise IssuanceError(
                f"{self.file('crlnumber')}: says {number:X}, but the last CRL has number {last_number:X}",
                step=IssuanceStep.SERIAL,
                hint=f"write {encode_serial(last_number + 1).decode().strip()} into it: numbers only grow",
            )
        crl = encode_pem(
            "X509 CRL",
            make_crl(self.certificate, signer, index.revoked, number=number, now=now, lifetime=lifetime, last=made),
        )
        self._write(os.path.join("crl", "crl.pem"), crl, 0o644)
        return crl

    def _read_last_crl(self) -> CRL | None:
        """Return the list in `crl/crl.pem`, if there is one."""
        path = self.file("crl", "crl.pem")
        try:
            found = parse_crl_file(read_public(path, max_bytes=MAX_CRL_BYTES))
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING:
                return None
            raise
        except ParseError as error:
            error.hint = f"move {path} away, and see that crlnumber is larger than the number of any list before"
            raise
        return found[0]

    def _last_made(self, last: CRL | None, now: datetime) -> datetime:
        """Return when the last list was made; of one by `openssl ca` only the time of `crlnumber` may tell."""
        try:
            changed = datetime.fromtimestamp(os.stat(self.file("crlnumber")).st_mtime, UTC).replace(microsecond=0)
        except OSError:
            changed = self.certificate.not_before
        changed = min(changed, now)
        return changed if last is None else max(changed, last.this_update)

    def _check_complete(self, index: Index, last: CRL) -> None:
        """Insist that the index has as revoked what is on the last list, before a new one takes that back."""
        lost = last.serials - {entry.serial for entry in index.revoked}
        if not lost:
            return
        known = lost & {entry.serial for entry in index.entries}
        some = ", ".join(f"{serial:X}" for serial in sorted(known or lost)[:_MAX_NAMED])
        if known:
            raise IssuanceError(
                f"{self.file('index.txt')}: {len(known)} certificates of the last CRL are not revoked: {some}",
                step=IssuanceStep.CHECK,
                hint="if an older index was restored, revoke them again: grid-ca-sign -revoke SERIAL; if they were on "
                "hold and are to be good again, move crl/crl.pem away",
            )
        raise IssuanceError(
            f"{self.file('index.txt')}: knows nothing of {len(lost)} certificates of the last CRL: {some}",
            step=IssuanceStep.CHECK,
            hint="restore the file, or put each back by its certificate: grid-ca-sign -revoke newcerts/SERIAL.pem",
        )

    def _write(self, name: str, data: bytes, mode: int) -> None:
        try:
            write_public(self.file(name), data, mode)
        except CredentialError as error:
            raise StorageError(error.message, hint=error.hint) from error

    # --- making one ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str, files: dict[str, tuple[bytes, int]]) -> CADirectory:
        """Make a directory and its books; `cacert.pem`, without which it is no CA, comes last.

        Args:
            path: The directory; it may be there, but empty but for what an earlier CA has left in `old-*`.
            files: Contents and modes by path below the directory, `cacert.pem` and `private/cakey.pem` among them.

        Raises:
            CredentialError: UNWRITABLE; what was written is taken away again.
        """
        books = {
            "index.txt": (b"", 0o600),
            "index.txt.attr": (b"unique_subject = yes\n", 0o600),
            "serial": (encode_serial(random_serial() >> 1), 0o600),  # room for what the C tool counts on from there
            "crlnumber": (b"01\n", 0o600),
        }
        made: list[str] = []
        try:
            _make_directory(path, made)
            for name in SUBDIRECTORIES:
                _make_directory(os.path.join(path, name), made)
            for name, (data, mode) in sorted({**books, **files}.items(), key=lambda item: item[0] == "cacert.pem"):
                target = os.path.join(path, name)
                made.append(target)
                write_public(target, data, mode)
        except BaseException:
            _take_away(made)
            raise
        return cls(path)


class _Books:
    """A directory's books, and what the next certificate takes the place of."""

    __slots__ = ("_directory", "_superseding")

    def __init__(self, directory: CADirectory, superseding: tuple[int, ...]) -> None:
        self._directory = directory
        self._superseding = superseding

    def record(self, record: IssuanceRecord) -> None:
        self._directory._keep(record, self._superseding)  # noqa: SLF001  one half of the same class


def _make_directory(path: str, made: list[str]) -> None:
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        made.append(path)
    except FileExistsError:
        _check_directory(path)
    except OSError as error:
        raise CredentialError(
            f"{path}: cannot be made: {error.strerror}", problem=CredentialProblem.UNWRITABLE, path=path
        ) from error


def _take_away(made: list[str]) -> None:
    for path in reversed(made):
        try:
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        except OSError:
            continue  # not written at all, or not empty: what made the writing fail is the news


def _check_layout(path: str) -> None:
    _check_directory(path, follow=True)
    for name in ("newcerts", "private", "crl"):
        _check_directory(os.path.join(path, name))


def _check_directory(path: str, *, follow: bool = False) -> None:
    """See that something is a real directory: what is written below a link would land elsewhere."""
    try:
        mode = os.stat(path, follow_symlinks=follow).st_mode
    except (OSError, ValueError) as error:
        raise CredentialError(
            f"{path}: no such directory",
            problem=CredentialProblem.MISSING,
            path=path,
            hint="grid-ca-create makes a CA; -dir names another directory",
        ) from error
    if not stat.S_ISDIR(mode):
        raise CredentialError(
            f"{path}: is not a directory of the CA but a link or something else",
            problem=CredentialProblem.UNSAFE_FILE,
            path=path,
            hint="the CA's files lie in one directory; nothing is written outside it",
        )


def _check_module(named: str, module: str) -> None:
    """Insist that a token's module, which runs as part of this program, is the system's.

    Raises:
        ConfigError: It is not.
    """
    try:
        facts = os.stat(module)
    except OSError as error:
        raise ConfigError(f"{named}: the module {module}: {error.strerror}") from error
    if facts.st_uid != 0 or facts.st_mode & 0o022:
        raise ConfigError(
            f"{named}: the module {module} does not belong to root alone, and would run as part of this program",
            hint="if you trust it, give the key with -keyfile",
        )
