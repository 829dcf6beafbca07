"""A receiver of webhooks on this machine: real HTTP, and it verifies signatures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

THIS_MACHINE = "127.0.0.1/32"


@dataclass
class Delivery:
    """A request that came in: its headers in lower case, its body, who signed it."""

    headers: dict[str, str]
    body: str
    is_signed: bool


@dataclass
class Receiver:
    """What the receiver does with the next requests, and what came in.

    Attributes
    ----------
    url : str
        Where it listens.
    secret : str
        The secret it knows.
    statuses : list of int
        The statuses of the next answers; 204 once there are none left.
    refused : set of str
        Ids of events that are always answered with 500.
    hangs_s : float
        How long it waits before it answers.
    location : str
        Where it redirects to, with a status of 3xx.
    retry_after : str
        The header of this name.
    flood : int
        How many bytes of a body it sends.
    drips : bool
        Whether it sends its answer byte by byte.
    """

    url: str
    secret: str = ""
    statuses: list[int] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    hangs_s: float = 0.0
    location: str = ""
    retry_after: str = ""
    flood: int = 0
    drips: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ids(self) -> list[str]:
        """Return the ids of the events that came in, in their order."""
        with self.lock:
            return [delivery.headers["webhook-id"] for delivery in self.deliveries]

    def wait_for_id(self, event_id: str, patience_s: float = 60) -> None:
        """Wait until an event has come in; others may come again before it."""
        deadline = time.monotonic() + patience_s
        while event_id not in self.ids():
            assert time.monotonic() < deadline, self.ids()
            time.sleep(0.05)

    def wait_for(self, n_deliveries: int, patience_s: float = 60) -> None:
        """Wait until so many requests have come in."""
        deadline = time.monotonic() + patience_s
        while len(self.ids()) < n_deliveries:
            assert time.monotonic() < deadline, self.ids()
            time.sleep(0.05)


@contextmanager
def running_receiver(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = self.rfile.read(length).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.lock.acquire()
            receiver.deliveries.append(Delivery(headers, body, signed(headers, body)))
            status = receiver.statuses.pop(0) if receiver.statuses else 204
            if headers["webhook-id"] in receiver.refused:
                status = 500
            receiver.lock.release()
            time.sleep(receiver.hangs_s)
            self.answer(status)

        def answer(self, status: int) -> None:
            if receiver.drips:
                for letter in b"HTTP/1.1 204 No Content\r\nx: " + b"y" * 10_000:
                    self.wfile.write(bytes([letter]))
                    time.sleep(0.05)
            self.send_response(status)
            if receiver.location:
                self.send_header("location", receiver.location)
            if receiver.retry_after:
                self.send_header("Retry-After", receiver.retry_after)
            self.send_header("content-length", str(receiver.flood))
            self.end_headers()
            for _ in range(receiver.flood // 1000):
                self.wfile.write(b"x" * 1000)

        def do_GET(self) -> None:
            # A redirect that was followed would come here.
            receiver.deliveries.append(Delivery({"webhook-id": "GET"}, "", False))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    def signed(headers: dict[str, str], body: str) -> bool:
        if not receiver.secret:
            return False
        try:
            Webhook(receiver.secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: Any) -> None:
            """Say nothing: the sender may hang up."""

    server = Server(("127.0.0.1", port), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
