import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.pipeline.summary import sentences
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
    assert f"fusion is {verdict} the best single modality (eda)" in told(low, high)


def test_numbers_are_those_of_the_tables():
    text = told(-0.1, -0.02)
    assert "accuracy 0.800 [0.700, 0.900]" in text and "eda 65%, prior 25%, motion 10%" in text


def test_a_strong_order_is_a_caution_and_a_weak_one_is_not():
    assert "a caution" in told(-0.01, 0.1, rival="order")
    assert "a caution" not in told(-0.2, -0.1, rival="order")


def test_hybrid_is_set_against_late():
    assert "is better than late fusion; NLL of hybrid minus late -0.060 [-0.100, -0.020]" in told(0.02, 0.1, "hybrid")
    assert "hybrid fusion" not in told(0.02, 0.1)
