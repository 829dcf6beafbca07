"""The validation report: one HTML file, printable, that needs no network."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from obligor.errors import SchemaError
from obligor.model.pd_model import PdModel
from obligor.training.validation.pages import as_html, embedded, render
from obligor.training.validation.subject import ModelUnderTest, Section

REPORT = "model_report.html"
VERDICTS = "validation.json"
NOT_RECORDED = "not recorded"
INPUTS_NAMED = 12
# Our headings for what SR 26-2 and Annex IV of the EU AI Act (2024/1689) require to
# be written down. None is left blank.
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
    subject: ModelUnderTest,
    sections: Sequence[Section],
    card: Mapping[str, str],
) -> list[Path]:
    """Write the report with its pictures inside, the verdicts, and the pictures.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    subject : ModelUnderTest
        The model that the report is about.
    sections : sequence of Section
        In the order in which they are read.
    card : mapping of str
        Answers to `CARD` by their keys; a missing one reads "not recorded".

    Returns
    -------
    list of Path
        The HTML file, which needs no network and no other file; the verdicts as
        JSON; the pictures as PNG files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _embedded_pictures(sections)
    html = render(
        "report.html",
        subject=subject,
        sections=sections,
        pictures=pictures,
        card=[(title, card.get(key) or NOT_RECORDED) for key, title in CARD],
        html=as_html,
    )
    page = folder / REPORT
    page.write_text(html, encoding="utf-8")
    return [page, _write_verdicts(folder, sections), *_save_pictures(folder, pictures)]


def _embedded_pictures(
    sections: Sequence[Section],
) -> dict[str, list[tuple[str, str]]]:
    """Titles and pictures of each section, as the page holds them."""
    pictures = {}
    for section in sections:
        pictures[section.id] = [
            (title, embedded(figure)) for title, figure in section.pictures
        ]
    return pictures


def _write_verdicts(folder: Path, sections: Sequence[Section]) -> Path:
    verdicts = {
        section.id: {"verdict": section.verdict, "summary": section.summary}
        for section in sections
    }
    path = folder / VERDICTS
    content = json.dumps(verdicts, indent=1, ensure_ascii=False)
    path.write_text(content, encoding="utf-8")
    return path


def _save_pictures(
    folder: Path, pictures: Mapping[str, Sequence[tuple[str, str]]]
) -> list[Path]:
    paths = []
    for section_pictures in pictures.values():
        for title, picture in section_pictures:
            name = re.sub("[^a-z]+", "_", title.lower())
            path = folder / f"{name}.png"
            path.write_bytes(base64.b64decode(picture))
            paths.append(path)
    return paths


def card_of(subject: ModelUnderTest, sections: Sequence[Section]) -> dict[str, str]:
    """Return the answers of the model card that the run itself knows, by key."""
    summary = {section.id: section.summary for section in sections}
    model = subject.model
    chosen = model.about.get("chosen", "LightGBM")
    refused = summary.get("rejects", "Refused applicants had no part in it.")
    return {
        "purpose": "A probability of default of a customer or applicant, for credit "
        f"decisions by the rulebook in force. Data: {subject.name}.",
        "users": "Credit managers and applications. Decisions above the limits of "
        "authority go to people, who may resolve them or override them within bounds, "
        "and whose names are recorded.",
        "outcome": _describe_outcome(model),
        "data": f"{summary['data_quality']} {_describe_dates(model)} {refused}",
        "method": f"Chosen: {chosen}, among a scorecard, trees of several kinds and "
        f"their blend. {model.about.get('because', '')} "
        f"Calibration: {model.calibration.kind}.",
        "assumptions": "Customers default independently given their features. The "
        "future resembles the training rows. The data record when each fact became "
        "known.",
        "inputs": _describe_inputs(model.features),
        "performance": f"{summary['discrimination']} {summary['calibration']}",
        "robustness": f"{summary['stability']} Bundles are signed, hashed, and read "
        "as data, never as code.",
        "fairness": summary["fairness"],
        "explanation": summary["faithfulness"],
        "limits": summary["limits_of_use"],
        "monitoring": "The command obligor monitor shows the drift of the PD and of "
        "the columns, the calibration of matured decisions, and the challenger in the "
        "shadow.",
    }


def _describe_outcome(model: PdModel) -> str:
    horizon = f"Horizon: {model.horizon_days} days."
    default = model.about.get("default")
    if default and default.get("counts") == "customer":
        return (
            f"A customer is in default if more than {default['materiality']:g} in the "
            f"reporting currency and more than {default['materiality_share']:.2%} of "
            f"what it owes is {default['dpd_days']} days past due, or was written off. "
            f"{horizon}"
        )
    if default:
        return (
            f"A default is an item {default['dpd_days']} days past due with an open "
            f"balance of at least {default['materiality']:g} in the reporting "
            f"currency, or a write-off. {horizon}"
        )
    target = model.about.get("spec", {}).get("target")
    if target:
        bad = ", ".join(str(value) for value in target.get("bad", []))
        return f"A default is the value {bad} in column {target['column']}. {horizon}"
    return f"The definition of default is {NOT_RECORDED}. {horizon}"


def _describe_dates(model: PdModel) -> str:
    dates = model.about.get("trained_on")
    if not dates:
        return "The training rows are applications of a table."
    return f"The as-of dates of the training rows run from {dates[0]} to {dates[1]}."


def _describe_inputs(names: Sequence[str]) -> str:
    shown = ", ".join(names[:INPUTS_NAMED])
    if len(names) > INPUTS_NAMED:
        shown += ", ..."
    return f"{len(names)} columns: {shown}"


def read_card(path: Path | None) -> dict[str, str]:
    """Read a person's answers for the model card from TOML; none without a file.

    Raises
    ------
    SchemaError
        If the file cannot be read, or answers a question that the card does not ask.
    """
    if path is None:
        return {}
    try:
        answers = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SchemaError(
            f"the file cannot be read: {error}",
            where=str(path),
            expected="a TOML file",
        ) from None
    keys = [key for key, _ in CARD]
    unknown = sorted(set(answers) - set(keys))
    if unknown:
        raise SchemaError(
            f"the model card has no entry {unknown}",
            where=str(path),
            expected=f"some of {keys}",
        )
    return {key: str(answer) for key, answer in answers.items()}
