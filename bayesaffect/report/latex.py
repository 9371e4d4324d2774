"""Tables for a paper: LaTeX with booktabs rules and nothing that LaTeX would stumble over."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_LONG, _WIDE = 45, 40
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
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
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

    Numbers stand right, text stands left, in columns of a fixed width where it is longer than 40 characters. With
    ``strong`` (bool, the frame's shape; its cells are in bold face) intervals stand below their values, as in
    ``0.444 [0.416, 0.474]``: side by side, a few scores would be wider than a page.
    """
    sides = _sides(frame)
    head = " & ".join(escaped(c) for c in frame.columns) + r" \\"
    lines = []
    for k, row in enumerate(frame.itertuples(index=False)):
        cells, below = [cell(v) for v in row], []
        if strong is not None:
            cells, below = zip(*(_apart(c) for c in cells), strict=True)
            cells = [rf"\textbf{{{c}}}" if strong.iat[k, j] else c for j, c in enumerate(cells)]
        lines += [_line(cells), *([_line(below)] if any(below) else [])]
    title = [rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{name}}}"]
    top, middle, bottom = r"\toprule", r"\midrule", r"\bottomrule"
    if len(frame) > _LONG:
        begin = rf"\begin{{longtable}}{{{sides}}}"
        # the caption stands once: repeated on every page, it would be listed and labelled as often
        heads = [*title, r"\\", top, head, middle, r"\endfirsthead", top, head, middle, r"\endhead"]
        page = [begin, *heads, bottom, r"\endfoot", *lines, r"\end{longtable}"]
    else:
        inner = [rf"\begin{{tabular}}{{{sides}}}", top, head, middle, *lines, bottom, r"\end{tabular}"]
        page = [r"\begin{table}", r"\centering", *title, *inner, r"\end{table}"]
    return "% needs \\usepackage{booktabs,longtable}\n" + "\n".join(page) + "\n"


def _sides(frame: pd.DataFrame) -> str:
    """Column letters; long texts share what a page has."""
    long = [
        c
        for c in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[c]) and frame[c].map(lambda v: len(str(v))).max() > _WIDE
    ]
    share = rf"p{{{0.75 / max(len(long), 1):.2f}\linewidth}}"
    return "".join(
        share if c in long else "r" if pd.api.types.is_numeric_dtype(frame[c]) else "l" for c in frame.columns
    )


def _apart(text: str) -> tuple[str, str]:
    """``value [low, high]`` as value and small interval; other texts whole, and nothing."""
    found = re.fullmatch(r"(\S+) (\[.*\])", text)
    return (found[1], rf"{{\scriptsize {found[2]}}}") if found else (text, "")


def _line(cells) -> str:
    """A row; one that begins with a bracket or a star would be taken for an option of the line break before it."""
    line = " & ".join(cells) + r" \\"
    return "{}" + line if line.startswith(("[", "*")) else line
