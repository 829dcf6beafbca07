"""The configuration of the documentation; `make docs` builds it."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import numpydoc.docscrape_sphinx
from jinja2 import FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))

import generate  # noqa: E402

generate.write_all()

# numpydoc compiles its template again for each docstring, a quarter of the build.
numpydoc_templates = Path(numpydoc.docscrape_sphinx.__file__).parent / "templates"
one_environment = SandboxedEnvironment(loader=FileSystemLoader(numpydoc_templates))
numpydoc.docscrape_sphinx.SandboxedEnvironment = lambda loader: one_environment

project = "Obligor"
author = "The Obligor authors"
copyright = "The Obligor authors, Apache License 2.0"
release = installed_version("obligor")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = [
    "_build",
    "_ext",
    "reference/generated/*.md",  # included by the pages around them
]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the gate runs the notebooks; their outputs are stored

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_use_type_comments = False
numpydoc_show_class_members = False
default_role = "code"

nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # no index of other projects is fetched
suppress_warnings = ["ref.python"]  # two rooms may each have a class Terms

html_theme = "pydata_sphinx_theme"
html_title = "Obligor"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def lead_to_copied_notebooks(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to notebooks, which are right on GitHub, to the copies."""
    source[0] = source[0].replace("](../../notebooks/", "](/tutorials/notebooks/")


def skip_request_setters(
    app: Sphinx, kind: str, name: str, *details: object
) -> bool | None:
    """Leave out what scikit-learn writes itself: its texts link to its own pages."""
    is_setter = name.startswith("set_") and name.endswith("_request")
    return True if is_setter else None


def setup(app: Sphinx) -> None:
    """Connect the hooks of this site."""
    app.connect("autodoc-skip-member", skip_request_setters)
    app.connect("source-read", lead_to_copied_notebooks)
