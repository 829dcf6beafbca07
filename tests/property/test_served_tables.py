"""What is served is what was trained: PDs of random tables, by file and by JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.random_tables import (
    applications_of,
    fit_quickly,
    random_table,
    requests_of,
)
from obligor.decisions.champion import Champion
from obligor.decisions.questions import ScoreRequest
from obligor.decisions.scoring import score_features
from obligor.model.bundle import load_bundle, save_bundle

SERVED = 12  # rows of each table


@pytest.mark.parametrize("seed", range(8))
def test_the_served_pd_is_the_pd_of_the_file(seed: int, tmp_path: Path) -> None:
    table = random_table(seed)
    data = applications_of(table, tmp_path)
    sha256 = save_bundle(fit_quickly(data), tmp_path / "bundle")
    model = load_bundle(tmp_path / "bundle", sha256)
    assert model.encoding is not None
    pds = model.predict_pd(model.encoding.rows(data.frame))
    names = [column.name for column in model.encoding.columns]
    champion = Champion(model, "1", sha256)
    for index in range(SERVED):
        for body in requests_of(table, data, index, names):
            request = ScoreRequest.model_validate_json(body)
            answer = score_features(request, champion)
            assert answer["pd_12m"] == pds[index], body
