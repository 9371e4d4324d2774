from __future__ import annotations

import json
import math
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.uncertainty import checkpoint, data
from bayesaffect.uncertainty.losses import losses
from bayesaffect.uncertainty.training import Training, bootstrap_rows, train

SHORT = Training(epochs=6, patience=6, batch=16)


def start(trials, *, modalities=("physio",), dropout=0.3):
    """A fresh network, and the data of the first six and of the last subjects."""
    everything = data.from_trials(trials).only(modalities)
    late = np.array(everything.subject) >= "S03"
    network = build(data.describe(trials), modalities, trials.targets, dropout=dropout, seed=3)
    return network, everything.rows(np.flatnonzero(~late)), everything.rows(np.flatnonzero(late))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


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

    def fail(epoch, row):
        if epoch == stop:
            raise KeyboardInterrupt

    broken, *_ = start(small, modalities=modalities)
    with pytest.raises(KeyboardInterrupt):
        train(broken, *sets, settings=SHORT, seed=7, directory=tmp_path / "part", after_epoch=fail)
    resumed, *_ = start(small, modalities=modalities)
    epochs = []
    history = train(
        resumed,
        *sets,
        settings=SHORT,
        seed=7,
        directory=tmp_path / "part",
        after_epoch=lambda epoch, row: epochs.append(epoch),
    )
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
    train(
        resumed, *sets, settings=SHORT, seed=7, directory=tmp_path, after_epoch=lambda epoch, row: epochs.append(epoch)
    )
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"batch": True},
        {"patience": -1},
        {"learning_rate": 0.0},
        {"learning_rate": "fast"},
        {"weight_decay": -0.1},
        {"dropout": 1.0},
        {"beta": 1.1},
        {"clip": math.inf},
        {"class_weights": math.nan},
        {"bootstrap": 1},
    ],
)
def test_settings_outside_their_bounds_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"^Training: {name} is .*; give "):
        Training(**wrong)


def test_class_weights_raise_what_is_said_of_the_rare_class(trials):
    _, training_data, validation_data = start(trials)
    mood = training_data.truth["mood"]
    rows = [*np.flatnonzero(mood == 0)[:4], *np.flatnonzero(mood > 0)]
    few, none = training_data.rows(rows), validation_data.rows([])
    few = replace(few, inputs={"physio": {name: x.flip(0) for name, x in few.inputs["physio"].items()}})
    said = {}
    for exponent in (0.0, 1.0):
        network, *_ = start(trials)
        settings = Training(20, patience=20, learning_rate=0.03, class_weights=exponent)
        train(network, few, none, settings=settings, seed=0)
        said[exponent] = network(few.inputs, few.present).logits["mood"].softmax(-1)[:, 0].mean().item()
    share = 4 / len(rows)
    assert said[0.0] < 1.2 * share and said[1.0] > 1.5 * share


def test_validation_loss_is_never_weighted(small):
    network, *sets = start(small)
    history = train(network, *sets, settings=replace(SHORT, class_weights=1.0), seed=0)
    with torch.no_grad():
        found = losses(network(sets[1].inputs, sets[1].present), sets[1].truth, beta=0)
    assert found["mood"].item() == pytest.approx(history.loc[history["validation"].idxmin(), "validation_mood"])


def test_a_checkpoint_of_another_network_leaves_this_one_as_it_was(small, tmp_path, caplog):
    other, *sets = start(small, modalities=("physio", "wrist"))
    train(other, *sets, settings=SHORT, seed=7, directory=tmp_path)
    plain, *sets = start(small)
    train(plain, *sets, settings=SHORT, seed=7)
    beside, *sets = start(small)
    train(beside, *sets, settings=SHORT, seed=7, directory=tmp_path)
    assert "another network" in caplog.text and same(plain, beside)


def test_after_epoch_gets_the_row_of_the_history(small):
    network, *sets = start(small)
    rows = []
    history = train(network, *sets, settings=SHORT, seed=0, after_epoch=lambda epoch, row: rows.append((epoch, row)))
    assert [epoch for epoch, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[3][1] == history.iloc[4].to_dict()


def test_large_data_give_the_same_as_small_ones(small, monkeypatch):
    from bayesaffect.uncertainty import training

    whole, *sets = start(small)
    first = train(whole, *sets, settings=SHORT, seed=0)
    monkeypatch.setattr(training, "CHUNK", 4)
    monkeypatch.setattr(training, "RESIDENT", 0)
    pieces, *sets = start(small)
    second = train(pieces, *sets, settings=SHORT, seed=0)
    np.testing.assert_allclose(second["validation"], first["validation"], rtol=1e-5)


def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(small, tmp_path):
    network, *sets = start(small)
    train(network, *sets, settings=replace(SHORT, epochs=2), seed=7, directory=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # what a full disk does, for this process alone
    try:
        with pytest.raises(InputError, match=r"checkpoint.safetensors: cannot be written .*make room"):
            train(network, *sets, settings=replace(SHORT, epochs=4), seed=7, directory=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after["previous.safetensors"] == before["checkpoint.safetensors"]
    assert not [name for name in after if name.startswith(".")]


def test_a_folder_that_cannot_be_made_is_one_sentence(small, tmp_path):
    (tmp_path / "file").write_text("")
    network, *sets = start(small)
    with pytest.raises(InputError, match="cannot be written"):
        train(network, *sets, settings=SHORT, seed=7, directory=tmp_path / "file" / "task")


def test_sweep_takes_half_written_files_alone(tmp_path):
    for name in (".weights.0123abcd.safetensors", ".progress.deadbeef.json", "weights.safetensors", ".hidden"):
        (tmp_path / name).write_text("")
    checkpoint.sweep(tmp_path, older_s=60)
    assert len(list(tmp_path.iterdir())) == 4
    checkpoint.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "weights.safetensors"]


def progress(directory):
    return json.loads((directory / "progress.json").read_text())


def test_progress_tells_where_a_run_stands(small, tmp_path):
    network, *sets = start(small)
    history = train(network, *sets, settings=SHORT, seed=7, directory=tmp_path)
    first = progress(tmp_path)
    assert (first["epoch"], first["epochs"]) == (6, 6)
    assert first["best_epoch"] == history["validation"].idxmin()
    assert first["validation"] == history["validation"].iloc[-1]
    assert first["started"] <= first["updated"] and first["seconds"] > 0
    train(network, *sets, settings=replace(SHORT, epochs=8, patience=8), seed=7, directory=tmp_path)
    second = progress(tmp_path)
    assert second["epoch"] == 8 and second["seconds"] > first["seconds"]
