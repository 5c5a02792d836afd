"""The directive `openapi`: an HTTP API, from the very document (OpenAPI 3.1) that the server serves.

    ```{openapi} cas.server.openapi:document cas.server.operations:OPERATIONS
    ```

The first argument names what returns the document, the others what it is given: a name in a module, or a URL.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from marked import paragraph, table
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sphinx.application import Sphinx

__all__ = ["setup"]

_METHODS: Final = ("get", "post", "put", "patch", "delete")


class OpenAPI(SphinxDirective):
    """A section for each operation and one for each named schema."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        make, *given = map(_load, self.arguments)
        document: Mapping[str, Any] = make(*given)  # Any: JSON, checked by the server's own tests
        found: list[nodes.Node] = []
        for path, methods in document["paths"].items():
            found += [_operation(method, path, methods[method], document) for method in _METHODS if method in methods]
        for schema_name, schema in document.get("components", {}).get("schemas", {}).items():
            section = _section(f"Schema {schema_name}", f"schema-{schema_name.lower()}")
            if "description" in schema:
                section += paragraph(schema["description"])
            section += _properties(schema)
            found.append(section)
        return found


def _load(place: str) -> Any:  # a text, or whatever a module holds
    if "://" in place:
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _section(title: str, label: str, *, code: bool = False) -> nodes.section:
    shown = nodes.literal("", title) if code else nodes.Text(title)
    return nodes.section("", nodes.title("", "", shown), ids=[label])


def _operation(method: str, path: str, one: Mapping[str, Any], document: Mapping[str, Any]) -> nodes.section:
    label = nodes.make_id(f"{method} {path}")
    section = _section(f"{method.upper()} {path}", label, code=True)
    section += paragraph(one.get("summary", ""))
    if "description" in one:
        section += paragraph(one["description"])
    if one.get("security", document.get("security")) == []:
        section += paragraph("Needs no authentication.")
    if one.get("parameters"):
        section += nodes.rubric("", "Parameters")
        parameters = [
            (f"`{each['name']}`", each["in"], _type(each.get("schema", {})), each.get("description", ""))
            for each in one["parameters"]
        ]
        section += table(("Name", "In", "Type", "Meaning"), parameters)
    for kind, content in one.get("requestBody", {}).get("content", {}).items():
        section += nodes.rubric("", "", nodes.Text("Request body, "), nodes.literal("", kind))
        section += _properties(content["schema"])
    section += nodes.rubric("", "Answers")
    rows: list[tuple[str, ...]] = []
    headers: dict[tuple[str, str], list[str]] = {}
    for status, answer in one["responses"].items():
        schemas = [content.get("schema", {}) for content in answer.get("content", {}).values()]
        rows.append((f"`{status}`", answer.get("description", ""), "; ".join(map(_members, schemas))))
        for name, header in answer.get("headers", {}).items():
            headers.setdefault((name, header.get("description", "")), []).append(f"`{status}`")
    section += table(("Status", "Meaning", "Body"), rows)
    if headers:
        section += nodes.rubric("", "Headers of answers")
        told = [(f"`{name}`", meaning, ", ".join(of)) for (name, meaning), of in headers.items()]
        section += table(("Name", "Meaning", "Of"), told)
    return section


def _members(schema: Mapping[str, Any]) -> str:
    members = schema.get("properties", {})
    if not members:
        return _type(schema)
    return ", ".join(
        f"`{name}`" + (f" ({each['description']})" if "description" in each else "") for name, each in members.items()
    )


def _properties(schema: Mapping[str, Any]) -> list[nodes.Node]:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _type(each), "yes" if name in required else "no", each.get("description", ""))
        for name, each in schema.get("properties", {}).items()
    ]
    return [table(("Member", "Type", "Required", "Meaning"), rows)] if rows else [paragraph(f"{_type(schema)}.")]


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{kind} of {_type(schema['items'])}" if "items" in schema else kind


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("openapi", OpenAPI)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
