"""Tables for a paper: LaTeX with booktabs rules and nothing that LaTeX would stumble over."""

from __future__ import annotations

import numpy as np
import pandas as pd

_LONG = 45
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": r"$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "…": r"\dots{}",
    "’": "'",
    "“": "``",
    "”": "''",
    "\n": " ",
}


def escaped(text: object) -> str:
    """``text`` with every character that means something to LaTeX, or that pdfLaTeX lacks, spelt out."""
    return "".join(_SPECIAL.get(c, c) for c in str(text))


def cell(value: object) -> str:
    """A number with three decimals (whole ones with none), text escaped, what is not known as a dash."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return "--"
        return f"{value:.0f}" if value == round(value) else f"{value:.3f}"
    return "--" if value is None or value is pd.NA or value == "" else escaped(value)


def latex(frame: pd.DataFrame, *, caption: str, name: str, strong: pd.DataFrame | None = None) -> str:
    r"""A table to be read in with ``\input``; needs ``\usepackage{booktabs}``, and ``longtable`` beyond 45 rows.

    Numbers stand right, text stands left; ``strong`` (bool, the frame's shape) sets cells in bold face.
    """
    sides = "".join("r" if pd.api.types.is_numeric_dtype(frame[c]) else "l" for c in frame.columns)
    head = " & ".join(escaped(c) for c in frame.columns) + r" \\"
    lines = []
    for k, row in enumerate(frame.itertuples(index=False)):
        cells = [cell(v) for v in row]
        if strong is not None:
            cells = [rf"\textbf{{{c}}}" if strong.iat[k, j] else c for j, c in enumerate(cells)]
        lines.append(" & ".join(cells) + r" \\")
    title = [rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{name}}}"]
    top, middle, bottom = r"\toprule", r"\midrule", r"\bottomrule"
    if len(frame) > _LONG:
        begin = rf"\begin{{longtable}}{{{sides}}}"
        page = [begin, *title, r"\\", top, head, middle, r"\endhead", bottom, r"\endfoot", *lines, r"\end{longtable}"]
    else:
        inner = [rf"\begin{{tabular}}{{{sides}}}", top, head, middle, *lines, bottom, r"\end{tabular}"]
        page = [r"\begin{table}", r"\centering", *title, *inner, r"\end{table}"]
    return "% needs \\usepackage{booktabs,longtable}\n" + "\n".join(page) + "\n"
