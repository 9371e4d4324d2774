"""Published predictions through the door: crowd votes and competition entries, against what is known of them."""

import numpy as np
import pytest

from bayesaffect.evaluate import baselines, summary
from bayesaffect.io import opinions as door
from bayesaffect.io import published
from bayesaffect.splits import grouped

pytestmark = pytest.mark.real


def scored(opinions, model):
    frame = summary.score_table({"m": model}, opinions.truth, opinions.targets, seed=0, resamples=200)
    return frame.set_index(["target", "score"])


def test_crowd_votes_stacked_by_actor(real_data, tmp_path):
    opinions = door.read_table(published.crema_d(real_data("crema_d"), tmp_path / "votes.csv"))
    assert opinions.modalities == ("voice", "face") and opinions.present.all()
    assert opinions.present.sizes["trial"] == 3682 and np.unique(opinions.subject).size == 45
    groups = grouped(opinions.subject.values, 10, seed=0)
    value = scored(opinions, baselines.stacking(opinions, groups, seed=0)).value["emotion"]
    assert value["accuracy"] >= 0.755 and value["nll"] <= 0.645 and value["ece"] <= 0.03
    assert scored(opinions, baselines.product_of_experts(opinions)).value["emotion", "accuracy"] < 0.70


def test_crowd_features_are_intensities(real_data):
    frame = published.read_crema_d(real_data("crema_d"))
    features = frame.filter(like="x_")
    assert features.shape[1] == 7 and features.min().min() == 0 and features.max().max() <= 1
    anger = frame.groupby(frame.truth_emotion == "anger")["x_intensity_anger"].mean()
    assert anger[True] > 4 * anger[False]
    each = features.drop(columns="x_intensity").sum(1)
    np.testing.assert_allclose(each, features["x_intensity"], atol=1e-6)  # the table's own mean of all choices


def test_competition_entries_fused_by_ridge(real_data, tmp_path):
    opinions = door.read_table(published.epic(real_data("epic2023") / "across_subject.npz", tmp_path / "epic.parquet"))
    assert len(opinions.modalities) == 7 and opinions.present.sizes["trial"] == 240 and not opinions.variance_known
    groups = grouped(opinions.subject.values, 10, seed=0)
    table = scored(opinions, baselines.stacking(opinions, groups, seed=0))
    both = [table.value[target, "rmse_within"] for target in ("valence", "arousal")]
    assert np.mean(both) == pytest.approx(1.043, abs=0.02)
    assert 0.85 < table.value["arousal", "coverage90"] < 0.95


def test_equal_weights_reproduce_the_published_error(real_data, tmp_path):
    path = real_data("epic2023") / "across_subject.npz"
    opinions = door.read_table(published.epic(path, tmp_path / "epic.csv"))
    table = scored(opinions, baselines.equal_weights(opinions))
    got = [table.value[target, "rmse_within"] for target in ("valence", "arousal")]
    with np.load(path) as data:
        error = data["pred"].astype(float).mean((1, 2))[:, None] - data["truth"]
    assert got == pytest.approx(np.sqrt((error**2).mean(1)).mean(0), abs=1e-6)
    assert got == pytest.approx([1.267, 1.212], abs=0.02)
