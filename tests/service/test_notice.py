"""The notice for the customer: specific, in two languages, for companies and for people."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from obligor.decisions.notice import vague
from obligor.features.catalogue import CATALOGUE
from obligor.policy.rulebooks.rulebook import REASONED, RULES, read_rulebook

LARGE = {"amount": "90000000.00", "currency": "EUR"}


def decided(client: TestClient, **more: Any) -> Any:
    return client.post("/decisions", json={"customer_id": "C0000002", **more}).json()


@pytest.mark.parametrize(("lang", "text"), [("en", "text"), ("zh", "text_zh")])
def test_an_adverse_notice_names_the_reasons_the_method_and_the_rights(
    client: TestClient, lang: str, text: str
) -> None:
    answer = decided(client, request=LARGE)
    assert answer["outcome"] == "refer"
    path = f"/decisions/{answer['decision_id']}/notice"
    page, plain = (
        client.get(path, params={"lang": lang, "format": form})
        for form in ("html", "text")
    )
    assert (page.headers["content-type"], plain.headers["content-type"]) == (
        "text/html; charset=utf-8",
        "text/plain; charset=utf-8",
    )
    places = [plain.text.index(reason[text]) for reason in answer["reasons"]]
    assert places == sorted(places)
    for part in (answer["decision_id"], "SHAP", "12", answer["limit"]["amount"]):
        assert part in plain.text
    assert all(act[text] in plain.text for act in answer["counterfactuals"][:1])
    assert "<script" not in page.text
    assert f'lang="{lang}"' in page.text


def test_a_person_has_other_rights_than_a_company(client: TestClient) -> None:
    said = {}
    for is_person in (True, False):
        answer = decided(client, request=LARGE, is_natural_person=is_person)
        said[is_person] = client.get(
            f"/decisions/{answer['decision_id']}/notice", params={"format": "text"}
        ).text
    assert "contest" in said[True]
    assert "25 months" in said[True]
    assert "12 months" in said[False]
    assert "contest" not in said[False]


def test_an_approval_has_reasons_but_nothing_adverse(client: TestClient) -> None:
    answer = decided(client)
    assert answer["outcome"] == "approve"
    path = f"/decisions/{answer['decision_id']}/notice"
    assert client.get(path).json()["where"] == "kind"
    assert (
        client.get(path, params={"kind": "reasons", "format": "text"}).status_code
        == 200
    )
    assert client.get(path, params={"lang": "fr"}).status_code == 422
    assert client.get("/decisions/none/notice").status_code == 404


def test_no_reason_of_ours_is_vague() -> None:
    for feature in CATALOGUE:
        assert vague(feature.reason_en) is None
        assert vague(feature.reason_zh) is None
    tables = read_rulebook(RULES / "2000-01-01").tables
    texts = [
        text
        for name in REASONED
        for rule in tables[name].rules
        for text in (rule.because, rule.because_zh)
    ]
    assert [text for text in texts if vague(text)] == []
    assert vague("您的评分过低")
