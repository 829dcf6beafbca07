"""Rulebooks for people who edit in Excel: export, import, and the differences.

Every table has a sheet of rules and a sheet of worked examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple, cast
from zipfile import BadZipFile

import yaml
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.worksheet import Worksheet

from obligor.errors import PolicyError
from obligor.policy.rulebooks.files import RulebookFile, Scalar
from obligor.policy.rulebooks.rulebook import (
    INTEREST_TABLES,
    TABLES,
    Rulebook,
    read_rulebook,
    with_interest_tables,
)

Row = Sequence[object]

_HEAD_KEYS = ("id", "hit", "effective", "decided_by", "decided_on", "because")
_SOURCE_KEYS = ("decided_by", "decided_on", "because")
_COLUMN_KEYS = ("type", "unit", "low", "high", "values", "nullable")
_PARAMETER_KEYS = ("name", "value", "unit", "reference")
_BOLD = Font(bold=True)


def export_workbook(rulebook: Rulebook, path: Path) -> None:
    """Write a rulebook: parameters, then per table its rules and worked examples."""
    book = Workbook()
    book.remove(book.worksheets[0])  # the empty sheet of a new workbook
    file = rulebook.specs["parameters"]
    _write(book.create_sheet("parameters"), [*_head_rows(file), *_parameter_rows(file)])
    for name in rulebook.tables:
        file = rulebook.specs[name]
        rows = [
            *_head_rows(file),
            *_column_rows(file),
            [],
            *_rule_rows(file),
        ]
        _write(book.create_sheet(name), rows)
        _write(book.create_sheet(f"{name} cases"), _example_rows(file))
    book.save(path)


def import_workbook(path: Path, folder: Path) -> Rulebook:
    """Write the files of a rulebook from a workbook into a new folder, and prove them.

    Raises
    ------
    PolicyError
        If the workbook cannot be read, the folder exists, or the rulebook is doubtful;
        then nothing is left in the folder.
    """
    if folder.exists():
        raise PolicyError(
            "the folder already exists", where=str(folder), do="give a new date"
        )
    files = _read_files(_load(path), folder.name)
    folder.mkdir(parents=True)
    try:
        for name, file in files.items():
            text = yaml.safe_dump(
                file,
                allow_unicode=True,
                sort_keys=False,
                width=200,
            )
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return read_rulebook(folder)
    except PolicyError:
        # A doubtful draft must not stay where a later release could find it.
        for written in folder.iterdir():
            written.unlink()
        folder.rmdir()
        raise


def differences(old: Rulebook, new: Rulebook) -> Iterator[str]:
    """Give every change from one rulebook to another, one a line.

    Parameters, columns, rows and cells are compared.
    """
    for name in {**old.specs, **new.specs}:
        before = _entries(name, old.specs.get(name))
        after = _entries(name, new.specs.get(name))
        for key in {**before, **after}:
            old_text = before.get(key, "(none)")
            new_text = after.get(key, "(none)")
            if old_text != new_text:
                yield f"{name} {key}: {old_text} -> {new_text}"


def _entries(name: str, file: RulebookFile | None) -> dict[str, str]:
    """Every entry of a file as text, by a name that people can read.

    A table that a rulebook does not have has no entries.
    """
    if file is None:
        return {}
    if name == "parameters":
        parameters = file["parameters"]
        return {key: str(entry["value"]) for key, entry in parameters.items()}
    entries = {"hit": str(file["hit"])}
    for column, entry in [*file["inputs"].items(), *file["outputs"].items()]:
        for key, value in entry.items():
            entries[f"{column} {key}"] = str(value)
    for position, rule in enumerate(file["rules"], start=1):
        rule_id = rule["id"]
        entries[f"{rule_id} place"] = str(position)
        for column, cell in rule.get("when", {}).items():
            entries[f"{rule_id} {column}"] = str(cell)
        for column, output in rule.get("then", {}).items():
            entries[f"{rule_id} {column}"] = str(output)
        entries[f"{rule_id} because"] = str(rule["because"])
    return entries


# --- writing


def _head_rows(file: RulebookFile) -> list[Row]:
    """Id, hit policy, date and source, and an empty row."""
    head: dict[str, object] = {**file, **file["source"]}
    rows: list[Row] = [[key, head[key]] for key in _HEAD_KEYS if key in head]
    return [*rows, []]


def _parameter_rows(file: RulebookFile) -> list[Row]:
    rows: list[Row] = [_PARAMETER_KEYS]
    for name, entry in file["parameters"].items():
        rows.append(
            [
                name,
                entry["value"],
                entry["unit"],
                entry["reference"],
            ]
        )
    return rows


def _column_rows(file: RulebookFile) -> list[Row]:
    columns = [("input", *item) for item in file["inputs"].items()]
    columns += [("output", *item) for item in file["outputs"].items()]
    rows: list[Row] = [["column", "name", *_COLUMN_KEYS]]
    for side, name, entry in columns:
        values: dict[str, object] = {**entry}
        values["values"] = ", ".join(entry.get("values", ()))
        rows.append([side, name, *(values.get(key) for key in _COLUMN_KEYS)])
    return rows


def _rule_rows(file: RulebookFile) -> list[Row]:
    rows: list[Row] = [
        [
            "rule",
            *file["inputs"],
            *file["outputs"],
            "because",
            "zh",
        ]
    ]
    for rule in file["rules"]:
        when = rule.get("when", {})
        cells: list[object] = [when.get(name, "-") for name in file["inputs"]]
        outputs = [rule["then"][name] for name in file["outputs"]]
        texts = [rule["because"], rule.get("zh")]
        rows.append(
            [
                rule["id"],
                *cells,
                *outputs,
                *texts,
            ]
        )
    return rows


def _example_rows(file: RulebookFile) -> list[Row]:
    names = list(dict.fromkeys(name for case in file["cases"] for name in case["out"]))
    rows: list[Row] = [[*file["inputs"], *(f"-> {name}" for name in names)]]
    for case in file["cases"]:
        inputs = [case["in"].get(name) for name in file["inputs"]]
        outputs = [_joined(case["out"].get(name)) for name in names]
        rows.append([*inputs, *outputs])
    return rows


def _joined(value: Scalar | list[str]) -> Scalar:
    return ", ".join(value) if isinstance(value, list) else value


def _write(sheet: Worksheet, rows: Sequence[Row]) -> None:
    for row in rows:
        sheet.append(list(row))
        if row and row[0] in ("column", "rule", "name"):  # the header of a block
            for cell in sheet[sheet.max_row]:
                cell.font = _BOLD
    for column in "ABCDEFGHIJ":
        sheet.column_dimensions[column].width = 22


# --- reading


class _Columns(NamedTuple):
    """The columns of a table, by name."""

    inputs: dict[str, dict[str, object]]
    outputs: dict[str, dict[str, object]]


def _load(path: Path) -> Workbook:
    try:
        # Formulas are not evaluated; a cell gives the value that Excel stored.
        book = load_workbook(path, data_only=True)
    except (OSError, BadZipFile, InvalidFileException, KeyError) as error:
        raise PolicyError(
            f"workbook cannot be read: {error}",
            where=str(path),
            expected="an .xlsx file",
        ) from None
    names = _table_names(book)
    expected = {"parameters", *names, *(f"{name} cases" for name in names)}
    missing = sorted(expected - set(book.sheetnames))
    if missing:
        raise PolicyError(
            f"the workbook lacks the sheets {missing}",
            where=str(path),
            expected="the sheets of `obligor policy export`",
        )
    return book


def _table_names(book: Workbook) -> tuple[str, ...]:
    if INTEREST_TABLES[0] not in book.sheetnames:
        return TABLES
    return with_interest_tables()


def _read_files(book: Workbook, version: str) -> dict[str, RulebookFile]:
    files = {"parameters": _read_parameters(book["parameters"], version)}
    for name in _table_names(book):
        files[name] = _read_table(book[name], book[f"{name} cases"], version)
    return files


def _read_head(rows: Sequence[Row], version: str) -> dict[str, object]:
    head = {}
    for row in rows[: len(_HEAD_KEYS)]:
        if row and row[0] in _HEAD_KEYS:
            head[str(row[0])] = row[1]
    try:
        effective = date.fromisoformat(version)
    except ValueError:
        raise PolicyError(
            f"{version!r} is not a date",
            where="version",
            expected="the day from which it applies, such as 2026-01-31",
        ) from None
    named = {key: head[key] for key in ("id", "hit") if head.get(key)}
    source = {key: _plain(head[key]) for key in _SOURCE_KEYS if head.get(key)}
    return {
        **named,
        "effective": effective,
        "source": source,
    }


def _read_parameters(sheet: Worksheet, version: str) -> RulebookFile:
    rows = _rows(sheet)
    start = _header(rows, "name", sheet.title)
    parameters = {}
    for row in rows[start + 1 :]:
        if row[0]:
            name, value, unit, reference = row[:4]
            entry = {
                "value": value,
                "unit": unit,
                "reference": reference,
            }
            parameters[str(name)] = entry
    file = {**_read_head(rows, version), "parameters": parameters}
    return cast(RulebookFile, file)


def _read_table(
    sheet: Worksheet,
    cases: Worksheet,
    version: str,
) -> RulebookFile:
    rows = _rows(sheet)
    first_column = _header(rows, "column", sheet.title) + 1
    rule_header = _header(rows, "rule", sheet.title)
    columns = _read_columns(rows[first_column:rule_header], sheet.title)
    names = [str(name) for name in rows[rule_header][1:] if name not in (None, "")]
    rules = [
        _read_rule(row, names, columns) for row in rows[rule_header + 1 :] if row[0]
    ]
    file = {
        **_read_head(rows, version),
        "inputs": columns.inputs,
        "outputs": columns.outputs,
        "rules": rules,
        "cases": _read_examples(cases, columns),
    }
    return cast(RulebookFile, file)


def _read_columns(rows: Sequence[Row], sheet: str) -> _Columns:
    columns = _Columns({}, {})
    sides = {"input": columns.inputs, "output": columns.outputs}
    for row in rows:
        if not row[0]:
            continue
        side = sides.get(str(row[0]))
        if side is None:
            raise PolicyError(
                f"{row[0]!r} is not a kind of column",
                where=sheet,
                expected="input or output",
            )
        entry = {}
        for key, value in zip(_COLUMN_KEYS, row[2:], strict=False):
            if value not in (None, ""):
                entry[key] = _plain(value)
        if "values" in entry:
            texts = str(entry["values"]).split(",")
            entry["values"] = [text.strip() for text in texts]
        side[str(row[1])] = entry
    return columns


def _read_rule(
    row: Row,
    names: Sequence[str],
    columns: _Columns,
) -> dict[str, object]:
    expected = {
        *columns.inputs,
        *columns.outputs,
        "because",
        "zh",
    }
    unknown = sorted(set(names) - expected)
    if unknown:
        raise PolicyError(
            f"unknown column {unknown}",
            where=f"row {row[0]}",
            expected="a column named above",
        )
    cells = dict(zip(names, row[1:], strict=False))
    when = {}
    for name in names:
        if name in columns.inputs and _cell_text(cells[name]) != "-":
            when[name] = _cell_text(cells[name])
    rule: dict[str, object] = {
        "id": str(row[0]),
        "when": when,
        "then": {
            name: _plain(cells[name]) for name in names if name in columns.outputs
        },
        "because": str(cells.get("because") or ""),
    }
    if cells.get("zh"):
        rule["zh"] = str(cells["zh"])
    return rule


def _read_examples(sheet: Worksheet, columns: _Columns) -> list[dict[str, object]]:
    header, *rows = _rows(sheet)
    examples = list[dict[str, object]]()
    for row in rows:
        cells = {}
        for name, value in zip(header, row, strict=True):
            if value is not None:
                cells[str(name)] = _plain(value)
        if not cells:
            continue
        outputs = {}
        for name, value in cells.items():
            if name.startswith("-> "):
                outputs[name.removeprefix("-> ")] = value
        if "-> fired" in header:
            outputs["fired"] = _split(outputs.get("fired"))
        inputs = {name: cells[name] for name in cells if name in columns.inputs}
        examples.append({"in": inputs, "out": outputs})
    return examples


def _split(value: object) -> list[str]:
    """The texts of a cell that are separated by commas."""
    texts = str(value or "").replace(" ", "").split(",")
    return [text for text in texts if text]


def _rows(sheet: Worksheet) -> list[tuple[object, ...]]:
    return list(sheet.iter_rows(values_only=True))


def _header(
    rows: Sequence[Row],
    first: str,
    sheet: str,
) -> int:
    for index, row in enumerate(rows):
        if row and row[0] == first:
            return index
    raise PolicyError(
        f"no row begins with {first!r}",
        where=f"sheet {sheet}",
        expected="the layout of the export",
    )


def _plain(value: object) -> object:
    """The value a file would hold for a cell: whole floats are ints, times are days.

    Excel stores every number as a float, and every day as a time.
    """
    if isinstance(value, datetime):
        return value.date()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cell_text(value: object) -> str:
    """A test as text: a person may type 5 or TRUE for "5" or "true"."""
    if value in (None, ""):
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(_plain(value))
