"""The HTTP routes under /v1 as one ASGI app."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import anyio
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from obligor.errors import ObligorError
from obligor.serving.access.gate import Gate
from obligor.serving.api import casework_handlers as casework
from obligor.serving.api import customer_handlers as customers
from obligor.serving.api import decision_handlers as decisions
from obligor.serving.api import ledger_handlers as ledger
from obligor.serving.api.batching import DecisionBatcher
from obligor.serving.api.callers import Handler, admitted
from obligor.serving.api.metrics import Metrics, RequestMetrics
from obligor.serving.api.openapi import openapi
from obligor.serving.api.problems import on_bug, on_error, on_gone, on_http_error
from obligor.serving.api.responses import json_response
from obligor.serving.assembly import Service

THREADS = 2


async def _get_openapi(request: Request) -> Response:
    return json_response(openapi())


async def _get_metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/decisions", decisions.post_decision),
    ("POST", "/decisions/batch", decisions.post_batch),
    ("POST", "/scores", decisions.post_score),
    ("POST", "/orders/check", decisions.post_order),
    ("GET", "/decisions/{decision_id}", decisions.get_decision),
    ("GET", "/decisions/{decision_id}/proof", decisions.get_proof),
    ("GET", "/decisions/{decision_id}/notice", decisions.get_notice),
    ("POST", "/decisions/{decision_id}/replay", decisions.post_replay),
    (
        "GET",
        "/customers/{customer_id}/decisions",
        decisions.get_customer_decisions,
    ),
    ("GET", "/customers/{customer_id}/warnings", decisions.get_warnings),
    ("GET", "/customers/{customer_id}", customers.get_customer),
    ("POST", "/customers/{customer_id}/erasure", customers.post_erasure),
    ("GET", "/cases", casework.get_cases),
    ("GET", "/cases/{case_id}", casework.get_case),
    ("POST", "/cases/{case_id}/resolve", casework.post_resolution),
    ("POST", "/cases/{case_id}/reevaluate", casework.post_reevaluation),
    ("GET", "/worklist", casework.get_worklist),
    ("POST", "/contacts", casework.post_contact),
    ("POST", "/ledger/{table}", ledger.post_rows),
    ("GET", "/audit/in-force", decisions.get_in_force),
    ("POST", "/policy/simulations", decisions.post_simulation),
    ("GET", "/openapi.json", _get_openapi),
    ("GET", "/metrics", _get_metrics),
)


def create_app(new_request_id: Callable[[], str] | None = None) -> Starlette:
    """Return the app; it answers once `use_service` has been called.

    Parameters
    ----------
    new_request_id : callable, optional
        Returns a fresh request id; by default requests are counted.
    """
    routes = [
        Route(path, admitted(path, handler), methods=[method])
        for method, path, handler in ROUTES
    ]
    every_method = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes.append(Route("/{path:path}", _unknown_path, methods=every_method))
    app = Starlette(
        routes=routes,
        exception_handlers={
            ObligorError: on_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_gone,
            Exception: on_bug,
        },
    )
    app.state.limiter = anyio.CapacityLimiter(THREADS)
    app.state.metrics = Metrics()
    app.add_middleware(
        RequestMetrics,
        routes=routes,
        metrics=app.state.metrics,
        new_id=new_request_id or map(str, count(1)).__next__,
    )
    return app


def use_service(app: Starlette, service: Service, gate: Gate | None = None) -> None:
    """Have the app answer with a service.

    Parameters
    ----------
    app : Starlette
        From `create_app`.
    service : Service
        What answers.
    gate : Gate, optional
        Authenticates callers; without one everybody is admitted.
    """
    app.state.service = service
    app.state.batcher = DecisionBatcher(service.decider.answer_all)
    app.state.gate = gate


async def _unknown_path(request: Request) -> Response:
    """Reject an unknown path with a problem; BentoML would answer with plain text."""
    for route in request.app.routes:
        if not isinstance(route, Route):
            continue
        if route.matches(request.scope)[0] == Match.PARTIAL:
            allowed = ", ".join(sorted(route.methods or ()))
            raise HTTPException(
                405,
                f"{request.method} is not allowed; expected {allowed}",
                {"Allow": allowed},
            )
    raise HTTPException(404, "no such path; /v1/openapi.json lists them")
