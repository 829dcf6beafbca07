"""A picture that a notebook shows by itself."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

DOTS_PER_INCH = 110


class Picture(Figure):
    """A figure of matplotlib that Jupyter shows if it is the value of a cell.

    Jupyter shows a plain ``Figure`` only after pyplot has drawn one.
    """

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(
            content,
            format="png",
            dpi=DOTS_PER_INCH,
            bbox_inches="tight",
        )
        return content.getvalue()
