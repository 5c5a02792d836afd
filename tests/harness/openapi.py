"""Answers held to an OpenAPI document: what is served is described, and what is described is served.

client = described_client(app, describe())       # each answer of the application has to fit the document
client.get("/health")
assert client.seen == statuses(describe())       # {(path, method, status)}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

__all__ = ["DescribedClient", "check_answer", "described_client", "routes", "served_routes", "statuses"]

Document = Mapping[str, Any]  # JSON
_METHODS = ("get", "post", "put", "delete")
_TELLING = re.compile(r"X-(?!Content-Type-Options|Frame-Options)|Retry-After|WWW-Authenticate|Allow")
"""Headers that say something of one answer; a document has to name them."""


def routes(document: Document) -> set[tuple[str, str]]:
    """What is described: path and method."""
    return {(path, method) for path, methods in document["paths"].items() for method in _METHODS if method in methods}


def statuses(document: Document) -> set[tuple[str, str, str]]:
    """What may be answered to what."""
    return {
        (path, method, status)
        for path, method in routes(document)
        for status in document["paths"][path][method]["responses"]
    }


def served_routes(app: Flask) -> set[tuple[str, str]]:
    """What an application serves, in the words of a document."""
    return {
        (re.sub("<[a-z]+_(id)>", lambda found: "{" + found[1].upper() + "}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def _find_path(document: Document, path: str) -> str | None:
    path = re.sub("//+", "/", path)
    for described in document["paths"]:
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(described)), path):
            return str(described)
    return None


def check_answer(
    document: Document, method: str, path: str, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> tuple[str, str, str] | None:
    """Hold one answer to the document; return which of its answers it is, None for what is asked in vain."""
    found, method = _find_path(document, path), method.lower()
    if method in {"head", "options"}:
        return None
    if found is None or method not in document["paths"][found]:
        assert status in {404, 405}, (method, path, status)
        return None
    answers = document["paths"][found][method]["responses"]
    assert str(status) in answers, (method, path, status, body[:200])
    answer = answers[str(status)]
    told = {name.lower(): value for name, value in headers}
    for name, _ in headers:
        if _TELLING.match(name):
            assert name in answer.get("headers", {}), (method, path, status, name)
    for name, header in answer.get("headers", {}).items():
        assert not header.get("required") or name.lower() in told, (method, path, status, name)
    content = answer.get("content", {})
    if not content:
        assert not body, (method, path, status, body[:200])
        return found, method, str(status)
    kind = told["content-type"].partition(";")[0]
    assert kind in content, (method, path, status, kind)
    if kind == "application/json":
        schema = {**content[kind]["schema"], "components": document.get("components", {})}
        value = json.loads(body)
        jsonschema.Draft202012Validator(schema).validate(value)
        if isinstance(value, dict):
            named = _members(schema, document)
            assert not named or value.keys() <= named, (method, path, status, sorted(value.keys() - named))
    return found, method, str(status)


def _members(schema: Mapping[str, Any], document: Document) -> set[str]:
    if "$ref" in schema:
        return _members(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    return set(schema.get("properties", {}))


class DescribedClient(FlaskClient):
    """A client that believes nothing which the document does not say.

    Attributes:
        document: The document.
        seen: What was answered.
    """

    document: Document
    seen: set[tuple[str, str, str]]

    def open(self, *args: Any, **more: Any) -> TestResponse:
        """Ask, and look at the answer."""
        answer = super().open(*args, **more)
        found = check_answer(
            self.document,
            answer.request.method,
            answer.request.path,
            answer.status_code,
            list(answer.headers.items()),
            answer.get_data(),
        )
        if found:
            self.seen.add(found)
        return answer


def described_client(app: Flask, document: Mapping[str, object]) -> DescribedClient:
    """Return a client of the application."""
    app.test_client_class = DescribedClient
    client = app.test_client()
    assert isinstance(client, DescribedClient)
    client.document, client.seen = json.loads(json.dumps(document)), set()
    return client
