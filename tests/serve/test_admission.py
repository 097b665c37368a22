"""Who may come in: routes and permissions from the running app, hosts, origins, sizes, headers."""

from __future__ import annotations

import socket

import httpx2
import pytest
import standin
from fastapi import FastAPI
from standin import HTTP

from ownlm.serve import app as app_module
from ownlm.serve.admission import MAX_BODY_BYTES, check_permissions


def test_every_route_declares_its_permission():
    app, _ = standin.make_app()
    table = check_permissions(app)
    assert {route for route, permission in table.items() if permission == "open"} == {
        "GET /",
        "GET /health",
        "GET /ui/{name}",
    }
    assert "POST /v1/chat/completions" in table and len(table) == len(app.routes)


def test_a_route_without_permission_stops_the_start(monkeypatch):
    bare = ("GET", "/v1/forgotten", lambda: None, None)
    monkeypatch.setattr(app_module, "ROUTES", (*app_module.ROUTES, bare))
    with pytest.raises(RuntimeError, match="/v1/forgotten"):
        standin.make_app()


@pytest.mark.parametrize("how", ["decorator", "mount"])
def test_a_side_door_is_seen(how):
    app, _ = standin.make_app()
    if how == "mount":
        app.mount("/side", FastAPI())
    else:
        app.get("/side")(lambda: None)
    with pytest.raises(RuntimeError, match="/side"):
        check_permissions(app)


def test_all_routes_but_the_open_ones_need_the_key():
    app, script = standin.make_app(api_key=standin.KEY)
    tricks = [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Basic " + standin.KEY},
        {"authorization": standin.KEY},
        {"authorization": f"Bearer {standin.KEY} x"},
        {"authorization": f"Bearer {standin.KEY.upper()}"},
        {"x-api-key": standin.KEY},
        {"cookie": f"key={standin.KEY}"},
        {"x-forwarded-for": "127.0.0.1"},
    ]
    body = {"model": "script", "messages": [{"role": "user", "content": "x"}], "answer": "x", "rating": "up"}
    with standin.served(app) as url, httpx2.Client(verify=False, base_url=url) as client:
        for route, permission in check_permissions(app).items():
            method, path = route.split(" ")
            path = (
                path.replace("{passage_id}", "11")
                .replace("{name}", "page.js")
                .replace("{model_id:path}", "script")
            )
            path = path.replace("{document_id:path}", "d1")
            json = body if method == "POST" else None
            for headers in tricks:
                status = client.request(method, path, headers=headers, json=json).status_code
                assert status == (401 if permission == "key" else 200), (route, headers)
            assert client.request(
                method, path + f"?key={standin.KEY}&api_key={standin.KEY}", json=json
            ).status_code == (401 if permission == "key" else 200)
            good = {"authorization": "Bearer " + standin.KEY}
            assert client.request(method, path, headers=good, json=json).status_code != 401
        twice = [("authorization", "Bearer " + standin.KEY), ("authorization", "Bearer " + standin.KEY)]
        assert client.get("/v1/models", headers=twice).status_code == 401
        for path in (
            "//v1/models",
            "/v1/models/",
            "/V1/models",
            "/%2e/v1/models",
            "/ui/../v1/models",
            "/ui/%2e%2e%2fapp.py",
        ):
            assert client.get(path).status_code in (401, 404), path
    assert all(request.messages[0].content == "x" for request in script.requests)


def test_health_is_open_and_says_only_one_word():
    state = {"ready": True}
    app, _ = standin.make_app(api_key=standin.KEY, ready=lambda: state["ready"])
    with standin.served(app) as url:
        answer = HTTP.get(url + "/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        state["ready"] = False
        answer = HTTP.get(url + "/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


def raw_exchange(url: str, request: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer:
                break
        return answer


HOSTILE = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost:8000@evil.example",
    "a/?x=",
    "localhost#",
    "",
    " ",
    "localhost:",
    "localhost:99999999",
    "[::2]",
    "localhost.",
    "127.0.0.1 evil",
    "0.0.0.0",
]


@pytest.mark.parametrize("host", HOSTILE)
def test_hostile_host_is_refused(live, host):
    answer = raw_exchange(live.url, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400")


def test_missing_and_double_host_are_refused(live):
    twice = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert raw_exchange(live.url, twice).startswith(b"HTTP/1.1 400")
    assert raw_exchange(live.url, b"GET /health HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1234", "[::1]:8000"])
def test_own_host_is_accepted(live, host):
    answer = raw_exchange(live.url, f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")


def test_other_sites_cannot_write(live):
    body = {"rating": "up"}
    for origin in ("https://evil.example", "null", live.url.replace("http", "http") + ".evil.example"):
        assert HTTP.post(live.url + "/v1/feedback", json=body, headers={"origin": origin}).status_code == 403
    assert HTTP.post(live.url + "/v1/feedback", json=body, headers={"origin": live.url}).status_code == 200
    # the kinds of body that a form of another site can send without asking first
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = HTTP.post(
            live.url + "/v1/feedback", content=b'{"rating":"up"}', headers={"content-type": kind}
        )
        assert answer.status_code == 400
    assert "access-control-allow-origin" not in HTTP.options(live.url + "/v1/feedback").headers


@pytest.mark.parametrize("path", ["/", "/ui/page.js", "/v1/models", "/nope", "/v1/passages/99", "/health"])
def test_security_headers_are_on_every_answer(live, path):
    headers = HTTP.get(live.url + path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["x-request-id"].startswith("req_")


def test_the_page_has_no_inline_code_and_no_foreign_address():
    for name, asset in standin.make_app()[0].state.assets.items():
        text = asset.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, name
        if name.endswith(".html"):
            assert " style=" not in text and " onclick" not in text and text.count("<script") == 2
        if name.endswith(".js"):
            assert not any(
                word in text
                for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write")
            )


def test_large_bodies_are_refused_announced_or_not(live):
    large = b'{"rating": "' + b"x" * MAX_BODY_BYTES + b'"}'
    headers = {"content-type": "application/json"}
    assert HTTP.post(live.url + "/v1/feedback", content=large, headers=headers).status_code == 413
    chunked = HTTP.post(live.url + "/v1/feedback", content=iter([large[:-5], large[-5:]]), headers=headers)
    assert chunked.status_code == 413
    announced = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    assert raw_exchange(live.url, announced).startswith(b"HTTP/1.1 413")  # before any byte of it was sent


def test_a_slow_body_is_given_up(live, monkeypatch):
    monkeypatch.setattr("ownlm.serve.admission.BODY_DEADLINE_SECONDS", 0.2)
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: 50\r\n\r\n{"
    assert raw_exchange(live.url, request).startswith(b"HTTP/1.1 408")
