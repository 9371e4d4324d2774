from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesaffect.report.figures import catalogue
from bayesaffect.report.page import write_report


@pytest.fixture(scope="module")
def written(affect, tmp_path_factory):
    """A page with a few of its figures: the catalogue has tests of its own."""
    few = [entry for entry in catalogue(affect) if entry[1].func.__name__ in ("scores", "confusion")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesaffect.report.page.catalogue", lambda findings: few)
        return write_report(affect, tmp_path_factory.mktemp("report"))


def test_the_first_line_says_how_to_make_it_again(written):
    assert "made by: bayesaffect" in written.read_text(encoding="utf-8").splitlines()[0]


def test_files(written):
    folder = written.parent
    figures = {p.stem for p in (folder / "figures").glob("*.png")}
    assert figures == {"scores", "confusion_emotion"}
    assert figures == {p.stem for p in (folder / "figures").glob("*.pdf")}
    assert {p.stem for p in (folder / "tables").glob("*.csv")} == {
        "data",
        "omissions",
        "weights",
        "subjects",
        "diagnostics",
        "differences",
    }
    assert not list(folder.rglob(".*"))


def test_page_is_self_contained_and_small(written):
    text = written.read_text()
    assert written.stat().st_size < 8e6
    assert not re.findall(r'<(?:img|script|link|iframe|source)\b[^>]*(?:src|href)="(?!data:)[^"]*"', text)
    assert not re.findall(r'href="https?:|url\(["\']?https?:|@import\s+url', text)


def test_scores_files(written, affect):
    table = pd.read_csv(written.parent / "scores.csv")
    assert list(table.columns[:6]) == ["model", "target", "score", "value", "low", "high"]
    pd.testing.assert_series_equal(table["value"], affect.scores["value"].reset_index(drop=True))
    assert json.loads((written.parent / "scores.json").read_text())[0]["value"] == table["value"][0]


def test_numbers_on_the_page_are_those_of_the_table(written, affect):
    text = written.read_text()
    for model in affect.models:
        row = affect.value(model, "valence", "nll")
        assert f"{row['value']:.3f}</b>" in text or f"{row['value']:.3f} <span" in text
        assert f"[{row['low']:.3f}, {row['high']:.3f}]" in text


def test_best_of_a_column_is_bold(written, affect):
    rows = affect.scores.query("target == 'valence' and score == 'nll'")
    best, worst = rows["value"].min(), rows["value"].max()
    text = written.read_text()
    assert f"<b>{best:.3f} <span" in text
    assert f"<b>{worst:.3f} <span" not in text


def test_fits_that_were_drawn_again_are_told(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    page = write_report(replace(affect, repeated=("valence: drawn 2 times; at first: <1> diverged",)), tmp_path)
    assert "drawn 2 times; at first: &lt;1&gt; diverged" in page.read_text()


def test_failures_come_before_everything_else(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    page = write_report(replace(affect, failures=("R-hat of <kappa> is 1.03",)), tmp_path).read_text()
    assert page.index("R-hat of &lt;kappa&gt; is 1.03") < page.index(affect.summary[0])
    assert "All diagnostics passed" not in page


def test_banner_passes_only_when_the_chains_agree(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    good = write_report(affect, tmp_path / "good").read_text()
    posterior = affect.posteriors["late"].copy()
    posterior.posterior["tau"] = posterior.posterior["tau"] + 5 * posterior.posterior["chain"]
    bad = write_report(replace(affect, posteriors={"late": posterior}), tmp_path / "bad").read_text()
    assert "All diagnostics passed" in good
    assert "All diagnostics passed" not in bad and "not beyond doubt" in bad


def test_the_page_tells_what_a_poor_signal_costs(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    share = np.random.default_rng(0).beta(30, 10, (4, 250, 3))
    learnt = affect.posteriors["late"].copy()
    learnt.posterior["quality_discount"] = (("chain", "draw", "modality"), share)
    text = write_report(replace(affect, posteriors={"valence": learnt}), tmp_path / "with").read_text()
    low, half, high = np.quantile(share[..., 1], (0.05, 0.5, 0.95))
    assert "What a poor signal costs" in text
    assert f'{half:.2f} <span class="interval">[{low:.2f}, {high:.2f}]' in text
    assert "What a poor signal costs" not in write_report(affect, tmp_path / "without").read_text()
