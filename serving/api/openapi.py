"""The OpenAPI document: one line per operation, its schemas made from the classes that parse and answer."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from obligor.casework.questions import ContactRequest, ResolutionRequest, WorklistQuery
from obligor.decisions import questions
from obligor.portfolio.what_if import SimulationRequest
from obligor.serving.api import answers as schemas
from obligor.serving.api import casework_answers as work_schemas
from obligor.serving.api.queries import BatchRequest, InForceQuery, NoticeQuery

LONGEST_KEY = 200
SHAPES: tuple[type[BaseModel], ...] = (
    questions.DecisionRequest,
    schemas.DecisionAnswer,
    BatchRequest,
    schemas.BatchAnswer,
    schemas.DecisionList,
    questions.OrderRequest,
    schemas.OrderAnswer,
    questions.ScoreRequest,
    schemas.ScoreAnswer,
    schemas.Problem,
    schemas.WarningsAnswer,
    work_schemas.CaseAnswer,
    work_schemas.CaseList,
    ResolutionRequest,
    work_schemas.WorklistAnswer,
    ContactRequest,
    work_schemas.ContactAnswer,
    SimulationRequest,
    work_schemas.SimulationAnswer,
    work_schemas.ProofAnswer,
    work_schemas.ReplayAnswer,
    work_schemas.InForceAnswer,
)
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeated request with the same key gets the stored answer",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}
_BODY = ("415", "422", "503")
# path, method, name, body, answer, errors; {names} in the path are parameters
OPERATIONS = (
    (
        "/decisions",
        "post",
        "decide",
        "DecisionRequest",
        "DecisionAnswer",
        ("404", "409", *_BODY),
    ),
    (
        "/decisions/batch",
        "post",
        "decideBatch",
        "BatchRequest",
        "BatchAnswer",
        ("409", *_BODY),
    ),
    (
        "/decisions/{decision_id}",
        "get",
        "getDecision",
        None,
        "DecisionAnswer",
        ("404", "410", "503"),
    ),
    (
        "/decisions/{decision_id}/proof",
        "get",
        "getProof",
        None,
        "ProofAnswer",
        ("404", "503"),
    ),
    (
        "/decisions/{decision_id}/notice",
        "get",
        "getNotice",
        None,
        "",
        ("404", "410", "422", "503"),
    ),
    (
        "/decisions/{decision_id}/replay",
        "post",
        "replay",
        None,
        "ReplayAnswer",
        ("404", "410", "422", "503"),
    ),
    (
        "/orders/check",
        "post",
        "checkOrder",
        "OrderRequest",
        "OrderAnswer",
        ("404", "409", *_BODY),
    ),
    ("/scores", "post", "score", "ScoreRequest", "ScoreAnswer", _BODY),
    (
        "/customers/{customer_id}/decisions",
        "get",
        "getCustomerDecisions",
        None,
        "DecisionList",
        ("404", "503"),
    ),
    (
        "/customers/{customer_id}/warnings",
        "get",
        "getWarnings",
        None,
        "WarningsAnswer",
        ("404", "503"),
    ),
    ("/cases", "get", "getCases", None, "CaseList", ("503",)),
    ("/cases/{case_id}", "get", "getCase", None, "CaseAnswer", ("404", "410", "503")),
    (
        "/cases/{case_id}/resolve",
        "post",
        "resolveCase",
        "ResolutionRequest",
        "CaseAnswer",
        ("403", "404", "409", "410", *_BODY),
    ),
    (
        "/cases/{case_id}/reevaluate",
        "post",
        "reevaluateCase",
        None,
        "CaseAnswer",
        ("404", "409", "410", "422", "503"),
    ),
    ("/worklist", "get", "getWorklist", None, "WorklistAnswer", ("422", "503")),
    (
        "/contacts",
        "post",
        "recordContact",
        "ContactRequest",
        "ContactAnswer",
        ("404", "409", *_BODY),
    ),
    ("/audit/in-force", "get", "getInForce", None, "InForceAnswer", ("422", "503")),
    (
        "/policy/simulations",
        "post",
        "simulatePolicy",
        "SimulationRequest",
        "SimulationAnswer",
        ("404", *_BODY),
    ),
)
_QUERIES: dict[str, type[BaseModel]] = {
    "getWorklist": WorklistQuery,
    "getInForce": InForceQuery,
    "getNotice": NoticeQuery,
}
_NOTICE = {
    media: {"schema": {"type": "string"}} for media in ("text/html", "text/plain")
}
_PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    },
}
_KEYED = ("decide", "decideBatch", "checkOrder", "recordContact")


@cache
def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the service."""
    inputs: list[Any] = [
        (shape, "validation" if issubclass(shape, questions.Body) else "serialization")
        for shape in SHAPES
    ]
    _, definitions = models_json_schema(
        inputs, ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {
        "/v1/metrics": {
            "get": {
                "operationId": "metrics",
                "security": [{"key": []}],
                "responses": {
                    "200": {
                        "description": "Counts and times by route",
                        "content": {"text/plain": {}},
                    },
                    **dict.fromkeys(("401", "403", "429"), _PROBLEM),
                },
            }
        },
        "/livez": {
            "get": {
                "operationId": "livez",
                "responses": {"200": {"description": "The process lives"}},
            }
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "responses": {
                    "200": {"description": "A champion is loaded"},
                    "503": {"description": "Not ready"},
                },
            }
        },
    }
    for path, method, *operation in OPERATIONS:
        paths.setdefault(f"/v1{path}", {})[method] = _operation(path, *operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Obligor",
            "version": "1",
            "description": "Explained and recorded credit decisions",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`obligor keys create`",
                }
            },
        },
    }


def _operation(
    path: str, name: str, body: str | None, answer: str, errors: tuple[str, ...]
) -> dict[str, Any]:
    def content(shape: str) -> dict[str, Any]:
        return {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}
        }

    problem = _PROBLEM
    parameters = [
        _in_path(part[1:-1]) for part in path.split("/") if part.startswith("{")
    ]
    parameters += [_KEY] if name in _KEYED else []
    parameters += _in_query(_QUERIES[name]) if name in _QUERIES else []
    operation: dict[str, Any] = {
        "operationId": name,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "OK",
                "content": content(answer) if answer else _NOTICE,
            },
            **dict.fromkeys(sorted({*errors, "401", "403", "413", "429"}), problem),
        },
        "security": [{"key": []}],
    }
    if body:
        operation["requestBody"] = {"required": True, "content": content(body)}
    return operation


def _in_path(name: str) -> dict[str, Any]:
    shape = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^/]+$"}
    return {"name": name, "in": "path", "required": True, "schema": shape}


def _in_query(shape: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the parameters of a query; none of them is null in a URL."""
    document, found = shape.model_json_schema(), []
    needed = document.get("required", ())
    for name, schema in document["properties"].items():
        plain = next(
            (one for one in schema.get("anyOf", ()) if one.get("type") != "null"),
            schema,
        )
        found.append(
            {"name": name, "in": "query", "required": name in needed, "schema": plain}
        )
    return found
