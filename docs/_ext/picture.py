"""Draw an explained decision: why the risk is what it is, and what limits the credit.

Usage: ``python docs/_ext/picture.py demo/decision.json docs/_static/decision.svg``
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TypedDict

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from obligor.features.catalogue import CATALOGUE

RAISES = "#b4430f"
LOWERS = "#1d5b8f"
MUTED = "#9aa5b1"
SMALLEST_SHOWN = 0.03  # log-odds; smaller families are added up in one bar
FAMILY_LABELS = {
    "activity": "sales and payments",
    "lateness": "paying late",
    "exposure": "open balance",
    "overdue": "items past due",
    "concentration": "largest open item",
    "utilisation": "use of the limit",
    "trend": "trend of payments",
    "recency": "time since last payment",
    "tenure": "length of relationship",
    "promises": "broken promises",
    "payment_size": "partial payments",
    "terms": "agreed terms",
    "losses": "write-offs",
    "financials": "financial statements",
}
CAP_LABELS = {
    "need": "what the customer needs",
    "economic": "what the margin can carry",
    "ceiling": "ceiling of the grade",
    "secured": "base plus securities",
    "net_worth": "share of net worth",
    "turnover": "share of turnover",
    "step_up": "step up of a new customer",
}


class Limit(TypedDict):
    """The credit limit of an answer."""

    amount: str
    currency: str
    binding_cap: str
    next_cap: str
    caps: dict[str, str]


class Explanation(TypedDict):
    """The explanation of an answer: ``base`` plus the contributions is ``margin``."""

    base: float
    margin: float
    contributions: dict[str, float]


class Answer(TypedDict):
    """The parts of an answer that the picture shows."""

    customer_id: str
    as_of: str
    outcome: str
    pd_12m: float
    pd_12m_interval: list[float]
    grade: int
    limit: Limit
    explanation: Explanation


def draw(answer: Answer, path: Path) -> None:
    """Draw both panels and save them as SVG, with text as text."""
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "obligor"
    plt.rcParams["font.family"] = "sans-serif"
    plt.rcParams["font.sans-serif"] = ["Helvetica", "Arial", "DejaVu Sans"]
    figure, (why, how_much) = plt.subplots(1, 2, figsize=(11, 4.6))
    draw_contributions(why, answer["explanation"])
    draw_caps(how_much, answer["limit"])
    figure.suptitle(headline(answer), x=0.012, y=0.985, ha="left", fontsize=13)
    figure.subplots_adjust(left=0.165, right=0.965, top=0.78, bottom=0.13, wspace=0.62)
    figure.savefig(path, facecolor="white", metadata={"Date": None})


def headline(answer: Answer) -> str:
    """Return two lines: the outcome, and the figures it rests on."""
    low, high = answer["pd_12m_interval"]
    limit = answer["limit"]
    amount = f"{float(limit['amount']):,.0f} {limit['currency']}"
    return (
        f"{answer['customer_id']}, as of {answer['as_of']}: {answer['outcome']}\n"
        f"probability of default within 12 months {answer['pd_12m']:.1%} "
        f"(95% interval {low:.1%} to {high:.1%}), grade {answer['grade']}, "
        f"credit limit {amount}"
    )


def draw_contributions(axes: Axes, explanation: Explanation) -> None:
    """Draw one bar per family of features, the largest at the top."""
    families = {feature.name: feature.family for feature in CATALOGUE}
    sums: dict[str, float] = defaultdict(float)
    for name, contribution in explanation["contributions"].items():
        sums[FAMILY_LABELS.get(families[name], families[name])] += contribution
    shown = {
        label: value for label, value in sums.items() if abs(value) >= SMALLEST_SHOWN
    }
    ordered = sorted(shown.items(), key=lambda item: abs(item[1]))
    others = sum(sums.values()) - sum(shown.values())
    bars = [("all others", others), *ordered]
    for row, (_, value) in enumerate(bars):
        axes.barh(row, value, color=RAISES if value > 0 else LOWERS, height=0.62)
        axes.annotate(
            f"{value:+.2f}",
            (value, row),
            xytext=(4 if value > 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value > 0 else "right",
            va="center",
            fontsize=10,
        )
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.22)
    axes.set_xlabel("contribution to the log-odds of default")
    axes.set_title(
        "Why: what raises (orange) and lowers (blue) the risk\n"
        f"base {explanation['base']:.2f} + all bars "
        f"= {explanation['margin']:.2f}, exactly",
        fontsize=11,
        loc="left",
        x=-0.45,
    )
    tidy(axes)


def draw_caps(axes: Axes, limit: Limit) -> None:
    """Draw one bar per cap of the limit; the smallest one binds."""
    caps = sorted(limit["caps"].items(), key=lambda item: float(item[1]), reverse=True)
    smallest = float(caps[-1][1])
    largest = float(caps[0][1])
    for row, (name, text) in enumerate(caps):
        amount = float(text)
        is_binding = name == limit["binding_cap"]
        colour = RAISES if is_binding else MUTED
        axes.hlines(row, smallest / 3, amount, color=colour, linewidth=1.2)
        axes.plot(amount, row, "o", color=colour, markersize=9)
        axes.annotate(
            f"{amount:,.0f}" + (" binds" if is_binding else ""),
            (amount, row),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(smallest / 3, largest * 5)
    axes.set_yticks(range(len(caps)), [CAP_LABELS.get(name, name) for name, _ in caps])
    axes.set_xlabel(f"credit limit by rule ({limit['currency']}, log scale)")
    axes.set_title(
        "How much: the smallest cap is the limit\n"
        f"{len(caps)} caps; next: {CAP_LABELS[limit['next_cap']]}",
        fontsize=11,
        loc="left",
        x=-0.45,
    )
    tidy(axes)


def tidy(axes: Axes) -> None:
    """Remove the frame and the ticks that carry no information."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.tick_params(axis="x", labelsize=9)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
