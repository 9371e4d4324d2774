from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from bayesaffect.report import page, tables
from bayesaffect.report.latex import escaped, latex

NASTY = r"50 % of A&B_1 {x} $5 #2 ~a^b \n < >"
PDFLATEX = shutil.which("pdflatex")
needs_latex = pytest.mark.skipif(PDFLATEX is None, reason="there is no pdflatex on this machine to set tables with")


def typeset(folder, *names):
    """Read the tables in as an article does; returns what pdflatex complained about."""
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    packages = r"\usepackage{booktabs,longtable,graphicx}"
    article = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (folder / "article.tex").write_text(article, encoding="utf-8")
    command = [PDFLATEX, "-interaction=nonstopmode", "-no-shell-escape", "article.tex"]
    for _ in range(2):  # widths of long tables, and references, settle in the second run
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    told = done.stdout.decode("utf-8", "replace")
    assert "Output written" in told, told[-2000:]
    return re.findall(r"^(?:!|Overfull|LaTeX Warning: (?!There were|Label)).*", told, flags=re.MULTILINE)


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
    assert r"\begin{longtable}{r}" in text and text.count(r"\\") == 63 and r"\begin{tabular}" not in text


def test_braces_and_environments_are_balanced():
    text = latex(pd.DataFrame({NASTY: [NASTY] * 3}), caption=NASTY, name="n")
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert len(re.findall(r"\\begin\{", text)) == len(re.findall(r"\\end\{", text))


def test_a_caption_over_several_pages_stands_once():
    text = latex(pd.DataFrame({"a": np.arange(60)}), caption="c", name="n")
    first, rest = text.split(r"\endfirsthead")
    assert r"\caption" in first and r"\label" in first and r"\caption" not in rest
    assert r"\toprule" in rest.split(r"\endhead")[0]


def test_intervals_stand_below_their_values():
    frame = pd.DataFrame({"model": ["late", "eeg"], "nll": ["0.444 [0.416, 0.474]", "0.516"]})
    strong = pd.DataFrame([[False, True], [False, False]], columns=frame.columns)
    lines = latex(frame, caption="c", name="n", strong=strong).splitlines()
    assert r"late & \textbf{0.444} \\" in lines and r" & {\scriptsize [0.416, 0.474]} \\" in lines
    assert r"eeg & 0.516 \\" in lines and len([x for x in lines if "&" in x]) == 4


def test_a_row_never_begins_with_an_option_of_the_line_break():
    text = latex(pd.DataFrame({"a": ["[x]", "*y", "z"]}), caption="c", name="n")
    assert "\n{}[x] " in text and "\n{}*y " in text and "\nz " in text


def test_long_texts_share_the_width_of_a_page():
    frame = pd.DataFrame({"a": ["x"], "told": ["word " * 30], "n": [3], "why": ["word " * 30]})
    assert r"\begin{tabular}{lp{0.38\linewidth}rp{0.38\linewidth}}" in latex(frame, caption="c", name="n")


@needs_latex
@pytest.mark.slow
@pytest.mark.parametrize("situation", ["affect", "experts"])
def test_every_table_of_a_study_can_be_set_and_fits_its_page(situation, situations, tmp_path):
    found = situations[situation]()
    written = page.sheets(found) | {"scores": tables.scores(found)}
    names = page.write_tables(written, found, tmp_path)
    assert len(names) > 8 and typeset(tmp_path, *names) == []


@needs_latex
def test_names_of_any_script_wide_rows_and_whole_pages_can_be_set(tmp_path):
    (tmp_path / "nasty.tex").write_text(
        latex(pd.DataFrame({NASTY: [NASTY, "φόβος", "怒り", "Zoë Müller, 3 µV"]}), caption=NASTY, name="a")
    )
    wide = pd.DataFrame({f"valence: score {k} (of face and eeg)": np.linspace(0, 1, 36) for k in range(14)})
    (tmp_path / "wide.tex").write_text(latex(wide, caption="c", name="b"))
    paths = ["Sessions/654/Part_6_S_Trial3_emotion.bdf and 3 more"] * 3
    (tmp_path / "paths.tex").write_text(
        latex(pd.DataFrame({"where": paths, "what": ["word " * 20] * 3}), caption="c", name="d")
    )
    texts = pd.DataFrame({"a": ["x"] * 30, "told": ["word " * 30] * 30, "why": ["word " * 30] * 30})
    (tmp_path / "tall.tex").write_text(latex(texts, caption="c", name="c"))
    assert typeset(tmp_path, "nasty", "wide", "tall", "paths") == []


@needs_latex
def test_what_pdflatex_refuses_or_cuts_would_be_seen(tmp_path):
    (tmp_path / "broken.tex").write_text(r"φ \begin{tabular}{l}" + "wide " * 60 + r"\\ \end{tabular}")
    told = typeset(tmp_path, "broken")
    assert any(line.startswith("!") for line in told) and any(line.startswith("Overfull") for line in told)
