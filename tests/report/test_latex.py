from __future__ import annotations

import re

import numpy as np
import pandas as pd

from bayesaffect.report.latex import escaped, latex

NASTY = r"50 % of A&B_1 {x} $5 #2 ~a^b \n < >"


def test_every_special_character_is_spelt_out():
    text = escaped(NASTY)
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}|\\[%&_{}$#]", "", text)
    assert not set(bare) & set("%&_{}$#~^\\<>")
    assert escaped("−1 ≤ x – y") == r"$-$1 $\leq$ x -- y"


def test_a_table_has_rules_numbers_and_bold_cells():
    frame = pd.DataFrame({"model": ["late_1", "eeg"], "nll": [0.12345, np.nan], "trials": [4, 5]})
    strong = pd.DataFrame(False, index=frame.index, columns=frame.columns)
    strong.iloc[0, 1] = True
    text = latex(frame, caption="Scores, 50 %", name="scores", strong=strong)
    lines = text.splitlines()
    assert r"\begin{tabular}{lrr}" in lines and lines.count(r"\midrule") == 1
    assert r"late\_1 & \textbf{0.123} & 4 \\" in lines and r"eeg & -- & 5 \\" in lines
    assert r"\caption{Scores, 50 \%}" in lines
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")


def test_long_tables_may_break_over_pages():
    frame = pd.DataFrame({"a": np.arange(60)})
    text = latex(frame, caption="c", name="n")
    assert r"\begin{longtable}{r}" in text and text.count(r"\\") == 62 and r"\begin{tabular}" not in text


def test_braces_and_environments_are_balanced():
    text = latex(pd.DataFrame({NASTY: [NASTY] * 3}), caption=NASTY, name="n")
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert len(re.findall(r"\\begin\{", text)) == len(re.findall(r"\\end\{", text))
