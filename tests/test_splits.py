from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import splits
from bayesaffect.errors import InputError
from bayesaffect.simulate import simulate_opinions
from bayesaffect.splits import grouped, leave_one_subject_out


@pytest.fixture(scope="module")
def opinions():
    """Five people, each with the same seven clips."""
    return simulate_opinions(subjects=5, trials=7, modalities=["eeg", "face"], seed=0)[0]


def of(opinions, **coords):
    """The opinions with other coordinates of the trials."""
    return replace(opinions, present=opinions.present.assign_coords({k: ("trial", v) for k, v in coords.items()}))


def test_every_subject_is_in_exactly_one_group():
    groups = grouped([f"s{k}" for k in range(23)], 5, seed=1)
    assert sorted(name for group in groups for name in group) == sorted(f"s{k}" for k in range(23))
    assert {len(group) for group in groups} == {4, 5}


def test_groups_have_about_equally_many_trials():
    subject = np.repeat(["a", "b", "c", "d"], [40, 20, 20, 1])
    loads = [sum(np.sum(subject == name) for name in group) for group in grouped(subject, 2, seed=0)]
    assert sorted(loads) == [40, 41]


def test_groups_follow_the_seed():
    names = [f"s{k}" for k in range(9)]
    assert grouped(names, 3, seed=4) == grouped(names, 3, seed=4) != grouped(names, 3, seed=5)


def test_leaving_one_subject_out():
    assert leave_one_subject_out(["b", "a", "b"]) == (("a",), ("b",))


@pytest.mark.parametrize("groups", [1, 4])
def test_too_few_subjects_or_groups_are_refused(groups):
    with pytest.raises(InputError, match="groups"):
        grouped(["a", "b", "c"], groups, seed=0)


@pytest.mark.parametrize("protocol", splits.UNIT)
def test_groups_hold_every_unit_once_and_nothing_that_is_tested_is_learnt_from(opinions, protocol):
    version = np.where(np.arange(35) % 7 < 3, "film", "music")
    index = splits.apart(of(opinions, version=version), protocol, 3, seed=0)
    groups = splits.groups(index, 3, seed=0)
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(set(index.unit.values.tolist())) and len(set(names)) == len(names)
    seen = np.zeros(35, dtype=int)
    for members in groups:
        tested, learnt = splits.tested(index, members), splits.learnt(index, members)
        assert tested.any() and not (tested & learnt).any()
        for coordinate in {"subject": ["subject"], "elicitor": ["stimulus"], "version": ["version"]}.get(protocol, []):
            values = index.present[coordinate].values
            assert not set(values[tested]) & set(values[learnt])
        if protocol != "time":
            assert (tested | learnt).all()
        seen += tested
    assert (seen == 1).all()


def test_only_earlier_parts_are_learnt_from(opinions):
    index = splits.apart(opinions, "time", 3, seed=0)
    np.testing.assert_array_equal(index.present["part"].values[:7], [1, 1, 1, 2, 2, 3, 3])
    groups = splits.groups(index, 3, seed=0)
    assert groups[1] == tuple(f"S{k:03d}@part 2" for k in range(1, 6))
    place = np.arange(35) % 7
    np.testing.assert_array_equal(splits.learnt(index, groups[1]), place < 3)
    assert not splits.learnt(index, groups[0]).any()
    np.testing.assert_array_equal(splits.learnt(index, groups[2]), place < 5)


def test_folds_inside_subjects_are_dealt_evenly_and_follow_the_seed(opinions):
    index = splits.apart(opinions, "within", 3, seed=0)
    fold = index.present["fold"].values.reshape(5, 7)
    assert all(sorted(np.bincount(row)[1:]) == [2, 2, 3] for row in fold)
    assert len({tuple(row) for row in fold}) > 1 and (np.diff(fold, axis=1) < 0).any()
    again, other = (splits.apart(opinions, "within", 3, seed=s).present["fold"].values for s in (0, 1))
    assert (again == fold.ravel()).all() and (other != fold.ravel()).any()


def test_a_version_is_left_out_for_everybody(opinions):
    version = np.where(np.arange(35) < 14, "a", np.where(np.arange(35) % 2, "b", "c"))  # two people have one version
    index = splits.apart(of(opinions, version=version), "version", 5, seed=0)
    groups = splits.groups(index, 5, seed=0)
    assert [{name.split("@")[1] for name in group} for group in groups] == [{"version a"}, {"version b"}, {"version c"}]
    np.testing.assert_array_equal(splits.learnt(index, groups[0]), version != "a")


def test_there_are_as_many_groups_of_stimuli_as_stimuli(opinions):
    index = splits.apart(opinions, "elicitor", 10, seed=0)
    assert len(splits.groups(index, 10, seed=0)) == 7 == len(splits.groups(index, "loso", seed=0))


@pytest.mark.parametrize(
    ("protocol", "folds", "coords", "message"),
    [
        ("elicitor", 3, {"stimulus": [""] * 35}, "needs the stimulus of every trial"),
        ("elicitor", 3, {"stimulus": [f"t{k}" for k in range(35)]}, "none was seen by two people"),
        ("elicitor", 3, {"stimulus": ["film"] * 35}, "one stimulus only, 'film'"),
        ("version", 3, {}, "needs the version of every trial"),
        ("version", 3, {"version": ["a"] * 35}, "two named ones are needed"),
        ("version", 3, {"version": ["", *"a" * 34]}, "two named ones are needed"),
        ("version", 3, {"version": ["a@b", *"a" * 34]}, "without @"),
        ("time", 8, {}, "nobody has 8 trials"),
        ("within", 8, {}, "ask for at most 7 folds"),
        ("time", "loso", {}, "no subjects to leave out"),
        ("tomorrow", 3, {}, "no protocol 'tomorrow'"),
    ],
)
def test_what_a_protocol_cannot_be_made_from_is_said(opinions, protocol, folds, coords, message):
    with pytest.raises(InputError, match=message):
        splits.apart(of(opinions, **coords), protocol, folds, seed=0)


ALIKE = [("S1", "s1"), ("S1", "S1 "), ("S1", "S01"), ("S1", "S 1"), ("1", "01"), ("1", "1.0"), ("7", "007"),
         ("Anna Li", "anna  li"), ("a_1", "A-1"), ("\uff33\uff11", "S1")]  # fmt: skip
DIFFERENT = [("S1", "S11"), ("S1 1", "S11"), ("1.1", "1.10"), ("S10", "S100"), ("a1b1", "a1b2"), ("0", "00a")]


@pytest.mark.parametrize("pair", ALIKE)
def test_one_person_spelt_in_two_ways_is_refused_under_every_protocol(opinions, pair):
    subject = np.where(np.arange(35) % 2, *pair)
    for protocol in ("subject", "elicitor", "within"):
        with pytest.raises(InputError, match="differ only in capitals, spaces or how a number is written"):
            splits.apart(of(opinions, subject=subject), protocol, 2, seed=0)


@pytest.mark.parametrize("pair", DIFFERENT)
def test_names_that_are_really_different_pass(opinions, pair):
    splits.apart(of(opinions, subject=np.where(np.arange(35) % 2, *pair)), "subject", 2, seed=0)


def test_stimuli_and_versions_spelt_in_two_ways_are_refused_where_they_are_held_out(opinions):
    stimulus = np.where(np.arange(35) < 14, "Clip 1", "Clip 2")
    stimulus[20:27], stimulus[27:] = "clip1", "clip_1"
    index = of(opinions, stimulus=stimulus, version=np.where(np.arange(35) % 2, "lab", "Lab"))
    splits.apart(index, "subject", 2, seed=0)
    with pytest.raises(InputError, match="the stimuli 'Clip 1', 'clip1', 'clip_1' differ only"):
        splits.apart(index, "elicitor", 2, seed=0)
    with pytest.raises(InputError, match="the versions 'Lab', 'lab' differ only"):
        splits.apart(index, "version", 2, seed=0)


def test_opinions_of_one_protocol_are_not_taken_for_those_of_another(opinions):
    coords = {"trial": opinions.present["trial"].values, "trained_subject": ["S001"]}
    seen = xr.DataArray(np.zeros((35, 2, 1), bool), dims=("trial", "modality", "trained_subject"), coords=coords)
    made = replace(opinions, trained_on=seen)
    assert splits.apart(made, "subject", 3, seed=0) is made
    with pytest.raises(InputError, match="predictions tell trained_subject, and the trials are held out by stimulus"):
        splits.apart(made, "elicitor", 3, seed=0)


def test_new_recordings_are_later_ones_of_no_fold_and_a_new_version(opinions):
    assert splits.as_new(opinions, "within").unit.values[0] == "S001@fold 0"
    assert splits.as_new(opinions, "version").unit.values[0] == "S001@version new"
    assert splits.as_new(of(opinions, version=["b"] * 35), "version").unit.values[0] == "S001@version b"
    known = splits.apart(opinions, "time", 7, seed=0)
    later = splits.as_new(opinions, "time")
    assert later.present["part"].min() > known.present["part"].max()


def test_protocols_are_called_by_their_long_or_short_names():
    assert [splits.parse(f"across-{name}") for name in ("subject", "elicitor")] == ["subject", "elicitor"]
    assert splits.parse("within-subject") == "within" == splits.parse("within")
    with pytest.raises(InputError, match="choose one of across-subject, across-elicitor"):
        splits.parse("across-gender")


@pytest.mark.parametrize("protocol", splits.UNIT)
def test_the_page_says_how_many_groups_there_are_and_who_is_known(protocol):
    said = splits.sentence(protocol, [("a", "b"), ("c",), ("d",)])
    assert "3" in said and ("new people drawn from the population" in said) == (protocol == "subject")
    assert (splits.warning(protocol) is None) == (protocol == "subject")


def test_leaving_one_out_is_called_so():
    assert splits.sentence("subject", [("a",), ("b",)]).startswith("Leave-one-subject-out")
    assert "leave-one-stimulus-out" in splits.sentence("elicitor", [("a",), ("b",)])
