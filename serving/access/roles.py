"""Roles, and the routes each may call."""

from __future__ import annotations

ROLES = ("application", "ledger", "modeler", "credit_manager", "auditor", "admin")

_MANAGERS = frozenset({"credit_manager", "admin"})
_READERS = _MANAGERS | {"auditor"}
_DECIDERS = _MANAGERS | {"application"}

# A route that is not listed may be called by nobody.
ALLOWED: dict[tuple[str, str], frozenset[str]] = {
    ("POST", "/decisions"): _DECIDERS,
    ("POST", "/decisions/batch"): _DECIDERS,
    ("POST", "/orders/check"): _DECIDERS,
    ("POST", "/scores"): _DECIDERS | {"modeler"},
    ("GET", "/decisions/{decision_id}"): _READERS | {"application"},
    ("GET", "/decisions/{decision_id}/proof"): _READERS | {"application"},
    ("GET", "/decisions/{decision_id}/notice"): _READERS | {"application"},
    ("POST", "/decisions/{decision_id}/replay"): _READERS | {"modeler"},
    ("GET", "/customers/{customer_id}/decisions"): _READERS,
    ("GET", "/customers/{customer_id}/warnings"): _READERS,
    # Names and addresses of people, and what bureaus say.
    ("GET", "/customers/{customer_id}"): _READERS,
    ("POST", "/customers/{customer_id}/erasure"): frozenset({"admin"}),
    ("GET", "/cases"): _READERS,
    ("GET", "/cases/{case_id}"): _READERS | {"application"},
    ("POST", "/cases/{case_id}/resolve"): _MANAGERS,
    ("POST", "/cases/{case_id}/reevaluate"): _MANAGERS,
    ("GET", "/worklist"): _MANAGERS,
    ("POST", "/contacts"): _MANAGERS,
    ("POST", "/ledger/{table}"): frozenset({"ledger", "admin"}),
    ("POST", "/policy/simulations"): _MANAGERS,
    ("GET", "/audit/in-force"): _READERS | {"modeler"},
    ("GET", "/metrics"): frozenset({"admin"}),
    ("GET", "/openapi.json"): frozenset(ROLES),
}
