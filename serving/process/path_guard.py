"""What stands in front of BentoML: only our paths get through, no body beyond its cap, our headers on every answer."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = ("/livez", "/readyz")
PREFIX = "/v1/"
MOST_BYTES, MOST_BYTES_OF_BATCH = 1_000_000, 16_000_000
_BATCH = "/v1/decisions/batch"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Obligor</title>
<h1>Obligor</h1><p>Explained and recorded credit decisions. The interface is described at
<a href="/v1/openapi.json">/v1/openapi.json</a>, for callers with a key.</p></html>"""


class PathGuard:
    """An ASGI middleware that answers what need not reach BentoML, and puts our headers on what does.

    BentoML's own pages load third-party scripts; its mount does not match a line feed in a path, and would log it:
    a forged log line; it reads a body of any size into memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem (RFC 9457)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, send = scope.get("path", ""), _with_headers(send)
        cap = MOST_BYTES_OF_BATCH if path == _BATCH else MOST_BYTES
        if path == "/" and scope["method"] in ("GET", "HEAD"):
            await HTMLResponse(_PAGE)(scope, receive, send)
        elif not (path in PATHS or (path.startswith(PREFIX) and path.isprintable())):
            await _problem(
                404, "Not Found", "no such path; /v1/openapi.json lists them"
            )(scope, receive, send)
        elif _length(scope) > cap:
            await _too_large(cap)(scope, receive, send)
        else:
            await self._capped(scope, receive, send, cap)

    async def _capped(
        self, scope: Scope, receive: Receive, send: Send, cap: int
    ) -> None:
        """Pass a request on whose body may come in pieces of unknown size."""
        seen, has_answered, is_refused = 0, False, False

        async def counted() -> Message:
            nonlocal seen, is_refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen <= cap:
                return message
            if not (is_refused or has_answered):
                await _too_large(cap)(scope, receive, send)
            is_refused = True
            return {"type": "http.disconnect"}  # for the app the caller has gone

        async def noted(message: Message) -> None:
            nonlocal has_answered
            has_answered = True
            if not is_refused:
                await send(message)

        await self.app(scope, counted, noted)


def _length(scope: Scope) -> int:
    """What the request says its body's length is; 0 where it says none."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    return int(said) if said.isdigit() and len(said) < 20 else 0


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            message["headers"] = [
                *message.get("headers", ()),
                *(one for one in _HEADERS if one[0] not in there),
            ]
        await send(message)

    return sending


def _too_large(cap: int) -> Response:
    headers = {"Connection": "close"}
    return _problem(
        413,
        "Content Too Large",
        f"the body is larger than {cap:,} bytes; send less at a time",
        headers,
    )


def _problem(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
    }
    return Response(
        orjson.dumps(problem), status, headers, media_type="application/problem+json"
    )
