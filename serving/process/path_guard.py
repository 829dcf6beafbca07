"""What stands in front of BentoML: our paths only, a cap on bodies, our headers."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from obligor.serving.api.problems import plain_problem, problem_response
from obligor.serving.webhooks.outbox import OutboxStatus

READY = "/readyz"
PATHS = ("/livez", READY)
PREFIX = "/v1/"
MOST_BYTES = 1_000_000
MOST_BYTES_OF_BATCH = 16_000_000
_BATCHES = ("/v1/decisions/batch", "/v1/ledger/")
# The headers that the OWASP REST security cheat sheet asks for.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Obligor</title>
<h1>Obligor</h1><p>Explained and recorded credit decisions. The interface is described
at <a href="/v1/openapi.json">/v1/openapi.json</a>, for callers with a key.</p>
</html>"""


class PathGuard:
    """An ASGI middleware that passes on only the requests BentoML may see.

    BentoML's own pages load third-party scripts. Its mount does not match a path with a
    line feed, and would log it: a forged line in the log. It reads a body of any size
    into memory.

    Parameters
    ----------
    app : ASGIApp
        BentoML.
    outbox_status : callable, optional
        Returns how the outbox of webhooks stands; `/readyz` shows it.
    """

    def __init__(
        self,
        app: ASGIApp,
        outbox_status: Callable[[], OutboxStatus | None] = lambda: None,
    ) -> None:
        self.app = app
        self._outbox_status = outbox_status

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Pass a request on, or answer it with a problem (RFC 9457).

        Parameters
        ----------
        scope, receive, send
            As the ASGI specification says.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope.get("path", "")
        send_with_headers = _with_headers(send)
        cap = MOST_BYTES_OF_BATCH if path.startswith(_BATCHES) else MOST_BYTES
        if path == "/" and scope["method"] in ("GET", "HEAD"):
            await HTMLResponse(_PAGE)(scope, receive, send_with_headers)
        elif not _is_ours(path):
            await _not_found()(scope, receive, send_with_headers)
        elif path == READY:
            await self.app(scope, receive, self._with_readiness(send_with_headers))
        elif _announced_length(scope) > cap:
            await _too_large(cap)(scope, receive, send_with_headers)
        else:
            capped = _CappedBody(cap, scope, receive, send_with_headers)
            await self.app(scope, capped.receive, capped.send)

    def _with_readiness(self, send: Send) -> Send:
        """Return what sends BentoML's answer with a body that shows the outbox."""
        body = b""

        async def send_with_body(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                shown = readiness(message["status"] == 200, self._outbox_status())
                body = orjson.dumps(shown)
                message["headers"] = [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                ]
                await send(message)
            elif not message.get("more_body", False):
                await send({"type": "http.response.body", "body": body})

        return send_with_body


def readiness(is_ready: bool, outbox: OutboxStatus | None) -> dict[str, object]:
    """Return what `/readyz` says; a full outbox does not make a service unready.

    Examples
    --------
    >>> readiness(True, OutboxStatus(1, 3, 0, 12, 4.25))
    {'is_ready': True, 'outbox': {'oldest_s': 4.2, 'waiting': 3, 'dead': 0}}
    """
    if outbox is None or outbox.n_endpoints == 0:
        return {"is_ready": is_ready, "outbox": None}
    shown = {
        "oldest_s": round(outbox.oldest_s, 1),
        "waiting": outbox.waiting,
        "dead": outbox.dead,
    }
    return {"is_ready": is_ready, "outbox": shown}


class _CappedBody:
    """A request whose body may arrive in pieces, up to a number of bytes.

    Once there are more, the request is answered here; to the app it looks as if the
    client had disconnected.
    """

    def __init__(
        self,
        cap: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._cap = cap
        self._scope = scope
        self._receive = receive
        self._send = send
        self._n_bytes = 0
        self._has_answered = False
        self._is_refused = False

    async def receive(self) -> Message:
        """Receive the next piece."""
        message = await self._receive()
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes <= self._cap:
            return message
        if not self._is_refused and not self._has_answered:
            refusal = _too_large(self._cap)
            await refusal(self._scope, self._receive, self._send)
        self._is_refused = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the app's answer, unless the request was refused."""
        self._has_answered = True
        if not self._is_refused:
            await self._send(message)


def _is_ours(path: str) -> bool:
    if path in PATHS:
        return True
    return path.startswith(PREFIX) and path.isprintable()


def _announced_length(scope: Scope) -> int:
    """Return the length of the body by its header; 0 without one."""
    value = dict(scope["headers"]).get(b"content-length", b"0")
    is_number = value.isdigit() and len(value) < 20
    return int(value) if is_number else 0


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            for name, value in _HEADERS:
                if name not in names:
                    headers.append((name, value))
            message["headers"] = headers
        await send(message)

    return send_with_headers


def _not_found() -> Response:
    detail = "no such path; /v1/openapi.json lists them"
    return problem_response(plain_problem(404, detail))


def _too_large(cap: int) -> Response:
    detail = f"the body is larger than {cap:,} bytes; send less at a time"
    return problem_response(plain_problem(413, detail), {"Connection": "close"})
