from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.uncertainty import data
from bayesaffect.uncertainty.training import Training, bootstrap_rows, continuous_loss, losses, train

SHORT = Training(epochs=6, patience=6, batch=16)


def start(trials, *, modalities=("physio",), dropout=0.3):
    """A fresh network, and the data of the first six and of the last subjects."""
    everything = data.from_trials(trials).only(modalities)
    late = np.array(everything.subject) >= "S03"
    network = build(data.describe(trials), modalities, trials.targets, dropout=dropout, seed=3)
    return network, everything.rows(np.flatnonzero(~late)), everything.rows(np.flatnonzero(late))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_continuous_loss_is_the_gaussian_one_at_beta_zero():
    mean, log_variance, truth = torch.tensor([0.2]), torch.tensor([-1.1]), torch.tensor([0.7])
    expected = -torch.distributions.Normal(mean, torch.exp(log_variance / 2)).log_prob(truth)
    torch.testing.assert_close(continuous_loss(mean, log_variance, truth, beta=0), expected)
    weighted = continuous_loss(mean, log_variance, truth, beta=0.5)
    torch.testing.assert_close(weighted, expected * math.exp(-0.55))


def test_missing_truth_has_no_gradient(trials):
    network, few, _ = start(trials)
    truth = {"valence": torch.full((len(few),), math.nan), "mood": torch.full((len(few),), -1)}
    assert losses(network(few.inputs, few.present), truth, beta=0.5) == {}


def test_training_lowers_the_loss_and_beats_the_prior(trials):
    network, training_data, validation_data = start(trials)
    history = train(network, training_data, validation_data, settings=Training(learning_rate=3e-3, patience=40), seed=0)
    truth = validation_data.truth["valence"]
    known = torch.isfinite(truth)
    mean = network(validation_data.inputs, validation_data.present).mean["valence"]
    assert history["training"].iloc[-1] < history["training"].iloc[1]
    assert ((mean - truth)[known] ** 2).mean() < 0.4 * truth[known].var()
    assert history["validation"].min() < 0.6  # the prior alone: about (ln 3 + 0.85) / 2 = 0.97 nats


def test_global_generator_is_left_alone(small):
    network, training_data, validation_data = start(small)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(network, training_data, validation_data, settings=SHORT, seed=0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_an_interrupted_run_ends_with_the_same_weights(small, tmp_path, stop):
    modalities = ("physio", "wrist")
    whole, *sets = start(small, modalities=modalities)
    expected = train(whole, *sets, settings=SHORT, seed=7, directory=tmp_path / "whole")

    def fail(epoch):
        if epoch == stop:
            raise KeyboardInterrupt

    broken, *_ = start(small, modalities=modalities)
    with pytest.raises(KeyboardInterrupt):
        train(broken, *sets, settings=SHORT, seed=7, directory=tmp_path / "part", after_epoch=fail)
    resumed, *_ = start(small, modalities=modalities)
    epochs = []
    history = train(resumed, *sets, settings=SHORT, seed=7, directory=tmp_path / "part", after_epoch=epochs.append)
    assert epochs[0] == stop + 1
    assert same(whole, resumed)
    assert history.equals(expected)


@pytest.mark.parametrize("damage", ["half", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over(small, tmp_path, damage, caplog):
    whole, *sets = start(small)
    train(whole, *sets, settings=SHORT, seed=7, directory=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 0xFF
    {"half": lambda: path.write_bytes(content[: len(content) // 2]), "flipped": lambda: path.write_bytes(content)}.get(
        damage, path.unlink
    )()
    epochs = []
    resumed, *_ = start(small)
    train(resumed, *sets, settings=SHORT, seed=7, directory=tmp_path, after_epoch=epochs.append)
    assert epochs == [6] and same(whole, resumed)
    assert ("passed over" in caplog.text) == (damage != "gone")


def test_bootstrap_draws_whole_subjects():
    rows = bootstrap_rows(("a", "b", "a", "c"), seed=1)
    names = np.array(["a", "b", "a", "c"])[rows]
    assert (names == "a").sum() % 2 == 0
    assert not np.array_equal(np.sort(rows), np.arange(4))


def test_shared_subjects_are_refused(small):
    network, training_data, _ = start(small)
    with pytest.raises(InputError, match="both the training and the validation"):
        train(network, training_data, training_data, settings=SHORT, seed=0)


def test_no_truth_is_refused(small):
    network, training_data, validation_data = start(small)
    blank = {"valence": torch.full((len(training_data),), math.nan), "mood": torch.full((len(training_data),), -1)}
    empty = data.Data(training_data.inputs, training_data.present, blank, training_data.subject)
    with pytest.raises(InputError, match="no training trial"):
        train(network, empty, validation_data, settings=SHORT, seed=0)
