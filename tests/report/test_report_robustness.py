"""Figures of disturbed sensors and of EEG on the scalp, from made-up sheets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesaffect.report import sections
from bayesaffect.report.figures import robustness as figures_robustness
from bayesaffect.report.figures import scalp as figures_scalp
from bayesaffect.report.figures.scalp import _places

NAMES = ("Fp1", "Fp2", "F3", "F4", "T7", "C3", "Cz", "C4", "T8", "P3", "Pz", "P4", "O1", "O2")
KINDS = {"eeg": ("noise", "flat", "channels", "shift", "missing"), "face": ("noise", "occlusion", "missing")}


def robustness(targets, kinds=KINDS) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for target in targets:
        scores = ["nll", "nll_loss", "nll_alone", "nll_spared", "weight"]
        scores += ["coverage90", "rmse"] if target.kind == "continuous" else ["accuracy"]
        for modality, names in kinds.items():
            for kind in names:
                for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
                    for score in scores:
                        value = {"nll_alone": 2.0, "nll_spared": 0.6}.get(score, 0.9) + strength * rng.random() / 5
                        gone = kind == "missing" and strength == 1 and score in ("nll_alone", "nll_spared")
                        numbers = [np.nan] * 3 if gone else [value, value - 0.05, value + 0.05]
                        rows.append((target.name, modality, kind, strength, score, *numbers, 80))
    columns = ["target", "modality", "kind", "strength", "score", "value", "low", "high", "trials"]
    return pd.DataFrame(rows, columns=columns)


def scalp(names=NAMES, planted="F4") -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        ("valence", m, n, n, v, v - 0.01, v + 0.01, 80)
        for m in ("eeg", "late")
        for n in names
        for v in [0.05 if n == planted else 0.002]
    ]
    columns = ["target", "model", "channel", "electrode", "value", "low", "high", "trials"]
    bands = [("valence", m, b, 0.01 * k, 0.0, 0.06, 80) for m in ("eeg", "late") for k, b in enumerate("abc")]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(bands, columns=["target", "model", "band", *columns[4:]])


def test_a_column_per_modality_and_a_line_per_kind(affect):
    findings = replace(affect, sheets={"robustness": robustness(affect.targets)})
    for target in affect.targets:
        picture = figures_robustness.robustness(findings, target.name)
        axes = picture.figure.axes
        assert len(axes) == 6 and picture.name == f"robustness_{target.name}"
        assert sum(len(line.get_xdata()) == 6 for line in axes[0].lines) == len(KINDS["eeg"])
    assert "quality" in picture.caption and "1000" not in picture.caption


def test_more_modalities_than_fit_are_chosen_by_what_their_absence_costs(affect):
    sheet = robustness(affect.targets[:1], {f"m{k}": ("noise", "missing") for k in range(6)})
    costs = (sheet["kind"] == "missing") & (sheet["score"] == "nll_loss") & (sheet["strength"] == 1)
    sheet.loc[costs, "value"] = np.arange(6.0)
    picture = figures_robustness.robustness(replace(affect, sheets={"robustness": sheet}), "valence")
    assert [a.get_title(loc="left") for a in picture.figure.axes[:4]] == ["m2", "m3", "m4", "m5"]
    assert "2 modalities that matter less" in picture.caption


def test_what_fusion_spares(affect):
    picture = figures_robustness.spared(replace(affect, sheets={"robustness": robustness(affect.targets)}))
    faults = sum(len(k) for k in KINDS.values()) - 2  # a missing sensor says nothing alone
    assert len(picture.figure.axes[0].get_yticks()) == faults
    assert f"lower in {3 * faults} of {3 * faults} cases" in picture.caption


def test_heads_and_bands(affect):
    channels, bands = scalp()
    findings = replace(affect, sheets={"scalp": channels, "bands": bands})
    heads = figures_scalp.scalp(findings)
    assert "2 of 28 are ringed" in heads.caption and "F4 (0.050 [0.040, 0.060])" in heads.caption
    assert figures_scalp.bands(findings).name == "eeg_bands"


def test_without_sheets_or_with_odd_names_there_is_no_figure(affect):
    odd = scalp(names=[f"A{k}x" for k in range(12)])[0]
    for sheets in (
        {},
        {"scalp": scalp()[0].iloc[:0], "robustness": robustness(affect.targets).iloc[:0]},
        {"scalp": odd},
    ):
        findings = replace(affect, sheets=sheets)
        assert figures_scalp.scalp(findings) is None and figures_scalp.bands(findings) is None
        assert figures_robustness.robustness(findings, "valence") is None
        assert figures_robustness.spared(findings) is None
    few = scalp(names=NAMES[:4])[0]
    assert figures_scalp.scalp(replace(affect, sheets={"scalp": few})) is None


def test_electrodes_lie_where_they_sit():
    at = _places(("Fpz", "oz", "T7", "T8", "Cz", "C4", "nose"))
    assert "nose" not in at
    np.testing.assert_allclose(at["Cz"], 0, atol=0.05)
    np.testing.assert_allclose([at["T8"], at["T7"]], [[0.92, 0], [-0.92, 0]], atol=0.12)
    np.testing.assert_allclose([at["Fpz"], at["oz"]], [[0, 0.92], [0, -0.92]], atol=0.12)
    assert 0.4 < at["C4"][0] < 0.56 and at["C4"][1] == pytest.approx(0, abs=0.08)


def test_the_page_says_what_strengths_mean(affect):
    sheet = robustness(affect.targets[:1])
    told = sections.robustness(replace(affect, sheets={"robustness": sheet}))
    for kind in sheet["kind"].unique():
        assert figures_robustness.WORDS[kind].capitalize() in told
    assert "Opinions swapped" not in told and "as few draws" in told
    assert sections.robustness(affect) == ""
    assert set(sections._STRENGTHS) == set(figures_robustness.WORDS)
