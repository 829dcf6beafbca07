"""Writing a draft as a mapping file, and as a report for a person."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from obligor.connectors.drafting import Draft, DraftSource, Value
from obligor.connectors.guessing import ListGuess

_HEAD = """\
# Guessed by `obligor map` from the headings of the files; read it before you use it.
# What a person must check stands beside the lines, and was printed.
"""


def mapping_text(draft: Draft, folder: Path) -> str:
    """Return a draft as TOML.

    Parameters
    ----------
    draft : Draft
        The mapping.
    folder : Path
        Where the file will be: paths are relative to it.
    """
    lines = [_HEAD, f"currency = {_toml(draft.currency)}"]
    lines.append(
        "# exported_on = 2026-01-31   # the day on which the files were written"
    )
    tables = [source.table for source in draft.sources]
    for source in draft.sources:
        is_repeated = tables.count(source.table) > 1
        lines += ["", *_source_lines(source, folder, is_repeated=is_repeated)]
    return "\n".join(lines) + "\n"


def _source_lines(
    source: DraftSource,
    folder: Path,
    *,
    is_repeated: bool,
) -> Iterator[str]:
    for check in source.checks:
        yield f"# check: {_one_line(check)}"
    table = source.table
    yield f"[[{table}]]" if is_repeated else f"[{table}]"
    spec = source.layout.spec
    names = [_relative(Path(name), folder) for name in spec.files]
    yield f"files = {_toml(names)}" if len(names) > 1 else f"file = {_toml(names[0])}"
    layout: dict[str, Value] = {
        "format": spec.format,
        "sheet": spec.sheet,
        "encoding": spec.encoding,
        "separator": spec.separator,
        "header_row": spec.header_row,
    }
    options = {key: value for key, value in layout.items() if value}
    for key, value in {**options, **source.options}.items():
        yield f"{key} = {_toml(value)}"
    if source.rules:
        yield f"[{table}.columns]"
    for column, rule in source.rules.items():
        yield f"{column} = {_toml(rule.value)}  # {_one_line(rule.reason)}"


def _relative(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path.resolve(), folder.resolve())
    except ValueError:
        # On Windows, a file of another drive.
        return str(path.resolve())
    return Path(relative).as_posix()


def _toml(value: Value) -> str:
    """Return a value as TOML has it.

    Examples
    --------
    >>> _toml({"column": "Zahlungsart", "values": {"ZE": "payment"}})
    '{ column = "Zahlungsart", values = { "ZE" = "payment" } }'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = [f"{_key(key)} = {_toml(item)}" for key, item in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # A basic string of TOML has the escapes of one of JSON.
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    is_bare = key.isascii() and key.replace("_", "").isalpha() and key.islower()
    return key if is_bare else json.dumps(key, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def report_lines(draft: Draft) -> Iterator[str]:
    """Yield what was guessed for each list, and why, for a person."""
    for guess in draft.guesses:
        yield from _list_lines(guess, draft.sources)
    for source in draft.sources:
        spec = source.layout.spec
        if spec.format:
            names = ", ".join(Path(name).name for name in spec.files)
            yield f"{names}: {source.table}, read as {spec.format}"
    checks = [*draft.checks]
    for source in draft.sources:
        checks += [f"[{source.table}] {check}" for check in source.checks]
    for guess in draft.guesses:
        checks += [f"{guess.layout.title}: {check}" for check in guess.checks]
    yield "to check:"
    for check in dict.fromkeys(checks):
        yield f"  - {_one_line(check)}"


def _list_lines(guess: ListGuess, sources: Sequence[DraftSource]) -> Iterator[str]:
    own = [source for source in sources if source.layout is guess.layout]
    tables = " and ".join(source.table for source in own) or "not used"
    yield f"{guess.layout.title}: {tables}"
    for remark in guess.layout.remarks:
        yield f"  {remark}"
    for source in own:
        for column, rule in source.rules.items():
            value = _toml(rule.value)
            yield f"  {source.table}.{column} = {value}: {_one_line(rule.reason)}"
        for key, option in source.options.items():
            yield f"  {source.table}: {key} = {_toml(option)}"
    texts = " ".join(
        _toml({**source.options, **{name: rule.value for name, rule in rules}})
        for source in own
        for rules in [source.rules.items()]
    )
    headings = map(str, guess.layout.frame.columns)
    unused = [heading for heading in headings if _inside(heading) not in texts]
    if unused and any(source.rules for source in own):
        yield f"  not used: {', '.join(unused)}"


def _inside(heading: str) -> str:
    """Return a heading as it stands inside a text of TOML."""
    return json.dumps(heading, ensure_ascii=False)[1:-1]
