"""HTML pages that need no network: templates, tables, embedded pictures."""

from __future__ import annotations

import base64
import warnings
from io import BytesIO

import jinja2
import pandas as pd
from matplotlib.figure import Figure


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
    """Return a table as HTML, with four significant digits to a number."""
    return str(table.to_html(border=0, float_format=lambda value: f"{value:.4g}"))
