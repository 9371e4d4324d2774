from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Fold, Opinions, Predictive, Recording, Segment, Target, Trials

VALENCE = Target("valence", bounds=(1, 9))


def index(names, modalities):
    coords = {
        "trial": names,
        "modality": modalities,
        "subject": ("trial", [n[:1] for n in names]),
        "stimulus": ("trial", ["clip"] * len(names)),
    }
    return xr.DataArray(np.ones((len(names), len(modalities)), dtype=bool), dims=("trial", "modality"), coords=coords)


def trials(names, modalities, value=1.0):
    present = index(names, modalities)
    block = xr.Dataset({"features": (("trial", "feature"), np.full((len(names), 2), value))}, {"trial": names})
    truth = xr.Dataset({"valence": ("trial", np.zeros(len(names)))}, {"trial": names})
    return Trials((VALENCE,), dict.fromkeys(modalities, block), present, truth, present.astype(float))


def predictive(names, trained_on=("z",), seen=False):
    shape = (3, len(names))
    draws = {"dims": ("draw", "trial"), "coords": {"trial": names}}
    subject = index(names, ["m"])["subject"]
    who = xr.DataArray(np.full((len(names), len(trained_on)), seen), dims=("trial", "trained_subject"))
    who = who.assign_coords(trial=names, trained_subject=list(trained_on))
    mean = xr.DataArray(np.arange(3 * len(names), dtype=float).reshape(shape), **draws)
    return Predictive((VALENCE,), subject, {"valence": mean}, {"valence": xr.ones_like(mean)}, trained_on=who)


def test_ratings_map_to_the_unit_scale_and_back():
    assert VALENCE.to_unit(3) == -0.5
    np.testing.assert_allclose(VALENCE.from_unit(VALENCE.to_unit([1, 4.5, 9])), [1, 4.5, 9])


@pytest.mark.parametrize(
    "wrong", [{}, {"bounds": (9, 1)}, {"levels": ("joy",)}, {"bounds": (0, 1), "levels": ("a", "b")}]
)
def test_a_target_is_a_scale_or_a_set_of_levels(wrong):
    with pytest.raises(InputError, match="target 'x'"):
        Target("x", **wrong)


def test_folds_that_share_a_subject_are_refused():
    with pytest.raises(InputError, match=r"\['b'\] are in both train and test"):
        Fold(("a", "b"), ("c",), ("b",))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (xr.DataArray(np.zeros((1, 2)), dims=("channel", "time"), coords={"time": [0, 1]}), "no units"),
        (
            xr.DataArray(np.zeros((1, 2)), dims=("channel", "time"), coords={"time": [1, 1]}, attrs={"units": "uV"}),
            "increasing",
        ),
        (xr.DataArray(np.zeros(2), dims="time", coords={"time": [0, 1]}, attrs={"units": "uV"}), "dims"),
    ],
)
def test_a_recording_needs_units_and_ordered_times(array, message):
    with pytest.raises(InputError, match=message):
        Recording("s", "file", (VALENCE,), {"eeg": array}, ())


def test_a_segment_ends_after_it_starts():
    with pytest.raises(InputError, match="t1: segment runs from 3 s to 3 s"):
        Segment("t1", 3, 3, "clip")


def test_nan_in_a_present_block_is_refused():
    with pytest.raises(InputError, match="p/features holds NaN"):
        trials(["a1"], ["p"], np.nan)


def test_joining_recordings_fills_what_one_of_them_lacks():
    joined = Trials.concat([trials(["a1", "a2"], ["p"]), trials(["b1"], ["p", "q"])])
    assert joined.present.values.tolist() == [[True, False], [True, False], [True, True]]
    assert np.isnan(joined.inputs["q"]["features"].values[:2]).all()


def test_two_trials_of_one_name_are_refused():
    with pytest.raises(InputError, match="'a1' occurs 2 times"):
        Trials.concat([trials(["a1"], ["p"]), trials(["a1"], ["p"])])


def test_opinions_hold_the_moments_of_the_draws():
    names = ["a1", "a2"]
    opinions = Opinions.from_predictives({"m": predictive(names)}, trials(names, ["m"]))
    np.testing.assert_allclose(opinions.mean["valence"].values[:, 0], [2, 3])
    np.testing.assert_allclose(opinions.variance["valence"].values[:, 0], 1 + np.var([0, 2, 4]))


def test_opinions_say_which_of_their_trials_are_labelled():
    names = ["a1", "a2", "b1"]
    opinions = Opinions.from_predictives({"m": predictive(names)}, trials(names, ["m"]))
    valence, emotion = Target("valence", (1, 9)), Target("emotion", levels=("calm", "fear"))
    truth = xr.Dataset(
        {"valence": ("trial", [0.5, np.nan, -1.0]), "emotion": ("trial", [0, 1, -1])}, coords=opinions.truth.coords
    )
    opinions = replace(opinions, targets=(valence, emotion), truth=truth)
    assert opinions.labelled("valence").tolist() == [True, False, True]
    assert opinions.labelled("emotion").tolist() == [True, True, False]
    with pytest.raises(InputError, match="no target 'joy'"):
        opinions.labelled("joy")


def test_an_opinion_of_a_network_that_saw_the_subject_is_refused():
    leak = predictive(["a1", "b1"], trained_on=("a", "c"), seen=True)
    with pytest.raises(InputError, match="trial a1: the m opinion is from a network trained on a"):
        Opinions.from_predictives({"m": leak}, trials(["a1", "b1"], ["m"]))


def test_modalities_can_be_masked():
    names = ["a1", "b1"]
    opinions = Opinions.from_predictives({"m": predictive(names), "n": predictive(names)}, trials(names, ["m", "n"]))
    assert opinions.only(["n"]).present.values.tolist() == [[False, True]] * 2
    with pytest.raises(InputError, match="no modality"):
        opinions.only(["gaze"])


def test_predictions_join_trial_by_trial():
    joined = Predictive.concat([predictive(["a1"], ("b",)), predictive(["b1", "b2"], ("a",), seen=True)])
    assert joined.trial.values.tolist() == ["a1", "b1", "b2"]
    assert joined.trained_on.sel(trained_subject="a").values.tolist() == [False, True, True]


def test_predictions_read_back_from_disk_join_with_fresh_ones(tmp_path):
    from bayesaffect.io import store

    old, new = predictive(["a1"], ("c",)), predictive(["b1"], ("c",))
    store.save_predictive(old, tmp_path / "old.nc")
    joined = Predictive.concat([store.load_predictive(tmp_path / "old.nc"), new])
    assert joined.subject.values.tolist() == ["a", "b"] == joined.mean["valence"]["subject"].values.tolist()


def test_measures_follow_their_trials_and_gaps_become_nan():
    def one(trial, names):
        coords = {"trial": [trial], "modality": ["eeg"], "subject": ("trial", ["a"]), "stimulus": ("trial", ["x"])}
        present = xr.DataArray([[True]], dims=("trial", "modality"), coords=coords)
        block = xr.Dataset({"maps": (("trial", "band"), np.ones((1, 2)))}, {"trial": [trial]})
        measured = xr.Dataset(
            {"features": (("trial", "feature"), np.ones((1, len(names))))}, {"trial": [trial], "feature": names}
        )
        truth = xr.Dataset({"valence": ("trial", [0.0])}, {"trial": [trial]})
        target = (Target("valence", bounds=(1, 9)),)
        return Trials(
            target, {"eeg": block}, present, truth, present.astype(float), measures={"eeg": measured} if names else {}
        )

    joined = Trials.concat([one("t1", ["p", "q"]), one("t2", []), one("t3", ["q"])])
    features = joined.measures["eeg"]["features"].sel(feature=["p", "q"]).values
    np.testing.assert_array_equal(features, [[1, 1], [np.nan, np.nan], [np.nan, 1]])
    assert joined.select([2]).measures["eeg"]["trial"].values.tolist() == ["t3"]
    with pytest.raises(InputError, match="which no input has"):
        replace(joined, measures={"face": joined.measures["eeg"]})


def held_out(by, names, seen, **coords):
    """Opinions of one modality on some trials, each by a network that has seen the units marked in ``seen``."""
    shape = trials(names, ["m"])
    present = shape.present.assign_coords({k: ("trial", v) for k, v in coords.items()})
    index = replace(shape, present=present, held_out_by=by)
    made = predictive(names)
    units = list(seen)
    marked = np.array([[k in seen[u] for u in units] for k in range(len(names))])
    who = xr.DataArray(marked, dims=("trial", f"trained_{by}"), coords={"trial": names, f"trained_{by}": units})
    return Opinions.from_predictives({"m": replace(made, trained_on=who)}, index)


STIMULUS = {"stimulus": ["x", "y"]}


@pytest.mark.parametrize(
    ("by", "coords", "legal", "leak", "named"),
    [
        ("stimulus", STIMULUS, {"x": [1], "y": [0]}, {"x": [1], "y": [1]}, "trained on stimulus y"),
        (
            "version",
            {"version": ["v", "w"]},
            {"b@version v": [1], "b@version w": [0]},
            {"b@version w": [1]},
            "trained on a@version w",
        ),
        (
            "part",
            {"part": [2, 3]},
            {"a@part 1": [0, 1], "b@part 2": [1]},
            {"b@part 2": [0]},
            "trained on a@part 2 or a later part",
        ),
        ("part", {"part": [2, 10]}, {"a@part 9": [1]}, {"b@part 10": [0]}, "trained on a@part 2 or a later part"),
        (
            "fold",
            {"fold": [1, 2]},
            {"a@fold 1": [1], "a@fold 2": [0], "b@fold 1": [0]},
            {"a@fold 2": [1]},
            "trained on a@fold 2",
        ),
    ],
)
def test_the_guard_holds_for_every_unit(by, coords, legal, leak, named):
    opinions = held_out(by, ["a1", "a2"], legal, **coords)
    assert opinions.held_out_by == by and opinions.trained_on.dims[2] == f"trained_{by}"
    assert opinions.select([1]).held_out_by == by == opinions.only(["m"]).aligned(["m", "n"]).held_out_by
    with pytest.raises(InputError, match=f"the m opinion is from a network {named}"):
        held_out(by, ["a1", "a2"], leak, **coords)


def test_a_trial_without_the_opinion_cannot_leak_it():
    opinions = held_out("stimulus", ["a1", "a2"], {"x": [1], "y": [0]}, **STIMULUS)
    gone = opinions.present.copy(data=[[True], [False]])
    leaky = opinions.trained_on.copy(data=[[[False, True]], [[True, True]]])
    assert replace(opinions, present=gone, trained_on=leaky).unit.values.tolist() == ["x", "y"]
    with pytest.raises(InputError, match="trial a2: the m opinion is from a network trained on stimulus y"):
        replace(opinions, trained_on=leaky)


def test_predictions_held_out_by_something_else_are_refused():
    names = ["a1", "a2"]
    other = replace(trials(names, ["m"]), held_out_by="stimulus")
    with pytest.raises(InputError, match="predictions tell trained_subject, and the trials are held out by stimulus"):
        Opinions.from_predictives({"m": predictive(names)}, other)
    mixed = replace(predictive(names), trained_on=predictive(names).trained_on.rename(trained_subject="trained_part"))
    with pytest.raises(InputError, match="different units: trained_part, trained_subject"):
        Opinions.from_predictives({"m": predictive(names), "n": mixed}, trials(names, ["m", "n"]))


@pytest.mark.parametrize(("by", "message"), [("part", "lack the coordinate 'part'"), ("week", "no unit 'week'")])
def test_a_unit_needs_its_coordinate(by, message):
    with pytest.raises(InputError, match=message):
        _ = replace(trials(["a1"], ["m"]), held_out_by=by).unit


def test_folds_name_what_they_share():
    with pytest.raises(
        InputError, match=r"versions \['b'\] are in both train and test; folds must be version-disjoint"
    ):
        Fold(("a", "b"), ("c",), ("b",), "version")
