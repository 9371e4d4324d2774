"""What is planted in a table of opinions shows on the page: labels that mean nothing, and three mistakes of a maker."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.fusion import Sampling
from bayesaffect.io.opinions_write import write_table
from bayesaffect.pipeline import study
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Opinions, Target

pytestmark = pytest.mark.slow
VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("calm", "glad", "sad"))
MODALITIES = ("eeg", "face", "physio")
SAMPLING = Sampling(draws=200, tune=200, chains=2, pilot=0, attempts=1)


def simulated(*targets, subjects=12, trials=16, seed=4) -> Opinions:
    model = OpinionModel(overconfidence=1.0, reliability_sd=0.2, missing=0.05)
    return simulate_opinions(
        subjects=subjects, trials=trials, modalities=MODALITIES, targets=targets, seed=seed, model=model
    )[0]


def studied(opinions, folder, cache):
    """What the page of a study of this table says, and what it was made from; densities are compiled once."""
    (folder / "ws" / "fusion").mkdir(parents=True)
    (folder / "ws" / "fusion" / "compiled").symlink_to(cache)
    table = write_table(opinions, folder / "table.csv")
    settings = Settings(str(table), "opinions", folds=2, sampling=SAMPLING)
    page, findings = study.fuse_table(folder / "ws", settings, command="bayesaffect fuse table.csv ws")
    text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))
    return " ".join(html.unescape(text).split()), findings


def within(opinions, change):
    """Positions of the trials after ``change`` (rows of one person -> rows of that person)."""
    subject, order = opinions.subject.values, np.arange(opinions.present.sizes["trial"])
    for name in np.unique(subject):
        rows = np.flatnonzero(subject == name)
        order[rows] = change(rows)
    return order


def permuted(opinions, seed):
    """All labels dealt anew over all trials of everybody: within people only, their levels would still be there."""
    order = np.random.default_rng(seed).permutation(opinions.present.sizes["trial"])
    labels = {target.name: ("trial", opinions.truth[target.name].values[order]) for target in opinions.targets}
    return replace(opinions, truth=opinions.truth.assign(labels))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory, cache):
    return studied(permuted(simulated(VALENCE, MOOD), seed=0), tmp_path_factory.mktemp("shuffled"), cache)


@pytest.mark.parametrize("target", ["valence", "mood"])
def test_shuffled_labels_are_at_chance_and_not_better_than_guessing(shuffled, target):
    _, findings = shuffled
    rows = findings.differences.query("a == 'late' and b == 'prior' and target == @target and score == 'nll'")
    (row,) = rows.itertuples()
    assert row.high > 0 and row.low < 0.1 and row.value < 0.2  # nothing gained, and little lost
    chance = {"valence": {"ccc": 0.0}, "mood": {"auroc": 0.5, "kappa": 0.0}}[target]
    for score, value in chance.items():
        found = findings.value("late", target, score)
        if found is not None:
            assert found.low < value + 0.02 and abs(found["value"] - value) < 0.15, score


@pytest.mark.parametrize("target", ["valence", "mood"])
def test_the_page_of_shuffled_labels_says_so(shuffled, target):
    page, findings = shuffled
    said, *_ = (line for line in findings.summary if line.startswith(f"How well: {target.capitalize()}: "))
    assert "not better than guessing" in said or "worse than guessing" in said
    assert said.partition(f"{target.capitalize()}: ")[2] in page


def test_honest_labels_are_better_than_guessing(tmp_path, cache):
    """The same study without the shuffle: the sentence can be otherwise."""
    page, findings = studied(simulated(VALENCE), tmp_path, cache)
    assert re.search(r"Valence ?: better than guessing", page)
    assert not any("too good to be true" in line or "shifted in time" in line for line in findings.cautions)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory, cache):
    """A face that was shown the answers, a wristband that is five times too sure, an EEG one trial late."""
    opinions = simulated(VALENCE)
    late = within(opinions, lambda rows: np.roll(rows, 1))
    mean, variance = opinions.mean["valence"].copy(deep=True), opinions.variance["valence"].copy(deep=True)
    present = opinions.present.copy(deep=True)
    mean[:, 0], variance[:, 0] = mean.values[late, 0], variance.values[late, 0]
    present[:, 0] = present.values[late, 0]
    near = np.random.default_rng(1).normal(0, 0.04, mean.shape[0])
    mean[:, 1] = np.where(present[:, 1], opinions.truth["valence"].values + near, np.nan)
    variance[:, 2] = variance[:, 2] / 25
    planted = replace(opinions, mean={"valence": mean}, variance={"valence": variance}, present=present)
    return studied(planted, tmp_path_factory.mktemp("spoilt"), cache)


@pytest.mark.parametrize(
    ("modality", "sentence"),
    [("face", "too good to be true"), ("physio", "over-confident"), ("eeg", "shifted in time")],
)
def test_a_planted_mistake_is_flagged_on_the_page(spoilt, modality, sentence):
    page, findings = spoilt
    (said,) = (line for line in findings.cautions if line.startswith(f"{modality}, valence: ") and sentence in line)
    assert said in page and page.index(said) < page.index("Leakage guard")
    others = [m for m in MODALITIES if m != modality]
    assert not any(line.startswith(f"{m}, ") and sentence in line for m in others for line in findings.cautions)
