"""The card of a release: what it has to say, and when it has to warn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesaffect.report import card
from bayesaffect.report.figures.weights import NEGATIVE
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1.0, 9.0)), Target("emotion", levels=("joy", "fear")))


def row(model, target, score, value, low, high):
    return {"model": model, "target": target, "score": score, "value": value, "low": low, "high": high}


def facts(*, difference=(-1.0, -1.1, -0.9), coverage=(0.89, 0.84, 0.93)):
    scores = [
        row("late", "valence", "rmse", 1.512, 1.401, 1.634),
        row("late", "valence", "nll", 1.0, 0.9, 1.1),
        row("prior", "valence", "nll", 2.0, 1.8, 2.2),
        row("late", "valence", "coverage90", *coverage),
        row("late", "emotion", "accuracy", 0.7, 0.6, 0.8),
        row("late", "emotion", "ece", 0.05, 0.02, 0.09),
        row("late", "emotion", "nll", 0.5, 0.4, 0.6),
        row("prior", "emotion", "nll", 0.69, 0.65, 0.73),
        row("eeg", "emotion", "accuracy", 0.55, 0.45, 0.65),
        row("prior", "emotion", "accuracy", 0.5, float("nan"), float("nan")),
    ]
    differences = [
        {"a": "late", "b": other, **row(None, "valence", score, *values)}
        for other, score, values in (
            ("eeg", "nll", (-0.1, -0.2, 0.1)), ("prior", "rmse", (-0.1, -0.2, 0.1)), ("prior", "nll", difference)
        )
    ]  # fmt: skip
    weights = [("valence", "(mean)", "eeg", 0.3, 0.4, 0.5), ("valence", "(mean)", "face", 0.45, 0.55, 0.65),
               ("valence", "Sub-77", "eeg", 0.1, 0.2, 0.3)]  # fmt: skip
    return card.Facts(
        name="mine",
        version="1.2.3",
        targets=TARGETS,
        modalities=("eeg", "face"),
        counts={"subjects": 24, "trials": 480, "eeg": 470, "face": 450},
        protocol={"Scored people": "cross-validation over 5 groups"},
        scores=pd.DataFrame(scores),
        differences=pd.DataFrame(differences),
        weights=pd.DataFrame(weights, columns=["target", "subject", "modality", "q05", "median", "q95"]),
        removed=("signals", "names"),
    )


def test_the_card_says_what_a_card_has_to():
    text = card.text(facts())
    for heading in ("Intended use", "Data", "Protocol", "Scores", "Calibration", "Which sensor", "Limits", "The law"):
        assert f"## {heading}" in text, heading
    assert "24 people and 480 trials" in text and "a rating from 1 to 9" in text and "one of joy, fear" in text
    assert "bayesaffect predict --model mine" in text and "- signals." in text


def test_numbers_come_with_their_intervals():
    text = card.text(facts())
    table = next(part for part in text.split("\n\n") if part.startswith("| emotion "))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0] == ["emotion", "accuracy", "NLL (nats)", "ECE"]
    assert lines[2] == ["**late**", "0.70 [0.60, 0.80]", "0.50 [0.40, 0.60]", "0.05 [0.02, 0.09]"]
    assert lines[3] == ["eeg", "0.55 [0.45, 0.65]", "", ""]
    assert lines[4] == ["(knowing no sensor)", "0.50", "0.69 [0.65, 0.73]", ""]
    assert "face 0.55 [0.45, 0.65], eeg 0.40 [0.30, 0.50]" in text  # the strongest first


def test_nobody_of_the_study_is_named():
    assert "Sub-77" not in card.text(facts())


def test_the_law_is_told_for_what_it_forbids():
    text = " ".join(card.text(facts()).split())
    assert "2024/1689" in text and "Article 5(1)(f)" in text and "workplace and education institutions" in text
    assert "medical or safety reasons" in text and "Annex III, point 1(c)" in text and "no legal advice" in text


@pytest.mark.parametrize(
    ("difference", "warned"),
    [((-0.3, -0.5, -0.1), False), ((-0.3, -0.5, 0.1), True), ((0.5, 0.3, 0.7), True), ((-0.3, np.nan, np.nan), True)],
)
def test_what_does_not_beat_the_prior_is_said(difference, warned):
    """By the paired difference, as the page does it: intervals of two scores overlap where every person gains."""
    text = card.text(facts(difference=difference))
    assert ("valence: not clearly better than knowing no sensor" in text) == warned
    assert "emotion: not compared with knowing no sensor" in text


@pytest.mark.parametrize(
    ("coverage", "verdict"),
    [((0.7, 0.6, 0.8), "too narrow"), ((0.97, 0.95, 0.99), "too wide"), ((0.89, 0.84, 0.93), None)],
)
def test_intervals_that_are_not_90_percent_are_said(coverage, verdict):
    text = card.text(facts(coverage=coverage))
    for words in ("too narrow", "too wide"):
        assert (words in text) == (words == verdict)


def test_failed_diagnostics_and_few_people_are_said():
    good = card.text(facts())
    assert "All fits passed" in good and "so few subjects" not in good
    some = replace(
        facts(),
        failures=("valence: the chains disagree.", "valence, fold 2 of 5: 3 draws diverged."),
        counts=facts().counts | {"subjects": 6},
    )
    bad = card.text(some)
    assert "failed their diagnostics" in bad and bad.count("the chains disagree") == 1 and "so few subjects" in bad
    assert "All fits passed" not in bad and "- 1 findings on the fits behind" in bad


def test_without_weights_or_scores_of_a_target_the_card_is_still_whole():
    bare = replace(facts(), weights=None, scores=facts().scores.query("target == 'emotion'"))
    assert "valence: not measured" in card.text(bare) and "Not told." in card.text(bare)


def test_a_share_below_zero_is_explained():
    usual = facts()
    assert NEGATIVE not in card.text(usual)
    below = usual.weights.assign(q05=usual.weights["q05"] - 0.5)
    assert NEGATIVE in card.text(replace(usual, weights=below))
