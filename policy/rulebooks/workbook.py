"""Rulebooks for people who edit in Excel: every table a sheet, and back to files; and what differs between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import yaml
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.worksheet import Worksheet

from obligor.errors import PolicyError
from obligor.policy.rulebooks.rulebook import TABLES, Rulebook, read_rulebook

_ABOUT = ("id", "hit", "effective", "decided_by", "decided_on", "because")
_COLUMN = ("type", "unit", "low", "high", "values", "nullable")
_PARAMETER = ("name", "value", "unit", "reference")
_BOLD = Font(bold=True)


def export_workbook(rulebook: Rulebook, path: Path) -> None:
    """Write a rulebook: a sheet of parameters, then per table a sheet of rules and one of cases."""
    book = Workbook()
    book.remove(book.worksheets[0])
    parameters = rulebook.specs["parameters"]
    sheet = book.create_sheet("parameters")
    _write(sheet, [*_about_rows(parameters), [], list(_PARAMETER)])
    for name, entry in parameters["parameters"].items():
        sheet.append([name, entry["value"], entry["unit"], entry["reference"]])
    for name in TABLES:
        spec = rulebook.specs[name]
        _write(
            book.create_sheet(name),
            [*_about_rows(spec), [], *_column_rows(spec), [], *_rule_rows(spec)],
        )
        _write(book.create_sheet(f"{name} cases"), _case_rows(spec))
    book.save(path)


def import_workbook(path: Path, folder: Path) -> Rulebook:
    """Write the files of a rulebook from a workbook into a new folder, prove them, and return the rulebook.

    Raises
    ------
    PolicyError
        Where the workbook cannot be read, the folder exists, or what it says is doubtful; then nothing is left.
    """
    if folder.exists():
        raise PolicyError("exists already", where=str(folder), do="give a new date")
    try:
        book = load_workbook(path, data_only=True)
    except (OSError, BadZipFile, InvalidFileException, KeyError) as error:
        raise PolicyError(
            f"cannot be read: {error}", where=str(path), expected="an .xlsx file"
        ) from None
    missing = sorted(
        {"parameters", *TABLES, *(f"{name} cases" for name in TABLES)}
        - set(book.sheetnames)
    )
    if missing:
        raise PolicyError(
            f"lacks the sheets {missing}",
            where=str(path),
            expected="those of `obligor policy export`",
        )
    specs = {"parameters": _read_parameters(book["parameters"], folder.name)}
    specs |= {
        name: _read_table(book[name], book[f"{name} cases"], folder.name)
        for name in TABLES
    }
    folder.mkdir(parents=True)
    try:
        for name, spec in specs.items():
            text = yaml.safe_dump(spec, allow_unicode=True, sort_keys=False, width=200)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return read_rulebook(folder)
    except PolicyError:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        raise


def differences(old: Rulebook, new: Rulebook) -> Iterator[str]:
    """Say every change from one rulebook to another: parameters, columns, rows and their cells, one a line."""
    for name in ("parameters", *TABLES):
        before, after = _flat(name, old.specs[name]), _flat(name, new.specs[name])
        for key in [*before, *(key for key in after if key not in before)]:
            was, now = before.get(key), after.get(key)
            if was != now:
                yield f"{name} {key}: {'(none)' if was is None else was} -> {'(none)' if now is None else now}"


def _flat(name: str, spec: Mapping[str, Any]) -> dict[str, str]:
    if name == "parameters":
        return {key: str(entry["value"]) for key, entry in spec["parameters"].items()}
    found = {"hit": str(spec["hit"])}
    for side in ("inputs", "outputs"):
        for column, entry in spec[side].items():
            found |= {f"{column} {key}": str(value) for key, value in entry.items()}
    for place, row in enumerate(spec["rules"], start=1):
        found[f"{row['id']} place"] = str(place)
        for side in ("when", "then"):
            found |= {
                f"{row['id']} {column}": str(value)
                for column, value in row.get(side, {}).items()
            }
        found[f"{row['id']} because"] = str(row["because"])
    return found


def _about_rows(spec: Mapping[str, Any]) -> list[list[Any]]:
    known = {**spec, **spec["source"]}
    return [[name, known[name]] for name in _ABOUT if name in known]


def _column_rows(spec: Mapping[str, Any]) -> list[list[Any]]:
    columns = [("input", *item) for item in spec["inputs"].items()]
    columns += [("output", *item) for item in spec["outputs"].items()]
    rows: list[list[Any]] = [["column", "name", *_COLUMN]]
    for side, name, entry in columns:
        values = {**entry, "values": ", ".join(entry.get("values", ()))}
        rows.append([side, name, *(values.get(key) for key in _COLUMN)])
    return rows


def _rule_rows(spec: Mapping[str, Any]) -> list[list[Any]]:
    inputs, outputs = list(spec["inputs"]), list(spec["outputs"])
    rows: list[list[Any]] = [["rule", *inputs, *outputs, "because", "zh"]]
    for row in spec["rules"]:
        when = [row.get("when", {}).get(name, "-") for name in inputs]
        rows.append(
            [
                row["id"],
                *when,
                *(row["then"][name] for name in outputs),
                row["because"],
                row.get("zh"),
            ]
        )
    return rows


def _case_rows(spec: Mapping[str, Any]) -> list[list[Any]]:
    names = list(dict.fromkeys(name for case in spec["cases"] for name in case["out"]))
    rows: list[list[Any]] = [[*spec["inputs"], *(f"-> {name}" for name in names)]]
    for case in spec["cases"]:
        out = [
            ", ".join(v) if isinstance(v := case["out"].get(name), list) else v
            for name in names
        ]
        rows.append([*(case["in"].get(name) for name in spec["inputs"]), *out])
    return rows


def _write(sheet: Worksheet, rows: Sequence[Sequence[Any]]) -> None:
    for row in rows:
        sheet.append(list(row))
        if row and row[0] in ("column", "rule", "name"):
            for cell in sheet[sheet.max_row]:
                cell.font = _BOLD
    for column in "ABCDEFGHIJ":
        sheet.column_dimensions[column].width = 22


def _read_about(rows: Sequence[Sequence[Any]], version: str) -> dict[str, Any]:
    known = {
        str(row[0]): row[1] for row in rows[: len(_ABOUT)] if row and row[0] in _ABOUT
    }
    source = {
        name: _plain(known[name])
        for name in ("decided_by", "decided_on", "because")
        if known.get(name)
    }
    about = {name: known[name] for name in ("id", "hit") if known.get(name)}
    try:
        return {**about, "effective": date.fromisoformat(version), "source": source}
    except ValueError:
        raise PolicyError(
            f"{version!r} is no date",
            where="version",
            expected="the day from which it applies",
        ) from None


def _read_parameters(sheet: Worksheet, version: str) -> dict[str, Any]:
    rows = _rows(sheet)
    start = _header(rows, "name", sheet.title)
    found = {
        str(row[0]): {"value": row[1], "unit": row[2], "reference": row[3]}
        for row in rows[start + 1 :]
        if row[0]
    }
    return {**_read_about(rows, version), "parameters": found}


def _read_table(sheet: Worksheet, cases: Worksheet, version: str) -> dict[str, Any]:
    rows = _rows(sheet)
    columns, rules = (
        _header(rows, "column", sheet.title),
        _header(rows, "rule", sheet.title),
    )
    sides: dict[str, dict[str, Any]] = {"input": {}, "output": {}}
    for row in rows[columns + 1 : rules]:
        if row[0] not in sides:
            if row[0]:
                raise PolicyError(
                    f"column is an {row[0]!r}",
                    where=sheet.title,
                    expected="input or output",
                )
            continue
        entry = {
            key: _plain(value)
            for key, value in zip(_COLUMN, row[2:], strict=False)
            if value not in (None, "")
        }
        if "values" in entry:
            entry["values"] = [text.strip() for text in str(entry["values"]).split(",")]
        sides[str(row[0])][str(row[1])] = entry
    names = [str(name) for name in rows[rules][1:] if name not in (None, "")]
    found = [_read_rule(row, names, sides) for row in rows[rules + 1 :] if row[0]]
    table = {"inputs": sides["input"], "outputs": sides["output"], "rules": found}
    return {
        **_read_about(rows, version),
        **table,
        "cases": _read_cases(cases, sides["input"]),
    }


def _read_rule(
    row: Sequence[Any], names: Sequence[str], sides: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    cells = dict(zip(names, row[1:], strict=False))
    when = {
        name: _cell(cells[name])
        for name in names
        if name in sides["input"] and _cell(cells[name]) != "-"
    }
    then = {name: _plain(cells[name]) for name in names if name in sides["output"]}
    unknown = sorted(set(names) - {*sides["input"], *sides["output"], "because", "zh"})
    if unknown:
        raise PolicyError(
            f"unknown column {unknown}",
            where=f"row {row[0]}",
            expected="a column named above",
        )
    rule = {
        "id": str(row[0]),
        "when": when,
        "then": then,
        "because": str(cells.get("because") or ""),
    }
    return {**rule, "zh": str(cells["zh"])} if cells.get("zh") else rule


def _read_cases(sheet: Worksheet, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    head, *rows = _rows(sheet)
    cases = []
    for row in rows:
        given = {
            str(name): _plain(value)
            for name, value in zip(head, row, strict=True)
            if value is not None
        }
        out = {
            name[3:]: value for name, value in given.items() if name.startswith("-> ")
        }
        if "-> fired" in head:
            out["fired"] = [
                text
                for text in str(out.get("fired") or "").replace(" ", "").split(",")
                if text
            ]
        if given:
            cases.append(
                {
                    "in": {
                        name: value for name, value in given.items() if name in inputs
                    },
                    "out": out,
                }
            )
    return cases


def _rows(sheet: Worksheet) -> list[tuple[Any, ...]]:
    return list(sheet.iter_rows(values_only=True))


def _header(rows: Sequence[Sequence[Any]], first: str, sheet: str) -> int:
    for place, row in enumerate(rows):
        if row and row[0] == first:
            return place
    raise PolicyError(
        f"no row begins with {first!r}",
        where=f"sheet {sheet}",
        expected="the layout of the export",
    )


def _plain(value: Any) -> Any:
    """What Excel holds as what a file says: whole floats are whole numbers, days are dates."""
    if isinstance(value, datetime):
        return value.date()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cell(value: Any) -> str:
    """A test as text: a person may type 5, or TRUE, where the file says "5", or "true"."""
    if value in (None, ""):
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(_plain(value))
