from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.types import Opinions
from bayesaffect.uncertainty import recalibrate
from bayesaffect.uncertainty.crossfit import Execution, crossfit, plan
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

NETWORKS = {"physio": ("physio",), "wrist": ("wrist",), "early": ("physio", "wrist")}
BRIEF = Training(epochs=3, patience=3)


def run(
    trials, groups, directory, *, networks=NETWORKS, training=BRIEF, passes=3, nested=True, jobs=1, recalibrated=True
):
    return crossfit(
        trials,
        groups,
        networks,
        build=build,
        ensemble=Ensemble(1, passes, recalibrated),
        training=training,
        execution=Execution(directory, nested=nested, jobs=jobs),
        seed=0,
    )


@pytest.fixture(scope="module")
def fitted(small, grouped, tmp_path_factory):
    directory = tmp_path_factory.mktemp("crossfit")
    return run(small, grouped(small, 4), directory), directory


@pytest.mark.parametrize(("count", "nested", "fits"), [(5, False, 5), (5, True, 15), (3, True, 6)])
def test_plan_trains_every_pair_once(count, nested, fits):
    groups = [(f"a{k}", f"b{k}") for k in range(count)]
    planned = plan(groups, nested=nested, seed=0)
    assert len({fit.held_out for fit in planned}) == len(planned) == fits
    for fit in planned:
        assert set(fit.fold.test) == {s for a in fit.held_out for s in groups[a]}
        assert not set(fit.seen) & set(fit.fold.test)
        assert len(fit.seen) == 2 * (count - len(fit.held_out)) and fit.fold.validation


@pytest.mark.parametrize("groups", [[("a", "b"), ("b", "c")], [("a",), ("b",), ("c",)]])
def test_plan_refuses_overlap_and_too_few_subjects(groups):
    with pytest.raises(InputError):
        plan(groups, nested=True, seed=0)


def test_every_present_trial_is_predicted_out_of_fold(fitted, small):
    result, _ = fitted
    for name, modalities in NETWORKS.items():
        here = small.present.sel(modality=list(modalities)).any("modality").values
        assert list(result.out_of_fold[name].trial.values) == list(small.present["trial"].values[here])
    opinions = Opinions.from_predictives(result.out_of_fold, small)
    assert opinions.trained_on is not None


def test_a_planted_leak_is_refused(fitted, small):
    honest = fitted[0].out_of_fold["physio"]
    own = honest.trained_on["trained_subject"].values[None, :] == honest.subject.values.astype(str)[:, None]
    leaky = replace(honest, trained_on=honest.trained_on | xr.DataArray(own, dims=honest.trained_on.dims))
    with pytest.raises(InputError, match="network trained on"):
        Opinions.from_predictives({"physio": leaky}, small)


def test_nested_networks_saw_neither_group(fitted, small, grouped):
    result, groups = fitted[0], grouped(small, 4)
    for a, name in itertools.product(range(4), NETWORKS):
        inner = result.nested[a][name]
        assert not set(inner.subject.values.astype(str)) & set(groups[a])
        seen = inner.trained_on
        assert not seen.sel(trained_subject=list(groups[a])).any()
        who = dict(zip(seen["trained_subject"].values, range(seen.sizes["trained_subject"]), strict=True))
        column = [who[str(s)] for s in inner.subject.values]
        assert not seen.values[np.arange(len(column)), column].any()
        assert (seen.values.sum(1) == 2).all()


def test_a_second_run_trains_nothing(fitted, small, grouped):
    first, directory = fitted
    times = {p: p.stat().st_mtime_ns for p in directory.rglob("*.safetensors")}
    again = run(small, grouped(small, 4), directory)
    assert (first.trained, again.trained) == (10 * 3, 0)
    assert times == {p: p.stat().st_mtime_ns for p in directory.rglob("*.safetensors")}
    xr.testing.assert_identical(first.out_of_fold["early"].mean["valence"], again.out_of_fold["early"].mean["valence"])


def test_recalibration_is_learned_from_everybody_but_the_test_group_and_recorded(fitted, small, grouped):
    result, groups = fitted[0], grouped(small, 4)
    raw = run(small, groups, fitted[1], recalibrated=False)
    assert raw.trained == 0 and raw.recalibration == ()
    assert len(result.recalibration) == 4 * len(NETWORKS) * 2  # groups x networks x targets
    for record in result.recalibration:
        (a,) = record["held_out"]
        name, target, before = record["network"], record["target"], raw.nested[a][record["network"]]
        assert record["factor"] == recalibrate.fit(before, small.truth)[target]
        if target == "valence":
            for honest, plain in ((result.out_of_fold[name], raw.out_of_fold[name]), (result.nested[a][name], before)):
                here = ~plain.subject.isin([s for b in range(4) if b != a for s in groups[b]]).values
                here = here if here.any() else np.ones(here.size, bool)
                ratio = honest.variance[target].values[:, here] / plain.variance[target].values[:, here]
                np.testing.assert_allclose(ratio, record["factor"])


def test_without_nested_fits_recalibration_is_learned_on_validation_subjects(fitted, small, grouped):
    flat = run(small, grouped(small, 4), fitted[1], nested=False)
    assert flat.trained == 0 and [r["held_out"] for r in flat.recalibration[:2]] == [[0], [0]]
    assert len(flat.recalibration) == 4 * len(NETWORKS) * 2


def test_more_passes_reuse_the_weights(fitted, small, grouped):
    directory = fitted[1]
    weights = {p: p.stat().st_mtime_ns for p in directory.rglob("weights.safetensors")}
    more = run(small, grouped(small, 4), directory, networks={"physio": ("physio",)}, passes=5, nested=False)
    assert more.out_of_fold["physio"].mean["valence"].sizes["draw"] == 5
    assert weights == {p: p.stat().st_mtime_ns for p in directory.rglob("weights.safetensors")}


def test_damaged_draws_are_made_again(small, grouped, tmp_path):
    networks = {"physio": ("physio",)}
    first = run(small, grouped(small, 4), tmp_path, networks=networks, nested=False)
    next(tmp_path.rglob("draws-*")).write_bytes(b"half")
    again = run(small, grouped(small, 4), tmp_path, networks=networks, nested=False)
    assert again.trained == 1
    xr.testing.assert_identical(
        first.out_of_fold["physio"].mean["valence"], again.out_of_fold["physio"].mean["valence"]
    )


def test_unknown_modality_and_ungrouped_subject_are_refused(small, grouped, tmp_path):
    with pytest.raises(InputError, match="needs"):
        run(small, grouped(small, 4), tmp_path, networks={"eeg": ("eeg",)})
    with pytest.raises(InputError, match="in no group"):
        run(small, grouped(small, 4)[:3], tmp_path, nested=False)


@pytest.mark.slow
def test_two_processes_give_the_same_numbers_as_one(fitted, small, grouped, tmp_path):
    both = run(small, grouped(small, 4), tmp_path, jobs=2)
    for name in NETWORKS:
        xr.testing.assert_identical(
            both.out_of_fold[name].log_prob["mood"], fitted[0].out_of_fold[name].log_prob["mood"]
        )


@pytest.mark.slow
@pytest.mark.statistical
def test_signal_is_found_and_permuted_labels_give_chance(trials, grouped, tmp_path):
    def skill(some, directory):
        """Correlation with valence within subjects, and nats per trial gained over the class frequencies."""
        result = run(
            some, grouped(some, 4), directory, networks={"physio": ("physio",)}, training=Training(), nested=False
        )
        opinions = Opinions.from_predictives(result.out_of_fold, some)
        y, z = some.truth["valence"].values, some.truth["mood"].values
        known = np.isfinite(y)
        share = np.bincount(z, minlength=3) / z.size
        gain = opinions.log_prob["mood"].values[np.arange(z.size), 0, z] - np.log(share[z])
        table = pd.DataFrame({"y": y, "m": opinions.mean["valence"].values[:, 0]})[known]
        # between subjects a constant anticorrelates with what is held out; within them it does not
        table -= table.groupby(some.subject.values[known]).transform("mean")
        return table["y"].corr(table["m"]), gain.mean()

    rng = np.random.default_rng(0)
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(trials.subject.values == s)) for s in np.unique(trials.subject)]
    )
    truth = trials.truth.isel(trial=order).assign_coords(trial=trials.truth["trial"].values)
    correlation, gain = skill(trials, tmp_path / "true")
    assert correlation > 0.7 and gain > 0.3
    correlation, gain = skill(replace(trials, truth=truth), tmp_path / "permuted")
    assert abs(correlation) < 0.3 and gain < 0.1  # 3 standard errors of a correlation over 96 trials
