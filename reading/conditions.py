"""The language of `where`: comparisons of a source's columns, joined by and and or.

A condition is text of this form, never code::

    state = 'posted' and type in ('invoice', 'debit note')
    amount > 0 and (company = '1000' or company = '2000')

A column is a word, or any name in double quotes. A text is in single quotes; a number
stands as it is. ``and`` binds before ``or``. The comparisons are ``=``, ``!=``, ``<``,
``<=``, ``>``, ``>=``, ``in`` and ``not in``. An empty cell equals ``''``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from obligor.errors import SchemaError

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in"]
MOST_TOKENS = 500
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
      | (?P<word>[^\W\d][\w.]*)
      | (?P<operator><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_OPERATORS: dict[str, Operator] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_KEYWORDS = ("and", "or", "in", "not")


@dataclass(frozen=True)
class Comparison:
    """One column compared with one value, or with several.

    Attributes
    ----------
    column : str
        The source column.
    operator : str
        The comparison.
    values : tuple of str or float
        What the column is compared with; one value, except for ``in``.
    """

    column: str
    operator: Operator
    values: tuple[str | float, ...]


@dataclass(frozen=True)
class Combination:
    """Conditions that must all hold (``and``), or of which one must (``or``)."""

    word: Literal["and", "or"]
    parts: tuple[Condition, ...]


Condition = Comparison | Combination


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def parse_condition(text: str, where: str) -> Condition:
    """Return the condition that a text states.

    Raises
    ------
    SchemaError
        If the text is not a condition.

    Examples
    --------
    >>> parse_condition("state = 'posted'", "[invoices]")
    Comparison(column='state', operator='=', values=('posted',))
    """
    tokens = list(_tokens(text, where))
    return _Parser(tokens, where).parsed()


def _tokens(text: str, where: str) -> Iterator[_Token]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _wrong(f"cannot read {text[position:].strip()[:20]!r}", where)
        kind = match.lastgroup
        word = match.group(kind)
        position = match.end()
        if kind == "word" and word.lower() in _KEYWORDS:
            yield _Token(word.lower(), word)
        elif kind == "quoted":
            yield _Token("word", word[1:-1].replace('""', '"'))
        else:
            yield _Token(kind, word)


def _wrong(what: str, where: str) -> SchemaError:
    return SchemaError(
        f"where: {what}",
        where=where,
        expected="comparisons such as state = 'posted' and amount > 0",
    )


class _Parser:
    """Reads tokens from left to right; each method reads one rule of the grammar."""

    def __init__(self, tokens: list[_Token], where: str) -> None:
        self.tokens = tokens
        self.where = where
        self.position = 0

    def parsed(self) -> Condition:
        if len(self.tokens) > MOST_TOKENS:
            raise _wrong(f"more than {MOST_TOKENS} words and signs", self.where)
        condition = self._alternatives()
        if self._kind():
            token = self.tokens[self.position]
            raise _wrong(f"{token.text!r} is not expected", self.where)
        return condition

    def _kind(self) -> str:
        if self.position < len(self.tokens):
            return self.tokens[self.position].kind
        return ""

    def _accept(self, kind: str, text: str = "") -> bool:
        """Step over the next token if it is of a kind."""
        is_kind = self._kind() == kind
        if not is_kind or (text and self.tokens[self.position].text != text):
            return False
        self.position += 1
        return True

    def _require(self, kind: str, text: str = "") -> str:
        """Step over the next token, which must be of a kind; return its text."""
        if not self._accept(kind, text):
            at_end = self.position >= len(self.tokens)
            actual = "the end" if at_end else repr(self.tokens[self.position].text)
            raise _wrong(f"{actual} where {text or kind} is expected", self.where)
        return self.tokens[self.position - 1].text

    def _alternatives(self) -> Condition:
        parts = [self._all_of()]
        while self._accept("or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else Combination("or", tuple(parts))

    def _all_of(self) -> Condition:
        parts = [self._single()]
        while self._accept("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else Combination("and", tuple(parts))

    def _single(self) -> Condition:
        if self._accept("mark", "("):
            condition = self._alternatives()
            self._require("mark", ")")
            return condition
        column = self._require("word")
        if self._accept("not"):
            self._require("in")
            return Comparison(column, "not in", self._list())
        if self._accept("in"):
            return Comparison(column, "in", self._list())
        operator = self._operator()
        return Comparison(column, operator, (self._value(),))

    def _operator(self) -> Operator:
        text = self._require("operator")
        return _OPERATORS[text]

    def _list(self) -> tuple[str | float, ...]:
        self._require("mark", "(")
        values = [self._value()]
        while self._accept("mark", ","):
            values.append(self._value())
        self._require("mark", ")")
        return tuple(values)

    def _value(self) -> str | float:
        if self._accept("number"):
            return float(self.tokens[self.position - 1].text)
        text = self._require("text")
        return text[1:-1].replace("''", "'")
