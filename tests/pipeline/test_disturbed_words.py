"""Sentences on disturbed sensors; a planted fault must be flagged, and a harmless one must not."""

from __future__ import annotations

import pandas as pd
import pytest

from bayesaffect.pipeline.examination.disturbed_words import cautions, of_eeg, sentences

COLUMNS = ["target", "modality", "kind", "strength", "score", "value", "low", "high", "trials"]


def sheet(coverage=0.89, noise=0.1, spared=0.5):
    rows = []
    for modality, missing in (("eeg", 0.05), ("face", 0.2)):
        for kind, lost in (("noise", noise), ("missing", missing)):
            for strength in (0.0, 1.0):
                values = {
                    "coverage90": coverage if strength else 0.9,
                    "nll_loss": lost * strength,
                    "nll_spared": spared,
                }
                for score, value in values.items():
                    rows.append(("valence", modality, kind, strength, score, value, value - 0.02, value + 0.02, 100))
    return {"robustness": pd.DataFrame(rows, columns=COLUMNS)}


def test_who_is_missed_and_what_costs_most_is_said_in_numbers():
    said = sentences(sheet())
    assert said[0].index("face 0.200 [0.180, 0.220]") < said[0].index("eeg 0.050")
    assert "noise, strength 1" in said[1] and "0.100 nats [0.080, 0.120]" in said[1]
    assert "in 4 of 4 cases, clearly (90 % interval) in 4" in said[2]


def test_hybrid_fusion_is_counted_where_there_is_one():
    gains = [("eeg", "noise", 0.1), ("eeg", "missing", 0.01), ("face", "noise", -0.1), ("face", "missing", -0.01)]
    rows = [("valence", m, kind, 1.0, "hybrid_gain", v, v - 0.02, v + 0.02, 100) for m, kind, v in gains]
    found = sheet()
    found["robustness"] = pd.concat([found["robustness"], pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
    line = sentences(found)[3]
    assert "hybrid fusion has a lower NLL than late fusion in 2 of 4 cases, clearly (90 % interval) in 1" in line
    assert line.endswith("clearly a higher one in 1.")
    assert len(sentences(sheet())) == 3


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ({"coverage": 0.6}, "hold only 60 % [58, 62] of the truths"),
        ({"noise": 0.4}, "more than no"),
        ({"spared": -0.3}, "worse than that sensor alone, by 0.300 nats [0.280, 0.320]"),
    ],
)
def test_a_planted_fault_is_flagged(defect, words):
    assert any(words in line for line in cautions(sheet(**defect)))
    assert cautions(sheet(noise=0.04)) == ()


def test_handing_back_and_eeg():
    rows = [("mood", m, h, "accuracy", 0.5 + h, 0.4 + h, 0.6 + h) for m in ("late", "eeg") for h in (0.0, 0.1, 0.2)]
    kept = pd.DataFrame(rows, columns=["target", "model", "handed_back", "score", "value", "low", "high"])
    places = [("mood", m, c, v, v - 0.02, v + 0.02) for m in ("eeg", "late") for c, v in (("Cz", 0.01), ("F4", 0.05))]
    scalp = pd.DataFrame(places, columns=["target", "model", "channel", "value", "low", "high"])
    bands = scalp.rename(columns={"channel": "band"}).assign(low=-1.0)
    sheets = {"selective": kept, "scalp": scalp, "bands": bands}
    (handed,), (eeg,) = sentences(sheets), of_eeg(sheets)
    assert "late: accuracy 0.500 to 0.700 [0.600, 0.800]" in handed and "eeg: accuracy" in handed
    assert "needed most is F4 (0.050 nats [0.030, 0.070] lost without it); no single band is clearly needed" in eeg
    assert sentences({}) == () == cautions({"robustness": sheet()["robustness"].iloc[:0]})
