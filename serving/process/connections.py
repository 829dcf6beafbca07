"""What we add to uvicorn below HTTP.

A time within which a request must be sent, caps on connections and on heads, and a
drain before the process ends. A server that waits for the rest of a head without limit
is dead after some thousand connections that never send it ("slowloris").
"""

from __future__ import annotations

import asyncio
import signal
import threading
from http import HTTPStatus
from types import FrameType
from typing import Any, ClassVar

import uvicorn.config
from uvicorn import Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from obligor.serving.api.problems import MEDIA_TYPE, plain_problem, problem_body

# Seconds for a head, and for a body, to arrive.
HEAD_S = 5.0
BODY_S = 15.0
MOST_CONNECTIONS = 1000
MOST_HEAD_BYTES = 64 * 1024
# Set when the service was asked to end.
draining = threading.Event()


class GuardedProtocol(HttpToolsProtocol):
    """A connection on which requests must arrive in time.

    If there are too many connections, the one that has been waited for longest is
    dropped.
    """

    # Connections that have yet to send a head or a body, the longest-waiting first.
    waiting: ClassVar[dict[GuardedProtocol, None]] = {}

    def __init__(
        self,
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of a head that is not complete

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Accept a connection; if there are too many, drop the slowest."""
        super().connection_made(transport)
        self._expect_within(HEAD_S)
        if len(self.connections) > MOST_CONNECTIONS:
            slowest = next(iter(self.waiting))
            slowest.drop()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; the first ones start the time for the head."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if self._timer is None and is_idle:
            self._expect_within(HEAD_S)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the head is larger than {MOST_HEAD_BYTES:,} bytes")

    def on_headers_complete(self) -> None:
        """Begin to answer; the time for the body starts.

        `obligor.serving.process.path_guard` caps the body's size.
        """
        super().on_headers_complete()
        self._expect_within(BODY_S)
        if draining.is_set():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body in."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the time: the request is complete."""
        self._head_bytes = 0
        self._expect_nothing()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._expect_nothing()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem like all our others."""
        self._refuse(400, "the request is not valid HTTP")

    def drop(self) -> None:
        """End the connection at once."""
        self._expect_nothing()
        self.transport.abort()

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._timer = self.loop.call_later(seconds, self.drop)
        self.waiting[self] = None

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.waiting.pop(self, None)

    def _refuse(
        self,
        status: int,
        detail: str,
    ) -> None:
        self._expect_nothing()
        body = problem_body(plain_problem(status, detail))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            "connection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def guard_connections() -> None:
    """Make uvicorn use our protocol: BentoML offers no other way to choose one."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"


def drain_before_exit(seconds: float) -> None:
    """Make SIGTERM report the service not ready first, and end it only later.

    For so many seconds it keeps answering. A load balancer sees that `/readyz` fails
    and sends no more requests; every answer closes its connection.
    """
    exit_now = Server.handle_exit

    def handle_exit(
        self: Server,
        sig: int,
        frame: FrameType | None,
    ) -> None:
        if sig != signal.SIGTERM or seconds <= 0:
            exit_now(self, sig, frame)
        # The process group and the parent both send the signal: the second one must not
        # cut the drain short.
        elif not draining.is_set():
            draining.set()
            timer = threading.Timer(seconds, exit_now, (self, sig, None))
            timer.daemon = True
            timer.start()

    Server.handle_exit = handle_exit  # type: ignore[method-assign]
