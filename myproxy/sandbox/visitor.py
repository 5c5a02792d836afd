"""A visitor of the portal without a browser: logs on, looks at pages, downloads a proxy, confirms a terminal.

    python -m myproxy.sandbox.visitor https://localhost:8443 alice show / fetch proxy.pem < pass-phrase

For the sandbox's tour and tutorial. It keeps cookies and sends the pages' own forms, as a browser does, and shows what
it asked for and what a person would read; it is no library for other programs, which ask the MyProxy server.
"""

from __future__ import annotations

import html
import re
import shlex
import ssl
import subprocess
import sys
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPSHandler, build_opener

from gsi.cli.run import printable
from gsi.system.environ import read_locations
from gsi.system.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Visitor", "main"]

TIMEOUT_SECONDS: Final = 30.0
MAX_BYTES: Final = 1 << 20  # pages have some kilobytes
_USAGE: Final = "usage: visitor URL USER [show PATH | fetch FILE | terminal COMMAND] ... < PASS-PHRASE"
_TOKEN: Final = re.compile(r'name="form_token" value="([0-9a-f]+)"')
_KEY: Final = re.compile(r'<p class="big">([^<]*)</p>')
_SHOWN_KEY: Final = re.compile(r"the key  ([0-9A-F ]+)")
_CODE: Final = re.compile(r"/terminal\?code=\S+")


class Visitor:
    """Somebody at the portal.

    Attributes:
        page: The page that is looked at.
    """

    def __init__(self, url: str, trust_dir: str) -> None:
        self._url = url.rstrip("/")
        context = ssl.create_default_context(capath=trust_dir)
        self._opener = build_opener(HTTPSHandler(context=context), HTTPCookieProcessor(CookieJar()))
        self.page = ""

    def get(self, path: str) -> str:
        """Look at a page; return it.

        Raises:
            SystemExit: It cannot be had.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, **fields: str) -> str:
        """Send a form of the page that is looked at; return what comes.

        Raises:
            SystemExit: It is refused.
        """
        token = _TOKEN.search(self.page)
        if token is None:
            raise SystemExit(f"visitor: there is no form on the page before {path}")
        return self._ask("POST", path, {**fields, "form_token": token[1]})

    def _ask(self, method: str, path: str, fields: dict[str, str] | None) -> str:
        body = None if fields is None else urlencode(fields).encode()
        try:
            with self._opener.open(f"{self._url}{path}", data=body, timeout=TIMEOUT_SECONDS) as answer:
                text: str = answer.read(MAX_BYTES).decode("utf-8", "replace")
                status, place = answer.status, urlsplit(answer.url).path
        except HTTPError as error:
            said = "; ".join(_Words.of(error.read(MAX_BYTES).decode("utf-8", "replace")))
            raise SystemExit(f"visitor: {method} {path}: {error.code} {printable(said)}") from error
        except (URLError, OSError) as error:
            raise SystemExit(f"visitor: {method} {path}: {error}") from error
        print(f"{method} {path}: {status}{'' if place == urlsplit(path).path else f', then {place}'}")
        if not text.startswith("-----BEGIN"):
            self.page = text
        return text


class _Words(HTMLParser):
    """What a person reads within `main`: one line for each heading, paragraph, term or row."""

    _LINES: Final = frozenset({"h1", "h2", "p", "tr", "dl", "pre", "li"})

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        self._reading = False

    @classmethod
    def of(cls, page: str) -> list[str]:
        """Return the lines."""
        words = cls()
        words.feed(page)
        return [line for line in (" ".join(each.split()) for each in words.lines) if line]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._reading = self._reading or tag == "main"
        if tag in self._LINES:
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        self._reading = self._reading and tag != "main"
        if tag in {"td", "th", "dt", "dd", "a", "span"}:
            self.lines[-1] += " "
        elif tag in self._LINES:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if self._reading:
            self.lines[-1] += data


class _Terminal:
    """A terminal in which `myproxy-logon --portal` runs; ended in any case."""

    def __init__(self, command: str) -> None:
        print(f"in the terminal: {command}")
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def read(self) -> Iterator[str]:
        """Show what it shows, line by line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print(f"    {printable(line.rstrip())}")
            yield line

    def end(self, *, finished: bool) -> None:
        """Wait for its end; end it where not all went well.

        Raises:
            SystemExit: It has failed.
        """
        if not finished:
            self._process.terminate()
        with self._process:
            for _ in self.read():
                pass
        if self._process.returncode and finished:
            raise SystemExit(f"visitor: the terminal's command ended with {self._process.returncode}")


def _show(visitor: Visitor, path: str) -> None:
    """Show a page as text."""
    for line in _Words.of(visitor.get(path)):
        print(f"    {printable(line)}")


def _fetch(visitor: Visitor, path: str) -> None:
    """Download a proxy, which nobody else may read."""
    visitor.get("/fetch")
    write_private(path, visitor.post("/fetch", hours="0").encode())
    print(f"    wrote {path}")


def _confirm(visitor: Visitor, terminal: _Terminal) -> None:
    """Compare the terminal's key with the page's, and say yes.

    Raises:
        SystemExit: They differ, or there is no code.
    """
    place = key = None
    for line in terminal.read():
        place = place or _CODE.search(line)
        key = key or _SHOWN_KEY.search(line)
        if place and key:
            break
    if not (place and key):
        raise SystemExit("visitor: the terminal shows no code")
    shown = _KEY.search(visitor.get(place[0]))
    if shown is None or html.unescape(shown[1]).split() != key[1].split():
        raise SystemExit("visitor: the page shows another key than the terminal: not confirmed")
    visitor.post("/terminal", code=place[0].partition("=")[2], hours="0", answer="yes")


def main(argv: Sequence[str]) -> None:
    """Visit the portal.

    Raises:
        SystemExit: Something does not work; its text says what.
    """
    url, username, *words = argv if len(argv) >= 2 else ("", "", "?")
    if len(words) % 2 or not {*words[::2]} <= {"show", "fetch", "terminal"}:
        raise SystemExit(_USAGE)
    visitor = Visitor(url, read_locations().trust_dir)
    passphrase = sys.stdin.readline().rstrip("\n")
    visitor.get("/logon")
    visitor.post("/logon", username=username, passphrase=passphrase)
    terminals: list[_Terminal] = []
    finished = False
    try:
        for deed, what in zip(words[::2], words[1::2], strict=True):
            if deed == "show":
                _show(visitor, what)
            elif deed == "fetch":
                _fetch(visitor, what)
            else:
                terminals.append(_Terminal(what))
                _confirm(visitor, terminals[-1])
        finished = True
    finally:
        for terminal in terminals:  # which ask now and then, so that the visit goes on meanwhile
            terminal.end(finished=finished)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text streams have it
    main(sys.argv[1:])
