"""Figures of importance and complementarity: drawn from the sheets, absent without them, and saying what they show."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.evaluate import coalitions, complementarity
from bayesaffect.report.figures import complementarity as together
from bayesaffect.report.figures import importance as drawn
from bayesaffect.report.style import DOUBLE, SINGLE


def importance(players, targets, seed=0):
    """Sheets as `evaluate.importance.sheets` makes them, of a game where players simply add up."""
    rng = np.random.default_rng(seed)
    plan, rows, gains, removed, leaning = coalitions.plan(players), [], [], [], []
    shown = [c for c in plan.coalitions if plan.exact or len(c) in (0, 1, 2, len(players) - 1, len(players))]
    for target in targets:
        worth = dict(zip(players, rng.uniform(-0.05, 0.4, len(players)), strict=True))
        for c in shown:
            nll = 1.9 - sum(worth[m] for m in c)
            rows.append((target, coalitions.named(c), len(c), "nll", nll, nll - 0.1, nll + 0.1, 80, 8))
            rows.append((target, coalitions.named(c), len(c), "nll_refit", nll - 0.05, nll - 0.1, nll, 80, 8))
        for m, v in [*worth.items(), ("total", sum(worth.values()))]:
            gains.append((target, m, v, v - 0.07, v + 0.07, 0.0 if plan.exact else 0.01, v + 0.02))
        for m, v in worth.items():
            removed += [(target, m, "alone", v, v - 0.1, v + 0.1, v), (target, m, "last", v, v - 0.1, v + 0.1, v)]
            leaning += [(target, f"S{k}", m, v + rng.normal(0, 0.1), 10) for k in range(1, 9)]
    columns = ["target", "subset", "size", "score", "value", "low", "high", "trials", "subjects"]
    return {
        "subsets": pd.DataFrame(rows, columns=columns),
        "shapley": pd.DataFrame(gains, columns=["target", "modality", "value", "low", "high", "monte_carlo", "refit"]),
        "removed": pd.DataFrame(removed, columns=["target", "modality", "measure", "value", "low", "high", "refit"]),
        "leaning": pd.DataFrame(leaning, columns=["target", "subject", "modality", "value", "trials"]),
    }


def filled(findings):
    """The findings with every sheet that these figures read."""
    singles = {m: findings.predictives[m] for m in findings.modalities}
    given = {"truth": findings.truth, "targets": findings.targets, "seed": 0, "resamples": 50}
    trial = findings.truth["trial"]
    stimulus = xr.DataArray([f"clip {k % 10 + 1}" for k in range(trial.size)], dims="trial", coords={"trial": trial})
    sheets = importance(findings.modalities, [t.name for t in findings.targets])
    sheets["pairs"] = complementarity.pairs(singles, **given)
    sheets["helped"] = complementarity.helped(findings.predictives["late"], singles, stimulus=stimulus, **given)
    return replace(findings, sheets=sheets)


FIGURES = {
    "subsets": drawn.subsets,
    "shapley": drawn.shapley,
    "leaning": drawn.leaning,
    "pairs": together.pairs,
    "helped_subjects": lambda f: together.helped(f, "subject"),
    "helped_stimuli": lambda f: together.helped(f, "stimulus"),
}


@pytest.fixture(scope="module")
def full(affect):
    return filled(affect)


def test_each_is_drawn_at_journal_width_with_a_caption(findings):
    full = filled(findings)
    for name, draw in FIGURES.items():
        picture = draw(full)
        assert picture.name == name and picture.caption.endswith(".") and ". ." not in picture.caption
        assert picture.figure.get_figwidth() in (SINGLE, DOUBLE) and picture.figure.get_figheight() < 11
        assert "90 %" in picture.caption


def test_none_is_drawn_without_its_sheet(affect):
    empty = replace(affect, sheets={n: t.iloc[:0] for n, t in importance(("eeg",), ("valence",)).items()})
    for findings in (affect, empty):
        assert all(draw(findings) is None for draw in FIGURES.values())


def test_emotions_are_named(full):
    picture = together.helped(full, "emotion")
    labels = [t.get_text() for t in picture.figure.axes[0].get_yticklabels()]
    assert set(labels) <= set(full.categorical[0].levels) and len(labels) > 1


def test_the_bars_end_at_the_total(affect):
    sheets = importance(affect.modalities, ["valence"])
    axes = drawn.shapley(replace(affect, sheets=sheets)).figure.axes[0]
    lost = {"shapley": sheets["shapley"].assign(value=-1.0)}
    said = drawn.shapley(replace(affect, sheets=lost)).caption
    assert "least is lost by" in said and "most is gained by" not in said
    rows = sheets["shapley"].set_index("modality")["value"]
    bars = axes.patches
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    assert ends[-1] == pytest.approx(rows["total"]) and ends[-2] == pytest.approx(rows["total"])
    assert bars[1].get_x() == pytest.approx(rows[affect.modalities[0]])


def test_a_subject_hurt_is_drawn_and_counted(full):
    table = full.sheets["helped"].copy()
    first = table.index[(table["by"] == "subject") & (table["target"] == full.targets[0].name)][0]
    table.loc[table["by"] == "subject", "clear"] = ""
    table.loc[first, ["value", "low", "high", "clear"]] = [0.8, 0.4, 1.2, "hurt"]
    picture = together.helped(replace(full, sheets={"helped": table}), "subject")
    assert "is clearly worse for 1" in picture.caption
    squares = [line for line in picture.figure.axes[0].lines if line.get_marker() == "s"]
    assert [line.get_color() for line in squares] == [together.HURT]
    low, high = picture.figure.axes[0].get_xlim()
    assert low <= 0 and high > 0.8


def test_sampled_orders_are_said_with_their_error(affect):
    sheets = importance(tuple(f"m{k}" for k in range(7)), ["valence"])
    data = pd.DataFrame({f"m{k}": affect.data["trials"] for k in range(7)} | {"trials": affect.data["trials"]})
    assert "standard error of that at most 0.010" in drawn.shapley(replace(affect, sheets=sheets, data=data)).caption


def test_names_that_hold_a_plus_and_strokes_of_refits(affect):
    players = ("a", "a+x", "b")
    data = pd.DataFrame({m: affect.data["trials"] for m in (*players, "trials")})
    picture = drawn.subsets(replace(affect, sheets=importance(players, ["emotion"]), data=data))
    left, right = picture.figure.axes
    assert [t.get_text() for t in left.get_xticklabels()] == list(players)
    assert sum(line.get_marker() == "|" for line in right.lines) == 7  # not for the prior
    assert "upright stroke" in picture.caption


def test_sets_that_were_not_asked_for_are_counted(affect):
    players = tuple(f"m{k}" for k in range(7))
    data = pd.DataFrame({m: affect.data["trials"] for m in (*players, "trials")})
    sheets = importance(players, ["valence"])
    some = sheets["subsets"][sheets["subsets"]["size"].isin([0, 1, 7])]
    told = "Only 9 of the 128 sets were asked for."
    assert told in drawn.subsets(replace(affect, sheets=sheets | {"subsets": some}, data=data)).caption
    whole = drawn.subsets(
        replace(affect, sheets=importance(("a", "b"), ["valence"]), data=data.set_axis([*"abcdefg", "trials"], axis=1))
    )
    assert "were asked for" not in whole.caption
