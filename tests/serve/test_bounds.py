"""Walks the OpenAPI document: every field has a bound, and what lies outside is refused before generating."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import standin
from standin import HTTP

POSTS = {
    "/v1/chat/completions": {"model": "script", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "script:raw", "prompt": "hi"},
    "/v1/lineage": {"answer": "hi"},
    "/v1/feedback": {"rating": "up"},
}


def resolve(schema: dict, document: dict) -> dict:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def leaves(schema: dict, document: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every schema node below `schema` with its path, unions opened."""
    schema = resolve(schema, document)
    yield path, schema
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from leaves(part, document, path)
    for name, part in schema.get("properties", {}).items():
        yield from leaves(part, document, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from leaves(schema["items"], document, path + "[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from leaves(schema["additionalProperties"], document, path + "{}")


def bounded(schema: dict) -> bool:
    kind = schema.get("type")
    if "const" in schema or "enum" in schema or kind in (None, "null", "boolean"):
        return True
    if kind in ("integer", "number"):
        return ("maximum" in schema or "exclusiveMaximum" in schema) and (
            "minimum" in schema or "exclusiveMinimum" in schema
        )
    if kind == "string":
        return "maxLength" in schema
    if kind == "array":
        return "maxItems" in schema
    return schema.get("additionalProperties") is False or "maxProperties" in schema


@pytest.fixture(scope="module")
def document() -> dict:
    return standin.make_app()[0].openapi()


def body_schema(document: dict, path: str) -> dict:
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]


def test_the_walk_covers_every_post(document):
    assert {path for path, item in document["paths"].items() if "post" in item} == set(POSTS)


def test_every_field_is_bounded(document):
    unbounded = []
    for path in POSTS:
        unbounded += [
            path + at for at, schema in leaves(body_schema(document, path), document) if not bounded(schema)
        ]
    for path, item in document["paths"].items():
        for method in item.values():
            for parameter in method.get("parameters", ()):
                for at, schema in leaves(parameter["schema"], document):
                    if not bounded(schema) and "/ui/" not in path:
                        unbounded.append(f"{path} {parameter['name']}{at}")
    assert unbounded == []


def hostile(field: str, schema: dict, document: dict) -> Iterator[Any]:
    """Values just outside each bound of a field, and values of every wrong kind."""
    kinds = set()
    for at, node in leaves(schema, document):
        if at != "":
            continue
        kinds.add(node.get("type") or ("string" if "const" in node or "enum" in node else None))
        if "maximum" in node:
            yield node["maximum"] + 1
            yield node["minimum" if "minimum" in node else "exclusiveMinimum"] - 1
        if node.get("type") == "string" and "maxLength" in node:
            yield "x" * (node["maxLength"] + 1)
        if "maxItems" in node:
            kind = node["items"].get("type")
            item = node["items"].get("const", {"integer": 1, "array": [1]}.get(kind, "x"))
            yield [item] * (node["maxItems"] + 1)
    yield from (2**63, -(2**63) - 1, 1e308, -1.5)
    yield {"$ref": 1, "deep": [[[[[]]]]]}
    yield [[[[1]]]]
    if "string" not in kinds:
        yield "12"
    if "boolean" not in kinds:
        yield True
    else:
        yield 1


@pytest.mark.parametrize("path", POSTS)
def test_what_lies_outside_is_refused(live, document, path):
    fields = resolve(body_schema(document, path), document)["properties"]
    tried = 0
    with httpx2.Client(verify=False, base_url=live.url) as client:
        for field, schema in fields.items():
            for value in hostile(field, schema, document):
                begin = time.perf_counter()
                answer = client.post(path, json={**POSTS[path], field: value})
                assert 400 <= answer.status_code < 500, (field, str(value)[:60], answer.text[:200])
                assert time.perf_counter() - begin < 5  # a hang, not a benchmark
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"} and len(error["message"]) <= 600
                tried += 1
        for name in ("unknown", "__proto__", "extra_body", "auto_map"):
            answer = client.post(path, json={**POSTS[path], name: 1})
            assert answer.status_code == 400 and answer.json()["error"]["param"] == name
        assert client.post(path, json=POSTS[path]).status_code in (200, 404)  # 404: no feedback file
    assert tried > 10 and len(live.script.requests) <= 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"model": NaN}',
        b'{"model":"script","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"model":"script","messages":[{"role":"user","content":"x"}],"temperature":1e999}',
        b'{"model":"script","messages":[{"role":"user","content":"x"}],"temperature":' + b"9" * 5000 + b"}",
        b'{"model":"script","messages":[{"role":"user","content":"\\ud800"}]}',
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"\xff\xfe\x00",
    ],
)
def test_broken_json_is_a_400(live, body):
    answer = HTTP.post(
        live.url + "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert "error" in answer.json() and live.script.requests == []


def test_many_messages_are_refused(live):
    body = {"model": "script", "messages": [{"role": "user", "content": "x"}] * 10_000}
    assert len(json.dumps(body)) < 1024 * 1024
    answer = HTTP.post(live.url + "/v1/chat/completions", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "messages"


@pytest.mark.parametrize("query", ["?length=0", "?length=999999", "?start=-1", "?start=x", "?start=1e5"])
def test_window_of_a_document_is_bounded(live, query):
    assert HTTP.get(live.url + "/v1/documents/d1" + query).status_code == 400
