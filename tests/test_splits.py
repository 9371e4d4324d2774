import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.splits import grouped, leave_one_subject_out


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
