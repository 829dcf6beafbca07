"""Metrics and access log: bounded series, one log line per request, ids only."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from obligor.serving.webhooks.outbox import OutboxStatus

access = logging.getLogger("obligor.access")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OTHER = "other"  # every path that is not a route is one series


_OUTBOX_FIGURES = {
    "obligor_webhook_endpoints": ("Endpoints of webhooks", "n_endpoints"),
    "obligor_webhooks_waiting": ("Deliveries that wait", "waiting"),
    "obligor_webhooks_dead": ("Deliveries that were given up", "dead"),
    "obligor_webhooks_delivered": (
        "Deliveries that a receiver has taken since the first endpoint was added",
        "delivered",
    ),
    "obligor_webhooks_oldest_seconds": (
        "Age of the oldest entry whose events are not delivered",
        "oldest_s",
    ),
}


def _outbox_figure(status_now: Callable[[], OutboxStatus | None], name: str) -> float:
    status = status_now()
    return 0.0 if status is None else float(getattr(status, name))


def _no_endpoint() -> None:
    """Stand for the endpoint of a request that reached no route."""


class Metrics:
    """Counts and times of requests by route.

    There are as many series as there are routes, whatever is sent.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "obligor_requests",
            "Requests answered",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "obligor_request_seconds",
            "Time to the answer",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )

    def watch_workers(self, alive_now: Callable[[], int], expected: int) -> None:
        """Show how many processes of the service are alive, and how many should be.

        Parameters
        ----------
        alive_now : callable
            Returns how many are alive.
        expected : int
            How many there should be.
        """
        alive = Gauge(
            "obligor_workers",
            "Processes of the service that are alive",
            registry=self.registry,
        )
        alive.set_function(alive_now)
        expected_workers = Gauge(
            "obligor_workers_wanted",
            "Processes there should be",
            registry=self.registry,
        )
        expected_workers.set(expected)

    def watch_outbox(self, status_now: Callable[[], OutboxStatus | None]) -> None:
        """Show how the outbox of webhooks stands.

        Every process shows the same outbox: take the maximum over processes.
        """
        for name, (documentation, figure) in _OUTBOX_FIGURES.items():
            gauge = Gauge(name, documentation, registry=self.registry)
            gauge.set_function(partial(_outbox_figure, status_now, figure))

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Parameters
        ----------
        route : str
            The path of its route, or ``other``.
        method : str
            Its HTTP method; all but GET and POST are one series.
        status : int
            The status of the response.
        seconds : float
            The time to the answer.
        """
        label = method if method in ("GET", "POST") else OTHER
        self.requests.labels(route, label, status).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class RequestMetrics:
    """An ASGI middleware that counts and logs requests by route, never by content.

    Parameters
    ----------
    app : ASGIApp
        The app that answers.
    routes : sequence of BaseRoute
        Its routes: the only labels there can be.
    metrics : Metrics
        Where requests are counted.
    new_id : callable
        Returns a fresh request id; it is in the log and in the answer's
        ``X-Request-Id``.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        metrics: Metrics,
        new_id: Callable[[], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._new_id = new_id
        self._paths = {
            route.endpoint: route.path
            for route in routes
            if isinstance(route, Route) and "{path:path}" not in route.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; count and log how it went.

        Parameters
        ----------
        scope : Scope
            The request.
        receive : Receive
            Receives its body.
        send : Send
            Sends the response.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        request_id = self._new_id()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                id_header = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started_at
            # The router leaves the endpoint in the scope. The path itself is never
            # logged: it may name a customer.
            route = self._paths.get(scope.get("endpoint", _no_endpoint), OTHER)
            method = scope["method"]
            self._metrics.count(route, method, status, seconds)
            access.info(
                "%s %s %s %.1f ms %s", request_id, method, route, seconds * 1000, status
            )
