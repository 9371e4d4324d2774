import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.pipeline.summary import sentences
from bayesaffect.report.findings import HEADS
from bayesaffect.types import Target

STRESS = Target("stress", levels=("rest", "stress"))
SCORES = pd.DataFrame(
    [
        ("late", "stress", "accuracy", 0.8, 0.7, 0.9),
        ("late", "stress", "nll", 0.45, 0.4, 0.5),
        ("eda", "stress", "nll", 0.52, 0.5, 0.6),
        ("motion", "stress", "nll", 0.6, 0.5, 0.7),
    ],
    columns=["model", "target", "score", "value", "low", "high"],
)
WEIGHTS = xr.DataArray(
    np.array([[[0.6, 0.1, 0.3]], [[0.7, 0.1, 0.2]]]),
    dims=("sample", "subject", "modality"),
    coords={"modality": ["eda", "motion", "prior"], "subject": ["S1"]},
)


def told(low, high, rival="eda"):
    row = ("late", rival, "stress", "nll", (low + high) / 2, low, high)
    differences = pd.DataFrame([row], columns=["a", "b", "target", "score", "value", "low", "high"])
    return " ".join(
        sentences(SCORES, differences, {"stress": WEIGHTS}, targets=(STRESS,), modalities=("eda", "motion"))
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.1, -0.02, "better than"), (0.01, 0.1, "worse than"), (-0.1, 0.1, "not clearly different from")],
)
def test_the_verdict_follows_the_interval(low, high, verdict):
    assert f"Fusion is {verdict} the best single modality (eda)" in told(low, high)


def test_a_modality_of_one_person_is_not_the_best_one():
    """Its difference has no interval; its NLL is that of that person's trials."""
    rows = [
        ("late", "eda", "stress", "nll", -0.07, np.nan, np.nan),
        ("late", "motion", "stress", "nll", -0.15, -0.2, -0.1),
    ]
    differences = pd.DataFrame(rows, columns=["a", "b", "target", "score", "value", "low", "high"])
    weights = {"stress": WEIGHTS}
    text = " ".join(sentences(SCORES, differences, weights, targets=(STRESS,), modalities=("eda", "motion")))
    assert "the best single modality (motion)" in text and "nan" not in text


def test_numbers_are_those_of_the_tables():
    text = told(-0.1, -0.02)
    assert "accuracy 0.800 [0.700, 0.900]" in text
    assert "eda 65 % [60 %, 70 %], prior 25 % [20 %, 30 %], motion 10 % [10 %, 10 %]" in text


def test_a_strong_order_is_a_caution_and_a_weak_one_is_not():
    assert "A caution" in told(-0.01, 0.1, rival="order")
    assert "A caution" not in told(-0.2, -0.1, rival="order")


def test_answers_of_others_to_the_same_stimulus_are_a_caution_where_they_do_as_well():
    assert "NLL of fusion minus stimulus +0.045 [-0.010, +0.100]" in told(-0.01, 0.1, rival="stimulus")
    assert "stimulus" not in told(-0.2, -0.1, rival="stimulus")


def test_hybrid_is_set_against_late():
    assert "is better than late fusion; NLL of hybrid minus late -0.060 [-0.100, -0.020]" in told(0.02, 0.1, "hybrid")
    assert "Hybrid fusion" not in told(0.02, 0.1)


def test_every_sentence_stands_under_a_head_and_the_question_comes_first():
    row = ("late", "prior", "stress", "nll", -0.1, -0.2, -0.05)
    differences = pd.DataFrame([row], columns=["a", "b", "target", "score", "value", "low", "high"])
    lines = sentences(SCORES, differences, {"stress": WEIGHTS}, targets=(STRESS,), modalities=("eda", "motion"))
    heads = [next(k for k, h in enumerate(HEADS) if line.startswith(f"{h}: ")) for line in lines]
    assert heads == sorted(heads) and lines[0].startswith("What was asked: Can stress (rest or stress) of people")
    assert "from eda and motion" in lines[0]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, -0.02, "better than guessing"),
        (0.01, 0.1, "worse than guessing"),
        (-0.1, 0.1, "not better than guessing"),
    ],
)
def test_guessing_is_always_set_beside(low, high, verdict):
    assert f"Stress: {verdict}" in told(low, high, "prior")


def test_a_difference_from_guessing_is_told_in_words_too():
    assert "what people said is given 1.06 times the probability that guessing gives it" in told(-0.1, -0.02, "prior")
    assert "is given 0.946 times the probability" in told(0.01, 0.101, "prior")
    assert "times the probability" not in told(-0.1, 0.1, "prior")


def test_every_caution_is_a_sentence_by_itself_and_the_verdict_comes_first():
    rows = [("late", rival, "stress", "nll", -0.1, -0.2, high) for rival, high in (("prior", -0.05), ("stimulus", 0.1))]
    differences = pd.DataFrame(rows, columns=["a", "b", "target", "score", "value", "low", "high"])
    lines = sentences(SCORES, differences, {}, targets=(STRESS,), modalities=("eda", "motion"))
    first, caution = (line for line in lines if line.startswith("How well: "))
    assert first.startswith("How well: Stress: better") and "accuracy 0.800" in first and "caution" not in first
    assert caution.startswith("How well: Stress: A caution: other people's answers")


def test_coverage_off_its_level_is_named():
    rating = Target("valence", bounds=(1, 9))
    for low, high, verdict in ((0.7, 0.8, "too sure of itself"), (0.93, 0.97, "wider than"), (0.85, 0.95, "")):
        scores = pd.DataFrame(
            [("late", "valence", "coverage90", (low + high) / 2, low, high)], columns=list(SCORES.columns)
        )
        none = pd.DataFrame(columns=["a", "b", "target", "score", "value", "low", "high"])
        text = " ".join(sentences(scores, none, {}, targets=(rating,), modalities=("eda",)))
        assert (verdict in text) and (bool(verdict) == any(v in text for v in ("too sure", "wider than")))


def test_people_for_whom_fusion_fails_are_named():
    rows = [
        ("0", s, model, "stress", "nll", value, 10)
        for s, late in (("S1", 0.5), ("S10", 0.9), ("S2", 0.8))
        for model, value in (("late", late), ("prior", 0.69))
    ]
    records = pd.DataFrame(rows, columns=["fold", "subject", "model", "target", "score", "value", "trials"])
    none = pd.DataFrame(columns=["a", "b", "target", "score", "value", "low", "high"])
    text = " ".join(sentences(SCORES, none, {}, targets=(STRESS,), modalities=("eda",), records=records))
    assert "for 2 of 3 people the fusion is worse than guessing (S2, S10), worst for S10, by 0.21 nats" in text
    text = " ".join(sentences(SCORES, none, {}, targets=(STRESS,), modalities=("eda",), records=records[2:]))
    assert "for 2 of 2 people" in text
    text = " ".join(sentences(SCORES, none, {}, targets=(STRESS,), modalities=("eda",), records=records[:4]))
    assert "for 1 of 2 people, S10, the fusion is worse than guessing, by 0.21 nats per trial." in text
