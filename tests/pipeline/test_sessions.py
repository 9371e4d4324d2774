from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.pipeline.sessions import counts, outcomes
from bayesaffect.types import Listing, Omission, Source, Target, Trials

TARGET = Target("valence", bounds=(1, 9))


def trials(name, *here):
    coords = {"trial": [name], "modality": ["eeg", "face"], "subject": ("trial", ["S1"]), "stimulus": ("trial", ["c"])}
    present = xr.DataArray(np.array([here]), dims=("trial", "modality"), coords=coords)
    inputs = {m: xr.Dataset({"x": ("trial", np.zeros(1))}, {"trial": [name]}) for m in ("eeg", "face")}
    truth = xr.Dataset({"valence": ("trial", [0.0])}, {"trial": [name]})
    lost = () if all(here) else (Omission(name, "face: dark", "", "modality"),)
    return Trials((TARGET,), inputs, present, truth, present.astype(float), lost)


@pytest.fixture
def table():
    sources = [Source(f"S1/{k}", "S1", (f"/d/{k}/a.bdf",)) for k in "abc"]
    sources += [Source(f"S1/{k}", "S1", (f"/d/{k}/a.bdf",), "neutral") for k in "NM"]
    omissions = (
        Omission("/d/7", "no rating"),
        Omission("/d/a/film.avi", "the video is missing", "", "modality"),
    )
    listing = Listing("mahnob", "/d", (TARGET,), {"eeg": ("eeg",), "face": ("face",)}, tuple(sources), omissions)
    refused = Omission("/d/c/a.bdf", "is cut short", "", "recording")
    first = trials("a", True, True)
    first = replace(
        first, inputs={**first.inputs, "eeg": first.inputs["eeg"].assign_attrs(decision="eda: resistance in Ohm")}
    )
    results = {"S1/a": first, "S1/b": trials("b", True, False), "S1/c": refused}
    return outcomes(listing, results | {"S1/N": trials("N", True, True)})


def test_every_session_has_one_row_and_an_outcome(table):
    assert list(table["session"]) == ["S1/a", "S1/b", "S1/c", "S1/N", "S1/M", "7"]
    expected = ["used in part", "used in part", "left out", "baseline", "not used", "left out"]
    assert list(table["outcome"]) == expected
    assert counts(table) == "2 used in part, 1 baseline, 1 not used, 2 left out"


def test_reasons_stand_with_their_session_only(table):
    why = dict(zip(table["session"], table["why"], strict=True))
    assert why["S1/a"] == "the video is missing" and why["S1/b"] == "face: dark"
    assert table["decided"][0] == "eda: resistance in Ohm" and table["decided"][1] == ""
    assert why["S1/c"] == "is cut short" and why["7"] == "no rating" and why["S1/N"] == ""
