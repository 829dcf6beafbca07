"""The errors as a page, from their classes and the one place that maps them to HTTP."""

from __future__ import annotations

import inspect

from myst_text import code, escape, table

from obligor import errors
from obligor.serving.api.problems import problem_of


def page() -> str:
    """Return a table of every error class, children below their parents."""
    rows = [row(kind, depth) for kind, depth in tree(errors.ObligorError, 0)]
    return table(("error", "meaning", "HTTP status", "type of the problem"), rows)


def tree(
    kind: type[errors.ObligorError], depth: int
) -> list[tuple[type[errors.ObligorError], int]]:
    """Return a class and those below it, depth first."""
    classes = [(kind, depth)]
    for child in kind.__subclasses__():
        classes.extend(tree(child, depth + 1))
    return classes


def row(kind: type[errors.ObligorError], depth: int) -> tuple[str, ...]:
    """Return the row of one class."""
    docstring = inspect.getdoc(kind) or ""
    meaning = docstring.split("\n\n")[0]
    indent = "&nbsp;&nbsp;" * depth
    if kind is errors.ObligorError:
        return code(kind.__name__), escape(meaning), "", ""
    problem = problem_of(instance(kind))
    status = str(problem["status"])
    return indent + code(kind.__name__), escape(meaning), status, code(problem["type"])


def instance(kind: type[errors.ObligorError]) -> errors.ObligorError:
    """Return an error of a class, to ask for its problem."""
    if issubclass(kind, errors.RateError):
        return kind("", retry_after_s=1.0)
    return kind("")
