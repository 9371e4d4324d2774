from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesaffect.io import published


@pytest.fixture
def votes(tmp_path):
    """Two presentations of one clip: five raters of the voice, four of the face, and some who had both."""
    columns = ["fileName", *"ADFHNS", "meanEmoResp", *(f"mean{c}Resp" for c in published.INTENSITY)]
    rows = [
        ["1001_IEO_ANG_XX", 3, 1, 0, 0, 1, 0, 46.0, 60.0, 30.0, -1, -1, 20.0, -1],
        ["1001_IEO_ANG_XX", 4, 0, 0, 0, 0, 0, 75.0, 75.0, -1, -1, -1, -1, -1],
        ["1001_IEO_ANG_XX", 5, 0, 0, 0, 0, 0, 99.0, 99.0, -1, -1, -1, -1, -1],
    ]
    frame = pd.DataFrame(rows, columns=columns, index=[100001, 200001, 300001])
    frame.to_csv(tmp_path / "tabulatedVotes.csv")
    return published.read_crema_d(tmp_path)


def test_intensity_is_the_mean_over_all_raters(votes):
    assert list(votes["modality"]) == ["voice", "face"] and (votes["truth_emotion"] == "anger").all()
    np.testing.assert_allclose(votes["x_intensity"], [0.46, 0.75])
    np.testing.assert_allclose(votes["x_intensity_anger"], [0.36, 0.75])
    np.testing.assert_allclose(votes["x_intensity_disgust"], [0.06, 0])
    np.testing.assert_allclose(votes["x_intensity_neutral"], [0.04, 0])
    each = votes.filter(regex="x_intensity_").sum(1)
    np.testing.assert_allclose(each, votes["x_intensity"])


def test_shares_of_votes_are_smoothed(votes):
    np.testing.assert_allclose(votes["p_anger"], [4 / 11, 5 / 10])
    np.testing.assert_allclose(votes.filter(like="p_").sum(1), 1)
