"""The notice for the customer: specific, in two languages, with its rights."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from obligor.decisions.notice import vague
from obligor.features.catalogue import CATALOGUE
from obligor.policy.rulebooks.rulebook import REASONED, RULES, read_rulebook

LARGE = {"amount": "90000000.00", "currency": "EUR"}
LANGUAGES = pytest.mark.parametrize(
    ("language", "text_key"), [("en", "text"), ("zh", "text_zh")]
)


@pytest.fixture
def client(untrained_client: TestClient) -> TestClient:
    return untrained_client


def decide(client: TestClient, **changes: Any) -> Any:
    body = {"customer_id": "C0000002", **changes}
    return client.post("/decisions", json=body).json()


def notice(client: TestClient, answer: Any, **query: str) -> Any:
    path = f"/decisions/{answer['decision_id']}/notice"
    return client.get(path, params=query)


@LANGUAGES
def test_an_adverse_notice_names_the_reasons_in_order(
    client: TestClient, language: str, text_key: str
) -> None:
    answer = decide(client, request=LARGE)
    assert answer["outcome"] == "refer"
    text = notice(client, answer, lang=language, format="text").text
    positions = [text.index(reason[text_key]) for reason in answer["reasons"]]
    assert positions
    assert positions == sorted(positions)
    assert all(act[text_key] in text for act in answer["counterfactuals"][:1])


@LANGUAGES
def test_an_adverse_notice_names_decision_method_and_limit(
    client: TestClient, language: str, text_key: str
) -> None:
    answer = decide(client, request=LARGE)
    text = notice(client, answer, lang=language, format="text").text
    for part in (answer["decision_id"], "SHAP", "12", answer["limit"]["amount"]):
        assert part in text


@LANGUAGES
def test_a_notice_is_a_page_or_plain_text(
    client: TestClient, language: str, text_key: str
) -> None:
    answer = decide(client, request=LARGE)
    page = notice(client, answer, lang=language, format="html")
    text = notice(client, answer, lang=language, format="text")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert "<script" not in page.text
    assert f'lang="{language}"' in page.text


def test_the_page_has_the_title_of_the_text(client: TestClient) -> None:
    paragraphs = notice(client, decide(client, request=LARGE), format="text").text
    page = notice(client, decide(client, request=LARGE), format="html").text
    first_line = paragraphs.split("\n")[0]
    assert f"<h1>{first_line}</h1>" in page


def test_a_person_has_other_rights_than_a_company(client: TestClient) -> None:
    texts = dict[bool, str]()
    for is_person in (True, False):
        answer = decide(client, request=LARGE, is_natural_person=is_person)
        texts[is_person] = notice(client, answer, format="text").text
    assert "contest" in texts[True]
    assert "25 months" in texts[True]
    assert "12 months" in texts[False]
    assert "contest" not in texts[False]


def test_an_approval_has_reasons_but_no_adverse_notice(client: TestClient) -> None:
    answer = decide(client)
    assert answer["outcome"] == "approve"
    assert notice(client, answer).json()["where"] == "kind"
    assert notice(client, answer, kind="reasons", format="text").status_code == 200


def test_an_invalid_notice_is_rejected(client: TestClient) -> None:
    answer = decide(client)
    assert notice(client, answer, lang="fr").status_code == 422
    assert client.get("/decisions/none/notice").status_code == 404


def test_no_reason_of_the_catalogue_is_vague() -> None:
    for feature in CATALOGUE:
        assert vague(feature.reason_en) is None
        assert vague(feature.reason_zh) is None


@pytest.mark.parametrize("version", ["2000-01-01", "2023-12-31"])
def test_no_reason_of_the_rules_is_vague(version: str) -> None:
    tables = read_rulebook(RULES / version).tables
    for name in REASONED:
        for rule in tables[name].rules:
            assert vague(rule.because) is None
            assert vague(rule.because_zh) is None


def test_a_vague_text_is_found_in_chinese_too() -> None:
    assert vague("您的评分过低")
