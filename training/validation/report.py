"""The validation report: one HTML file for a model of a ledger or of a table, printable, without any network."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from obligor.errors import SchemaError
from obligor.training.validation.subject import ModelUnderTest, Section

REPORT, VERDICTS = "model_report.html", "validation.json"
NOT_RECORDED = "not recorded"
# Our headings for what SR 26-2 and Annex IV of the EU AI Act (2024/1689) want written down; none is left blank.
CARD: tuple[tuple[str, str], ...] = (
    ("purpose", "Purpose and intended use"),
    ("users", "Intended users and human oversight"),
    ("outcome", "Outcome definition and horizon"),
    ("data", "Training and test data, provenance"),
    ("method", "Method, and why it was chosen"),
    ("assumptions", "Assumptions"),
    ("inputs", "Inputs, and what is forbidden"),
    ("performance", "Performance and its uncertainty"),
    ("robustness", "Robustness, stability, cybersecurity"),
    ("fairness", "Fairness and affected persons"),
    ("explanation", "Explanations given"),
    ("limits", "Limits and foreseeable misuse"),
    ("monitoring", "Monitoring and change"),
    ("owner", "Owner, developer, validator"),
)


def write_report(
    folder: Path,
    case: ModelUnderTest,
    sections: Sequence[Section],
    card: Mapping[str, str],
) -> list[Path]:
    """Write the report with all pictures in it, the pictures as PNG files, and the verdicts.

    Parameters
    ----------
    card : mapping
        Answers to `CARD` by their keys; what is missing reads "not recorded".

    Returns
    -------
    list of Path
        The HTML file, which needs no network and no other file, the verdicts, then the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, pictures = (
        [folder / REPORT, folder / VERDICTS],
        dict[str, list[tuple[str, str]]](),
    )
    for section in sections:
        for title, figure in section.pictures:
            path = folder / f"{re.sub('[^a-z]+', '_', title.lower())}.png"
            pictures.setdefault(section.id, []).append(
                (title, picture := embedded(figure))
            )
            path.write_bytes(base64.b64decode(picture))
            paths.append(path)
    answers = [(title, card.get(key) or NOT_RECORDED) for key, title in CARD]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("obligor.training"), autoescape=True
    )
    html = environment.get_template("report.html").render(
        case=case, sections=sections, pictures=pictures, card=answers, html=as_html
    )
    paths[0].write_text(html, encoding="utf-8")
    found = {
        section.id: {"verdict": section.verdict, "says": section.says}
        for section in sections
    }
    paths[1].write_text(
        json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    return paths


def embedded(figure: Figure) -> str:
    """Return a picture as a page holds it: PNG in base64."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
    return base64.b64encode(content.getvalue()).decode()


def as_html(table: pd.DataFrame) -> str:
    """Return a table as HTML, four digits to a number."""
    return str(table.to_html(border=0, float_format=lambda value: f"{value:.4g}"))


def card_of(
    case: ModelUnderTest,
    sections: Sequence[Section],
    about: Mapping[str, Any],
    said: Mapping[str, str],
) -> dict[str, str]:
    """Return the answers of the model card that the run itself knows, with those a person wrote in front of them."""
    says = {section.id: section.says for section in sections}
    model = case.model
    known = {
        "purpose": "A probability of default per customer or applicant, for credit decisions by the rules of "
        f"policy/rules; case {case.name}.",
        "users": "Credit managers and applications; decisions above the limits of authority go to people, who may "
        "resolve, override within bounds, and are named in the record.",
        "outcome": f"{about.get('default') or about.get('spec', {}).get('target') or NOT_RECORDED}; horizon "
        f"{model.horizon_days} days.",
        "data": says["data_quality"]
        + f" Trained on {about.get('trained_on', 'rows of the table')}. "
        + says.get("rejects", "Applicants who were refused had no part in it."),
        "method": f"{about.get('chosen', 'LightGBM')} of a ladder (scorecard, LightGBM, blend); calibration "
        f"{model.calibration.kind}.",
        "assumptions": "Customers default one by one given their features; the future resembles the rows learnt; what "
        "is known on a date is in the ledger with that date.",
        "inputs": f"{len(model.features)} columns: {', '.join(model.features[:12])}"
        + (", ..." if len(model.features) > 12 else ""),
        "performance": f"{says['discrimination']} {says['calibration']}",
        "robustness": f"{says['stability']} Bundles are signed, hashed, and read as data.",
        "fairness": says["fairness"],
        "explanation": says["faithfulness"],
        "limits": says["limits_of_use"],
        "monitoring": "`obligor monitor`: drift of score and columns, calibration of matured decisions, the challenger "
        "in shadow.",
    }
    return {**known, **said}


def read_card(path: Path | None) -> dict[str, str]:
    """Read a person's answers in the model card from TOML; none without a file.

    Raises
    ------
    SchemaError
        Where the file cannot be read, or answers what is not asked.
    """
    if path is None:
        return {}
    asked = [key for key, _ in CARD]
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"cannot be read: {error}", where=str(path), expected="a TOML file"
        ) from None
    if unknown := sorted(set(found) - set(asked)):
        raise SchemaError(
            f"answers {unknown}", where=str(path), expected=f"some of {asked}"
        )
    return {key: str(answer) for key, answer in found.items()}
