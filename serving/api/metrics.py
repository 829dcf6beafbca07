"""What an operator sees of the service: bounded metrics, and one log line per request with ids only."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access = logging.getLogger("obligor.access")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OTHER = "other"  # every path that is not a route is one series


def _nobody() -> None:
    """What answers where no route was reached."""


class Metrics:
    """Counts and times of requests, by route: as many series as there are routes, whatever is sent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self.requests = Counter(
            "obligor_requests", "Requests answered", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "obligor_request_seconds",
            "Time to the answer",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )

    def watch_workers(self, alive_now: Callable[[], int], expected: int) -> None:
        """Show how many processes of the service are alive, and how many there should be."""
        alive = Gauge(
            "obligor_workers",
            "Processes of the service that are alive",
            registry=self.registry,
        )
        alive.set_function(alive_now)
        wanted = Gauge(
            "obligor_workers_wanted",
            "Processes there should be",
            registry=self.registry,
        )
        wanted.set(expected)

    def text(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class RequestMetrics:
    """An ASGI middleware that counts and logs requests by route, never by what was in them.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    routes : sequence of BaseRoute
        Its routes: the only labels there can be.
    metrics : Metrics
        Where it counts.
    new_id : callable
        A fresh request id; it is in the log and in the answer's ``X-Request-Id``.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        metrics: Metrics,
        new_id: Callable[[], str],
    ) -> None:
        self.app, self.metrics, self.new_id = app, metrics, new_id
        named = [
            route
            for route in routes
            if isinstance(route, Route) and "{path:path}" not in route.path
        ]
        self.paths = {route.endpoint: route.path for route in named}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, request_id = time.perf_counter(), 500, self.new_id()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            # The router leaves what answered in the scope; the path itself may name a customer.
            route, method = (
                self.paths.get(scope.get("endpoint", _nobody), OTHER),
                scope["method"],
            )
            taken = time.perf_counter() - start
            self.metrics.requests.labels(
                route, method if method in ("GET", "POST") else OTHER, status
            ).inc()
            self.metrics.seconds.labels(route).observe(taken)
            access.info(
                "%s %s %s %.1f ms %s", request_id, method, route, taken * 1000, status
            )
