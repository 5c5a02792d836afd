"""Asking VOMS servers on behalf of a command; `gsi.transport.voms` carries the bytes, `gsi.cli.voms_judge` judges.

    questions = plan(wishes, places=(), order=(), targets=(), lifetime=lifetime)     # before any pass phrase
    certificates = collect(credential, directory, questions, console)
    ProxyOptions(extensions=carriers(certificates))

The servers of a VO are asked in random order until one gives something, as by the C tool. What a server gave counts
only when `Judge` believes it, unless the user said not to look.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Final

from gsi import oids
from gsi.certificate import Extension
from gsi.cli.run import printable, warn
from gsi.cli.voms_judge import Judge
from gsi.errors import (
    CapabilityError,
    CapabilityProblem,
    ConfigError,
    CredentialError,
    CredentialProblem,
    GridError,
    NotFoundError,
    RefusedError,
    TransportError,
)
from gsi.system import clock
from gsi.system.vomsdir import read_vomses, vomses_places
from gsi.transport.stream import CONNECT_TIMEOUT
from gsi.transport.voms import fetch_attributes
from gsi.voms.attribute_cert import (
    MAX_ATTRIBUTE_CERTIFICATES,
    AttributeCertificate,
    encode_sequence_of,
    split_authority,
)
from gsi.voms.exchange import ALL
from gsi.voms.wishes import make_questions, plain_fqan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from gsi.credential import Credential
    from gsi.system.trustdir import TrustDirectory
    from gsi.transport.voms import Fetched
    from gsi.voms.exchange import FetchRequest
    from gsi.voms.vomses import VOMSEntry
    from gsi.voms.wishes import Question, Wish

__all__ = ["Asker", "Console", "carriers", "collect", "encode_certificates", "plan", "read_certificates"]

_LABEL: Final = "ATTRIBUTE CERTIFICATE"
_MAX_FILE_BYTES: Final = 8 << 20  # as many as one proxy may carry, in base64


class Console:
    """What a command says while it works: progress on standard output, warnings on standard error.

    Attributes:
        prog: The command.
        quiet: Say nothing but warnings and errors.
        ignore_warnings: Nor those.
        fail_on_warnings: A warning is an error.
    """

    __slots__ = ("fail_on_warnings", "ignore_warnings", "prog", "quiet")

    def __init__(self, prog: str, *, quiet: bool, ignore_warnings: bool, fail_on_warnings: bool) -> None:
        self.prog = prog
        self.quiet = quiet
        self.ignore_warnings = (ignore_warnings or quiet) and not fail_on_warnings
        self.fail_on_warnings = fail_on_warnings

    def say(self, text: str) -> None:
        """Show how far the command is; the line's end is in the text."""
        if not self.quiet:
            sys.stdout.write(text)
            sys.stdout.flush()

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Show a warning.

        Raises:
            RefusedError: Warnings are errors.
        """
        if self.fail_on_warnings:
            raise RefusedError(message, hint="this is only a warning; without -failonwarn it does not stop the command")
        if not self.ignore_warnings:
            warn(self.prog, message, hint=hint)


# --- what is asked for ------------------------------------------------------------------------------------------------


def plan(
    wishes: Sequence[Wish],
    *,
    places: Sequence[str],
    order: Sequence[str],
    targets: Sequence[str],
    lifetime: timedelta,
) -> tuple[Question, ...]:
    """Bring wishes together, and find the servers in files of contact lines.

    Args:
        wishes: What the user wants.
        places: Files and directories of contact lines; none for the usual ones.
        order: As `gsi.voms.wishes.make_questions`.
        targets: Likewise.
        lifetime: Likewise.

    Raises:
        ConfigError: A VO of which no server is known, or an order for a VO that is not asked.
        GridError: A file of contact lines cannot be read.
    """
    if not wishes:
        return ()
    entries = _read_places(places)
    try:
        return make_questions(entries, wishes, order=order, targets=targets, lifetime=lifetime)
    except NotFoundError as error:
        looked = ", ".join(places or vomses_places())
        raise ConfigError(error.message, hint=f"a line for it belongs into one of: {looked}") from error


def _read_places(places: Sequence[str]) -> tuple[VOMSEntry, ...]:
    import os

    for place in places:
        if not os.path.exists(place):
            raise ConfigError(f"Cannot find file or dir: {place}", hint="-vomses names a vomses file or a directory")
    return read_vomses(places or None)


# --- asking -----------------------------------------------------------------------------------------------------------


class Asker:
    """Asks servers with one credential.

    Args:
        credential: Who asks.
        directory: The trust directory.
        console: Where progress is shown.
        timeout: Seconds for a connection; None for the usual time.
    """

    __slots__ = ("_console", "_credential", "_directory", "_timeout")

    def __init__(
        self, credential: Credential, directory: TrustDirectory, console: Console, *, timeout: float | None
    ) -> None:
        self._credential = credential
        self._directory = directory
        self._console = console
        self._timeout = CONNECT_TIMEOUT if timeout is None else timeout

    def ask(self, question: Question) -> AttributeCertificate:
        """Return the attribute certificate that the first server that has one gives.

        Another server may know what one does not, or have a database that works; so a no is not the end, either.

        Raises:
            RefusedError: All that answered said no; or a server gave a warning, and warnings are errors.
            TransportError: None answered.
            CapabilityError: It gave attributes of another VO.
        """
        servers = random.sample(question.servers, len(question.servers))
        failures: list[GridError] = []
        for server in servers:
            if failures:
                sys.stderr.write(f"\nError: {printable(failures[-1].message)}\n")
                self._console.say(f"\nTrying next server for {server.alias}.\n")
            try:
                fetched = self._contact(server, question.request)
            except (RefusedError, TransportError) as error:
                self._console.say(" Failed\n")
                failures.append(error)
            except BaseException:
                self._console.say(" Failed\n")
                raise
            else:
                self._console.say(" Done\n")
                return self._accept(fetched, question)
        raise _no_server(question, failures)

    def _contact(self, server: VOMSEntry, request: FetchRequest) -> Fetched:
        self._console.say(
            printable(f'Contacting  {server.host}:{server.port} [{server.server_dn}] "{server.vo}"'),
        )
        return fetch_attributes(
            [server],
            request,
            self._credential,
            anchors=self._directory.anchors,
            now=clock.now,
            timeout=self._timeout,
        )

    def _accept(self, fetched: Fetched, question: Question) -> AttributeCertificate:
        """Look at what came: its VO, the server's warnings, what is missing."""
        info = fetched.certificate.info
        vo = split_authority(info.authority).vo
        if vo != question.request.vo:
            raise CapabilityError(
                f"the server of {question.request.vo} gave attributes of the VO {vo}",
                problem=CapabilityProblem.CONTENT,
                issuer=info.authority,
            )
        for warning in fetched.warnings:
            self._console.warn(f"the server of {vo}: {warning}")
        given = {plain_fqan(fqan) for fqan in info.fqans}
        for fqan in question.request.fqans:
            if fqan != ALL and plain_fqan(fqan) not in given:
                self._console.warn(f"the server of {vo} did not give {fqan}")
        return fetched.certificate


def _no_server(question: Question, failures: Sequence[GridError]) -> GridError:
    """Return the error to raise when no server gave anything: a no weighs more than silence."""
    refusal = next((error for error in failures if isinstance(error, RefusedError)), None)
    if refusal is not None:
        return refusal
    last = failures[-1]
    return TransportError(
        f"None of the contacted servers for {question.vo} were capable of returning a valid AC for the user: "
        f"{last.message}",
        hint=last.hint,
    )


# --- both -------------------------------------------------------------------------------------------------------------


def collect(
    holder: Credential,
    directory: TrustDirectory,
    questions: Sequence[Question],
    console: Console,
    *,
    given: Sequence[AttributeCertificate] = (),
    timeout: float | None = None,
    vomsdir: str | None = None,
    verify: bool = True,
) -> list[AttributeCertificate]:
    """Ask each VO, and judge what is there with what was given.

    Args:
        holder: Who asks.
        directory: The trust directory.
        questions: What is asked.
        console: Where progress is shown.
        given: Attribute certificates from elsewhere.
        timeout: Seconds for a connection; None for the usual time.
        vomsdir: The directory of trusted servers; None for the usual one.
        verify: Whether what is there has to be believed.

    Raises:
        GridError: The holder is not trusted here, a VO gave nothing, or what is there must not be believed.
    """
    from gsi.cli.user_credential import verify_made

    if not questions and not given:
        return []
    peer = verify_made(holder, directory.anchors(), clock.now())
    asker = Asker(holder, directory, console, timeout=timeout)
    certificates = [*(asker.ask(question) for question in questions), *given]
    if verify:
        judge = Judge(directory, vomsdir)
        for certificate in certificates:
            judge.verify(certificate, peer)
    return certificates


def carriers(certificates: Sequence[AttributeCertificate], included: bytes | None = None) -> tuple[Extension, ...]:
    """Return the extensions of a proxy that carry attribute certificates, and a file of the user's.

    Raises:
        ConfigError: More than one proxy may carry.
    """
    if len(certificates) > MAX_ATTRIBUTE_CERTIFICATES:
        raise ConfigError(f"one proxy carries at most {MAX_ATTRIBUTE_CERTIFICATES} attribute certificates")
    found = [] if included is None else [Extension(oids.VOMS_INCLUDED_FILE, False, included)]
    if certificates:
        found.append(Extension(oids.VOMS_AC_SEQUENCE, False, encode_sequence_of(certificates)))
    return tuple(found)


# --- files ------------------------------------------------------------------------------------------------------------


def read_certificates(path: str) -> tuple[AttributeCertificate, ...]:
    """Return the attribute certificates of a PEM file, as `-separate` writes it.

    Raises:
        CredentialError: The file cannot be read, or there is none in it.
        ParseError: One is malformed.
    """
    from gsi.pem import split_pem
    from gsi.system.files import read_public

    blocks = split_pem(read_public(path, max_bytes=_MAX_FILE_BYTES), what=path)
    found = tuple(AttributeCertificate.parse(block.data) for block in blocks if block.label == _LABEL)
    if not found:
        raise CredentialError(
            f"{path}: there is no attribute certificate in it",
            problem=CredentialProblem.MISSING,
            path=path,
            hint="'voms-proxy-init -separate FILE' writes such files",
        )
    return found


def encode_certificates(certificates: Sequence[AttributeCertificate]) -> bytes:
    """Return attribute certificates as PEM."""
    from gsi.pem import encode_pem

    return b"".join(encode_pem(_LABEL, certificate.der) for certificate in certificates)
