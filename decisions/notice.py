"""The notice about a decision for the customer: principal reasons, how they were found, rights, and who looks again."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import orjson

from obligor.errors import SchemaError
from obligor.record.entry import OpenedEntry

# Texts that say nothing a customer could act on: a law asks for specific reasons (Reg B, 12 CFR 1002.9(b)(2)).
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
        "reasons": "Reasons of a decision on credit",
        "approve": "Your request was approved.",
        "refer": "Your request could not be approved automatically; a person decides about it.",
        "decline": "Your request was declined.",
        "limit": "Credit limit: {amount} {currency}.",
        "principal": "The principal reasons, the most important first:",
        "none": "No rule and no feature spoke against you.",
        "act": "What would have led to an approval: {text}.",
        "method": "These reasons were found as follows. Rules that decided by themselves come first. The others are "
        "what raised the estimated default risk most compared with customers who are approved, worked out "
        "exactly (SHAP) for this decision. None that mattered was left out, at most four are named.",
        "company": "You may ask for a person to look at this decision again, and send what is missing or wrong in our "
        "data. We keep this decision for 12 months.",
        "person": "You have the right to have a person look at this decision, to state your point of view and to "
        "contest it; to know which data about you we used, and to have wrong data corrected. You may "
        "complain to your data protection or consumer authority. We keep this decision for 25 months.",
        "source": "Used were the invoices and payments of our own ledger up to {as_of}. No data were bought.",
        "reference": "Decision {id} of {as_of}, model version {model}, rules of {rules}.",
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
        "method": "理由的确定方法：首先列出直接决定结果的规则；其余为与获批客户相比最显著提高违约风险估计的因素，"
        "由本次决定精确计算（SHAP）。未遗漏任何主要因素，最多列出四项。",
        "company": "您可以要求人工复核本决定，并补充或更正我们的数据。本决定保存 12 个月。",
        "person": "您有权要求人工复核本决定、表达意见并提出异议；有权了解所使用的个人数据并要求更正。"
        "您可以向数据保护或消费者主管机关投诉。本决定保存 25 个月。",
        "source": "使用的数据为我方账簿截至 {as_of} 的发票与付款，未购买外部数据。",
        "reference": "决定编号 {id}，日期 {as_of}，模型版本 {model}，规则版本 {rules}。",
    },
}


def notice(kept: OpenedEntry, language: str, kind: str, as_html: bool) -> str:
    """Return the notice about a recorded decision, as text or as a page without scripts.

    Raises
    ------
    SchemaError
        Where the entry is no decision, an adverse notice is asked about an approval, or a reason is vague.
    """
    if kept.kind != "decision":
        raise SchemaError(
            f"a {kept.kind} has no notice", where="decision_id", expected="a decision"
        )
    if kind == "adverse" and kept.outcome == "approve":
        raise SchemaError(
            "the decision is an approval", where="kind", expected="kind=reasons"
        )
    asked, answer = orjson.loads(kept.request), orjson.loads(kept.body)
    lines = list(_lines(answer, bool(asked.get("is_natural_person")), language, kind))
    for line in lines:
        if found := vague(line):
            raise SchemaError(
                f"a reason says {found!r}", where="notice", expected="a specific reason"
            )
    if not as_html:
        return "\n\n".join(lines) + "\n"
    title, *rest = (escape(line).replace("\n", "<br>") for line in lines)
    head = f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{title}</title>'
    return (
        f"{head}<h1>{title}</h1>"
        + "".join(f"<p>{line}</p>" for line in rest)
        + "</html>\n"
    )


def vague(text: str) -> str | None:
    """Return the words that make a text vague, None where it is specific.

    Examples
    --------
    >>> vague("Your score is too low"), vague("The oldest open item is 41 days past due")
    ('score is too low', None)
    """
    return next((words for words in VAGUE if words in text.lower()), None)


def _lines(
    answer: Mapping[str, Any], is_person: bool, language: str, kind: str
) -> list[str]:
    """The paragraphs, the title first."""
    said, text = _TEXTS[language], "text" if language == "en" else "text_zh"
    reasons = [
        f"{n}. {reason[text]} ({reason['code']})"
        for n, reason in enumerate(answer["reasons"], start=1)
    ]
    lines = [
        said[kind],
        said[answer["outcome"]],
        said["limit"].format(**answer["limit"]),
    ]
    lines.append("\n".join([said["principal"], *reasons]) if reasons else said["none"])
    lines += [
        said["act"].format(text=act[text]) for act in answer["counterfactuals"][:1]
    ]
    as_of = answer["as_of"]
    reference = {
        "id": answer["decision_id"],
        "as_of": as_of,
        "model": answer["model"]["version"],
        "rules": answer["policy"]["version"],
    }
    lines += [
        said["method"],
        said["source"].format(as_of=as_of),
        said["person" if is_person else "company"],
    ]
    return [*lines, said["reference"].format(**reference)]
