"""What the page says of the trials' dependence."""

import numpy as np
import pytest

from bayesaffect.fusion import idata
from bayesaffect.pipeline.report import _dependence


def posterior(**attrs):
    return idata.build({"posterior": {"w": np.ones((1, 4))}}, coords={}, dims={}, attrs=attrs)


def test_windows_that_share_their_errors_are_told():
    told = _dependence({"stress": posterior(evidence=0.1312), "mood": posterior(evidence=1.0)})
    assert list(told) == ["Dependence"]
    assert told["Dependence"].endswith("a trial counts in the fit: one of stress for 0.13 of an independent one.")


@pytest.mark.parametrize("attrs", [{"evidence": 1.0}, {"seed": 0}])
def test_independent_trials_and_fits_of_before_are_not_spoken_of(attrs):
    assert _dependence({"mood": posterior(**attrs)}) == {}
