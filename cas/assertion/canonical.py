"""XML written in its exclusive canonical form from the start, so that what is signed is what is sent, byte for byte.

    text = element("Action", {"Namespace": "file"}, escape("read"))

For the documents of `saml` alone: attributes in no namespace, at most one `xmlns`, no comments, no instructions.
Exclusive canonicalization (W3C, 2002) of the result is the result; tests hold lxml's to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.errors import IssuanceError, IssuanceStep

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["element", "escape"]


def element(name: str, attributes: Mapping[str, str] | None = None, *content: str, xmlns: str = "") -> str:
    """Return an element, never in the short form, with its attributes in order.

    Args:
        name: Its name, with the prefix if it has one.
        attributes: In no namespace.
        content: Elements and escaped text.
        xmlns: The namespace to declare for the name's prefix, or as the default; empty where one above declares it.

    Raises:
        IssuanceError: GRANT: a value that cannot be written.
    """
    prefix = name.partition(":")[0] if ":" in name else ""
    declared = f' xmlns{":" if prefix else ""}{prefix}="{_attribute(xmlns)}"' if xmlns else ""
    listed = "".join(f' {one}="{_attribute(value)}"' for one, value in sorted((attributes or {}).items()))
    return f"<{name}{declared}{listed}>{''.join(content)}</{name}>"


def escape(text: str) -> str:
    """Return text for the content of an element.

    Raises:
        IssuanceError: GRANT: it has a control character, or one that XML has not.
    """
    return _checked(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return _checked(text).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _checked(text: str) -> str:
    if not text.isprintable():  # which also leaves out surrogates and what is no character
        raise IssuanceError(f"{text[:80]!r} cannot be written in an assertion", step=IssuanceStep.GRANT)
    return text
