"""Whom cross-validated fusion learns from under each protocol, and tables that say the version of a trial."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import splits
from bayesaffect.errors import InputError
from bayesaffect.io.opinions import read_table
from bayesaffect.io.opinions_write import write_table
from bayesaffect.pipeline import fits as kept
from bayesaffect.pipeline import fuse as stage
from bayesaffect.pipeline import opinions as of
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.settings import Settings, change
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Predictive, Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "high")))
CLIPS, PEOPLE = 6, 4


def settings(protocol, folds=3):
    return Settings("table.csv", "opinions", protocol=protocol, folds=folds)


@pytest.fixture(scope="module")
def table():
    opinions, _ = simulate_opinions(subjects=PEOPLE, trials=CLIPS, modalities=["eeg", "face"], targets=TARGETS, seed=1)
    version = np.where(np.arange(PEOPLE * CLIPS) % CLIPS < 2, "old", "new")
    return replace(opinions, present=opinions.present.assign_coords(version=("trial", version)))


@pytest.fixture
def fits(monkeypatch):
    """Fits that draw nothing, and what they were given: truths, held-out people, tested trials, who counts as known."""
    made = []

    def fit(opinions, target, *, held_out, **_):
        made.append({"target": target, "opinions": opinions, "held_out": held_out})
        return SimpleNamespace(to_netcdf=lambda path, **_: open(path, "wb").close())

    def predict(posterior, opinions, *, target, seed, subjects):
        made[-1] |= {"tested": opinions.present["trial"].values, "subjects": subjects}
        kind, subject = opinions.target(target), opinions.subject.drop_vars("stimulus", errors="ignore")
        shape = (1, subject.size, *([len(kind.levels)] if kind.levels else []))
        values = xr.DataArray(
            np.full(shape, np.log(0.5) if kind.levels else 1.0), dims=("draw", "trial", "level")[: len(shape)]
        )
        values = values.assign_coords(trial=opinions.present["trial"].values)
        if kind.levels:
            return Predictive((kind,), subject, log_prob={target: values})
        return Predictive((kind,), subject, {target: values}, {target: values})

    fake = {"fit": fit, "predict": predict, "reduced": lambda posterior: posterior, "refused": lambda posterior: []}
    fake["gate"] = lambda posterior: SimpleNamespace(failures=())
    for name, function in fake.items():
        monkeypatch.setattr(kept.fusion, name, function)
    monkeypatch.setattr(kept.az, "from_netcdf", lambda path: None)
    monkeypatch.setattr(kept.fusion, "in_memory", lambda posterior: posterior)
    return made


def known(opinions, target):
    values = opinions.truth[target].values
    return values >= 0 if target == "mood" else np.isfinite(values)


@pytest.mark.parametrize("protocol", splits.UNIT)
def test_fusion_learns_from_what_the_protocol_allows_and_from_nothing_else(table, fits, tmp_path, protocol):
    opinions = training.apart(settings(protocol), table)
    groups = training.groups(settings(protocol), table)
    fused = stage.fuse(tmp_path, settings(protocol), lambda group: opinions, groups)
    trial, unit = table.present["trial"].values, opinions.unit.values
    folds = [fit for fit in fits if "tested" in fit]
    assert len(fits) - len(folds) == 2  # the posteriors of everything, one per target
    for fit in folds:
        tested = np.isin(trial, fit["tested"])
        members = set(unit[tested])
        learnt = known(fit["opinions"], fit["target"]) & ~table.subject.isin(list(fit["held_out"])).values
        np.testing.assert_array_equal(learnt, splits.learnt(opinions, sorted(members)))
        assert learnt.any() and not (learnt & tested).any()
        assert fit["opinions"].present.shape == table.present.shape  # one compiled density serves every fold
        assert fit["subjects"] == ("population" if protocol == "subject" else "known")
        assert (fit["held_out"] == ()) == (protocol != "subject")
    predicted = np.isin(trial, fused.late.trial.values)
    first = np.arange(trial.size) % CLIPS < 2
    np.testing.assert_array_equal(predicted, ~first if protocol == "time" else np.ones(trial.size, bool))
    assert set(fused.late.mean) == {"valence"} and set(fused.late.log_prob) == {"mood"}


@pytest.mark.parametrize("protocol", [name for name in splits.UNIT if name != "subject"])
def test_fused_predictions_pass_the_guard(table, fits, tmp_path, protocol):
    opinions = training.apart(settings(protocol), table)
    groups = training.groups(settings(protocol), table)
    late = stage.fuse(tmp_path, settings(protocol), lambda group: opinions, groups).late
    assert late.trained_on.dims[1] == f"trained_{opinions.held_out_by}" and late.trained_on.values.any(1).all()
    only = opinions.select(np.isin(opinions.present["trial"].values, late.trial.values))
    seen = late.trained_on.expand_dims(modality=list(only.modalities)).transpose("trial", "modality", ...)
    assert replace(only, trained_on=seen).trained_on is not None
    with pytest.raises(InputError, match=f"network trained on .*{opinions.held_out_by} "):
        replace(only, trained_on=seen.copy(data=np.ones_like(seen.values)))


def test_a_target_that_is_not_asked_at_first_is_predicted_on_the_same_trials_as_the_others(table, fits, tmp_path):
    first = np.arange(PEOPLE * CLIPS) % CLIPS < 2
    truth = table.truth.assign(valence=table.truth["valence"].where(xr.DataArray(~first, dims="trial")))
    opinions = training.apart(settings("time"), replace(table, truth=truth))
    groups = training.groups(settings("time"), table)
    late = stage.fuse(tmp_path, settings("time"), lambda group: opinions, groups).late
    predicted = np.isin(table.present["trial"].values, late.trial.values)
    np.testing.assert_array_equal(predicted, np.arange(PEOPLE * CLIPS) % CLIPS >= 4)


@pytest.mark.parametrize(
    ("target", "kept", "message"),
    [
        ("mood", [], "no trial has a truth of 'mood', so nothing"),
        ("mood", [2], "no truth of 'mood' is left to learn from when S003"),
        ("valence", [2], "no truth of 'valence' is left to learn from when S003"),
    ],
)
def test_a_target_that_a_fold_could_not_learn_is_refused_before_the_first_fit(
    table, fits, tmp_path, target, kept, message
):
    rows = xr.DataArray(np.isin(np.arange(PEOPLE * CLIPS) // CLIPS, kept), dims="trial")
    nothing = -1 if target == "mood" else np.nan
    opinions = replace(table, truth=table.truth.assign({target: table.truth[target].where(rows, nothing)}))
    with pytest.raises(InputError, match=message):
        stage.fuse(tmp_path, settings("subject"), lambda group: opinions, [("S001",), ("S002", "S004"), ("S003",)])
    assert not fits


@pytest.mark.parametrize(
    ("target", "value", "but", "message"),
    [
        ("mood", 1, 0, "all 24 truths of 'mood' are high, so there is nothing to tell apart"),
        ("valence", 0.0, 0, "all 24 truths of 'valence' are 5, so"),
        ("valence", 0.0, 1, "only one value of 'valence' is left to learn from when S001 are tested"),
        ("mood", 1, 1, None),
    ],
)
def test_a_target_that_does_not_vary_is_refused(table, fits, tmp_path, target, value, but, message):
    truth = table.truth[target].copy()
    truth[but * CLIPS :] = value
    opinions = replace(table, truth=table.truth.assign({target: truth}))
    groups = [("S001",), ("S002", "S004"), ("S003",)]
    if message is None:
        assert stage.fuse(tmp_path, settings("subject"), lambda group: opinions, groups).late.log_prob
        return
    with pytest.raises(InputError, match=message):
        stage.fuse(tmp_path, settings("subject"), lambda group: opinions, groups)


@pytest.mark.parametrize("name", ["S1", "s001", "new"])
def test_new_recordings_of_a_person_of_the_study_are_not_taken_for_a_strangers(table, monkeypatch, tmp_path, name):
    """Networks that have seen S001 are not to predict s001."""
    given = replace(table, present=table.present.assign_coords(subject=("trial", [name] * PEOPLE * CLIPS)))
    (tmp_path / of.training.DONE).parent.mkdir()
    (tmp_path / of.training.DONE).write_text('{"recalibration": []}')
    monkeypatch.setattr(of, "prepare", lambda *_, **__: given)
    monkeypatch.setattr(of, "joined", lambda _: table)
    monkeypatch.setattr(of.training, "lay_out", lambda *_: None)
    monkeypatch.setattr(of, "by_networks", lambda *_, **__: {})
    message = "has no trial with a modality" if name == "new" else f"subjects 'S001', '{name}' differ only"
    recordings = replace(settings("subject"), format="mahnob")
    with pytest.raises(InputError, match=message):
        of.of_new(tmp_path, recordings, tmp_path, table.modalities, table.targets)


def test_folds_of_two_protocols_do_not_share_a_file(table, fits, tmp_path):
    """Versions may be called alike in two runs of a table, and be those of other trials."""
    other = replace(
        table, present=table.present.assign_coords(version=("trial", table.present["version"].values[::-1]))
    )
    counts = []
    for index in (table, other, table):
        opinions = training.apart(settings("version"), index)
        stage.fuse(
            tmp_path, settings("version"), lambda group, of=opinions: of, training.groups(settings("version"), index)
        )
        counts.append(sum("tested" in fit for fit in fits))
    assert counts == [4, 8, 8]


def test_a_fit_of_a_fold_can_be_had_again(table, fits, tmp_path):
    opinions = training.apart(settings("elicitor"), table)
    group = training.groups(settings("elicitor"), table)[0]
    kept.fold_posterior(tmp_path, settings("elicitor"), opinions, "mood", group)
    kept.fold_posterior(tmp_path, settings("elicitor"), opinions, "mood", group)
    assert len(fits) == 1 and kept.subjects(opinions) == "known"
    hidden = opinions.present["stimulus"].isin(list(group)).values
    np.testing.assert_array_equal(known(fits[0]["opinions"], "mood"), ~hidden)
    assert fits[0]["opinions"].truth["mood"].dtype == table.truth["mood"].dtype


def test_a_table_may_tell_versions_and_keeps_them(table, tmp_path):
    back = read_table(write_table(table, tmp_path / "table.csv"))
    np.testing.assert_array_equal(back.present["version"].values, table.present["version"].values)
    assert (
        "version"
        not in read_table(
            write_table(replace(table, present=table.present.drop_vars("version")), tmp_path / "b.csv")
        ).present.coords
    )
    text = (tmp_path / "table.csv").read_text().splitlines()
    broken = [text[0], text[1].replace("old", "new"), *text[2:]]
    (tmp_path / "table.csv").write_text("\n".join(broken))
    with pytest.raises(InputError, match="a trial has one version"):
        read_table(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"protocol": "place"}, "no protocol 'place'"),
        ({"protocol": "time", "folds": "loso"}, "across-time has no subjects to leave out"),
        ({"protocol": "within", "folds": "loso"}, "within-subject has no subjects"),
        ({"protocol": "time", "folds": 2, "format": "mahnob"}, "networks from the first part of a session"),
    ],
)
def test_settings_that_no_protocol_can_follow_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Settings(**{"dataset": "x", "format": "opinions"} | given)


def test_a_protocol_is_asked_for_as_commands_spell_it():
    assert change(settings("subject"), protocol="across-elicitor").protocol == "elicitor"
    with pytest.raises(InputError, match="choose one of across-subject"):
        change(settings("subject"), protocol="across-place")
