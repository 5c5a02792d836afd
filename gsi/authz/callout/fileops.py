"""Which questions one GridFTP file operation amounts to; pure, no engine, no file system.

    memory = SessionMemory()
    plan = plan_operation(request, memory, rules)
    # every question of `plan.questions` permitted, every path of `plan.sources` readable and deletable: then
    memory.remember(request)

What the server asks is less than what it then does (docs/wire/authz-callout.md has the list):

* Links are not resolved. So each question is asked of the name as given, and again of every path it leads to.
* RNFR is asked as `lookup` and RNTO as `write`, like a stat and an overwriting upload. RNFR stays in force whatever
  comes between, so that each object looked up in the session may be the source. With `Renames.CHECKED` a write that
  could be such a rename needs `read` and `delete` on each of them, and `create` where the target is new. The server
  keeps the name, not the object: the library follows each of them again and tells what they mean by now.
* A `create` is asked for each directory that is there already (`-cd` of globus-url-copy). That is a mere `lookup`.
* SITE RDEL, which deletes a tree, is asked like RMD: once, as `delete` of the directory. RMD of one that is not empty
  fails anyway, so that this is refused unless the rules allow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.messages import Fact
from gsi.authz.obligations import earliest
from gsi.errors import RemoteProtocolError

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.authz.callout.messages import OperationRequest

__all__ = ["FileRules", "Plan", "Question", "Renames", "SessionMemory", "plan_operation", "split_object"]

MAX_REMEMBERED: Final = 8192
"""Objects looked up in one session; past it nobody can tell what a rename may move."""

MAX_REMEMBERED_CHARS: Final = 1 << 20
"""All of them together: 128 characters each, where there are that many."""


class Renames(StrEnum):
    """What is done about RNFR and RNTO."""

    CHECKED = "checked"
    """A write that could be a rename is judged as one."""
    DISABLED = "disabled"
    """The server's `disable_command_list` has RNFR and RNTO, so that a write is a write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """What the site says of operations that the server does not fully tell.

    Attributes:
        renames: Whether clients can rename.
        directory_renames: Whether directories may be renamed: what is below one is judged by its new name from then
            on, whatever the policy said of the old one.
        recursive_deletes: Whether `delete` of a directory that is not empty may pass: nothing below it is asked for.
        real_paths: Whether the real path is judged beside the name.
    """

    renames: Renames = Renames.CHECKED
    directory_renames: bool = False
    recursive_deletes: bool = False
    real_paths: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """One question to the engine.

    Attributes:
        action: "read", "write", "create", "delete", "lookup".
        path: An absolute path.
    """

    action: str
    path: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation amounts to. It is permitted when all of it is.

    Attributes:
        questions: All must be permitted.
        sources: Paths that this write may turn out to rename: `read` and `delete` of each must be permitted.
        refusal: Why it is refused whatever the engine says, or empty.
    """

    questions: tuple[Question, ...] = ()
    sources: tuple[str, ...] = ()
    refusal: str = ""


class Kind(IntFlag):
    """What a remembered path was found to be. It may have been both, one after the other."""

    FILE = 1
    DIRECTORY = 2


@dataclass(slots=True)
class SessionMemory:
    """What was looked up in a session, because RNFR looks the same.

    Attributes:
        objects: Paths (links followed but for the last part) that names of the session have led to, each with what it
            was whenever it was looked at.
        cleared: Those of them that may be renamed, as the engine said; `settle` forgets them in time.
        lost: Whether there was more than is known: the session began on another connection, or looked up too much.
            Then nothing is kept, since nothing can be renamed any more.
    """

    objects: dict[str, Kind] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    lost: bool = False
    _room: int = field(default=MAX_REMEMBERED_CHARS, init=False)
    _basis: object = field(default=None, init=False)
    _since: datetime | None = field(default=None, init=False)
    _until: datetime | None = field(default=None, init=False)

    def settle(self, basis: object, now: datetime) -> None:
        """Forget what may be renamed, unless what said so is what counts now; to be called before each plan.

        Args:
            basis: By what operations are judged: who, with what was shown, by which policy. Another object is another.
            now: The time (aware UTC). One permit that has ended by now, or was not given yet, ends them all.
        """
        early = self._since is not None and now < self._since  # the clock was set back
        late = self._until is not None and now >= self._until
        if basis is not self._basis or early or late:
            self.cleared.clear()
            self._basis, self._since, self._until = basis, None, None

    def clear(self, path: str, now: datetime, until: datetime | None) -> None:
        """Note that a path may be renamed, as was decided now; until then, where that ends by itself."""
        self.cleared.add(path)
        self._since = now
        self._until = earliest(self._until, until)

    def remember(self, request: OperationRequest) -> None:
        """Take note of a permitted operation. Only what exists can be named by RNFR."""
        if request.action != "lookup" or Fact.EXISTS not in request.facts:
            if request.action == "lookup" and Fact.SYMLINK in request.facts:
                self._add(request.link_path, Kind.FILE)  # a dangling link can be renamed as well
            return
        self._add(request.link_path, _kind(request.facts))

    def follow(self, request: OperationRequest) -> None:
        """Take note of what names that were looked up before lead to by now."""
        for path in request.files_now:
            self._add(path, Kind.FILE)
        for path in request.directories_now:
            self._add(path, Kind.DIRECTORY)

    def _add(self, path: str, kind: Kind) -> None:
        if self.lost:
            return
        known = self.objects.get(path)
        if known is None:
            self._room -= len(path)
            if len(self.objects) >= MAX_REMEMBERED or self._room < 0:
                self.lost = True
                self.objects.clear()
                self.cleared.clear()
            else:
                self.objects[path] = kind
        elif kind not in known:
            self.objects[path] = known | kind
            self.cleared.discard(path)

    def sources(self, request: OperationRequest) -> tuple[str, ...]:
        """Return what a write to this target may rename, leaving out what the system would not."""
        facts = request.facts
        if Fact.EXISTS in facts or Fact.SYMLINK in facts:
            wanted = _kind(facts)  # a file replaces a file or a link, a directory an empty directory
            if wanted is Kind.DIRECTORY and Fact.EMPTY not in facts:
                return ()
        else:
            wanted = Kind.FILE | Kind.DIRECTORY
        target = request.link_path
        return tuple(
            path
            for path, kind in self.objects.items()
            if kind & wanted
            and path != target
            and path not in self.cleared
            and not (kind is Kind.DIRECTORY and target.startswith(f"{path.rstrip('/')}/"))  # not into itself
        )


def split_object(text: str) -> tuple[str, str]:
    """Split `ftp://host/path` into the part before the path, and the path.

    Raises:
        RemoteProtocolError: It is not of that form.
    """
    scheme, found, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    if scheme != "ftp" or not found or not slash:
        raise RemoteProtocolError(f"not the object of a file operation: {text[:200]!r}")
    return f"ftp://{host}", f"/{path}"


def plan_operation(request: OperationRequest, memory: SessionMemory, rules: FileRules) -> Plan:
    """Return what the operation amounts to.

    Args:
        request: The operation; not an assertion.
        memory: What was looked up in the session; takes note of what the request tells of it.
        rules: The site's switches.

    Raises:
        RemoteProtocolError: The object is not that of a file operation.
    """
    _, path = split_object(request.object)
    facts = request.facts
    if Fact.RESOLVED not in facts or not request.real_path or not request.link_path:
        return Plan(refusal="the path cannot be followed to its end")
    real, link = (request.real_path, request.link_path) if rules.real_paths else (path, path)
    match request.action:
        case "read" | "lookup":
            return Plan(_ask((request.action,), path, real))
        case "delete":
            if _is_directory(facts) and Fact.EMPTY not in facts and not rules.recursive_deletes:
                return Plan(refusal="the directory is not empty, and deleting all below it at once is not allowed")
            return Plan(_ask(("delete",), path, link))
        case "create":
            if Fact.DIRECTORY in facts:
                return Plan(_ask(("lookup",), path, real))
            # One that exists has come since the server looked, or the operation fails.
            return Plan(_ask(("create", "write") if Fact.EXISTS in facts else ("create",), path, real, link))
        case "write":
            questions = _ask(("write",) if Fact.EXISTS in facts else ("create",), path, real, link)
            if rules.renames is Renames.DISABLED:
                return Plan(questions)
            return _plan_rename(request, questions, memory, rules)
        case _:
            return Plan(refusal="the action is not known")


def _plan_rename(
    request: OperationRequest, questions: tuple[Question, ...], memory: SessionMemory, rules: FileRules
) -> Plan:
    memory.follow(request)
    if memory.lost or (memory.objects and Fact.FOLLOWED not in request.facts):
        return Plan(refusal="this could be a rename of something looked up before; please use a new connection")
    sources = memory.sources(request)
    if not rules.directory_renames and any(Kind.DIRECTORY in memory.objects[path] for path in sources):
        return Plan(refusal="this could be a rename of a directory looked up before; please use a new connection")
    return Plan(questions, sources)


def _kind(facts: Fact) -> Kind:
    return Kind.DIRECTORY if _is_directory(facts) else Kind.FILE


def _is_directory(facts: Fact) -> bool:
    """Whether the object itself is a directory, not a link to one: what renaming and deleting act on."""
    return Fact.DIRECTORY in facts and Fact.SYMLINK not in facts


def _ask(actions: tuple[str, ...], *paths: str) -> tuple[Question, ...]:
    return tuple(dict.fromkeys(Question(action, path) for path in paths for action in actions))
