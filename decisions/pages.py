"""The templates of pages and letters."""

from __future__ import annotations

from functools import cache

import jinja2


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("obligor.decisions"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: object) -> str:
    """Return a page: a template of ``decisions/templates`` with its values, escaped."""
    return _environment().get_template(template).render(**values) + "\n"
