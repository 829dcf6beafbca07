"""The OpenAPI document, made from the models that parse and the types that answer."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from obligor.casework.cases import CaseAnswer, CaseList
from obligor.casework.contacts import ContactAnswer
from obligor.casework.customers import CustomerAnswer
from obligor.casework.early_warnings import WarningsAnswer
from obligor.casework.ledger_updates import LedgerRows, LedgerUpdateAnswer
from obligor.casework.questions import ContactRequest, ResolutionRequest, WorklistQuery
from obligor.casework.worklist import WorklistAnswer
from obligor.data.ledger import CONTRACTS
from obligor.decisions.answer import DecisionAnswer, ScoreAnswer
from obligor.decisions.in_force import InForceAnswer
from obligor.decisions.order_answer import OrderAnswer
from obligor.decisions.questions import DecisionRequest, OrderRequest, ScoreRequest
from obligor.portfolio.what_if import SimulationAnswer, SimulationRequest
from obligor.record.checkpointer import ProofAnswer
from obligor.serving.api.customer_handlers import ErasureAnswer
from obligor.serving.api.decision_handlers import (
    BatchAnswer,
    DecisionList,
    ReplayAnswer,
)
from obligor.serving.api.parsing import LONGEST_KEY
from obligor.serving.api.problems import Problem
from obligor.serving.api.queries import (
    BatchRequest,
    CustomerQuery,
    ErasureRequest,
    InForceQuery,
    NoticeQuery,
    ScoreQuery,
)

JsonObject = dict[str, Any]
_REF_TEMPLATE = "#/components/schemas/{model}"


class Operation(NamedTuple):
    """One operation of the interface; names in braces in the path are parameters.

    Without an `answer` it responds with text or a page.
    """

    method: str
    path: str
    name: str
    errors: tuple[str, ...]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type | None = None
    has_key: bool = False


_BODY_ERRORS = ("415", "422", "503")
OPERATIONS = (
    Operation(
        method="post",
        path="/decisions",
        name="decide",
        body=DecisionRequest,
        answer=DecisionAnswer,
        has_key=True,
        errors=("404", "409", *_BODY_ERRORS),
    ),
    Operation(
        method="post",
        path="/decisions/batch",
        name="decideBatch",
        body=BatchRequest,
        answer=BatchAnswer,
        has_key=True,
        errors=("409", *_BODY_ERRORS),
    ),
    Operation(
        method="get",
        path="/decisions/{decision_id}",
        name="getDecision",
        answer=DecisionAnswer,
        errors=("404", "410", "503"),
    ),
    Operation(
        method="get",
        path="/decisions/{decision_id}/proof",
        name="getProof",
        answer=ProofAnswer,
        errors=("404", "503"),
    ),
    Operation(
        method="get",
        path="/decisions/{decision_id}/notice",
        name="getNotice",
        query=NoticeQuery,
        errors=("404", "410", "422", "503"),
    ),
    Operation(
        method="post",
        path="/decisions/{decision_id}/replay",
        name="replay",
        answer=ReplayAnswer,
        errors=("404", "410", "422", "503"),
    ),
    Operation(
        method="post",
        path="/orders/check",
        name="checkOrder",
        body=OrderRequest,
        answer=OrderAnswer,
        has_key=True,
        errors=("404", "409", *_BODY_ERRORS),
    ),
    Operation(
        method="post",
        path="/scores",
        name="score",
        body=ScoreRequest,
        query=ScoreQuery,
        answer=ScoreAnswer,
        has_key=True,
        errors=("404", "409", *_BODY_ERRORS),
    ),
    Operation(
        method="get",
        path="/customers/{customer_id}/decisions",
        name="getCustomerDecisions",
        answer=DecisionList,
        errors=("404", "503"),
    ),
    Operation(
        method="get",
        path="/customers/{customer_id}/warnings",
        name="getWarnings",
        answer=WarningsAnswer,
        errors=("404", "503"),
    ),
    Operation(
        method="get",
        path="/customers/{customer_id}",
        name="getCustomer",
        query=CustomerQuery,
        answer=CustomerAnswer,
        errors=("404", "422", "503"),
    ),
    Operation(
        method="post",
        path="/customers/{customer_id}/erasure",
        name="eraseCustomer",
        body=ErasureRequest,
        answer=ErasureAnswer,
        errors=("404", *_BODY_ERRORS),
    ),
    Operation(
        method="get",
        path="/cases",
        name="getCases",
        answer=CaseList,
        errors=("503",),
    ),
    Operation(
        method="get",
        path="/cases/{case_id}",
        name="getCase",
        answer=CaseAnswer,
        errors=("404", "410", "503"),
    ),
    Operation(
        method="post",
        path="/cases/{case_id}/resolve",
        name="resolveCase",
        body=ResolutionRequest,
        answer=CaseAnswer,
        errors=("403", "404", "409", "410", *_BODY_ERRORS),
    ),
    Operation(
        method="post",
        path="/cases/{case_id}/reevaluate",
        name="reevaluateCase",
        answer=CaseAnswer,
        errors=("404", "409", "410", "422", "503"),
    ),
    Operation(
        method="get",
        path="/worklist",
        name="getWorklist",
        query=WorklistQuery,
        answer=WorklistAnswer,
        errors=("422", "503"),
    ),
    Operation(
        method="post",
        path="/contacts",
        name="recordContact",
        body=ContactRequest,
        answer=ContactAnswer,
        has_key=True,
        errors=("404", "409", *_BODY_ERRORS),
    ),
    Operation(
        method="post",
        path="/ledger/{table}",
        name="updateLedger",
        body=LedgerRows,
        answer=LedgerUpdateAnswer,
        has_key=True,
        errors=("409", *_BODY_ERRORS),
    ),
    Operation(
        method="get",
        path="/audit/in-force",
        name="getInForce",
        query=InForceQuery,
        answer=InForceAnswer,
        errors=("422", "503"),
    ),
    Operation(
        method="post",
        path="/policy/simulations",
        name="simulatePolicy",
        body=SimulationRequest,
        answer=SimulationAnswer,
        errors=("404", *_BODY_ERRORS),
    ),
)
# Every operation may be refused for its caller, its size or its rate.
_COMMON_ERRORS = ("401", "403", "413", "429")
_IDEMPOTENCY_KEY: JsonObject = {
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
_PROBLEM: JsonObject = {
    "description": "A problem (RFC 9457)",
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    },
}
_TEXT_OR_PAGE: JsonObject = {
    "text/html": {"schema": {"type": "string"}},
    "text/plain": {"schema": {"type": "string"}},
}
_OTHER_PATHS: JsonObject = {
    "/v1/metrics": {
        "get": {
            "operationId": "metrics",
            "security": [{"key": []}],
            "responses": {
                "200": {
                    "description": "Counts and times by route",
                    "content": {"text/plain": {}},
                },
                "401": _PROBLEM,
                "403": _PROBLEM,
                "429": _PROBLEM,
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


@cache
def openapi() -> JsonObject:
    """Return the OpenAPI 3.1 document of the service."""
    paths: JsonObject = dict(_OTHER_PATHS)
    for operation in OPERATIONS:
        methods = paths.setdefault(f"/v1{operation.path}", {})
        methods[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Obligor",
            "version": "1",
            "description": "Explained and recorded credit decisions",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`obligor keys create`",
                }
            },
        },
    }


def _schemas() -> JsonObject:
    """Return the schemas of all bodies and answers by name."""
    bodies = [operation.body for operation in OPERATIONS if operation.body]
    answers = [operation.answer for operation in OPERATIONS if operation.answer]
    inputs = list[tuple[type, JsonSchemaMode, TypeAdapter[object]]]()
    for body in bodies:
        inputs.append((body, "validation", TypeAdapter(body)))
    for answer in [*answers, Problem]:
        inputs.append((answer, "serialization", TypeAdapter(answer)))
    _, document = TypeAdapter.json_schemas(inputs, ref_template=_REF_TEMPLATE)
    schemas: JsonObject = document["$defs"]
    return schemas


def _operation(operation: Operation) -> JsonObject:
    parameters = [
        _path_parameter(part[1:-1])
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    if operation.has_key:
        parameters.append(_IDEMPOTENCY_KEY)
    if operation.query:
        parameters.extend(_query_parameters(operation.query))
    content = _json_content(operation.answer) if operation.answer else _TEXT_OR_PAGE
    responses = {"200": {"description": "OK", "content": content}}
    for status in sorted({*operation.errors, *_COMMON_ERRORS}):
        responses[status] = _PROBLEM
    description: JsonObject = {
        "operationId": operation.name,
        "parameters": parameters,
        "responses": responses,
        "security": [{"key": []}],
    }
    if operation.body:
        description["requestBody"] = {
            "required": True,
            "content": _json_content(operation.body),
        }
    return description


def _json_content(shape: type) -> JsonObject:
    schema = {"$ref": _REF_TEMPLATE.format(model=shape.__name__)}
    return {"application/json": {"schema": schema}}


def _path_parameter(name: str) -> JsonObject:
    schema: JsonObject = {
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": "^[^/]+$",
    }
    if name == "table":
        schema = {"type": "string", "enum": sorted(CONTRACTS)}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
    }


def _query_parameters(query: type[BaseModel]) -> list[JsonObject]:
    """Return the parameters of a query; none of them is null in a URL."""
    document = query.model_json_schema()
    required = document.get("required", ())
    parameters = list[JsonObject]()
    for name, schema in document["properties"].items():
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "schema": _without_null(schema),
            }
        )
    return parameters


def _without_null(schema: JsonObject) -> JsonObject:
    """Return the first alternative of a schema that is not null."""
    for alternative in schema.get("anyOf", ()):
        if alternative.get("type") != "null":
            plain: JsonObject = alternative
            return plain
    return schema
