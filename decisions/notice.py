"""The notice about a decision for the customer.

It names the principal reasons, how they were determined, and the customer's rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from obligor.decisions.pages import render
from obligor.errors import SchemaError
from obligor.record.entry import OpenedEntry

# Texts that a customer cannot act on: the law asks for specific reasons (Regulation B,
# 12 CFR 1002.9(b)(2)).
VAGUE = (
    "score is too low",
    "score too low",
    "internal standard",
    "internal polic",
    "insufficient score",
    "does not meet our criteria",
    "评分过低",
    "不符合内部",
    "综合评分不足",
)
_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "adverse": "Notice of a decision on credit",
        "reasons": "Reasons for a decision on credit",
        "approve": "Your request was approved.",
        "refer": "Your request could not be approved automatically. A member of our "
        "staff will review it.",
        "decline": "Your request was declined.",
        "limit": "Credit limit: {amount} {currency}.",
        "principal": "The principal reasons, the most important first:",
        "none": "We found no adverse factor in this decision.",
        "act": "This would have led to an approval: {text}.",
        "method": "Reasons set by a rule come first. The others are the factors that "
        "raised your estimated default risk most, compared with customers we approve, "
        "calculated exactly (SHAP) for this decision. We list the principal factors, "
        "at most four.",
        "company": "You may ask a member of our staff to review this decision, and "
        "send us data that is missing or that we should correct. We keep this decision "
        "for 12 months.",
        "person": "You have the right to have a person review this decision, to state "
        "your point of view and to contest it; to know which data about you we used, "
        "and to have wrong data corrected. You may complain to your data protection or "
        "consumer authority. We keep this decision for 25 months.",
        "source": "We used the invoices and payments in our own ledger up to {as_of}. "
        "We bought no data about you.",
        "bureau": "We used the invoices and payments in our own ledger up to {as_of}, "
        "and reports about you from {sources}. These sources did not make this "
        "decision and cannot give you its reasons; you may ask them for the data they "
        "hold about you, and have wrong data corrected.",
        "report": "{source} (of {as_of})",
        "reported_by": "reported by {sources}",
        "reference": "Decision {id} of {as_of}, model version {model}, rules of "
        "{rules}.",
    },
    "zh": {
        "adverse": "信用决定通知",
        "reasons": "信用决定理由说明",
        "approve": "您的申请已获批准。",
        "refer": "您的申请无法自动批准，将由人工决定。",
        "decline": "您的申请被拒绝。",
        "limit": "信用额度：{amount} {currency}。",
        "principal": "主要理由（按重要性排序）：",
        "none": "没有任何规则或特征对您不利。",
        "act": "以下行动本可使申请获批：{text}。",
        "method": "理由的确定方法：首先列出直接决定结果的规则；其余为与获批客户相比最显著提高"
        "违约风险估计的因素，由本次决定精确计算（SHAP）。未遗漏任何主要因素，最多列出四项。",
        "company": "您可以要求人工复核本决定，并补充或更正我们的数据。本决定保存 12 个月。",
        "person": "您有权要求人工复核本决定、表达意见并提出异议；有权了解所使用的个人数据并"
        "要求更正。您可以向数据保护或消费者主管机关投诉。本决定保存 25 个月。",
        "source": "使用的数据为我方账簿截至 {as_of} 的发票与付款，未购买外部数据。",
        "bureau": "使用的数据为我方账簿截至 {as_of} 的发票与付款，以及以下机构关于您的报告："
        "{sources}。这些机构未参与本决定，无法向您说明理由；您可以向其查询所持有的数据并"
        "要求更正。",
        "report": "{source}（{as_of}）",
        "reported_by": "报告机构：{sources}",
        "reference": "决定编号 {id}，日期 {as_of}，模型版本 {model}，规则版本 {rules}。",
    },
}


def notice(entry: OpenedEntry, language: str, kind: str, as_html: bool) -> str:
    """Return the notice about a recorded decision.

    Parameters
    ----------
    entry : OpenedEntry
        The decision.
    language : {"en", "zh"}
        The language of the notice.
    kind : {"adverse", "reasons"}
        A notice of adverse action, or the reasons only.
    as_html : bool
        A page without scripts, or plain text.

    Returns
    -------
    str
        Made from the recorded answer alone.

    Raises
    ------
    SchemaError
        If the entry is not a decision, an adverse notice is requested about an
        approval, or a reason is vague.
    """
    if entry.kind != "decision":
        raise SchemaError(
            f"a {entry.kind} has no notice",
            where="decision_id",
            expected="a decision",
        )
    if kind == "adverse" and entry.outcome == "approve":
        raise SchemaError(
            "the decision is an approval", where="kind", expected="kind=reasons"
        )
    request = orjson.loads(entry.request)
    answer = orjson.loads(entry.body)
    rights = "person" if request.get("is_natural_person") else "company"
    texts = _TEXTS[language]
    title = texts[kind]
    paragraphs = [
        texts[answer["outcome"]],
        texts["limit"].format(**answer["limit"]),
        *_reason_paragraphs(answer, language),
        texts["method"],
        _sources(answer, language),
        texts[rights],
        _reference(answer, language),
    ]
    _require_specific([title, *paragraphs])
    if not as_html:
        return "\n\n".join([title, *paragraphs]) + "\n"
    return render(
        "notice.html",
        language=language,
        title=title,
        paragraphs=[paragraph.split("\n") for paragraph in paragraphs],
    )


def vague(text: str) -> str | None:
    """Return the words that make a text vague, None if it is specific.

    Examples
    --------
    >>> vague("Your score is too low")
    'score is too low'
    >>> vague("The oldest open item is 41 days past due")
    """
    for words in VAGUE:
        if words in text.lower():
            return words
    return None


def _require_specific(paragraphs: list[str]) -> None:
    for paragraph in paragraphs:
        words = vague(paragraph)
        if words:
            raise SchemaError(
                f"a reason contains {words!r}",
                where="notice",
                expected="a specific reason",
            )


def _reason_paragraphs(answer: Mapping[str, Any], language: str) -> list[str]:
    """Return the principal reasons, and the first act that would have helped."""
    texts = _TEXTS[language]
    text_key = "text" if language == "en" else "text_zh"
    reasons = []
    for number, reason in enumerate(answer["reasons"], start=1):
        line = f"{number}. {reason[text_key]} ({reason['code']})"
        if "sources" in reason:
            sources = ", ".join(reason["sources"])
            line += f" - {texts['reported_by'].format(sources=sources)}"
        reasons.append(line)
    paragraphs = [texts["none"]]
    if reasons:
        paragraphs = ["\n".join([texts["principal"], *reasons])]
    for act in answer["counterfactuals"][:1]:
        paragraphs.append(texts["act"].format(text=act[text_key]))
    return paragraphs


def _sources(answer: Mapping[str, Any], language: str) -> str:
    """Return what data the decision was made from."""
    texts = _TEXTS[language]
    # The ledger of an answer of an earlier version has no reports.
    bureau = answer["ledger"].get("bureau")
    if not bureau:
        return texts["source"].format(as_of=answer["as_of"])
    reports = [texts["report"].format(**source) for source in bureau["sources"]]
    return texts["bureau"].format(as_of=answer["as_of"], sources=", ".join(reports))


def _reference(answer: Mapping[str, Any], language: str) -> str:
    return _TEXTS[language]["reference"].format(
        id=answer["decision_id"],
        as_of=answer["as_of"],
        model=answer["model"]["version"],
        rules=answer["policy"]["version"],
    )
