"""What stands in front of BentoML: only our paths get through (its own pages load third-party scripts)."""

from __future__ import annotations

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

PATHS = ("/livez", "/readyz")
PREFIX = "/v1/"


class PathGuard:
    """An ASGI middleware that answers any path that is not ours, or holds a control character, with a 404.

    BentoML's mount does not match a line feed in a path, and would log it: a forged log line.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem (RFC 9457)."""
        path = scope.get("path", "")
        is_ours = path in PATHS or (path.startswith(PREFIX) and path.isprintable())
        if scope["type"] != "http" or is_ours:
            await self.app(scope, receive, send)
            return
        detail = "no such path; /v1/openapi.json lists them"
        problem = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": detail}
        await Response(orjson.dumps(problem), 404, media_type="application/problem+json")(scope, receive, send)
