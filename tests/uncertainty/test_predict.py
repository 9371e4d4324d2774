from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Trials
from bayesaffect.uncertainty.crossfit import Execution, complete
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.predict import predict
from bayesaffect.uncertainty.training import Training
from bayesaffect.uncertainty.work import lay_out

NETWORKS = {"physio": ("physio",), "early": ("physio", "wrist")}


@pytest.fixture(scope="module")
def study(small, grouped, tmp_path_factory):
    """A small cross-fit in two groups that has been carried out: its work and its result."""
    work = lay_out(
        small,
        grouped(small, 2),
        NETWORKS,
        build=build,
        ensemble=Ensemble(2, 3, method="distance"),
        training=Training(epochs=2),
        execution=Execution(tmp_path_factory.mktemp("training"), nested=False),
        seed=3,
    )
    return work, complete(work)


def newcomers(trials: Trials) -> Trials:
    """The same trials under other names, as if of two persons that the study does not know."""
    names = np.array([f"N{name[1:]}" for name in trials.subject.values])
    trial = [f"N{name[1:]}" for name in trials.present["trial"].values]
    coords = {"trial": trial, "subject": ("trial", names)}
    return replace(
        trials,
        inputs={m: block.assign_coords(trial=trial) for m, block in trials.inputs.items()},
        present=trials.present.assign_coords(coords),
        truth=trials.truth.assign_coords(trial=trial),
        quality=trials.quality.assign_coords(coords),
    )


def test_the_studys_own_trials_come_out_as_in_training(study):
    work, cross = study
    again = predict(work, work.trials, recalibration=cross.recalibration)
    for name, expected in cross.out_of_fold.items():
        np.testing.assert_array_equal(again[name].mean["valence"], expected.mean["valence"])
        np.testing.assert_array_equal(again[name].log_prob["mood"], expected.log_prob["mood"])
        np.testing.assert_array_equal(again[name].trained_on, expected.trained_on)


def test_without_records_predictions_are_as_the_networks_gave_them(study):
    work, cross = study
    raw = predict(work, work.trials, names=["physio"])["physio"].variance["valence"]
    first = work.trials.subject.isin(list(work.groups[0])).values
    own = next(
        r["factor"]
        for r in cross.recalibration
        if (r["network"], r["target"], tuple(r["held_out"])) == ("physio", "valence", (0,))
    )
    assert own != 1
    np.testing.assert_allclose(cross.out_of_fold["physio"].variance["valence"][:, first], own * raw[:, first])


def test_nested_records_fit_as_well(small, grouped, tmp_path):
    work = lay_out(
        small,
        grouped(small, 4),
        {"physio": ("physio",)},
        build=build,
        ensemble=Ensemble(1, 2),
        training=Training(epochs=1),
        execution=Execution(tmp_path),
        seed=3,
    )
    cross = complete(work)
    again = predict(work, small, recalibration=cross.recalibration)["physio"]
    np.testing.assert_array_equal(again.variance["valence"], cross.out_of_fold["physio"].variance["valence"])


def test_new_subjects_are_predicted_by_all_fits_and_leak_nothing(study):
    work, _ = study
    trials = newcomers(work.trials).select(np.arange(5))
    found = predict(work, trials)["physio"]
    assert found.mean["valence"].shape == (6, 5)
    assert found.trained_on.values.all()  # two fits, and each saw the other's group
    Opinions.from_predictives({"physio": found}, trials)
    both = predict(work, Trials.concat([work.trials, trials]), names=["physio"])["physio"]
    assert both.trial.size == work.trials.present.sizes["trial"] + 5


def test_other_ways_of_drawing_from_the_same_weights(study):
    work, _ = study
    plain = predict(work, work.trials, names=["physio"], ensemble=Ensemble(2, 1, method="ensemble"))["physio"]
    assert plain.mean["valence"].sizes["draw"] == 2
    laplace = predict(work, work.trials, names=["physio"], ensemble=Ensemble(1, 40, method="laplace"))["physio"]
    spread = laplace.mean["valence"].var("draw")
    assert laplace.mean["valence"].sizes["draw"] == 40 and (spread > 0).all()


def test_what_does_not_fit_or_is_not_trained_is_refused(study, tmp_path):
    work, _ = study
    wrong = replace(
        work.trials,
        inputs={**work.trials.inputs, "physio": work.trials.inputs["physio"].isel(time=slice(30))},
    )
    with pytest.raises(InputError, match="trained on"):
        predict(work, wrong)
    with pytest.raises(InputError, match="not trained to its end"):
        predict(replace(work, place=replace(work.place, directory=tmp_path)), work.trials)
