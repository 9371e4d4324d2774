"""Tables for a paper: LaTeX with booktabs rules and nothing that LaTeX would stumble over."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_LONG, _WIDE = 36, 40  # rows that a page has room for, and letters after which a text is broken into lines
_HEAD = 12  # letters of a head before it goes on below
# of a column of an article (345 pt): room in letters of full size, what a column costs beside its text, smaller sizes
_ROOM, _GAP = 72, 2.5
_SIZES = ((1.0, ""), (1.25, r"\footnotesize"), (np.inf, r"\scriptsize"))
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
    """``text`` with every character that means something to LaTeX, or that pdfLaTeX lacks, spelt out.

    Letters of other scripts than the Latin one become their code points, such as U+03C6: the CSV beside keeps them.
    """
    return "".join(_SPECIAL.get(c, c if c < "\u0180" else f"U+{ord(c):04X}") for c in str(text))


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
    r"""A table to be read in with ``\input``; needs ``\usepackage{booktabs,longtable,graphicx}``.

    Numbers stand right, text stands left, in columns of a fixed width where it is longer than 40 characters. Tables of
    more rows than a page has room for may break over pages. Wide tables are set in smaller type; one that would be
    wider than the text even so is shrunk to its width, unless it breaks over pages. With ``strong`` (bool, the frame's
    shape; its cells are in bold face) intervals stand below their values, as in ``0.444 [0.416, 0.474]``: side by
    side, a few scores would be wider than a page.
    """
    long = _long_texts(frame)
    letters = _letters(frame, long)
    share = rf"p{{{0.75 / max(len(long), 1):.2f}\linewidth}}"  # long texts share what a page has
    sides = "".join(share if letter == "p" else letter for letter in letters)
    head = " & ".join(map(_head, frame.columns, letters)) + r" \\"
    lines = []
    for k, row in enumerate(frame.itertuples(index=False)):
        cells, below = [_broken(cell(v)) if c == "p" else cell(v) for v, c in zip(row, letters, strict=True)], []
        if strong is not None:
            cells, below = zip(*(_apart(c) for c in cells), strict=True)
            cells = [rf"\textbf{{{c}}}" if strong.iat[k, j] else c for j, c in enumerate(cells)]
        lines += [_line(cells), *([_line(below)] if any(below) else [])]
    title = [rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{name}}}"]
    top, middle, bottom = r"\toprule", r"\midrule", r"\bottomrule"
    size = _size(frame, long)
    small = [rf"{size}\setlength{{\tabcolsep}}{{3pt}}"] if size else []
    if _height(frame, long, len(lines)) > _LONG:
        begin = rf"\begin{{longtable}}{{{sides}}}"
        # the caption stands once: repeated on every page, it would be listed and labelled as often
        heads = [*title, r"\\", top, head, middle, r"\endfirsthead", top, head, middle, r"\endhead"]
        page = [begin, *heads, bottom, r"\endfoot", *lines, r"\end{longtable}"]
        page = [r"\begingroup", *small, *page, r"\endgroup"] if small else page
    else:
        inner = [rf"\begin{{tabular}}{{{sides}}}", top, head, middle, *lines, bottom, r"\end{tabular}"]
        if small:
            box = r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
            inner = [*small, r"\sbox0{%", *inner[:-1], inner[-1] + "}%", box]
        page = [r"\begin{table}", r"\centering", *title, *inner, r"\end{table}"]
    return "% needs \\usepackage{booktabs,longtable,graphicx}\n" + "\n".join(page) + "\n"


def _long_texts(frame: pd.DataFrame) -> list:
    """The columns whose texts are broken into lines."""
    texts = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    return [c for c in texts if frame[c].map(lambda v: len(str(v))).max() > _WIDE]


def _letters(frame: pd.DataFrame, long: list) -> list[str]:
    """How each column is set: p (broken into lines), r(ight) or l(eft)."""
    return ["p" if c in long else "r" if pd.api.types.is_numeric_dtype(frame[c]) else "l" for c in frame.columns]


def _broken(text: str) -> str:
    """Paths and long names may go on in the next line of their column."""
    return re.sub(r"(/|\\_)(?=\S)", r"\1\\allowbreak{}", text)


def _head(name: object, letter: str) -> str:
    """A column's head, over several lines where it is long."""
    lines: list[str] = []
    for word in str(name).split():
        if lines and len(lines[-1]) + len(word) < _HEAD:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) < 2:
        return escaped(name)
    broken = r"\\".join(map(escaped, lines))
    return rf"\shortstack[{'r' if letter == 'r' else 'l'}]{{{broken}}}"


def _size(frame: pd.DataFrame, long: list) -> str:
    """The largest type in which the table is no wider than its page, as far as that can be told from its letters."""
    width = 0.75 * _ROOM if long else 0.0
    for c in frame.columns:
        texts = str(c).split()  # heads go on below, and so do intervals
        if c not in long:
            texts += [part for v in frame[c] for part in cell(v).split(" [")]
        width += max(map(len, texts), default=0) + _GAP
    return next(size for most, size in _SIZES if width <= most * _ROOM)


def _height(frame: pd.DataFrame, long: list, rows: int) -> int:
    """Lines that the table has, with those into which its texts are broken."""
    if not long or frame.empty:
        return rows
    share = 0.75 * _ROOM / len(long)
    return int(sum(np.ceil(frame[long].map(lambda v: len(str(v)) / share)).clip(lower=1).max(axis=1)))


def _apart(text: str) -> tuple[str, str]:
    """``value [low, high]`` as value and small interval; other texts whole, and nothing."""
    found = re.fullmatch(r"(\S+) (\[.*\])", text)
    return (found[1], rf"{{\scriptsize {found[2]}}}") if found else (text, "")


def _line(cells) -> str:
    """A row; one that begins with a bracket or a star would be taken for an option of the line break before it."""
    line = " & ".join(cells) + r" \\"
    return "{}" + line if line.startswith(("[", "*")) else line
