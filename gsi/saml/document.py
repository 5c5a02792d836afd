"""XML of assertions, read strictly: no document type, no entity, no comment, bounded size and depth, ids that are one.

    root = parse_document(data)
    children(root), text_of(element), split_tag(element.tag)

What could be read in two ways is refused before any signature is looked at: a comment splits a text for one reader and
not for another, a processing instruction or doubled id leads a verifier to one element and its user to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from gsi.errors import CapabilityError, CapabilityProblem, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MAX_DEPTH",
    "MAX_DOCUMENT_BYTES",
    "MAX_ELEMENTS",
    "Element",
    "children",
    "is_id",
    "parse_document",
    "refuse",
    "split_tag",
    "text_of",
]

MAX_DOCUMENT_BYTES: Final = 256 << 10  # as a certificate, in which it travels; one with 500 statements takes 250 kB
MAX_DEPTH: Final = 16  # the signature's X509Certificate is at 5
MAX_ELEMENTS: Final = 10_000
_ID_NAMES: Final = frozenset({"ID", "Id", "id", "AssertionID", "{http://www.w3.org/XML/1998/namespace}id"})
_MAX_ID_CHARS: Final = 255


class Element(Protocol):
    """What is used of lxml's elements, which have no types of their own."""

    tag: object
    text: str | None
    tail: str | None

    @property
    def attrib(self) -> dict[str, str]:
        """The attributes; a name in a namespace as `{namespace}name`."""

    def get(self, key: str) -> str | None:
        """Return an attribute, or None."""

    def getparent(self) -> Element | None:
        """Return the element around it."""

    def iter(self) -> Iterator[Element]:
        """Yield it and everything in it."""

    def remove(self, element: Element, /) -> None:
        """Take out one of those directly in it."""

    def __iter__(self) -> Iterator[Element]: ...

    def __len__(self) -> int: ...


def refuse(message: str, problem: CapabilityProblem = CapabilityProblem.MALFORMED) -> CapabilityError:
    """Return the error about an assertion."""
    return CapabilityError(f"assertion: {message}", problem=problem)


def parse_document(data: bytes) -> Element:
    """Return the root element of a document.

    Raises:
        CapabilityError: MALFORMED.
        ConfigError: The extra `saml` is not installed.
    """
    try:
        from lxml import etree
    except ImportError as error:
        raise ConfigError("assertions need lxml", hint="install the extra: gsi-toolkit[saml]") from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise refuse(f"{len(data)} bytes, limit {MAX_DOCUMENT_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse("not UTF-8") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # before a parser sees it; UTF-8 leaves no other spelling
        raise refuse("a document type")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=False,
        remove_pis=False,
        strip_cdata=False,
    )
    try:
        root = etree.fromstring(data, parser=parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise CapabilityError(f"assertion: not XML: {str(error)[:100]}", problem=CapabilityProblem.MALFORMED) from error
    document = root.getroottree()
    if document.docinfo.internalDTD is not None or document.docinfo.externalDTD is not None:
        raise refuse("a document type")
    found = cast("Element", root)
    if root.getprevious() is not None or root.getnext() is not None:
        raise refuse("something beside its root element")
    _check_tree(found)
    return found


def _check_tree(root: Element) -> None:
    seen: set[str] = set()
    todo = [(root, 1)]
    count = 0
    while todo:
        element, depth = todo.pop()
        count += 1
        if count > MAX_ELEMENTS or depth > MAX_DEPTH:
            raise refuse(f"more than {MAX_ELEMENTS} elements, or nested deeper than {MAX_DEPTH}")
        if not isinstance(element.tag, str):
            raise refuse("a comment, processing instruction or entity")
        for name, value in element.attrib.items():
            if name in _ID_NAMES:
                if value in seen:
                    raise refuse("one id for two elements")
                seen.add(value)
        todo.extend((child, depth + 1) for child in element)


def split_tag(element: Element) -> tuple[str, str]:
    """Return namespace and local name."""
    tag = str(element.tag)
    namespace, brace, name = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
    return (namespace, name) if brace or not tag.startswith("{") else ("", tag)


def children(element: Element, namespace: str) -> list[tuple[str, Element]]:
    """Return local name and element of each child; all must be of one namespace, with nothing but blanks between them.

    Raises:
        CapabilityError: MALFORMED.
    """
    if (element.text or "").strip():
        raise refuse(f"text within {split_tag(element)[1]}")
    found: list[tuple[str, Element]] = []
    for child in element:
        its, name = split_tag(child)
        if its != namespace:
            raise refuse(f"{name} of another namespace within {split_tag(element)[1]}")
        if (child.tail or "").strip():
            raise refuse(f"text within {split_tag(element)[1]}")
        found.append((name, child))
    return found


def text_of(element: Element) -> str:
    """Return the text of an element that holds no other, without blanks around it.

    Raises:
        CapabilityError: MALFORMED.
    """
    if len(element):
        raise refuse(f"elements within {split_tag(element)[1]}, which has text")
    text = (element.text or "").strip()
    if not text.isprintable():
        raise refuse(f"control characters within {split_tag(element)[1]}")
    return text


def is_id(text: str | None) -> bool:
    """Say whether an id can be one: an NCName in ASCII, so that it means the same in a reference."""
    return (
        text is not None
        and 0 < len(text) <= _MAX_ID_CHARS
        and text.isascii()
        and (text[0].isalpha() or text[0] == "_")
        and all(char.isalnum() or char in "_-." for char in text)
    )
