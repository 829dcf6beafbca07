"""HTML pages that need no network: templates, tables, embedded pictures."""

from __future__ import annotations

import base64
import warnings
from io import BytesIO
from math import isfinite

import jinja2
import pandas as pd
from matplotlib.figure import Figure

UNKNOWN = "not known"


def render(template: str, **values: object) -> str:
    """Return a template of training/templates as HTML; texts are escaped."""
    loader = jinja2.PackageLoader("obligor.training")
    environment = jinja2.Environment(loader=loader, autoescape=True)
    return environment.get_template(template).render(**values)


def embedded(figure: Figure) -> str:
    """Return a picture as a page holds it: PNG in base64."""
    content = BytesIO()
    with warnings.catch_warnings():
        # A name may have signs that the font lacks: they are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(
            content,
            format="png",
            dpi=110,
            bbox_inches="tight",
        )
    return base64.b64encode(content.getvalue()).decode()


def as_html(table: pd.DataFrame) -> str:
    """Return a table as HTML, with four significant digits to a number.

    A figure that could not be worked out is said to be unknown, never "nan" or "inf".
    """
    html = table.to_html(
        border=0,
        float_format=_four_digits,
        na_rep=UNKNOWN,
    )
    return str(html)


def _four_digits(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else UNKNOWN
