"""The figure of conformal beside Bayesian sets."""

from dataclasses import replace

import pandas as pd
import pytest

from bayesaffect.evaluate.conformal import conformal_table
from bayesaffect.report.figures.conformal import conformal
from bayesaffect.report.findings import Findings


@pytest.fixture(scope="module")
def findings(study_of):
    predictive, truth = study_of(subjects=20, trials=10)
    people = sorted(set(truth["subject"].values))
    return Findings(
        title="",
        command="",
        protocol={},
        summary=(),
        failures=(),
        targets=predictive.targets,
        data=pd.DataFrame({"eeg": 10, "trials": 10}, index=pd.Index(people, name="subject")),
        omissions=(),
        quality=None,
        scores=pd.DataFrame({c: [] for c in ("model", "target", "score", "value", "low", "high")}),
        differences=None,
        predictives={"late": predictive},
        headline="late",
        truth=truth,
        sheets={"conformal": conformal_table(predictive, truth, predictive.targets, seed=0)},
    )


def test_every_person_is_drawn_at_the_level_that_they_can_carry(findings):
    picture = conformal(findings)
    assert picture.name == "conformal" and "promise 90 %" in picture.caption
    assert len(picture.figure.axes) == 4
    sheet = findings.sheets["conformal"].query("target == 'mood' and method == 'conformal' and level == 0.9")
    coverage, size = picture.figure.axes[2:]
    drawn = {line.get_label(): line.get_ydata() for axes in (coverage,) for line in axes.lines}
    assert drawn["conformal"] == pytest.approx(sheet["coverage"].to_numpy()[:-1])
    whole = sheet.iloc[-1]
    assert (
        f"and {100 * whole.coverage:.1f} % of truths" in picture.caption
        and f"and {whole['size']:.2f}" in picture.caption
    )
    assert size.get_ylim()[1] > sheet["size"].max()


def test_few_people_have_names(findings):
    assert [t.get_text() for t in conformal(findings).figure.axes[0].get_xticklabels()][:2] == ["S01", "S02"]


def test_nothing_to_show_is_none(findings):
    assert conformal(replace(findings, sheets={})) is None
    empty = findings.sheets["conformal"].iloc[:0]
    assert conformal(replace(findings, sheets={"conformal": empty})) is None
