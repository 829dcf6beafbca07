"""What we add to uvicorn below HTTP: a time to send a request in, a cap on connections and heads, a drain at the end.

A server that waits for ever for the rest of a head is dead after some thousand connections that never send it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType
from typing import Any, ClassVar

import uvicorn.config
from uvicorn import Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S, BODY_S = 5.0, 15.0
MOST_CONNECTIONS, MOST_HEAD_BYTES = 1000, 64 * 1024
draining = threading.Event()
_PROBLEM = (
    '{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}'
)


class GuardedProtocol(HttpToolsProtocol):
    """A connection that must send what it has to send in time; the slowest make room for others."""

    # Those that owe us a head or a body, the longest-waiting first.
    waiting: ClassVar[dict[GuardedProtocol, None]] = {}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of a head that is not complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in; where there are too many, the one that let us wait longest goes."""
        super().connection_made(transport)
        self._wait(HEAD_S)
        if len(self.connections) > MOST_CONNECTIONS:
            next(iter(self.waiting)).drop()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; idle connections wake up with the first."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait(HEAD_S)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                431,
                "Request Header Fields Too Large",
                f"the head is larger than {MOST_HEAD_BYTES:,} bytes",
            )

    def on_headers_complete(self) -> None:
        """Begin to answer; from now on the body is waited for, whose size the guard in front of the app caps."""
        super().on_headers_complete()
        self._wait(BODY_S)
        if draining.is_set():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body in."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        self._head_bytes = 0
        self._forget()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in our own shape."""
        self._refuse(400, "Bad Request", "this is no HTTP request")

    def drop(self) -> None:
        """End the connection at once."""
        self._forget()
        self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._forget()
        self._timer = self.loop.call_later(seconds, self.drop)
        self.waiting[self] = None

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.waiting.pop(self, None)

    def _refuse(self, status: int, title: str, detail: str) -> None:
        self._forget()
        body = _PROBLEM.format(title=title, status=status, detail=detail).encode()
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
        self.transport.write(
            f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        )
        self.transport.close()


def guard_connections() -> None:
    """Have uvicorn use our protocol: BentoML gives no other way to choose one."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"


def drain_before_exit(seconds: float) -> None:
    """Have SIGTERM make the service unready first: it answers for so long, and only then stops.

    Whoever balances the load sees `/readyz` fail and sends no more; answers close their connections.
    """
    stop = Server.handle_exit

    def handle_exit(self: Server, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or seconds <= 0:
            stop(self, sig, frame)
        elif (
            not draining.is_set()
        ):  # the group and the parent both send it: the second is no reason to hurry
            draining.set()
            timer = threading.Timer(seconds, stop, (self, sig, None))
            timer.daemon = True
            timer.start()

    Server.handle_exit = handle_exit  # type: ignore[method-assign]
