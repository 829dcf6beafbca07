"""The peer.

A hand-written FastAPI endpoint that scores and explains ready-made features, recording
nothing.

Run: ``PEER_MODEL=model.txt PEER_ENGINE=shap python -m uvicorn
tests.benchmarks.peers.fastapi_peer:app``; the engine is ``shap``, ``pred_contrib`` or
``treeshap``. Fair: LightGBM on one thread, a matrix and no frame, orjson, no access
log, the few largest contributions as reasons.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from obligor.arrays import Floats

BOOSTER = lgb.Booster(model_str=Path(os.environ["PEER_MODEL"]).read_text())
NAMES = BOOSTER.feature_name()


class Features(BaseModel):
    """What is sent: ready-made features, null where not known."""

    features: dict[str, float | None]


def explainer(name: str) -> Callable[[Floats], tuple[Floats, float, float]]:
    """Contributions, base and margin of one row."""
    if name == "shap":
        import shap

        tree = shap.TreeExplainer(BOOSTER)

        def by_shap(row: Floats) -> tuple[Floats, float, float]:
            values = np.asarray(tree.shap_values(row))[0]
            base = float(np.ravel(tree.expected_value)[-1])
            return values, base, float(values.sum() + base)

        return by_shap
    if name == "treeshap":
        from obligor.model.treeshap.explainer import TreeShap

        ours = TreeShap(BOOSTER)

        def by_treeshap(row: Floats) -> tuple[Floats, float, float]:
            values, margin = ours.explain(row)
            return values[0], ours.expected_value, float(margin[0])

        return by_treeshap

    def by_pred_contrib(row: Floats) -> tuple[Floats, float, float]:
        both = np.asarray(BOOSTER.predict(row, pred_contrib=True, num_threads=1))[0]
        return both[:-1], float(both[-1]), float(both.sum())

    return by_pred_contrib


app, explain = FastAPI(), explainer(os.environ["PEER_ENGINE"])


@app.post("/score")
async def score(request: Request) -> Response:
    """Return PD, every contribution and the largest four."""
    given = Features.model_validate_json(await request.body()).features
    row = np.array([[given[name] for name in NAMES]], dtype=np.float64)
    values, base, margin = explain(row)
    largest = np.argsort(-values)[:4]
    answer: dict[str, Any] = {
        "pd": 1 / (1 + math.exp(-margin)),
        "base": base,
        "contributions": dict(zip(NAMES, values.tolist(), strict=True)),
        "reasons": [NAMES[place] for place in largest.tolist()],
    }
    return Response(orjson.dumps(answer), media_type="application/json")
