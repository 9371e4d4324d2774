from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesaffect.errors import InputError
from bayesaffect.report import compare
from bayesaffect.report.page import write_report
from bayesaffect.types import Target


def records(people: int, gap: float, seed: int = 0) -> pd.DataFrame:
    """Mean NLL per subject of the headline model; ``gap`` is added to everyone's."""
    nll = np.random.default_rng(seed).normal(1.5, 0.4, people) + gap
    rows = [("0", f"S{k + 1:02d}", "late", "valence", "nll", v, 5 + k) for k, v in enumerate(nll)]
    return pd.DataFrame(rows, columns=["fold", "subject", "model", "target", "score", "value", "trials"])


@pytest.fixture(scope="module")
def studies(affect, tmp_path_factory):
    """Two reports without figures: the second is half a nat worse on valence, person by person."""
    home = tmp_path_factory.mktemp("studies")
    worse = affect.scores.copy()
    worse.loc[(worse["model"] == "late") & (worse["score"] == "nll"), ["value", "low", "high"]] += 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
        write_report(replace(affect, sheets={"records": records(8, 0.0)}), home / "first" / "report")
        second = replace(affect, scores=worse, sheets={"records": records(8, 0.5)}, protocol={"Folds": "two <halves>."})
        write_report(replace(second, failures=("R-hat is 1.2",)), home / "second" / "report")
    return home


@pytest.fixture(scope="module")
def compared(studies):
    return compare.write_comparison([studies / "first", studies / "second"], studies / "out")


def test_the_page_sets_scores_protocols_and_failures_side_by_side(compared, affect):
    text = compared.read_text(encoding="utf-8")
    value = affect.value("late", "valence", "nll")["value"]
    assert f"<b>{value:.3f} <span" in text and f"{value + 0.5:.3f} <span" in text
    assert "two &lt;halves&gt;." in text and affect.protocol["Folds"] in text
    assert "second: failed checks." in text and "R-hat is 1.2" in text
    assert "http:" not in text and "https:" not in text and "<script" not in text


def test_figures_and_tables_are_written(compared):
    folder = compared.parent
    names = {f"compare_{t}" for t in ("valence", "arousal", "emotion")}
    names |= {f"compare_weights_{t}" for t in ("valence", "arousal", "emotion")}
    for suffix in ("png", "pdf", "svg"):
        assert {p.stem for p in (folder / "figures").glob(f"*.{suffix}")} == names
    scores = pd.read_csv(folder / "tables" / "scores.csv")
    assert set(scores["study"]) == {"first", "second"}


def test_the_same_people_are_compared_person_by_person(compared):
    row = pd.read_csv(compared.parent / "tables" / "paired.csv").iloc[0]
    assert row["value"] == pytest.approx(0.5) and row["low"] == pytest.approx(0.5) and row["subjects"] == 8
    assert "NLL of second is higher: +0.500" in compared.read_text(encoding="utf-8")


def test_paired_difference_weighs_people_by_their_trials(studies):
    first, second = (compare.read(studies / n, n) for n in ("first", "second"))
    gap = np.arange(8.0)
    second = second._replace(records=first.records.assign(value=first.records["value"] + gap))
    row = compare.paired([first, second], ["valence"]).iloc[0]
    trials = 5 + np.arange(8)
    assert row["value"] == pytest.approx((gap * trials).sum() / trials.sum())
    assert row["low"] < row["value"] < row["high"]


def test_people_with_other_trials_are_not_paired(studies):
    first, second = (compare.read(studies / n, n) for n in ("first", "second"))
    changed = second.records.assign(trials=second.records["trials"] + (np.arange(8) < 2))
    assert compare.paired([first, second._replace(records=changed)], ["valence"]).iloc[0]["subjects"] == 6
    assert compare.paired([first, second._replace(records=changed[:6])], ["valence"]).empty


def test_other_targets_are_refused_in_one_sentence(studies, affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    first, second = studies / "first", tmp_path / "other" / "report"
    write_report(replace(affect, targets=affect.targets[:1], weights={}), second)
    with pytest.raises(InputError, match="ask different things"):
        compare.write_comparison([first, tmp_path / "other"], tmp_path / "out")
    scaled = (Target("valence", bounds=(1, 5)), *affect.targets[1:])
    told = json.loads((second / compare.TOLD).read_text(encoding="utf-8"))
    told["targets"] = {t.name: list(t.bounds or t.levels) for t in scaled}
    (second / compare.TOLD).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(InputError, match="different scales"):
        compare.write_comparison([first, tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_missing_and_repeated_studies_are_refused(studies, tmp_path):
    with pytest.raises(InputError, match="nothing to compare"):
        compare.write_comparison([studies / "first"], tmp_path)
    with pytest.raises(InputError, match="no report"):
        compare.write_comparison([studies / "first", tmp_path], tmp_path)
    (tmp_path / compare.TOLD).write_text("{", encoding="utf-8")
    (tmp_path / "scores.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        compare.write_comparison([studies / "first", tmp_path], tmp_path)
    with pytest.raises(InputError, match="twice"):
        compare.write_comparison([studies / "first", studies / "first"], tmp_path)


def test_names_are_as_short_as_they_can_be(tmp_path):
    assert compare._names([tmp_path / "a" / "ws", tmp_path / "b" / "ws"]) == ["a/ws", "b/ws"]
    assert compare._names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]


def test_no_study_is_best_where_all_are_alike(studies):
    first = compare.read(studies / "first", "first").scores
    both = pd.concat([first.assign(study="a"), first.assign(study="b")])
    assert not compare.side_by_side(both, "valence", "nll")[1].any(axis=None)
    both.loc[(both["study"] == "b") & (both["model"] == "late"), "value"] += 0.1
    best = compare.side_by_side(both, "valence", "nll")[1]
    assert best.loc["late", "a"] and best.to_numpy().sum() == 1


def test_strangers_of_the_same_name_are_not_paired(studies, affect, tmp_path, monkeypatch):
    """Two data sets call their people S01, S02, ...: nothing was measured on the same people."""
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    truth = affect.truth.assign(valence=-affect.truth["valence"])
    write_report(replace(affect, truth=truth, sheets={"records": records(8, 0.5)}), tmp_path / "other" / "report")
    first, other = compare.read(studies / "first", "first"), compare.read(tmp_path / "other", "other")
    assert compare.paired([first, other], ["valence"]).empty
    page = compare.write_comparison([studies / "first", tmp_path / "other"], tmp_path / "out")
    assert "do not share enough people" in page.read_text(encoding="utf-8")


def test_many_failures_do_not_hide_the_comparison(studies):
    study = compare.read(studies / "first", "first")
    many = study._replace(about=study.about | {"failures": [f"failure {k}" for k in range(9)]})
    shown, _, rest = compare._verdicts([many]).partition("<details><summary>And 6 more</summary>")
    assert shown.count("<li>") == 3 and "failure 2" in shown and rest.count("<li>failure") == 6
