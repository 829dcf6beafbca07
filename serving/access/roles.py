"""Roles, and the routes each may call."""

from __future__ import annotations

ROLES = ("application", "modeler", "credit_manager", "auditor", "admin")

_PEOPLE = frozenset({"credit_manager", "auditor", "admin"})

_MANAGE = frozenset({"credit_manager", "admin"})

# Who may call what; what is not here nobody may.
ALLOWED: dict[tuple[str, str], frozenset[str]] = {
    ("POST", "/decisions"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/decisions/batch"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/orders/check"): frozenset({"application", "credit_manager", "admin"}),
    ("POST", "/scores"): frozenset(
        {"application", "modeler", "credit_manager", "admin"}
    ),
    ("GET", "/decisions/{decision_id}"): frozenset({"application", *_PEOPLE}),
    ("GET", "/decisions/{decision_id}/proof"): frozenset({"application", *_PEOPLE}),
    ("GET", "/decisions/{decision_id}/notice"): frozenset({"application", *_PEOPLE}),
    ("POST", "/decisions/{decision_id}/replay"): frozenset({"modeler", *_PEOPLE}),
    ("GET", "/customers/{customer_id}/decisions"): _PEOPLE,
    ("GET", "/customers/{customer_id}/warnings"): _PEOPLE,
    ("GET", "/cases"): _PEOPLE,
    ("GET", "/cases/{case_id}"): frozenset({"application", *_PEOPLE}),
    ("POST", "/cases/{case_id}/resolve"): _MANAGE,
    ("POST", "/cases/{case_id}/reevaluate"): _MANAGE,
    ("GET", "/worklist"): _MANAGE,
    ("POST", "/contacts"): _MANAGE,
    ("POST", "/policy/simulations"): _MANAGE,
    ("GET", "/audit/in-force"): frozenset({"modeler", *_PEOPLE}),
    ("GET", "/metrics"): frozenset({"admin"}),
    ("GET", "/openapi.json"): frozenset(ROLES),
}
