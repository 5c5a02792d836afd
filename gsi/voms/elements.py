"""The XML of VOMS as it is: few elements, hardly nested, no attributes that matter; knows no request and no answer.

    read_elements(data, what="VOMS answer", max_depth=5, max_elements=1000)      # [("voms/ac", "MII..."), ("voms", "")]

Read by expat, without document types or entities.
"""

from __future__ import annotations

from xml.parsers import expat

from gsi.errors import ParseError

__all__ = ["read_elements"]


class _Collector:
    """Gathers (path, text) of every element."""

    def __init__(self, what: str, max_depth: int, max_elements: int) -> None:
        self.found: list[tuple[str, str]] = []
        self._what = what
        self._max_depth = max_depth
        self._max_elements = max_elements
        self._path: list[str] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def start(self, name: str, _: object) -> None:
        self._count += 1
        if len(self._path) == self._max_depth or self._count > self._max_elements:
            raise ParseError(f"{self._what}: too deep, or too many elements", what=self._what)
        self._path.append(name)
        self._texts.append([])

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def end(self, _: str) -> None:
        self.found.append(("/".join(self._path), "".join(self._texts.pop()).strip()))
        self._path.pop()

    def refuse(self, *_: object) -> None:
        raise ParseError(f"{self._what}: a document type", what=self._what)


def read_elements(data: bytes, *, what: str, max_depth: int, max_elements: int) -> list[tuple[str, str]]:
    """Return the path and the text of every element, in the order in which they end: the root last.

    Args:
        data: The document; whoever calls has bounded its length.
        what: What it is called in errors.
        max_depth: How deep elements may be, the root being the first.
        max_elements: How many there may be.

    Raises:
        ParseError: It is not such XML.
    """
    collector = _Collector(what, max_depth, max_elements)
    parser = expat.ParserCreate()
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.StartDoctypeDeclHandler = collector.refuse
    parser.EntityDeclHandler = collector.refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ParseError(f"{what}: not XML: {error}", what=what, offset=parser.ErrorByteIndex) from error
    except (LookupError, ValueError) as error:
        raise ParseError(f"{what}: not XML: {type(error).__name__}", what=what) from error
    return collector.found
