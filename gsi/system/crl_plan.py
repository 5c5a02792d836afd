"""Which revocation lists a trust directory needs, and where each is published: one job per list; fetches none.

    for job in plan_jobs("/etc/grid-security/certificates", anchors): ...

A CA's sources, in the order to try them: its `.info` file, else its `.crl_url` file, then the distribution points of
certificates that it issued (its own, for a root). Both kinds of files may be named after the CA's hash or after an
alias, as IGTF distributions do; an alias is known by what `<hash>.0` links to, by a certificate file of the same name,
or by the `.info` file's own word. With a base URL, that is the only source: `<base>/<hash>.r0`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.certificate import load_certificates
from gsi.errors import ConfigError, GridError
from gsi.nametext import canonical_oneline
from gsi.system.files import read_public
from gsi.trust.crl_sources import MAX_SOURCE_BYTES, TrustInfo, distribution_points, parse_crl_url, parse_info
from gsi.trust.hashes import hash_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.trust.anchors import Authority, TrustAnchors

__all__ = ["Job", "Plan", "plan_jobs"]

_MAX_CERTIFICATE_FILE: Final = 1 << 20
_MAX_ENTRIES: Final = 50_000  # as the trust directory itself
_HASH: Final = re.compile(r"[0-9a-f]{8}")
_SUFFIXES: Final = (".info", ".crl_url")
_CERTIFICATE_SUFFIXES: Final = (".pem", ".crt", ".0")


class Job(NamedTuple):
    """One list to fetch."""

    name: str
    """How messages call the CA: its alias, else its hash."""
    subject: str
    """The CA's name in one-line form."""
    hash: str
    """The present hash of its name."""
    old_hash: str
    """The hash of OpenSSL before 1.0."""
    authorities: tuple[Authority, ...]
    """Every certificate of that name."""
    position: int
    """Which of the CA's lists it is."""
    urls: tuple[str, ...]
    """Where to get it, in the order to try."""
    is_alone: bool
    """Whether its certificates are all that the files under its hashes can be about: no CA of another name has the same
    hash, and no certificate file of such a hash is broken."""


class Plan(NamedTuple):
    """What there is to do."""

    jobs: tuple[Job, ...]
    without_source: tuple[Job, ...]
    """CAs of which no list is published as far as is known here; without URLs."""
    problems: tuple[str, ...]
    """Files that tell where to fetch and could not be read."""


def plan_jobs(directory: str, anchors: TrustAnchors, *, base: str | None = None, only: Sequence[str] = ()) -> Plan:
    """Return the jobs for the CAs of a trust directory.

    Args:
        directory: Where the files are that tell the sources.
        anchors: The CAs.
        base: A URL under which all lists are; then nothing else is asked.
        only: Hashes, aliases or names in one-line form: the CAs to take; none means all.

    Raises:
        ConfigError: The directory cannot be read, or `only` names a CA that is not there.
    """
    planner = _Planner(directory, anchors)
    if base is None:
        planner.read_files()
    jobs: list[Job] = []
    without: list[Job] = []
    wanted = {canonical_oneline(word) for word in only}
    missing = set(wanted)
    for key, authorities in planner.by_name.items():
        hashes = hash_names(authorities[0].certificate.subject_der)
        found = planner.infos.get(key)
        alias = planner.aliases.get(key, hashes[0])
        mine = {canonical_oneline(word) for word in (alias, *hashes, authorities[0].subject)}
        if wanted and not wanted & mine:
            continue
        missing -= mine
        lists = [(f"{base.rstrip('/')}/{hashes[0]}.r0",)] if base is not None else planner.lists_of(key, found)
        job = Job(alias, authorities[0].subject, *hashes, authorities, 0, (), planner.is_alone(hashes))
        jobs += [job._replace(position=number, urls=urls) for number, urls in enumerate(lists)]
        if not lists:
            without.append(job)
    if missing:
        raise ConfigError(f"no CA called {', '.join(sorted(missing))} in {directory}", hint="name it by hash or alias")
    return Plan(tuple(jobs), tuple(without), tuple(planner.problems))


class _Planner:
    """Gathers what the directory's files say, by the canonical name of each CA."""

    def __init__(self, directory: str, anchors: TrustAnchors) -> None:
        self._directory = directory
        self.by_name: dict[bytes, tuple[Authority, ...]] = {}
        self.infos: dict[bytes, TrustInfo] = {}
        self.aliases: dict[bytes, str] = {}
        self.problems: list[str] = []
        self._points: dict[bytes, list[str]] = {}
        self._stems: dict[str, bytes] = {}
        self._hashes: set[str] = set()
        self._shared = {problem.path.partition(".")[0] for problem in anchors.problems if problem.reason is None}
        for authority in anchors.authorities:
            certificate = authority.certificate
            key = names.canonical(certificate.subject_der)
            if key not in self.by_name:
                self._note_hashes(certificate.subject_der)
            self.by_name[key] = (*self.by_name.get(key, ()), authority)
            for stem in (*hash_names(certificate.subject_der), self._link_stem(authority.path)):
                self._stems.setdefault(stem, key)
            self._note_points(authority)
        self._by_subject = {canonical_oneline(found[0].subject): key for key, found in self.by_name.items()}

    def _note_hashes(self, subject_der: bytes) -> None:
        hashes = set(hash_names(subject_der))
        self._shared |= hashes & self._hashes
        self._hashes |= hashes

    def is_alone(self, hashes: Sequence[str]) -> bool:
        """Tell whether no other name has one of these hashes, and no broken certificate file either."""
        return not self._shared.intersection(hashes)

    def _link_stem(self, path: str) -> str:
        """Return the alias that `<hash>.0` links to, or its own stem."""
        return os.path.splitext(os.path.basename(os.path.realpath(os.path.join(self._directory, path))))[0]

    def _note_points(self, authority: Authority) -> None:
        """Note where the issuer of this certificate publishes its list."""
        try:
            urls = distribution_points(authority.certificate)
            issuer = names.canonical(authority.certificate.issuer_der)
        except GridError as error:
            self.problems.append(f"{authority.path}: {error.message}")
            return
        known = self._points.setdefault(issuer, [])
        known += [url for url in urls if url not in known and url.lower().startswith(("http:", "https:"))]

    def read_files(self) -> None:
        """Read every `.info` and `.crl_url` file; where a CA has both, the first counts."""
        try:
            listed = os.listdir(self._directory)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", path=self._directory) from error
        if len(listed) > _MAX_ENTRIES:
            raise ConfigError(f"more than {_MAX_ENTRIES} entries", path=self._directory)
        for suffix in _SUFFIXES:
            for name in sorted(listed):
                if name.endswith(suffix) and not name.startswith("."):
                    self._read_file(name, name.removesuffix(suffix), is_info=suffix == ".info")

    def _read_file(self, name: str, stem: str, *, is_info: bool) -> None:
        try:
            data = read_public(os.path.join(self._directory, name), max_bytes=MAX_SOURCE_BYTES)
            info = parse_info(data) if is_info else TrustInfo(None, None, (parse_crl_url(data),))
        except GridError as error:
            self.problems.append(f"{name}: {error.message}")
            return
        key = self._find_authority(stem, info)
        if key is None:
            return  # of a CA that is not installed
        if not _HASH.fullmatch(stem):
            self.aliases.setdefault(key, info.alias or stem)
        elif info.alias:
            self.aliases.setdefault(key, info.alias)
        lists = tuple(urls for urls in info.crl_urls if urls)
        if lists and not (key in self.infos and self.infos[key].crl_urls):
            self.infos[key] = info._replace(crl_urls=lists)

    def _find_authority(self, stem: str, info: TrustInfo) -> bytes | None:
        """Return the canonical name of the CA that a file of this stem is about."""
        if stem in self._stems:
            return self._stems[stem]
        for suffix in _CERTIFICATE_SUFFIXES:
            try:
                data = read_public(os.path.join(self._directory, stem + suffix), max_bytes=_MAX_CERTIFICATE_FILE)
                certificates = load_certificates(data, what=stem + suffix)
            except GridError:
                continue
            for certificate in certificates:
                key = names.canonical(certificate.subject_der)
                if key in self.by_name:
                    return key
        return self._by_subject.get(canonical_oneline(info.subject)) if info.subject else None

    def lists_of(self, key: bytes, info: TrustInfo | None) -> list[tuple[str, ...]]:
        """Return, for each list of a CA, the URLs to try."""
        points = tuple(self._points.get(key, ()))
        if info is None:
            return [points] if points else []
        first, *others = info.crl_urls
        return [tuple(dict.fromkeys((*first, *points))), *others]
